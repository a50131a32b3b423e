"""Rows that are more than memory holds: their schema from one pass, their codes in files from another.

The schema is that of a random sample of the rows, to which the extremes of each column and all levels are
added that it lacks. Codes of training rows go into files each of which holds a random share of them, so that
a fit can visit all rows in random order with one file in memory at a time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chainrule.datasets.limits import half_of_free_memory
from chainrule.datasets.splits import hashed_parts
from chainrule.datasets.streaming import table_batches
from chainrule.errors import DataError
from chainrule.estimators.rows import CodedRows
from chainrule.schema import UNSEEN, Schema, columns_that_name_rows

if TYPE_CHECKING:
    import polars as pl

__all__ = ["LargeTable", "StoredTable", "default_memory", "store"]

# Rows from which the schema is learned, and validation rows that a fit looks at after each epoch.
_SAMPLE_ROWS = 2**18
_VALID_ROWS = 2**17
# A column of more levels is not looked at level by level.
_MAX_LEVELS = 2**16
# What a cell takes in memory from file to fit: as it was read, as a Python object or number, and coded.
_BYTES_PER_CELL = 48
# One file of codes may take such a share of the memory.
_FILE_SHARE = 1 / 16


def default_memory() -> int:
    """Return half of the memory that is free, in bytes; 4 GiB where that cannot be told."""
    return half_of_free_memory() or 2**32


@dataclass(frozen=True)
class LargeTable:
    """A table in a file, still to be read.

    Parameters
    ----------
    table : polars LazyFrame
    path : Path
    kinds : str or mapping, optional
        Kinds that are declared.
    """

    table: pl.LazyFrame
    path: Path
    kinds: str | Mapping[str, str] | None = None

    def fits_into(self, memory: int) -> bool:
        """Return whether a fit of all rows at once takes less than so many bytes."""
        return self.n_rows() * len(self.table.collect_schema()) * _BYTES_PER_CELL < memory

    def n_rows(self) -> int:
        """Return how many rows there are."""
        import polars as pl

        return int(self.table.select(pl.len()).collect(engine="streaming").item())

    def learn(self, missing: bool, random_state: int) -> tuple[Schema, pl.DataFrame]:
        """Return the schema of the rows, and a random sample of those to train on.

        The sample lacks columns of text that name rows, unless their kind is declared.

        Raises
        ------
        DataError
            If the rows cannot be used.
        """
        sample, ranges, n_before = _Sample(random_state), _Ranges(), 0
        for batch in table_batches(self.table, self.path):
            numbers = np.arange(n_before, n_before + len(batch), dtype=np.uint64)
            n_before += len(batch)
            rows = batch.filter(hashed_parts(numbers, random_state) == 0)
            sample.add(rows)
            ranges.add(rows)
        if sample.rows is None or len(sample.rows) < 2:
            raise DataError(f"{self.path} has too few rows")
        declared = sample.rows.columns if isinstance(self.kinds, str) else list(self.kinds or ())
        names = [name for name in columns_that_name_rows(sample.rows) if name not in declared]
        rows = sample.rows.drop(names)
        try:
            return Schema.infer(ranges.completed(rows), self.kinds, missing), rows
        except DataError as error:
            raise DataError(f"{self.path.name}: {error}") from error


class _Sample:
    """Rows drawn at random from batches: those with the smallest of random numbers."""

    def __init__(self, random_state: int) -> None:
        self.rows: pl.DataFrame | None = None
        self._keys: NDArray[np.float64] = np.empty(0)
        self._generator = np.random.default_rng(random_state)

    def add(self, batch: pl.DataFrame) -> None:
        """Take in some rows."""
        import polars as pl

        drawn = self._generator.random(len(batch))
        bound = self._keys.max() if len(self._keys) == _SAMPLE_ROWS else np.inf
        chosen = np.flatnonzero(drawn < bound)
        rows = batch[chosen]
        self.rows = rows if self.rows is None else pl.concat([self.rows, rows])
        self._keys = np.concatenate([self._keys, drawn[chosen]])
        if len(self._keys) > _SAMPLE_ROWS:
            smallest = np.sort(np.argpartition(self._keys, _SAMPLE_ROWS)[:_SAMPLE_ROWS])
            self.rows, self._keys = self.rows[smallest].rechunk(), self._keys[smallest]


class _Ranges:
    """The levels of columns, where they are not too many, and the extremes of the others."""

    def __init__(self) -> None:
        self._found: dict[str, pl.Series] = {}

    def add(self, batch: pl.DataFrame) -> None:
        """Take in some rows."""
        for column in batch.iter_columns():
            values = column.drop_nulls()
            if column.dtype.is_float():
                values = values.drop_nans()
            earlier = self._found.get(column.name)
            if earlier is not None:
                values = earlier.append(values)  # in place, and it is replaced below
            self._found[column.name] = _levels_or_extremes(values)

    def completed(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows and some more, made of them, that have the levels and extremes which they lack."""
        import polars as pl

        found = {name: self._found[name] for name in rows.columns}
        lacking = {name: values.filter(~values.is_in(rows[name].implode())) for name, values in found.items()}
        n_more = max(map(len, lacking.values()))
        more = rows[np.resize(np.arange(len(rows)), n_more)]
        columns = [pl.concat([values, more[name][len(values) :]]) for name, values in lacking.items()]
        return pl.concat([rows, pl.DataFrame(columns)]) if n_more else rows


