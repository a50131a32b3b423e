"""Find the kind of each column from the training rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import DataError
from chainrule.schema.lookup import did_you_mean
from chainrule.schema.tables import Column, Table
from chainrule.schema.variables import KINDS, Kind, Variable, plain_level

__all__ = ["MAX_ORDINAL_RANGE", "infer_variables"]

MAX_ORDINAL_RANGE = 1000
"""Integers that span more than this are continuous, unless they are declared ordinal."""

_MAX_FLOAT_LEVELS = 20
_MAX_CODE = 2**24  # float32 holds every integer up to here
_MAX_INTEGER = 2**53  # float64 does up to here
_BLOCK = 2**20  # values per block of a pass over a matrix

Kinds = str | Mapping[Any, str] | None


def infer_variables(table: Table, kinds: Kinds) -> tuple[Variable, ...]:
    """Return one variable per column of `table`; `kinds` overrides what the values suggest."""
    if table.n_rows < 2:
        raise DataError("X has 1 row (n_samples = 1); at least 2 rows are needed to fit a distribution")
    declared = _declared_kinds(kinds, table.names)
    _refuse_empty(table)
    if table.matrix is not None:
        return _infer_matrix(table, declared, whole=isinstance(kinds, str))
    return tuple(_infer_column(table.column(d), declared.get(d)) for d in range(table.n_columns))


def _refuse_empty(table: Table) -> None:
    """Refuse a column whose cells are all missing."""
    if not table.has_missing:
        return
    if table.matrix is not None:
        empty = np.isnan(np.fmin.reduce(table.matrix, axis=0))
    else:
        empty = np.array([len(column.values) == 0 for column in table.columns])
    if empty.any():
        name = table.names[int(np.argmax(empty))]
        raise DataError(f"column {name!r} holds no value in any of the {table.n_rows} rows; drop it")


# ---------------------------------------------------------------- declared kinds


def _declared_kinds(kinds: Kinds, names: Sequence[str]) -> dict[int, Kind]:
    """Return the declared kind of each column number that has one."""
    if kinds is None:
        return {}
    if isinstance(kinds, str):
        return dict.fromkeys(range(len(names)), _checked_kind(kinds))
    if not isinstance(kinds, Mapping):
        raise DataError(
            f"kinds must be a kind or a mapping from columns to kinds, got {type(kinds).__name__}"
        )
    positions = {name: position for position, name in enumerate(names)}
    return {_position(key, positions): _checked_kind(kind) for key, kind in kinds.items()}


def _checked_kind(kind: Any) -> Kind:
    if kind not in KINDS:
        raise DataError(f"{kind!r} is not a kind; kinds are {', '.join(KINDS)}")
    return cast("Kind", kind)


def _position(key: Any, positions: Mapping[str, int]) -> int:
    if key in positions:
        return positions[key]
    if isinstance(key, (int, np.integer)) and 0 <= key < len(positions):
        return int(key)
    hint = did_you_mean(key, positions)
    raise DataError(f"kinds names the column {key!r}, which X does not have{hint}")


# ---------------------------------------------------------------- numeric arrays


def _infer_matrix(table: Table, declared: Mapping[int, Kind], whole: bool) -> tuple[Variable, ...]:
    """Infer the columns of one numeric array: whole-array rules first, then column by column."""
    matrix = cast("NDArray[Any]", table.matrix)
    if whole:
        shared = _declared_shared(matrix, declared[0])
        free = list(range(table.n_columns)) if shared else []
    else:
        free = [d for d in range(table.n_columns) if d not in declared]
        shared = _shared_facts(matrix if len(free) == table.n_columns else matrix[:, free])
    if shared is not None:
        found = {d: Variable(table.names[d], dtype=str(matrix.dtype), **shared) for d in free}
    else:
        found = _infer_free(table, free)
    for d in range(table.n_columns):
        if d not in found:
            found[d] = _infer_column(table.column(d), declared[d])
    return tuple(found[d] for d in range(table.n_columns))


def _declared_shared(matrix: NDArray[Any], kind: Kind) -> dict[str, Any] | None:
    """Return what all columns share when one kind was declared for the whole array."""
    if kind == "binary" and _is_zero_one(matrix):
        return _zero_one_facts(matrix.dtype)
    if kind == "ordinal" and matrix.dtype.kind != "b" and _is_integral(matrix):
        low, high = map(int, _range(matrix))
        if _fits_ordinal(low, high):
            return {"kind": "ordinal", "low": low, "high": high}
    return None


def _shared_facts(matrix: NDArray[Any]) -> dict[str, Any] | None:
    """Return the kind that all values of an array share: 0/1, or integers of one range (images)."""
    if matrix.size == 0:
        return None
    if _is_zero_one(matrix):
        return _zero_one_facts(matrix.dtype)
    low, high = _range(matrix)
    if float(high) - float(low) <= MAX_ORDINAL_RANGE and _fits_ordinal(low, high) and _is_integral(matrix):
        return {"kind": "ordinal", "low": int(low), "high": int(high)}
    return None


def _zero_one_facts(dtype: np.dtype[Any]) -> dict[str, Any]:
    return {"kind": "binary", "levels": (False, True) if dtype.kind == "b" else (0, 1)}


def _fits_ordinal(low: Any, high: Any) -> bool:
    return int(high) - int(low) < _MAX_CODE and max(abs(int(low)), abs(int(high))) <= _MAX_INTEGER


def _range(matrix: NDArray[Any]) -> tuple[Any, Any]:
    """Return the least and the greatest value that is not NaN."""
    return np.fmin.reduce(matrix, axis=None), np.fmax.reduce(matrix, axis=None)


def _row_blocks(matrix: NDArray[Any]) -> Iterable[NDArray[Any]]:
    step = max(1, _BLOCK // max(1, matrix[:1].size))
    return (matrix[start : start + step] for start in range(0, len(matrix), step))


def _is_zero_one(matrix: NDArray[Any]) -> bool:
    if matrix.dtype.kind != "f":
        return bool(matrix.min() >= 0 and matrix.max() <= 1)
    return all(bool(((block == 0) | (block == 1) | np.isnan(block)).all()) for block in _row_blocks(matrix))


def _is_integral(matrix: NDArray[Any]) -> bool:
    if matrix.dtype.kind != "f":
        return True
    # this way around, NaN does not count
    return not any(bool((np.abs(block - np.rint(block)) > 0).any()) for block in _row_blocks(matrix))


def _infer_free(table: Table, free: Sequence[int]) -> dict[int, Variable]:
    """Infer columns of an array that share nothing."""
    matrix = cast("NDArray[Any]", table.matrix)
    if matrix.dtype.kind != "f":
        return {d: _infer_column(table.column(d), None) for d in free}
    found: dict[int, Variable] = {}
    # columns with holes are read one by one, as each has other rows
    step = 1 if table.has_missing else max(1, _BLOCK // len(matrix))
    for start in range(0, len(free), step):
        positions = list(free[start : start + step])
        block = np.asarray(matrix[:, positions], dtype=np.float64)
        if table.has_missing:
            block = block[~np.isnan(block[:, 0])]
        names = [table.names[d] for d in positions]
        found |= zip(positions, _infer_float_block(block, names, str(matrix.dtype)), strict=True)
    return found


def _infer_float_block(block: NDArray[np.float64], names: Sequence[str], dtype: str) -> list[Variable]:
    low, high = block.min(axis=0), block.max(axis=0)
    zero_one = ((block == 0) | (block == 1)).all(axis=0) & (low < high)
    locations, scales = _moments(block)
    variables = []
    for d, name in enumerate(names):
        if low[d] == high[d]:
            variables.append(Variable(name, "categorical", levels=(float(low[d]),), dtype=dtype))
        elif zero_one[d]:
            variables.append(Variable(name, "binary", levels=(0, 1), dtype=dtype))
        else:
            variables.append(_continuous(name, float(locations[d]), float(scales[d]), dtype))
    return variables


def _moments(values: NDArray[Any]) -> tuple[Any, Any]:
    """Mean and standard deviation down the rows; what overflows is refused by `_continuous`."""
    with np.errstate(over="ignore", invalid="ignore"):
        return values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)


def _continuous(name: str, location: float, scale: float, dtype: str) -> Variable:
    if not (np.isfinite([location, scale]).all() and scale > 0 and np.isfinite(1 / scale)):
        raise DataError(
            f"column {name!r} cannot be standardised in float64 (mean {location:g}, standard deviation "
            f"{scale:g}): bring it to a moderate scale"
        )
    return Variable(name, "continuous", location=location, scale=scale, dtype=dtype)


# ---------------------------------------------------------------- single columns


def _infer_column(column: Column, declared: Kind | None) -> Variable:
    if declared is not None:
        return _DECLARED[declared](column)
    if column.is_numeric:
        return _infer_numbers(column)
    if column.family == "boolean":
        return _with_levels(column, "binary", (False, True))
    has_text = any(isinstance(value, str) for value in column.values)
    if has_text and column.family != "category":
        _refuse_numbers_in_text(column)
    if column.family == "mixed":
        _refuse_mixture(column)
    levels = _levels(column)
    return _with_levels(column, "binary" if len(levels) == 2 else "categorical", levels)


def _infer_numbers(column: Column) -> Variable:
    distinct = np.unique(column.values)
    levels = tuple(plain_level(value, column.name) for value in distinct[:2])
    if len(distinct) == 1:
        if column.family == "integer" and levels[0] in (0, 1):
            return _with_levels(column, "binary", (0, 1))
        return _with_levels(column, "categorical", levels)
    if len(distinct) == 2:
        return _with_levels(column, "binary", levels)
    low, high = distinct[0], distinct[-1]
    narrow = float(high) - float(low) <= MAX_ORDINAL_RANGE and _fits_ordinal(low, high)
    if column.family == "float":
        narrow = narrow and len(distinct) <= _MAX_FLOAT_LEVELS and _is_integral(distinct)
    if narrow:
        return Variable(column.name, "ordinal", low=int(low), high=int(high), dtype=column.dtype)
    return _declared_continuous(column)


def _with_levels(column: Column, kind: Kind, levels: tuple[Any, ...]) -> Variable:
    return Variable(column.name, kind, levels=levels, dtype=column.dtype)


def _levels(column: Column) -> tuple[Any, ...]:
    """Return the declared categories, else the distinct values in order (numbers before text)."""
    if column.categories:
        return column.categories
    if column.family in ("boolean", "integer", "float"):
        return tuple(plain_level(value, column.name) for value in np.unique(column.values))
    distinct = {plain_level(value, column.name) for value in column.values}
    return tuple(sorted(distinct, key=lambda level: (isinstance(level, str), level)))


def _refuse_numbers_in_text(column: Column) -> None:
    numeric = [_parses_as_number(value) for value in column.values]
    if 2 * sum(numeric) <= len(numeric):
        return
    declared = f"kinds={{{column.name!r}: 'categorical'}} or --kind {column.name}=categorical"
    remedy = f"clean the column, or declare its kind, {declared}"
    if all(numeric):
        raise DataError(
            f"column {column.name!r} holds numbers written as text: convert it to numbers, or {remedy}"
        )
    row = numeric.index(False)
    raise DataError(
        f"column {column.name!r} holds text among numbers: {column.values[row]!r} in row {column.row(row)} "
        f"({len(numeric) - sum(numeric)} such in the column): {remedy}"
    )


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


def _parses_as_number(value: Any) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


# ---------------------------------------------------------------- columns of a declared kind


def _declared_binary(column: Column) -> Variable:
    if column.family == "boolean":
        return _with_levels(column, "binary", (False, True))
    levels = _levels(column)
    if column.is_numeric and set(levels) <= {0, 1}:
        return _with_levels(column, "binary", (0, 1))
    if len(levels) != 2:
        raise DataError(
            f"column {column.name!r} was declared binary but has {len(levels)} distinct value(s) "
            f"({_first_few(levels)}): declare it categorical, or drop it"
        )
    return _with_levels(column, "binary", levels)


def _first_few(levels: Sequence[Any]) -> str:
    shown = ", ".join(repr(level) for level in levels[:5])
    return f"{shown}, ..." if len(levels) > 5 else shown


def _declared_categorical(column: Column) -> Variable:
    return _with_levels(column, "categorical", _levels(column))


def _declared_ordinal(column: Column) -> Variable:
    _require_numbers(column, "ordinal")
    wrong = column.values != np.rint(column.values)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"column {column.name!r} was declared ordinal, which needs integers, but holds "
            f"{column.values[row]:g} in row {column.row(row)}: round it or declare it continuous"
        )
    low, high = column.values.min(), column.values.max()
    if not _fits_ordinal(low, high):
        raise DataError(
            f"column {column.name!r} spans {low:g} to {high:g}, too wide for an ordinal: use continuous"
        )
    return Variable(column.name, "ordinal", low=int(low), high=int(high), dtype=column.dtype)


def _declared_continuous(column: Column) -> Variable:
    _require_numbers(column, "continuous")
    if column.values.min() == column.values.max():
        raise DataError(
            f"column {column.name!r} was declared continuous but is constant ({column.values[0]:g}), "
            "so it has no density: drop it, or leave out its kind"
        )
    location, scale = _moments(column.values)
    return _continuous(column.name, float(location), float(scale), column.dtype)


def _require_numbers(column: Column, kind: Kind) -> None:
    if column.is_numeric:
        return
    shown = ""
    if column.family in ("text", "mixed", "category"):
        row = next((r for r, value in enumerate(column.values) if not _parses_as_number(value)), 0)
        shown = f" ({column.values[row]!r} in row {column.row(row)})"
    raise DataError(
        f"column {column.name!r} was declared {kind}, which needs numbers, but holds {column.family} values"
        f"{shown}: convert it, or declare it categorical"
    )


_DECLARED: dict[Kind, Callable[[Column], Variable]] = {
    "binary": _declared_binary,
    "categorical": _declared_categorical,
    "ordinal": _declared_ordinal,
    "continuous": _declared_continuous,
}
