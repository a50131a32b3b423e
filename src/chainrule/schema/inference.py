"""Find the kind of each column from the training rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import DataError
from chainrule.schema.dates import SECONDS_OF_DAY
from chainrule.schema.lookup import did_you_mean
from chainrule.schema.tables import Column, Table
from chainrule.schema.variables import KINDS, Kind, Unit, Variable, plain_level

__all__ = ["MAX_SHARED_RANGE", "infer_variables", "names_rows"]

MAX_SHARED_RANGE = 1000
"""A numeric array whose integers span more than this has no range that all of its columns share."""

# Integers that span less are ordinal, whatever they are; wider ones have a density.
_MAX_ORDINAL_RANGE = 2**20
# Ordinals with more levels than this are placed by the mean and the standard deviation of their codes.
_MANY_LEVELS = 256
# So many different integers, or fewer, are categories, if each comes about twice or more.
_FEW_LEVELS = 10
# Text with more levels than this and than half of its values names rows instead of describing them.
_MAX_TEXT_LEVELS = 100
# Fewer rows than this differ from each other by chance.
_LEAST_IDENTIFIED = 20
# A real number is a point mass where it makes up this share of the values, and so many of them.
_SPIKE_SHARE, _SPIKE_COUNT, _MAX_SPIKES = 0.05, 10, 10
# A constant has probability 1, but for this.
_RESERVED_BY_CONSTANT = 1e-6
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
    if float(high) - float(low) <= MAX_SHARED_RANGE and _fits_ordinal(low, high) and _is_integral(matrix):
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
        return {d: _infer_numbers(table.column(d), few_are_levels=False) for d in free}
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
            variables.append(_constant(name, float(low[d]), len(block), dtype))
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
        variable = _infer_numbers(_in_days(column))
        _warn_of_identifier(column, variable)
        return variable
    if column.family == "boolean":
        return _with_levels(column, "binary", (False, True))
    if column.family in ("text", "mixed") and any(isinstance(value, str) for value in column.values):
        _refuse_numbers_in_text(column)
    if names_rows(column):
        _refuse_identifier(column)
    if column.family == "mixed":
        _refuse_mixture(column)
    levels = _levels(column)
    variable = _with_levels(column, "binary" if len(levels) == 2 else "categorical", levels)
    _warn_of_identifier(column, variable)
    return variable


def _in_days(column: Column) -> Column:
    """Return dates with a time of day as days where all of them are midnight."""
    if column.unit != "seconds" or (column.values % SECONDS_OF_DAY).any():
        return column
    days = (column.values // SECONDS_OF_DAY).astype(np.int64)
    return replace(column, values=days, family="integer", unit="days")


def _infer_numbers(column: Column, few_are_levels: bool = True) -> Variable:
    distinct, counts = np.unique(column.values, return_counts=True)
    whole = column.unit != "seconds" and _is_integral(distinct)
    if len(distinct) == 1 or (not column.unit and _are_levels(distinct, counts, whole and few_are_levels)):
        return _with_number_levels(column, distinct)
    if whole and _has_ordinal_range(distinct[0], distinct[-1]):
        return _ordinal(column)
    spikes = _spikes(distinct, counts)
    if len(spikes) == len(distinct):  # nothing is left that could have a density
        return _with_number_levels(column, distinct)
    variable = _declared_continuous(column)
    return replace(variable, spikes=_with_codes_of_their_own(spikes, variable))


def _are_levels(distinct: NDArray[Any], counts: NDArray[np.intp], few_are_levels: bool) -> bool:
    """Whether numbers are levels: two of them, or a few of which each comes about twice or more."""
    few = few_are_levels and len(distinct) <= _FEW_LEVELS and 2 * len(distinct) <= counts.sum()
    return len(distinct) == 2 or few


def _with_number_levels(column: Column, distinct: NDArray[Any]) -> Variable:
    levels = tuple(plain_level(value, column.name) for value in distinct)
    if column.family == "integer" and not column.unit and set(levels) <= {0, 1}:
        levels = (0, 1)
    return _with_levels(column, "binary" if len(levels) == 2 else "categorical", levels)


def _has_ordinal_range(low: Any, high: Any) -> bool:
    return float(high) - float(low) < _MAX_ORDINAL_RANGE and _fits_ordinal(low, high)


def _spikes(distinct: NDArray[Any], counts: NDArray[np.intp]) -> NDArray[Any]:
    """Return the values that make up a noticeable share of all, the most frequent of them, in order."""
    often = np.flatnonzero(counts >= max(_SPIKE_COUNT, _SPIKE_SHARE * counts.sum()))
    most = often[np.argsort(-counts[often], kind="stable")[:_MAX_SPIKES]]
    chosen: NDArray[Any] = distinct[np.sort(most)]
    return chosen


def _with_codes_of_their_own(spikes: NDArray[Any], variable: Variable) -> tuple[float, ...]:
    """Leave out spikes that single precision cannot tell from the one before."""
    values = tuple(float(value) for value in spikes)
    codes = replace(variable, spikes=values).spike_codes
    return tuple(value for n, value in enumerate(values) if codes[n] not in codes[:n])


def _ordinal(column: Column) -> Variable:
    """Return an ordinal; many levels are placed by where the codes lie."""
    low, high = int(column.values.min()), int(column.values.max())
    variable = Variable(column.name, "ordinal", low=low, high=high, dtype=column.dtype, unit=column.unit)
    if high - low + 1 <= _MANY_LEVELS:
        return variable
    location, scale = _moments(column.values.astype(np.float64) - low)
    return replace(variable, location=float(location), scale=float(scale))


def _with_levels(column: Column, kind: Kind, levels: tuple[Any, ...]) -> Variable:
    """Return a variable with levels, which reserves a share for others unless these are all there can be."""
    if len(levels) == 1 and not column.categories:
        return _constant(column.name, levels[0], len(column.values), column.dtype, column.unit)
    complete = bool(column.categories) or column.family == "boolean" or levels == (0, 1)
    reserved = 0.0 if complete else 1 / (len(column.values) + 1)
    return Variable(column.name, kind, levels=levels, dtype=column.dtype, reserved=reserved, unit=column.unit)


def _constant(name: str, level: Any, n: int, dtype: str, unit: Unit = "") -> Variable:
    reserved = min(_RESERVED_BY_CONSTANT, 1 / (n + 1))
    return Variable(name, "categorical", levels=(level,), dtype=dtype, reserved=reserved, unit=unit)


# ---------------------------------------------------------------- columns that name rows


def names_rows(column: Column) -> bool:
    """Whether a text column has so many levels that they name rows instead of describing them."""
    if column.family != "text":
        return False
    return len(set(column.values)) > max(_MAX_TEXT_LEVELS, len(column.values) / 2)


def _refuse_identifier(column: Column) -> NoReturn:
    n_levels, n = len(set(column.values)), len(column.values)
    raise DataError(
        f"column {column.name!r} holds {n_levels} different texts in {n} rows, as names and identifiers do, "
        f"which no model can learn from: drop it, or declare its kind, {_as_categorical(column.name)}"
    )


def _warn_of_identifier(column: Column, variable: Variable) -> None:
    """Say so where every row has a text or an integer of its own."""
    n = len(column.values)
    if n < _LEAST_IDENTIFIED or variable.kind == "continuous" or column.unit or column.family == "category":
        return
    if len(set(column.values.tolist())) == n:
        warnings.warn(
            f"column {column.name!r} has a different value in every row, as identifiers do: "
            "drop it, unless it tells more about a row than which one it is",
            stacklevel=2,
        )


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
    column = _in_days(column)
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
    return _ordinal(column)


def _declared_continuous(column: Column) -> Variable:
    _require_numbers(column, "continuous")
    if column.values.min() == column.values.max():
        raise DataError(
            f"column {column.name!r} was declared continuous but is constant ({column.values[0]:g}), "
            "so it has no density: drop it, or leave out its kind"
        )
    location, scale = _moments(column.values)
    return replace(_continuous(column.name, float(location), float(scale), column.dtype), unit=column.unit)


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
