"""Vectors in compiled code do in every lane what NumPy does with numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numba import njit

from chainrule.kernels.plans import LANES, vector_activation_code, whole_vectors
from chainrule.kernels.vector_activations import activate, advance, pass_through
from chainrule.kernels.vectors import (
    add_totals,
    exp,
    load,
    maximum,
    minimum,
    splat,
    store,
    where_positive,
)

pytestmark = pytest.mark.arithmetic

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
NAMES = {"relu": 0, "sigmoid": 1, "tanh": 2}


def lanes(seed, dtype, n=2 * LANES + 3):
    """Return numbers to take vectors from at positions that no alignment suits."""
    return np.random.default_rng(seed).normal(size=n).astype(dtype)


@njit
def arithmetic(a, b, factor, out):
    x, y = load(a, 1), load(b, 3)
    store(out, 2, (x + y) * (x - y) / (y * y + 1) + factor * x - splat(2, x))


@DTYPES
def test_operators_act_lane_by_lane_at_any_position(dtype):
    a, b, out = lanes(0, dtype), lanes(1, dtype), np.zeros(2 * LANES + 3, dtype)
    arithmetic(a, b, dtype(0.5), out)
    x, y = a[1 : LANES + 1].astype(float), b[3 : LANES + 3].astype(float)
    expected = (x + y) * (x - y) / (y * y + 1) + 0.5 * x - 2
    np.testing.assert_allclose(out[2 : LANES + 2], expected, rtol=10 * np.finfo(dtype).eps, atol=1e-5)
    assert not out[:2].any()
    assert not out[LANES + 2 :].any()


@njit
def choices(a, b, out):
    x, y = load(a, 0), load(b, 0)
    store(out, 0, maximum(x, y))
    store(out, LANES, minimum(x, y))
    store(out, 2 * LANES, where_positive(x, y))


@DTYPES
def test_choices_act_lane_by_lane_and_keep_nan(dtype):
    a, b = lanes(2, dtype, LANES), lanes(3, dtype, LANES)
    a[4], a[5] = np.nan, 0
    out = np.empty(3 * LANES, dtype)
    choices(a, b, out)
    np.testing.assert_array_equal(out[:LANES], np.maximum(a, b))
    np.testing.assert_array_equal(out[LANES : 2 * LANES], np.minimum(a, b))
    np.testing.assert_array_equal(out[2 * LANES :], np.where(a > 0, b, 0))


@njit
def totals(parts, out, at):
    add_totals(out, at, load(parts, 0), load(parts, LANES), load(parts, 2 * LANES), load(parts, 3 * LANES))


@DTYPES
def test_totals_are_added_to_what_is_there(dtype):
    parts, out = lanes(4, dtype, 4 * LANES), np.arange(7).astype(dtype)
    totals(parts, out, 2)
    expected = np.arange(7.0)
    expected[2:6] += parts.reshape(4, LANES).astype(float).sum(1)
    np.testing.assert_allclose(out, expected, rtol=1e-5)


@njit
def exponential(a, out):
    store(out, 0, exp(load(a, 0)))


@DTYPES
def test_exponential(dtype):
    a, out = lanes(5, dtype, LANES), np.empty(LANES, dtype)
    exponential(a, out)
    np.testing.assert_allclose(out, np.exp(a.astype(float)), rtol=4 * np.finfo(dtype).eps)


@njit
def activated(z, activation, h, slope):
    value = activate(load(z, 0), activation)
    store(h, 0, value)
    store(slope, 0, pass_through(value, splat(1.0, value), activation))


@DTYPES
@pytest.mark.parametrize("name", NAMES)
def test_activations_and_their_slopes(name, dtype):
    torch_dtype = torch.float32 if dtype == np.float32 else torch.float64
    for low, high in ((-4, 4), (-1e-3, 1e-3), (-60, 60)):
        z = np.linspace(low, high, LANES).astype(dtype)
        h, slope = np.empty_like(z), np.empty_like(z)
        activated(z, vector_activation_code(name, torch_dtype), h, slope)
        exact = torch.tensor(z, dtype=torch.float64, requires_grad=True)
        expected = getattr(torch, name)(exact)
        expected.sum().backward()
        np.testing.assert_allclose(h, expected.detach(), atol=3e-7 if dtype == np.float32 else 1e-14)
        np.testing.assert_allclose(slope, exact.grad, atol=1e-6 if dtype == np.float32 else 1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_activations_pass_nan_on(name):
    z, h, slope = np.full(LANES, np.nan, np.float32), np.zeros(LANES, np.float32), np.zeros(LANES, np.float32)
    activated(z, vector_activation_code(name, torch.float32), h, slope)
    assert np.isnan(h).all()


@njit
def advanced(pre, at, factor, weight, w, activation, out):
    store(out, 0, advance(pre, at, factor, weight, w, activation))


def test_advancing_changes_the_state_and_returns_its_activations():
    pre, weight, out = lanes(6, np.float64), lanes(7, np.float64), np.empty(LANES)
    expected = pre[1 : LANES + 1] + 0.25 * weight[2 : LANES + 2]
    advanced(pre, 1, 0.25, weight, 2, 0, out)
    np.testing.assert_allclose(pre[1 : LANES + 1], expected)
    np.testing.assert_allclose(out, np.maximum(expected, 0))


@pytest.mark.parametrize("n", [1, LANES - 1, LANES, LANES + 1])
def test_filling_up_keeps_what_is_there(n):
    tensor = torch.arange(1.0, 2 * n + 1).view(2, n)
    array = whole_vectors(tensor)
    assert array.shape == (2, -(-n // LANES) * LANES)
    assert (array[:, :n] == tensor.numpy()).all()
    assert not array[:, n:].any()
