"""How strongly pairs of columns go together: one matrix for columns of any kind.

Two columns of levels: Cramér's V. Levels and a number: the correlation ratio. Two numbers: their
correlation. Numbers are taken by rank, so that heavy tails do not decide. The first two are corrected for
what chance alone would show (Bergsma 2013; Kelley 1935), so that few rows can be compared with many.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

if TYPE_CHECKING:
    from chainrule.schema import ColumnType

__all__ = ["associations", "correlation", "correlation_ratio", "cramers_v", "frequent_levels"]

Floats = NDArray[np.float64]
Levels = NDArray[np.int64]

_MAX_LEVELS = 30


def associations(
    variables: Sequence[ColumnType], codes: NDArray[np.floating], levels: Sequence[Levels | None]
) -> Floats:
    """Return the association of each pair of columns, (D, D), from the rows that have both.

    Between numbers it has a sign and lies in [-1, 1], elsewhere in [0, 1]. Where a column has one value only
    it is 0.

    Parameters
    ----------
    variables : sequence of ColumnType
    codes : ndarray (n, D)
        NaN where a cell is missing.
    levels : sequence
        For each column of levels those that count by themselves, from `frequent_levels`.
    """
    numeric = [variable.is_numeric for variable in variables]
    columns = [
        _ranks(codes[:, d]) if numeric[d] else _lumped(codes[:, d], kept) for d, kept in enumerate(levels)
    ]
    matrix = np.eye(len(columns))
    for i in range(len(columns)):
        for j in range(i):
            both = ~(np.isnan(columns[i]) | np.isnan(columns[j]))
            first, second = columns[i][both], columns[j][both]
            if numeric[i] and numeric[j]:
                value = correlation(first, second)
            elif numeric[i]:
                value = correlation_ratio(second.astype(int), first)
            elif numeric[j]:
                value = correlation_ratio(first.astype(int), second)
            else:
                value = cramers_v(first.astype(int), second.astype(int))
            matrix[i, j] = matrix[j, i] = value
    return matrix


def frequent_levels(
    variables: Sequence[ColumnType], codes: NDArray[np.floating]
) -> tuple[Levels | None, ...]:
    """Return the most frequent levels of each column of levels; None for a column of numbers.

    All others will count as one: a column of names would go together with everything.
    """
    return tuple(
        None if variable.is_numeric else _most_frequent(codes[:, d]) for d, variable in enumerate(variables)
    )


def cramers_v(first: Levels, second: Levels) -> float:
    """Return the association of two columns of levels, from 0 to 1.

    >>> both = np.array([0, 1, 2] * 20)
    >>> round(cramers_v(both, both), 6), cramers_v(both, np.zeros(60, dtype=int))
    (1.0, 0.0)
    """
    first, second = _renumbered(first), _renumbered(second)
    n, n_first, n_second = len(first), _n_levels(first), _n_levels(second)
    if min(n_first, n_second) < 2:
        return 0.0
    counts = np.bincount(first * n_second + second, minlength=n_first * n_second).reshape(n_first, n_second)
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / n
    squared = float(((counts - expected) ** 2 / expected).sum()) / n
    excess = squared - (n_first - 1) * (n_second - 1) / (n - 1)
    most = min(k - 1 - (k - 1) ** 2 / (n - 1) for k in (n_first, n_second))
    return math.sqrt(min(max(excess, 0.0) / most, 1.0)) if most > 0 else 0.0


def correlation_ratio(levels: Levels, values: Floats) -> float:
    """Return the association of levels and a number: what share of its spread they explain, as a root.

    >>> levels = np.array([0, 1] * 30)
    >>> round(correlation_ratio(levels, 3.0 * levels), 6), correlation_ratio(levels, np.zeros(60))
    (1.0, 0.0)
    """
    levels = _renumbered(levels)
    n, n_levels = len(levels), _n_levels(levels)
    spread = float(((values - values.mean()) ** 2).sum()) if n else 0.0
    if n_levels < 2 or n <= n_levels or spread <= 0:
        return 0.0
    sizes = np.bincount(levels)
    means = np.bincount(levels, values) / sizes
    within = float(((values - means[levels]) ** 2).sum())
    explained = 1 - within / spread * (n - 1) / (n - n_levels)
    return math.sqrt(min(max(explained, 0.0), 1.0))


def correlation(first: Floats, second: Floats) -> float:
    """Return Pearson's correlation; 0 where a column has one value only.

    >>> correlation(np.arange(5.0), -2 * np.arange(5.0)), correlation(np.arange(5.0), np.ones(5))
    (-1.0, 0.0)
    """
    if len(first) < 2:
        return 0.0
    first, second = first - first.mean(), second - second.mean()
    size = math.sqrt(float(first @ first) * float(second @ second))
    return float(np.clip(first @ second / size, -1, 1)) if size > 0 else 0.0


def _ranks(values: NDArray[np.floating]) -> Floats:
    ranks = np.full(len(values), math.nan)
    observed = ~np.isnan(values)
    ranks[observed] = rankdata(values[observed])
    return ranks


def _lumped(values: NDArray[np.floating], kept: Levels | None) -> Floats:
    """Return codes 0, 1, ... of the kept levels, and one more for all others."""
    assert kept is not None
    places = np.searchsorted(kept, np.nan_to_num(values)).clip(max=max(len(kept) - 1, 0))
    known = kept[places] == values if len(kept) else np.zeros(len(values), dtype=bool)
    return np.where(np.isnan(values), math.nan, np.where(known, places, len(kept)))


def _most_frequent(values: NDArray[np.floating]) -> Levels:
    levels, counts = np.unique(values[~np.isnan(values)].astype(np.int64), return_counts=True)
    return np.sort(levels[np.argsort(-counts, kind="stable")[:_MAX_LEVELS]])


def _renumbered(levels: Levels) -> Levels:
    return np.unique(levels, return_inverse=True)[1]


def _n_levels(levels: Levels) -> int:
    return int(levels.max()) + 1 if len(levels) else 0
