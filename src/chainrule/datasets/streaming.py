"""Rows of large files, some at a time, so that memory does not grow with the file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from chainrule.datasets.arrays import flatten_images
from chainrule.datasets.loading import load_rows, take_columns
from chainrule.datasets.tables import (
    ARROW_SUFFIXES,
    MISSING_WORDS,
    is_parquet_folder,
    refined,
    scan_arrow,
    scan_parquet,
    scan_text,
)
from chainrule.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["is_url", "scan_table", "stream_rows", "table_batches"]

# Smaller files are read whole, which finds more to say about what is wrong in them. Parquet and Arrow files
# are compressed and checked by their readers.
_LARGE, _LARGE_BINARY = 2**28, 2**24
_BATCH = 2**16
_BINARY = (".parquet", *ARROW_SUFFIXES)
_TEXT = (".csv", ".tsv")
# Polars reads up to 128 row groups ahead, and is told otherwise by its environment only.
_READ_AHEAD = ("POLARS_ROW_GROUP_PREFETCH_SIZE", "2")


def stream_rows(
    name_or_path: str | Path,
    *,
    random_state: int = 0,
    image_size: tuple[int, ...] | None = None,
    missing: Sequence[str] = MISSING_WORDS,
    columns: Sequence[str] | None = None,
    n_skipped: int = 0,
) -> Iterator[Any]:
    """Yield the rows that `load_rows` returns, in the same order and perhaps in several parts.

    A large csv, tsv, parquet, Arrow or npy file, or folder of parquet files, comes in parts of 65,536 rows,
    all else whole. So does what a URL names, such as ``s3://bucket/rows.parquet``, by polars: a parquet or
    Arrow file, a folder of parquet (the URL ends in a slash), or a csv or tsv file with a header.

    Parameters
    ----------
    name_or_path, random_state, image_size, missing, columns
        As for `load_rows`.
    n_skipped : int
        How many parts to leave out at the beginning.

    Yields
    ------
    ndarray of shape (n, D) or polars DataFrame

    Raises
    ------
    DataError
        If there is no such set or file, or it cannot be read.
    """
    path = Path(name_or_path)
    if is_url(name_or_path):
        for part in table_batches(_scan_url(str(name_or_path), missing), path, n_skipped):
            yield part if columns is None else take_columns(part, columns)
        return
    if image_size is None and path.exists():
        table = scan_table(path, missing) if _is_large(path) else None
        if table is not None:
            for part in table_batches(table, path, n_skipped):
                yield part if columns is None else take_columns(part, columns)
            return
        if path.suffix.lower() == ".npy" and path.stat().st_size > _LARGE:
            yield from islice(_arrays(path), n_skipped, None)
            return
    if n_skipped == 0:
        yield load_rows(
            name_or_path, random_state=random_state, image_size=image_size, missing=missing, columns=columns
        )


def scan_table(path: Path, missing: Sequence[str] = MISSING_WORDS) -> pl.LazyFrame | None:
    """Return the table of a file, or of a folder of parquet files, still to be read; None if it is none."""
    suffix = path.suffix.lower()
    if suffix == ".parquet" or is_parquet_folder(path):
        return scan_parquet(path)
    if suffix in ARROW_SUFFIXES:
        return scan_arrow(path)
    return scan_text(path, missing) if suffix in _TEXT else None


def is_url(name_or_path: str | Path) -> bool:
    """Return whether rows are named by a URL."""
    return re.match(r"[a-z][a-z0-9]+://", str(name_or_path)) is not None


def _scan_url(url: str, missing: Sequence[str]) -> pl.LazyFrame:
    """Return the table that a URL names, still to be read.

    Raises
    ------
    DataError
        If its name does not tell its format.
    """
    import polars as pl

    suffix = Path(urlsplit(url).path).suffix.lower()
    if suffix == ".parquet" or url.endswith("/"):
        return pl.scan_parquet(url)
    if suffix in ARROW_SUFFIXES:
        return pl.scan_ipc(url)
    if suffix not in _TEXT:
        raise DataError(
            f"{url}: expected a name that ends in .parquet, .arrow, .csv or .tsv, or a folder with a /"
        )
    separator = "\t" if suffix == ".tsv" else ","
    return pl.scan_csv(url, separator=separator, infer_schema_length=None, null_values=list(missing))


def _is_large(path: Path) -> bool:
    """Return whether a file is read in parts."""
    if path.is_dir():
        return True
    return path.stat().st_size > (_LARGE_BINARY if path.suffix.lower() in _BINARY else _LARGE)


def table_batches(table: pl.LazyFrame, path: Path, n_skipped: int = 0) -> Iterator[pl.DataFrame]:
    """Yield the table that `scan_table` has returned for a path, 65,536 rows at a time."""
    import polars as pl

    is_text = path.suffix.lower() in _TEXT
    os.environ.setdefault(*_READ_AHEAD)
    try:
        for part in table.slice(n_skipped * _BATCH).collect_batches(chunk_size=_BATCH, maintain_order=True):
            yield refined(part) if is_text else part
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise DataError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}") from error


def _arrays(path: Path) -> Iterator[Any]:
    """Yield the rows of an array, of which only those in hand are kept in memory."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError) as error:
        raise DataError(f"{path} is truncated, damaged, or not a numpy array") from error
    if array.ndim not in (2, 3):
        raise DataError(
            f"{path} holds an array of shape {array.shape}; expected rows (n, D) or images (n, h, w)"
        )
    n_rows = len(array)
    del array
    for start in range(0, n_rows, _BATCH):
        # Mapped anew each time: pages that were read stay in memory as long as their mapping.
        rows = np.load(path, mmap_mode="r", allow_pickle=False)[start : start + _BATCH]
        yield flatten_images(np.array(rows))[0]
