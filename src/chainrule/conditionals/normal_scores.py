"""Densities on normal scores: what a column's own distribution looks like need not be learned again.

A number x has the score z(x), piecewise linear between knots. Of many rows these are quantiles, which go to
the same quantiles of the standard normal distribution (van der Waerden 1952; with a joint distribution of
such scores: Liu, Lafferty and Wasserman 2009); where there are outliers, scores beyond the others grow
slowly. So p(x) = q(z(x)) z'(x), where the family q meets neither long tails nor limits, whatever the
column. Beyond the ends scores go on with the slope of the last interval.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor

from chainrule.conditionals.base import Conditional
from chainrule.conditionals.features import InputFeatures
from chainrule.kernels.plans import VariablePlan
from chainrule.supports import normal_scores

__all__ = ["NormalScores", "Scores"]


class Scores:
    """The scores of G variables' codes, and back.

    Parameters
    ----------
    knots : Tensor
        Codes in rising order, float64 (G, K).
    heights : Tensor
        Their scores, float64 (G, K).
    """

    def __init__(self, knots: Tensor, heights: Tensor) -> None:
        self.knots = knots
        self.heights = heights
        self.slopes: Tensor = heights.diff(dim=1) / knots.diff(dim=1)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Scores)
            and torch.equal(self.knots, other.knots)
            and torch.equal(self.heights, other.heights)
        )

    def __hash__(self) -> int:
        return hash(tuple(self.knots.flatten().tolist()))

    @classmethod
    def of_several(cls, scores: Sequence[Scores]) -> Scores:
        """Return the scores of the variables (G,) of several, one each."""
        most = max(each.knots.shape[1] for each in scores)
        refined = [_with_knots(each.knots[0], each.heights[0], most) for each in scores]
        return cls(*(torch.stack(each) for each in zip(*refined, strict=True)))

    def to(self, device: torch.device) -> Scores:
        """Return the same on a device."""
        return Scores(self.knots.to(device), self.heights.to(device))

    def __call__(self, x: Tensor) -> Tensor:
        """Return the scores of codes of one variable, (n,)."""
        return self.of(x[:, None])[0].squeeze(1)

    def of(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores of codes x (..., G), and the logs of the slopes there, (..., G)."""
        columns = self._by_variable(x)
        part = self._part(self.knots.to(x.dtype), columns)
        left, height, slope = self._at(part, x.dtype)
        scores = height + (columns - left) * slope
        return self._by_row(scores, x.shape), self._by_row(slope.log(), x.shape)

    def codes(self, scores: Tensor) -> Tensor:
        """Return the codes (..., G) that have these scores."""
        columns = self._by_variable(scores)
        part = self._part(self.heights.to(scores.dtype), columns)
        left, height, slope = self._at(part, scores.dtype)
        return self._by_row(left + (columns - height) / slope, scores.shape)

    def _at(self, part: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Return code, score and slope where each part begins."""
        left, height, slope = (
            each.to(dtype).gather(1, part) for each in (self.knots, self.heights, self.slopes)
        )
        return left, height, slope

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
        Codes, float64 (G, K) in rising order.
    heights : Tensor
        Their scores, float64 (G, K).
    """

    name = "normal-scores"
    knots: Tensor
    heights: Tensor

    def __init__(self, density: Conditional, knots: Tensor, heights: Tensor) -> None:
        super().__init__()
        self.density = density
        self.n_parameters: int = density.n_parameters
        self.n_uniforms: int = density.n_uniforms
        self.register_buffer("knots", knots, persistent=False)
        self.register_buffer("heights", heights, persistent=False)
        self._scores = Scores(knots, heights)

    @classmethod
    def from_support(cls, support: Any, n_components: int) -> Self:
        """Refuse: a density of scores must be named; see `make_family`."""
        raise TypeError("NormalScores have a density: see make_family")

    @classmethod
    def beside(cls, density: Conditional, knots: Sequence[float], scores: Sequence[float] = ()) -> Self:
        """Return the family of one variable; by default knots are quantiles."""
        pairs = (knots, scores or normal_scores(len(knots)))
        return cls(density, *(torch.tensor([list(each)], dtype=torch.float64) for each in pairs))

    def group_key(self) -> Hashable:
        """Return that of the density: variables with any knots are evaluated together."""
        return type(self), self.density.group_key()

    @classmethod
    def group(cls, families: Sequence[Self]) -> Self:
        """Return the family with each variable's knots."""
        density = families[0].density.group([family.density for family in families])
        scores = Scores.of_several([family.scores for family in families])
        return cls(density, scores.knots, scores.heights)

    @property
    def scores(self) -> Scores:
        """The scores of codes."""
        if self._scores.knots is not self.knots:  # they move with the model to another device
            self._scores = Scores(self.knots, self.heights)
        return self._scores

    def input_features(self, encoding: str) -> InputFeatures:
        """Return the scores, as the density would be seen."""
        return replace(self.density.input_features(encoding), transform=self.scores)

    def log_prob_plan(self) -> VariablePlan | None:
        """Return that of the density, with the scores."""
        plan = self.density.log_prob_plan()
        if plan is None or plan.form != "gaussians" or plan.values:
            return None
        pairs = zip(self.knots[0].tolist(), self.heights[0].tolist(), strict=True)
        return replace(plan, scores=tuple(pairs))

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
        heights = self.heights.T.to(at.dtype)
        shape = (-1, *[1] * (at.ndim - 1), heights.shape[1])
        ends = torch.minimum(heights[1:-1].reshape(shape), at)
        zero = torch.zeros_like(at)[None]
        masses = torch.cat([zero, self.density.cdf(ends, params), reached[None]]).diff(dim=0)
        parts = torch.cat([zero, self.density.partial_mean(ends, params), part[None]]).diff(dim=0)
        slopes = self.scores.slopes.T.to(at.dtype)
        left = self.knots.T[:-1].to(at.dtype) - heights[:-1] / slopes
        return (left.reshape(shape) * masses + parts / slopes.reshape(shape)).sum(0)

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


def _with_knots(knots: Tensor, heights: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return n knots of the same function: those that are lacking share out its widest interval."""
    lacking = n - len(knots)
    if not lacking:
        return knots, heights
    i = int(knots.diff().argmax())
    shares = torch.linspace(0, 1, lacking + 2, dtype=knots.dtype)[1:-1]
    refined = [
        torch.cat([each[: i + 1], each[i] + shares * (each[i + 1] - each[i]), each[i + 1 :]])
        for each in (knots, heights)
    ]
    return refined[0], refined[1]
