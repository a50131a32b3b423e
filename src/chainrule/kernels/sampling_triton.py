"""Ancestral sampling on the GPU: each program takes a few rows through all positions in one launch.

What a drawn value adds to the hidden units that may see it is added at once, and nothing is added for a zero.
A MADE evaluates each unit of a row once, when its last input is known, and keeps pre-activations and
activations in two arrays of (n, units); a NADE keeps its running sum in registers.

Memory; a program has 1, 2 or 4 rows, and goes through the units in blocks of UNITS::

    pre, hidden  (n, H_1 + .. + H_L)   row 0 | layer 1, sorted by degree | layer 2 | ..   of a MADE
                                       row 1 |                           |         | ..
    first        (F, H_1)              the drawn value's feature is one row, added to the units still open
    between      flat                  H_2 x H_1, then H_3 x H_2, ..: a unit is one row
    output       (n_outputs, H_L)      a param is one row, multiplied with the units known so far
    direct       (n_outputs, F)        read at the features that were drawn, kept in features, values (n, D)
    integers     (7, D)                of each variable: order, family, start, width, levels, onehot, feature
    numbers      (3, D)                of each variable: min_scale, factor, shift
    layers       (3, L), complete (L, D + 1)   where layers begin, and how many units are known when
"""

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from chainrule.kernels.functions_triton import activated, softplus
from chainrule.kernels.plans import GPUMADEPlan, GPUNADEPlan, RowPlan

__all__ = ["sample"]

# Tables of integers (7, D) and numbers (3, D), in the order in which the kernels read them.
_INTEGERS = ("order", "family", "start", "width", "n_levels", "onehot", "feature")
_NUMBERS = ("min_scale", "factor", "shift")
# Fewer units than a program has threads would leave threads idle.
_MIN_UNITS = 128
_MAX_UNITS = 512


