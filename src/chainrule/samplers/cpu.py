"""Compiled sampling on the CPU: the model's plans, and the kernel that carries them out."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.conditionals import Conditionals
from chainrule.conditioners import CompiledConditioner
from chainrule.kernels import sampling_cpu
from chainrule.samplers.plans import row_plan

__all__ = ["sample"]


def sample(
    conditioner: CompiledConditioner,
    conditionals: Conditionals,
    order: int | Tensor,
    uniforms: Tensor,
    context: Tensor | None = None,
    evidence: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Return rows (n, D); see `draw_rows`. The same variables are observed in all rows."""
    draws = conditionals.draws(uniforms)
    if evidence is None:
        row = row_plan(conditioner, conditionals, order)
    else:
        codes, observed = evidence[0], evidence[1][0]
        draws.uniforms[:, observed.numpy()] = codes[:, observed].numpy()
        if not isinstance(order, int):
            order = torch.cat([order[observed[order]], order[~observed[order]]])
        row = row_plan(conditioner, conditionals, order).with_observed(observed.numpy())
    return torch.from_numpy(sampling_cpu.sample(conditioner.cpu_plan(order, context), row, draws))
