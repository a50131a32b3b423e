"""Find the type of each column from the training rows."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import DataError
from chainrule.schema.number_formats import NumberFormat, in_number_format
from chainrule.schema.tables import Column, Table, read_table, refuse_missing
from chainrule.schema.types import COLUMN_TYPES, Binary, Categorical, ColumnType, Continuous, Empty
from chainrule.schema.types.summary import BLOCK, ColumnSummary, in_days, parses_as_number
from chainrule.schema.values import did_you_mean, quoted

__all__ = ["columns_that_name_rows", "folding_rare_levels", "infer_columns", "names_rows"]

# Text with more levels than this and than half of its values names rows instead of describing them.
MAX_TEXT_LEVELS = 100
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]|$)")
# Fewer rows than this differ from each other by chance.
MIN_IDENTIFIED = 20

Kinds = str | Mapping[Any, str] | None


def infer_columns(table: Table, kinds: Kinds, missing: bool) -> tuple[ColumnType, ...]:
    """Return the type of each column of `table`; `kinds` overrides what the values suggest.

    `missing` says whether cells may be missing in columns that have some values.
    """
    if table.n_rows < 2:
        raise DataError("X has 1 row (n_samples = 1); at least 2 rows are needed to fit a distribution")
    declared = _declared_kinds(kinds, table.names)
    empty = _empty_columns(table)
    if not missing:
        refuse_missing(table, empty.keys())
    if table.matrix is not None:
        return _infer_matrix(table, declared, isinstance(kinds, str), empty)
    columns = range(table.n_columns)
    return tuple(empty.get(d) or _infer_column(table.column(d), declared.get(d)) for d in columns)


def _empty_columns(table: Table) -> dict[int, ColumnType]:
    """Return the types of the columns whose cells are all missing, and warn of them."""
    if not table.has_missing:
        return {}
    if table.matrix is not None:
        empty = np.isnan(np.fmin.reduce(table.matrix, axis=0))
    else:
        empty = np.array([len(column.values) == 0 for column in table.columns])
    numbers = np.flatnonzero(empty).tolist()
    if len(numbers) == table.n_columns:
        raise DataError(f"all cells of the {table.n_rows} rows are missing: there is nothing to learn from")
    if numbers:
        names = quoted([table.names[d] for d in numbers])
        warnings.warn(
            f"without any value: column {names}; kept as missing, which adds nothing to log-likelihoods",
            stacklevel=2,
        )
    columns = {d: table.column(d) for d in numbers}
    return {d: Empty(column.name, column.dtype, column.unit) for d, column in columns.items()}


# ---------------------------------------------------------------- declared kinds


class _Declared(NamedTuple):
    """A declared kind, and of how many rows its levels must be lest they are folded."""

    column_type: type[ColumnType]
    least: int = 1

    def of(self, column: Column) -> ColumnType:
        """Return the type of a column."""
        if self.least > 1:
            return self.column_type.folding(column, self.least)
        return self.column_type.declared(column)


def _declared_kinds(kinds: Kinds, names: Sequence[str]) -> dict[int, _Declared]:
    """Return what is declared of each column number of which something is."""
    if kinds is None:
        return {}
    if isinstance(kinds, str):
        return dict.fromkeys(range(len(names)), _as_declared(kinds))
    if not isinstance(kinds, Mapping):
        raise DataError(
            f"kinds must be a kind or a mapping from columns to kinds, got {type(kinds).__name__}"
        )
    positions = {name: position for position, name in enumerate(names)}
    return {_position(key, positions): _as_declared(text) for key, text in kinds.items()}


def _as_declared(text: Any) -> _Declared:
    """Return what a text declares: a kind, or ``"categorical:10"``."""
    name, colon, least = text.partition(":") if isinstance(text, str) else (text, "", "")
    if name not in COLUMN_TYPES:
        raise DataError(f"{text!r} is not a kind; kinds are {', '.join(COLUMN_TYPES)}")
    if colon and not (least.isdecimal() and 0 < int(least) < 2**53):
        raise DataError(f"{text!r}: expected a number of rows behind the colon, such as {name}:10")
    return _Declared(COLUMN_TYPES[name], int(least or 1))


def folding_rare_levels(X: Any, kinds: Kinds, least: int) -> str | dict[Any, str] | None:
    """Return kinds by which levels of fewer than `least` rows become one, in all columns of text.

    Parameters
    ----------
    X : DataFrame or array of shape (n, D)
        Training rows; cells may be missing.
    kinds : str or mapping, optional
        What is declared already.
    least : int

    Examples
    --------
    >>> import polars as pl
    >>> ports = pl.DataFrame({"port": ["Cork"] * 20 + ["Bergen"] * 20 + ["Ulm", "Bonn"]})
    >>> kinds = folding_rare_levels(ports, None, 10)
    >>> kinds
    {'port': 'categorical:10'}
    >>> infer_columns(read_table(ports), kinds, missing=False)[0].describe()
    "categorical, 3 levels, of which 'other' stands for 2 rare ones"
    """
    table = read_table(X)
    if table.matrix is not None:
        return kinds if kinds is None or isinstance(kinds, str) else dict(kinds)
    by_name = dict.fromkeys(table.names, kinds) if isinstance(kinds, str) else dict(kinds or {})
    for d, variable in enumerate(infer_columns(table, kinds, missing=True)):
        column = table.column(d)
        if not variable.is_numeric and _has_rare_levels(column, least):
            by_name[variable.name] = f"{Categorical.kind}:{least}"
    return by_name or None


def _has_rare_levels(column: Column, least: int) -> bool:
    counts = Counter(column.values.tolist())
    return min(counts.values(), default=least) < least and all(isinstance(level, str) for level in counts)


def _position(key: Any, positions: Mapping[str, int]) -> int:
    if key in positions:
        return positions[key]
    if isinstance(key, (int, np.integer)) and 0 <= key < len(positions):
        return int(key)
    hint = did_you_mean(key, positions)
    raise DataError(f"kinds names the column {key!r}, which X does not have{hint}")


# ---------------------------------------------------------------- numeric arrays


def _infer_matrix(
    table: Table,
    declared: Mapping[int, _Declared],
    whole: bool,
    empty: Mapping[int, ColumnType],
) -> tuple[ColumnType, ...]:
    """Infer the columns of one numeric array: whole-array rules first, then column by column."""
    matrix = cast("NDArray[Any]", table.matrix)
    free = [d for d in range(table.n_columns) if d not in empty and (whole or d not in declared)]
    shared = _shared_type(matrix, free, declared[0].column_type if whole else None)
    if shared is not None:
        column_type, metadata = shared
        dtype = str(matrix.dtype)
        found = {d: column_type(table.names[d], dtype=dtype, **metadata) for d in free}
    else:
        found = {} if whole else _infer_free(table, free)
    found |= empty
    for d in range(table.n_columns):
        if d not in found:
            found[d] = _infer_column(table.column(d), declared[d])
    return tuple(found[d] for d in range(table.n_columns))


def _shared_type(
    matrix: NDArray[Any], free: Sequence[int], declared: type[ColumnType] | None
) -> tuple[type[ColumnType], dict[str, Any]] | None:
    """Return the type that all these columns share, such as that of an image, and its arguments."""
    if not free:
        return None
    block = matrix if len(free) == matrix.shape[1] else matrix[:, free]
    for column_type in COLUMN_TYPES.values() if declared is None else [declared]:
        metadata = column_type.shared_by(block, is_declared=declared is not None)
        if metadata is not None:
            return column_type, metadata
    return None


def _infer_free(table: Table, free: Sequence[int]) -> dict[int, ColumnType]:
    """Infer columns of an array that share nothing."""
    matrix = cast("NDArray[Any]", table.matrix)
    if not np.issubdtype(matrix.dtype, np.floating):
        return {d: _first_taker(ColumnSummary(table.column(d), few_are_levels=False)) for d in free}
    found: dict[int, ColumnType] = {}
    # columns with missing cells are read one by one, as each has other rows
    step = 1 if table.has_missing else max(1, BLOCK // len(matrix))
    for start in range(0, len(free), step):
        positions = list(free[start : start + step])
        block = np.asarray(matrix[:, positions], dtype=np.float64)
        if table.has_missing:
            block = block[~np.isnan(block[:, 0])]
        names = [table.names[d] for d in positions]
        found |= zip(positions, _infer_float_block(block, names, str(matrix.dtype)), strict=True)
    return found


def _infer_float_block(block: NDArray[np.float64], names: Sequence[str], dtype: str) -> list[ColumnType]:
    """Infer columns of real numbers, which are continuous, binary or constant, without point masses."""
    low, high = block.min(axis=0), block.max(axis=0)
    zero_one = ((block == 0) | (block == 1)).all(axis=0) & (low < high)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused by the type
        locations, scales = block.mean(axis=0), block.std(axis=0)
    columns: list[ColumnType] = []
    for d, name in enumerate(names):
        if low[d] == high[d]:
            constant = Column(name, block[:, d], "float", dtype)
            columns.append(Categorical.of_column(constant, (float(low[d]),)))
        elif zero_one[d]:
            columns.append(Binary(name, dtype=dtype, levels=(0, 1)))
        else:
            columns.append(Continuous.standardised(name, float(locations[d]), float(scales[d]), dtype))
    return columns


# ---------------------------------------------------------------- single columns


def _infer_column(column: Column, declared: _Declared | None) -> ColumnType:
    number_format = None
    if declared is None or declared.column_type.is_numeric:
        number_format = _number_format(column)
        column = in_number_format(number_format, column)
    if declared is not None:
        return _with_format(declared.of(column), number_format)
    _refuse_text(column)
    found = _first_taker(ColumnSummary(in_days(column)))
    _warn_of_identifier(column, found)
    return _with_format(found, number_format)


def _with_format(found: ColumnType, number_format: NumberFormat | None) -> ColumnType:
    """Return the type of a column whose text, if it has a format, spells numbers; say so."""
    if number_format is None:
        return found
    example = number_format.example
    warnings.warn(
        f"column {found.name!r} is text that spells numbers: it is read as these ({example!r} as "
        f"{number_format.read(example):g}), and written as text again",
        stacklevel=2,
    )
    return replace(found, number_format=number_format)


def _number_format(column: Column) -> NumberFormat | None:
    return NumberFormat.of_texts(column.values) if column.storage == "text" else None


def _first_taker(summary: ColumnSummary) -> ColumnType:
    """Return the first type on the list that the column can be of."""
    offered = (column_type.infer(summary) for column_type in COLUMN_TYPES.values())
    return next(column_type for column_type in offered if column_type is not None)


# ---------------------------------------------------------------- columns that name rows, and other text


def _refuse_text(column: Column) -> None:
    """Refuse text that is no set of levels: numbers, names of rows, several types at once."""
    if column.storage in ("text", "mixed") and any(isinstance(value, str) for value in column.values):
        _refuse_numbers_in_text(column)
    if names_rows(column):
        _refuse_identifier(column)
    if column.storage == "mixed":
        _refuse_mixture(column)


def columns_that_name_rows(X: Any) -> list[str]:
    """Return the names of text columns that `Schema.infer` refuses, because of their many levels.

    Examples
    --------
    >>> import polars as pl
    >>> frame = pl.DataFrame({"name": [f"row {i}" for i in range(500)], "sex": ["f", "m"] * 250})
    >>> columns_that_name_rows(frame)
    ['name']
    """
    table = read_table(X)
    columns = (table.column(d) for d in range(table.n_columns) if table.matrix is None)
    return [column.name for column in columns if names_rows(column)]


def names_rows(column: Column) -> bool:
    """Whether a text column has so many levels that they name rows instead of describing them."""
    if column.storage != "text" or _number_format(column) is not None:
        return False
    return len(set(column.values)) > max(MAX_TEXT_LEVELS, len(column.values) / 2)


def _refuse_identifier(column: Column) -> NoReturn:
    n_levels, n = len(set(column.values)), len(column.values)
    if all(_ISO_DATE.match(str(value)) for value in column.values):
        raise DataError(
            f"column {column.name!r} holds dates as text: read them as dates, as load_dataset(path) does, "
            f"or pandas.read_csv(path, parse_dates=[{column.name!r}]), or "
            "polars.read_csv(path, try_parse_dates=True)"
        )
    raise DataError(
        f"column {column.name!r} holds {n_levels} different texts in {n} rows, as names and identifiers do, "
        f"which no model can learn from: drop it, or declare its kind, {_as_categorical(column.name)}"
    )


def _warn_of_identifier(column: Column, found: ColumnType) -> None:
    """Say so where every row has a text or an integer of its own."""
    n = len(column.values)
    if n < MIN_IDENTIFIED or not found.is_discrete or column.unit or column.storage == "category":
        return
    if len(set(column.values.tolist())) == n:
        warnings.warn(
            f"column {column.name!r} has a different value in every row, as identifiers do: "
            "drop it, unless it tells more about a row than which one it is",
            stacklevel=2,
        )


def _refuse_numbers_in_text(column: Column) -> None:
    numeric = [parses_as_number(value) for value in column.values]
    if 2 * sum(numeric) <= len(numeric):
        return
    remedy = f"clean the column, or declare its kind, {_as_categorical(column.name)}"
    if all(numeric):
        raise DataError(
            f"column {column.name!r} holds numbers written as text: convert it to numbers, or {remedy}"
        )
    row = numeric.index(False)
    raise DataError(
        f"column {column.name!r} holds text among numbers: {column.values[row]!r} in row {column.row(row)} "
        f"({len(numeric) - sum(numeric)} such in the column): {remedy}"
    )


def _as_categorical(name: str) -> str:
    return f"kinds={{{name!r}: 'categorical'}} or --kind {name}=categorical"


def _refuse_mixture(column: Column) -> None:
    first = column.values[0]
    row = next(r for r, value in enumerate(column.values) if type(value) is not type(first))
    shown = "; ".join(
        f"{value!r}, {type(value).__name__}, in row {column.row(r)}"
        for r, value in ((0, first), (row, column.values[row]))
    )
    raise DataError(
        f"column {column.name!r} mixes types ({shown}): convert it to one type, or declare "
        f"kinds={{{column.name!r}: 'categorical'}}"
    )
