"""The choice of a sampler: a compiled one where it knows the network and all families, else the reference."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.conditionals import Conditionals
from chainrule.conditioners import CompiledConditioner, Conditioner
from chainrule.samplers import sequential
from chainrule.samplers.restrictions import Restriction

__all__ = ["draw_rows"]


@torch.no_grad()
def draw_rows(
    conditioner: Conditioner,
    conditionals: Conditionals,
    order: int | Tensor,
    uniforms: Tensor,
    context: Tensor | None = None,
    evidence: tuple[Tensor, Tensor] | None = None,
    restriction: Restriction | None = None,
) -> Tensor:
    """Return rows (n, D), a function of the uniforms alone, whichever sampler draws them.

    Parameters
    ----------
    conditioner : Conditioner
    conditionals : Conditionals
    order : int or Tensor (D,)
        A member; of networks of any order, also an order of the caller's.
    uniforms : Tensor (n, D, U)
    context : Tensor (n, C), optional
    evidence : (Tensor (n, D), Tensor bool (n, D)), optional
        Codes, and which of them are observed: those are not drawn. In a fixed order they must lead it.
    restriction : Restriction, optional
        What no row may break; the reference sampler alone knows of it.
    """
    if restriction is not None or not _is_compiled(conditioner, conditionals):
        return sequential.sample(conditioner, conditionals, order, uniforms, context, evidence, restriction)
    assert isinstance(conditioner, CompiledConditioner)
    if uniforms.is_cuda and evidence is None and isinstance(order, int):
        from chainrule.samplers import gpu

        return gpu.sample(conditioner, conditionals, order, uniforms, context)
    if not uniforms.is_cuda and (evidence is None or _is_shared(evidence[1])):
        from chainrule.samplers import cpu

        return cpu.sample(conditioner, conditionals, order, uniforms, context, evidence)
    return sequential.sample(conditioner, conditionals, order, uniforms, context, evidence)


def _is_compiled(conditioner: Conditioner, conditionals: Conditionals) -> bool:
    """Return whether compiled samplers know the network where it is now, all features and all families."""
    return (
        isinstance(conditioner, CompiledConditioner)
        and conditionals.is_drawn_compiled
        and conditioner.encoding.is_compiled
        and conditioner.has_compiled_sampler()
    )


def _is_shared(observed: Tensor) -> bool:
    """Return whether the same variables are observed in all rows, of which there are some."""
    return len(observed) > 0 and bool((observed == observed[:1]).all())
