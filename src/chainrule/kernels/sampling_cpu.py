"""Ancestral sampling on the CPU: compiled sequential passes that evaluate each hidden unit of a row once.

A few rows are drawn together, so that each weight that is read serves all of them; threads share them out.
What a drawn value adds to the units that may see it is added at once, and nothing is added for a zero.

Memory of one thread, for up to 32 rows in groups of four; units of a MADE are sorted by degree::

    z, h     (L, n, W + gap)   layer 0, row 0 | u u u u u u . . . | gap |
                                        row 1 | u u u u u u . . . | gap |    . zeros up to whole vectors
                                        row 2 | u u u u u u . . . | gap |    gap: one cache line, lest rows
                                        row 3 | u u u u u u . . . | gap |    evict each other
                                                `---' known at this position: products end there
    first    (F, W)            the drawn value's feature is one row, added to z of the first layer
    between  (L - 1, W, W)     a unit is one row, multiplied with the leading units of h below
    output   (n_outputs, W)    a param is one row, multiplied with the leading units of the last h
    sums     (P, n)            the params of the variable to be drawn, one row beside the other
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import torch
from numba import njit

from chainrule.kernels.compiling import COMPILE
from chainrule.kernels.plans import LANES, Draws, MADEPlan, NADEPlan, RowPlan
from chainrule.kernels.threads import run_ranges
from chainrule.kernels.vector_activations import INLINE, advance
from chainrule.kernels.vectors import add_totals, load, splat, store

__all__ = ["sample"]

Array: TypeAlias = "np.ndarray[Any, Any]"

# The most rows that are drawn together, and how many of them one pass over a weight serves.
_MAX_ROWS = 32
_GROUP = 4
# A cache line of zeros after each row's states: rows a power of two apart would evict each other.
_GAP = 16


def sample(plan: MADEPlan | NADEPlan, row: RowPlan, draws: Draws) -> Array:
    """Return rows (n, D) drawn from a network."""
    rows = np.empty_like(draws.uniforms)

    def draw_range(low: int, high: int) -> None:
        if isinstance(plan, MADEPlan):
            _draw_made(
                *row.arrays(), plan.first, plan.bias, plan.between, plan.complete, plan.output,
                plan.output_bias, plan.direct, plan.activation, plan.residual, plan.first_start,
                plan.output_start, draws.uniforms, draws.quantiles, low, high, rows,
            )  # fmt: skip
        else:
            _draw_nade(
                *row.arrays(), plan.weight, plan.output, plan.output_bias, plan.activation,
                plan.vector_activation, plan.start, plan.output_start, draws.uniforms, draws.quantiles,
                low, high, rows,
            )  # fmt: skip

    run_ranges(draw_range, len(rows), _rows_per_range(len(rows)))
    return rows


def _rows_per_range(n: int) -> int:
    """Return a number of rows, whole groups, that gives every thread about the same work."""
    n_threads = torch.get_num_threads()
    ranges_per_thread = -(-n // (n_threads * _MAX_ROWS))
    rows = -(-n // (n_threads * ranges_per_thread))
    return rows + -rows % _GROUP


@njit(**INLINE)
def _activate(z: Any, activation: int) -> Any:  # pragma: no cover
    """Return one activation."""
    if activation == 0:
        return max(z, 0 * z)
    if activation == 1:
        return 1 / (1 + math.exp(-z))
    if activation == 2:
        return math.tanh(z)
    if activation == 3:
        return z if z > 0 else 0.01 * z
    if activation == 4:
        return z if z > 0 else math.expm1(z)
    if activation == 5:
        return z / (1 + math.exp(-z))
    return 0.5 * z * (1 + math.erf(z * math.sqrt(0.5)))


@njit(**COMPILE)
def _choose(logits: Array, b: int, n: int, uniform: float) -> int:  # pragma: no cover
    """Return the index at which the cumulative softmax of a row's first n logits passes the uniform."""
    highest = logits[0, b]
    for k in range(1, n):
        highest = max(highest, logits[k, b])
    total = 0.0
    for k in range(n):
        total += math.exp(logits[k, b] - highest)
    threshold, cumulative = uniform * total, 0.0
    for k in range(n - 1):
        cumulative += math.exp(logits[k, b] - highest)
        if cumulative > threshold:
            return k
    return n - 1


@njit(**COMPILE)
def _softplus(x: float) -> float:  # pragma: no cover
    return x if x > 20 else math.log1p(math.exp(x))


