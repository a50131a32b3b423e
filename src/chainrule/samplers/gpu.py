"""Compiled sampling on a GPU: the model's plans, and the kernel that carries them out in one launch."""

from __future__ import annotations

from torch import Tensor

from chainrule.conditionals import Conditionals
from chainrule.conditioners import CompiledConditioner
from chainrule.kernels import sampling_triton
from chainrule.samplers.plans import row_plan

__all__ = ["sample"]


def sample(
    conditioner: CompiledConditioner,
    conditionals: Conditionals,
    member: int,
    uniforms: Tensor,
    context: Tensor | None = None,
) -> Tensor:
    """Return rows (n, D) of a member; see `draw_rows`."""
    row = row_plan(conditioner, conditionals, member)
    draws = conditionals.uniforms_and_quantiles(uniforms)
    return sampling_triton.sample(conditioner.gpu_plan(member, context), row, *draws)
