"""Orders and ranks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chainrule.orders import given_order, natural_order, random_orders, rank_of


@given(st.permutations(range(7)))
def test_rank_is_the_inverse_of_the_order(order):
    rank = rank_of(torch.tensor(order)).tolist()
    assert [rank[d] for d in order] == list(range(7))
    assert [order[r] for r in rank] == list(range(7))


def test_rank_of_a_cycle_is_not_the_cycle():
    """A permutation that is not its own inverse tells order and rank apart."""
    assert rank_of(torch.tensor([1, 2, 0])).tolist() == [2, 0, 1]


def test_ranks_of_several_orders_at_once():
    orders = random_orders(5, 4, torch.Generator().manual_seed(0))
    assert torch.equal(rank_of(orders), torch.stack([rank_of(order) for order in orders]))


@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 100))
def test_random_orders_are_permutations_and_repeat_with_the_seed(n_variables, n_orders, seed):
    orders = random_orders(n_variables, n_orders, torch.Generator().manual_seed(seed))
    assert orders.shape == (n_orders, n_variables)
    for order in orders:
        assert sorted(order.tolist()) == list(range(n_variables))
    assert torch.equal(orders, random_orders(n_variables, n_orders, torch.Generator().manual_seed(seed)))


def test_random_orders_differ_from_each_other():
    orders = random_orders(20, 3, torch.Generator().manual_seed(0))
    assert len({tuple(order.tolist()) for order in orders}) == 3


def test_natural_order():
    assert natural_order(4).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("order", [[2, 0, 1], (2, 0, 1), np.array([2, 0, 1]), torch.tensor([2, 0, 1])])
def test_given_order_takes_any_sequence(order):
    assert given_order(order, 3).tolist() == [2, 0, 1]


@pytest.mark.parametrize("order", [[0, 1], [0, 0, 1], [1, 2, 3], [0, 1, 2, 3], [], [-1, 0, 1]])
def test_given_order_must_be_a_permutation(order):
    with pytest.raises(ValueError, match=r"must be a permutation of 0\.\.2"):
        given_order(order, 3)
