"""The conditionals of a whole row: variables of one family are evaluated together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from chainrule.conditionals.base import Conditional
from chainrule.conditionals.discrete import Bernoulli, Categorical
from chainrule.conditionals.discretized import DiscretizedLogistics
from chainrule.conditionals.mixtures import (
    LocationScaleMixture,
    MixtureOfGaussians,
    MixtureOfLaplaces,
    MixtureOfLogistics,
    mixture_width,
    open_interval,
)
from chainrule.conditionals.spiked import SpikedMixture, padded_spikes
from chainrule.kernels.sampling_cpu import FAMILIES, Draws

__all__ = ["MIXTURES", "Conditionals"]

MIXTURES: dict[str, type[LocationScaleMixture]] = {
    "gaussian": MixtureOfGaussians,
    "logistic": MixtureOfLogistics,
    "laplace": MixtureOfLaplaces,
}

# The kinds, and continuous variables with point masses, which have a family of their own.
_FAMILY_NAMES = ("binary", "categorical", "ordinal", "continuous", "spiked")


class Conditionals(nn.Module):
    """The D conditionals of a row, and where each finds its params among a conditioner's outputs.

    Outputs lie variable after variable: those of variable d are ``outputs[:, starts[d]:starts[d + 1]]``.

    Parameters
    ----------
    kinds : sequence of str, length D
    n_levels : sequence of int or None, length D
        Levels of the discrete variables.
    n_components : int
        Components of the conditional mixtures of ordinal and continuous variables.
    mixture : {"gaussian", "logistic", "laplace"}
        Component density of continuous variables.
    spikes : sequence of sequences of float, length D, optional
        Codes of continuous variables that have a probability each.
    """

    output_variable: Tensor
    position: Tensor

    def __init__(
        self,
        kinds: Sequence[str],
        n_levels: Sequence[int | None],
        n_components: int = 10,
        mixture: str = "gaussian",
        spikes: Sequence[Sequence[float]] | None = None,
    ) -> None:
        super().__init__()
        if mixture not in MIXTURES:
            raise ValueError(f"mixture must be one of {', '.join(MIXTURES)}, got {mixture!r}")
        if n_components < 1:
            raise ValueError(f"n_components must be at least 1, got {n_components}")
        self.kinds = tuple(kinds)
        self.n_levels = tuple(n_levels)
        self.n_components = n_components
        self.mixture = mixture
        self.spikes = tuple(tuple(codes) for codes in spikes or ((),) * len(self.kinds))
        self._names = [self._family_name(d) for d in range(len(self.kinds))]
        widths = torch.tensor([self._width(d) for d in range(len(self.kinds))])
        self.starts = [0, *widths.cumsum(0).tolist()]
        self.n_outputs = self.starts[-1]
        self.n_variables = len(self.kinds)
        self.register_buffer(
            "output_variable", torch.repeat_interleave(torch.arange(len(widths)), widths), persistent=False
        )
        self._make_groups()
        self._alone: dict[tuple[Any, ...], Conditional] = {}

    def _family_name(self, d: int) -> str:
        """Return the kind of variable d, or "spiked"."""
        return "spiked" if self.spikes[d] else self.kinds[d]

    def _width(self, d: int) -> int:
        """Return how many params variable d has."""
        if self.kinds[d] == "binary":
            return 1
        if self.kinds[d] == "categorical":
            return self._levels(d)
        n_parts = 1 + len(self.spikes[d]) if self.spikes[d] else 0
        return n_parts + mixture_width(self.n_components)

    def _levels(self, d: int) -> int:
        levels = self.n_levels[d]
        if levels is None:
            raise ValueError(f"variable {d} is {self.kinds[d]} and needs its number of levels")
        return levels

    def _family(self, name: str, variables: Sequence[int]) -> Conditional:
        if name == "binary":
            return Bernoulli()
        if name == "categorical":
            return Categorical(max(self._levels(d) for d in variables))
        if name == "ordinal":
            return DiscretizedLogistics(self.n_components, torch.tensor([self._levels(d) for d in variables]))
        mixture = MIXTURES[self.mixture](self.n_components)
        if name == "continuous":
            return mixture
        return SpikedMixture(mixture, padded_spikes([self.spikes[d] for d in variables]))

    def _make_groups(self) -> None:
        """Sort the variables by family; each group knows its columns and gathers its params."""
        present = [name for name in _FAMILY_NAMES if name in self._names]
        members = [[d for d, name in enumerate(self._names) if name == family] for family in present]
        self._members = members
        self.families = nn.ModuleList(self._family(*pair) for pair in zip(present, members, strict=True))
        self.n_uniforms = max(family.n_uniforms for family in self._families())
        for i, (family, variables) in enumerate(zip(self._families(), members, strict=True)):
            index = torch.stack([self._index_of(d, family.n_parameters) for d in variables])
            self.register_buffer(f"_index_{i}", index, persistent=False)
            self.register_buffer(f"_variables_{i}", torch.tensor(variables), persistent=False)
        position = torch.argsort(torch.tensor([d for group in members for d in group]))
        self.register_buffer("position", position, persistent=False)
        self._contiguous = len(present) == 1 and len({self._width(d) for d in range(len(self.kinds))}) == 1

    def _index_of(self, d: int, n_parameters: int) -> Tensor:
        """Return where the params of variable d stand among the outputs, for a family of so many.

        Categories and spikes that a variable lacks point one past the outputs, where a logit of -inf stands.
        """
        width = self._width(d)
        n_logits = 1 + len(self.spikes[d]) if self.spikes[d] else width
        index = torch.full((n_parameters,), self.n_outputs)
        index[:n_logits] = self.starts[d] + torch.arange(n_logits)
        index[n_parameters - (width - n_logits) :] = self.starts[d] + torch.arange(n_logits, width)
        return index

    def _families(self) -> list[Conditional]:
        return [family for family in self.families if isinstance(family, Conditional)]

    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        """Return log p(x_d | params of d) in nats, (n, D), for codes x (n, D) and outputs (n, n_outputs)."""
        if self._contiguous:
            return self._families()[0].log_prob(x, outputs.unflatten(-1, (self.n_variables, -1)))
        padded = torch.nn.functional.pad(outputs, (0, 1), value=-torch.inf)
        parts = [
            family.log_prob(x[:, self._buffer("_variables", i)], padded[:, self._buffer("_index", i)])
            for i, family in enumerate(self._families())
        ]
        return torch.cat(parts, dim=1)[:, self.position]

    def _buffer(self, name: str, i: int) -> Tensor:
        return self.get_buffer(f"{name}_{i}")

    def of_variable(self, d: int) -> Conditional:
        """Return the family of variable d alone, for params (n, 1, P_d)."""
        device = self.output_variable.device
        key = (self._names[d], self.n_levels[d], self.spikes[d], device)
        if key not in self._alone:
            self._alone[key] = self._family(self._names[d], [d]).to(device)
        return self._alone[key]

    def sample_variable(self, d: int, params: Tensor, uniforms: Tensor) -> Tensor:
        """Return draws of variable d, (n,), from its params (n, P_d) and uniforms (n, U)."""
        return self.of_variable(d).sample(params[:, None], uniforms[:, None]).squeeze(1)

    @property
    def is_drawn_compiled(self) -> bool:
        """Whether compiled samplers know all the families: they do not know spikes."""
        return not any(self.spikes)

    @cached_property
    def draw_table(self) -> dict[str, np.ndarray]:
        """What a compiled sampler must know of each variable; see `RowPlan`."""
        codes = {"binary": "bernoulli", "categorical": "categorical", "ordinal": "discretized"}
        levels = np.array([n or 0 for n in self.n_levels])
        least = np.zeros(self.n_variables)
        for family, variables in zip(self._families(), self._members, strict=True):
            if isinstance(family, LocationScaleMixture | DiscretizedLogistics):
                least[variables] = family.least_scale(torch.float64).cpu().numpy()
        return {
            "family": np.array([FAMILIES[codes.get(kind, "mixture")] for kind in self.kinds]),
            "start": np.array(self.starts[:-1]),
            "width": np.diff(self.starts),
            "n_levels": levels,
            "least_scale": least,
        }

    def draws(self, uniforms: Tensor) -> Draws:
        """Return the random numbers of a compiled sampler from uniforms (n, D, U) on the CPU."""
        first, quantiles = self.uniforms_and_quantiles(uniforms)
        unused = uniforms.new_zeros(1, 1)
        return Draws(first.numpy(), (unused if quantiles is None else quantiles).numpy())

    def uniforms_and_quantiles(self, uniforms: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what a sampler draws with, from uniforms (n, D, U): see `Draws`; None where unused."""
        first = uniforms[..., 0].clone(memory_format=torch.contiguous_format)
        quantiles = None if self.n_uniforms == 1 else torch.zeros_like(first)
        for i, family in enumerate(self._families()):
            variables = slice(None) if self._contiguous else self._buffer("_variables", i)
            if isinstance(family, Bernoulli):
                first[:, variables] = first[:, variables].logit()
            elif quantiles is not None and isinstance(family, LocationScaleMixture | DiscretizedLogistics):
                quantiles[:, variables] = family.standard_quantile(open_interval(uniforms[:, variables, 1]))
        return first, quantiles

    def marginal_params(self, x: Tensor) -> Tensor:
        """Return outputs (n_outputs,) under which each variable follows its own margin in the codes x."""
        outputs = x.new_zeros(self.n_outputs + 1)
        for i, family in enumerate(self._families()):
            outputs[self._buffer("_index", i)] = family.marginal_params(x[:, self._buffer("_variables", i)])
        return outputs[:-1]
