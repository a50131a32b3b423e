"""The last layer of column networks: a product for each variable, of as many outputs as it needs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["ColumnProducts", "Run", "column_products_reference", "runs_of"]


class Run(NamedTuple):
    """Variables next to each other with as many outputs each: one batch of products."""

    variables: slice
    outputs: slice
    shape: tuple[int, int]


def runs_of(starts: Sequence[int]) -> list[Run]:
    """Return the runs of variables whose outputs are columns ``starts[d]:starts[d + 1]``.

    >>> [run.shape for run in runs_of([0, 1, 2, 5, 8, 9])]
    [(2, 1), (2, 3), (1, 1)]
    """
    runs = []
    for width, members in groupby(range(len(starts) - 1), lambda d: starts[d + 1] - starts[d]):
        group = list(members)
        first, stop = group[0], group[-1] + 1
        runs.append(Run(slice(first, stop), slice(starts[first], starts[stop]), (len(group), width)))
    return runs


def column_products_reference(h: Tensor, weight: Tensor, bias: Tensor, starts: Sequence[int]) -> Tensor:
    """Return outputs (n, n_outputs), of variable d: ``h[d] @ weight[starts[d]:starts[d + 1]].T + bias``.

    Parameters
    ----------
    h : Tensor (D, n, H)
    weight : Tensor (n_outputs, H)
    bias : Tensor (n_outputs,)
    starts : sequence of int, length D + 1
    """
    ranges = [slice(low, high) for low, high in zip(starts[:-1], starts[1:], strict=True)]
    return torch.cat([h[d] @ weight[each].T + bias[each] for d, each in enumerate(ranges)], dim=1)


class ColumnProducts(torch.autograd.Function):
    """`column_products_reference`, run after run, without copies of what goes in.

    The outputs lie in memory output after output, as the conditionals' kernels take them.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor, runs: list[Run]) -> Tensor:
        """Return the outputs, (n, n_outputs)."""
        outputs = h.new_empty(len(weight), h.shape[1])
        for variables, columns, shape in runs:
            torch.baddbmm(
                bias[columns].view(*shape, 1),
                weight[columns].view(*shape, -1),
                h[variables].transpose(1, 2),
                out=outputs[columns].view(*shape, -1),
            )
        ctx.save_for_backward(h, weight)
        ctx.runs = runs
        return outputs.T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        """Return the gradients of h, weight and bias."""
        h, weight = ctx.saved_tensors
        gradient = gradients[0].T.contiguous()
        d_h, d_weight = torch.empty_like(h), torch.empty_like(weight)
        for variables, columns, shape in ctx.runs:
            upstream, w = gradient[columns].view(*shape, -1), weight[columns].view(*shape, -1)
            torch.bmm(upstream, h[variables], out=d_weight[columns].view_as(w))
            if shape[1] == 1:
                torch.mul(upstream.transpose(1, 2), w, out=d_h[variables])
            else:
                torch.bmm(upstream.transpose(1, 2), w, out=d_h[variables])
        return d_h, d_weight, gradient.sum(1), None
