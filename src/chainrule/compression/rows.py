"""Rows in the user's container to symbols, and back, with whatever symbols do not say beside them."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from chainrule.compression.coders import ANY
from chainrule.compression.columns import Column
from chainrule.compression.grids import is_few
from chainrule.compression.patches import Patch, apply_patches, differing, patch_of, without_zeros
from chainrule.errors import DataError, StorageError
from chainrule.estimators.base import DensityEstimator
from chainrule.schema import UNSEEN, ColumnType, Schema
from chainrule.schema.tables import Table, read_table
from chainrule.schema.types import Empty

__all__ = ["SymbolRows", "rows_between", "codes_of", "symbols_of", "table_of", "values_of"]

Symbols = NDArray[np.int64]
Truth = NDArray[np.bool_]


@dataclass(frozen=True)
class SymbolRows:
    """Rows as they are coded.

    Parameters
    ----------
    symbols : ndarray of int64, shape (n, D)
        `ANY` where a patch stands in place of a symbol; 0 where a cell is missing.
    missing : ndarray of bool, shape (n, D)
    patches : list of Patch
    codes : ndarray of float32, shape (n, D)
        As `Schema.encode` gives them.
    """

    symbols: Symbols
    missing: Truth
    patches: list[Patch]
    codes: NDArray[np.float32]


def table_of(X: Any, model: DensityEstimator) -> Table:
    """Return the table of rows that a model is to compress.

    Raises
    ------
    DataError
        If rows have other columns, or hold what a table does not keep.
    """
    table = model.schema_.read(X, type(model).__name__)
    refuse_fine_times(X, table)
    for d, variable in enumerate(model.schema_.variables):
        if isinstance(variable, Empty) and len(table.column(d).values):
            raise DataError(
                f"column {variable.name!r} was empty in the training rows and holds values now: leave the "
                "column out, or fit a model that knows it"
            )
    return table


def symbols_of(
    X: Any, table: Table, model: DensityEstimator, columns: Sequence[Column], declared: Collection[int]
) -> SymbolRows:
    """Return rows as they are coded.

    Parameters
    ----------
    X : array or DataFrame, shape (n, D)
    table : Table
        What `table_of` has made of it.
    model : density estimator
    columns : sequence of Column
    declared : collection of int
        Numbers of the columns whose values are rounded to the resolution that the user has declared.

    Raises
    ------
    DataError
        If rows cannot be used, or could not be given back as they are.
    """
    schema = model.schema_
    codes = codes_of(X, model)
    missing = np.isnan(codes)
    symbols = np.zeros(codes.shape, dtype=np.int64)
    for d, column in enumerate(columns):
        rows = ~missing[:, d]
        own = column.variable.in_own_unit(table.column(d)).values if column.is_of_numbers else codes[rows, d]
        symbols[rows, d] = column.symbols(own, codes[rows, d])
    for d in declared:
        if (symbols[:, d] == ANY).any():
            raise DataError(
                f"the resolution of column {schema.names[d]!r} is too fine for numbers as large as its own"
            )
    stood_for = np.where(symbols == ANY, 0, symbols)
    patches = _patches(table, schema, columns, symbols, stood_for, missing, declared)
    return SymbolRows(symbols, missing, patches, codes)


def codes_of(X: Any, model: DensityEstimator) -> NDArray[np.float32]:
    """Return the codes of rows; levels may be `UNSEEN`."""
    with warnings.catch_warnings():
        # Values beyond the range of the training rows are scored as its end, but not compressed as such.
        warnings.simplefilter("ignore")
        return model.schema_.encode(
            X, estimator=type(model).__name__, missing=model.supports_missing, unseen=UNSEEN
        )


def _patches(
    table: Table,
    schema: Schema,
    columns: Sequence[Column],
    symbols: Symbols,
    stood_for: Symbols,
    missing: Truth,
    declared: Collection[int],
) -> list[Patch]:
    """Return what symbols do not give back as it was."""
    made = _read_back(schema, values_of(columns, stood_for, missing, []))
    patches = []
    for d, column in enumerate(columns):
        rows = np.flatnonzero(symbols[:, d] == ANY)
        if d not in declared:
            rows = np.union1d(rows, differing(column.variable, made.column(d), table.column(d)))
        if not len(rows):
            continue
        if column.is_of_numbers:
            n_off = len(without_zeros(column.variable, table.column(d), rows))
            if not is_few(n_off, int((~missing[:, d]).sum())):
                raise DataError(_off_grid(column.variable, n_off))
        patches.append(patch_of(d, column.variable, table.column(d), rows))
    if patches:
        _check_patched(table, schema, columns, values_of(columns, stood_for, missing, patches), declared)
    return patches


def _check_patched(
    table: Table,
    schema: Schema,
    columns: Sequence[Column],
    values: list[NDArray[Any]],
    declared: Collection[int],
) -> None:
    """Refuse rows with values that columns of the training rows' types cannot hold."""
    try:
        made = _read_back(schema, values)
    except StorageError as error:
        raise DataError(f"the rows hold values that would not come back: {error}") from error
    for d, column in enumerate(columns):
        if d in declared:
            continue
        wrong = differing(column.variable, made.column(d), table.column(d))
        if len(wrong):
            raise DataError(
                f"column {schema.names[d]!r} holds a value in row {int(wrong[0]) + 1} that a column of "
                f"{column.variable.dtype}, as in the training rows, cannot hold: it would not come back"
            )


def _off_grid(variable: ColumnType, n_rows: int) -> str:
    return (
        f"{n_rows:,} numbers of column {variable.name!r} are too large to compress, or have more digits than "
        "other rows: give the resolution to which they are to be kept, such as --resolution "
        f"{variable.name}=0.01, or leave the column out"
    )


def _read_back(schema: Schema, values: list[NDArray[Any]]) -> Table:
    return read_table(schema.build(values))


def values_of(
    columns: Sequence[Column], symbols: Symbols, missing: Truth, patches: Sequence[Patch]
) -> list[NDArray[Any]]:
    """Return the values of each column as `Schema.build` takes them."""
    made: list[NDArray[Any]] = []
    for d, column in enumerate(columns):
        values: NDArray[Any] = column.values(symbols[:, d])
        if missing[:, d].any():
            values = values.astype(object)
            values[missing[:, d]] = None
        form = column.variable.number_format
        made.append(values if form is None else form.write_all(values))
    apply_patches(patches, made)
    return made


def rows_between(X: Any, start: int, stop: int) -> Any:
    """Return consecutive rows of any container."""
    if hasattr(X, "iloc"):
        return X.iloc[start:stop]
    return X.slice(start, stop - start) if hasattr(X, "slice") else X[start:stop]


def refuse_fine_times(X: Any, table: Table) -> None:
    """Refuse times that microseconds from 1970 on, as a float, do not tell: they would not come back."""
    if table.container == "numpy":
        return
    for series in nw.from_native(X, eager_only=True).iter_columns():
        if not isinstance(series.dtype, nw.Datetime) or series.null_count() == len(series):
            continue
        column = table.column(table.names.index(str(series.name)))
        finest = "ns" if series.dtype.time_unit == "ns" else "us"
        ticks = series.drop_nulls().dt.timestamp(finest).to_numpy()
        kept = np.rint(column.values * 1e6).astype(np.int64) * (1000 if finest == "ns" else 1)
        if (ticks != kept).any():
            raise DataError(
                f"column {column.name!r} holds times with parts of a microsecond, or far from 1970, which "
                "would not come back as they are: round them first"
            )
