"""Mixtures of Gaussians, logistics and Laplaces for continuous variables.

Params of one variable are M logits, M locations and M raw scales; ``scale = softplus(raw) + min_scale`` in
density and sampler alike. Uria et al. (2013) use such mixtures as the conditionals of RNADE.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from chainrule.conditionals.base import Conditional, choose_index, partial_mean_of, softplus_inverse
from chainrule.kernels.plans import VariablePlan
from chainrule.supports import Reals, Support

__all__ = ["LocationScaleMixture", "MixtureOfGaussians", "MixtureOfLaplaces", "MixtureOfLogistics"]


class LocationScaleMixture(Conditional):
    """A mixture of M shifted and stretched copies of one standard density.

    Parameters
    ----------
    n_components : int
        M.
    min_scale : float
        The smallest scale, in standardised units: it bounds the density, so that a repeated value cannot
        drive the likelihood to infinity.
    """

    supports: ClassVar[tuple[type[Support], ...]] = (Reals,)
    n_uniforms = 2

    def __init__(self, n_components: int, min_scale: float = 1e-3) -> None:
        super().__init__()
        if n_components < 1:
            raise ValueError(f"n_components must be at least 1, got {n_components}")
        self.n_components = n_components
        self.min_scale = min_scale
        self.n_parameters: int = mixture_width(n_components)

    @classmethod
    def from_support(cls, support: Reals, n_components: int) -> Self:
        """Return the family of one variable without point masses."""
        return cls(n_components)

    @staticmethod
    @abstractmethod
    def standard_log_density(z: Tensor) -> Tensor:
        """Return the log-density of the standard component."""

    @staticmethod
    @abstractmethod
    def standard_cdf(z: Tensor) -> Tensor:
        """Return the distribution function of the standard component."""

    @staticmethod
    @abstractmethod
    def standard_quantile(u: Tensor) -> Tensor:
        """Return the inverse of `standard_cdf`."""

    @classmethod
    def standard_partial_mean(cls, z: Tensor) -> Tensor:
        """Return E[Z; Z <= z] of the standard component; a density of one's own gets it by summing."""
        return partial_mean_of(cls.standard_cdf, z)

    def compiled_constants(self) -> tuple[int, float]:
        """Return the smallest scale; there are no levels."""
        return 0, self.min_scale

    def compiled_draws(self, uniforms: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the uniform that chooses a component, and a quantile of the standard density."""
        return uniforms[..., 0], self.standard_quantile(open_interval(uniforms[..., 1]))

    def components(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits, locations and scales, each (..., M)."""
        logits, locations, raw_scales = split_mixture(params, self.n_components)
        return logits, locations, F.softplus(raw_scales) + self.min_scale

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """Return the log-density of x."""
        logits, locations, scales = self.components(params)
        density = self.standard_log_density((x[..., None] - locations) / scales) - scales.log()
        if self.n_components == 1:
            return density.squeeze(-1)
        return torch.logsumexp(logits.log_softmax(-1) + density, dim=-1)

    def sample(self, params: Tensor, uniforms: Tensor) -> Tensor:
        """Choose a component by the first uniform, then a value in it by the second."""
        logits, locations, scales = self.components(params)
        chosen = choose_index(logits.softmax(-1), uniforms[..., 0])[..., None]
        location, scale = locations.gather(-1, chosen), scales.gather(-1, chosen)
        return (location + scale * self.standard_quantile(open_interval(uniforms[..., 1:2]))).squeeze(-1)

    def mean(self, params: Tensor) -> Tensor:
        """Return the expected value."""
        logits, locations, _ = self.components(params)
        return (logits.softmax(-1) * locations).sum(-1)

    def mode(self, params: Tensor) -> Tensor:
        """Return the component location with the highest density of the whole mixture."""
        locations = self.peaks(params)
        density = self.log_prob(locations.movedim(-1, 0), params)
        return locations.gather(-1, density.argmax(0)[..., None]).squeeze(-1)

    def peaks(self, params: Tensor) -> Tensor:
        """Return the component locations."""
        return self.components(params)[1]

    def cdf(self, x: Tensor, params: Tensor) -> Tensor:
        """Return P(X <= x)."""
        logits, locations, scales = self.components(params)
        return (logits.softmax(-1) * self.standard_cdf((x[..., None] - locations) / scales)).sum(-1)

    def partial_mean(self, x: Tensor, params: Tensor) -> Tensor:
        """Return E[X; X <= x]."""
        logits, locations, scales = self.components(params)
        z = (x[..., None] - locations) / scales
        each = locations * self.standard_cdf(z) + scales * self.standard_partial_mean(z)
        return (logits.softmax(-1) * each).sum(-1)

    def marginal_params(self, x: Tensor) -> Tensor:
        """Return equal components at evenly spaced quantiles of each column."""
        return evenly_spread_components(x, self.n_components, self.min_scale)


class MixtureOfGaussians(LocationScaleMixture):
    """Components N(location, scale^2)."""

    name = "gaussian"
    compiled_family: ClassVar[str | None] = "mixture"

    @staticmethod
    def standard_log_density(z: Tensor) -> Tensor:
        """Return log N(z; 0, 1)."""
        return -0.5 * z.square() - 0.5 * math.log(2 * math.pi)

    def log_prob_plan(self) -> VariablePlan | None:
        """Return the smallest scale; one component alone has other params."""
        if self.n_components == 1:
            return None
        return VariablePlan("gaussians", self.n_components, (self.min_scale,))

    @staticmethod
    def standard_cdf(z: Tensor) -> Tensor:
        """Return the normal distribution function."""
        return torch.special.ndtr(z)

    @staticmethod
    def standard_quantile(u: Tensor) -> Tensor:
        """Return the normal quantile."""
        return torch.special.ndtri(u)

    @classmethod
    def standard_partial_mean(cls, z: Tensor) -> Tensor:
        """Return minus the normal density."""
        return -cls.standard_log_density(z).exp()


class MixtureOfLogistics(LocationScaleMixture):
    """Components with density sech^2(z / 2) / 4."""

    name = "logistic"
    compiled_family: ClassVar[str | None] = "mixture"

    @staticmethod
    def standard_log_density(z: Tensor) -> Tensor:
        """Return log sigmoid(z) + log sigmoid(-z)."""
        return F.logsigmoid(z) + F.logsigmoid(-z)

    @staticmethod
    def standard_cdf(z: Tensor) -> Tensor:
        """Return the sigmoid."""
        return z.sigmoid()

    @staticmethod
    def standard_quantile(u: Tensor) -> Tensor:
        """Return the logit."""
        return u.logit()

    @classmethod
    def standard_partial_mean(cls, z: Tensor) -> Tensor:
        """Return minus the entropy of a coin that shows z as its logit."""
        return z.abs().neg() * z.abs().neg().sigmoid() - F.softplus(-z.abs())


class MixtureOfLaplaces(LocationScaleMixture):
    """Components with density exp(-|z|) / 2."""

    name = "laplace"
    compiled_family: ClassVar[str | None] = "mixture"

    @staticmethod
    def standard_log_density(z: Tensor) -> Tensor:
        """Return -|z| - log 2."""
        return -z.abs() - math.log(2)

    @staticmethod
    def standard_cdf(z: Tensor) -> Tensor:
        """Return the double exponential distribution function."""
        half_tail = 0.5 * torch.exp(-z.abs())
        return torch.where(z < 0, half_tail, 1 - half_tail)

    @staticmethod
    def standard_quantile(u: Tensor) -> Tensor:
        """Return the double exponential quantile."""
        centred = u - 0.5
        return -centred.sign() * torch.log1p(-2 * centred.abs())

    @classmethod
    def standard_partial_mean(cls, z: Tensor) -> Tensor:
        """Return -(1 + |z|) exp(-|z|) / 2."""
        return -0.5 * (1 + z.abs()) * torch.exp(-z.abs())


def mixture_width(n_components: int) -> int:
    """Return the number of params: logits, locations and raw scales; one component has no logit."""
    return 3 * n_components if n_components > 1 else 2


def split_mixture(params: Tensor, n_components: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits, locations and raw scales, each (..., M), from the params of a mixture."""
    if n_components == 1:
        return torch.zeros_like(params[..., :1]), params[..., :1], params[..., 1:]
    logits, locations, raw_scales = params.unflatten(-1, (3, n_components)).unbind(-2)
    return logits, locations, raw_scales


def open_interval(uniforms: Tensor) -> Tensor:
    """Return uniforms moved off 0 and 1, where quantiles are infinite."""
    tiny = torch.finfo(uniforms.dtype).eps / 4
    return uniforms.clamp(tiny, 1 - 2 * tiny)


def evenly_spread_components(x: Tensor, n_components: int, min_scale: float) -> Tensor:
    """Return mixture params (G, P): equal weights, locations at quantiles of the columns of x (n, G)."""
    levels = (torch.arange(n_components, dtype=torch.float64, device=x.device) + 0.5) / n_components
    locations = torch.quantile(x.double(), levels, dim=0).T
    spread = x.double().std(0, correction=0).clamp(min=10 * min_scale)[:, None] / math.sqrt(n_components)
    raw_scales = softplus_inverse(spread - min_scale).expand_as(locations)
    logits = [torch.zeros_like(locations)] if n_components > 1 else []
    return torch.cat([*logits, locations, raw_scales], dim=1).to(x.dtype)
