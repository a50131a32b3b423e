"""What a conditioner that serves every order offers beside the fixed orders of its members."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from chainrule.conditioners.base import Conditioner, SequentialPass
from chainrule.orders import rank_of

__all__ = ["AnyOrderConditioner", "AnyOrderPass", "observed_first"]


def observed_first(order: Tensor, observed: Tensor, query: Tensor) -> Tensor:
    """Return the ranks of each row's own order, (n, D): observed variables, then the query, then the rest.

    Within each of the three, variables come as in `order` (D,); `observed` and `query` are bool (n, D).

    >>> order = torch.tensor([2, 0, 1])
    >>> observed_first(order, torch.tensor([[True, False, False]]), torch.tensor([[False, True, True]]))
    tensor([[0, 2, 1]])
    """
    group = 2 - 2 * observed.long() - (query & ~observed).long()
    return rank_of(torch.argsort(group * len(order) + rank_of(order), dim=1))


class AnyOrderPass(SequentialPass):
    """A sequential pass in any order, in which each row has seen variables of its own."""

    @abstractmethod
    def update(self, d: int, value: Tensor, rows: Tensor | None = None) -> None:
        """Take in the codes (n,) of variable d in some rows (bool (n,)), or in all."""


class AnyOrderConditioner(Conditioner):
    """A network trained over random orders, with an answer to p(query | observed) for any two sets.

    A conditional query gives each row variables that are observed and variables that are asked for, both
    bool (n, D), and one order (D,) for all: a row's own order takes its observed variables first, then the
    query, then the rest, each as they come in that order. The codes of the rest have no effect; they must be
    numbers.
    """

    is_any_order = True

    observes_a_set: ClassVar[bool] = False
    """Whether the order of what is observed has no effect, only that of the query."""

    def split_missing(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return codes with zeros for missing ones (NaN), and which are present, None for all."""
        missing = x.isnan()
        return (x.masked_fill(missing, 0.0), ~missing) if missing.any() else (x, None)

    def outputs(
        self, x: Tensor, present: Tensor | None, member: int = 0, context: Tensor | None = None
    ) -> Tensor:
        """Return the outputs (n, n_outputs) in a member's order, missing variables left out."""
        if present is None:
            return super().outputs(x, None, member, context)
        return self.query_outputs(x, torch.zeros_like(present), present, self.order(member), context)

    @abstractmethod
    def query_outputs(
        self, x: Tensor, observed: Tensor, query: Tensor, order: Tensor, context: Tensor | None = None
    ) -> Tensor:
        """Return outputs (n, n_outputs), of which those of the query count.

        Each is from the observed variables and from those of the query that come before it.
        """

    @abstractmethod
    def outputs_from(
        self, x: Tensor, observed: Tensor, order: Tensor, context: Tensor | None = None
    ) -> Tensor:
        """Return outputs (n, n_outputs) of what is not observed, each from the observed variables alone."""

    @abstractmethod
    def init_state_from(
        self, x: Tensor, observed: Tensor, order: Tensor, context: Tensor | None = None
    ) -> AnyOrderPass:
        """Return a sequential pass that has seen the observed variables of each row."""
