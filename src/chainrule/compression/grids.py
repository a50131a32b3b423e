"""The grids on which real numbers lie: what makes whole numbers of them."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from chainrule.errors import DataError
from chainrule.schema import ColumnType, Schema
from chainrule.schema.tables import Column, Table
from chainrule.schema.types.summary import MAX_DECIMALS

__all__ = ["declared_steps", "is_few", "steps_of"]

# So many numbers, or this share of all, may lie off a grid before it is taken for the wrong one.
_FEW, _SHARE = 10, 0.1
# A grid with fewer digits is better than one that this share of all do not need.
_NEARLY_NONE = 0.01
_SINGLE = ("float32", "float", "float[pyarrow]")


def declared_steps(schema: Schema, resolution: Mapping[Any, Any]) -> dict[int, Fraction]:
    """Return the steps that a user declares, by the numbers of the columns.

    Raises
    ------
    DataError
        If a column is unknown or has no real numbers, or a step is no number above zero.
    """
    steps = {}
    for d, step in zip(schema.column_numbers(list(resolution)), resolution.values(), strict=True):
        variable = schema.variables[d]
        if variable.is_discrete:
            raise DataError(f"column {variable.name!r} is {variable.kind}: it needs no resolution")
        try:
            fraction = Fraction(str(step))
        except (ValueError, ZeroDivisionError):
            fraction = Fraction(0)
        if not 0 < fraction.numerator < 2**31 or fraction.denominator >= 2**31:
            raise DataError(
                f"the resolution of {variable.name!r} must be a number above 0, such as 0.01, not {step}"
            )
        steps[d] = fraction
    return steps


def steps_of(schema: Schema, declared: Mapping[int, Fraction], table: Table) -> dict[int, Fraction]:
    """Return the step of the grid of each column of real numbers, by the number of the column.

    That is what the user declares, else the grid of the training rows if nearly all numbers lie on it, else
    the coarsest decimal one on which nearly all do.

    Raises
    ------
    DataError
        If a column has any number of digits.
    """
    steps = {}
    for d, variable in enumerate(schema.variables):
        if not variable.is_discrete:
            steps[d] = declared[d] if d in declared else _step_of(variable, table.column(d))
    return steps


def _step_of(variable: ColumnType, column: Column) -> Fraction:
    numbers = variable.in_own_unit(column).values if len(column.values) else np.empty(0)
    if column.dtype.lower() in _SINGLE:
        numbers = numbers.astype(np.float32)  # in which 0.1 is another number
    if variable.step is not None and is_few(_n_off(numbers, variable.step), len(numbers)):
        return variable.step
    grids = [Fraction(1, 10**decimals) for decimals in range(MAX_DECIMALS + 1)]
    n_off = [_n_off(numbers, grid) for grid in grids]
    for is_enough in (lambda n: n <= _NEARLY_NONE * len(numbers), lambda n: is_few(n, len(numbers))):
        if found := [grid for grid, n in zip(grids, n_off, strict=True) if is_enough(n)]:
            return found[0]
    raise DataError(
        f"column {variable.name!r} holds real numbers of any number of digits: give the resolution to which "
        f"they are to be kept, such as --resolution {variable.name}=0.01"
    )


def _n_off(numbers: np.ndarray, step: Fraction) -> int:
    """Return how many numbers lie off a grid."""
    if np.issubdtype(numbers.dtype, np.integer) and step.numerator == 1:
        return 0
    with np.errstate(over="ignore"):
        steps = np.rint(numbers.astype(np.float64) * step.denominator / step.numerator)
        nearest = (steps * step.numerator / step.denominator).astype(numbers.dtype)
    return int((nearest != numbers).sum())


def is_few(n_off: int, n: int) -> bool:
    """Whether so few of n numbers lie off a grid that it is theirs."""
    return n_off <= max(_FEW, _SHARE * n)
