"""Monotone rational-quadratic splines with linear tails for continuous variables.

Durkan et al. (2019) bend a real number by a spline whose pieces are quotients of two quadratics (Gregory &
Delbourgo 1982) within an interval, and leave it as it is outside. Here that is one conditional: of
``y = (x - location) / scale`` the spline g makes a standard logistic number, so P(X <= x) = sigmoid(g(y)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from chainrule.conditionals.base import Conditional, softplus_inverse
from chainrule.conditionals.mixtures import MixtureOfLogistics, open_interval
from chainrule.supports import Reals, Support

__all__ = ["RationalQuadraticSpline"]

# Where the linear tails begin: a logistic number lies beyond in one of 200 cases.
BOUND = 6.0
# Least share of the interval that a bin is wide or high, and least slope at a knot.
MIN_SHARE, MIN_SLOPE = 1e-3, 1e-3
# Beyond so many scales there is nothing of the tails left.
FAR = 1e4
# Nodes of Gauss and Legendre for the integral over a bin, and places in it where the density is looked at.
_NODES, _PLACES = 24, 9


@dataclass(frozen=True)
class _Knots:
    """Where the pieces of splines begin and end, and their slopes there, each (..., K + 1)."""

    left: Tensor
    height: Tensor
    slope: Tensor

    def piece(self, values: Tensor, knots: Tensor) -> tuple[Tensor, ...]:
        """Return left end, width, lower end, height and both slopes of the piece of each value (...)."""
        number = (values[..., None] >= knots[..., 1:-1]).sum(-1, keepdim=True)
        left, height, slope = (
            [each.expand(*number.shape[:-1], -1).gather(-1, number + step).squeeze(-1) for step in (0, 1)]
            for each in (self.left, self.height, self.slope)
        )
        return left[0], left[1] - left[0], height[0], height[1] - height[0], slope[0], slope[1]

    def of_every_bin(self) -> _Knots:
        """Return the same knots for values (..., K, J), J of them in each bin."""
        return _Knots(*(each[..., None, None, :] for each in (self.left, self.height, self.slope)))

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the spline and the log of its slope at y (...), both of the tails outside the bound."""
        inside = y.clamp(-BOUND, BOUND)
        left, width, low, height, first, last = self.piece(inside, self.left)
        steepness = height / width
        at = (inside - left) / width
        both = at * (1 - at)
        below = steepness + (first + last - 2 * steepness) * both
        value = low + height * (steepness * at.square() + first * both) / below
        rise = last * at.square() + 2 * steepness * both + first * (1 - at).square()
        log_slope = 2 * steepness.log() + rise.log() - 2 * below.log()
        is_tail = y.abs() >= BOUND
        return torch.where(is_tail, y, value), torch.where(is_tail, 0.0, log_slope)

    def inverse(self, z: Tensor) -> Tensor:
        """Return where the spline has the value z, by the root of a quadratic that lies in the piece."""
        inside = z.clamp(-BOUND, BOUND)
        left, width, low, height, first, last = self.piece(inside, self.height)
        steepness = height / width
        above = inside - low
        bend = first + last - 2 * steepness
        a = height * (steepness - first) + above * bend
        b = height * first - above * bend
        c = -steepness * above
        at = 2 * c / (-b - (b.square() - 4 * a * c).clamp(min=0).sqrt())
        return torch.where(z.abs() >= BOUND, z, left + width * at.clamp(0, 1))


