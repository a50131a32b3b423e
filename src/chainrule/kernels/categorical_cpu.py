"""Log softmax of variables of any numbers of levels on the CPU, and its gradient.

The lanes of a vector are rows, so that any number of levels fills them, and sums need no reduction::

    logits, share  (n_outputs, n)  variable 0: K_0 levels, each n numbers | variable 1: ..
"""

from __future__ import annotations

from collections.abc import Sequence
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
from chainrule.kernels.vectors import exp, load, maximum, splat, store

__all__ = ["CompiledCategorical"]

Array: TypeAlias = "np.ndarray[Any, Any]"


@njit(**COMPILE)
def _forward(  # pragma: no cover
    code: Array,
    logits: Array,
    first: Array,
    width: Array,
    share: Array,
    total: Array,
    chosen: Array,
    low: int,
    high: int,
) -> None:
    """Fill in, for some variables, exp(logit - highest), their sum, and the code's logit - highest."""
    n = logits.shape[1]
    for g in range(low, high):
        for i in range(0, n, LANES):
            highest = load(logits, first[g] * n + i)
            for k in range(1, width[g]):
                highest = maximum(load(logits, (first[g] + k) * n + i), highest)
            sums = splat(0.0, highest)
            for k in range(width[g]):
                at = (first[g] + k) * n + i
                each = exp(load(logits, at) - highest)
                store(share, at, each)
                sums = sums + each
            store(total, g * n + i, sums)
            store(chosen, g * n + i, highest)
        for i in range(n):
            chosen[g, i] = logits[first[g] + code[g, i], i] - chosen[g, i]


@njit(**COMPILE)
def _backward(  # pragma: no cover
    code: Array,
    upstream: Array,
    first: Array,
    width: Array,
    share: Array,
    total: Array,
    gradient: Array,
    low: int,
    high: int,
) -> None:
    """Fill in the gradient of the logits: upstream times (is the code) - (share of the sum)."""
    n = share.shape[1]
    for g in range(low, high):
        for i in range(0, n, LANES):
            factor = (0.0 - load(upstream, g * n + i)) / load(total, g * n + i)
            for k in range(width[g]):
                at = (first[g] + k) * n + i
                store(gradient, at, factor * load(share, at))
        for i in range(n):
            gradient[first[g] + code[g, i], i] += upstream[g, i]


class CompiledCategorical(torch.autograd.Function):
    """`categorical_log_prob_reference` by the compiled kernels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, outputs: Tensor, first: Sequence[int], width: Sequence[int]) -> Tensor:
        """Return log p of categories, (n, G)."""
        n = len(x)
        logits, codes = _by_column(outputs), _by_column(x).astype(np.int32)
        starts, widths = np.asarray(first), np.asarray(width)
        share = np.empty_like(logits)
        total, chosen = (np.empty((len(starts), logits.shape[1]), logits.dtype) for _ in range(2))

        def pass_over(low: int, high: int) -> None:
            _forward(codes, logits, starts, widths, share, total, chosen, low, high)

        run_ranges(pass_over, len(starts), range_step(len(starts), share.size))
        ctx.inputs = codes, starts, widths, share, total, n
        return (torch.from_numpy(chosen) - torch.from_numpy(total).log()).T[:n]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        """Return the gradient of the outputs."""
        codes, starts, widths, share, total, n = ctx.inputs
        upstream = _by_column(gradients[0])
        covers_all = int(widths.sum()) == len(share)
        gradient = np.empty_like(share) if covers_all else np.zeros_like(share)

        def pass_over(low: int, high: int) -> None:
            _backward(codes, upstream, starts, widths, share, total, gradient, low, high)

        run_ranges(pass_over, len(starts), range_step(len(starts), share.size))
        return None, torch.from_numpy(gradient).T[:n], None, None


def _by_column(tensor: Tensor) -> Array:
    """Return (n, m) as (m, n filled up to whole vectors with zeros)."""
    turned = tensor.detach().T
    padding = -turned.shape[1] % LANES
    return (F.pad(turned, (0, padding)) if padding else turned).contiguous().numpy()
