"""The reference sampler: one variable after the other, for every network, family and device."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.conditionals import Conditionals
from chainrule.conditioners import AnyOrderConditioner, Conditioner
from chainrule.samplers.restrictions import Restriction

__all__ = ["sample"]


@torch.no_grad()
def sample(
    conditioner: Conditioner,
    conditionals: Conditionals,
    order: int | Tensor,
    uniforms: Tensor,
    context: Tensor | None = None,
    evidence: tuple[Tensor, Tensor] | None = None,
    restriction: Restriction | None = None,
) -> Tensor:
    """Return rows (n, D); see `draw_rows`."""
    draw = _Drawer(conditionals, restriction)
    if isinstance(order, int):
        return _sample_member(conditioner, draw, order, uniforms, context, evidence)
    if not isinstance(conditioner, AnyOrderConditioner):
        raise TypeError(f"{type(conditioner).__name__} serves fixed orders only")
    if evidence is None:
        rows = uniforms.new_zeros(uniforms.shape[:2])
        evidence = rows, torch.zeros_like(rows, dtype=torch.bool)
    return _sample_any_order(conditioner, draw, order, uniforms, context, evidence)


class _Drawer:
    """What gives one variable after the other its codes, within a restriction where there is one."""

    def __init__(self, conditionals: Conditionals, restriction: Restriction | None) -> None:
        self.conditionals, self.restriction = conditionals, restriction

    def __call__(
        self, d: int, params: Tensor, uniforms: Tensor, rows: Tensor, seen: Tensor, missing: Tensor
    ) -> None:
        """Draw variable d of the rows (n, D) in which it is missing, bool (n,), and mark it as seen."""
        if self.restriction is None or d not in self.restriction.columns:
            drawn = self.conditionals.sample_variable(d, params, uniforms)
            rows[:, d] = torch.where(missing, drawn, rows[:, d])
        elif missing.any():
            drawn = self.restriction.draw(d, params[missing], uniforms[missing], rows[missing], seen[missing])
            rows[missing, d] = drawn
        seen[:, d] = True


def _sample_member(
    conditioner: Conditioner,
    draw: _Drawer,
    member: int,
    uniforms: Tensor,
    context: Tensor | None,
    evidence: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """Return rows in a member's order; observed values take the place of draws as their turn comes."""
    rows = uniforms.new_zeros(uniforms.shape[:2])
    seen = torch.zeros_like(rows, dtype=torch.bool)
    if evidence is not None:
        rows, seen = torch.where(evidence[1], evidence[0], rows), evidence[1].clone()
    state = conditioner.init_state(len(rows), member, context)
    for d in conditioner.order(member).tolist():
        params = state.next_params(d)
        missing = ~seen[:, d]
        draw(d, params, uniforms[:, d], rows, seen, missing)
        state.update(d, rows[:, d])
    return rows


def _sample_any_order(
    conditioner: AnyOrderConditioner,
    draw: _Drawer,
    order: Tensor,
    uniforms: Tensor,
    context: Tensor | None,
    evidence: tuple[Tensor, Tensor],
) -> Tensor:
    """Return rows in an order of the caller's, what each of them observes first."""
    rows, observed = evidence[0].clone(), evidence[1]
    state = conditioner.init_state_from(rows, observed, order, context)
    missing, seen = ~observed, observed.clone()
    some, every = missing.any(0).tolist(), missing.all(0).tolist()
    for d in order.tolist():
        if some[d]:
            draw(d, state.next_params(d), uniforms[:, d], rows, seen, missing[:, d])
            state.update(d, rows[:, d], None if every[d] else missing[:, d])
    return rows