@njit(**COMPILE)
def _draw(  # pragma: no cover
    family: int,
    params: Array,
    b: int,
    width: int,
    levels: int,
    min_scale: float,
    uniform: float,
    quantile: float,
) -> float:
    """Return one value drawn from the params of row b; binary variables are drawn elsewhere."""
    if family == 1:
        return float(_choose(params, b, width, uniform))
    # One component has a location and a scale, but no logit.
    m = width // 3 if width > 2 else 1
    k = _choose(params, b, m, uniform)
    value = params[width - 2 * m + k, b] + (_softplus(params[width - m + k, b]) + min_scale) * quantile
    if family == 2:
        return value
    half = 1.0 / max(levels - 1, 1)
    level = math.floor((value + 1) / (2 * half) + 0.5)
    return min(max(level, 0.0), levels - 1.0)


@njit(**INLINE)
def _draw_variable(  # pragma: no cover
    family: int,
    params: Array,
    width: int,
    levels: int,
    min_scale: float,
    uniforms: Array,
    quantiles: Array,
    d: int,
    low: int,
    high: int,
    rows: Array,
) -> None:
    """Draw variable d of the rows from low to high, whose params stand in columns."""
    if family == 0:
        for b in range(high - low):
            rows[low + b, d] = uniforms[low + b, d] < params[0, b]
        return
    if family == 4:
        rows[low:high, d] = uniforms[low:high, d]
        return
    has_quantiles = quantiles.shape == uniforms.shape
    for b in range(high - low):
        quantile = quantiles[low + b, d] if has_quantiles else 0.0
        uniform = uniforms[low + b, d]
        rows[low + b, d] = _draw(family, params, b, width, levels, min_scale, uniform, quantile)


@njit(**INLINE)
def _add_dots(  # pragma: no cover
    weight: Array, w: int, h: Array, at: int, width: int, n: int, n_rows: int, sums: Array, s: int
) -> None:
    """Add ``weight[w : w + n] @ h[row]`` to one number of sums for each row.

    All positions are flat: row b of h begins at ``at + b * width``, and its sum stands at ``s + b``. `n` is
    rounded up to whole vectors: beyond it the weights or h must be zero.
    """
    for b in range(0, n_rows, _GROUP):
        row = at + b * width
        zero = splat(0.0, load(h, row))
        t0, t1, t2, t3 = zero, zero, zero, zero
        for j in range(0, n, LANES):
            v = load(weight, w + j)
            t0 = t0 + v * load(h, row + j)
            t1 = t1 + v * load(h, row + width + j)
            t2 = t2 + v * load(h, row + 2 * width + j)
            t3 = t3 + v * load(h, row + 3 * width + j)
        add_totals(sums, s + b, t0, t1, t2, t3)


@njit(**INLINE)
def _add_scaled(
    total: Array, at: int, factor: Any, weight: Array, w: int, n: int
) -> None:  # pragma: no cover
    """Add ``factor * weight[w : w + n]`` to as many numbers from `at` on, whole vectors of them."""
    for j in range(0, n, LANES):
        store(total, at + j, load(total, at + j) + factor * load(weight, w + j))


