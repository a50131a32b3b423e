"""Degrees and masks."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from chainrule.masks import (
    dependencies,
    direct_mask,
    even_degrees,
    hidden_mask,
    input_mask,
    layer_degrees,
    lost_dependencies,
    output_mask,
    uniform_degrees,
)
from chainrule.orders import random_orders, rank_of

SIZES = st.integers(1, 9)


@given(SIZES, SIZES, st.sampled_from([0, 1]))
def test_even_degrees_are_ascending_balanced_and_in_range(n_units, n_variables, lowest):
    degrees = even_degrees(n_units, n_variables, lowest)
    assert degrees.shape == (n_units,)
    assert degrees.dtype == torch.int64
    assert (degrees.diff() >= 0).all()
    possible = range(min(lowest, n_variables - 1), n_variables)
    assert int(degrees.min()) >= possible.start
    assert int(degrees.max()) <= possible[-1]
    counts = torch.bincount(degrees, minlength=n_variables)[possible.start :]
    if n_units >= len(possible):
        assert int(counts.max() - counts.min()) <= 1
    else:
        assert int(counts.max()) == 1


@given(st.integers(2, 9), st.integers(2, 9), st.sampled_from([0, 1]))
def test_even_degrees_reach_both_ends(n_units, n_variables, lowest):
    degrees = even_degrees(n_units, n_variables, lowest)
    assert int(degrees[0]) == lowest
    assert int(degrees[-1]) == n_variables - 1


@given(SIZES, SIZES, st.sampled_from([0, 1]), st.integers(0, 50))
def test_uniform_degrees_are_in_range_and_repeat_with_the_seed(n_units, n_variables, lowest, seed):
    degrees = uniform_degrees(n_units, n_variables, torch.Generator().manual_seed(seed), lowest)
    assert degrees.shape == (n_units,)
    assert int(degrees.min()) >= min(lowest, n_variables - 1)
    assert int(degrees.max()) <= n_variables - 1
    again = uniform_degrees(n_units, n_variables, torch.Generator().manual_seed(seed), lowest)
    assert torch.equal(degrees, again)


def test_uniform_degrees_are_uniform():
    counts = torch.bincount(uniform_degrees(30_000, 4, torch.Generator().manual_seed(0)), minlength=4)
    assert int(counts[0]) == 0
    assert ((counts[1:] - 10_000).abs() < 500).all()


@st.composite
def layers(draw):
    """Draw the number of variables and the raw degrees of one to four layers."""
    n_variables = draw(SIZES)
    degree = st.integers(min(1, n_variables - 1), n_variables - 1)
    sizes = st.lists(degree, min_size=1, max_size=6)
    return n_variables, [torch.tensor(layer) for layer in draw(st.lists(sizes, min_size=1, max_size=4))]


@given(layers())
def test_no_unit_is_dead(drawn):
    """Every unit sees a unit below it and is seen by a unit above it."""
    _, raw = drawn
    before = [layer.clone() for layer in raw]
    alive = layer_degrees(raw)
    for below, above in zip(alive[:-1], alive[1:], strict=True):
        mask = hidden_mask(below, above)
        assert mask.any(0).all()
        assert mask.any(1).all()
    assert all(torch.equal(a, b) for a, b in zip(raw, before, strict=True)), "the input was changed"


def test_layers_without_dead_units_keep_their_degrees():
    raw = [torch.tensor([1, 2, 3]), torch.tensor([1, 3]), torch.tensor([2, 3])]
    assert all(torch.equal(a, b) for a, b in zip(layer_degrees(raw), raw, strict=True))


@given(layers(), st.integers(0, 50))
def test_masks_say_what_the_paper_says(drawn, seed):
    """Loops over single units and variables, after equations 10 to 13 of Germain et al."""
    n_variables, degrees = drawn
    rank = rank_of(random_orders(n_variables, 1, torch.Generator().manual_seed(seed))[0])
    first, last = degrees[0], degrees[-1]
    for d in range(n_variables):
        for k, m in enumerate(first.tolist()):
            # Ranks count from 0, the paper's positions from 1: m >= position is m > rank.
            assert bool(input_mask(rank, first)[k, d]) == (m >= int(rank[d]) + 1)
        for k, m in enumerate(last.tolist()):
            assert bool(output_mask(last, rank)[d, k]) == (int(rank[d]) + 1 > m)
        for e in range(n_variables):
            assert bool(direct_mask(rank, rank)[d, e]) == bool(rank[d] > rank[e])
    for k, m in enumerate(last.tolist()):
        for j, below in enumerate(first.tolist()):
            assert bool(hidden_mask(first, last)[k, j]) == (m >= below)


@given(layers(), st.integers(0, 50), st.booleans())
def test_dependencies_never_exceed_the_strict_order(drawn, seed, direct):
    n_variables, degrees = drawn
    rank = rank_of(random_orders(n_variables, 1, torch.Generator().manual_seed(seed))[0])
    reached = dependencies(rank, degrees, direct)
    strict = rank[:, None] > rank[None, :]
    assert not (reached & ~strict).any()
    assert lost_dependencies(rank, degrees, direct) == int((strict & ~reached).sum())
    if direct:
        assert torch.equal(reached, strict)


@given(st.integers(1, 9), st.integers(1, 3), st.integers(0, 4))
def test_wide_even_layers_lose_nothing(n_variables, depth, extra):
    width = max(1, n_variables - 1) + extra
    degrees = layer_degrees([even_degrees(width, n_variables)] * depth)
    assert lost_dependencies(torch.arange(n_variables), degrees, direct=False) == 0


def test_a_narrow_layer_loses_dependencies_and_says_how_many():
    # One unit of degree 2 among 4 variables: it carries x0, x1 -> x2, x3, that is 4 of the 6 dependencies.
    assert lost_dependencies(torch.arange(4), [torch.tensor([2])], direct=False) == 2
