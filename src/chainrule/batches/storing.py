"""Rows that are more than memory holds: their schema from one pass, their codes in files from another.

The schema is that of a random sample of the rows, to which the extremes of each column and all levels are
added that it lacks. Codes of training rows go into files each of which holds a random share of them, so that
a fit can visit all rows in random order with one file in memory at a time.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chainrule.datasets.limits import half_of_free_memory
from chainrule.datasets.loading import note_of_names
from chainrule.datasets.splits import hashed_parts
from chainrule.datasets.streaming import table_batches
from chainrule.errors import DataError
from chainrule.estimators.rows import CodedRows
from chainrule.estimators.stored_fit import fit_stored
from chainrule.schema import UNSEEN, Schema, columns_that_name_rows, folding_rare_levels

if TYPE_CHECKING:
    import polars as pl

    from chainrule.estimators.base import DensityEstimator

__all__ = ["LargeTable", "RowsOfParts", "StoredTable", "default_memory", "store"]

# Rows from which the schema is learned, which baselines are fitted to, and by which models are tested; twice
# as many as a fit looks at after each epoch. Wide rows are fewer, so that they take a share of the memory.
_SAMPLE_ROWS = 2**18
_FEWEST_ROWS = 2**14
_SAMPLE_SHARE = 1 / 8
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
    min_level_count : int, default=1
        Of text, levels that fewer rows of the sample have become one.
    """

    table: pl.LazyFrame
    path: Path
    kinds: str | Mapping[str, str] | None = None
    min_level_count: int = 1

    def fits_into(self, memory: int) -> bool:
        """Return whether a fit of all rows at once takes less than so many bytes."""
        return self.n_rows() * len(self.table.collect_schema()) * _BYTES_PER_CELL < memory

    def n_rows(self) -> int:
        """Return how many rows there are."""
        import polars as pl

        return int(self.table.select(pl.len()).collect(engine="streaming").item())

    def n_sampled(self, memory: int) -> int:
        """Return how many rows a random sample has at most, where a fit may take so many bytes."""
        n_fitting = int(memory * _SAMPLE_SHARE / (_BYTES_PER_CELL * len(self.table.collect_schema())))
        return min(_SAMPLE_ROWS, max(_FEWEST_ROWS, n_fitting))

    def learn(self, missing: bool, random_state: int, n_sampled: int) -> tuple[Schema, pl.DataFrame]:
        """Return the schema of the rows, and a random sample of those to train on.

        The sample lacks columns of text that name rows, unless their kind is declared.

        Raises
        ------
        DataError
            If the rows cannot be used.
        """
        sample, ranges, n_before = _Sample(n_sampled, random_state), _Ranges(), 0
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
        if names:
            warnings.warn(note_of_names(sample.rows, names), stacklevel=2)
        rows = sample.rows.drop(names)
        completed, kinds = ranges.completed(rows), self.kinds
        try:
            if self.min_level_count > 1:
                kinds = folding_rare_levels(completed, kinds, self.min_level_count)
            return Schema.infer(completed, kinds, missing), rows
        except DataError as error:
            raise DataError(f"{self.path.name}: {error}") from error


class _Sample:
    """Rows drawn at random from batches: those with the smallest of random numbers."""

    def __init__(self, n_rows: int, random_state: int) -> None:
        self.rows: pl.DataFrame | None = None
        self._n_rows = n_rows
        self._keys: NDArray[np.float64] = np.empty(0)
        self._generator = np.random.default_rng(random_state)

    def add(self, batch: pl.DataFrame) -> None:
        """Take in some rows."""
        import polars as pl

        drawn = self._generator.random(len(batch))
        bound = self._keys.max() if len(self._keys) == self._n_rows else np.inf
        chosen = np.flatnonzero(drawn < bound)
        rows = batch[chosen]
        self.rows = rows if self.rows is None else pl.concat([self.rows, rows])
        self._keys = np.concatenate([self._keys, drawn[chosen]])
        if len(self._keys) > self._n_rows:
            smallest = np.sort(np.argpartition(self._keys, self._n_rows)[: self._n_rows])
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
class RowsOfParts:
    """Rows as they came, in the order of the table.

    Attributes
    ----------
    train, test : polars DataFrame
        Random samples of the rows to train on and to test.
    valid : polars DataFrame
        The validation rows that a fit looks at.
    """

    train: pl.DataFrame
    valid: pl.DataFrame
    test: pl.DataFrame


