"""Continuous variables of which some values come again and again: point masses beside a density."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from chainrule.conditionals.base import Conditional, choose_index
from chainrule.conditionals.mixtures import LocationScaleMixture, open_interval

__all__ = ["SpikedMixture", "padded_spikes", "spike_number"]


def padded_spikes(spikes: Sequence[Sequence[float]]) -> Tensor:
    """Return the spikes of several variables, float64 (G, J); NaN, which no value equals, fills up."""
    most = max(len(codes) for codes in spikes)
    return torch.tensor(
        [[*codes, *[torch.nan] * (most - len(codes))] for codes in spikes], dtype=torch.float64
    )


def spike_number(x: Tensor, spikes: Tensor) -> Tensor:
    """Return 1 + the number of the spike (G, J) that each code (..., G) is, or 0."""
    is_spike = x[..., None] == spikes.to(x.dtype)
    return (is_spike * torch.arange(1, 1 + spikes.shape[1], device=x.device)).sum(-1)


class SpikedMixture(Conditional):
    """Probabilities of J values, the spikes, and a mixture density of all other values.

    Params are 1 + J logits, of "elsewhere" and of the spikes, and those of the mixture. `log_prob` of a spike
    is the log of a probability; of any other value it is a log-density, that of being elsewhere included.

    Parameters
    ----------
    mixture : LocationScaleMixture
        The density elsewhere.
    spikes : Tensor
        Codes, float64 of shape (G, J); NaN where a variable has fewer.
    """

    n_uniforms = 2
    spikes: Tensor

    def __init__(self, mixture: LocationScaleMixture, spikes: Tensor) -> None:
        super().__init__()
        self.mixture = mixture
        self.n_parts = 1 + spikes.shape[1]
        self.n_parameters = self.n_parts + mixture.n_parameters
        self.register_buffer("spikes", spikes, persistent=False)

    def is_spike(self, x: Tensor) -> Tensor:
        """Return which spike each code is, bool (..., J)."""
        return x[..., None] == self.spikes.to(x.dtype)

    def parts(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the log-probabilities of elsewhere, of each spike, and the mixture's params."""
        logs = params[..., : self.n_parts].log_softmax(-1)
        return logs[..., 0], logs[..., 1:], params[..., self.n_parts :]

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """Return the log-probability of a spike, the log-density of any other value."""
        elsewhere, on_spikes, mixture = self.parts(params)
        is_spike = self.is_spike(x)
        mass = torch.where(is_spike, on_spikes, 0).sum(-1)
        return torch.where(is_spike.any(-1), mass, elsewhere + self.mixture.log_prob(x, mixture))

    def sample(self, params: Tensor, uniforms: Tensor) -> Tensor:
        """Choose a spike or a component by the first uniform, a value in the component by the second."""
        elsewhere, on_spikes, mixture = self.parts(params)
        logits, locations, scales = self.mixture.components(mixture)
        components = elsewhere[..., None] + logits.log_softmax(-1)
        chosen = choose_index(torch.cat([on_spikes, components], -1).exp(), uniforms[..., 0])
        n_spikes = self.n_parts - 1
        component = (chosen - n_spikes).clamp(min=0)[..., None]
        quantile = self.mixture.standard_quantile(open_interval(uniforms[..., 1:2]))
        value = (locations.gather(-1, component) + scales.gather(-1, component) * quantile).squeeze(-1)
        spikes = self.spikes.to(params.dtype).expand(*chosen.shape, n_spikes)
        spike = spikes.gather(-1, chosen.clamp(max=n_spikes - 1)[..., None]).squeeze(-1)
        return torch.where(chosen < n_spikes, spike, value)

    def mean(self, params: Tensor) -> Tensor:
        """Return the expected value."""
        elsewhere, on_spikes, mixture = self.parts(params)
        there = (on_spikes.exp() * self.spikes.to(params.dtype).nan_to_num()).sum(-1)
        return there + elsewhere.exp() * self.mixture.mean(mixture)

    def mode(self, params: Tensor) -> Tensor:
        """Return the most probable spike, or the mode of the mixture where elsewhere is more probable."""
        elsewhere, on_spikes, mixture = self.parts(params)
        highest, which = on_spikes.max(-1)
        spikes = self.spikes.to(params.dtype).expand(*on_spikes.shape)
        spike = spikes.gather(-1, which[..., None]).squeeze(-1)
        return torch.where(highest > elsewhere, spike, self.mixture.mode(mixture))

    def cdf(self, x: Tensor, params: Tensor) -> Tensor:
        """Return P(X <= x)."""
        elsewhere, on_spikes, mixture = self.parts(params)
        reached = torch.where(self.spikes.to(x.dtype) <= x[..., None], on_spikes.exp(), 0).sum(-1)
        return reached + elsewhere.exp() * self.mixture.cdf(x, mixture)

    def marginal_params(self, x: Tensor) -> Tensor:
        """Return the spikes' frequencies, half a row added to each, and a mixture that fits the rest."""
        is_spike = self.is_spike(x)
        counts = torch.cat([(~is_spike.any(-1)).sum(0)[:, None], is_spike.sum(0)], 1) + 0.5
        logits = (counts / counts.sum(1, keepdim=True)).log()
        columns = [x[~is_spike[:, g].any(-1), g] for g in range(x.shape[1])]
        mixtures = [
            self.mixture.marginal_params((column if len(column) else x[:, g])[:, None])
            for g, column in enumerate(columns)
        ]
        return torch.cat([logits.to(x.dtype), torch.cat(mixtures)], 1)
