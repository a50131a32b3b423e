"""Zero-inflated mixtures of negative binomials for counts, numbers 0, 1, 2, ... without an end.

A component with mean m and size r has P(x) = Gamma(x + r) / (Gamma(r) x!) (r / (r + m))^r (m / (r + m))^x,
a Poisson variable whose rate is Gamma distributed (Greenwood & Yule 1920); its variance is m + m^2 / r. Zeros
that no component explains have a probability of their own (Lambert 1992).
"""

from __future__ import annotations

import math
from typing import ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from scipy.special import betainc
from torch import Tensor

from chainrule.conditionals.base import Conditional, choose_index, softplus_inverse
from chainrule.conditionals.features import InputFeatures
from chainrule.conditionals.mixtures import mixture_width, split_mixture
from chainrule.supports import Counts, Support

__all__ = ["NegativeBinomials"]

# Means and sizes beyond these tell nothing apart: exp(20) counts, and a Poisson variable.
MAX_LOG_MEAN = 20.0
MIN_SIZE, MAX_SIZE = 1e-2, 1e6
# How far counts reach in the first layer: log(1 + x) / 2 - 1 lies between -1 and about 4.
LOG_FACTOR, LOG_SHIFT = 0.5, -1.0


class NegativeBinomials(Conditional):
    """A mixture of M negative binomials, and a share of zeros besides.

    Params are the logit of that share, M logits, M logs of means and M raw sizes; a size is
    ``softplus(raw) + 0.01``. All is computed in double precision, as log-factorials of large counts differ by
    less than single precision tells.

    Parameters
    ----------
    n_components : int
        M.

    Examples
    --------
    >>> family = NegativeBinomials(2)
    >>> params = torch.zeros(1, 1, family.n_parameters, dtype=torch.float64)
    >>> counts = torch.arange(200.0, dtype=torch.float64)[:, None, None]
    >>> round(float(family.log_prob(counts[..., 0], params).exp().sum()), 6)
    1.0
    """

    name = "negative-binomials"
    supports: ClassVar[tuple[type[Support], ...]] = (Counts,)
    n_uniforms = 2

    def __init__(self, n_components: int) -> None:
        super().__init__()
        if n_components < 1:
            raise ValueError(f"n_components must be at least 1, got {n_components}")
        self.n_components = n_components
        self.n_parameters: int = 1 + mixture_width(n_components)

    @classmethod
    def from_support(cls, support: Counts, n_components: int) -> Self:
        """Return the family of one variable."""
        return cls(n_components)

    def input_features(self, encoding: str) -> InputFeatures:
        """Return the log of one plus the count, unless the encoding is raw."""
        if encoding == "raw":
            return InputFeatures()
        return InputFeatures(factor=LOG_FACTOR, shift=LOG_SHIFT, transform=torch.log1p)

    def split(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the zeros' logit (...), and logits, log-means and log-sizes of components, (..., M) each."""
        logits, log_means, raw_sizes = split_mixture(params[..., 1:].double(), self.n_components)
        sizes = (F.softplus(raw_sizes) + MIN_SIZE).clamp(max=MAX_SIZE)
        return params[..., 0].double(), logits, log_means.clamp(max=MAX_LOG_MEAN), sizes.log()

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """Return the log-probability of the count x."""
        zeros, logits, log_means, log_sizes = self.split(params)
        count, sizes = x.double()[..., None], log_sizes.exp()
        each = (
            torch.lgamma(count + sizes) - torch.lgamma(sizes) - torch.lgamma(count + 1)
            + sizes * F.logsigmoid(log_sizes - log_means)
            + count * F.logsigmoid(log_means - log_sizes)
        )  # fmt: skip
        counted = F.logsigmoid(-zeros) + torch.logsumexp(logits.log_softmax(-1) + each, dim=-1)
        inflated = torch.logaddexp(F.logsigmoid(zeros), counted)
        return torch.where(x == 0, inflated, counted).to(params.dtype)

    def sample(self, params: Tensor, uniforms: Tensor) -> Tensor:
        """Choose zero or a component by the first uniform, its quantile by the second."""
        zeros, logits, log_means, log_sizes = self.split(params)
        weights = torch.cat(
            [zeros.sigmoid()[..., None], (-zeros).sigmoid()[..., None] * logits.softmax(-1)], -1
        )
        chosen = choose_index(weights, uniforms[..., 0].double())
        component = (chosen - 1).clamp(min=0)[..., None]
        size = log_sizes.gather(-1, component).squeeze(-1).exp()
        mean = log_means.gather(-1, component).squeeze(-1).exp()
        success = (size / (size + mean)).cpu().numpy()
        quantile = stats.nbinom.ppf(uniforms[..., 1].double().cpu().numpy(), size.cpu().numpy(), success)
        drawn = torch.from_numpy(np.maximum(quantile, 0.0)).to(params.device)
        return torch.where(chosen == 0, 0.0, drawn).to(params.dtype)

    def mean(self, params: Tensor) -> Tensor:
        """Return the expected count."""
        zeros, logits, log_means, _ = self.split(params)
        return ((-zeros).sigmoid() * (logits.softmax(-1) * log_means.exp()).sum(-1)).to(params.dtype)

    def mode(self, params: Tensor) -> Tensor:
        """Return the most probable among zero and the modes of the components."""
        candidates = self.peaks(params)
        heights = self.log_prob(candidates.movedim(-1, 0), params.double())
        return candidates.gather(-1, heights.argmax(0)[..., None]).squeeze(-1).to(params.dtype)

    def peaks(self, params: Tensor) -> Tensor:
        """Return zero and the modes of the components, float64."""
        _, _, log_means, log_sizes = self.split(params)
        sizes = log_sizes.exp()
        of_each = torch.floor(log_means.exp() * (sizes - 1) / sizes).clamp(min=0)
        return torch.cat([torch.zeros_like(of_each[..., :1]), of_each], -1)

    def cdf(self, x: Tensor, params: Tensor) -> Tensor:
        """Return P(X <= x)."""
        zeros, logits, log_means, log_sizes = self.split(params)
        sizes, count = log_sizes.exp(), torch.floor(x.double())[..., None]
        success = (log_sizes - log_means).sigmoid()
        reached = betainc(sizes.cpu().numpy(), (count.clamp(min=0) + 1).cpu().numpy(), success.cpu().numpy())
        each = (logits.softmax(-1) * torch.from_numpy(reached).to(params.device)).sum(-1)
        whole = zeros.sigmoid() + (-zeros).sigmoid() * each
        return torch.where(x < 0, 0.0, whole).to(params.dtype)

    def partial_mean(self, x: Tensor, params: Tensor) -> Tensor:
        """Return E[X; X <= x]: x P(x) is m times the probability of x - 1 under the size r + 1."""
        zeros, logits, log_means, log_sizes = self.split(params)
        sizes, count = log_sizes.exp(), torch.floor(x.double())[..., None]
        success = (log_sizes - log_means).sigmoid()
        reached = betainc((sizes + 1).cpu().numpy(), count.clamp(min=1).cpu().numpy(), success.cpu().numpy())
        each = log_means.exp() * torch.from_numpy(reached).to(params.device)
        part = (-zeros).sigmoid() * (logits.softmax(-1) * each).sum(-1)
        return torch.where(x < 1, 0.0, part).to(params.dtype)

    def marginal_params(self, x: Tensor) -> Tensor:
        """Return few zeros besides, and equal components with means at quantiles of each column."""
        levels = (torch.arange(self.n_components, dtype=torch.float64) + 0.5) / self.n_components
        means = torch.quantile(x.double(), levels.to(x.device), dim=0).T + 0.5
        mean, variance = x.double().mean(0), x.double().var(0, correction=0)
        # Of one component the size that has the column's variance; several are narrower.
        size = mean.square() / (variance - mean).clamp(min=1e-3) * self.n_components
        raw = softplus_inverse(size.clamp(0.1, 100.0) - MIN_SIZE)[:, None].expand_as(means)
        zeros = torch.full((x.shape[1], 1), math.log(0.05 / 0.95), dtype=torch.float64, device=x.device)
        logits = [torch.zeros_like(means)] if self.n_components > 1 else []
        return torch.cat([zeros, *logits, means.log(), raw], dim=1).to(x.dtype)
