"""The hot loop of NADE: all conditionals of a batch under one order."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from chainrule.kernels.activations import ACTIVATIONS
from chainrule.kernels.backends import runs_compiled
from chainrule.kernels.plans import VECTOR_ACTIVATIONS

__all__ = ["is_compiled", "nade_outputs", "nade_outputs_reference"]


def nade_outputs_reference(
    row: Tensor,
    value: Tensor,
    order: Tensor,
    weight: Tensor,
    start: Tensor,
    output_weight: Tensor,
    activate: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return NADE's outputs by materialising every hidden state, memory O(n D H).

    Parameters
    ----------
    row, value : Tensor, (n, D)
        Variable d adds ``value[:, d] * weight[row[:, d]]`` to the pre-activations.
    order : Tensor, (D,)
    weight : Tensor, (F, H)
    start : Tensor, (n, H)
        Pre-activations before any variable is known.
    output_weight : Tensor, (D, P, H)
    activate : callable

    Returns
    -------
    Tensor, (n, D, P)
        ``output_weight[d] @ h`` for each variable d, h being the hidden state before it.
    """
    contribution = value[:, order, None] * weight[row[:, order]]
    before = torch.cat([start[:, None], contribution[:, :-1]], dim=1).cumsum(1)
    by_position = torch.einsum("nrh,rph->nrp", activate(before), output_weight[order])
    return torch.zeros_like(by_position).index_copy(1, order, by_position)


def is_compiled(activation: str, device: torch.device) -> bool:
    """Return whether a compiled pass, on the CPU or on a GPU, serves this activation on this device."""
    return activation in VECTOR_ACTIVATIONS and runs_compiled(device)


def nade_outputs(
    row: Tensor,
    value: Tensor,
    order: Tensor,
    weight: Tensor,
    start: Tensor,
    output_weight: Tensor,
    activation: str,
) -> Tensor:
    """Return NADE's outputs by the fastest way there is; see `nade_outputs_reference`.

    The compiled passes need a common activation and data that no gradient is wanted for.
    """
    arguments = (row, value, order, weight, start, output_weight)
    if value.requires_grad or not is_compiled(activation, weight.device):
        return nade_outputs_reference(*arguments, ACTIVATIONS[activation])
    if weight.is_cuda:
        from chainrule.kernels.nade_triton import TritonNADE

        return TritonNADE.apply(*arguments, activation)
    from chainrule.kernels.nade_cpu import CompiledNADE

    return CompiledNADE.apply(*arguments, activation)
