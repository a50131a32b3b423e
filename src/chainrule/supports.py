"""Supports: which codes a variable can take. Families say which of them they can model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

__all__ = ["Binary", "Counts", "Grid", "Levels", "Reals", "Support"]


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
    """

    n_codes: int


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
    """

    is_discrete: ClassVar[bool] = False

    point_masses: tuple[float, ...] = ()
