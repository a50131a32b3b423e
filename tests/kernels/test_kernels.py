"""Kernels against their references: values, and gradients in float64."""

from __future__ import annotations

import itertools
import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.conditioners.dropout import dropout
from chainrule.conditioners.masked import MaskedLinear, StaircaseLinear
from chainrule.kernels.activations import ACTIVATIONS
from chainrule.kernels.nade import nade_outputs, nade_outputs_reference
from chainrule.kernels.nade_cpu import CompiledNADE
from chainrule.kernels.plans import VECTOR_ACTIVATIONS
from chainrule.kernels.staircase import staircase_product_reference
from chainrule.kernels.threads import run_ranges

pytestmark = pytest.mark.arithmetic


def nade_arguments(n, width, n_params, levels, seed, dtype=torch.float64):
    """Return random arguments; variables of more than one level are one-hot, the others numbers."""
    generator = torch.Generator().manual_seed(seed)
    random = {"generator": generator, "dtype": dtype}
    first = torch.tensor([0, *levels]).cumsum(0)
    n_variables = len(levels)
    numbers = torch.randn(n, n_variables, **random)
    # Data are often exactly zero, which the kernel skips.
    numbers[torch.rand(n, n_variables, generator=generator) < 0.3] = 0
    row = torch.stack([torch.randint(k, (n,), generator=generator) for k in levels], dim=1) + first[:-1]
    value = torch.where(torch.tensor(levels) > 1, torch.ones((), dtype=dtype), numbers)
    return (
        row,
        value,
        torch.randperm(n_variables, generator=generator),
        torch.randn(int(first[-1]), width, **random) / n_variables**0.5,
        torch.randn(n, width, **random),
        torch.randn(n_variables, n_params, width, **random) / width**0.5,
    )


def results(function, arguments, activation):
    """Return the outputs and the gradients of weight, start and output_weight."""
    learned = [a.clone().requires_grad_() for a in arguments[3:]]
    outputs = function(*arguments[:3], *learned, activation)
    random = {"generator": torch.Generator().manual_seed(9), "dtype": torch.float64}
    outputs.backward(torch.randn(outputs.shape, **random).to(outputs.dtype))
    return [outputs.detach(), *(a.grad for a in learned)]


def compiled_nade(row, value, order, weight, start, output_weight, activation):
    """Return the outputs (n, D, P) of the compiled pass for output weights (D, P, H)."""
    starts = range(0, output_weight.shape[0] * output_weight.shape[1] + 1, output_weight.shape[1])
    flat = output_weight.flatten(0, 1)
    outputs = CompiledNADE.apply(row, value, order, weight, start, flat, tuple(starts), activation)
    return outputs.unflatten(1, output_weight.shape[:2])


SHAPES = {
    "n": st.integers(1, 5),
    "width": st.sampled_from([1, 3, 8, 64, 65, 130]),
    "n_params": st.integers(1, 4),
    # More than 8 variables, so that saved states lie more than one position apart.
    "levels": st.lists(st.sampled_from([1, 1, 2, 4]), min_size=1, max_size=20),
    "seed": st.integers(0, 10**6),
}


@pytest.mark.parametrize("activation", sorted(VECTOR_ACTIVATIONS))
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-4)])
@given(st.data())
@settings(max_examples=25)
def test_compiled_nade_equals_its_reference(activation, dtype, tolerance, data):
    arguments = nade_arguments(*(data.draw(strategy) for strategy in SHAPES.values()), dtype)
    got = results(compiled_nade, arguments, activation)
    expected = results(nade_outputs_reference, arguments, ACTIVATIONS[activation])
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == dtype
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("activation", sorted(VECTOR_ACTIVATIONS))
@pytest.mark.parametrize("levels", [[1], [2, 1, 3], [1] * 17])
def test_gradients_of_compiled_nade(activation, levels):
    row, value, order, *learned = nade_arguments(2, 3, 2, levels, seed=4)
    learned = [a.requires_grad_() for a in learned]
    assert torch.autograd.gradcheck(
        lambda w, a, v: compiled_nade(row, value, order, w, a, v, activation), learned
    )


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@given(widths=st.lists(st.integers(1, 5), min_size=1, max_size=12), seed=st.integers(0, 1000))
@settings(max_examples=10)
def test_the_front_door_takes_variables_of_any_numbers_of_outputs(activation, widths, seed):
    """Those of a variable with fewer outputs are the leading ones of the reference."""
    *inputs, padded = nade_arguments(4, 6, max(widths), [1] * len(widths), seed)
    used = torch.arange(max(widths)) < torch.tensor(widths)[:, None]
    starts = (0, *itertools.accumulate(widths))
    of_all = nade_outputs_reference(*inputs, padded, ACTIVATIONS[activation])
    weight = padded[used].requires_grad_()
    got = nade_outputs(*inputs, weight, starts, activation)
    torch.testing.assert_close(got, of_all[:, used])
    (gradient,) = torch.autograd.grad(got.square().sum(), weight)
    learned = padded.clone().requires_grad_()
    expected = nade_outputs_reference(*inputs, learned, ACTIVATIONS[activation])[:, used].square().sum()
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, learned)[0][used])


