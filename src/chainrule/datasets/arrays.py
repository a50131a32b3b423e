"""Read arrays: npy, npz, idx, and the three-file sets NAME.{ts,valid,test}.data.gz."""

from __future__ import annotations

import gzip
import io
import math
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.datasets.core import Parts
from chainrule.datasets.limits import check_unpacked
from chainrule.errors import DataError
from chainrule.schema.values import quoted

__all__ = [
    "check_is_file",
    "flatten_images",
    "is_idx",
    "is_split_file",
    "parse_idx",
    "read_bytes",
    "read_head",
    "read_idx",
    "read_matlab",
    "read_npy",
    "read_npz",
    "read_numbers",
    "read_split_files",
]

Array = NDArray[Any]

_GZIP = b"\x1f\x8b"
_CHUNK = 2**24
_IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_SPLIT_NAME = re.compile(r"^(?P<stem>.+)\.(?P<part>ts|valid|test)\.data(?P<gz>\.gz)?$")
_NPZ_PARTS = {
    "train": ("train", "train_data"),
    "valid": ("valid", "valid_data"),
    "test": ("test", "test_data"),
}


def read_bytes(path: Path) -> bytes:
    """Return a file's content, unpacked where it is gzipped."""
    check_is_file(path)
    content = path.read_bytes()
    if not content.startswith(_GZIP):
        return content
    unpacked, n_bytes = io.BytesIO(), 0
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
            while chunk := packed.read(_CHUNK):
                n_bytes += len(chunk)
                check_unpacked(n_bytes, path)
                unpacked.write(chunk)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is truncated or damaged: it cannot be unpacked ({error})") from error
    return unpacked.getvalue()


def read_head(path: Path, n_bytes: int) -> bytes:
    """Return the first bytes of a file, unpacked where it is gzipped; nothing where it is damaged."""
    check_is_file(path)
    with path.open("rb") as file:
        if file.read(2) != _GZIP:
            file.seek(0)
            return file.read(n_bytes)
    try:
        with gzip.open(path) as packed:
            return packed.read(n_bytes)
    except (OSError, EOFError, zlib.error):
        return b""


def check_is_file(path: Path) -> None:
    """Refuse an empty file, and what has no end, such as ``/dev/zero``."""
    if path.is_char_device() or path.is_block_device():
        raise DataError(f"{path} is a device, expected a file")
    if path.is_file() and path.stat().st_size == 0:
        raise DataError(f"{path} is empty")


def flatten_images(array: Array) -> tuple[Array, tuple[int, ...] | None]:
    """Return rows (n, D) and, where each row was an image (h, w) or (h, w, 3), its shape."""
    if array.ndim == 4 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim <= 2:
        return array, None
    rows = array.reshape(len(array), math.prod(array.shape[1:]))
    is_image = array.ndim == 3 or (array.ndim == 4 and array.shape[-1] == 3)
    return rows, array.shape[1:] if is_image else None


# ---------------------------------------------------------------- npy, npz


def read_npy(path: Path) -> Parts:
    """Read an array (n, D), or images (n, h, w) or (n, h, w, 3)."""
    content = read_bytes(path)
    with _named_errors(path, "a numpy array"):
        _check_header(io.BytesIO(content), len(content), path)
        array = np.load(io.BytesIO(content), allow_pickle=False)
    rows, image_shape = flatten_images(_checked(array, path))
    return Parts(rows, image_shape=image_shape)


def read_npz(path: Path) -> Parts:
    """Read ``train``, perhaps ``valid`` and ``test`` (or ``train_data``, ...), or the only array of rows."""
    check_is_file(path)
    with _named_errors(path, "an npz archive"):
        with zipfile.ZipFile(path) as packed:
            entries = packed.infolist()
            check_unpacked(sum(entry.file_size for entry in entries), path)
            for entry in entries:
                with packed.open(entry) as stream:
                    _check_header(stream, entry.file_size, path)
        with np.load(path, allow_pickle=False) as archive:
            arrays = _choose_arrays(archive, path)
    flat = {part: flatten_images(_checked(array, path, part)) for part, array in arrays.items()}
    rows = {part: pair[0] for part, pair in flat.items()}
    return Parts(rows["train"], rows.get("valid"), rows.get("test"), flat["train"][1])


