"""Supports: which codes a variable can take. Families say which of them they can model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Binary", "Counts", "Grid", "Levels", "Reals", "Support", "knot_levels", "normal_scores"]

_END_LEVEL = 5e-4


@dataclass(frozen=True)
class Support:
    """The codes of one variable."""

    is_discrete: ClassVar[bool] = True
    """Whether codes have probabilities rather than a density."""


@dataclass(frozen=True)
class Binary(Support):
    """0 and 1."""

    n_codes: ClassVar[int] = 2


@dataclass(frozen=True)
class Levels(Support):
    """Names 0, ..., K-1, which have no order; a constant has one.

    Parameters
    ----------
    n_codes : int
        K.
    """

    n_codes: int


@dataclass(frozen=True)
class Grid(Support):
    """Numbers 0, ..., K-1 on a line.

    Parameters
    ----------
    n_codes : int
        K.
    inflated : tuple of int, default=()
        Codes that stand out: many more values are there than beside them.
    """

    n_codes: int
    inflated: tuple[int, ...] = ()


@dataclass(frozen=True)
class Counts(Support):
    """Numbers 0, 1, 2, ... without an end."""


@dataclass(frozen=True)
class Reals(Support):
    """Real numbers.

    Parameters
    ----------
    point_masses : tuple of float, default=()
        Codes that have a probability each, besides the density of all others.
    knots : tuple of float, default=()
        Codes in rising order between which scores are linear; see `NormalScores`.
    scores : tuple of float, default=()
        Those of the knots; by default `normal_scores`.
    """

    is_discrete: ClassVar[bool] = False

    point_masses: tuple[float, ...] = ()
    knots: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()


def knot_levels(n_knots: int) -> NDArray[np.float64]:
    """Return of which quantiles the knots of real numbers are, (n_knots,).

    >>> knot_levels(5).tolist()
    [0.0005, 0.25, 0.5, 0.75, 0.9995]
    """
    levels = np.linspace(0, 1, n_knots)
    levels[:1], levels[-1:] = _END_LEVEL, 1 - _END_LEVEL
    return levels


def normal_scores(n_knots: int) -> NDArray[np.float64]:
    """Return the quantiles of the standard normal distribution at `knot_levels`, (n_knots,)."""
    from scipy.special import ndtri  # slow to import, and most tables have no knots

    return np.asarray(ndtri(knot_levels(n_knots)))