@dataclass(frozen=True)
class StoredTable:
    """What `store` has made of a table.

    Attributes
    ----------
    schema : Schema
        As networks have it, who see integers of a very wide range in bins.
    plain : Schema
        As models have it who see every integer.
    codes, codes_val : ndarray of shape (n, D)
        The codes of a random sample of the training rows, and of validation rows, before `Schema.coarse`.
    files : tuple of Path
        Where the codes of all training rows lie, as networks see them.
    log_det : float
        The mean of log p(row) - log p(codes) over all training rows, in nats.
    n_rows : list of int
        How many are to train on, to validate, to test.
    has_missing : bool
        Whether a cell is missing of a column that is not empty.
    random_state : int
        Seed of the split.
    rows : RowsOfParts or None
    """

    schema: Schema
    plain: Schema
    codes: NDArray[np.float32]
    codes_val: NDArray[np.float32]
    files: tuple[Path, ...]
    log_det: float
    n_rows: list[int]
    has_missing: bool
    random_state: int
    rows: RowsOfParts | None

    def fit(self, estimator: DensityEstimator) -> None:
        """Fit an estimator, which remembers how the rows were split.

        Networks see all training rows, a batch at a time; baselines, which need theirs at once, the sample.

        Raises
        ------
        ParameterError
            If a constructor argument is out of its range, or the estimator has rules, which need all rows at
            once.
        KindError
            If a column is of a kind that this model cannot model.
        FitInterrupted
            On Ctrl-C; the estimator is fitted, with the best weights so far.
        """
        schema = self.schema if estimator.sees_bins else self.plain
        log_det = self.log_det if estimator.sees_bins else _mean_log_det(schema, self.codes)
        estimator.split_ = {"by": "hash", "random_state": self.random_state}
        train = CodedRows(schema.coarse(self.codes), None, log_det, self.files)
        valid = CodedRows(schema.coarse(self.codes_val), None, _mean_log_det(schema, self.codes_val))
        fit_stored(estimator, schema, train, valid, self.codes_val)


def store(
    large: LargeTable, folder: Path, *, memory: int, missing: bool, random_state: int, keep_rows: bool = False
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
    random_state : int
        Seed of the split and of the samples.
    keep_rows : bool
        Whether `StoredTable.rows` are wanted.

    Raises
    ------
    DataError
        If the rows cannot be used.
    """
    n_sampled = large.n_sampled(memory)
    plain, sample = large.learn(missing, random_state, n_sampled)
    codes = plain.encode(sample, missing=missing)
    schema = plain.with_rows(codes)
    n_rows = large.n_rows()
    n_files = math.ceil(n_rows * schema.n_variables * 4 / (memory * _FILE_SHARE))
    files = [folder / f"rows-{number}.f32" for number in range(max(1, n_files))]
    tests = _Sample(n_sampled, random_state) if keep_rows else None
    coder = _Coder(schema, missing, random_state, files, n_sampled / 2 / max(1, n_rows / 10), tests)
    with coder.open_files:
        for batch in table_batches(large.table, large.path):
            coder.add(batch.select(sample.columns))
    return StoredTable(
        schema=schema,
        plain=plain,
        codes=codes,
        codes_val=np.concatenate(coder.valid),
        files=tuple(path for path in files if path.stat().st_size),
        log_det=coder.log_det / max(1, coder.n_coded),
        n_rows=coder.n_rows.tolist(),
        has_missing=coder.has_missing,
        random_state=random_state,
        rows=coder.rows(sample),
    )


class _Coder:
    """Codes batches of a table and writes those to train on into files, each into one drawn at random."""

    def __init__(
        self,
        schema: Schema,
        missing: bool,
        random_state: int,
        files: list[Path],
        share_to_validate: float,
        tests: _Sample | None,
    ) -> None:
        self._schema = schema
        self._missing = missing
        self._random_state = random_state
        self._generator = np.random.default_rng([random_state, 1])
        self._share_to_validate = share_to_validate
        self._tests = tests
        self.open_files = ExitStack()
        self._open = [self.open_files.enter_context(path.open("wb")) for path in files]
        self._n_before = 0
        self._valid_rows: list[pl.DataFrame] = []
        self.n_rows = np.zeros(3, np.int64)
        self.n_coded, self.log_det = 0, 0.0
        self.has_missing = False
        self.valid: list[NDArray[np.float32]] = []

    def add(self, batch: pl.DataFrame) -> None:
        """Take in the next rows."""
        numbers = np.arange(self._n_before, self._n_before + len(batch), dtype=np.uint64)
        self._n_before += len(batch)
        parts = hashed_parts(numbers, self._random_state)
        self.n_rows += np.bincount(parts, minlength=3)
        codes = self._schema.encode(batch, missing=self._missing, unseen=UNSEEN)
        self.has_missing |= bool(np.isnan(codes).any())
        is_known = (codes != UNSEEN).all(axis=1)  # of columns with more levels than are looked at
        self._write(codes[(parts == 0) & is_known])
        drawn = self._generator.random(len(batch)) < self._share_to_validate
        is_valid = (parts == 1) & is_known & drawn
        self.valid.append(codes[is_valid])
        if self._tests is not None:
            self._valid_rows.append(batch.filter(is_valid))
            self._tests.add(batch.filter(parts == 2))

    def _write(self, codes: NDArray[np.float32]) -> None:
        self.log_det += float(self._schema.log_abs_det_jacobian(codes).sum())
        self.n_coded += len(codes)
        seen = self._schema.coarse(codes)
        numbers = self._generator.integers(len(self._open), size=len(codes))
        for number, file in enumerate(self._open):
            file.write(np.ascontiguousarray(seen[numbers == number], np.float32).data)

    def rows(self, sample: pl.DataFrame) -> RowsOfParts | None:
        """Return the rows that were kept, beside the sample of training rows."""
        import polars as pl

        if self._tests is None:
            return None
        assert self._tests.rows is not None
        return RowsOfParts(sample, pl.concat(self._valid_rows), self._tests.rows)


def _mean_log_det(schema: Schema, codes: NDArray[np.float32]) -> float:
    return float(schema.log_abs_det_jacobian(codes).mean()) if len(codes) else 0.0