@contextmanager
def _named_errors(path: Path, what: str) -> Iterator[None]:
    """Turn whatever NumPy and zip raise of a file that is not as it should be into a line about it."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except Exception as error:
        raise DataError(_unreadable(path, what, error)) from error


def _check_header(stream: IO[bytes], n_bytes: int, path: Path) -> None:
    """Refuse a numpy array that holds another number of bytes than its header says, before it is made."""
    version = np.lib.format.read_magic(stream)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in read_header:
        raise ValueError(f"version {version}")
    shape, _, dtype = read_header[version](stream)
    expected = math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and not 0 < expected <= n_bytes - stream.tell() and 0 not in shape:
        raise DataError(
            f"{path} is truncated, damaged, or not a numpy array: its header tells of {dtype} of shape "
            f"{shape}, and {n_bytes - stream.tell()} bytes follow"
        )


def _choose_arrays(archive: Mapping[str, Array], path: Path) -> dict[str, Array]:
    names = list(archive)
    chosen = {
        part: archive[name] for part, accepted in _NPZ_PARTS.items() for name in accepted if name in names
    }
    if "train" in chosen:
        return chosen
    tables = [array for name in names if (array := archive[name]).ndim >= 2]
    if len(tables) == 1:
        return {"train": tables[0]}
    raise DataError(
        f"{path} holds the arrays {quoted(names) or '(none)'}; expected 'train' (and perhaps "
        "'valid' and 'test'), or only one array that has rows and columns"
    )


def _checked(array: Any, path: Path, part: str = "") -> Array:
    name = f"{path}, {part}" if part else str(path)
    if not isinstance(array, np.ndarray) or array.ndim < 2:
        raise DataError(f"{name}: expected an array of rows and columns, got shape {np.shape(array)}")
    if array.size == 0:
        raise DataError(f"{name} is empty: its array has shape {array.shape}")
    if array.dtype.kind not in "biufU":
        raise DataError(f"{name}: an array of dtype {array.dtype} cannot be used; expected numbers or text")
    if array.dtype.kind == "U" and not _is_text(array):
        raise DataError(f"{name} is damaged: an array of text holds what are no letters")
    return array


def _is_text(array: Array) -> bool:
    """Whether all letters of an array of text are such as Unicode has."""
    letters = np.ascontiguousarray(array).view(np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
    return bool(((letters <= 0x10FFFF) & ((letters < 0xD800) | (letters > 0xDFFF))).all())


def _unreadable(path: Path, what: str, error: Exception) -> str:
    if "allow_pickle" in str(error) or "pickled" in str(error):
        return (
            f"{path} holds Python objects, which are never unpickled (or is not {what}): "
            "save it again as an array of numbers"
        )
    return f"{path} is truncated, damaged, or not {what}"


# ---------------------------------------------------------------- idx


def is_idx(content: bytes) -> bool:
    """Whether bytes begin like an idx file: two zeros, a type, a number of dimensions."""
    return len(content) >= 4 and content[:2] == b"\0\0" and content[2] in _IDX_DTYPES and 1 <= content[3] <= 4


def parse_idx(content: bytes, path: Path) -> Array:
    """Return the array of an idx file's bytes, in native byte order."""
    if not is_idx(content):
        raise DataError(f"{path} is not an idx file: it begins with {content[:4]!r}")
    n_dims = content[3]
    start = 4 + 4 * n_dims
    shape = np.frombuffer(content[4:start], dtype=">u4").tolist() if len(content) >= start else []
    dtype = np.dtype(_IDX_DTYPES[content[2]])
    expected = start + math.prod(shape) * dtype.itemsize
    if len(shape) != n_dims or len(content) != expected:
        raise DataError(
            f"{path} is truncated or damaged: {len(content)} bytes where {expected} were expected"
        )
    return np.frombuffer(content, dtype=dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def read_idx(path: Path) -> Parts:
    """Read an idx file, gzipped or not."""
    rows, image_shape = flatten_images(_checked(parse_idx(read_bytes(path), path), path))
    return Parts(rows, image_shape=image_shape)


# ---------------------------------------------------------------- NAME.{ts,valid,test}.data.gz


def is_split_file(path: Path) -> bool:
    """Whether a file's name is that of one of three split files."""
    return _SPLIT_NAME.match(path.name) is not None


def read_split_files(path: Path) -> Parts:
    """Read the three files of numbers, without header, of which `path` is one."""
    match = _SPLIT_NAME.match(path.name)
    if match is None:
        raise DataError(f"{path.name} is not named like NAME.ts.data.gz")
    siblings = [
        path.with_name(f"{match['stem']}.{part}.data{match['gz'] or ''}") for part in ("ts", "valid", "test")
    ]
    for sibling in siblings:
        if not sibling.is_file():
            raise DataError(f"{path.name} comes with two sibling files, but {sibling} does not exist")
    train, valid, test = (read_numbers(sibling) for sibling in siblings)
    return Parts(train, valid, test)


def read_numbers(path: Path) -> Array:
    """Read comma-separated numbers without a header, shape (n, D)."""
    import polars as pl

    content = read_bytes(path)
    digits = _single_digits(content)
    if digits is not None:
        return digits
    try:
        frame = pl.read_csv(content, has_header=False, infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} is damaged or not comma-separated numbers: {_first_line(error)}") from error
    for number, column in enumerate(frame.iter_columns(), start=1):
        if not column.dtype.is_numeric():
            raise DataError(f"{path}: column {number} holds text where numbers belong")
        if column.null_count():
            row = int(column.is_null().arg_max() or 0) + 1
            raise DataError(f"{path}: row {row} has fewer values than the others")
    wide = [name for name, dtype in frame.schema.items() if dtype == pl.Int128]
    return _narrow(frame.with_columns(pl.col(wide).cast(pl.Float64)).to_numpy())


def _single_digits(content: bytes) -> NDArray[np.uint8] | None:
    """Parse lines of single digits between commas, ten times faster than text at large; else None."""
    lines = np.frombuffer(content.rstrip(b"\n") + b"\n", dtype=np.uint8)
    width = int(np.argmax(lines == ord("\n"))) + 1
    if width % 2 or lines.size % width:
        return None
    grid = lines.reshape(-1, width)
    digits = grid[:, ::2] - ord("0")  # what lies below "0" wraps around to more than 9
    commas, ends = grid[:, 1:-1:2], grid[:, -1]
    if (digits > 9).any() or (commas != ord(",")).any() or (ends != ord("\n")).any():
        return None
    return digits


def _narrow(array: Array) -> Array:
    """Return whole numbers 0..255 as uint8, which is an eighth of the memory."""
    if np.issubdtype(array.dtype, np.integer) and array.min() >= 0 and array.max() <= 255:
        return array.astype(np.uint8)
    return array


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def read_matlab(path: Path, name: str) -> Array:
    """Read one variable of a MATLAB v5 file."""
    import scipy.io

    try:
        return np.ascontiguousarray(scipy.io.loadmat(path)[name])
    except (ValueError, TypeError, KeyError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged or not a MATLAB file with the variable {name!r}") from error
