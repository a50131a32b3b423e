"""NADE on the CPU: compiled walks over the positions, forward and in reverse.

Hidden units meet only in the sums that make the outputs. They are cut into ranges so narrow that the states
of a whole batch stay in the cache while all positions pass by, and threads share out the ranges. The
reverse walk restores each hidden state from the one after it, a_r = a_{r+1} - v W; a fixed number of saved
states keeps rounding from drifting. Memory is O(n H), not O(n D H).

A variable whose feature is 0 leaves the state as it is. Activations, and the products with their
derivatives, are therefore computed once per run of zeros, not once per position.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from numba import njit
from torch import Tensor

from chainrule.kernels.threads import run_ranges

__all__ = ["COMPILED_ACTIVATIONS", "CompiledNADE"]

COMPILED_ACTIVATIONS = {"relu": 0, "sigmoid": 1, "tanh": 2}
Array: TypeAlias = "np.ndarray[Any, Any]"
# Rows that one pass over a weight serves; the loops below are written out for four.
_ROWS = 4
_N_SAVED = 8
_RANGE = 128

# Sums may be reordered, which is what makes vector instructions of them; NaN and infinity keep their sense.
_COMPILE: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "fastmath": {"reassoc", "contract", "nsz", "arcp"},
    "error_model": "numpy",
}


# Whole arrays and an offset are passed, never slices: a slice's stride is unknown when compiling, and
# unknown strides rule vector instructions out.


@njit(**_COMPILE)
def _tanh(z: Array, scale: Any, b: int, h: Array) -> None:  # pragma: no cover
    """Write tanh(scale * z[b]) into h[b]: a Pade approximant at a quarter, its angle doubled twice.

    Single precision only, within 1.3e-7; unlike a library's tanh it becomes vector instructions.
    """
    for j in range(h.shape[1]):
        x = min(max(z[b, j] * (np.float32(0.25) * scale), np.float32(-2.3)), np.float32(2.3))
        s = x * x
        p = x * (np.float32(135135) + s * (np.float32(17325) + s * (np.float32(378) + s)))
        q = np.float32(135135) + s * (np.float32(62370) + s * (np.float32(3150) + s * np.float32(28)))
        sine, cosine = np.float32(2) * p * q, q * q + p * p
        h[b, j] = np.float32(2) * sine * cosine / (cosine * cosine + sine * sine)


@njit(**_COMPILE)
def _activate(z: Array, b: int, activation: int, h: Array) -> None:  # pragma: no cover
    """Write the activations of z[b] into h[b]. Codes from 3 on are the single-precision forms."""
    if activation == 0:
        for j in range(h.shape[1]):
            h[b, j] = max(z[b, j], z.dtype.type(0))
    elif activation == 1:
        for j in range(h.shape[1]):
            h[b, j] = 1 / (1 + np.exp(-z[b, j]))
    elif activation == 2:
        for j in range(h.shape[1]):
            h[b, j] = np.tanh(z[b, j])
    elif activation == 3:
        _tanh(z, np.float32(0.5), b, h)
        for j in range(h.shape[1]):
            h[b, j] = np.float32(0.5) * h[b, j] + np.float32(0.5)
    else:
        _tanh(z, np.float32(1), b, h)


@njit(**_COMPILE)
def _pass_through(
    h: Array, b: int, activation: int, upstream: Array, total: Array
) -> None:  # pragma: no cover
    """Add ``upstream[b] * act'(z[b])`` to total[b] and clear upstream[b]; act' is written in h = act(z)."""
    if activation == 0:
        for j in range(h.shape[1]):
            total[b, j] += upstream[b, j] if h[b, j] > 0 else h.dtype.type(0)
    elif activation == 1 or activation == 3:
        for j in range(h.shape[1]):
            total[b, j] += upstream[b, j] * (h[b, j] - h[b, j] * h[b, j])
    else:
        for j in range(h.shape[1]):
            total[b, j] += upstream[b, j] * (1 - h[b, j] * h[b, j])
    for j in range(h.shape[1]):
        upstream[b, j] = 0


@njit(**_COMPILE)
def _forward(  # pragma: no cover
    row: Array,
    value: Array,
    order: Array,
    weight: Array,
    output_weight: Array,
    first: int,
    activation: int,
    spacing: int,
    pre: Array,
    saved: Array,
    outputs: Array,
) -> None:
    """Walk forward over the hidden units from `first` on, adding their part to outputs (D, n, P).

    `pre` (n, width) holds the first states and ends as the last ones; `saved` receives the states at every
    `spacing`-th position.
    """
    n_positions, n = row.shape
    width = pre.shape[1]
    h = np.empty_like(pre)
    for b in range(n):
        _activate(pre, b, activation, h)
    for r in range(n_positions):
        d = order[r]
        if r % spacing == 0:
            for b in range(n):
                for j in range(width):
                    saved[r // spacing, b, j] = pre[b, j]
        for p in range(output_weight.shape[1]):
            for b in range(0, n, _ROWS):
                t0 = t1 = t2 = t3 = pre.dtype.type(0)
                for j in range(width):
                    v = output_weight[d, p, first + j]
                    t0 += v * h[b, j]
                    t1 += v * h[b + 1, j]
                    t2 += v * h[b + 2, j]
                    t3 += v * h[b + 3, j]
                outputs[r, b, p] += t0
                outputs[r, b + 1, p] += t1
                outputs[r, b + 2, p] += t2
                outputs[r, b + 3, p] += t3
        for b in range(n):
            factor = value[r, b]
            if factor != 0 and r < n_positions - 1:
                w = row[r, b]
                for j in range(width):
                    pre[b, j] += factor * weight[w, first + j]
                _activate(pre, b, activation, h)


@njit(**_COMPILE)
def _backward(  # pragma: no cover
    row: Array,
    value: Array,
    order: Array,
    weight: Array,
    output_weight: Array,
    first: int,
    activation: int,
    spacing: int,
    pre: Array,
    saved: Array,
    gradient: Array,
    d_weight: Array,
    d_start: Array,
    d_output_weight: Array,
) -> None:
    """Walk in reverse over the hidden units from `first` on.

    `pre` starts as the last states; `gradient` (D, n, P) is that of the outputs. The three last arguments
    receive the gradients of weight, of the first states and of output_weight.
    """
    n_positions, n = row.shape
    width = pre.shape[1]
    h = np.empty_like(pre)
    upstream, d_pre = np.zeros_like(pre), np.zeros_like(pre)
    for b in range(n):
        _activate(pre, b, activation, h)
    for r in range(n_positions - 1, -1, -1):
        d = order[r]
        for b in range(n):
            factor = value[r, b]
            if factor != 0 and r < n_positions - 1:
                _pass_through(h, b, activation, upstream, d_pre)
                w = row[r, b]
                for j in range(width):
                    d_weight[w, first + j] += factor * d_pre[b, j]
                    pre[b, j] -= factor * weight[w, first + j]
                _activate(pre, b, activation, h)
            if r % spacing == 0:
                for j in range(width):
                    pre[b, j] = saved[r // spacing, b, j]
        for p in range(output_weight.shape[1]):
            for b in range(0, n, _ROWS):
                g0, g1, g2, g3 = (
                    gradient[r, b, p],
                    gradient[r, b + 1, p],
                    gradient[r, b + 2, p],
                    gradient[r, b + 3, p],
                )
                for j in range(width):
                    v = output_weight[d, p, first + j]
                    upstream[b, j] += g0 * v
                    upstream[b + 1, j] += g1 * v
                    upstream[b + 2, j] += g2 * v
                    upstream[b + 3, j] += g3 * v
                    d_output_weight[d, p, first + j] += (
                        g0 * h[b, j] + g1 * h[b + 1, j] + g2 * h[b + 2, j] + g3 * h[b + 3, j]
                    )
    for b in range(n):
        _pass_through(h, b, activation, upstream, d_pre)
        for j in range(width):
            d_start[b, first + j] = d_pre[b, j]


class CompiledNADE(torch.autograd.Function):
    """`nade_outputs` by the compiled walks; no gradient flows to `value`, the data."""

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
        n, n_variables = row.shape
        code = COMPILED_ACTIVATIONS[activation]
        if code and weight.dtype == torch.float32:
            code += 2
        spacing = -(-n_variables // _N_SAVED)
        walked = (_by_position(row, order), _by_position(value, order), _array(order))
        w, v = _array(weight), _array(output_weight)
        firsts = range(0, w.shape[1], _RANGE)
        pre = [_pad_rows(start[:, first : first + _RANGE]) for first in firsts]
        saved = [np.empty((-(-n_variables // spacing), *part.shape), part.dtype) for part in pre]
        sums = [
            np.zeros((n_variables, len(pre[0]), v.shape[1]), w.dtype) for _ in range(_n_sums(len(firsts)))
        ]

        def walk(low: int, high: int) -> None:
            outputs = sums[low * len(sums) // len(firsts)]
            for k in range(low, high):
                _forward(*walked, w, v, firsts[k], code, spacing, pre[k], saved[k], outputs)

        run_ranges(walk, len(firsts), -(-len(firsts) // len(sums)))
        ctx.walked = (n, walked, w, v, code, spacing, firsts, pre, saved)
        summed = torch.from_numpy(sum(sums[1:], sums[0]))
        return torch.empty(n, n_variables, v.shape[1], dtype=weight.dtype).index_copy_(
            1, order, summed[:, :n].transpose(0, 1)
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        """Return the gradients of weight, start and output_weight."""
        n, walked, w, v, code, spacing, firsts, pre, saved = ctx.walked
        gradient = _by_position(gradients[0], torch.from_numpy(walked[2]))
        d_w, d_v = np.zeros_like(w), np.zeros_like(v)
        d_start = np.zeros((len(pre[0]), w.shape[1]), w.dtype)

        def walk(low: int, high: int) -> None:
            for k in range(low, high):
                last = pre[k].copy()
                _backward(
                    *walked, w, v, firsts[k], code, spacing, last, saved[k], gradient, d_w, d_start, d_v
                )

        run_ranges(walk, len(firsts), 1)
        return None, None, None, *(torch.from_numpy(d) for d in (d_w, d_start[:n], d_v)), None


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _pad_rows(tensor: Tensor) -> np.ndarray:
    """Return a copy with rows of zeros appended to a multiple of `_ROWS`."""
    return _array(torch.nn.functional.pad(tensor, (0, 0, 0, -len(tensor) % _ROWS))).copy()


def _by_position(tensor: Tensor, order: Tensor) -> np.ndarray:
    """Return (n, D, ...) as (D, n padded, ...), the variables in their order."""
    rows = torch.nn.functional.pad(tensor.flatten(1), (0, 0, 0, -len(tensor) % _ROWS))
    return _array(rows.unflatten(1, tensor.shape[1:]).transpose(0, 1)[order])


def _n_sums(n_ranges: int) -> int:
    """Return how many partial sums of the outputs to keep: one per thread."""
    return max(1, min(torch.get_num_threads(), n_ranges))
