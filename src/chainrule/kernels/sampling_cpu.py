"""Ancestral sampling on the CPU: compiled walks that evaluate each hidden unit of a row once.

A few rows walk together, so that each weight that is read serves all of them; threads share out the rows.
What a drawn value adds to the units that may see it is added at once, and nothing is added for a zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numba import njit

from chainrule.kernels.threads import run_ranges

__all__ = [
    "FAMILIES",
    "SAMPLER_ACTIVATIONS",
    "Draws",
    "MADEPlan",
    "NADEPlan",
    "RowPlan",
    "sample_made",
    "sample_nade",
]

Array: TypeAlias = "np.ndarray[Any, Any]"

FAMILIES = {"bernoulli": 0, "categorical": 1, "mixture": 2, "discretized": 3}
SAMPLER_ACTIVATIONS = {
    name: code for code, name in enumerate(("relu", "sigmoid", "tanh", "leaky_relu", "elu", "silu", "gelu"))
}
# The most rows that walk together; the sums below are written out for groups of four.
_MOST_ROWS = 32

_COMPILE: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "fastmath": {"reassoc", "contract", "nsz", "arcp"},
    "error_model": "numpy",
}


@dataclass(frozen=True)
class RowPlan:
    """What a walk must know of each variable, in arrays of length D.

    Attributes
    ----------
    order : Array
    family : Array
        Codes of `FAMILIES`.
    start, width : Array
        Where the params stand among the outputs.
    n_levels : Array
        K of discrete variables.
    least_scale : Array
        What is added to softplus(raw) to make a scale.
    feature, onehot, factor, shift : Array
        The first feature; whether the code chooses a feature, or else is one, as ``factor * x + shift``.
    """

    order: Array
    family: Array
    start: Array
    width: Array
    n_levels: Array
    least_scale: Array
    feature: Array
    onehot: Array
    factor: Array
    shift: Array

    def arrays(self) -> tuple[Array, ...]:
        """Return the arrays in the order in which the compiled walks take them."""
        return (
            self.order, self.family, self.start, self.width, self.n_levels, self.least_scale,
            self.feature, self.onehot, self.factor, self.shift,
        )  # fmt: skip


@dataclass(frozen=True)
class MADEPlan:
    """A MADE whose hidden layers are sorted by degree.

    Attributes
    ----------
    first : Array, (F, H_1)
        From features to the first layer.
    bias : Array, (sum of H_l,)
        Biases of all hidden layers, one after the other.
    between : Array
        Weights (H_l, H_{l-1}) of the further layers, flattened, one after the other.
    sizes : Array, (L,)
    complete : Array, (L, D)
        How many units of a layer have all their inputs at each position.
    output : Array, (n_outputs, H_L)
    output_bias : Array, (n_outputs,)
    direct : Array, (F, n_outputs) or (0, 0)
    activation : int
    residual : bool
    """

    first: Array
    bias: Array
    between: Array
    sizes: Array
    complete: Array
    output: Array
    output_bias: Array
    direct: Array
    activation: int
    residual: bool


@dataclass(frozen=True)
class NADEPlan:
    """A NADE: weight (F, H), output (n_outputs, H), output_bias (n_outputs,)."""

    weight: Array
    output: Array
    output_bias: Array
    activation: int


@dataclass(frozen=True)
class Draws:
    """The random numbers of n rows: uniforms (n, D), standard quantiles (n, D), or (1, 1) where unused."""

    uniforms: Array
    quantiles: Array


def sample_made(plan: MADEPlan, row: RowPlan, first_start: Array, output_start: Array, draws: Draws) -> Array:
    """Return rows (n, D) drawn from a MADE.

    `first_start` (n, H_1) and `output_start` (n, n_outputs) are what the context adds, or one row of zeros.
    """
    rows = np.empty_like(draws.uniforms)

    def walk(low: int, high: int) -> None:
        _walk_made(
            *row.arrays(), plan.first, plan.bias, plan.between, plan.sizes, plan.complete, plan.output,
            plan.output_bias, plan.direct, plan.activation, plan.residual, first_start, output_start,
            draws.uniforms, draws.quantiles, low, high, rows,
        )  # fmt: skip

    run_ranges(walk, len(rows), _rows_per_walk(len(rows)))
    return rows


def sample_nade(plan: NADEPlan, row: RowPlan, start: Array, output_start: Array, draws: Draws) -> Array:
    """Return rows (n, D) drawn from a NADE; `start` (n or 1, H) holds the first pre-activations."""
    rows = np.empty_like(draws.uniforms)

    def walk(low: int, high: int) -> None:
        _walk_nade(
            *row.arrays(), plan.weight, plan.output, plan.output_bias, plan.activation, start, output_start,
            draws.uniforms, draws.quantiles, low, high, rows,
        )  # fmt: skip

    run_ranges(walk, len(rows), _rows_per_walk(len(rows)))
    return rows


def _rows_per_walk(n: int) -> int:
    """Return a number of rows, a multiple of four, that gives every thread about the same work."""
    n_threads = torch.get_num_threads()
    walks_per_thread = -(-n // (n_threads * _MOST_ROWS))
    rows = -(-n // (n_threads * walks_per_thread))
    return rows + -rows % 4


@njit(**_COMPILE)
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


@njit(**_COMPILE)
def _choose(logits: Array, b: int, n: int, uniform: float) -> int:  # pragma: no cover
    """Return the index at which the cumulative softmax of the first n logits passes the uniform."""
    highest = logits[b, 0]
    for k in range(1, n):
        highest = max(highest, logits[b, k])
    total = 0.0
    for k in range(n):
        total += math.exp(logits[b, k] - highest)
    threshold, cumulative = uniform * total, 0.0
    for k in range(n - 1):
        cumulative += math.exp(logits[b, k] - highest)
        if cumulative > threshold:
            return k
    return n - 1


@njit(**_COMPILE)
def _softplus(x: float) -> float:  # pragma: no cover
    return x if x > 20 else math.log1p(math.exp(x))


@njit(**_COMPILE)
def _draw(  # pragma: no cover
    family: int,
    params: Array,
    b: int,
    width: int,
    levels: int,
    least_scale: float,
    uniform: float,
    quantile: float,
) -> float:
    """Return one value drawn from the params of row b."""
    if family == 0:
        return 1.0 if uniform < 1 / (1 + math.exp(-params[b, 0])) else 0.0
    if family == 1:
        return float(_choose(params, b, width, uniform))
    m = width // 3
    k = _choose(params, b, m, uniform)
    value = params[b, m + k] + (_softplus(params[b, 2 * m + k]) + least_scale) * quantile
    if family == 2:
        return value
    half = 1.0 / max(levels - 1, 1)
    level = math.floor((value + 1) / (2 * half) + 0.5)
    return min(max(level, 0.0), levels - 1.0)


@njit(**_COMPILE)
def _dots(
    weight: Array, offset: int, h: Array, n: int, rows: int, out: Array, column: int
) -> None:  # pragma: no cover
    """Write ``weight[offset : offset + n] @ h[b, :n]`` into column `column` of out for all rows b."""
    for b in range(0, rows, 4):
        t0 = t1 = t2 = t3 = h.dtype.type(0)
        for j in range(n):
            w = weight[offset + j]
            t0 += w * h[b, j]
            t1 += w * h[b + 1, j]
            t2 += w * h[b + 2, j]
            t3 += w * h[b + 3, j]
        out[b, column] = t0
        out[b + 1, column] = t1
        out[b + 2, column] = t2
        out[b + 3, column] = t3


@njit(**_COMPILE)
def _add_row(
    total: Array, b: int, low: int, high: int, factor: Any, weight: Array, f: int
) -> None:  # pragma: no cover
    """Add ``factor * weight[f, low:high]`` to total[b, low:high]."""
    for j in range(low, high):
        total[b, j] += factor * weight[f, j]


@njit(**_COMPILE)
def _walk_made(  # pragma: no cover
    order: Array, family: Array, start: Array, width: Array, n_levels: Array, least_scale: Array,
    feature: Array, onehot: Array, factor: Array, shift: Array,
    first: Array, bias: Array, between: Array, sizes: Array, complete: Array, output: Array,
    output_bias: Array, direct: Array, activation: int, residual: bool, first_start: Array,
    output_start: Array, uniforms: Array, quantiles: Array, low: int, high: int, rows: Array,
) -> None:  # fmt: skip
    n_layers, n_rows = len(sizes), high - low
    padded = n_rows + -n_rows % 4
    widest, n_outputs, hidden_size = sizes.max(), len(output_bias), sizes[n_layers - 1]
    dtype = uniforms.dtype
    z = np.zeros((n_layers, padded, widest), dtype)
    h = np.zeros((n_layers, padded, widest), dtype)
    first_z = z[0]
    sums = np.zeros((padded, width.max()), dtype)
    accumulated = np.zeros((padded, n_outputs if direct.shape[0] else 0), dtype)
    output_flat = output.reshape(-1)
    # A single row of starts or quantiles stands for all rows: its index is multiplied by 0.
    own_first, own_output = int(len(first_start) > 1), int(len(output_start) > 1)
    own_quantile = int(quantiles.shape == uniforms.shape)
    for b in range(n_rows):
        for j in range(sizes[0]):
            first_z[b, j] = bias[j] + first_start[(low + b) * own_first, j]
    for r in range(len(order)):
        d = order[r]
        known = 0
        bias_at, between_at = 0, 0
        for layer in range(n_layers):
            below, known = known, complete[layer, r]
            for unit in range(complete[layer, r - 1] if r else 0, known):
                if layer:
                    offset = between_at + unit * sizes[layer - 1]
                    _dots(between, offset, h[layer - 1], below, padded, z[layer], unit)
                for b in range(n_rows):
                    if layer:
                        z[layer, b, unit] += bias[bias_at + unit]
                        if residual:
                            z[layer, b, unit] += z[layer - 1, b, unit]
                    h[layer, b, unit] = _activate(z[layer, b, unit], activation)
            bias_at += sizes[layer]
            if layer:
                between_at += sizes[layer] * sizes[layer - 1]
        for p in range(width[d]):
            _dots(output_flat, (start[d] + p) * hidden_size, h[n_layers - 1], known, padded, sums, p)
            for b in range(n_rows):
                o = start[d] + p
                sums[b, p] += output_bias[o] + output_start[(low + b) * own_output, o]
                if direct.shape[0]:
                    sums[b, p] += accumulated[b, o]
        for b in range(n_rows):
            uniform = uniforms[low + b, d]
            quantile = quantiles[(low + b) * own_quantile, d * own_quantile]
            x = _draw(family[d], sums, b, width[d], n_levels[d], least_scale[d], uniform, quantile)
            rows[low + b, d] = x
            f = feature[d] + int(x) if onehot[d] else feature[d]
            value = dtype.type(1.0 if onehot[d] else factor[d] * x + shift[d])
            if value != 0 and r + 1 < len(order):
                _add_row(first_z, b, complete[0, r], sizes[0], value, first, f)
                if direct.shape[0]:
                    _add_row(accumulated, b, 0, n_outputs, value, direct, f)


@njit(**_COMPILE)
def _walk_nade(  # pragma: no cover
    order: Array, family: Array, start: Array, width: Array, n_levels: Array, least_scale: Array,
    feature: Array, onehot: Array, factor: Array, shift: Array,
    weight: Array, output: Array, output_bias: Array, activation: int, first_start: Array,
    output_start: Array, uniforms: Array, quantiles: Array, low: int, high: int, rows: Array,
) -> None:  # fmt: skip
    n_rows, hidden_size = high - low, weight.shape[1]
    padded = n_rows + -n_rows % 4
    dtype = uniforms.dtype
    z = np.zeros((padded, hidden_size), dtype)
    h = np.zeros((padded, hidden_size), dtype)
    sums = np.zeros((padded, width.max()), dtype)
    output_flat = output.reshape(-1)
    # A single row of starts or quantiles stands for all rows: its index is multiplied by 0.
    own_first, own_output = int(len(first_start) > 1), int(len(output_start) > 1)
    own_quantile = int(quantiles.shape == uniforms.shape)
    for b in range(n_rows):
        for j in range(hidden_size):
            z[b, j] = first_start[(low + b) * own_first, j]
            h[b, j] = _activate(z[b, j], activation)
    for r in range(len(order)):
        d = order[r]
        for p in range(width[d]):
            o = start[d] + p
            _dots(output_flat, o * hidden_size, h, hidden_size, padded, sums, p)
            for b in range(n_rows):
                sums[b, p] += output_bias[o] + output_start[(low + b) * own_output, o]
        for b in range(n_rows):
            uniform = uniforms[low + b, d]
            quantile = quantiles[(low + b) * own_quantile, d * own_quantile]
            x = _draw(family[d], sums, b, width[d], n_levels[d], least_scale[d], uniform, quantile)
            rows[low + b, d] = x
            f = feature[d] + int(x) if onehot[d] else feature[d]
            value = dtype.type(1.0 if onehot[d] else factor[d] * x + shift[d])
            if value != 0:
                _add_row(z, b, 0, hidden_size, value, weight, f)
                for j in range(hidden_size):
                    h[b, j] = _activate(z[b, j], activation)
