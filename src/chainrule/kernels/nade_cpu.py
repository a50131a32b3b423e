"""NADE on the CPU: compiled passes over the positions, forward and in reverse.

Hidden units meet only in the sums that make the outputs. They are cut into strips as wide as a vector; the
states of four rows on one strip stay in registers while all positions pass by, and threads share out the
strips. The reverse pass restores each hidden state from the one after it, a_r = a_{r+1} - v W; a fixed number
of saved states keeps rounding from drifting. Memory is O(n H), not O(n D H).

A variable whose feature is 0 leaves the state as it is. Activations, and the products with their
derivatives, are therefore computed once per run of zeros, not once per position.

Memory, with 32 hidden units in a strip; four rows on one strip are in registers while positions pass by::

                      strip 0        strip 1
    pre      (n, H)   row 0 | 32 units | 32 units | ..    states; zeros fill up the last strip and row group
                      row 1 | 32 units | 32 units | ..
    weight   (F, H)   f     | 32 units | 32 units | ..    added to a row's state: its value times one strip
    output   (O, H)  o    | 32 units | 32 units | ..      times the activations: a part of output o
    row, value (n/4, D, 4)   what a variable adds to four rows lies together, and so does all of four rows
    outputs  (n/4, O, 4) or  four sums, each over a strip, are added at once. One copy per thread. The second
             (O, n)          form saves turning them around where they stay in a cache all the same
    saved    (8, n, H)   states at every D/8-th position, from which the reverse pass goes on
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numba import njit
from torch import Tensor

from chainrule.kernels.compiling import COMPILE
from chainrule.kernels.plans import LANES, vector_activation_code, whole_vectors
from chainrule.kernels.threads import run_ranges
from chainrule.kernels.vector_activations import INLINE, activate, advance, pass_through
from chainrule.kernels.vectors import add_totals, load, splat, store

__all__ = ["CompiledNADE"]

Array: TypeAlias = "np.ndarray[Any, Any]"
# Rows that one pass over a weight serves; the passes are written out for four.
_ROWS = 4
_N_SAVED = 8
_FEW_LINES = 512


@njit(**COMPILE)
def _forward(  # pragma: no cover
    row: Array,
    value: Array,
    order: Array,
    starts: Array,
    weight: Array,
    output_weight: Array,
    strip: int,
    activation: int,
    spacing: int,
    strides: tuple[int, int],
    pre: Array,
    saved: Array,
    outputs: Array,
) -> None:
    """Pass forward over one strip of hidden units, which begins at `strip`.

    Its part is added to outputs, which lie as the two `strides` say: those of four rows, and those of an
    output. `pre` (n, H) holds the first states and ends as the last ones;
    `saved` receives the states at every `spacing`-th position.
    """
    n_positions = row.shape[1]
    n, width = pre.shape
    group_stride, output_stride = strides
    for b in range(0, n, _ROWS):
        group, at = b // _ROWS, b * width + strip
        h0 = activate(load(pre, at), activation)
        h1 = activate(load(pre, at + width), activation)
        h2 = activate(load(pre, at + 2 * width), activation)
        h3 = activate(load(pre, at + 3 * width), activation)
        next_saved = 0
        for r in range(n_positions):
            if r == next_saved * spacing:
                for k in range(b, b + _ROWS):
                    store(saved, (next_saved * n + k) * width + strip, load(pre, k * width + strip))
                next_saved += 1
            d = order[r]
            for o in range(starts[d], starts[d + 1]):
                v = load(output_weight, o * width + strip)
                add_totals(outputs, group * group_stride + o * output_stride, v * h0, v * h1, v * h2, v * h3)
            f0, f1, f2, f3 = value[group, d, 0], value[group, d, 1], value[group, d, 2], value[group, d, 3]
            if f0 != 0:
                h0 = advance(pre, at, f0, weight, row[group, d, 0] * width + strip, activation)
            if f1 != 0:
                h1 = advance(pre, at + width, f1, weight, row[group, d, 1] * width + strip, activation)
            if f2 != 0:
                h2 = advance(pre, at + 2 * width, f2, weight, row[group, d, 2] * width + strip, activation)
            if f3 != 0:
                h3 = advance(pre, at + 3 * width, f3, weight, row[group, d, 3] * width + strip, activation)


@njit(**INLINE)
def _retreat(  # pragma: no cover
    pre: Array,
    d_start: Array,
    at: int,
    h: Any,
    upstream: Any,
    factor: Any,
    weight: Array,
    d_weight: Array,
    w: int,
    activation: int,
) -> Any:
    """Take ``factor * weight[w:]`` back and return the activations before it was added.

    What flowed to the state until now joins its gradient in `d_start`, of which weight receives its share.
    """
    d_pre = load(d_start, at) + pass_through(h, upstream, activation)
    store(d_start, at, d_pre)
    store(d_weight, w, load(d_weight, w) + factor * d_pre)
    state = load(pre, at) - factor * load(weight, w)
    store(pre, at, state)
    return activate(state, activation)


@njit(**INLINE)
def _finish(d_start: Array, at: int, h: Any, upstream: Any, activation: int) -> None:  # pragma: no cover
    store(d_start, at, load(d_start, at) + pass_through(h, upstream, activation))


@njit(**COMPILE)
def _backward(  # pragma: no cover
    row: Array,
    value: Array,
    order: Array,
    starts: Array,
    weight: Array,
    output_weight: Array,
    strip: int,
    activation: int,
    spacing: int,
    strides: tuple[int, int],
    pre: Array,
    saved: Array,
    gradient: Array,
    d_weight: Array,
    d_start: Array,
    d_output_weight: Array,
) -> None:
    """Pass in reverse over one strip of hidden units, which begins at `strip`.

    `pre` (n, H) holds the last states; `gradient` is that of the outputs, and lies as they do. The three
    last arguments receive the gradients of weight, of the first states and of output_weight.
    """
    n_positions = row.shape[1]
    n, width = pre.shape
    group_stride, output_stride = strides
    for b in range(0, n, _ROWS):
        group, at = b // _ROWS, b * width + strip
        h0 = activate(load(pre, at), activation)
        h1 = activate(load(pre, at + width), activation)
        h2 = activate(load(pre, at + 2 * width), activation)
        h3 = activate(load(pre, at + 3 * width), activation)
        zero = splat(0.0, h0)
        u0, u1, u2, u3 = zero, zero, zero, zero
        next_saved = (n_positions - 1) // spacing
        for r in range(n_positions - 1, -1, -1):
            d = order[r]
            f0, f1, f2, f3 = value[group, d, 0], value[group, d, 1], value[group, d, 2], value[group, d, 3]
            if f0 != 0:
                w = row[group, d, 0] * width + strip
                h0 = _retreat(pre, d_start, at, h0, u0, f0, weight, d_weight, w, activation)
                u0 = zero
            if f1 != 0:
                w = row[group, d, 1] * width + strip
                h1 = _retreat(pre, d_start, at + width, h1, u1, f1, weight, d_weight, w, activation)
                u1 = zero
            if f2 != 0:
                w = row[group, d, 2] * width + strip
                h2 = _retreat(pre, d_start, at + 2 * width, h2, u2, f2, weight, d_weight, w, activation)
                u2 = zero
            if f3 != 0:
                w = row[group, d, 3] * width + strip
                h3 = _retreat(pre, d_start, at + 3 * width, h3, u3, f3, weight, d_weight, w, activation)
                u3 = zero
            if r == next_saved * spacing:
                for k in range(b, b + _ROWS):
                    store(pre, k * width + strip, load(saved, (next_saved * n + k) * width + strip))
                next_saved -= 1
            for output in range(starts[d], starts[d + 1]):
                o, g = output * width + strip, group * group_stride + output * output_stride
                v = load(output_weight, o)
                g0, g1, g2, g3 = gradient[g], gradient[g + 1], gradient[g + 2], gradient[g + 3]
                u0, u1, u2, u3 = u0 + g0 * v, u1 + g1 * v, u2 + g2 * v, u3 + g3 * v
                d_v = load(d_output_weight, o) + g0 * h0 + g1 * h1 + g2 * h2 + g3 * h3
                store(d_output_weight, o, d_v)
        _finish(d_start, at, h0, u0, activation)
        _finish(d_start, at + width, h1, u1, activation)
        _finish(d_start, at + 2 * width, h2, u2, activation)
        _finish(d_start, at + 3 * width, h3, u3, activation)


class CompiledNADE(torch.autograd.Function):
    """`nade_outputs` by the compiled passes; no gradient flows to `value`, the data."""

    @staticmethod
    def forward(
        ctx: Any,
        row: Tensor,
        value: Tensor,
        order: Tensor,
        weight: Tensor,
        start: Tensor,
        output_weight: Tensor,
        starts: tuple[int, ...],
        activation: str,
    ) -> Tensor:
        """Return the outputs (n, O)."""
        n, n_variables = row.shape
        code = vector_activation_code(activation, weight.dtype)
        spacing = -(-n_variables // _N_SAVED)
        inputs = (_in_groups(row), _in_groups(value), _array(order), np.array(starts))
        # Nothing sees the last variable, whatever its value.
        inputs[1][:, int(order[-1])] = 0
        w, v = whole_vectors(weight), whole_vectors(output_weight)
        pre = _array(F.pad(start, (0, -start.shape[1] % LANES, 0, -n % _ROWS))).copy()
        saved = np.empty((-(-n_variables // spacing), *pre.shape), pre.dtype)
        n_strips = pre.shape[1] // LANES
        is_grouped = _are_many(len(pre), len(v))
        strides = (_ROWS * len(v), _ROWS) if is_grouped else (_ROWS, len(pre))
        sums = np.zeros((_n_sums(n_strips), len(v) * len(pre)), w.dtype)

        def pass_over(low: int, high: int) -> None:
            outputs = sums[low * len(sums) // n_strips]
            for k in range(low, high):
                _forward(*inputs, w, v, k * LANES, code, spacing, strides, pre, saved, outputs)

        run_ranges(pass_over, n_strips, -(-n_strips // len(sums)))
        ctx.inputs = (n, start.shape[1], inputs, w, v, code, spacing, strides, pre, saved)
        summed = torch.from_numpy(sums[0] if len(sums) == 1 else sums.sum(0))
        if is_grouped:
            summed = summed.view(-1, len(v), _ROWS).transpose(0, 1)
        return summed.reshape(len(v), len(pre))[:, :n].T

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        """Return the gradients of weight, start and output_weight."""
        n, hidden_size, inputs, w, v, code, spacing, strides, pre, saved = ctx.inputs
        arranged = _in_groups if _are_many(len(pre), len(v)) else _turned
        gradient = arranged(gradients[0]).reshape(-1)
        d_w, d_v, d_start = np.zeros_like(w), np.zeros_like(v), np.zeros_like(pre)
        pre = pre.copy()

        def pass_over(low: int, high: int) -> None:
            for k in range(low, high):
                _backward(
                    *inputs, w, v, k * LANES, code, spacing, strides, pre, saved, gradient, d_w, d_start, d_v
                )

        run_ranges(pass_over, pre.shape[1] // LANES, 1)
        d_weight, d_first, d_output_weight = (
            torch.from_numpy(d)[..., :hidden_size] for d in (d_w, d_start[:n], d_v)
        )
        return None, None, None, d_weight, d_first, d_output_weight, None, None


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _are_many(n: int, n_outputs: int) -> bool:
    """Return whether the outputs of four rows had better lie together.

    Else as many lines of a cache are touched for them as there are outputs, where rows are many on as many
    pages.
    """
    return n > _FEW_LINES or n_outputs > _FEW_LINES


def _turned(tensor: Tensor) -> np.ndarray:
    """Return a copy of (n, O) as (O, n), zeros in the place of rows that the last group of four lacks."""
    return _array(F.pad(tensor.detach().T, (0, -len(tensor) % _ROWS)))


def _in_groups(tensor: Tensor) -> np.ndarray:
    """Return a copy of (n, D) as (n/4, D, 4), zeros in the place of rows that the last group lacks."""
    whole = F.pad(tensor.detach(), (0, 0, 0, -len(tensor) % _ROWS))
    return (
        whole.unflatten(0, (-1, _ROWS)).transpose(1, 2).clone(memory_format=torch.contiguous_format).numpy()
    )


def _n_sums(n_strips: int) -> int:
    """Return the number of partial sums of the outputs to keep: one per thread."""
    return max(1, min(torch.get_num_threads(), n_strips))
