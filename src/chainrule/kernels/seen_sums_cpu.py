"""First-layer sums of column networks on the CPU: compiled, forward and in reverse.

A target's weights are read for all rows before those of the next one, so that they stay in the cache; a sum
stays in registers while the variables that it sees pass by. Threads share out the targets, which have no
weight in common. Nothing is multiplied that a target does not see.

Memory, with 32 hidden units in a vector::

    row, value, flag  (n, D)   row i: what the variables add, in the order of that row
    n_seen    (n, T)           how far target t reads in it
    weight    (T, F, H)        target 0: F rows of H / 32 vectors | target 1: ..
    sums      (T, n, H)        target 0: n rows of H / 32 vectors | target 1: ..
"""

from __future__ import annotations

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
from chainrule.kernels.vectors import load, store

__all__ = ["CompiledSeenSums"]

Array: TypeAlias = "np.ndarray[Any, Any]"


@njit(**COMPILE)
def _forward(  # pragma: no cover
    row: Array, value: Array, flag: Array, n_seen: Array, weight: Array, sums: Array, low: int, high: int
) -> None:
    """Add to the sums (T, n, H) of targets `low` to `high` what each of them sees."""
    n_rows, width, n_features = sums.shape[1], sums.shape[2], weight.shape[1]
    for t in range(low, high):
        for i in range(n_rows):
            for strip in range(0, width, LANES):
                at = (t * n_rows + i) * width + strip
                total = load(sums, at)
                first = t * n_features * width + strip
                for r in range(n_seen[i, t]):
                    total = total + value[i, r] * load(weight, first + row[i, r] * width)
                    if flag[i, r] >= 0:
                        total = total + load(weight, first + flag[i, r] * width)
                store(sums, at, total)


@njit(**COMPILE)
def _backward(  # pragma: no cover
    row: Array,
    value: Array,
    flag: Array,
    n_seen: Array,
    gradient: Array,
    d_weight: Array,
    low: int,
    high: int,
) -> None:
    """Add the gradient (T, n, H) of the sums to that of each weight they were made from."""
    n_rows, width, n_features = gradient.shape[1], gradient.shape[2], d_weight.shape[1]
    for t in range(low, high):
        for i in range(n_rows):
            for strip in range(0, width, LANES):
                upstream = load(gradient, (t * n_rows + i) * width + strip)
                first = t * n_features * width + strip
                for r in range(n_seen[i, t]):
                    w = first + row[i, r] * width
                    store(d_weight, w, load(d_weight, w) + value[i, r] * upstream)
                    if flag[i, r] >= 0:
                        w = first + flag[i, r] * width
                        store(d_weight, w, load(d_weight, w) + upstream)


class CompiledSeenSums(torch.autograd.Function):
    """`seen_sums_reference` by the compiled kernels; no gradient flows to `value`, the data."""

    @staticmethod
    def forward(
        ctx: Any, row: Tensor, value: Tensor, flag: Tensor, n_seen: Tensor, weight: Tensor, start: Tensor
    ) -> Tensor:
        """Return the sums, (T, n, H)."""
        width = weight.shape[2]
        inputs = (_array(row), _array(value), _array(flag), _array(n_seen))
        w = _whole_vectors(weight)
        sums = F.pad(start.detach(), (0, -width % LANES)).expand(-1, len(row), -1).contiguous()
        sums = sums.clone() if sums.data_ptr() == start.data_ptr() else sums

        def pass_over(low: int, high: int) -> None:
            _forward(*inputs, w, sums.numpy(), low, high)

        run_ranges(pass_over, len(w), range_step(len(w), sums.numel()))
        ctx.inputs = inputs
        ctx.shapes = weight.shape, start.shape
        return sums[..., :width]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        """Return the gradients of weight and start."""
        shape, start_shape = ctx.shapes
        gradient = _whole_vectors(gradients[0])
        d_weight = np.zeros((shape[0], shape[1], gradient.shape[2]), gradient.dtype)

        def pass_over(low: int, high: int) -> None:
            _backward(*ctx.inputs, gradient, d_weight, low, high)

        run_ranges(pass_over, shape[0], range_step(shape[0], gradient.size))
        d_start = gradients[0] if start_shape[1] == len(ctx.inputs[0]) else gradients[0].sum(1, keepdim=True)
        return None, None, None, None, torch.from_numpy(d_weight)[..., : shape[2]], d_start


def _array(tensor: Tensor) -> Array:
    return tensor.detach().contiguous().numpy()


def _whole_vectors(tensor: Tensor) -> Array:
    """Return an array (T, ., H) with zeros appended until the last dimension consists of whole vectors."""
    padding = -tensor.shape[-1] % LANES
    return _array(F.pad(tensor.detach(), (0, padding)) if padding else tensor)
