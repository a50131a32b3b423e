"""NADE on the CPU: compiled walks over the positions, forward and in reverse.

Hidden units meet only in the sums that make the outputs. They are cut into ranges so narrow that the states
of a whole batch stay in the cache while all positions pass by, and threads share out the ranges. The
reverse walk restores each hidden state from the one after it, a_r = a_{r+1} - v W; a fixed number of saved
states keeps rounding from drifting. Memory is O(n H), not O(n D H).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from chainrule.kernels.threads import run_ranges

__all__ = ["COMPILED_ACTIVATIONS", "CompiledNADE"]

COMPILED_ACTIVATIONS = {"relu": 0, "sigmoid": 1, "tanh": 2}
_N_SAVED = 8
_RANGE = 64

# Sums may be reordered, which is what turns them into vector instructions; NaN and infinity keep their meaning.
_COMPILE: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "fastmath": {"reassoc", "contract", "nsz", "arcp"},
    "error_model": "numpy",
}


@njit(**_COMPILE)
def _halved_angle_tanh(z, scale, b, h):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Write tanh(scale * z[b]) into h: a Pade approximant at a quarter, its angle doubled twice.

    Single precision only, within 1.3e-7; unlike a library's tanh it becomes vector instructions.
    """
    for j in range(h.shape[0]):
        x = min(max(z[b, j] * (np.float32(0.25) * scale), np.float32(-2.3)), np.float32(2.3))
        s = x * x
        p = x * (np.float32(135135) + s * (np.float32(17325) + s * (np.float32(378) + s)))
        q = np.float32(135135) + s * (np.float32(62370) + s * (np.float32(3150) + s * np.float32(28)))
        sine, cosine = np.float32(2) * p * q, q * q + p * p
        h[j] = np.float32(2) * sine * cosine / (cosine * cosine + sine * sine)


@njit(**_COMPILE)
def _activate(z, b, activation, h):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Write the activations of row b of z into h. Codes from 3 on are the single-precision forms."""
    if activation == 0:
        for j in range(h.shape[0]):
            h[j] = max(z[b, j], 0 * h[j])
    elif activation == 1:
        for j in range(h.shape[0]):
            h[j] = 1 / (1 + np.exp(-z[b, j]))
    elif activation == 2:
        for j in range(h.shape[0]):
            h[j] = np.tanh(z[b, j])
    elif activation == 3:
        _halved_angle_tanh(z, np.float32(0.5), b, h)
        for j in range(h.shape[0]):
            h[j] = np.float32(0.5) * h[j] + np.float32(0.5)
    else:
        _halved_angle_tanh(z, np.float32(1), b, h)


@njit(**_COMPILE)
def _add_local_gradient(h, activation, upstream, total, b):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Add ``upstream * act'(z)`` to row b of total, the derivative being written in terms of h = act(z)."""
    if activation == 0:
        for j in range(h.shape[0]):
            total[b, j] += upstream[j] if h[j] > 0 else 0 * upstream[j]
    elif activation == 1 or activation == 3:
        for j in range(h.shape[0]):
            total[b, j] += upstream[j] * (h[j] - h[j] * h[j])
    else:
        for j in range(h.shape[0]):
            total[b, j] += upstream[j] * (1 - h[j] * h[j])


# Whole arrays and an offset are passed, never slices: a slice's stride is unknown when compiling, and
# unknown strides rule vector instructions out.


