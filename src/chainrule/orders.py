"""Orders of the variables and their inverses, the ranks.

An order says which variable comes at each position (``order[r]``), a rank at which position each
variable comes (``rank[d]``). Masks are made from ranks, loops run over orders.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from chainrule.errors import ParameterError

__all__ = ["given_order", "natural_order", "random_orders", "rank_of"]


def natural_order(n_variables: int) -> Tensor:
    """Return the order in which the variables stand in the data, shape (D,).

    >>> natural_order(3)
    tensor([0, 1, 2])
    """
    return torch.arange(n_variables)


def random_orders(n_variables: int, n_orders: int, generator: torch.Generator) -> Tensor:
    """Return independent uniformly random orders, shape (n_orders, D)."""
    return torch.stack([torch.randperm(n_variables, generator=generator) for _ in range(n_orders)])


def given_order(order: Sequence[int], n_variables: int) -> Tensor:
    """Return a user's order as a tensor, shape (D,).

    Raises
    ------
    ParameterError
        If `order` is not a permutation of 0..D-1.

    >>> given_order([2, 0, 1], 3)
    tensor([2, 0, 1])
    """
    if sorted(order) != list(range(n_variables)):
        raise ParameterError(
            f"an ordering must be a permutation of 0..{n_variables - 1}, got {list(order)[:12]}; "
            'give each variable once, or use "natural" or "random"'
        )
    return torch.as_tensor(order, dtype=torch.long)


def rank_of(order: Tensor) -> Tensor:
    """Return the inverse permutation along the last dimension: ``rank[order[r]] = r``.

    >>> rank_of(torch.tensor([2, 0, 1]))
    tensor([1, 2, 0])
    """
    return torch.argsort(order, dim=-1)
