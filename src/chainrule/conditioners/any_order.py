"""What a conditioner that serves every order offers beside the fixed orders of its members."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from chainrule.conditioners.base import Conditioner
from chainrule.orders import rank_of

__all__ = ["AnyOrderConditioner", "GivenWalk", "given_first"]


def given_first(order: Tensor, given: Tensor, asked: Tensor) -> Tensor:
    """Return the ranks of each row's own order, (n, D): given variables, then those asked for, then the rest.

    Within each of the three, variables come as in `order` (D,); `given` and `asked` are bool (n, D).

    >>> order = torch.tensor([2, 0, 1])
    >>> given_first(order, torch.tensor([[True, False, False]]), torch.tensor([[False, True, True]]))
    tensor([[0, 2, 1]])
    """
    group = 2 - 2 * given.long() - (asked & ~given).long()
    return rank_of(torch.argsort(group * len(order) + rank_of(order), dim=1))


class GivenWalk(ABC):
    """A step-by-step pass in which each row has seen variables of its own."""

    @abstractmethod
    def params(self, d: int) -> Tensor:
        """Return the params (n, P_d) of variable d given what each row has seen."""

    @abstractmethod
    def observe(self, d: int, value: Tensor, rows: Tensor | None = None) -> None:
        """Take in the codes (n,) of variable d in some rows (bool (n,)), or in all."""


class AnyOrderConditioner(Conditioner):
    """A network trained over random orders, with an answer to p(these | those) for any two sets.

    A question gives each row variables that are known (`given`) and variables that are asked for, both
    bool (n, D), and one order (D,) for all: a row's own order takes its given variables first, then those
    asked for, then the rest, each as they come in that order. The codes of the rest have no effect; they
    must be numbers.
    """

    is_any_order = True

    is_given_a_set: ClassVar[bool] = False
    """Whether the order of what is given has no effect, only that of what is asked for."""

    @abstractmethod
    def outputs_given(
        self, x: Tensor, given: Tensor, asked: Tensor, order: Tensor, context: Tensor | None = None
    ) -> Tensor:
        """Return outputs (n, n_outputs); those of the asked variables count.

        Each is from the given variables and from those asked for that come before it.
        """

    @abstractmethod
    def outputs_from(self, x: Tensor, given: Tensor, order: Tensor, context: Tensor | None = None) -> Tensor:
        """Return outputs (n, n_outputs) of the variables that are not given, from the given ones alone."""

    @abstractmethod
    def begin_given(
        self, x: Tensor, given: Tensor, order: Tensor, context: Tensor | None = None
    ) -> GivenWalk:
        """Return a walk that has seen the given variables of each row."""
