"""What a one-dimensional conditional family offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from chainrule.conditionals.features import InputFeatures
from chainrule.kernels.plans import VariablePlan
from chainrule.supports import Support

__all__ = ["Conditional", "choose_index"]

# Logs of how far below a code its distribution function is summed: from, to, in so many steps.
_LOG_DISTANCES = (-16.0, 9.0, 2000)


class Conditional(nn.Module, ABC):
    """A one-dimensional family p(x | params), evaluated for any number of variables at once.

    It learns nothing: what distinguishes two variables arrives in `params`, or is one of its constants. It is
    a module only so that these move with the model to another device.

    A new family is a subclass in a file of its own and an entry in `FAMILIES`. It must define the abstract
    methods. Families whose constants are equal are evaluated together; one whose constants differ from
    variable to variable says in `group_key`, `group` and `slots` how that is done for it, too. Draws come
    from the reference sampler unless the class itself names a `compiled_family`, and log p from `log_prob`
    unless the class itself has a `log_prob_plan`.

    Attributes
    ----------
    n_parameters : int
        P, how many numbers describe one distribution.
    n_uniforms : int, default=1
        U, how many uniform numbers one draw uses up.
    """

    name: ClassVar[str]
    """What `FAMILIES` and saved models call the family."""
    supports: ClassVar[tuple[type[Support], ...]] = ()
    """The supports that the family can model."""
    compiled_family: ClassVar[str | None] = None
    """How compiled samplers call the family. Not inherited: a subclass may draw in another way."""

    n_parameters: int
    n_uniforms: int = 1

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "compiled_family" not in vars(cls):
            cls.compiled_family = None
        if "log_prob_plan" not in vars(cls):
            cls.log_prob_plan = Conditional.log_prob_plan  # type: ignore[method-assign]

    @classmethod
    @abstractmethod
    def from_support(cls, support: Any, n_components: int) -> Self:
        """Return the family of one variable with this support, of so many components where it has some."""

    @abstractmethod
    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        """Return log p(x | params) in nats, shape (...), for codes x (...) and params (..., P)."""

    @abstractmethod
    def sample(self, params: Tensor, uniforms: Tensor) -> Tensor:
        """Return one draw per distribution, shape (...), from params (..., P) and uniforms (..., U)."""

    @abstractmethod
    def mean(self, params: Tensor) -> Tensor:
        """Return the expected code, shape (...); for categories, whose codes are names, see `mode`."""

    @abstractmethod
    def mode(self, params: Tensor) -> Tensor:
        """Return the most probable code, shape (...)."""

    def peaks(self, params: Tensor) -> Tensor:
        """Return codes (..., C) among which the most probable is looked for: by default `mode` alone."""
        return self.mode(params)[..., None]

    @abstractmethod
    def cdf(self, x: Tensor, params: Tensor) -> Tensor:
        """Return P(X <= x), shape (...)."""

    def partial_mean(self, x: Tensor, params: Tensor) -> Tensor:
        """Return E[X; X <= x], what the values up to x add to the mean, shape (...).

        By default from sums of the distribution function, to about a thousandth of a smooth density's scale;
        families of finitely many levels are not asked for it.
        """
        return partial_mean_of(lambda t: self.cdf(t, params), x)

    def level_probabilities(self, params: Tensor, n_codes: int) -> Tensor:
        """Return P(X = 0), ..., P(X = n_codes - 1), shape (..., n_codes), where codes are finitely many."""
        each = [self.log_prob(params.new_full(params.shape[:-1], code), params) for code in range(n_codes)]
        return torch.stack(each, dim=-1).exp()

    @abstractmethod
    def marginal_params(self, x: Tensor) -> Tensor:
        """Return params (G, P) that fit each column of the codes x (n, G) alone: where training starts."""

    def input_features(self, encoding: str) -> InputFeatures:
        """Return how a conditioner sees the codes: as they are, unless a family says otherwise."""
        return InputFeatures()

    # ------------------------------------------------------------ several variables at once

    def group_key(self) -> Hashable:
        """Return a key that is equal for families that are evaluated together: class and constants."""
        plain = {k: v for k, v in vars(self).items() if isinstance(v, bool | int | float | str | tuple)}
        buffers = tuple((name, tuple(b.flatten().tolist())) for name, b in self.named_buffers())
        return (type(self), tuple(sorted(plain.items(), key=str)), buffers)

    @classmethod
    def group(cls, families: Sequence[Self]) -> Self:
        """Return one family for the variables (G,) of several that share a `group_key`."""
        return families[0]

    def slots(self, n_parameters: int) -> list[int]:
        """Return where this variable's own params stand among those of its group, (P,).

        The others are -inf: logits of what this variable lacks.
        """
        return list(range(n_parameters))

    # ------------------------------------------------------------ compiled code

    def log_prob_plan(self) -> VariablePlan | None:
        """Return what compiled code must know to evaluate `log_prob` of one variable; None: it cannot.

        Not inherited: a subclass may have another log p.
        """
        return None

    def compiled_constants(self) -> tuple[int, float]:
        """Return the number of levels, and what is added to softplus(raw) to make a scale; see `RowPlan`."""
        return 0, 0.0

    def compiled_draws(self, uniforms: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the numbers of a compiled sampler, (...) each, from uniforms (..., U); see `Draws`."""
        return uniforms[..., 0], None


def choose_index(weights: Tensor, uniforms: Tensor) -> Tensor:
    """Return the index drawn by inverting the cumulative `weights` (..., K) at `uniforms` (...)."""
    cumulative = weights.cumsum(-1)
    below = cumulative[..., :-1] <= uniforms[..., None] * cumulative[..., -1:]
    return below.sum(-1)


def partial_mean_of(cdf: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return E[X; X <= x] = x P(X <= x) - the integral of P(X <= t) over t up to x, by a sum."""
    distance = torch.linspace(*_LOG_DISTANCES, dtype=x.dtype, device=x.device).exp()
    heights = torch.stack([cdf(x - each) for each in distance], dim=-1)
    return x * cdf(x) - torch.trapezoid(heights, distance)


def softplus_inverse(y: Tensor) -> Tensor:
    """Return x with softplus(x) = y, for y > 0."""
    return y + torch.log(-torch.expm1(-y))
