"""Values to codes and codes to values."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import DataError
from chainrule.schema.dates import SECONDS_OF_DAY
from chainrule.schema.tables import Column, Table
from chainrule.schema.variables import Variable, quoted

__all__ = [
    "LARGEST_CODE",
    "UNSEEN",
    "check_codes",
    "decode_column",
    "decode_matrix",
    "encode_table",
    "is_integer_dtype",
    "real_codes",
    "real_values",
]

_BLOCK = 2**20  # values per block of a pass over a matrix
LARGEST_CODE = float(np.finfo(np.float32).max)
"""Codes are float32."""

UNSEEN = -np.inf
"""The code of a level that the training rows lack, where such levels are let through."""

Positions = slice | NDArray[np.intp]
Floats = NDArray[np.float64]


def encode_table(
    table: Table, variables: Sequence[Variable], unseen: float | None = None
) -> NDArray[np.float32]:
    """Return the codes, shape (n, D), of a table whose columns are in the order of `variables`.

    The code of a missing value is NaN, and `unseen` that of a level of which a share is reserved for those
    that the training rows lack; None refuses it.
    """
    codes = np.empty((table.n_rows, len(variables)), dtype=np.float32)
    remaining = range(len(variables))
    if table.matrix is not None:
        groups = _numeric_groups(variables)
        for group in groups:
            group.encode_into(codes, table.matrix)
        done = {position for group in groups for position in group.numbers}
        remaining = [d for d in remaining if d not in done]  # type: ignore[assignment]
    for d in remaining:
        codes[:, d] = _encode_column(table.column(d), variables[d], unseen)
    return codes


# ---------------------------------------------------------------- many columns at once


class _Group(ABC):
    """The variables of one numeric kind; they are coded together, block of rows by block of rows.

    NaN stands for a missing value on both sides.
    """

    def __init__(self, members: Sequence[tuple[int, Variable]], n_variables: int) -> None:
        self.numbers = [number for number, _ in members]
        self.variables = [variable for _, variable in members]
        everything = len(members) == n_variables
        self.positions: Positions = slice(None) if everything else np.array(self.numbers, dtype=np.intp)

    def encode_into(self, codes: NDArray[np.float32], matrix: NDArray[Any]) -> None:
        """Write the codes of this group's columns of `matrix`."""
        for start, stop in _row_ranges(matrix.shape):
            block = np.asarray(matrix[start:stop, self.positions], dtype=np.float64)
            codes[start:stop, self.positions] = self.encode(block, start)

    def decode_into(self, values: NDArray[Any], codes: NDArray[Any]) -> None:
        """Write the values of this group's columns of `codes`."""
        for start, stop in _row_ranges(codes.shape):
            block = np.asarray(codes[start:stop, self.positions], dtype=np.float64)
            values[start:stop, self.positions] = self.decode(block, start)

    @abstractmethod
    def encode(self, block: Floats, start: int) -> Floats:
        """Return the codes of a block of values; `start` is the number of its first row."""

    @abstractmethod
    def decode(self, block: Floats, start: int) -> Floats:
        """Return the values of a block of codes."""

    def refuse(self, bad: NDArray[np.bool_], block: Floats, start: int, reason: str) -> NoReturn:
        """Raise for the first bad column and row; `reason` may use {value} and {variable}."""
        column = int(np.argmax(bad.any(axis=0)))
        row = int(np.argmax(bad[:, column]))
        variable, value = self.variables[column], block[row, column]
        text = reason.format(value=f"{value:g}", variable=variable)
        raise DataError(f"column {variable.name!r} holds {value:g} in row {start + row + 1}: {text}")


class _ZeroOne(_Group):
    def encode(self, block: Floats, start: int) -> Floats:
        bad = _unless_nan((block != 0) & (block != 1), block)
        if bad.any():
            self.refuse(bad, block, start, "an unseen level; known levels are 0 and 1")
        return block

    def decode(self, block: Floats, start: int) -> Floats:
        return block


