"""Conditionals of binary and categorical variables, parameterised by logits."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from chainrule.conditionals.base import Conditional, choose_index
from chainrule.conditionals.features import InputFeatures
from chainrule.kernels.plans import VariablePlan
from chainrule.supports import Binary, Grid, Levels, Support

__all__ = ["Bernoulli", "Categorical"]


class Bernoulli(Conditional):
    """x in {0, 1} with P(x = 1) = sigmoid(logit)."""

    name = "bernoulli"
    supports: ClassVar[tuple[type[Support], ...]] = (Binary,)
    compiled_family: ClassVar[str | None] = "bernoulli"
    n_parameters = 1

    @classmethod
    def from_support(cls, support: Binary, n_components: int) -> Self:
        """Return the family of one variable."""
        return cls()

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """Return the log-probability of x."""
        # log sigmoid of the logit for a 1, of its negative for a 0.
        return F.logsigmoid((2 * x - 1) * params.squeeze(-1))

    def sample(self, params: Tensor, uniforms: Tensor) -> Tensor:
        """Return 1 where the uniform lies below P(x = 1), which is where its logit lies below the param."""
        return (uniforms[..., 0].logit() < params[..., 0]).to(params.dtype)

    def mean(self, params: Tensor) -> Tensor:
        """Return P(x = 1)."""
        return params[..., 0].sigmoid()

    def mode(self, params: Tensor) -> Tensor:
        """Return 1 where it is more probable than 0."""
        return (params[..., 0] > 0).to(params.dtype)

    def cdf(self, x: Tensor, params: Tensor) -> Tensor:
        """Return P(X <= x)."""
        zero = (-params[..., 0]).sigmoid()
        return torch.where(x < 0, torch.zeros_like(zero), torch.where(x < 1, zero, torch.ones_like(zero)))

    def marginal_params(self, x: Tensor) -> Tensor:
        """Return the logit of each column's frequency, half a row added to both values."""
        frequency = (x.sum(0, dtype=torch.float64) + 0.5) / (len(x) + 1)
        return frequency.logit()[:, None].to(x.dtype)

    def log_prob_plan(self) -> VariablePlan:
        """Return the form alone."""
        return VariablePlan("bernoulli")

    def compiled_constants(self) -> tuple[int, float]:
        """Return the number of levels; there is no scale."""
        return 2, 0.0

    def compiled_draws(self, uniforms: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the logit of the uniform, which is held against the param."""
        return uniforms[..., 0].logit(), None


class Categorical(Conditional):
    """x in {0, ..., K-1} with probabilities softmax(logits); a logit of -inf rules a category out."""

    name = "categorical"
    supports: ClassVar[tuple[type[Support], ...]] = (Levels, Grid)
    compiled_family: ClassVar[str | None] = "categorical"

    def __init__(self, n_categories: int) -> None:
        super().__init__()
        self.n_parameters = n_categories

    @classmethod
    def from_support(cls, support: Levels | Grid, n_components: int) -> Self:
        """Return the family of one variable."""
        return cls(support.n_codes)

    def input_features(self, encoding: str) -> InputFeatures:
        """Return an indicator for each category, or the code."""
        return InputFeatures.of_levels(self.n_parameters, encoding)

    def group_key(self) -> Hashable:
        """Return the class: variables of any numbers of categories are evaluated together."""
        return type(self)

    @classmethod
    def group(cls, families: Sequence[Self]) -> Self:
        """Return the family with the most categories."""
        return cls(max(family.n_parameters for family in families))

    def slots(self, n_parameters: int) -> list[int]:
        """Return the leading slots; categories that a variable lacks follow."""
        return list(range(self.n_parameters))

    def compiled_constants(self) -> tuple[int, float]:
        """Return the number of categories; there is no scale."""
        return self.n_parameters, 0.0

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """Return the log-probability of category x."""
        return params.log_softmax(-1).gather(-1, x.long()[..., None]).squeeze(-1)

    def log_prob_plan(self) -> VariablePlan:
        """Return the number of levels."""
        return VariablePlan("categorical", self.n_parameters)

    def sample(self, params: Tensor, uniforms: Tensor) -> Tensor:
        """Return the category at which the cumulative probability passes the uniform."""
        return choose_index(params.softmax(-1), uniforms[..., 0]).to(params.dtype)

    def level_probabilities(self, params: Tensor, n_codes: int) -> Tensor:
        """Return the probabilities of the first categories, (..., n_codes)."""
        return params.softmax(-1)[..., :n_codes]

    def mean(self, params: Tensor) -> Tensor:
        """Return the expected code."""
        return (params.softmax(-1) * torch.arange(params.shape[-1], device=params.device)).sum(-1)

    def mode(self, params: Tensor) -> Tensor:
        """Return the most probable category."""
        return params.argmax(-1).to(params.dtype)

    def cdf(self, x: Tensor, params: Tensor) -> Tensor:
        """Return the probability of the categories whose code is at most x."""
        codes = torch.arange(params.shape[-1], device=params.device)
        return (params.softmax(-1) * (codes <= x[..., None])).sum(-1)

    def marginal_params(self, x: Tensor) -> Tensor:
        """Return the log of each column's frequencies, half a row added to every category."""
        n_columns, n_categories = x.shape[1], self.n_parameters
        cell = x.long() + n_categories * torch.arange(n_columns, device=x.device)
        counts = torch.bincount(cell.flatten(), minlength=n_columns * n_categories)
        frequency = (counts.view(n_columns, n_categories).double() + 0.5) / (len(x) + 0.5 * n_categories)
        return frequency.log().to(x.dtype)
