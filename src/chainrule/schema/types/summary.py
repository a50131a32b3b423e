"""What the values of a column suggest about its type, counted once for all types."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import DataError
from chainrule.schema.dates import SECONDS_OF_DAY
from chainrule.schema.tables import Column
from chainrule.schema.types.base import MAX_EXACT_CODE
from chainrule.schema.values import plain_level

__all__ = [
    "MAX_DECIMALS",
    "POINT_MASS_COUNT",
    "POINT_MASS_SHARE",
    "ColumnSummary",
    "decimals_of",
    "fits_ordinal",
    "in_days",
    "is_integral",
    "levels_of",
    "parses_as_number",
    "require_numbers",
]

# Integers that span less are ordinal, whatever they are; wider ones have a density.
MAX_ORDINAL_RANGE = 2**20
# So many different numbers, or fewer, are categories: integers if each comes about twice or more, others if
# each comes ten times.
FEW_LEVELS = 10
# A real number is a point mass where it makes up this share of the values, and so many of them.
POINT_MASS_SHARE, POINT_MASS_COUNT, MAX_POINT_MASSES = 0.003, 10, 64
MAX_INTEGER = 2**53  # float64 holds every integer up to here
MAX_DECIMALS = 9
"""Numbers of more digits behind the point are taken for ones of any number of digits."""
BLOCK = 2**20  # values per block of a pass over a matrix


@dataclass(frozen=True)
class ColumnSummary:
    """The values of a column, and what follows from how often they come.

    Parameters
    ----------
    column : Column
    few_are_levels : bool, default=True
        Whether a few different integers are names of categories rather than numbers.
    """

    column: Column
    few_are_levels: bool = True

    @cached_property
    def _counted(self) -> tuple[NDArray[Any], NDArray[np.intp]]:
        return np.unique(self.column.values, return_counts=True)

    @property
    def distinct(self) -> NDArray[Any]:
        """The different values of a column of numbers, in order."""
        return self._counted[0]

    @property
    def counts(self) -> NDArray[np.intp]:
        """How many rows have each of `distinct`."""
        return self._counted[1]

    @cached_property
    def levels(self) -> tuple[Any, ...]:
        """The values as levels."""
        if not self.column.is_numeric:
            return levels_of(self.column)
        levels = tuple(plain_level(value, self.column.name) for value in self.distinct)
        is_zero_one = self.column.storage == "integer" and not self.column.unit and set(levels) <= {0, 1}
        return (0, 1) if is_zero_one else levels

    @property
    def is_integers(self) -> bool:
        """Whether the values are whole numbers, or days, that an ordinal can hold."""
        if not self.column.is_numeric or self.column.unit == "seconds" or not is_integral(self.distinct):
            return False
        low, high = self.distinct[0], self.distinct[-1]
        return float(high) - float(low) < MAX_ORDINAL_RANGE and fits_ordinal(low, high)

    @property
    def are_levels(self) -> bool:
        """Whether the values are names rather than numbers: text, or numbers of which there are few."""
        n_distinct = len(self.distinct) if self.column.is_numeric else 0
        if n_distinct <= 1:
            return True
        if not self.column.unit and (n_distinct == 2 or self._are_few):
            return True
        # Where all are point masses, nothing is left that could have a density.
        return not self.is_integers and len(self.point_masses) == n_distinct

    @property
    def _are_few(self) -> bool:
        if not self.few_are_levels or self.column.unit == "seconds" or len(self.distinct) > FEW_LEVELS:
            return False
        if is_integral(self.distinct):
            return bool(2 * len(self.distinct) <= self.counts.sum())
        return bool(self.counts.min() >= POINT_MASS_COUNT)

    @cached_property
    def point_masses(self) -> NDArray[Any]:
        """The values that make up a noticeable share of all, the most frequent of them, in order."""
        often = np.flatnonzero(self.counts >= max(POINT_MASS_COUNT, POINT_MASS_SHARE * self.counts.sum()))
        most = often[np.argsort(-self.counts[often], kind="stable")[:MAX_POINT_MASSES]]
        chosen: NDArray[Any] = self.distinct[np.sort(most)]
        return chosen


def in_days(column: Column) -> Column:
    """Return dates with a time of day as days where all of them are midnight."""
    if column.unit != "seconds" or (column.values % SECONDS_OF_DAY).any():
        return column
    days = (column.values // SECONDS_OF_DAY).astype(np.int64)
    return replace(column, values=days, storage="integer", unit="days")


def fits_ordinal(low: Any, high: Any) -> bool:
    """Whether float32 holds the codes of integers from `low` to `high`, and float64 the integers."""
    return int(high) - int(low) < MAX_EXACT_CODE and max(abs(int(low)), abs(int(high))) <= MAX_INTEGER


def is_integral(matrix: NDArray[Any]) -> bool:
    """Whether all numbers of an array are whole; NaN does not count."""
    if not np.issubdtype(matrix.dtype, np.floating):
        return True
    step = max(1, BLOCK // max(1, matrix[:1].size))
    blocks = (matrix[start : start + step] for start in range(0, len(matrix), step))
    # this way around, NaN does not count
    return not any(bool((np.abs(block - np.rint(block)) > 0).any()) for block in blocks)


def decimals_of(values: NDArray[Any]) -> int | None:
    """Return to how many digits behind the point real numbers are written, at most nine; None for more.

    >>> decimals_of(np.array([0.25, 1.5, 3])), decimals_of(np.array([1 / 3]))
    (2, None)
    """
    numbers = values.astype(np.float64)
    for decimals in range(MAX_DECIMALS + 1):
        if (np.round(numbers, decimals).astype(values.dtype) == values).all():
            return decimals
    return None


def levels_of(column: Column) -> tuple[Any, ...]:
    """Return the declared categories, else the distinct values in order (numbers before text)."""
    if column.categories:
        return column.categories
    if column.storage in ("boolean", "integer", "float"):
        return tuple(plain_level(value, column.name) for value in np.unique(column.values))
    distinct = {plain_level(value, column.name) for value in column.values}
    return tuple(sorted(distinct, key=lambda level: (isinstance(level, str), level)))


def parses_as_number(value: Any) -> bool:
    """Whether Python reads a value as a number."""
    try:
        float(value)
    except ValueError:
        return False
    return True


def require_numbers(column: Column, kind: str) -> None:
    """Refuse a column that was declared to be of a kind of numbers and holds something else."""
    if column.is_numeric:
        return
    shown = ""
    if column.storage in ("text", "mixed", "category"):
        row = next((r for r, value in enumerate(column.values) if not parses_as_number(value)), 0)
        shown = f" ({column.values[row]!r} in row {column.row(row)})"
    raise DataError(
        f"column {column.name!r} was declared {kind}, which needs numbers, but holds {column.storage} values"
        f"{shown}: convert it, or declare it categorical"
    )
