"""Read a data file or folder by its name and content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from chainrule.datasets import arff, arrays, c45, images, tables
from chainrule.datasets.core import Parts
from chainrule.errors import DataError

__all__ = ["FORMATS", "holds_images", "read_path", "resize_parts"]

FORMATS = (
    "csv, tsv, parquet (a file or a folder of them), Arrow IPC, arff, "
    "NAME.data with NAME.names (C4.5), npy, npz, NAME.ts.data.gz, idx, "
    "or a folder or tar of images"
)

_TEXTS = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".data")
_ARFFS = (".arff", ".arff.gz")
_READERS = {
    ".parquet": tables.read_parquet,
    **dict.fromkeys(tables.ARROW_SUFFIXES, tables.read_arrow),
    ".npy": arrays.read_npy,
    ".npz": arrays.read_npz,
    ".idx": arrays.read_idx,
    ".idx.gz": arrays.read_idx,
}


def read_path(
    path: Path,
    image_size: tuple[int, ...] | None = None,
    missing: Sequence[str] = tables.MISSING_WORDS,
) -> Parts:
    """Read what lies at `path`.

    Parameters
    ----------
    path : Path
        A file of one of the formats, a folder that holds one set in the format of C4.5, one of parquet files,
        or one of images.
    image_size : tuple of int, optional
        Height and width to resize images to, and 3 to read those of a folder or tar in colour.
    missing : sequence of str
        Words that stand for a missing value in text files, beside an empty cell.

    Raises
    ------
    DataError
        If the format is unknown, or the file is empty, truncated or damaged.
    """
    names = c45.find_c45(path)
    if names is not None:
        return resize_parts(c45.read_c45(path, names, missing), image_size, path)
    if tables.is_parquet_folder(path):
        return resize_parts(tables.read_parquet(path), image_size, path)
    if holds_images(path):
        return images.read_images(path, image_size)
    return resize_parts(_read_file(path, missing), image_size, path)


def holds_images(path: Path) -> bool:
    """Return whether `path` is read as a folder or tar of images."""
    if path.is_dir():
        return c45.find_c45(path) is None and not tables.is_parquet_folder(path)
    return images.is_tar(path)


def _read_file(path: Path, missing: Sequence[str]) -> Parts:
    if arrays.is_split_file(path):
        return arrays.read_split_files(path)
    if path.name.lower().endswith(_TEXTS):
        return tables.read_text(path, missing)
    if path.name.lower().endswith(_ARFFS):
        return arff.read_arff(path, missing)
    for suffix, reader in _READERS.items():
        if path.name.lower().endswith(suffix):
            return reader(path)
    if arrays.is_idx(arrays.read_head(path, 4)):  # such as train-images-idx3-ubyte.gz
        return arrays.read_idx(path)
    raise DataError(f"{path} is of an unknown format; known are {FORMATS}")


def resize_parts(parts: Parts, image_size: tuple[int, ...] | None, source: object) -> Parts:
    """Return parts with their images resized, in as many channels; no size means as they are."""
    shape = parts.image_shape
    if image_size is None:
        return parts
    if shape is None:
        raise DataError(f"an image size was given, but the rows of {source} are not images")
    if images.n_channels(image_size) == 3 and len(shape) == 2:
        raise DataError(f"the images of {source} are grey: give an image size of height and width alone")
    image_size = (*image_size[:2], *shape[2:])
    if image_size == shape:
        return parts
    resized = [
        None if rows is None else images.resize_rows(rows, shape, image_size)
        for rows in (parts.train, parts.valid, parts.test)
    ]
    return replace(parts, train=resized[0], valid=resized[1], test=resized[2], image_shape=image_size)