def test_the_front_door_passes_gradients_to_data_where_they_are_wanted():
    row, value, *rest, output_weight = nade_arguments(3, 4, 1, [1] * 5, seed=2)
    order, learned = rest[0].tolist(), (*rest, output_weight[:, 0], (0, 1, 2, 3, 4, 5), "tanh")
    gradients = [
        torch.autograd.grad(nade_outputs(row, v := value.clone().requires_grad_(), *learned)[:, d].sum(), v)
        for d in order
    ]
    for position, (gradient,) in enumerate(gradients):
        assert gradient[:, order[:position]].all()
        assert not gradient[:, order[position:]].any()


def test_reference_is_the_formula_of_the_paper():
    """h_d = act(b + W[:, <d] x_<d), output V_d h_d, in loops."""
    row, value, order, weight, start, output_weight = nade_arguments(2, 3, 2, [1, 1, 1, 1], seed=3)
    got = nade_outputs_reference(row, value, order, weight, start, output_weight, torch.sigmoid)
    for b, (r, d) in itertools.product(range(2), enumerate(order.tolist())):
        z = start[b] + sum((value[b, e] * weight[e] for e in order[:r].tolist()), torch.zeros(3))
        torch.testing.assert_close(got[b, d], output_weight[d] @ torch.sigmoid(z))


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize(("n", "n_params"), [(6, 3), (515, 3), (6, 50)])
def test_threads_share_the_hidden_units_and_change_nothing(n, n_params, n_threads):
    """Nor does it matter how outputs lie, which depends on how many rows there are, and outputs."""
    arguments = nade_arguments(n, 200, n_params, [1, 2, 3] * 4, seed=5)
    expected = results(nade_outputs_reference, arguments, torch.tanh)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(n_threads)
        got = results(compiled_nade, arguments, "tanh")
    finally:
        torch.set_num_threads(before)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_rounding_does_not_drift_over_many_positions():
    """The reverse pass restores states by subtraction; saved ones stop errors from adding up."""
    arguments = nade_arguments(4, 16, 1, [1] * 800, seed=6, dtype=torch.float32)
    got = results(compiled_nade, arguments, "sigmoid")
    exact = [a.double() if a.is_floating_point() else a for a in arguments]
    expected = results(nade_outputs_reference, exact, torch.sigmoid)
    for a, b in zip(got, expected, strict=True):
        error = (a.double() - b).abs().max() / b.abs().max()
        assert error < 1e-5


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_single_precision_activations_are_accurate_and_bounded_everywhere(activation):
    z = torch.linspace(-40, 40, 4001)[:, None]
    arguments = (
        torch.zeros(4001, 1, dtype=torch.long),
        torch.zeros(4001, 1),
        torch.zeros(1, dtype=torch.long),
        torch.zeros(1, 1),
        z,
        torch.ones(1, 1, 1),
    )
    got = compiled_nade(*arguments, activation).flatten()
    expected = ACTIVATIONS[activation](z.double()).flatten()
    assert float((got.double() - expected).abs().max()) < 1e-6


