"""Continuous variables of which some values come again and again: point masses beside a density."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor

from chainrule.conditionals.base import Conditional, choose_index
from chainrule.conditionals.features import InputFeatures
from chainrule.kernels.plans import VariablePlan
from chainrule.supports import Reals

__all__ = ["PointMasses", "padded_codes", "point_mass_number", "with_values"]


def padded_codes(point_masses: Sequence[Sequence[float]]) -> Tensor:
    """Return the codes of several variables' point masses, float64 (G, J), filled up by NaN.

    No value equals NaN.
    """
    most = max(len(codes) for codes in point_masses)
    filled = [[*codes, *[torch.nan] * (most - len(codes))] for codes in point_masses]
    return torch.tensor(filled, dtype=torch.float64)


def point_mass_number(x: Tensor, codes: Tensor) -> Tensor:
    """Return 1 + the number of the point mass (G, J) that each code (..., G) is, or 0."""
    is_mass = x[..., None] == codes.to(x.dtype)
    return (is_mass * torch.arange(1, 1 + codes.shape[1], device=x.device)).sum(-1)


def with_values(density: Conditional, codes: Tensor, *, is_beside: bool) -> VariablePlan | None:
    """Return the plan of a density and single values (1, J); None where compiled code does not know one."""
    plan, values = density.log_prob_plan(), codes[0].tolist()
    if plan is None or values != sorted(values):
        return None
    return replace(plan, values=tuple(values), is_beside=is_beside)


class PointMasses(Conditional):
    """Probabilities of J values, the point masses, and a density of all other values.

    Params are 1 + J logits, of "elsewhere" and of the point masses, and those of the density. `log_prob` of a
    point mass is the log of a probability; of any other value it is a log-density, that of being elsewhere
    included.

    Parameters
    ----------
    density : Conditional
        The family elsewhere.
    codes : Tensor
        The point masses, float64 of shape (G, J); NaN where a variable has fewer.
    """

    name = "point-masses"
    codes: Tensor

    def __init__(self, density: Conditional, codes: Tensor) -> None:
        super().__init__()
        self.density = density
        self.n_logits: int = 1 + codes.shape[1]
        self.n_parameters: int = self.n_logits + density.n_parameters
        self.n_uniforms: int = density.n_uniforms
        self.register_buffer("codes", codes, persistent=False)

    @classmethod
    def from_support(cls, support: Reals, n_components: int) -> Self:
        """Refuse: a density must be named; see `make_family`."""
        raise TypeError("PointMasses stand beside a density: see make_family")

    @classmethod
    def beside(cls, density: Conditional, point_masses: Sequence[float]) -> Self:
        """Return the family of one variable."""
        return cls(density, padded_codes([point_masses]))

    def input_features(self, encoding: str) -> InputFeatures:
        """Return the features of the density, and an indicator for each point mass."""
        return replace(self.density.input_features(encoding), point_masses=tuple(self.codes[0].tolist()))

    def group_key(self) -> Hashable:
        """Return that of the density: variables with any point masses are evaluated together."""
        return type(self), self.density.group_key()

    @classmethod
    def group(cls, families: Sequence[Self]) -> Self:
        """Return the family with each variable's point masses."""
        density = families[0].density.group([family.density for family in families])
        return cls(density, padded_codes([family.codes[0].tolist() for family in families]))

    def slots(self, n_parameters: int) -> list[int]:
        """Return the leading slots for the logits, and the last ones for the density."""
        n_of_density = self.n_parameters - self.n_logits
        return [*range(self.n_logits), *range(n_parameters - n_of_density, n_parameters)]

    def is_point_mass(self, x: Tensor) -> Tensor:
        """Return which point mass each code is, bool (..., J)."""
        return x[..., None] == self.codes.to(x.dtype)

    def split(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the log-probabilities of elsewhere and of each point mass, and the density's params."""
        logs = params[..., : self.n_logits].log_softmax(-1)
        return logs[..., 0], logs[..., 1:], params[..., self.n_logits :]

    def log_prob_plan(self) -> VariablePlan | None:
        """Return that of the density, beside which the point masses stand."""
        return with_values(self.density, self.codes, is_beside=False)

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """Return the log-probability of a point mass, the log-density of any other value."""
        elsewhere, on_masses, of_density = self.split(params)
        is_mass = self.is_point_mass(x)
        mass = torch.where(is_mass, on_masses, 0).sum(-1)
        return torch.where(is_mass.any(-1), mass, elsewhere + self.density.log_prob(x, of_density))

    def sample(self, params: Tensor, uniforms: Tensor) -> Tensor:
        """Choose a point mass or the density by the first uniform, and go on with what it leaves of it."""
        elsewhere, on_masses, of_density = self.split(params)
        weights = torch.cat([on_masses, elsewhere[..., None]], -1).exp()
        first = uniforms[..., 0]
        chosen = choose_index(weights, first)
        n_masses = self.n_logits - 1
        total = weights.sum(-1)
        rest = (first * total - weights[..., :-1].sum(-1)) / weights[..., -1].clamp(min=1e-30)
        value = self.density.sample(
            of_density, torch.cat([rest.clamp(0, 1)[..., None], uniforms[..., 1:]], dim=-1)
        )
        codes = self.codes.to(params.dtype).expand(*chosen.shape, n_masses)
        mass = codes.gather(-1, chosen.clamp(max=n_masses - 1)[..., None]).squeeze(-1)
        return torch.where(chosen < n_masses, mass, value)

    def mean(self, params: Tensor) -> Tensor:
        """Return the expected value."""
        elsewhere, on_masses, of_density = self.split(params)
        of_masses = (on_masses.exp() * self.codes.to(params.dtype).nan_to_num()).sum(-1)
        return of_masses + elsewhere.exp() * self.density.mean(of_density)

    def mode(self, params: Tensor) -> Tensor:
        """Return the most probable point mass, or the mode of the density where that is more probable."""
        elsewhere, on_masses, of_density = self.split(params)
        highest, which = on_masses.max(-1)
        codes = self.codes.to(params.dtype).expand(*on_masses.shape)
        mass = codes.gather(-1, which[..., None]).squeeze(-1)
        return torch.where(highest > elsewhere, mass, self.density.mode(of_density))

    def cdf(self, x: Tensor, params: Tensor) -> Tensor:
        """Return P(X <= x)."""
        elsewhere, on_masses, of_density = self.split(params)
        reached = torch.where(self.codes.to(x.dtype) <= x[..., None], on_masses.exp(), 0).sum(-1)
        return reached + elsewhere.exp() * self.density.cdf(x, of_density)

    def partial_mean(self, x: Tensor, params: Tensor) -> Tensor:
        """Return E[X; X <= x]."""
        elsewhere, on_masses, of_density = self.split(params)
        codes = self.codes.to(x.dtype)
        of_masses = torch.where(codes <= x[..., None], on_masses.exp() * codes, 0).sum(-1)
        return of_masses + elsewhere.exp() * self.density.partial_mean(x, of_density)

    def marginal_params(self, x: Tensor) -> Tensor:
        """Return the frequencies, half a row added to each, and a density that fits the other values."""
        is_mass = self.is_point_mass(x)
        counts = torch.cat([(~is_mass.any(-1)).sum(0)[:, None], is_mass.sum(0)], 1) + 0.5
        logits = (counts / counts.sum(1, keepdim=True)).log()
        rest = [x[~is_mass[:, g].any(-1), g] for g in range(x.shape[1])]
        rest = [column if len(column) else x[:, g] for g, column in enumerate(rest)]
        # As many rows of each: the density is one of all variables.
        filled = [column.repeat(-(-len(x) // len(column)))[: len(x)] for column in rest]
        of_density = self.density.marginal_params(torch.stack(filled, dim=1))
        return torch.cat([logits.to(x.dtype), of_density], 1)
