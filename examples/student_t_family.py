"""A family of one's own: a mixture of Student-t with learned degrees of freedom, for heavy tails.

To register it is all that it takes: after ``import student_t_family`` every estimator knows it by its name,
as in ``MADE(mixture="student-t")``. Compiled samplers do not, so rows are drawn by the reference sampler.

``python examples/student_t_family.py`` fits it beside mixtures of Gaussians on data with heavy tails.
"""

from __future__ import annotations

import math
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import stdtr
from torch import Tensor

from chainrule import MADE
from chainrule.conditionals import Conditional, register_family
from chainrule.conditionals.base import choose_index, softplus_inverse
from chainrule.conditionals.mixtures import open_interval
from chainrule.supports import Reals

__all__ = ["MixtureOfStudentTs"]

MIN_SCALE = 1e-3
# Beyond one degree of freedom there is a mean, and beyond these many the density is a Gaussian's.
MIN_FREEDOM, MAX_FREEDOM = 1.0, 1e4


@register_family
class MixtureOfStudentTs(Conditional):
    """Components ``location + scale * t``, t with degrees of freedom of its own.

    Params are M logits, locations, raw scales and raw degrees of freedom.

    Parameters
    ----------
    n_components : int
        M.
    """

    name = "student-t"
    supports = (Reals,)
    n_uniforms = 3

    def __init__(self, n_components: int) -> None:
        super().__init__()
        self.n_components = n_components
        self.n_parameters = 4 * n_components

    @classmethod
    def from_support(cls, support: Reals, n_components: int) -> Self:
        """Return the family of one variable."""
        return cls(n_components)

    def components(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return log-weights, locations, scales and degrees of freedom, each (..., M)."""
        logits, locations, scales, freedom = params.unflatten(-1, (4, self.n_components)).unbind(-2)
        freedom = (F.softplus(freedom) + MIN_FREEDOM).clamp(max=MAX_FREEDOM)
        return logits.log_softmax(-1), locations, F.softplus(scales) + MIN_SCALE, freedom

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """Return the log-density of x."""
        log_weights, locations, scales, freedom = self.components(params)
        z = (x[..., None] - locations) / scales
        half = (freedom + 1) / 2
        density = (
            torch.lgamma(half) - torch.lgamma(freedom / 2) - 0.5 * (math.pi * freedom).log() - scales.log()
            - half * torch.log1p(z.square() / freedom)
        )  # fmt: skip
        return torch.logsumexp(log_weights + density, dim=-1)

    def sample(self, params: Tensor, uniforms: Tensor) -> Tensor:
        """Choose a component by the first uniform, and transform the two others (Bailey 1994)."""
        log_weights, locations, scales, freedom = self.components(params)
        chosen = choose_index(log_weights.exp(), uniforms[..., 0])[..., None]
        location, scale, freedom = (
            each.gather(-1, chosen).squeeze(-1) for each in (locations, scales, freedom)
        )
        radius = open_interval(uniforms[..., 1])
        squared = freedom * torch.expm1(-2 * radius.log() / freedom)
        return location + scale * squared.sqrt() * torch.cos(2 * math.pi * uniforms[..., 2])

    def mean(self, params: Tensor) -> Tensor:
        """Return the expected value."""
        log_weights, locations, _, _ = self.components(params)
        return (log_weights.exp() * locations).sum(-1)

    def mode(self, params: Tensor) -> Tensor:
        """Return the component location with the highest density of the whole mixture."""
        locations = self.components(params)[1]
        highest = self.log_prob(locations.movedim(-1, 0), params).argmax(0)
        return locations.gather(-1, highest[..., None]).squeeze(-1)

    def cdf(self, x: Tensor, params: Tensor) -> Tensor:
        """Return P(X <= x)."""
        log_weights, locations, scales, freedom = self.components(params.double())
        z = (x.double()[..., None] - locations) / scales
        below = torch.from_numpy(np.asarray(stdtr(freedom.cpu().numpy(), z.cpu().numpy()))).to(x.device)
        return (log_weights.exp() * below).sum(-1).to(params.dtype)

    def marginal_params(self, x: Tensor) -> Tensor:
        """Return equal components of five degrees of freedom at evenly spaced quantiles of each column."""
        levels = (torch.arange(self.n_components, dtype=torch.float64, device=x.device) + 0.5) / (
            self.n_components
        )
        locations = torch.quantile(x.double(), levels, dim=0).T
        quartiles = torch.quantile(x.double(), torch.tensor([0.25, 0.75], device=x.device).double(), dim=0)
        spread = (quartiles[1] - quartiles[0]).clamp(min=10 * MIN_SCALE) / self.n_components**0.5
        scales = softplus_inverse(spread - MIN_SCALE)[:, None].expand_as(locations)
        freedom = softplus_inverse(torch.full_like(locations, 5 - MIN_FREEDOM))
        return torch.cat([torch.zeros_like(locations), locations, scales, freedom], dim=1).to(x.dtype)


if __name__ == "__main__":
    rows = np.random.default_rng(0).standard_t(1.5, size=(4000, 2)).cumsum(axis=1)
    for mixture in ("gaussian", "student-t"):
        model = MADE((64,), mixture=mixture, n_components=3, max_epochs=50, random_state=0).fit(rows[:3000])
        print(f"{mixture}: {model.score_samples(rows[3000:]).mean():.3f} nats per held-out row")