@pytest.mark.parametrize("activation", sorted(VECTOR_ACTIVATIONS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_not_a_number_is_not_hidden(activation, dtype):
    arguments = nade_arguments(2, 3, 1, [1, 1], seed=7, dtype=dtype)
    arguments[4][0] = torch.nan
    outputs = compiled_nade(*arguments, activation)
    assert outputs[0].isnan().all()
    assert not outputs[1].isnan().any()


def test_backward_twice_gives_the_same_gradients():
    arguments = nade_arguments(3, 5, 2, [1, 2, 1], seed=8)
    learned = [a.clone().requires_grad_() for a in arguments[3:]]
    total = compiled_nade(*arguments[:3], *learned, "tanh").sum()
    first = torch.autograd.grad(total, learned, retain_graph=True)
    second = torch.autograd.grad(total, learned)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


# ---------------------------------------------------------------- the masked product


@st.composite
def staircases(draw):
    """Return a layer under a staircase of a mask, in blocks where it is large, and rows for it."""
    n_in, n_out = draw(st.integers(1, 30)), draw(st.sampled_from([1, 2, 3, 7, 300]))
    prefix = torch.tensor(sorted(draw(st.lists(st.integers(0, n_in), min_size=n_out, max_size=n_out))))
    mask = torch.arange(n_in) < prefix[:, None]
    layer = StaircaseLinear(prefix, n_in, bias=draw(st.booleans())).double()
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    layer.set_dense(torch.randn(mask.shape, generator=generator, dtype=torch.float64))
    if layer.bias is not None:
        torch.nn.init.normal_(layer.bias, generator=generator)
    return layer, mask, torch.randn(4, n_in, generator=generator, dtype=torch.float64)


@given(staircases())
@settings(max_examples=50)
def test_staircase_product_equals_the_masked_one(case):
    """Values, and gradients of inputs, allowed weights and bias; forbidden weights get none."""
    layer, mask, x = case
    plain = layer.dense().detach().requires_grad_()
    assert not plain[~mask].any()
    assert plain[mask].all()
    x_a, x_b = x.clone().requires_grad_(), x.clone().requires_grad_()
    got, expected = layer(x_a), torch.nn.functional.linear(x_b, plain * mask, layer.offset().detach())
    reference = staircase_product_reference(x, layer.packed, layer.bias, layer.blocks)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(reference, expected)
    upstream = torch.randn(got.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    got.backward(upstream)
    expected.backward(upstream)
    torch.testing.assert_close(x_a.grad, x_b.grad)
    dense = torch.zeros_like(plain)
    for block in layer.blocks:
        dense[block.rows, : block.width] = block.of(layer.packed.grad)
    torch.testing.assert_close(dense, plain.grad)
    assert not dense[~mask].any()
    if layer.bias is not None:
        torch.testing.assert_close(layer.bias.grad, upstream.sum(0))


def test_blocks_save_nearly_half():
    layer = StaircaseLinear(torch.arange(1, 2001), 2000, bias=False)
    assert layer.packed.numel() < 0.57 * 2000 * 2000
    assert layer.n_free() == 2000 * 2001 // 2


def test_what_is_no_staircase_is_refused():
    with pytest.raises(ValueError, match="no staircase"):
        StaircaseLinear(torch.tensor([2, 1]), 2, bias=False)


def test_a_mask_given_in_the_call_acts_without_changing_the_weights():
    layer = MaskedLinear(3, 2, bias=True).double()
    with torch.no_grad():
        for number, weight in enumerate(layer.parameters()):
            weight.copy_(torch.arange(1.0, weight.numel() + 1).view_as(weight) + number)
    before = layer.weight.detach().clone()
    mask = torch.tensor([[1, 0, 1], [0, 0, 0]]).bool()
    x = torch.tensor([[1.0, 10.0, 100.0]], dtype=torch.float64)
    expected = (before * mask) @ x[0] + layer.bias + (layer.mask_weight * mask).sum(1)
    torch.testing.assert_close(layer(x, mask)[0], expected)
    assert torch.equal(layer.weight, before)


# ---------------------------------------------------------------- dropout, threads


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(1000, 101), (3, 1), (1, 2)])
def test_dropout_keeps_the_right_share_and_the_mean(share, shape):
    h = torch.ones(shape)
    out = dropout(h, share, torch.Generator().manual_seed(0))
    scale = 2**16 / (2**16 - round(share * 2**16))
    assert torch.allclose(out[out != 0], torch.tensor(scale))
    if h.numel() > 1000:
        assert float((out == 0).float().mean()) == pytest.approx(share, abs=0.01)
        assert float(out.mean()) == pytest.approx(1, abs=0.05)
        # Neighbours in a row are drawn together; they must still be independent.
        a, b = (out == 0).float()[:, :-1].flatten(), (out == 0).float()[:, 1:].flatten()
        assert abs(float(torch.corrcoef(torch.stack([a, b]))[0, 1])) < 0.02


def test_dropout_follows_its_generator_alone():
    h = torch.ones(50, 7)
    state = torch.get_rng_state()
    first, again, other = (dropout(h, 0.5, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@given(st.integers(0, 40), st.integers(1, 9), st.integers(1, 4))
@settings(max_examples=30)
def test_ranges_cover_everything_once(n, step, n_threads):
    seen = []
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(n_threads)
        run_ranges(lambda start, stop: seen.append((start, stop)), n, step)
    finally:
        torch.set_num_threads(before)
    assert sorted(i for start, stop in seen for i in range(start, stop)) == list(range(n))
    assert all(0 < stop - start <= step for start, stop in seen)


def test_an_error_in_a_thread_is_not_swallowed():
    def fail(start, stop):
        raise ZeroDivisionError(f"{start}..{stop}")

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with pytest.raises(ZeroDivisionError):
            run_ranges(fail, 4, 1)
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork a process")
def test_a_forked_process_can_share_out_work():
    """The threads that its parent used are not there any more."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        run_ranges(lambda start, stop: None, 4, 1)
        child = os.fork()
        if child == 0:
            seen = []
            run_ranges(lambda start, stop: seen.append(start), 4, 1)
            os._exit(0 if sorted(seen) == [0, 1, 2, 3] else 1)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        torch.set_num_threads(before)
