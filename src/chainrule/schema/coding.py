"""Whole tables to codes and back: numeric columns of an array in blocks, the others one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import DataError
from chainrule.schema.tables import Table
from chainrule.schema.types import ColumnType
from chainrule.schema.types.base import BlockCodedType, is_broken
from chainrule.schema.types.summary import BLOCK

__all__ = [
    "check_codes",
    "decode_matrix",
    "encode_table",
    "in_formats",
    "refuse_missing_codes",
    "restore_rows",
    "restore_values",
]

Positions = slice | NDArray[np.intp]


def encode_table(
    table: Table, columns: Sequence[ColumnType], unseen: float | None = None
) -> NDArray[np.float32]:
    """Return the codes, shape (n, D), of a table whose columns are in the order of `columns`.

    The code of a missing value is NaN, and `unseen` that of a level of which a share is reserved for those
    that the training rows lack; None refuses it.
    """
    codes = np.empty((table.n_rows, len(columns)), dtype=np.float32)
    done: set[int] = set()
    if table.matrix is not None:
        for numbers, members, positions in _runs(columns):
            done |= set(numbers)
            for start, stop in _row_ranges(table.matrix.shape):
                block = np.asarray(table.matrix[start:stop, positions], dtype=np.float64)
                codes[start:stop, positions] = type(members[0]).encode_block(members, block, start)
    for d in sorted(set(range(len(columns))) - done):
        codes[:, d] = columns[d].encode_column(table.column(d), unseen)
    return codes


def _runs(columns: Sequence[ColumnType]) -> Iterator[tuple[list[int], list[BlockCodedType], Positions]]:
    """Yield the columns of each type that are coded together: their numbers, themselves, their positions."""
    together: dict[type[ColumnType], dict[int, BlockCodedType]] = {}
    for number, column in enumerate(columns):
        if isinstance(column, BlockCodedType) and column.is_coded_in_blocks:
            together.setdefault(type(column), {})[number] = column
    for members in together.values():
        numbers = list(members)
        everything = len(numbers) == len(columns)
        positions = slice(None) if everything else np.array(numbers, dtype=np.intp)
        yield numbers, list(members.values()), positions


def _row_ranges(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    step = max(1, BLOCK // shape[1])
    return ((start, min(start + step, shape[0])) for start in range(0, shape[0], step))


# ---------------------------------------------------------------- codes to values


def check_codes(codes: Any, columns: Sequence[ColumnType]) -> NDArray[Any]:
    """Return codes as an array (n, D), NaN where a value is missing; refuse what no column has."""
    array = np.asarray(codes)
    if array.ndim != 2 or array.shape[1] != len(columns):
        raise DataError(f"codes have shape {array.shape}; expected (n, {len(columns)})")
    if np.isinf(array).any():
        raise DataError("codes hold infinity")
    top = np.array([column.n_codes - 1 for column in columns])
    discrete = np.isfinite(top)
    block = array if discrete.all() else array[:, discrete]
    bad = (block < 0) | (block > top[discrete]) | is_broken(block)
    if bad.any():
        number = int(np.argmax(bad.any(axis=0)))
        row = int(np.argmax(bad[:, number]))
        name = columns[int(np.flatnonzero(discrete)[number])].name
        raise DataError(
            f"the code {block[row, number]:g} of column {name!r} in row {row + 1} is none of "
            f"0..{int(top[discrete][number])}"
        )
    return array


def refuse_missing_codes(codes: NDArray[Any], columns: Sequence[ColumnType], dtype: str | None) -> None:
    """Refuse codes of missing values where an array is to hold them that cannot."""
    missing = np.isnan(codes)
    if not missing.any():
        return
    column = int(np.argmax(missing.any(axis=0)))
    row = int(np.argmax(missing[:, column])) + 1
    raise DataError(
        f"the value of column {columns[column].name!r} in row {row} is missing (its code is NaN), which an "
        f"array of dtype {dtype} cannot hold: fit the model on an array of floats or on a DataFrame"
    )


def decode_matrix(codes: NDArray[Any], columns: Sequence[ColumnType], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a numeric array (n, D) of `dtype`, NaN where a value is missing."""
    values = np.empty(codes.shape, dtype=dtype)
    done: set[int] = set()
    for numbers, members, positions in _runs(columns):
        done |= set(numbers)
        for start, stop in _row_ranges(codes.shape):
            block = np.asarray(codes[start:stop, positions], dtype=np.float64)
            values[start:stop, positions] = type(members[0]).decode_block(members, block)
    for d in set(range(len(columns))) - done:
        values[:, d] = columns[d].decode_column(codes[:, d])
    return values


def in_formats(values: Sequence[NDArray[Any]], columns: Sequence[ColumnType]) -> list[NDArray[Any]]:
    """Return decoded columns with texts in place of numbers that are written in a format."""
    return [
        decoded if each.number_format is None else each.number_format.write_all(decoded)
        for decoded, each in zip(values, columns, strict=True)
    ]


def restore_values(
    values: Sequence[NDArray[Any]], columns: Sequence[ColumnType], known: Mapping[int, Any]
) -> None:
    """Write numbers that all rows share, by the numbers of their columns, into decoded columns.

    Codes have less precision than real numbers, and models may see integers in bins; levels are exact.
    """
    for d, value in known.items():
        if columns[d].is_numeric:
            values[d][:] = columns[d].number_of(value)


def restore_rows(values: Sequence[NDArray[Any]], columns: Sequence[ColumnType], known: Table) -> None:
    """Write all that is known of rows into decoded columns, which hold so many completions of each.

    So a value beyond the range of the training rows, a folded level and one never seen stay what they are.

    Raises
    ------
    DataError
        If a column of whole numbers cannot hold what is known.
    """
    for d, each in enumerate(columns):
        column = known.column(d)
        if not len(column.values):
            continue
        found, decoded = each.known_values(column), values[d]
        if np.issubdtype(decoded.dtype, np.integer) and not _are_whole(found):
            raise DataError(
                f"column {each.name!r} holds whole numbers only where the model was fitted, {decoded.dtype}, "
                "and other values here, which its rows cannot hold: drop the rows"
            )
        rows = slice(None) if column.present is None else column.present
        decoded.reshape(known.n_rows, -1)[rows] = found[:, None]


def _are_whole(values: NDArray[Any]) -> bool:
    kind = values.dtype.kind
    return kind in "biu" or (kind == "f" and bool((values == np.rint(values)).all()))
