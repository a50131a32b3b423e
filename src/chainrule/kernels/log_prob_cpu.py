"""Log p of rows and its gradient on the CPU, in one pass over the params of all variables.

The lanes of a vector are rows, so that sums over levels or components need no reduction. Outputs, and the
gradient of log p, lie param after param, ::

    outputs, gradient  (n_outputs, n)  variable 0: its params, each n numbers | variable 1: ..
    codes, highest, total  (G, n)      log p = highest + log(total)

and those of a mixture are M logits, M locations and M raw scales; where single values stand out, their logits
and that of "elsewhere" come first. A component's probability is written as exp(a) f, where the factor f can
neither vanish nor overflow and a has the rest: with the highest a taken out, sums need no logarithm of single
components.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

from chainrule.kernels.compiling import COMPILE
from chainrule.kernels.plans import LANES, LogProbPlan
from chainrule.kernels.threads import range_step, run_ranges
from chainrule.kernels.vector_activations import INLINE
from chainrule.kernels.vectors import exp, load, maximum, minimum, splat, store, where_positive

__all__ = ["CompiledLogProb"]

# Rows of such a length, or a multiple, meet in the same lines of a cache.
_ALIAS = 256
# So many rows are turned at a time, which a cache holds.
_TURNED = 128
Array: TypeAlias = "np.ndarray[Any, Any]"


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
def _softmax(
    outputs: Array, gradient: Array, highest: Array, total: Array, at: int, k: int, first: int
) -> None:  # pragma: no cover
    """Leave minus the probabilities of k logits in their gradient, and 1 / (what they are shares of).

    `first` is where the logits of the rows begin, `at` where `highest` receives minus the largest one.
    """
    n = outputs.shape[1]
    most = load(outputs, first)
    for j in range(1, k):
        most = maximum(load(outputs, first + j * n), most)
    sums = splat(0.0, most)
    for j in range(k):
        each = exp(load(outputs, first + j * n) - most)
        store(gradient, first + j * n, each)
        sums = sums + each
    for j in range(k):
        store(gradient, first + j * n, (0.0 - load(gradient, first + j * n)) / sums)
    store(highest, at, 0.0 - most)
    store(total, at, 1.0 / sums)


@njit(**INLINE)
def _bernoulli(
    codes: Array, outputs: Array, gradient: Array, highest: Array, total: Array, g: int, start: int
) -> None:  # pragma: no cover
    """Evaluate a bit with this logit."""
    n = outputs.shape[1]
    for i in range(0, n, LANES):
        sign = 2.0 * load(codes, g * n + i) - 1.0
        z = sign * load(outputs, start * n + i)
        store(highest, g * n + i, minimum(z, splat(0.0, z)))
        store(total, g * n + i, 1.0 / (1.0 + _tail(z)))
        store(gradient, start * n + i, sign * _sigmoid_of_minus(z))


@njit(**INLINE)
def _categorical(
    codes: Array, outputs: Array, gradient: Array, highest: Array, total: Array, g: int, start: int, k: int
) -> None:  # pragma: no cover
    """Evaluate a level with these k logits."""
    n = outputs.shape[1]
    for i in range(0, n, LANES):
        _softmax(outputs, gradient, highest, total, g * n + i, k, start * n + i)
    for i in range(n):
        chosen = start + int(codes[g, i])
        highest[g, i] += outputs[chosen, i]
        gradient[chosen, i] += 1.0


@njit(**INLINE)
def _gaussians(
    codes: Array,
    outputs: Array,
    gradient: Array,
    highest: Array,
    total: Array,
    g: int,
    start: int,
    m: int,
    min_scale: float,
    log_factor: Array,
    wants_gradient: bool,
) -> None:  # pragma: no cover
    """Evaluate a mixture of N(location, scale^2), times exp(log_factor)."""
    n = outputs.shape[1]
    for i in range(0, n, LANES):
        code, first, at = load(codes, g * n + i), start * n + i, g * n + i
        most = splat(-np.inf, code)
        for k in range(m):
            location, raw = first + (m + k) * n, first + (2 * m + k) * n
            scale = _softplus(load(outputs, raw)) + min_scale
            z = (code - load(outputs, location)) / scale
            store(gradient, location, z)
            store(gradient, raw, scale)
            most = maximum(load(outputs, first + k * n) - 0.5 * z * z, most)
        _softmax(outputs, gradient, highest, total, at, m, first)
        sums = splat(0.0, code)
        for k in range(m):
            z, scale = load(gradient, first + (m + k) * n), load(gradient, first + (2 * m + k) * n)
            sums = sums + exp(load(outputs, first + k * n) - 0.5 * z * z - most) / scale
        for k in range(m if wants_gradient else 0):
            location, raw = first + (m + k) * n, first + (2 * m + k) * n
            z, scale = load(gradient, location), load(gradient, raw)
            share = exp(load(outputs, first + k * n) - 0.5 * z * z - most) / (scale * sums)
            slope = _sigmoid_of_minus(0.0 - load(outputs, raw))
            store(gradient, first + k * n, load(gradient, first + k * n) + share)
            store(gradient, location, share * z / scale)
            store(gradient, raw, share * (z * z - 1.0) / scale * slope)
        store(highest, at, load(highest, at) + most + load(log_factor, at))
        store(total, at, load(total, at) * sums)


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


@njit(**INLINE)
def _rounded_logistics(
    codes: Array,
    outputs: Array,
    gradient: Array,
    highest: Array,
    total: Array,
    g: int,
    start: int,
    m: int,
    min_scale: float,
    half: float,
    last: float,
    wants_gradient: bool,
) -> None:  # pragma: no cover
    """Evaluate a mixture of logistics that is rounded to levels 0, ..., `last`, each 2 `half` wide.

    With u and v how far the upper and the lower end of the level's bin lie on the side of its middle, in
    scales, the probability is sigmoid(u) sigmoid(v) (1 - exp(-u - v)); end levels own their tails.
    """
    n = outputs.shape[1]
    for i in range(0, n, LANES):
        level, first, at = load(codes, g * n + i), start * n + i, g * n + i
        ones = splat(1.0, level)
        not_first, not_last = where_positive(level, ones), where_positive(last - level, ones)
        inside = not_first * not_last
        most = splat(-np.inf, level)
        middle = 2.0 * half * level - 1.0
        for k in range(m):
            location, raw = first + (m + k) * n, first + (2 * m + k) * n
            scale = _softplus(load(outputs, raw)) + min_scale
            offset, zero = middle - load(outputs, location), splat(0.0, scale)
            u, v = (half + offset) / scale, (half - offset) / scale
            rest = minimum(u, zero) * not_last + minimum(v, zero) * not_first
            store(gradient, location, offset)
            store(gradient, raw, scale)
            most = maximum(load(outputs, first + k * n) + rest, most)
        _softmax(outputs, gradient, highest, total, at, m, first)
        sums = splat(0.0, level)
        for k in range(m):
            offset, scale = load(gradient, first + (m + k) * n), load(gradient, first + (2 * m + k) * n)
            u, v, width = (half + offset) / scale, (half - offset) / scale, 2.0 * half / scale
            logit = load(outputs, first + k * n)
            sums = sums + _mass(logit, most, u, v, width, not_first, not_last)
        for k in range(m if wants_gradient else 0):
            location, raw = first + (m + k) * n, first + (2 * m + k) * n
            offset, scale = load(gradient, location), load(gradient, raw)
            u, v, width = (half + offset) / scale, (half - offset) / scale, 2.0 * half / scale
            logit = load(outputs, first + k * n)
            share = _mass(logit, most, u, v, width, not_first, not_last) / sums
            above = _sigmoid_of_minus(u) * not_last
            below = _sigmoid_of_minus(v) * not_first
            narrowed = inside * width * exp(0.0 - width) / _one_minus_exp(width)
            slope = _sigmoid_of_minus(0.0 - load(outputs, raw))
            store(gradient, first + k * n, load(gradient, first + k * n) + share)
            store(gradient, location, share * (below - above) / scale)
            store(gradient, raw, (0.0 - share) * (u * above + v * below + narrowed) / scale * slope)
        store(highest, at, load(highest, at) + most)
        store(total, at, load(total, at) * sums)


@njit(**INLINE)
def _normal_scores(
    codes: Array,
    log_slope: Array,
    g: int,
    knots: Array,
    heights: Array,
    slopes: Array,
    log_slopes: Array,
) -> None:  # pragma: no cover
    """Put scores in the place of codes, and add the logs of the slopes there."""
    last = len(knots) - 2
    for i in range(codes.shape[1]):
        part = min(max(np.searchsorted(knots, codes[g, i], side="right") - 1, 0), last)
        codes[g, i] = heights[part] + (codes[g, i] - knots[part]) * slopes[part]
        log_slope[g, i] += log_slopes[part]


@njit(**INLINE)
def _values_that_stand_out(
    codes: Array,
    outputs: Array,
    standing: Array,
    logit: Array,
    number: Array,
    g: int,
    start: int,
    values: Array,
) -> None:  # pragma: no cover
    """Write down whether each code is one of the values, its number from 1 on, and its logit."""
    for i in range(codes.shape[1]):
        place = np.searchsorted(values, codes[g, i])
        stands_out = place < len(values) and values[min(place, len(values) - 1)] == codes[g, i]
        number[g, i] = place + 1 if stands_out else 0
        standing[g, i] = 1.0 if stands_out else 0.0
        logit[g, i] = outputs[start + number[g, i], i]


@njit(**INLINE)
def _with_values_that_stand_out(
    outputs: Array,
    gradient: Array,
    highest: Array,
    total: Array,
    standing: Array,
    logit: Array,
    number: Array,
    g: int,
    start: int,
    k: int,
    stop: int,
    is_beside: bool,
) -> None:  # pragma: no cover
    """Put k logits before a density: of "elsewhere", where the density holds, and of single values.

    The density has no part in the probability of such a value, unless values stand `is_beside` it.
    """
    n = outputs.shape[1]
    for i in range(0, n, LANES):
        at, first = g * n + i, start * n + i
        density, factor = load(highest, at), load(total, at)
        stands, zero = load(standing, at), splat(0.0, factor)
        _softmax(outputs, gradient, highest, total, at, k, first)
        lowered = load(highest, at)
        elsewhere, chosen = load(outputs, first) + lowered + density, load(logit, at) + lowered
        if is_beside:
            most = maximum(where_positive(stands, chosen - elsewhere), zero) + elsewhere
            smooth = exp(elsewhere - most) * factor
        else:
            most = where_positive(stands, chosen) + where_positive(1.0 - stands, elsewhere)
            smooth = where_positive(1.0 - stands, factor)
        single = where_positive(stands, exp(minimum(chosen - most, zero)))
        part = smooth / (smooth + single)
        store(gradient, first, load(gradient, first) + part)
        for j in range((start + k) * n + i, stop * n, n):
            store(gradient, j, where_positive(part, load(gradient, j) * part))
        store(highest, at, most)
        store(total, at, load(total, at) * (smooth + single))
        store(standing, at, 1.0 - part)
    for i in range(n):
        if number[g, i] > 0:
            gradient[start + number[g, i], i] += standing[g, i]


@njit(**COMPILE)
def _row_log_prob(  # pragma: no cover
    codes: Array,
    outputs: Array,
    form: Array,
    start: Array,
    stop: Array,
    n_components: Array,
    constants: Array,
    first_value: Array,
    is_beside: Array,
    values: Array,
    first_knot: Array,
    knots: Array,
    gradient: Array,
    highest: Array,
    total: Array,
    log_factor: Array,
    standing: Array,
    logit: Array,
    number: Array,
    wants_gradient: bool,
    low: int,
    high: int,
) -> None:
    """Fill in the gradient of log p and the parts of log p itself, for the variables from low to high.

    Mixtures leave out what only the gradient takes where it is not wanted.
    """
    for g in range(low, high):
        those = values[first_value[g] : first_value[g + 1]]
        n_logits = 1 + len(those) if len(those) else 0
        if n_logits:
            _values_that_stand_out(codes, outputs, standing, logit, number, g, start[g], those)
        low_knot, high_knot = first_knot[g], first_knot[g + 1]
        if low_knot < high_knot:
            of_knots = knots[:, low_knot:high_knot]
            _normal_scores(codes, log_factor, g, of_knots[0], of_knots[1], of_knots[2], of_knots[3])
        at, m = start[g] + n_logits, n_components[g]
        if form[g] == 0:
            _bernoulli(codes, outputs, gradient, highest, total, g, at)
        elif form[g] == 1:
            _categorical(codes, outputs, gradient, highest, total, g, at, m)
        elif form[g] == 2:
            _gaussians(
                codes, outputs, gradient, highest, total, g, at, m,
                constants[g, 0], log_factor, wants_gradient,
            )  # fmt: skip
        else:
            _rounded_logistics(
                codes, outputs, gradient, highest, total, g, at, m,
                constants[g, 0], constants[g, 1], constants[g, 2], wants_gradient,
            )  # fmt: skip
        if n_logits:
            _with_values_that_stand_out(
                outputs, gradient, highest, total, standing, logit, number,
                g, start[g], n_logits, stop[g], is_beside[g],
            )  # fmt: skip


class CompiledLogProb(torch.autograd.Function):
    """`Conditionals.log_prob` by the compiled kernel; no gradient flows to the codes, the data."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, outputs: Tensor, plan: LogProbPlan) -> Tensor:
        """Return log p of codes x (n, G) under outputs (n, n_outputs), (n, G)."""
        n, n_variables = x.shape
        width = _lane_width(outputs)
        codes, by_output = _in_lanes(x, width).copy(), _in_lanes(outputs.detach(), width)
        gradient = np.empty_like(by_output) if plan.covers_all else np.zeros_like(by_output)
        highest, total, standing, logit = (np.empty_like(codes) for _ in range(4))
        log_factor = np.full_like(codes, -0.5 * math.log(2 * math.pi))
        number = np.empty(codes.shape, np.int32)

        def pass_over(low: int, high: int) -> None:
            _row_log_prob(
                codes, by_output, *plan.arrays(),
                gradient, highest, total, log_factor, standing, logit, number,
                ctx.needs_input_grad[1], low, high,
            )  # fmt: skip

        run_ranges(pass_over, n_variables, range_step(n_variables, gradient.size))
        ctx.inputs = gradient, plan.variable_of_output, n
        return (torch.from_numpy(highest) + torch.from_numpy(total).log()).T[:n]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        """Return the gradient of the outputs."""
        gradient, variable_of_output, n = ctx.inputs
        upstream = gradients[0].T.index_select(0, variable_of_output)
        return None, (torch.from_numpy(gradient)[:, :n] * upstream).T, None


def _lane_width(outputs: Tensor) -> int:
    """Return how many rows lie beside each other: whole vectors, filled up if need be.

    Outputs of few rows that lie so already stay where they are.
    """
    n = len(outputs)
    width = n + -n % LANES
    stays = n == width <= _ALIAS and outputs.T.is_contiguous()
    return width if stays or width % _ALIAS else width + LANES


def _in_lanes(tensor: Tensor, width: int) -> Array:
    """Return (n, m) as (m, width), the last row in the place of those that are lacking."""
    n, turned = len(tensor), tensor.T
    if n == width and turned.is_contiguous():
        return turned.numpy()
    lanes = tensor.new_empty(len(turned), width)
    for first in range(0, n, _TURNED):
        lanes[:, first : min(first + _TURNED, n)] = turned[:, first : first + _TURNED]
    lanes[:, n:] = turned[:, -1:]
    return lanes.numpy()
