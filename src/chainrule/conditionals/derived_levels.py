"""Families of levels that follow from other families, which no network learns."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable
from typing import Any, NoReturn

import torch
from torch import Tensor

from chainrule.conditionals.base import Conditional, choose_index

__all__ = ["DerivedLevels", "Tempered"]


class DerivedLevels(Conditional):
    """A family that says how probable each level is, from which all else follows.

    Parameters
    ----------
    family : Conditional
        From which it is derived, of one variable.
    n_levels : int
    """

    family: Conditional
    n_levels: int

    name = "derived"

    def __init__(self, family: Conditional, n_levels: int) -> None:
        super().__init__()
        self.family, self.n_levels = family, n_levels

    @abstractmethod
    def level_probabilities(self, params: Tensor, n_codes: int) -> Tensor:
        """Return P(X = 0), ..., P(X = n_codes - 1), shape (..., n_codes)."""

    @classmethod
    def from_support(cls, support: Any, n_components: int) -> NoReturn:
        """Refuse: the other family must be named."""
        raise TypeError(f"{cls.__name__} follows from another family")

    def marginal_params(self, x: Tensor) -> NoReturn:
        """Refuse: networks are trained with the other family."""
        raise TypeError("training starts from the family that this one follows from")

    def group_key(self) -> Hashable:
        """Return a key that is equal where the other families have equal constants, too."""
        return (super().group_key(), Conditional.group_key(self.family))

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """Return the log-probability of level x."""
        masses = self.level_probabilities(params, self.n_levels)
        at = x.long()[..., None].expand(*masses.shape[:-1], 1)
        return masses.gather(-1, at).squeeze(-1).log()

    def sample(self, params: Tensor, uniforms: Tensor) -> Tensor:
        """Return the level at which the cumulative probability passes the uniform."""
        masses = self.level_probabilities(params, self.n_levels)
        return choose_index(masses, uniforms[..., 0]).to(params.dtype)

    def mean(self, params: Tensor) -> Tensor:
        """Return the expected code."""
        codes = torch.arange(self.n_levels, device=params.device)
        return (self.level_probabilities(params, self.n_levels) * codes).sum(-1)

    def mode(self, params: Tensor) -> Tensor:
        """Return the most probable level."""
        return self.level_probabilities(params, self.n_levels).argmax(-1).to(params.dtype)

    def cdf(self, x: Tensor, params: Tensor) -> Tensor:
        """Return the probability of the levels whose code is at most x."""
        codes = torch.arange(self.n_levels, device=params.device)
        return (self.level_probabilities(params, self.n_levels) * (codes <= x[..., None])).sum(-1)


class Tempered(DerivedLevels):
    """p(x)^(1/T), normalised: below a temperature T of 1 probable levels gain, above it they lose.

    Parameters
    ----------
    family : Conditional
        Of one variable.
    n_levels : int
    temperature : float
        T, above 0.
    """

    temperature: float

    def __init__(self, family: Conditional, n_levels: int, temperature: float) -> None:
        super().__init__(family, n_levels)
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature!r}")
        self.temperature = temperature
        self.n_parameters = family.n_parameters

    def level_probabilities(self, params: Tensor, n_codes: int) -> Tensor:
        """Return P(X = 0), ..., P(X = n_codes - 1), shape (..., n_codes)."""
        masses = self.family.level_probabilities(params, self.n_levels)
        return (masses.log() / self.temperature).softmax(-1)[..., :n_codes]
