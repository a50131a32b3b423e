"""Densities on normal scores: what a column's own distribution looks like need not be learned again.

A number x has the score z(x), piecewise linear between knots, which are quantiles of the training rows and go
to the same quantiles of the standard normal distribution (van der Waerden 1952; with a joint distribution of
such scores: Liu, Lafferty and Wasserman 2009). So p(x) = q(z(x)) z'(x), where the family q meets neither long
tails nor limits, whatever the column. Beyond the ends scores go on with the slope of the last interval.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from scipy.special import ndtri
from torch import Tensor

from chainrule.conditionals.base import Conditional
from chainrule.conditionals.features import InputFeatures
from chainrule.supports import knot_levels

__all__ = ["NormalScores", "Scores"]


class Scores:
    """The scores of G variables' codes, and back.

    Parameters
    ----------
    knots : Tensor
        Codes in rising order, float64 (G, K).
    """

    def __init__(self, knots: Tensor) -> None:
        self.knots = knots
        self.heights: Tensor = torch.from_numpy(ndtri(knot_levels(knots.shape[1]))).to(knots.device)
        self.slopes: Tensor = self.heights.diff() / knots.diff(dim=1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scores) and torch.equal(self.knots, other.knots)

    def __hash__(self) -> int:
        return hash(tuple(self.knots.flatten().tolist()))

    def __call__(self, x: Tensor) -> Tensor:
        """Return the scores of codes of one variable, (n,)."""
        return self.of(x[:, None])[0].squeeze(1)

    def of(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores of codes x (..., G), and the logs of the slopes there, (..., G)."""
        columns = self._by_variable(x)
        part = self._part(self.knots.to(x.dtype), columns)
        left, slope = (each.to(x.dtype).gather(1, part) for each in (self.knots, self.slopes))
        scores = self.heights.to(x.dtype)[part] + (columns - left) * slope
        return self._by_row(scores, x.shape), self._by_row(slope.log(), x.shape)

    def codes(self, scores: Tensor) -> Tensor:
        """Return the codes (..., G) that have these scores."""
        columns = self._by_variable(scores)
        part = self._part(self.heights.to(scores.dtype).expand(len(self.knots), -1).contiguous(), columns)
        left, slope = (each.to(scores.dtype).gather(1, part) for each in (self.knots, self.slopes))
        return self._by_row(left + (columns - self.heights.to(scores.dtype)[part]) / slope, scores.shape)

    def _by_variable(self, x: Tensor) -> Tensor:
        if len(self.knots) == 1:  # codes of any shape are of the one variable
            return x.reshape(1, -1).contiguous()
        return x.reshape(-1, x.shape[-1]).T.contiguous()

    def _by_row(self, columns: Tensor, shape: torch.Size) -> Tensor:
        return columns.reshape(shape) if len(self.knots) == 1 else columns.T.reshape(shape)

    def _part(self, ends: Tensor, columns: Tensor) -> Tensor:
        """Return between which two knots each number lies, by that of the first."""
        return (torch.searchsorted(ends, columns, right=True) - 1).clamp(0, ends.shape[1] - 2)


class NormalScores(Conditional):
    """A density of a variable's normal scores; params are those of that density.

    Parameters
    ----------
    density : Conditional
        The family of scores.
    knots : Tensor
        Codes that are quantiles of the training rows, float64 (G, K) in rising order.
    """

    name = "normal-scores"
    knots: Tensor

    def __init__(self, density: Conditional, knots: Tensor) -> None:
        super().__init__()
        self.density = density
        self.n_parameters: int = density.n_parameters
        self.n_uniforms: int = density.n_uniforms
        self.register_buffer("knots", knots, persistent=False)
        self._scores = Scores(knots)

    @classmethod
    def from_support(cls, support: Any, n_components: int) -> Self:
        """Refuse: a density of scores must be named; see `make_family`."""
        raise TypeError("NormalScores have a density: see make_family")

    @classmethod
    def beside(cls, density: Conditional, knots: Sequence[float]) -> Self:
        """Return the family of one variable."""
        return cls(density, torch.tensor([list(knots)], dtype=torch.float64))

    def group_key(self) -> Hashable:
        """Return that of the density, and the number of knots: such variables are evaluated together."""
        return type(self), self.knots.shape[1], self.density.group_key()

    @classmethod
    def group(cls, families: Sequence[Self]) -> Self:
        """Return the family with each variable's knots."""
        density = families[0].density.group([family.density for family in families])
        return cls(density, torch.cat([family.knots for family in families]))

    @property
    def scores(self) -> Scores:
        """The scores of codes."""
        if self._scores.knots is not self.knots:  # they move with the model to another device
            self._scores = Scores(self.knots)
        return self._scores

    def input_features(self, encoding: str) -> InputFeatures:
        """Return the scores, as the density would be seen."""
        return replace(self.density.input_features(encoding), transform=Scores(self.knots))

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """Return the log-density of x."""
        scores, log_slopes = self.scores.of(x)
        return self.density.log_prob(scores, params) + log_slopes

    def sample(self, params: Tensor, uniforms: Tensor) -> Tensor:
        """Draw a score, and return its code."""
        return self.scores.codes(self.density.sample(params, uniforms))

    def cdf(self, x: Tensor, params: Tensor) -> Tensor:
        """Return P(X <= x)."""
        return self.density.cdf(self.scores.of(x)[0], params)

    def mean(self, params: Tensor) -> Tensor:
        """Return the expected value."""
        everything = params.new_ones(params.shape[:-1])
        return self._mean_up_to(everything * torch.inf, everything, self.density.mean(params), params)

    def partial_mean(self, x: Tensor, params: Tensor) -> Tensor:
        """Return E[X; X <= x]."""
        at = self.scores.of(x)[0]
        return self._mean_up_to(
            at, self.density.cdf(at, params), self.density.partial_mean(at, params), params
        )

    def _mean_up_to(self, at: Tensor, reached: Tensor, part: Tensor, params: Tensor) -> Tensor:
        """Return E[X; Z <= at] from P(Z <= at) and E[Z; Z <= at]: between knots a code is linear in Z."""
        inner = self.scores.heights[1:-1].to(at.dtype)
        ends = torch.minimum(inner.view(-1, *[1] * at.ndim), at)
        zero = torch.zeros_like(at)[None]
        masses = torch.cat([zero, self.density.cdf(ends, params), reached[None]]).diff(dim=0)
        parts = torch.cat([zero, self.density.partial_mean(ends, params), part[None]]).diff(dim=0)
        slopes = self.scores.slopes.T.to(at.dtype)
        left = self.knots.T[:-1].to(at.dtype) - self.scores.heights[:-1, None].to(at.dtype) / slopes
        shape = (len(slopes), *[1] * (at.ndim - 1), slopes.shape[1])
        return (left.view(shape) * masses + parts / slopes.view(shape)).sum(0)

    def mode(self, params: Tensor) -> Tensor:
        """Return the peak of the density of scores at which that of codes is highest."""
        peaks = self.peaks(params)
        heights = self.log_prob(peaks.movedim(-1, 0), params)
        return peaks.gather(-1, heights.argmax(0)[..., None]).squeeze(-1)

    def peaks(self, params: Tensor) -> Tensor:
        """Return the codes of the peaks of the density of scores."""
        return self.scores.codes(self.density.peaks(params).movedim(-1, 0)).movedim(0, -1)

    def marginal_params(self, x: Tensor) -> Tensor:
        """Return params of the density that fit the scores of each column."""
        return self.density.marginal_params(self.scores.of(x)[0])
