"""Families cut to what rules leave of a column, so that all that is asked of a family can be asked of them.

Params are those of the family, and behind them what is left: which levels, or limits and how much of the
family lies below each. Whoever has such params need know nothing of rules.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from chainrule.conditionals import Conditional, DerivedLevels, PointMasses
from chainrule.rules.plain import LEAST_MASS, plain_cdf, plain_log_prob, plain_mean
from chainrule.schema import ColumnType

__all__ = ["TOLERANCE", "WithinLevels", "WithinLimits", "limited"]

TOLERANCE = 1e-6
"""Of a column's scale: so near two real numbers are the same, whose codes are float32."""


class WithinLevels(DerivedLevels):
    """A family of levels of which some are left.

    Params are those of the family and a 1 for each level that is left, 0 for each other.

    Parameters
    ----------
    family : Conditional
    n_levels : int
    """

    def __init__(self, family: Conditional, n_levels: int) -> None:
        super().__init__(family, n_levels)
        self.n_parameters: int = family.n_parameters + n_levels

    def level_probabilities(self, params: Tensor, n_codes: int) -> Tensor:
        """Return P(X = 0), ..., P(X = n_codes - 1), shape (..., n_codes)."""
        left = params[..., -self.n_levels :]
        masses = self.family.level_probabilities(params[..., : -self.n_levels], self.n_levels) * left
        total = masses.sum(-1, keepdim=True)
        alike = left / left.sum(-1, keepdim=True)
        return torch.where(total >= LEAST_MASS, masses / total.clamp(min=LEAST_MASS), alike)[..., :n_codes]


class WithinLimits(Conditional):
    """A family of numbers within limits, on codes.

    Params are those of the family; the least and the greatest code that is left, which are included; and the
    family's distribution function just before the one and at the other. Where the two codes of a real number
    are the same, it is known: then `log_prob` is the log of a probability. All is on the CPU.

    Parameters
    ----------
    family : Conditional
        Without point masses; see `limited`.
    variable : ColumnType
    """

    family: Conditional
    variable: ColumnType

    name = "within limits"

    def __init__(self, family: Conditional, variable: ColumnType) -> None:
        super().__init__()
        self.family, self.variable = family, variable
        self.n_parameters: int = family.n_parameters + 4

    @classmethod
    def from_support(cls, support: Any, n_components: int) -> NoReturn:
        """Refuse: what is cut must be named."""
        raise TypeError("a truncated family follows from another one and from rules")

    def marginal_params(self, x: Tensor) -> NoReturn:
        """Refuse: training knows nothing of rules."""
        raise TypeError("training starts from the family that is truncated")

    def sample(self, params: Tensor, uniforms: Tensor) -> NoReturn:
        """Refuse: rounding must not lead beyond limits."""
        raise TypeError("RuleSet.draw draws within what rules leave")

    def cdf(self, x: Tensor, params: Tensor) -> Tensor:
        """Return P(X <= x)."""
        own, (first, last, before, reached) = params[..., :-4], params[..., -4:].unbind(-1)
        up_to = torch.minimum(torch.maximum(self.family.cdf(x, own), before), reached) - before
        scaled = up_to / (reached - before).clamp(min=LEAST_MASS)
        plain = self._plain(plain_cdf, x, first, last)
        inside = torch.where(reached - before >= LEAST_MASS, scaled, plain)
        return torch.where(x < first, 0.0, torch.where(x >= last, 1.0, inside))

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """Return log p of x; -inf outside of the limits."""
        own, (first, last, before, reached) = params[..., :-4], params[..., -4:].unbind(-1)
        mass = reached - before
        scaled = self.family.log_prob(x, own) - mass.clamp(min=LEAST_MASS).log()
        log_prob = torch.where(mass >= LEAST_MASS, scaled, self._plain(plain_log_prob, x, first, last))
        if self.variable.is_discrete:
            return torch.where((x >= first) & (x <= last), log_prob, -torch.inf)
        units = self.variable.log_abs_det_jacobian(x.reshape(-1).numpy())
        log_prob = torch.where(first == last, -torch.from_numpy(units).reshape(x.shape), log_prob)
        spare = TOLERANCE * (1 + x.abs())
        return torch.where((x >= first - spare) & (x <= last + spare), log_prob, -torch.inf)

    def level_probabilities(self, params: Tensor, n_codes: int) -> Tensor:
        """Return P(X = 0), ..., P(X = n_codes - 1), shape (..., n_codes)."""
        codes = torch.arange(n_codes, dtype=params.dtype)
        inside = (codes >= params[..., -4, None]) & (codes <= params[..., -3, None])
        masses = self.family.level_probabilities(params[..., :-4], n_codes) * inside
        total = masses.sum(-1, keepdim=True)
        alike = inside / inside.sum(-1, keepdim=True)
        return torch.where(total >= LEAST_MASS, masses / total.clamp(min=LEAST_MASS), alike)

    def mean(self, params: Tensor) -> Tensor:
        """Return the expected code."""
        if self.variable.levels is not None:
            masses = self.level_probabilities(params, len(self.variable.levels))
            return (masses * torch.arange(masses.shape[-1])).sum(-1)
        own, (first, last, before, reached) = params[..., :-4], params[..., -4:].unbind(-1)
        below = first - 1 if self.variable.is_discrete else first
        part = self._part_of_mean(last, own) - self._part_of_mean(below, own)
        scaled = part / (reached - before).clamp(min=LEAST_MASS)
        plain = self._plain(plain_mean, first, last)
        mean = torch.where(reached - before >= LEAST_MASS, scaled, plain)
        return torch.minimum(torch.maximum(mean, first), last)

    def _part_of_mean(self, x: Tensor, own: Tensor) -> Tensor:
        """Return E[X; X <= x] of the whole family."""
        part = self.family.partial_mean(x.nan_to_num(posinf=0.0, neginf=0.0), own)
        return torch.where(x.isinf(), torch.where(x > 0, self.family.mean(own), 0.0), part)

    def mode(self, params: Tensor) -> Tensor:
        """Return the most probable level, or the best of the limits and the family's peaks between them."""
        if self.variable.levels is not None:
            masses = self.level_probabilities(params, len(self.variable.levels))
            return masses.argmax(-1).to(params.dtype)
        first, last = params[..., -4], params[..., -3]
        peaks = self.family.peaks(params[..., :-4]).movedim(-1, 0)
        ends = [torch.where(end.isinf(), peaks[0], end) for end in (first, last)]
        candidates = torch.minimum(torch.maximum(torch.stack([*peaks, *ends]), first), last)
        heights = torch.stack([self.log_prob(each, params) for each in candidates])
        return candidates.gather(0, heights.argmax(0)[None]).squeeze(0)

    def _plain(self, function: Any, *codes: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(*(each.shape for each in codes))
        arrays = [each.expand(shape).numpy() for each in codes]
        return torch.from_numpy(np.asarray(function(*arrays, self.variable.is_discrete)))


def limited(family: Conditional, variable: ColumnType) -> Conditional:
    """Return the family within limits; one with point masses keeps those that are left.

    Params of the latter are the logits of elsewhere and of the point masses, and those of the density.
    """
    if isinstance(family, PointMasses):
        return PointMasses(WithinLimits(family.density, variable), family.codes)
    return WithinLimits(family, variable)
