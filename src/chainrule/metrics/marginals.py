"""How far the distribution of one column in drawn rows is from that in real rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from chainrule.schema import ColumnType

__all__ = [
    "Marginal",
    "kolmogorov_smirnov",
    "marginal_distances",
    "total_variation",
    "wasserstein",
]

Values = NDArray[np.floating]


@dataclass(frozen=True)
class Marginal:
    """The distance between two distributions of one column.

    Attributes
    ----------
    column : str
    measure : {"total variation", "Kolmogorov-Smirnov"}
        The first for levels, the second for numbers.
    distance : float
        From 0, the same distribution, to 1, no value in common; NaN where a side has no value.
    wasserstein : float or None
        For numbers, how far values must be moved on average to turn one distribution into the other, in
        standard deviations of the real values.
    """

    column: str
    measure: str
    distance: float
    wasserstein: float | None = None


def marginal_distances(variables: Sequence[ColumnType], real: Values, drawn: Values) -> tuple[Marginal, ...]:
    """Return the distance of each column, from codes (n, D) and (m, D); NaN is left out."""
    return tuple(
        _marginal(variable, _there(real[:, d]), _there(drawn[:, d])) for d, variable in enumerate(variables)
    )


def _marginal(variable: ColumnType, real: Values, drawn: Values) -> Marginal:
    if variable.is_numeric:
        distance, moved = kolmogorov_smirnov(real, drawn), wasserstein(real, drawn)
        return Marginal(variable.name, "Kolmogorov-Smirnov", distance, moved)
    return Marginal(variable.name, "total variation", total_variation(real, drawn))


def total_variation(real: Values, drawn: Values) -> float:
    """Return half the sum over levels of the difference between their shares.

    >>> total_variation(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 1.0, 1.0]))
    0.25
    """
    if not len(real) or not len(drawn):
        return math.nan
    n_levels = int(max(real.max(), drawn.max())) + 1
    shares = [np.bincount(codes.astype(int), minlength=n_levels) / len(codes) for codes in (real, drawn)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def kolmogorov_smirnov(real: Values, drawn: Values) -> float:
    """Return the largest difference between two distribution functions.

    >>> kolmogorov_smirnov(np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.0, 4.0, 5.0, 6.0]))
    0.5
    """
    if not len(real) or not len(drawn):
        return math.nan
    points = np.concatenate([real, drawn])
    below = [np.searchsorted(np.sort(values), points, side="right") / len(values) for values in (real, drawn)]
    return float(np.abs(below[0] - below[1]).max())


def wasserstein(real: Values, drawn: Values) -> float:
    """Return the mean distance that values must be moved, in standard deviations of the real ones.

    >>> wasserstein(np.array([-1.0, 1.0]), np.array([0.0, 2.0]))
    1.0
    """
    from scipy.stats import wasserstein_distance

    if not len(real) or not len(drawn):
        return math.nan
    moved = float(wasserstein_distance(real, drawn))
    spread = float(real.std())
    return moved / spread if spread > 0 else (math.inf if moved > 0 else 0.0)


def _there(values: Values) -> Values:
    return values[~np.isnan(values)].astype(np.float64)