@njit(**_COMPILE)
def _forward(  # type: ignore[no-untyped-def]  # pragma: no cover
    row, value, order, weight, output_weight, first, activation, spacing, pre, saved, outputs
):
    """Walk forward over the hidden units from `first` on, adding their part to outputs (D, n, P).

    `pre` (n, width) holds the first states and ends as the last ones; `saved` receives the states at every
    `spacing`-th position.
    """
    n_positions, n = row.shape
    width = pre.shape[1]
    h = np.zeros(width, pre.dtype)
    for r in range(n_positions):
        d = order[r]
        if r % spacing == 0:
            for b in range(n):
                for j in range(width):
                    saved[r // spacing, b, j] = pre[b, j]
        for b in range(n):
            _activate(pre, b, activation, h)
            for p in range(output_weight.shape[1]):
                total = 0 * h[0]
                for j in range(width):
                    total += output_weight[d, p, first + j] * h[j]
                outputs[r, b, p] += total
            factor = value[r, b]
            if factor != 0:
                w = row[r, b]
                for j in range(width):
                    pre[b, j] += factor * weight[w, first + j]


@njit(**_COMPILE)
def _backward(  # type: ignore[no-untyped-def]  # pragma: no cover
    row, value, order, weight, output_weight, first, activation, spacing, pre, saved, gradient,
    d_weight, d_start, d_output_weight,
):  # fmt: skip
    """Walk in reverse over the hidden units from `first` on.

    `pre` starts as the last states; `gradient` (D, n, P) is that of the outputs. The three last arguments
    receive the gradients of weight, of the first states and of output_weight.
    """
    n_positions, n = row.shape
    width = pre.shape[1]
    h = np.zeros(width, pre.dtype)
    upstream = np.zeros(width, pre.dtype)
    d_pre = np.zeros((n, width), pre.dtype)
    for r in range(n_positions - 1, -1, -1):
        d = order[r]
        for b in range(n):
            factor = value[r, b]
            if factor != 0:
                w = row[r, b]
                for j in range(width):
                    d_weight[w, first + j] += factor * d_pre[b, j]
                    pre[b, j] -= factor * weight[w, first + j]
            if r % spacing == 0:
                for j in range(width):
                    pre[b, j] = saved[r // spacing, b, j]
            _activate(pre, b, activation, h)
            for j in range(width):
                upstream[j] = 0
            for p in range(output_weight.shape[1]):
                g = gradient[r, b, p]
                for j in range(width):
                    upstream[j] += g * output_weight[d, p, first + j]
                    d_output_weight[d, p, first + j] += g * h[j]
            _add_local_gradient(h, activation, upstream, d_pre, b)
    for b in range(n):
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
        by_position = (_array(row[:, order].T), _array(value[:, order].T), _array(order))
        w, v = _array(weight), _array(output_weight)
        firsts = range(0, w.shape[1], _RANGE)
        pre = [_array(start[:, first : first + _RANGE].contiguous()).copy() for first in firsts]
        saved = [np.empty((-(-n_variables // spacing), *part.shape), part.dtype) for part in pre]
        sums = [np.zeros((n_variables, n, v.shape[1]), w.dtype) for _ in range(_n_sums(len(firsts)))]

        def walk(low: int, high: int) -> None:
            outputs = sums[low * len(sums) // len(firsts)]
            for k in range(low, high):
                _forward(*by_position, w, v, firsts[k], code, spacing, pre[k], saved[k], outputs)

        run_ranges(walk, len(firsts), -(-len(firsts) // len(sums)))
        ctx.walked = (by_position, w, v, code, spacing, firsts, pre, saved)
        summed = torch.from_numpy(sum(sums[1:], sums[0]))
        return torch.empty(n, n_variables, v.shape[1], dtype=weight.dtype).index_copy_(
            1, order, summed.transpose(0, 1)
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        """Return the gradients of weight, start and output_weight."""
        by_position, w, v, code, spacing, firsts, pre, saved = ctx.walked
        order = torch.from_numpy(by_position[2])
        gradient = _array(gradients[0].transpose(0, 1)[order])
        d_w, d_v = np.zeros_like(w), np.zeros_like(v)
        d_start = np.zeros((by_position[0].shape[1], w.shape[1]), w.dtype)

        def walk(low: int, high: int) -> None:
            for k in range(low, high):
                last = pre[k].copy()
                _backward(
                    *by_position, w, v, firsts[k], code, spacing, last, saved[k], gradient, d_w, d_start, d_v
                )

        run_ranges(walk, len(firsts), 1)
        return None, None, None, *(torch.from_numpy(d) for d in (d_w, d_start, d_v)), None


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _n_sums(n_ranges: int) -> int:
    """Return how many partial sums of the outputs to keep: one per thread."""
    return max(1, min(torch.get_num_threads(), n_ranges))
