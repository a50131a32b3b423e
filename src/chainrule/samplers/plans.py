"""What the compiled samplers must know of the variables of a row."""

from __future__ import annotations

from torch import Tensor

from chainrule.conditionals import Conditionals
from chainrule.conditioners import Conditioner
from chainrule.kernels.plans import RowPlan

__all__ = ["row_plan"]


def row_plan(conditioner: Conditioner, conditionals: Conditionals, order: int | Tensor) -> RowPlan:
    """Return the plan of a row in the order of a member, or in one of the caller's (D,)."""
    if isinstance(order, int):
        order = conditioner.order(order)
    features = conditioner.encoding.feature_table
    return RowPlan(order=order.cpu().numpy(), **conditionals.draw_table, **features)
