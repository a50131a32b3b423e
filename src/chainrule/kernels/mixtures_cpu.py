"""Mixtures of Gaussians and of rounded logistics on the CPU: log p and its gradient in one pass.

The lanes of a vector are rows, so that sums over components need no reduction. Params, and their gradient,
lie slot after slot::

    params  (G 3M, n)  variable 0: M logits, M locations, M raw scales, each n numbers | variable 1: ..

A component's probability is written as exp(a) f, where the factor f can neither vanish nor overflow and a has
the rest: with the highest a taken out, sums need no logarithm of single components.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

from chainrule.kernels.compiling import COMPILE
from chainrule.kernels.plans import LANES
from chainrule.kernels.threads import range_step, run_ranges
from chainrule.kernels.vector_activations import INLINE
from chainrule.kernels.vectors import exp, load, maximum, minimum, splat, store, where_positive

__all__ = ["CompiledMixture", "discretized_logistics", "gaussians"]

Array: TypeAlias = "np.ndarray[Any, Any]"
# Fills in, for the variables from low to high, the gradient of log p and the parts of log p itself.
Kernel: TypeAlias = "Callable[..., None]"


@njit(**INLINE)
def _tail(z: Any) -> Any:  # pragma: no cover
    """Return exp(-|z|)."""
    return exp(minimum(z, 0.0 - z))


@njit(**INLINE)
def _softplus(raw: Any) -> Any:  # pragma: no cover
    """Return log(1 + exp(raw)), by the series of the inverse hyperbolic tangent."""
    e = _tail(raw)
    s = e / (2.0 + e)
    t = s * s
    series = 1.0 / 3.0 + t * (1.0 / 5.0 + t * (1.0 / 7.0 + t * (1.0 / 9.0 + t * (1.0 / 11.0 + t / 13.0))))
    return maximum(raw, splat(0.0, raw)) + 2.0 * s * (1.0 + t * series)


@njit(**INLINE)
def _sigmoid_of_minus(z: Any) -> Any:  # pragma: no cover
    """Return 1 / (1 + exp(z))."""
    e = _tail(z)
    return (1.0 + where_positive(z, e - 1.0)) / (1.0 + e)


@njit(**INLINE)
def _one_minus_exp(d: Any) -> Any:  # pragma: no cover
    """Return 1 - exp(-d) for d > 0; by its series where the difference would lose digits."""
    t = minimum(d, splat(0.25, d))
    series = t * (1.0 - t * (1.0 / 2.0 - t * (1.0 / 6.0 - t * (1.0 / 24.0 - t * (1.0 / 120.0 - t / 720.0)))))
    return series + where_positive(d - 0.25, 1.0 - exp(0.0 - d) - series)


@njit(**INLINE)
def _weights(
    params: Array, gradient: Array, highest: Array, total: Array, g: int, m: int, i: int
) -> None:  # pragma: no cover
    """Leave minus the weight of each component in the gradient of its logit, and what the weights are of."""
    n = params.shape[1]
    first = g * 3 * m * n + i
    most = load(params, first)
    for k in range(1, m):
        most = maximum(load(params, first + k * n), most)
    sums = splat(0.0, most)
    for k in range(m):
        each = exp(load(params, first + k * n) - most)
        store(gradient, first + k * n, each)
        sums = sums + each
    for k in range(m):
        store(gradient, first + k * n, (0.0 - load(gradient, first + k * n)) / sums)
    store(highest, g * n + i, 0.0 - most)
    store(total, g * n + i, 1.0 / sums)


@njit(**COMPILE)
def gaussians(  # pragma: no cover
    x: Array,
    params: Array,
    constants: Array,
    m: int,
    gradient: Array,
    highest: Array,
    total: Array,
    low: int,
    high: int,
) -> None:
    """Mixtures of N(location, scale^2); `constants` (G, 1) hold the smallest scale."""
    n = params.shape[1]
    for g in range(low, high):
        for i in range(0, n, LANES):
            code, first = load(x, g * n + i), g * 3 * m * n + i
            most = splat(-3.0e38, code)
            for k in range(m):
                location, raw = first + (m + k) * n, first + (2 * m + k) * n
                scale = _softplus(load(params, raw)) + constants[g, 0]
                z = (code - load(params, location)) / scale
                store(gradient, location, z)
                store(gradient, raw, scale)
                most = maximum(load(params, first + k * n) - 0.5 * z * z, most)
            _weights(params, gradient, highest, total, g, m, i)
            sums = splat(0.0, code)
            for k in range(m):
                z, scale = load(gradient, first + (m + k) * n), load(gradient, first + (2 * m + k) * n)
                sums = sums + exp(load(params, first + k * n) - 0.5 * z * z - most) / scale
            for k in range(m):
                location, raw = first + (m + k) * n, first + (2 * m + k) * n
                z, scale = load(gradient, location), load(gradient, raw)
                share = exp(load(params, first + k * n) - 0.5 * z * z - most) / (scale * sums)
                slope = _sigmoid_of_minus(0.0 - load(params, raw))
                store(gradient, first + k * n, load(gradient, first + k * n) + share)
                store(gradient, location, share * z / scale)
                store(gradient, raw, share * (z * z - 1.0) / scale * slope)
            store(highest, g * n + i, load(highest, g * n + i) + most)
            store(total, g * n + i, load(total, g * n + i) * sums)


@njit(**COMPILE)
def discretized_logistics(  # pragma: no cover
    x: Array,
    params: Array,
    constants: Array,
    m: int,
    gradient: Array,
    highest: Array,
    total: Array,
    low: int,
    high: int,
) -> None:
    """Mixtures of logistics rounded to levels; `constants` (G, 3): least scale, half a bin, last level.

    With u and v how far the upper and the lower end of the level's bin lie on the side of its middle, in
    scales, the probability is sigmoid(u) sigmoid(v) (1 - exp(-u - v)); end levels own their tails.
    """
    n = params.shape[1]
    for g in range(low, high):
        half, last = constants[g, 1], constants[g, 2]
        for i in range(0, n, LANES):
            level, first = load(x, g * n + i), g * 3 * m * n + i
            ones = splat(1.0, level)
            not_first, not_last = where_positive(level, ones), where_positive(last - level, ones)
            inside = not_first * not_last
            most = splat(-3.0e38, level)
            middle = 2.0 * half * level - 1.0
            for k in range(m):
                location, raw = first + (m + k) * n, first + (2 * m + k) * n
                scale = _softplus(load(params, raw)) + constants[g, 0]
                offset, zero = middle - load(params, location), splat(0.0, scale)
                u, v = (half + offset) / scale, (half - offset) / scale
                rest = minimum(u, zero) * not_last + minimum(v, zero) * not_first
                store(gradient, location, offset)
                store(gradient, raw, scale)
                most = maximum(load(params, first + k * n) + rest, most)
            _weights(params, gradient, highest, total, g, m, i)
            sums = splat(0.0, level)
            for k in range(m):
                offset, scale = load(gradient, first + (m + k) * n), load(gradient, first + (2 * m + k) * n)
                u, v, width = (half + offset) / scale, (half - offset) / scale, 2.0 * half / scale
                logit = load(params, first + k * n)
                sums = sums + _mass(logit, most, u, v, width, not_first, not_last)
            for k in range(m):
                location, raw = first + (m + k) * n, first + (2 * m + k) * n
                offset, scale = load(gradient, location), load(gradient, raw)
                u, v, width = (half + offset) / scale, (half - offset) / scale, 2.0 * half / scale
                logit = load(params, first + k * n)
                share = _mass(logit, most, u, v, width, not_first, not_last) / sums
                above = _sigmoid_of_minus(u) * not_last
                below = _sigmoid_of_minus(v) * not_first
                narrowed = inside * width * exp(0.0 - width) / _one_minus_exp(width)
                slope = _sigmoid_of_minus(0.0 - load(params, raw))
                store(gradient, first + k * n, load(gradient, first + k * n) + share)
                store(gradient, location, share * (below - above) / scale)
                store(gradient, raw, (0.0 - share) * (u * above + v * below + narrowed) / scale * slope)
            store(highest, g * n + i, load(highest, g * n + i) + most)
            store(total, g * n + i, load(total, g * n + i) * sums)


@njit(**INLINE)
def _mass(
    logit: Any, most: Any, u: Any, v: Any, width: Any, not_first: Any, not_last: Any
) -> Any:  # pragma: no cover
    """Return exp(logit - most) times the probability of a level under one component."""
    zero = splat(0.0, u)
    rest = minimum(u, zero) * not_last + minimum(v, zero) * not_first
    upper, lower = 1.0 + not_last * _tail(u), 1.0 + not_first * _tail(v)
    inside = not_first * not_last
    within = inside * _one_minus_exp(width) + (1.0 - inside)
    return exp((logit + rest) - most) * within / (upper * lower)


class CompiledMixture(torch.autograd.Function):
    """Log p of codes x (n, G) under params (n, G, 3M), by a kernel of this file."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, params: Tensor, kernel: Kernel, constants: Array) -> Tensor:
        """Return log p up to a constant that the caller knows, (n, G)."""
        n, n_variables, n_slots = params.shape
        by_slot = _in_lanes(params.detach().flatten(1))
        codes = _in_lanes(x)
        gradient = np.empty_like(by_slot)
        highest, total = (np.empty_like(codes) for _ in range(2))

        def pass_over(low: int, high: int) -> None:
            kernel(codes, by_slot, constants, n_slots // 3, gradient, highest, total, low, high)

        run_ranges(pass_over, n_variables, range_step(n_variables, gradient.size))
        ctx.gradient, ctx.n = gradient, n
        return (torch.from_numpy(highest) + torch.from_numpy(total).log()).T[:n]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        """Return the gradient of the params."""
        upstream = gradients[0].T[:, None]
        gradient = torch.from_numpy(ctx.gradient)[:, : ctx.n].unflatten(0, (len(upstream), -1))
        return None, (gradient * upstream).permute(2, 0, 1), None, None


def _in_lanes(tensor: Tensor) -> Array:
    """Return (n, m) as (m, n filled up to whole vectors with the last row)."""
    padding = -len(tensor) % LANES
    turned = tensor.T
    return (F.pad(turned, (0, padding), mode="replicate") if padding else turned).contiguous().numpy()
