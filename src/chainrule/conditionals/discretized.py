"""Discretised mixtures of logistics for ordinal variables (Salimans et al. 2017, eq. 2).

The integer line 0..K-1 is laid on [-1, 1]; a level's probability is the mass of its bin. The end levels
own the tails beyond them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from chainrule.conditionals.base import Conditional, choose_index
from chainrule.conditionals.features import InputFeatures
from chainrule.conditionals.mixtures import (
    evenly_spread_components,
    mixture_width,
    open_interval,
    split_mixture,
)
from chainrule.kernels.plans import VariablePlan
from chainrule.supports import Grid, Support

__all__ = ["DiscretizedLogistics"]

# A scale of this part of a half bin already puts all mass into one level.
NARROWEST = 0.05


class DiscretizedLogistics(Conditional):
    """A mixture of M logistics, rounded to the levels 0..K-1.

    Parameters
    ----------
    n_components : int
        M.
    n_levels : Tensor
        K of each variable, int64 of shape (G,), or (1,) for all alike.
    """

    name = "discretized-logistics"
    supports: ClassVar[tuple[type[Support], ...]] = (Grid,)
    compiled_family: ClassVar[str | None] = "discretized"
    n_uniforms = 2
    n_levels: Tensor

    def __init__(self, n_components: int, n_levels: Tensor) -> None:
        super().__init__()
        self.n_components = n_components
        self.n_parameters: int = mixture_width(n_components)
        self.register_buffer("n_levels", n_levels, persistent=False)

    @classmethod
    def from_support(cls, support: Grid, n_components: int) -> Self:
        """Return the family of one variable."""
        return cls(n_components, torch.tensor([support.n_codes]))

    def input_features(self, encoding: str) -> InputFeatures:
        """Return the level on [-1, 1], unless the encoding is raw."""
        return InputFeatures.of_grid(int(self.n_levels), encoding)

    def group_key(self) -> Hashable:
        """Return the number of components: variables of any numbers of levels are evaluated together."""
        return type(self), self.n_components

    @classmethod
    def group(cls, families: Sequence[Self]) -> Self:
        """Return the family with each variable's number of levels."""
        return cls(families[0].n_components, torch.cat([family.n_levels for family in families]))

    def log_prob_plan(self) -> VariablePlan | None:
        """Return the smallest scale, half a bin and the last level; one component alone has other params."""
        if self.n_components == 1:
            return None
        half = float(self.half_bin(torch.float64))
        constants = (NARROWEST * half, half, float(self.n_levels - 1))
        return VariablePlan("rounded-logistics", self.n_components, constants)

    def compiled_constants(self) -> tuple[int, float]:
        """Return the number of levels and the smallest scale."""
        return int(self.n_levels), float(self.min_scale(torch.float64))

    def compiled_draws(self, uniforms: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the uniform that chooses a component, and a quantile of the standard logistic."""
        return uniforms[..., 0], self.standard_quantile(open_interval(uniforms[..., 1]))

    def half_bin(self, dtype: torch.dtype) -> Tensor:
        """Return half the width of a level on [-1, 1], shape (G,)."""
        return 1 / (self.n_levels - 1).clamp(min=1).to(dtype)

    def min_scale(self, dtype: torch.dtype) -> Tensor:
        """Return the smallest scale, added to softplus(raw), shape (G,): next to nothing against a bin."""
        return NARROWEST * self.half_bin(dtype)

    @staticmethod
    def standard_quantile(u: Tensor) -> Tensor:
        """Return the logit, the quantile of the standard logistic."""
        return u.logit()

    def components(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits, locations and scales, each (..., M), on [-1, 1]."""
        logits, locations, raw_scales = split_mixture(params, self.n_components)
        return logits, locations, F.softplus(raw_scales) + self.min_scale(params.dtype)[:, None]

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """Return the log-probability of level x.

        With bin edges a < b in units of the scale, log(sigmoid(b) - sigmoid(a)) is written as
        log sigmoid(b) + log sigmoid(-a) + log(1 - exp(a - b)), in which nothing cancels.
        """
        half = self.half_bin(params.dtype)
        logits, locations, scales = self.components(params)
        offset = (half * 2 * x - 1)[..., None] - locations
        half = half[:, None]
        log_below_upper = F.logsigmoid((offset + half) / scales)
        log_above_lower = F.logsigmoid((half - offset) / scales)
        log_width = log1mexp(2 * half / scales)
        first, last = (x == 0)[..., None], (x == self.n_levels - 1)[..., None]
        mass = (
            torch.where(last, 0, log_below_upper)
            + torch.where(first, 0, log_above_lower)
            + torch.where(first | last, 0, log_width)
        )
        if self.n_components == 1:
            return mass.squeeze(-1)
        return torch.logsumexp(logits.log_softmax(-1) + mass, dim=-1)

    def sample(self, params: Tensor, uniforms: Tensor) -> Tensor:
        """Draw from a component and round to the level whose bin it fell into."""
        logits, locations, scales = self.components(params)
        chosen = choose_index(logits.softmax(-1), uniforms[..., 0])[..., None]
        location, scale = locations.gather(-1, chosen), scales.gather(-1, chosen)
        value = (location + scale * self.standard_quantile(open_interval(uniforms[..., 1:2]))).squeeze(-1)
        level = torch.floor((value + 1) / (2 * self.half_bin(params.dtype)) + 0.5)
        return torch.minimum(level.clamp(min=0), (self.n_levels - 1).to(level.dtype))

    def cdf(self, x: Tensor, params: Tensor) -> Tensor:
        """Return P(X <= x)."""
        half = self.half_bin(params.dtype)
        logits, locations, scales = self.components(params)
        upper = (half * (2 * x.floor() + 1) - 1)[..., None]
        inside = (logits.softmax(-1) * ((upper - locations) / scales).sigmoid()).sum(-1)
        inside = torch.where(x < 0, 0, inside)
        return torch.where(x >= self.n_levels - 1, 1, inside)

    def level_probabilities(self, params: Tensor, n_codes: int) -> Tensor:
        """Return the probability of each level, (..., n_codes), zero beyond a variable's own K."""
        levels = torch.arange(n_codes, device=params.device, dtype=params.dtype)
        x = levels.view(-1, *[1] * (params.ndim - 1)).expand(-1, *params.shape[:-1])
        probability = torch.where(x < self.n_levels, self.log_prob(x, params).exp(), 0)
        return probability.movedim(0, -1)

    def mean(self, params: Tensor) -> Tensor:
        """Return the expected level."""
        probability = self.level_probabilities(params, int(self.n_levels.max()))
        return (probability * torch.arange(probability.shape[-1], device=params.device)).sum(-1)

    def mode(self, params: Tensor) -> Tensor:
        """Return the most probable level."""
        return self.level_probabilities(params, int(self.n_levels.max())).argmax(-1).to(params.dtype)

    def marginal_params(self, x: Tensor) -> Tensor:
        """Return equal components at evenly spaced quantiles of each column."""
        half = self.half_bin(x.dtype)
        return evenly_spread_components(half * 2 * x - 1, self.n_components, min_scale=1e-3)


def log1mexp(y: Tensor) -> Tensor:
    """Return log(1 - exp(-y)) for y > 0 (Maechler 2012)."""
    small = y < 0.693
    return torch.where(
        small,
        torch.log(-torch.expm1(-torch.where(small, y, 0.5))),
        torch.log1p(-torch.exp(-torch.where(small, 1.0, y))),
    )
