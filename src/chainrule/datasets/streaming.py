"""Rows of large files, some at a time, so that memory does not grow with the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.datasets.arrays import flatten_images
from chainrule.datasets.loading import load_rows, take_columns
from chainrule.datasets.tables import MISSING_WORDS, refined, scan_text
from chainrule.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["stream_rows"]

# Smaller files are read whole, which finds more to say about what is wrong in them.
_LARGE = 2**28
_BATCH = 2**16


def stream_rows(
    name_or_path: str | Path,
    *,
    random_state: int = 0,
    image_size: tuple[int, int] | None = None,
    missing: Sequence[str] = MISSING_WORDS,
    columns: Sequence[str] | None = None,
) -> Iterator[Any]:
    """Yield the rows that `load_rows` returns, in the same order and perhaps in several parts.

    A csv, tsv, parquet or npy file of more than 256 MiB comes in parts of about 65,536 rows, all else whole.

    Parameters
    ----------
    name_or_path, random_state, image_size, missing, columns
        As for `load_rows`.

    Yields
    ------
    ndarray of shape (n, D) or polars DataFrame

    Raises
    ------
    DataError
        If there is no such set or file, or it cannot be read.
    """
    path = Path(name_or_path)
    if image_size is None and path.is_file() and path.stat().st_size > _LARGE:
        suffix = path.suffix.lower()
        table = _scan(path, suffix, missing)
        if table is not None:
            for part in _tables(table, path):
                yield part if columns is None else take_columns(part, columns)
            return
        if suffix == ".npy":
            yield from _arrays(path)
            return
    yield load_rows(
        name_or_path, random_state=random_state, image_size=image_size, missing=missing, columns=columns
    )


def _scan(path: Path, suffix: str, missing: Sequence[str]) -> pl.LazyFrame | None:
    """Return the table of a file, still to be read, where it can be read in parts."""
    import polars as pl

    if suffix == ".parquet":
        return pl.scan_parquet(path)
    return scan_text(path, missing) if suffix in (".csv", ".tsv") else None


def _tables(table: pl.LazyFrame, path: Path) -> Iterator[pl.DataFrame]:
    import polars as pl

    try:
        for part in table.collect_batches(chunk_size=_BATCH):
            yield part if path.suffix.lower() == ".parquet" else refined(part)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}") from error


def _arrays(path: Path) -> Iterator[Any]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError) as error:
        raise DataError(f"{path} is truncated, damaged, or not a numpy array") from error
    if array.ndim not in (2, 3):
        raise DataError(
            f"{path} holds an array of shape {array.shape}; expected rows (n, D) or images (n, h, w)"
        )
    for start in range(0, len(array), _BATCH):
        yield flatten_images(np.array(array[start : start + _BATCH]))[0]
