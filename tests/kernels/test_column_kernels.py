"""Kernels of column networks against their references."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chainrule.kernels.column_products import ColumnProducts, column_products_reference, runs_of
from chainrule.kernels.seen_sums import seen_sums, seen_sums_reference

pytestmark = pytest.mark.arithmetic


def gradients(output, *inputs, seed=0):
    """Return the gradients of a random combination of the output."""
    upstream = torch.randn(output.shape, generator=torch.Generator().manual_seed(seed), dtype=output.dtype)
    return torch.autograd.grad((output * upstream).sum(), inputs)


@given(
    n=st.integers(1, 40),
    n_variables=st.integers(1, 6),
    n_targets=st.integers(1, 5),
    width=st.sampled_from([1, 7, 32, 40, 64]),
    single_start=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 1000),
)
def test_sums_over_what_is_seen(n, n_variables, n_targets, width, single_start, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    n_features = n_variables + 3
    row = torch.randint(n_features, (n, n_variables), generator=generator)
    value = torch.randn(n, n_variables, generator=generator, dtype=dtype)
    flag = torch.randint(-1, n_features, (n, n_variables), generator=generator)
    n_seen = torch.randint(n_variables + 1, (n, n_targets), generator=generator)
    weight = torch.randn(n_targets, n_features, width, generator=generator, dtype=dtype).requires_grad_()
    start = torch.randn(n_targets, 1 if single_start else n, width, generator=generator, dtype=dtype)
    start.requires_grad_()
    inputs = (row, value, flag, n_seen, weight, start)
    before = start.detach().clone()
    ours, theirs = seen_sums(*inputs), seen_sums_reference(*inputs)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert torch.equal(start, before)
    for mine, other in zip(gradients(ours, weight, start), gradients(theirs, weight, start), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


@given(
    n=st.integers(1, 20),
    widths=st.lists(st.integers(1, 4), min_size=1, max_size=6),
    seed=st.integers(0, 1000),
)
def test_products_of_columns(n, widths, seed):
    generator = torch.Generator().manual_seed(seed)
    starts = [0, *torch.tensor(widths).cumsum(0).tolist()]
    shapes = ((len(widths), n, 5), (starts[-1], 5), (starts[-1],))
    inputs = [torch.randn(s, generator=generator, dtype=torch.float64).requires_grad_() for s in shapes]
    ours = ColumnProducts.apply(*inputs, runs_of(starts))
    theirs = column_products_reference(*inputs, starts)
    torch.testing.assert_close(ours, theirs)
    for mine, other in zip(gradients(ours, *inputs), gradients(theirs, *inputs), strict=True):
        torch.testing.assert_close(mine, other)
