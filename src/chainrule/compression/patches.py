"""Cells that symbols do not give back as they were, and what stands in them.

Whatever a level never seen, an integer beyond the range of the training rows or a number off the grid of its
column was, it is written beside the symbols as it is. How rows are given back is no matter of trust: symbols
are decoded and compared with the rows before anything is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from chainrule.errors import DataError, StorageError
from chainrule.schema.tables import Column
from chainrule.schema.types import ColumnType

__all__ = ["Patch", "apply_patches", "differing", "patch_of", "without_zeros"]

Values = NDArray[Any]
Value = str | bool | int | float | None


class Patch(Struct, array_like=True, forbid_unknown_fields=True):
    """Cells of one column."""

    column: Annotated[int, Meta(ge=0)]
    gaps: list[Annotated[int, Meta(ge=0)]]
    """The first row, and how many rows lie from each to the next."""
    values: list[Value]


def differing(variable: ColumnType, made: Column, given: Column) -> NDArray[np.intp]:
    """Return the rows in which a column differs from what was given.

    Parameters
    ----------
    variable : ColumnType
    made, given : Column
        Of as many rows.
    """
    n = len(given.values) if given.present is None else len(given.present)
    is_made, is_given = (_everywhere(each, n) for each in (made, given))
    differs = is_made != is_given
    both = is_made & is_given
    a, b = (
        _over_rows(_comparable(variable, each), present)[both]
        for each, present in ((made, is_made), (given, is_given))
    )
    equal = np.asarray(a == b, dtype=bool)
    if a.dtype.kind == b.dtype.kind == "f":
        equal &= np.signbit(a) == np.signbit(b)
    differs[both] = ~equal
    return np.flatnonzero(differs)


def _everywhere(column: Column, n: int) -> NDArray[np.bool_]:
    return np.ones(n, dtype=bool) if column.present is None else column.present


def _comparable(variable: ColumnType, column: Column) -> Values:
    """Return the values of cells that are there: numbers in the variable's unit; of a format, texts."""
    if variable.number_format is not None and column.storage == "text":
        return column.values
    return variable.in_own_unit(column).values if len(column.values) else column.values


def _over_rows(values: Values, present: NDArray[np.bool_]) -> Values:
    if present.all():
        return values
    filled = np.empty(len(present), dtype=values.dtype)
    filled[present] = values
    return filled


def without_zeros(variable: ColumnType, given: Column, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the rows without those that hold a zero: all that one can lack is its sign."""
    values, present = _by_row(variable, given)
    is_zero = present[rows] & np.asarray(values[rows] == 0, dtype=bool)
    return rows[~is_zero]


def patch_of(d: int, variable: ColumnType, given: Column, rows: NDArray[np.intp]) -> Patch:
    """Return the patch for some rows of a column, the values as they were given."""
    values, present = _by_row(variable, given)
    listed = [_plain(values[row]) if present[row] else None for row in rows.tolist()]
    return Patch(d, np.diff(rows, prepend=0).tolist(), listed)


def _by_row(variable: ColumnType, given: Column) -> tuple[Values, NDArray[np.bool_]]:
    """Return a value for each row of a column, and where it is one."""
    n = len(given.values) if given.present is None else len(given.present)
    present = _everywhere(given, n)
    return _over_rows(_comparable(variable, given), present), present


def _plain(value: Any) -> Value:
    plain = value.item() if isinstance(value, np.generic) else value
    if not isinstance(plain, str | bool | int | float):
        raise DataError(
            f"a value of type {type(plain).__name__} cannot be compressed: turn it into text or a number"
        )
    return plain


def apply_patches(patches: Sequence[Patch], columns: list[Values]) -> None:
    """Put values into columns, which hold one for each row; StorageError if they do not belong there."""
    for patch in patches:
        rows = np.cumsum(np.array(patch.gaps, dtype=np.uint64))
        if patch.column >= len(columns) or len(rows) != len(patch.values):
            raise StorageError("the compressed rows were altered: a patch belongs to no column")
        column = columns[patch.column]
        if len(rows) and int(rows[-1]) >= len(column):
            raise StorageError("the compressed rows were altered: a patch belongs to no row")
        of_floats = column.dtype.kind == "f"
        values = [float(v) if of_floats and isinstance(v, int) else v for v in patch.values]
        column = column.astype(object)
        column[rows.astype(np.intp)] = values
        columns[patch.column] = column