class _Ordinal(_Group):
    def __init__(self, members: Sequence[tuple[int, Variable]], n_variables: int) -> None:
        super().__init__(members, n_variables)
        self.low = _shared(variable.low for variable in self.variables)
        self.high = _shared(variable.high for variable in self.variables)

    def encode(self, block: Floats, start: int) -> Floats:
        bad = _is_broken(block)
        if bad.any():
            self.refuse(bad, block, start, "the column is ordinal, which takes integers only")
        outside = (block < self.low) | (block > self.high)
        if outside.any():
            self.warn_of_tails(outside)
        # the end levels stand for "low or less" and "high or more"
        return np.clip(block, self.low, self.high) - self.low

    def warn_of_tails(self, outside: NDArray[np.bool_]) -> None:
        """Say how many values are scored as the end of a range that they lie beyond."""
        variable = self.variables[int(np.argmax(outside.any(axis=0)))]
        warnings.warn(
            f"{int(outside.sum())} values lie beyond the range of the training rows, such as those of column "
            f"{variable.name!r} ({variable.low} to {variable.high}): they are scored as the nearest end, "
            "which stands for everything beyond it",
            stacklevel=2,
        )

    def decode(self, block: Floats, start: int) -> Floats:
        return block + self.low


class _Continuous(_Group):
    def __init__(self, members: Sequence[tuple[int, Variable]], n_variables: int) -> None:
        super().__init__(members, n_variables)
        self.location = np.array([variable.location for variable in self.variables])
        self.scale = np.array([variable.scale for variable in self.variables])
        self.limits = [_integer_limits(variable.dtype) for variable in self.variables]
        self.spiked = [column for column, variable in enumerate(self.variables) if variable.spikes]

    def encode(self, block: Floats, start: int) -> Floats:
        with np.errstate(over="ignore"):
            codes = (block - self.location) / self.scale
        bad = np.abs(codes) > LARGEST_CODE
        if bad.any():
            reason = "too far from the training rows (mean {variable.location:g}, sd {variable.scale:g})"
            self.refuse(bad, block, start, reason)
        for column in self.spiked:
            codes[:, column] = real_codes(block[:, column], self.variables[column])
        return codes

    def decode(self, block: Floats, start: int) -> Floats:
        values: Floats = block * self.scale + self.location
        for column in self.spiked:
            values[:, column] = real_values(block[:, column], self.variables[column])
        for column, limits in enumerate(self.limits):
            if limits is not None:
                values[:, column] = np.clip(np.rint(values[:, column]), *limits)
        return values


def real_codes(values: Floats, variable: Variable) -> Floats:
    """Return the codes of values of a continuous variable; those of spikes are exact in float32."""
    codes: Floats = (values - variable.location) / variable.scale
    for spike, code in zip(variable.spikes, variable.spike_codes, strict=True):
        near = codes.astype(np.float32) == np.float32(code)
        # single precision may not tell them apart, but only the spike itself is one
        beside = np.nextafter(np.float32(code), np.float32(np.inf))
        codes = np.where(values == spike, code, np.where(near, beside, codes))
    return codes


def real_values(codes: Floats, variable: Variable) -> Floats:
    """Return the values of codes of a continuous variable; those of spikes are exact."""
    values: Floats = codes * variable.scale + variable.location
    for spike, code in zip(variable.spikes, variable.spike_codes, strict=True):
        values = np.where(codes.astype(np.float32) == np.float32(code), spike, values)
    return values


def _is_broken(block: NDArray[Any]) -> NDArray[np.bool_]:
    """Where the numbers are not whole; NaN does not count."""
    return _unless_nan(block != np.rint(block), block)


def _unless_nan(bad: NDArray[np.bool_], block: NDArray[Any]) -> NDArray[np.bool_]:
    """Return `bad` without NaN, which differs from every number."""
    return bad & ~np.isnan(block) if bad.any() else bad