@njit(**COMPILE)
def _draw_made(  # pragma: no cover
    order: Array, family: Array, start: Array, width: Array, n_levels: Array, min_scale: Array,
    feature: Array, onehot: Array, factor: Array, shift: Array,
    first: Array, bias: Array, between: Array, complete: Array, output: Array,
    output_bias: Array, direct: Array, activation: int, residual: bool, first_start: Array,
    output_start: Array, uniforms: Array, quantiles: Array, low: int, high: int, rows: Array,
) -> None:  # fmt: skip
    n_layers, n_rows = len(complete), high - low
    padded = n_rows + -n_rows % _GROUP
    size, n_direct = bias.shape[1], direct.shape[1]
    stride = size + _GAP
    dtype = uniforms.dtype
    z = np.zeros((n_layers, padded, stride), dtype)
    h = np.zeros((n_layers, padded, stride), dtype)
    unit_sums = np.zeros((1, padded), dtype)
    sums = np.zeros((width.max(), padded), dtype)
    accumulated = np.zeros((padded, n_direct), dtype)
    # A single row of starts stands for all rows: its index is multiplied by 0.
    own_first, own_output = int(len(first_start) > 1), int(len(output_start) > 1)
    for b in range(n_rows):
        for j in range(size):
            z[0, b, j] = bias[0, j] + first_start[(low + b) * own_first, j]
    for r in range(len(order)):
        d = order[r]
        known = 0
        for layer in range(n_layers):
            below, known = known, complete[layer, r]
            for unit in range(complete[layer, r - 1] if r else 0, known):
                if layer:
                    for b in range(n_rows):
                        unit_sums[0, b] = bias[layer, unit]
                        if residual:
                            unit_sums[0, b] += z[layer - 1, b, unit]
                    w, at = ((layer - 1) * size + unit) * size, (layer - 1) * padded * stride
                    _add_dots(between, w, h, at, stride, below, padded, unit_sums, 0)
                    for b in range(n_rows):
                        z[layer, b, unit] = unit_sums[0, b]
                for b in range(n_rows):
                    h[layer, b, unit] = _activate(z[layer, b, unit], activation)
        for p in range(width[d]):
            o = start[d] + p
            for b in range(n_rows):
                sums[p, b] = output_bias[o] + output_start[(low + b) * own_output, o]
                if n_direct:
                    sums[p, b] += accumulated[b, o]
            at = (n_layers - 1) * padded * stride
            _add_dots(output, o * size, h, at, stride, known, padded, sums, p * padded)
        # The first layer's units that are complete have no weight from later features.
        open_from = complete[0, r] // LANES * LANES
        _draw_variable(
            family[d], sums, width[d], n_levels[d], min_scale[d], uniforms, quantiles, d, low, high, rows
        )
        is_onehot, first_feature, slope, offset = (
            onehot[d],
            feature[d],
            dtype.type(factor[d]),
            dtype.type(shift[d]),
        )
        for b in range(n_rows):
            x = rows[low + b, d]
            f = first_feature + int(x) if is_onehot else first_feature
            value = dtype.type(1) if is_onehot else slope * x + offset
            if value != 0 and r + 1 < len(order):
                _add_scaled(z, b * stride + open_from, value, first, f * size + open_from, size - open_from)
                if n_direct:
                    _add_scaled(accumulated, b * n_direct, value, direct, f * n_direct, n_direct)


@njit(**COMPILE)
def _draw_nade(  # pragma: no cover
    order: Array, family: Array, start: Array, width: Array, n_levels: Array, min_scale: Array,
    feature: Array, onehot: Array, factor: Array, shift: Array,
    weight: Array, output: Array, output_bias: Array, activation: int, vector_activation: int,
    first_start: Array, output_start: Array, uniforms: Array, quantiles: Array, low: int, high: int,
    rows: Array,
) -> None:  # fmt: skip
    n_rows, size = high - low, weight.shape[1]
    stride = size + _GAP
    padded = n_rows + -n_rows % _GROUP
    dtype = uniforms.dtype
    z = np.zeros((padded, stride), dtype)
    h = np.zeros((padded, stride), dtype)
    sums = np.zeros((width.max(), padded), dtype)
    # A single row of starts stands for all rows: its index is multiplied by 0.
    own_first, own_output = int(len(first_start) > 1), int(len(output_start) > 1)
    for b in range(n_rows):
        for j in range(size):
            z[b, j] = first_start[(low + b) * own_first, j]
            h[b, j] = _activate(z[b, j], activation)
    for r in range(len(order)):
        d = order[r]
        for p in range(width[d]):
            o = start[d] + p
            for b in range(n_rows):
                sums[p, b] = output_bias[o] + output_start[(low + b) * own_output, o]
            _add_dots(output, o * size, h, 0, stride, size, padded, sums, p * padded)
        _draw_variable(
            family[d], sums, width[d], n_levels[d], min_scale[d], uniforms, quantiles, d, low, high, rows
        )
        is_onehot, first_feature, slope, offset = (
            onehot[d],
            feature[d],
            dtype.type(factor[d]),
            dtype.type(shift[d]),
        )
        for b in range(n_rows):
            x = rows[low + b, d]
            f = first_feature + int(x) if is_onehot else first_feature
            value = dtype.type(1) if is_onehot else slope * x + offset
            if value != 0:
                if vector_activation >= 0:
                    for j in range(0, size, LANES):
                        at = b * stride + j
                        store(h, at, advance(z, at, value, weight, f * size + j, vector_activation))
                else:
                    _add_scaled(z, b * stride, value, weight, f * size, size)
                    for j in range(size):
                        h[b, j] = _activate(z[b, j], activation)