@triton.jit
def _drawn(
    family: tl.tensor, params: tl.tensor, width: tl.tensor, levels: tl.tensor, min_scale: tl.tensor,
    uniform: tl.tensor, quantile: tl.tensor, FAMILY: tl.constexpr, PARAMS: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return one value per row from params (rows, PARAMS); FAMILY is the highest code that occurs."""
    k = tl.arange(0, PARAMS)[None, :]
    logit = tl.sum(tl.where(k == 0, params, 0.0), axis=1)
    # Of binary variables the uniform comes as its logit.
    x = (uniform < logit).to(params.dtype)
    if FAMILY > 0:
        if family > 0:
            # One component has a location and a scale, but no logit.
            choices = tl.where(family == 1, width, tl.where(width > 2, width // 3, 1))
            highest = tl.max(tl.where(k < choices, params, float("-inf")), axis=1)
            odds = tl.where(k < choices, tl.exp(params - highest[:, None]), 0.0)
            cumulative = tl.cumsum(odds, axis=1)
            total = tl.max(cumulative, axis=1)
            passed = (cumulative <= (uniform * total)[:, None]) & (k < choices - 1)
            chosen = tl.sum(passed.to(tl.int32), axis=1)
            x = chosen.to(params.dtype)
            if FAMILY > 1:
                if family > 1:
                    location = tl.sum(
                        tl.where(k == width - 2 * choices + chosen[:, None], params, 0.0), axis=1
                    )
                    raw_scale = tl.sum(tl.where(k == width - choices + chosen[:, None], params, 0.0), axis=1)
                    value = location + (softplus(raw_scale) + min_scale) * quantile
                    top = levels.to(params.dtype) - 1.0
                    level = tl.floor((value + 1.0) * tl.maximum(top, 1.0) * 0.5 + 0.5)
                    level = tl.where(level < 0.0, 0.0, tl.where(level > top, top, level))
                    x = tl.where(family == 2, value, level)
    return x


@triton.jit
def _draw_nade(
    integers: tl.tensor, numbers: tl.tensor, uniforms: tl.tensor, quantiles: tl.tensor, rows: tl.tensor,
    weight: tl.tensor, start: tl.tensor, output: tl.tensor, output_start: tl.tensor,
    n: int, n_variables: int, width: int, start_stride: int, output_stride: int,
    ACTIVATION: tl.constexpr, FAMILY: tl.constexpr, ROWS: tl.constexpr, UNITS: tl.constexpr,
    PARAMS: tl.constexpr,
) -> None:  # fmt: skip
    """Draw one block of rows, all `width` hidden units in registers."""
    b = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    j = tl.arange(0, UNITS)
    is_row, is_unit = b < n, j < width
    mask = is_row[:, None] & is_unit[None, :]
    k = tl.arange(0, PARAMS)
    pre = tl.load(start + b[:, None] * start_stride + j[None, :], mask=mask, other=0.0)
    for r in range(n_variables):
        d = tl.load(integers + r)
        family, first = tl.load(integers + n_variables + d), tl.load(integers + 2 * n_variables + d)
        n_params, levels = tl.load(integers + 3 * n_variables + d), tl.load(integers + 4 * n_variables + d)
        onehot, feature = tl.load(integers + 5 * n_variables + d), tl.load(integers + 6 * n_variables + d)
        uniform = tl.load(uniforms + b * n_variables + d, mask=is_row, other=0.5)
        quantile = uniform
        if FAMILY > 1:
            quantile = tl.load(quantiles + b * n_variables + d, mask=is_row, other=0.0)
        h = activated(pre, ACTIVATION)
        params = tl.zeros((ROWS, PARAMS), dtype=weight.dtype.element_ty)
        for p in range(n_params):
            o = first + p
            v = tl.load(output + o * width + j, mask=is_unit, other=0.0)
            total = tl.sum(h * v[None, :], axis=1)
            total += tl.load(output_start + b * output_stride + o, mask=is_row, other=0.0)
            params = tl.where((k == p)[None, :], total[:, None], params)
        min_scale = tl.load(numbers + d)
        x = _drawn(family, params, n_params, levels, min_scale, uniform, quantile, FAMILY, PARAMS)
        tl.store(rows + b * n_variables + d, x, mask=is_row)
        scaled = x * tl.load(numbers + n_variables + d) + tl.load(numbers + 2 * n_variables + d)
        value = tl.where(onehot > 0, 1.0, scaled)
        f = feature + tl.where(onehot > 0, x.to(tl.int64), 0)
        used = mask & (value != 0)[:, None]
        w = tl.load(weight + f[:, None] * width + j[None, :], mask=used, other=0.0)
        pre += value[:, None] * w


@triton.jit
def _evaluate_first(
    pre: tl.tensor, hidden: tl.tensor, to_row: tl.tensor, is_row: tl.tensor, before: tl.tensor,
    known: tl.tensor, ACTIVATION: tl.constexpr, UNITS: tl.constexpr,
) -> None:  # fmt: skip
    """Evaluate the units before..known of the first layer."""
    for base in range(before, known, UNITS):
        j = base + tl.arange(0, UNITS)
        mask = is_row[:, None] & (j < known)[None, :]
        z = tl.load(pre + to_row[:, None] + j[None, :], mask=mask, other=0.0)
        tl.store(hidden + to_row[:, None] + j[None, :], activated(z, ACTIVATION), mask=mask)


@triton.jit
def _products(
    hidden: tl.tensor, to_layer: tl.tensor, is_row: tl.tensor, weights: tl.tensor, known: tl.tensor,
    ROWS: tl.constexpr, UNITS: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return products (ROWS, UNITS) whose sum is the dot product with the first `known` units of a layer."""
    products = tl.zeros((ROWS, UNITS), dtype=weights.dtype.element_ty)
    for base in range(0, known, UNITS):
        j = base + tl.arange(0, UNITS)
        mask = is_row[:, None] & (j < known)[None, :]
        h = tl.load(hidden + to_layer[:, None] + j[None, :], mask=mask, other=0.0)
        w = tl.load(weights + j, mask=j < known, other=0.0)
        products += h * w[None, :]
    return products


@triton.jit
def _direct_products(
    features: tl.tensor, values: tl.tensor, to_row: tl.tensor, is_row: tl.tensor, weights: tl.tensor,
    r: tl.tensor, ROWS: tl.constexpr, UNITS: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Return products (ROWS, UNITS) whose sum is what the variables before position r add directly."""
    products = tl.zeros((ROWS, UNITS), dtype=weights.dtype.element_ty)
    for base in range(0, r, UNITS):
        i = base + tl.arange(0, UNITS)
        mask = is_row[:, None] & (i < r)[None, :]
        value = tl.load(values + to_row[:, None] + i[None, :], mask=mask, other=0.0)
        used = mask & (value != 0)
        f = tl.load(features + to_row[:, None] + i[None, :], mask=used, other=0)
        products += value * tl.load(weights + f, mask=used, other=0.0)
    return products


@triton.jit
def _draw_made(
    integers: tl.tensor, numbers: tl.tensor, uniforms: tl.tensor, quantiles: tl.tensor, rows: tl.tensor,
    first_weight: tl.tensor, between: tl.tensor, bias: tl.tensor, layers: tl.tensor, complete: tl.tensor,
    output: tl.tensor, output_start: tl.tensor, direct: tl.tensor, pre: tl.tensor, hidden: tl.tensor,
    features: tl.tensor, values: tl.tensor,
    n: int, n_variables: int, n_features: int, n_units: int, n_layers: int, output_stride: int,
    ACTIVATION: tl.constexpr, RESIDUAL: tl.constexpr, DIRECT: tl.constexpr, FAMILY: tl.constexpr,
    ROWS: tl.constexpr, UNITS: tl.constexpr, PARAMS: tl.constexpr,
) -> None:  # fmt: skip
    """Draw one block of rows; `pre` and `hidden` (n, units of all layers) are written and read on the way.

    `layers` (3, L) holds size, first unit and first weight of each layer; `complete` (L, D + 1) how many
    units are known before each position and after the last. A barrier stands wherever threads read what
    others may have written.
    """
    b = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    is_row = b < n
    k = tl.arange(0, PARAMS)
    to_units, to_variables = b * n_units, b * n_variables
    n_steps = n_variables + 1
    first_size, last_size = tl.load(layers), tl.load(layers + n_layers - 1)
    to_last = to_units + tl.load(layers + 2 * n_layers - 1)
    for r in range(n_variables):
        first_known = tl.load(complete + r + 1)
        _evaluate_first(pre, hidden, to_units, is_row, tl.load(complete + r), first_known, ACTIVATION, UNITS)
        for layer in range(1, n_layers):
            tl.debug_barrier()
            below = tl.load(layers + layer - 1)
            to_below = to_units + tl.load(layers + n_layers + layer - 1)
            at = tl.load(layers + n_layers + layer)
            weights = between + tl.load(layers + 2 * n_layers + layer)
            known_below = tl.load(complete + (layer - 1) * n_steps + r + 1)
            counts = complete + layer * n_steps + r
            for unit in range(tl.load(counts), tl.load(counts + 1)):
                to_weights = weights + unit * below
                z = tl.sum(_products(hidden, to_below, is_row, to_weights, known_below, ROWS, UNITS), axis=1)
                z += tl.load(bias + at + unit)
                if RESIDUAL:
                    z += tl.load(pre + to_below + unit, mask=is_row, other=0.0)
                    tl.store(pre + to_units + at + unit, z, mask=is_row)
                tl.store(hidden + to_units + at + unit, activated(z, ACTIVATION), mask=is_row)
        tl.debug_barrier()
        d = tl.load(integers + r)
        family, first = tl.load(integers + n_variables + d), tl.load(integers + 2 * n_variables + d)
        n_params, levels = tl.load(integers + 3 * n_variables + d), tl.load(integers + 4 * n_variables + d)
        onehot, feature = tl.load(integers + 5 * n_variables + d), tl.load(integers + 6 * n_variables + d)
        uniform = tl.load(uniforms + to_variables + d, mask=is_row, other=0.5)
        quantile = uniform
        if FAMILY > 1:
            quantile = tl.load(quantiles + to_variables + d, mask=is_row, other=0.0)
        known = tl.load(complete + (n_layers - 1) * n_steps + r + 1)
        params = tl.zeros((ROWS, PARAMS), dtype=output.dtype.element_ty)
        for p in range(n_params):
            o = first + p
            products = _products(hidden, to_last, is_row, output + o * last_size, known, ROWS, UNITS)
            if DIRECT:
                weights = direct + o * n_features
                products += _direct_products(features, values, to_variables, is_row, weights, r, ROWS, UNITS)
            total = tl.sum(products, axis=1)
            total += tl.load(output_start + b * output_stride + o, mask=is_row, other=0.0)
            params = tl.where((k == p)[None, :], total[:, None], params)
        min_scale = tl.load(numbers + d)
        x = _drawn(family, params, n_params, levels, min_scale, uniform, quantile, FAMILY, PARAMS)
        tl.store(rows + to_variables + d, x, mask=is_row)
        scaled = x * tl.load(numbers + n_variables + d) + tl.load(numbers + 2 * n_variables + d)
        value = tl.where(onehot > 0, 1.0, scaled)
        f = feature + tl.where(onehot > 0, x.to(tl.int64), 0)
        if DIRECT:
            tl.store(features + to_variables + r, f, mask=is_row)
            tl.store(values + to_variables + r, value, mask=is_row)
        for base in range(first_known, first_size, UNITS):
            j = base + tl.arange(0, UNITS)
            used = (is_row & (value != 0))[:, None] & (j < first_size)[None, :]
            to = pre + to_units[:, None] + j[None, :]
            w = tl.load(first_weight + f[:, None] * first_size + j[None, :], mask=used, other=0.0)
            tl.store(to, tl.load(to, mask=used, other=0.0) + value[:, None] * w, mask=used)
        tl.debug_barrier()


def sample(
    plan: GPUMADEPlan | GPUNADEPlan, row: RowPlan, uniforms: Tensor, quantiles: Tensor | None
) -> Tensor:
    """Return rows (n, D) drawn from a network.

    Parameters
    ----------
    plan : GPUMADEPlan or GPUNADEPlan
    row : RowPlan
    uniforms : Tensor, (n, D)
        Of binary variables their logits.
    quantiles : Tensor, (n, D), or None
        Standard quantiles of the variables that are mixtures; None where there are none.
    """
    if isinstance(plan, GPUMADEPlan):
        return _sample_made(plan, row, uniforms, quantiles)
    return _sample_nade(plan, row, uniforms, quantiles)


def _sample_made(network: GPUMADEPlan, row: RowPlan, uniforms: Tensor, quantiles: Tensor | None) -> Tensor:
    """Return rows (n, D) drawn from a MADE."""
    (n, n_variables), n_units, device = uniforms.shape, sum(network.sizes), uniforms.device
    integers, numbers = _tables(row, uniforms)
    rows = torch.empty_like(uniforms)
    pre, hidden = uniforms.new_empty(n, n_units), uniforms.new_empty(n, n_units)
    pre[:, : network.sizes[0]] = network.start
    # Without direct connections nothing reads these three.
    direct, features, values = network.output, integers, numbers
    if network.direct is not None:
        direct, features = network.direct, torch.empty(n, n_variables, dtype=torch.int64, device=device)
        values = torch.empty_like(uniforms)
    n_rows = _rows_per_program(n)
    with torch.cuda.device_of(uniforms):
        _draw_made[(-(-n // n_rows),)](
            integers, numbers, uniforms, uniforms if quantiles is None else quantiles, rows,
            network.first, network.between, network.bias, _layers(network.sizes).to(device),
            network.complete, network.output, network.output_start, direct, pre, hidden, features, values,
            n, n_variables, len(network.first), n_units, len(network.sizes),
            _row_stride(network.output_start),
            ACTIVATION=network.activation, RESIDUAL=network.residual, DIRECT=network.direct is not None,
            FAMILY=int(row.family.max()), ROWS=n_rows, UNITS=min(_units(max(network.sizes)), _MAX_UNITS),
            PARAMS=triton.next_power_of_2(int(row.width.max())), num_warps=4,
        )  # fmt: skip
    return rows


def _sample_nade(network: GPUNADEPlan, row: RowPlan, uniforms: Tensor, quantiles: Tensor | None) -> Tensor:
    """Return rows (n, D) drawn from a NADE."""
    (n, n_variables), width = uniforms.shape, network.weight.shape[1]
    integers, numbers = _tables(row, uniforms)
    rows = torch.empty_like(uniforms)
    n_rows, units = _rows_per_program(n), _units(width)
    with torch.cuda.device_of(uniforms):
        _draw_nade[(-(-n // n_rows),)](
            integers, numbers, uniforms, uniforms if quantiles is None else quantiles, rows,
            network.weight, network.start, network.output, network.output_start,
            n, n_variables, width, _row_stride(network.start), _row_stride(network.output_start),
            ACTIVATION=network.activation, FAMILY=int(row.family.max()), ROWS=n_rows, UNITS=units,
            PARAMS=triton.next_power_of_2(int(row.width.max())), num_warps=min(8, max(1, units // 128)),
        )  # fmt: skip
    return rows


def _tables(row: RowPlan, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the numbers that the kernels must know of each variable."""
    integers = np.stack([np.asarray(getattr(row, name), np.int64) for name in _INTEGERS])
    numbers = np.stack([getattr(row, name) for name in _NUMBERS])
    return torch.from_numpy(integers).to(like.device), torch.from_numpy(numbers).to(like)


def _layers(sizes: tuple[int, ...]) -> Tensor:
    """Return size, first unit and first weight of each hidden layer, (3, L); the first has none between."""
    first_unit = np.cumsum([0, *sizes[:-1]])
    n_weights = [0, 0, *(above * below for below, above in zip(sizes[:-2], sizes[1:-1], strict=True))]
    return torch.from_numpy(np.stack([sizes, first_unit, np.cumsum(n_weights[: len(sizes)])]))


def _row_stride(start: Tensor) -> int:
    """Return how far apart rows lie: a single one stands for all."""
    return start.shape[1] if len(start) > 1 else 0


def _units(width: int) -> int:
    return max(triton.next_power_of_2(width), _MIN_UNITS)


def _rows_per_program(n: int) -> int:
    """Return the number of rows of one program: few samples need all programs they can get."""
    if n <= 512:
        return 1
    return 2 if n <= 2048 else 4
