"""NADE on the GPU: one pass over the positions per block of rows and hidden units, forward and in reverse.

A program keeps the states of its rows in registers while all positions pass by. The forward pass saves the
states at the end of every so many positions; the reverse pass starts each such segment from the saved states
and takes the variables out one by one, a_r = a_{r+1} - v W. Beside inputs, outputs and the gradients of the
weights, memory is O(n H), and a few partial sums of the outputs where n is small.

The gradients of weight and output_weight are atomic sums over the rows: their last digits may differ from run
to run. Outputs and the gradient of start are the same each time.

Memory; a program is one block of 4 rows and 64 units, whose states it holds while positions pass by::

                     block 0          block 1
    start     row 0 | 64 units       | 64 units       | ..      (n, H), one program for each cell
              row 1 |                |                |         of 4 rows and 64 units
              row 2 |                |                |
              row 3 | a warp per row |                |
    weight    (F, H)        one row for each feature; a masked load, as zeros add nothing
    row, value (D, n)       by position: a program's four rows are neighbours
    saved     (16, n, H)    states after each of 16 segments of positions
    sums      (parts of H, D, P, n)   each part of the units has sums of its own; they are added at the end
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from chainrule.kernels.functions_triton import activated, slope
from chainrule.kernels.plans import VECTOR_ACTIVATIONS

__all__ = ["TritonNADE"]

_N_SEGMENTS = 16
# As many warps as rows: each row has a warp of its own, which sums over hidden units without the others.
_ROWS = 4
_UNITS = 64
# About what fills a large GPU; where blocks of rows are fewer, programs share out the hidden units, too.
_N_PROGRAMS = 512


@triton.jit
def _variable(
    row: tl.tensor, value: tl.tensor, order: tl.tensor, r: tl.tensor, b: tl.tensor, is_row: tl.tensor, n: int
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:  # fmt: skip
    """Return the rows of weight, the values and the number of the variable at position r.

    Passes ask for them one position ahead, so that loads which need them do not wait.
    """
    at = tl.cast(r, tl.int64) * n + b
    f = tl.load(row + at, mask=is_row, other=0)
    x = tl.load(value + at, mask=is_row, other=0.0)
    return f, x, tl.load(order + r)


@triton.jit
def _forward(
    row: tl.tensor, value: tl.tensor, order: tl.tensor, weight: tl.tensor, output_weight: tl.tensor,
    start: tl.tensor, saved: tl.tensor, sums: tl.tensor,
    n: int, n_variables: int, width: int, n_params: int, spacing: int, n_segments: int, n_blocks: int,
    ACTIVATION: tl.constexpr, ROWS: tl.constexpr, UNITS: tl.constexpr,
) -> None:  # fmt: skip
    """Pass over `n_blocks` blocks of hidden units, one after the other.

    `row` and `value` (D, n) lie in the order; `saved` (n_segments, n, H) receives the states after each
    segment, `sums` (parts of H, D, P, n) the outputs.
    """
    b = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    part = tl.program_id(1).to(tl.int64)
    is_row = b < n
    for block in range(n_blocks):
        j = (part * n_blocks + block) * UNITS + tl.arange(0, UNITS)
        is_unit = j < width
        mask = is_row[:, None] & is_unit[None, :]
        pre = tl.load(start + b[:, None] * width + j[None, :], mask=mask, other=0.0)
        f, x, d = _variable(row, value, order, 0, b, is_row, n)
        for segment in range(n_segments):
            first = segment * spacing
            for r in range(first, tl.minimum(first + spacing, n_variables)):
                used = mask & (x != 0)[:, None]
                added = tl.load(weight + f[:, None] * width + j[None, :], mask=used, other=0.0)
                following = tl.minimum(r + 1, n_variables - 1)
                f_next, x_next, d_next = _variable(row, value, order, following, b, is_row, n)
                h = activated(pre, ACTIVATION)
                for p in range(n_params):
                    v = tl.load(output_weight + (d * n_params + p) * width + j, mask=is_unit, other=0.0)
                    total = tl.sum(h * v[None, :], axis=1)
                    to = sums + ((part * n_variables + d) * n_params + p) * n + b
                    tl.atomic_add(to, total, mask=is_row)
                pre += x[:, None] * added
                f, x, d = f_next, x_next, d_next
            saved_rows = tl.cast(segment, tl.int64) * n + b
            tl.store(saved + saved_rows[:, None] * width + j[None, :], pre, mask=mask)
        # No other program adds to these sums, and blocks that wait for each other add in one order.
        tl.debug_barrier()


@triton.jit
def _backward(
    row: tl.tensor, value: tl.tensor, order: tl.tensor, weight: tl.tensor, output_weight: tl.tensor,
    saved: tl.tensor, gradient: tl.tensor,
    d_weight: tl.tensor, d_start: tl.tensor, d_output_weight: tl.tensor,
    n: int, n_variables: int, width: int, n_params: int, spacing: int, n_segments: int,
    ACTIVATION: tl.constexpr, ROWS: tl.constexpr, UNITS: tl.constexpr,
) -> None:  # fmt: skip
    """Pass in reverse over one block of hidden units; `gradient` (D, P, n) is that of the outputs."""
    b = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    j = tl.program_id(1).to(tl.int64) * UNITS + tl.arange(0, UNITS)
    is_row, is_unit = b < n, j < width
    mask = is_row[:, None] & is_unit[None, :]
    d_pre = tl.zeros((ROWS, UNITS), dtype=weight.dtype.element_ty)
    f, x, d = _variable(row, value, order, n_variables - 1, b, is_row, n)
    for k in range(n_segments):
        segment = n_segments - 1 - k
        first = segment * spacing
        last = tl.minimum(first + spacing, n_variables) - 1
        saved_rows = tl.cast(segment, tl.int64) * n + b
        pre = tl.load(saved + saved_rows[:, None] * width + j[None, :], mask=mask, other=0.0)
        for i in range(last - first + 1):
            r = last - i
            used = mask & (x != 0)[:, None]
            weights = f[:, None] * width + j[None, :]
            added = tl.load(weight + weights, mask=used, other=0.0)
            following = tl.maximum(r - 1, 0)
            f_next, x_next, d_next = _variable(row, value, order, following, b, is_row, n)
            tl.atomic_add(d_weight + weights, x[:, None] * d_pre, mask=used)
            pre -= x[:, None] * added
            h = activated(pre, ACTIVATION)
            upstream = tl.zeros((ROWS, UNITS), dtype=weight.dtype.element_ty)
            for p in range(n_params):
                g = tl.load(gradient + (d * n_params + p) * n + b, mask=is_row, other=0.0)
                outgoing = (d * n_params + p) * width + j
                v = tl.load(output_weight + outgoing, mask=is_unit, other=0.0)
                upstream += g[:, None] * v[None, :]
                tl.atomic_add(d_output_weight + outgoing, tl.sum(g[:, None] * h, axis=0), mask=is_unit)
            d_pre += upstream * slope(h, ACTIVATION)
            f, x, d = f_next, x_next, d_next
    tl.store(d_start + b[:, None] * width + j[None, :], d_pre, mask=mask)


class TritonNADE(torch.autograd.Function):
    """`nade_outputs` by the passes on the GPU; no gradient flows to `value`, the data."""

    @staticmethod
    def forward(
        ctx: Any,
        row: Tensor,
        value: Tensor,
        order: Tensor,
        weight: Tensor,
        start: Tensor,
        output_weight: Tensor,
        activation: str,
    ) -> Tensor:
        """Return the outputs (n, D, P)."""
        (n, n_variables), (_, n_params, width) = row.shape, output_weight.shape
        code = VECTOR_ACTIVATIONS[activation]
        spacing = -(-n_variables // _N_SEGMENTS)
        n_segments = -(-n_variables // spacing)
        row, value = row.T[order].contiguous(), value.T[order].contiguous()
        # Nothing sees the last variable, whatever its value.
        value[-1] = 0
        weight, start, output_weight = weight.contiguous(), start.contiguous(), output_weight.contiguous()
        n_parts, n_blocks = _shares(n, width)
        saved = weight.new_empty(n_segments, n, width)
        sums = weight.new_zeros(n_parts, n_variables, n_params, n)
        with torch.cuda.device_of(weight):
            _forward[(-(-n // _ROWS), n_parts)](
                row, value, order, weight, output_weight, start, saved, sums,
                n, n_variables, width, n_params, spacing, n_segments, n_blocks,
                ACTIVATION=code, ROWS=_ROWS, UNITS=_UNITS, num_warps=_ROWS,
            )  # fmt: skip
        ctx.save_for_backward(row, value, order, weight, output_weight, saved)
        ctx.sizes = (n, n_variables, width, n_params, spacing, n_segments)
        ctx.code = code
        return sums.sum(0).permute(2, 0, 1).contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        """Return the gradients of weight, start and output_weight."""
        row, value, order, weight, output_weight, saved = ctx.saved_tensors
        n, _, width, *_ = ctx.sizes
        gradient = gradients[0].permute(1, 2, 0).contiguous()
        d_weight, d_output_weight = torch.zeros_like(weight), torch.zeros_like(output_weight)
        d_start = weight.new_empty(n, width)
        with torch.cuda.device_of(weight):
            _backward[(-(-n // _ROWS), -(-width // _UNITS))](
                row, value, order, weight, output_weight, saved, gradient,
                d_weight, d_start, d_output_weight, *ctx.sizes,
                ACTIVATION=ctx.code, ROWS=_ROWS, UNITS=_UNITS, num_warps=_ROWS,
            )  # fmt: skip
        return None, None, None, d_weight, d_start, d_output_weight, None


def _shares(n: int, width: int) -> tuple[int, int]:
    """Return into how many parts to cut the hidden units, and how many blocks of them make a part."""
    n_blocks = -(-width // _UNITS)
    n_parts = max(1, min(n_blocks, _N_PROGRAMS * _ROWS // max(n, 1)))
    per_part = -(-n_blocks // n_parts)
    return -(-n_blocks // per_part), per_part
