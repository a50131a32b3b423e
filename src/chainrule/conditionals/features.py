"""How a conditioner's first layer sees the codes of one variable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

__all__ = ["ENCODINGS", "InputFeatures"]

ENCODINGS = ("onehot", "scaled", "raw")


@dataclass(frozen=True)
class InputFeatures:
    """The features of one variable's codes, of which one is not zero: the value, or an indicator.

    Parameters
    ----------
    n_indicators : int, default=0
        One feature for each of so many codes, in place of the value.
    factor, shift : float
        The value is ``factor * code + shift``.
    point_masses : tuple of float, default=()
        Codes that have an indicator each, behind the value.
    transform : callable, optional
        What codes go through before factor and shift; compiled samplers know none.
    """

    n_indicators: int = 0
    factor: float = 1.0
    shift: float = 0.0
    point_masses: tuple[float, ...] = ()
    transform: Callable[[Tensor], Tensor] | None = None

    @property
    def width(self) -> int:
        """Number of features."""
        return self.n_indicators or 1 + len(self.point_masses)

    @classmethod
    def of_levels(cls, n_codes: int, encoding: str) -> InputFeatures:
        """Return the features of levels 0, ..., K-1: indicators, codes on [-1, 1], or bare codes."""
        if encoding == "onehot":
            return cls(n_indicators=n_codes)
        return cls.of_grid(n_codes, encoding)

    @classmethod
    def of_grid(cls, n_codes: int, encoding: str) -> InputFeatures:
        """Return the feature of numbers 0, ..., K-1: on [-1, 1], unless the encoding is raw."""
        return cls() if encoding == "raw" else cls(factor=2 / max(n_codes - 1, 1), shift=-1.0)