def _levels_or_extremes(values: pl.Series) -> pl.Series:
    """Return the different values, or of very many numbers the least and the greatest."""
    import polars as pl

    levels = values.unique() if not values.dtype.is_float() else values
    if len(levels) <= _MAX_LEVELS and not values.dtype.is_float():
        return levels
    if values.dtype == pl.String or len(values) == 0:
        return values.clear()
    return pl.Series(values.name, [values.min(), values.max()], dtype=values.dtype)


@dataclass(frozen=True)
class StoredTable:
    """What `store` has made of a table.

    Attributes
    ----------
    schema : Schema
    train : CodedRows
        With files of all training rows, and a sample of them in memory.
    valid : CodedRows
        Validation rows, at most 131,072 of them.
    codes_val : ndarray of shape (n, D)
        Their codes before `Schema.coarse`.
    n_rows : list of int
        How many are to train on, to validate, to test.
    """

    schema: Schema
    train: CodedRows
    valid: CodedRows
    codes_val: NDArray[np.float32]
    n_rows: list[int]


def store(
    large: LargeTable, folder: Path, *, memory: int, missing: bool, sees_bins: bool, random_state: int
) -> StoredTable:
    """Write the codes of a table's training rows into files.

    Parameters
    ----------
    large : LargeTable
    folder : Path
        Where the files go.
    memory : int
        Bytes that a fit may take.
    missing : bool
        Whether cells may be missing.
    sees_bins : bool
        Whether the model sees integers of a very wide range in bins.
    random_state : int
        Seed of the split and of the sample.

    Raises
    ------
    DataError
        If the rows cannot be used.
    """
    schema, sample = large.learn(missing, random_state)
    codes = schema.encode(sample, missing=missing)
    if sees_bins:
        schema = schema.with_rows(codes)
    coder = _Coder(schema, missing, random_state, folder, large.n_rows(), memory)
    with coder.files:
        for batch in table_batches(large.table, large.path):
            coder.add(batch.select(sample.columns))
    return coder.stored(schema.coarse(codes))


class _Coder:
    """Codes batches of a table and writes those to train on into files, each into one drawn at random."""

    def __init__(
        self, schema: Schema, missing: bool, random_state: int, folder: Path, n_rows: int, memory: int
    ) -> None:
        self._schema = schema
        self._missing = missing
        self._random_state = random_state
        self._generator = np.random.default_rng([random_state, 1])
        self._share_to_validate = min(1.0, _VALID_ROWS / max(1, n_rows / 10))
        n_files = math.ceil(n_rows * schema.n_variables * 4 / (memory * _FILE_SHARE))
        self._paths = tuple(folder / f"rows-{number}.f32" for number in range(max(1, n_files)))
        self.files = ExitStack()
        self._open = [self.files.enter_context(path.open("wb")) for path in self._paths]
        self._n_before = 0
        self._n_rows = np.zeros(3, np.int64)
        self._n_coded, self._log_det = 0, 0.0
        self._valid: list[NDArray[np.float32]] = []

    def add(self, batch: pl.DataFrame) -> None:
        """Take in the next rows."""
        numbers = np.arange(self._n_before, self._n_before + len(batch), dtype=np.uint64)
        self._n_before += len(batch)
        parts = hashed_parts(numbers, self._random_state)
        self._n_rows += np.bincount(parts, minlength=3)
        codes = self._schema.encode(batch, missing=self._missing, unseen=UNSEEN)
        is_known = (codes != UNSEEN).all(axis=1)  # of columns with more levels than are looked at
        self._write(codes[(parts == 0) & is_known])
        drawn = self._generator.random(len(batch)) < self._share_to_validate
        self._valid.append(codes[(parts == 1) & is_known & drawn])

    def _write(self, codes: NDArray[np.float32]) -> None:
        self._log_det += float(self._schema.log_abs_det_jacobian(codes).sum())
        self._n_coded += len(codes)
        seen = self._schema.coarse(codes)
        numbers = self._generator.integers(len(self._open), size=len(codes))
        for number, file in enumerate(self._open):
            file.write(np.ascontiguousarray(seen[numbers == number], np.float32).data)

    def stored(self, sample: NDArray[np.float32]) -> StoredTable:
        """Return what was written, with codes of a random sample of it."""
        codes_val = np.concatenate(self._valid)
        log_det_val = float(self._schema.log_abs_det_jacobian(codes_val).mean()) if len(codes_val) else 0.0
        files = tuple(path for path in self._paths if path.stat().st_size)
        return StoredTable(
            self._schema,
            CodedRows(sample, None, self._log_det / max(1, self._n_coded), files),
            CodedRows(self._schema.coarse(codes_val), None, log_det_val),
            codes_val,
            self._n_rows.tolist(),
        )
