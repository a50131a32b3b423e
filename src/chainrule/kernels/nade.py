"""The hot loop of NADE: all conditionals of a batch under one order."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

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
    starts: tuple[int, ...],
    activation: str,
) -> Tensor:
    """Return NADE's outputs by the fastest way there is; see `nade_outputs_reference`.

    Here variables may have any numbers of outputs: those of variable d are ``starts[d]`` to ``starts[d + 1]``
    of n_outputs; output_weight is (n_outputs, H), what comes back (n, n_outputs). The compiled passes need a
    common activation and data that no gradient is wanted for.
    """
    inputs = (row, value, order, weight, start)
    is_by_kernel = not value.requires_grad and is_compiled(activation, weight.device)
    if is_by_kernel and not weight.is_cuda:
        from chainrule.kernels.nade_cpu import CompiledNADE

        outputs: Tensor = CompiledNADE.apply(*inputs, output_weight, starts, activation)
        return outputs
    places, used = _padding(starts, weight.device)
    padded = torch.cat([output_weight, output_weight.new_zeros(1, output_weight.shape[1])])[places]
    if is_by_kernel:
        from chainrule.kernels.nade_triton import TritonNADE

        by_variable: Tensor = TritonNADE.apply(*inputs, padded, activation)
    else:
        by_variable = nade_outputs_reference(*inputs, padded, ACTIVATIONS[activation])
    return by_variable.flatten(1)[:, used]


@lru_cache(maxsize=64)
def _padding(starts: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return where the P outputs of each variable stand, (D, P), and which of them there are.

    P is the largest number of outputs; places of those that a variable lacks point behind the end.
    """
    first, width = torch.tensor(starts[:-1])[:, None], torch.tensor(starts).diff()[:, None]
    column = torch.arange(int(width.max()))
    is_used = column < width
    places = torch.where(is_used, first + column, starts[-1])
    return places.to(device), is_used.flatten().nonzero().squeeze(1).to(device)