def _shared(numbers: Iterable[int]) -> Any:
    """Return one number where all are equal, which makes broadcasting quick, else an array."""
    listed = list(numbers)
    return listed[0] if len(set(listed)) == 1 else np.array(listed, dtype=np.float64)


def _row_ranges(shape: tuple[int, ...]) -> Iterable[tuple[int, int]]:
    step = max(1, _BLOCK // shape[1])
    return ((start, min(start + step, shape[0])) for start in range(0, shape[0], step))


def _numeric_groups(variables: Sequence[Variable]) -> list[_Group]:
    members: dict[type[_Group], list[tuple[int, Variable]]] = {}
    for number, variable in enumerate(variables):
        group = _group_type(variable)
        if group is not None:
            members.setdefault(group, []).append((number, variable))
    return [group(found, len(variables)) for group, found in members.items()]


def _group_type(variable: Variable) -> type[_Group] | None:
    if variable.kind == "continuous":
        return _Continuous
    if variable.kind == "ordinal":
        return _Ordinal
    is_zero_one = variable.kind == "binary" and variable.levels == (0, 1)  # (False, True) equals it
    return _ZeroOne if is_zero_one else None


# ---------------------------------------------------------------- one column


def _encode_column(column: Column, variable: Variable, unseen: float | None) -> NDArray[Any]:
    """Return one code per row, NaN where the value is missing."""
    if len(column.values) == 0:  # of no type that could be checked
        return column.over_rows(np.empty(0))
    column = _in_unit_of(variable, column)
    if variable.kind in ("ordinal", "continuous"):
        _require_numbers(column, variable)
        group = (_Ordinal if variable.kind == "ordinal" else _Continuous)([(0, variable)], 1)
        values = column.over_rows(column.values.astype(np.float64))
        return group.encode(values[:, None], 0)[:, 0]
    codes = _level_codes(column, variable)
    unknown = codes < 0
    if not unknown.any():
        return column.over_rows(codes)
    if unseen is None or not variable.reserved:
        _refuse_level(column, variable, unknown)
    return column.over_rows(np.where(unknown, unseen, codes))


def _in_unit_of(variable: Variable, column: Column) -> Column:
    """Return a column of dates as numbers that count what the variable's count; refuse other columns."""
    if column.unit == variable.unit:
        return column
    if not (column.unit and variable.unit):
        holds, takes = ("dates" if unit else "no dates" for unit in (column.unit, variable.unit))
        raise DataError(f"column {variable.name!r} holds {holds}, but the training rows have {takes} in it")
    days_to_seconds = variable.unit == "seconds"
    values = column.values * SECONDS_OF_DAY if days_to_seconds else column.values / SECONDS_OF_DAY
    return replace(column, values=values, unit=variable.unit)


def _require_numbers(column: Column, variable: Variable) -> None:
    if column.is_numeric:
        return
    row = next((r for r, value in enumerate(column.values) if isinstance(value, str)), 0)
    raise DataError(
        f"column {variable.name!r} is {variable.kind} and takes numbers, "
        f"but holds {column.values[row]!r} in row {column.row(row)}"
    )


def _level_codes(column: Column, variable: Variable) -> NDArray[np.intp]:
    """Return the position of each value among the levels, -1 where it is none of them."""
    numeric_levels = not any(isinstance(level, str) for level in variable.levels)
    if numeric_levels and (column.is_numeric or column.family == "boolean"):
        return _numeric_level_codes(column.values, np.asarray(variable.levels))
    position = {level: code for code, level in enumerate(variable.levels)}
    found = (position.get(value, -1) for value in column.values)
    return np.fromiter(found, dtype=np.intp, count=len(column.values))


def _numeric_level_codes(values: NDArray[Any], levels: NDArray[Any]) -> NDArray[np.intp]:
    order = np.argsort(levels, kind="stable")
    slots = np.minimum(np.searchsorted(levels[order], values), len(levels) - 1)
    codes = order[slots]
    return np.where(levels[codes] == values, codes, -1)


def _refuse_level(column: Column, variable: Variable, unseen: NDArray[np.bool_]) -> NoReturn:
    row = int(np.argmax(unseen))
    value = column.values[row]
    value = value.item() if isinstance(value, np.generic) else value
    raise DataError(
        f"column {variable.name!r} holds {value!r} in row {column.row(row)}: an unseen level; "
        f"known levels are {quoted(variable.levels)}"
    )


# ---------------------------------------------------------------- codes to values


def check_codes(codes: Any, variables: Sequence[Variable]) -> NDArray[Any]:
    """Return codes as an array (n, D), NaN where a value is missing; refuse what no variable has."""
    array = np.asarray(codes)
    if array.ndim != 2 or array.shape[1] != len(variables):
        raise DataError(f"codes have shape {array.shape}; expected (n, {len(variables)})")
    if np.isinf(array).any():
        raise DataError("codes hold infinity")
    top = np.array([np.inf if v.n_levels is None else v.n_levels - 1 for v in variables])
    discrete = np.isfinite(top)
    block = array if discrete.all() else array[:, discrete]
    bad = (block < 0) | (block > top[discrete]) | _is_broken(block)
    if bad.any():
        column = int(np.argmax(bad.any(axis=0)))
        row = int(np.argmax(bad[:, column]))
        name = variables[int(np.flatnonzero(discrete)[column])].name
        raise DataError(
            f"the code {block[row, column]:g} of column {name!r} in row {row + 1} is none of "
            f"0..{int(top[discrete][column])}"
        )
    return array


def decode_matrix(codes: NDArray[Any], variables: Sequence[Variable], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a numeric array (n, D) of `dtype`, NaN where a value is missing."""
    values = np.empty(codes.shape, dtype=dtype)
    groups = _numeric_groups(variables)
    for group in groups:
        group.decode_into(values, codes)
    done = {number for group in groups for number in group.numbers}
    for d in set(range(len(variables))) - done:
        values[:, d] = decode_column(codes[:, d], variables[d])
    return values


def decode_column(codes: NDArray[Any], variable: Variable) -> NDArray[Any]:
    """Return the values of one column: numbers, or Python objects for levels that are text.

    With missing values these are Python objects, too, and None where the value is missing.
    """
    missing = np.isnan(codes)
    if not missing.any():
        return _decode_present(codes, variable)
    values = np.full(len(codes), None, dtype=object)
    values[~missing] = _decode_present(codes[~missing], variable)
    return values


def _decode_present(codes: NDArray[Any], variable: Variable) -> NDArray[Any]:
    if variable.kind in ("ordinal", "continuous"):
        group = (_Ordinal if variable.kind == "ordinal" else _Continuous)([(0, variable)], 1)
        values = group.decode(codes.astype(np.float64)[:, None], 0)[:, 0]
        return values.astype(np.int64) if _is_whole(variable) else values
    levels = np.array([*variable.levels, None], dtype=object)[:-1]
    if not any(isinstance(level, str) for level in variable.levels):
        levels = np.asarray(variable.levels)
    return levels[codes.astype(np.intp)]


def _is_whole(variable: Variable) -> bool:
    return variable.kind == "ordinal" and not variable.dtype.lower().startswith(
        ("float", "double", "halffloat")
    )


def is_integer_dtype(dtype: str) -> bool:
    """Whether a dtype's name, in any of the containers, is that of integers.

    >>> is_integer_dtype("UInt8"), is_integer_dtype("int64[pyarrow]"), is_integer_dtype("float32")
    (True, True, False)
    """
    return dtype.lower().startswith(("int", "uint"))


def _integer_limits(dtype: str) -> tuple[float, float] | None:
    """Return the least and the greatest float that still fits an integer dtype, or None for other dtypes."""
    if not is_integer_dtype(dtype):
        return None
    try:
        info = np.iinfo(dtype.lower().split("[")[0])
    except (TypeError, ValueError):
        info = np.iinfo(np.int64)
    return float(info.min), float(np.floor(np.nextafter(float(info.max) + 1, 0)))