class RationalQuadraticSpline(Conditional):
    """A logistic number bent by a monotone rational-quadratic spline of K bins, location and scale.

    Params are the location, the raw scale, K logits of the widths of bins, K of their heights, and K - 1 raw
    slopes at the knots between them. Where all but the first two are zero, it is a logistic density.

    Parameters
    ----------
    n_components : int
        K.
    min_scale : float
        The smallest scale, in standardised units.

    Examples
    --------
    >>> family = RationalQuadraticSpline(4)
    >>> params = torch.randn(family.n_parameters, generator=torch.Generator().manual_seed(0)).double()
    >>> x = torch.linspace(-60, 60, 100_001, dtype=torch.float64)
    >>> density = family.log_prob(x, params.expand(len(x), -1)).exp()
    >>> round(float(torch.trapezoid(density, x)), 4)
    1.0
    """

    name = "spline"
    supports: ClassVar[tuple[type[Support], ...]] = (Reals,)

    def __init__(self, n_components: int, min_scale: float = 1e-3) -> None:
        super().__init__()
        if n_components < 1:
            raise ValueError(f"n_components must be at least 1, got {n_components}")
        self.n_components = n_components
        self.min_scale = min_scale
        self.n_parameters: int = 2 + 3 * n_components - 1

    @classmethod
    def from_support(cls, support: Reals, n_components: int) -> Self:
        """Return the family of one variable without point masses."""
        return cls(n_components)

    def split(self, params: Tensor) -> tuple[Tensor, Tensor, _Knots]:
        """Return location and scale, (...) each, and the knots."""
        k = self.n_components
        location, raw_scale, widths, heights, raw_slopes = params.split([1, 1, k, k, k - 1], dim=-1)
        slopes = F.softplus(raw_slopes + softplus_inverse(params.new_tensor(1 - MIN_SLOPE))) + MIN_SLOPE
        knots = _Knots(_places(widths), _places(heights), F.pad(slopes, (1, 1), value=1.0))
        return location[..., 0], F.softplus(raw_scale[..., 0]) + self.min_scale, knots

    def bent(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logistic number that x becomes, and the log of how fast it rises with x."""
        location, scale, knots = self.split(params)
        z, log_slope = knots.forward((x - location) / scale)
        return z, log_slope - scale.log()

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """Return the log-density of x."""
        z, log_slope = self.bent(x, params)
        return MixtureOfLogistics.standard_log_density(z) + log_slope

    def cdf(self, x: Tensor, params: Tensor) -> Tensor:
        """Return P(X <= x)."""
        return self.bent(x, params)[0].sigmoid()

    def quantile(self, u: Tensor, params: Tensor) -> Tensor:
        """Return the x with P(X <= x) = u, for u in (0, 1)."""
        location, scale, knots = self.split(params)
        return location + scale * knots.inverse(u.logit())

    def sample(self, params: Tensor, uniforms: Tensor) -> Tensor:
        """Return the quantile at the uniform."""
        return self.quantile(open_interval(uniforms[..., 0]), params)

    def mean(self, params: Tensor) -> Tensor:
        """Return the expected value."""
        return self.partial_mean(torch.full_like(params[..., 0], torch.finfo(params.dtype).max), params)

    def partial_mean(self, x: Tensor, params: Tensor) -> Tensor:
        """Return E[X; X <= x]: the tails in closed form, each bin by the rule of Gauss and Legendre."""
        location, scale, knots = self.split(params)
        y = ((x - location) / scale).clamp(-FAR, FAR)
        part = MixtureOfLogistics.standard_partial_mean
        bound = torch.full_like(y, BOUND)
        tails = part(y.clamp(max=-BOUND)) + part(y.clamp(min=BOUND)) - part(bound)
        start = knots.left[..., :-1]
        width = (torch.minimum(knots.left[..., 1:], y[..., None]) - start).clamp(min=0)
        places, weights = _gauss_legendre(y)
        at = start[..., None] + width[..., None] * places
        z, log_slope = knots.of_every_bin().forward(at)
        density = (MixtureOfLogistics.standard_log_density(z) + log_slope).exp()
        inside = ((at * density) @ weights * width).sum(-1)
        return location * knots.forward(y)[0].sigmoid() + scale * (tails + inside)

    def mode(self, params: Tensor) -> Tensor:
        """Return the most probable of `peaks`."""
        places = self.peaks(params)
        density = self.log_prob(places.movedim(-1, 0), params)
        return places.gather(-1, density.argmax(0)[..., None]).squeeze(-1)

    def peaks(self, params: Tensor) -> Tensor:
        """Return places spread over each bin."""
        location, scale, knots = self.split(params)
        start, width = knots.left[..., :-1, None], knots.left.diff(dim=-1)[..., None]
        places = torch.linspace(0, 1, _PLACES, dtype=params.dtype, device=params.device)
        return location[..., None] + scale[..., None] * (start + width * places).flatten(-2)

    def marginal_params(self, x: Tensor) -> Tensor:
        """Return bins of equal height between quantiles of each column."""
        k, dtype, x = self.n_components, x.dtype, x.double()
        z = torch.linspace(-BOUND, BOUND, k + 1, dtype=torch.float64, device=x.device)
        location = x.median(0).values
        reach = (torch.quantile(x, z[[0, -1]].sigmoid(), dim=0) - location).abs().amax(0)
        scale = (reach / BOUND).clamp(min=10 * self.min_scale)
        inner = (torch.quantile(x, z[1:-1].sigmoid(), dim=0) - location) / scale
        ends = torch.full_like(location, BOUND)[None]
        widths = torch.cat([-ends, inner, ends]).T.diff(dim=-1) / (2 * BOUND)
        # Not narrower than what the logits can say, and some slack for values that come again and again.
        widths = widths.clamp(min=10 * MIN_SHARE)
        widths = widths / widths.sum(-1, keepdim=True)
        steepness = 1 / (k * widths)
        slopes = (steepness[:, :-1] * steepness[:, 1:]).sqrt().clamp(min=2 * MIN_SLOPE)
        one = softplus_inverse(x.new_tensor(1 - MIN_SLOPE))
        raw_scale = softplus_inverse(scale - self.min_scale)
        head = torch.stack([location, raw_scale], dim=1)
        logits = ((widths - MIN_SHARE) / (1 - k * MIN_SHARE)).log()
        raw_slopes = softplus_inverse(slopes - MIN_SLOPE) - one
        return torch.cat([head, logits, torch.zeros_like(widths), raw_slopes], dim=1).to(dtype)


def _places(logits: Tensor) -> Tensor:
    """Return the ends of bins, (..., K + 1), from -BOUND to BOUND, from K logits of their widths."""
    n_bins = logits.shape[-1]
    shares = MIN_SHARE + (1 - MIN_SHARE * n_bins) * logits.softmax(-1)
    inner = 2 * BOUND * shares[..., :-1].cumsum(-1) - BOUND
    return F.pad(F.pad(inner, (1, 0), value=-BOUND), (0, 1), value=BOUND)


def _gauss_legendre(like: Tensor) -> tuple[Tensor, Tensor]:
    """Return nodes and weights (J,) of an integral from 0 to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return like.new_tensor((nodes + 1) / 2), like.new_tensor(weights / 2)
