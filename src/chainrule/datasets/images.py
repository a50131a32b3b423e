"""Read a folder or a tar file of images as rows, grey or in colour, and resize images."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.datasets.arrays import check_is_file
from chainrule.datasets.core import Parts
from chainrule.datasets.limits import check_unpacked
from chainrule.errors import DataError

__all__ = ["IMAGE_SUFFIXES", "is_tar", "n_channels", "read_images", "resize_rows"]

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm", ".webp"}
)

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "PPM", "WEBP")
_MOST_PIXELS = 2**27
_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

Pixels = NDArray[np.uint8]


def is_tar(path: Path) -> bool:
    """Whether a file's name is that of a tar archive."""
    return path.name.lower().endswith(_TAR_SUFFIXES)


def n_channels(image_size: tuple[int, ...] | None) -> int:
    """Return how many channels images have that are read or resized to a size: 3 of colour, or 1.

    Raises
    ------
    DataError
        If it is neither (height, width) nor (height, width, 3), whole numbers of at least 1.

    Examples
    --------
    >>> n_channels((28, 28)), n_channels((64, 64, 3))
    (1, 3)
    """
    if image_size is None:
        return 1
    if len(image_size) not in (2, 3) or min(image_size) < 1 or image_size[2:] not in ((), (3,)):
        raise DataError(
            f"an image size is (height, width), or (height, width, 3) for colour, got {tuple(image_size)}"
        )
    return 3 if len(image_size) == 3 else 1


def read_images(path: Path, image_size: tuple[int, ...] | None) -> Parts:
    """Read all images of a folder (and its subfolders) or a tar file, in the order of their names.

    Parameters
    ----------
    path : Path
    image_size : tuple of int, optional
        Height and width to resize to, and 3 for colour; without it all images must have one size, and are
        grey.

    Returns
    -------
    Parts
        Values 0..255, uint8 of shape (n, height * width), of a colour image (n, height * width * 3): red,
        green and blue of one pixel after the other. They are declared ordinal.
    """
    mode = "RGB" if n_channels(image_size) == 3 else "L"
    files = _folder_files(path) if path.is_dir() else _tar_files(path)
    images: list[Pixels] = []
    for name, content in files:
        image = _pixels(name, content, image_size, mode)
        check_unpacked(image.size * (len(images) + 1), path)
        if images and image.shape != images[0].shape:
            raise DataError(
                f"{path}: {name} is {_size(image)} (height x width) where the first image is "
                f"{_size(images[0])}: give an image size to resize them all to"
            )
        images.append(image)
    if not images:
        raise DataError(f"{path} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    rows = np.stack(images).reshape(len(images), -1)
    return Parts(rows, image_shape=images[0].shape, kinds="ordinal")


def _folder_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
            check_unpacked(path.stat().st_size, path)
            yield str(path.relative_to(folder)), path.read_bytes()


def _tar_files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the images inside an archive; nothing is unpacked to disk, and links are passed over."""
    check_is_file(path)
    files: dict[str, bytes] = {}
    try:
        with _Bounded(path) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as archive:  # type: ignore[call-overload]
            for member in archive:
                check_unpacked(member.size, path)
                stream = archive.extractfile(member) if member.isreg() else None
                if stream is not None and Path(member.name).suffix.lower() in IMAGE_SUFFIXES:
                    files[member.name] = stream.read()
    except (
        tarfile.TarError,
        EOFError,
        zlib.error,
        lzma.LZMAError,
        OSError,
        ValueError,
        OverflowError,
    ) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is truncated, damaged, or not a tar file") from error
    yield from sorted(files.items())


class _Bounded:
    """The unpacked bytes of a file, packed or not, up to the limit on them."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            start = file.read(6)
        opener = next((found for magic, found in _OPENERS.items() if start.startswith(magic)), open)
        self._path, self._stream, self._n_bytes = path, opener(path, "rb"), 0

    def read(self, size: int) -> bytes:
        """Return up to so many bytes; refuse to go beyond the limit, before they are read."""
        self._n_bytes += size
        check_unpacked(self._n_bytes, self._path)
        return bytes(self._stream.read(size))

    def __enter__(self) -> _Bounded:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


_OPENERS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}


def _pixels(name: str, content: bytes, image_size: tuple[int, ...] | None, mode: str) -> Pixels:
    from PIL import Image

    try:
        # formats are named: Pillow would hand others, such as PostScript, to programs
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow finds odd in metadata, and large sizes, see below
            with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
                n_pixels = image.width * image.height
                if n_pixels > _MOST_PIXELS:
                    raise DataError(
                        f"the image {name} has {n_pixels:,} pixels; images of up to {_MOST_PIXELS:,} are read"
                    )
                converted = image.convert(mode)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # whatever Pillow raises of damaged content
        raise DataError(f"the image {name} is truncated, damaged, or not an image") from error
    return np.asarray(_resized(converted, image_size), dtype=np.uint8)


def _resized(image: Any, image_size: tuple[int, ...] | None) -> Any:
    from PIL import Image

    if image_size is None:
        return image
    height, width = image_size[:2]
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _size(image: Pixels) -> str:
    return f"{image.shape[0]} x {image.shape[1]}"


def resize_rows(rows: NDArray[Any], image_shape: tuple[int, ...], image_size: tuple[int, ...]) -> Pixels:
    """Resize flattened images of 0..255, grey or in colour, from one height and width to another."""
    from PIL import Image

    if rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() > 255:
        raise DataError("only images of whole values 0..255 can be resized")
    images = rows.reshape(len(rows), *image_shape).astype(np.uint8)
    resized = [np.asarray(_resized(Image.fromarray(image), image_size)) for image in images]
    return np.stack(resized).reshape(len(rows), -1)
