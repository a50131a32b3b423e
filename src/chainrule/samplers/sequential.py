"""The reference sampler: one variable after the other, for every network, family and device."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.conditionals import Conditionals
from chainrule.conditioners import AnyOrderConditioner, Conditioner

__all__ = ["sample"]


@torch.no_grad()
def sample(
    conditioner: Conditioner,
    conditionals: Conditionals,
    order: int | Tensor,
    uniforms: Tensor,
    context: Tensor | None = None,
    evidence: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Return rows (n, D); see `draw_rows`."""
    if isinstance(order, int):
        return _sample_member(conditioner, conditionals, order, uniforms, context, evidence)
    if not isinstance(conditioner, AnyOrderConditioner):
        raise TypeError(f"{type(conditioner).__name__} serves fixed orders only")
    if evidence is None:
        rows = uniforms.new_zeros(uniforms.shape[:2])
        evidence = rows, torch.zeros_like(rows, dtype=torch.bool)
    return _sample_any_order(conditioner, conditionals, order, uniforms, context, evidence)


def _sample_member(
    conditioner: Conditioner,
    conditionals: Conditionals,
    member: int,
    uniforms: Tensor,
    context: Tensor | None,
    evidence: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """Return rows in a member's order; observed values take the place of draws as their turn comes."""
    rows = uniforms.new_empty(uniforms.shape[:2])
    state = conditioner.init_state(len(rows), member, context)
    for d in conditioner.order(member).tolist():
        params = state.next_params(d)
        rows[:, d] = conditionals.sample_variable(d, params, uniforms[:, d])
        if evidence is not None:
            codes, observed = evidence
            rows[:, d] = torch.where(observed[:, d], codes[:, d], rows[:, d])
        state.update(d, rows[:, d])
    return rows


def _sample_any_order(
    conditioner: AnyOrderConditioner,
    conditionals: Conditionals,
    order: Tensor,
    uniforms: Tensor,
    context: Tensor | None,
    evidence: tuple[Tensor, Tensor],
) -> Tensor:
    """Return rows in an order of the caller's, what each of them observes first."""
    rows, observed = evidence[0].clone(), evidence[1]
    state = conditioner.init_state_from(rows, observed, order, context)
    missing = ~observed
    some, every = missing.any(0).tolist(), missing.all(0).tolist()
    for d in order.tolist():
        if some[d]:
            drawn = conditionals.sample_variable(d, state.next_params(d), uniforms[:, d])
            rows[:, d] = drawn if every[d] else torch.where(missing[:, d], drawn, rows[:, d])
            state.update(d, rows[:, d], None if every[d] else missing[:, d])
    return rows
