"""Levels of which some stand out: extra probability of these beside a smooth distribution over all levels."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor

from chainrule.conditionals.point_masses import PointMasses, with_values
from chainrule.kernels.plans import VariablePlan

__all__ = ["InflatedLevels"]


class InflatedLevels(PointMasses):
    """A distribution over levels, and extra probability of J of them (as in zero-inflation, Lambert 1992).

    Params are 1 + J logits, of "any level" and of those that stand out, and those of the distribution over
    all levels. A level that stands out has both probabilities, so that together they sum to one.

    Parameters
    ----------
    density : Conditional
        The family over all levels.
    codes : Tensor
        The levels that stand out, float64 of shape (G, J); NaN where a variable has fewer.
    """

    name = "inflated-levels"

    @classmethod
    def from_support(cls, support: Any, n_components: int) -> Self:
        """Refuse: a family over all levels must be named; see `make_family`."""
        raise TypeError("InflatedLevels stand beside a family over all levels: see make_family")

    def log_prob_plan(self) -> VariablePlan | None:
        """Return that of the family over all levels, to which these levels' own probabilities are added."""
        return with_values(self.density, self.codes, is_beside=True)

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """Return the log-probability of level x."""
        anywhere, on_levels, of_all = self.split(params)
        is_level = self.is_point_mass(x)
        smooth = anywhere + self.density.log_prob(x, of_all)
        extra = torch.where(is_level, on_levels, 0).sum(-1)
        return torch.where(is_level.any(-1), torch.logaddexp(smooth, extra), smooth)

    def level_probabilities(self, params: Tensor, n_codes: int) -> Tensor:
        """Return the probability of each level, (..., n_codes), zero beyond a variable's own K."""
        anywhere, on_levels, of_all = self.split(params)
        levels = torch.arange(n_codes, dtype=self.codes.dtype, device=params.device)
        is_level = (self.codes[..., None] == levels).to(params.dtype)
        extra = (on_levels.exp()[..., None] * is_level).sum(-2)
        return anywhere.exp()[..., None] * self.density.level_probabilities(of_all, n_codes) + extra

    def mode(self, params: Tensor) -> Tensor:
        """Return the most probable level."""
        n_levels = int(self.density.get_buffer("n_levels").max())
        return self.level_probabilities(params, n_levels).argmax(-1).to(params.dtype)
