"""Conditional queries to a model, on codes: p(query | evidence), draws, and one-variable conditionals.

In each row some variables are observed and some are the query; masks are bool (n, D), context is (n, C). The
order says in which order the observed variables come, then those of the query: a Tensor (D,) for a network
of any order. For a network of fixed orders it is the number of a member, whose order must be led by what is
observed, and by what is observed and the query.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.conditioners import AnyOrderConditioner, Conditioner
from chainrule.model import AutoregressiveModel
from chainrule.samplers import draw_rows

__all__ = [
    "LateVariableError",
    "conditional_params",
    "log_conditionals",
    "log_prob",
    "next_params",
    "sample_conditional",
]


class LateVariableError(Exception):
    """A query takes variable `late` without `missing`, which comes before it in the fixed order."""

    late: int
    missing: int

    def __init__(self, late: int, missing: int) -> None:
        super().__init__(late, missing)
        self.late, self.missing = late, missing


def log_prob(
    model: AutoregressiveModel,
    x: Tensor,
    observed: Tensor,
    query: Tensor,
    order: Tensor | int,
    context: Tensor | None = None,
) -> Tensor:
    """Return log p(x_query | x_observed), float64 (n,): the sum of `log_conditionals`."""
    terms = log_conditionals(model, x, observed, query, order, context)
    return terms.sum(-1, dtype=torch.float64)


def log_conditionals(
    model: AutoregressiveModel,
    x: Tensor,
    observed: Tensor,
    query: Tensor,
    order: Tensor | int,
    context: Tensor | None = None,
) -> Tensor:
    """Return log p(x_d | observed variables and earlier ones of the query), (n, D), 0 outside the query.

    Parameters
    ----------
    model : AutoregressiveModel
    x : Tensor (n, D)
        Codes; those neither observed nor in the query may be missing (NaN).
    observed, query : Tensor, bool (n, D)
    order : Tensor (D,) or int
    context : Tensor (n, C), optional

    Raises
    ------
    LateVariableError
        If the order is fixed, and what is observed, or what is observed and the query, does not lead it.
    """
    network, present = model.conditioner, ~x.isnan()
    x = x.masked_fill(~present, 0.0)
    if isinstance(order, int):
        _check_leading(network, observed, order)
        _check_leading(network, observed | query, order)
        outputs = network(x, order, context)
    else:
        outputs = _any_order(network).query_outputs(x, observed, query, order, context)
    log_probs = model.conditionals.log_prob(x, outputs)
    if model.restriction is not None:
        ranked = network.order(order) if isinstance(order, int) else order
        log_probs = model.restriction.log_conditionals(
            log_probs, x, outputs, observed, query, present, ranked
        )
    return torch.where(query, log_probs, 0.0)


@torch.no_grad()
def sample_conditional(
    model: AutoregressiveModel,
    x: Tensor,
    observed: Tensor,
    order: Tensor | int,
    uniforms: Tensor,
    context: Tensor | None = None,
) -> Tensor:
    """Return rows with everything drawn that is not observed; no draw is ever rejected.

    Parameters and errors are those of `log_conditionals`, and uniforms (n, D, U).
    """
    if isinstance(order, int):
        _check_leading(model.conditioner, observed, order)
    evidence = x.masked_fill(x.isnan(), 0.0), observed
    return draw_rows(
        model.conditioner, model.conditionals, order, uniforms, context, evidence, model.restriction
    )


def conditional_params(
    model: AutoregressiveModel,
    x: Tensor,
    observed: Tensor,
    query: Tensor,
    order: Tensor | int,
    context: Tensor | None = None,
) -> Tensor:
    """Return the outputs (n, n_outputs) of the query's variables, each from the observed ones alone.

    Parameters and errors are those of `log_conditionals`; a fixed order answers for the next variable.
    """
    network, x = model.conditioner, x.masked_fill(x.isnan(), 0.0)
    if not isinstance(order, int):
        return _any_order(network).outputs_from(x, observed, order, context)
    _check_leading(network, observed, order)
    for d in query.any(0).nonzero().flatten().tolist():
        rows = query[:, d]
        with_d = observed[rows]
        with_d[:, d] = True
        _check_leading(network, with_d, order)
    outputs: Tensor = network(x, order, context)
    return outputs


@torch.no_grad()
def next_params(
    model: AutoregressiveModel,
    x: Tensor,
    observed: Tensor,
    d: int,
    order: Tensor | int,
    context: Tensor | None = None,
) -> Tensor:
    """Return the params (n, P_d) of variable d alone, from the variables observed in all rows, bool (D,).

    Parameters and errors are otherwise those of `log_conditionals`; a fixed order answers for the next
    variable.
    """
    network, each = model.conditioner, observed.expand(x.shape)
    x = x.masked_fill(~each, 0.0)
    if not isinstance(order, int):
        return _any_order(network).init_state_from(x, each, order, context).next_params(d)
    with_d = observed.clone()
    with_d[d] = True
    _check_leading(network, torch.stack([observed, with_d]), order)
    columns = slice(model.conditionals.starts[d], model.conditionals.starts[d + 1])
    params: Tensor = network(x, order, context)[:, columns]
    return params


def _check_leading(network: Conditioner, sets: Tensor, member: int) -> None:
    """Raise a LateVariableError if one of the sets (n, D) is not the leading part of a member's order."""
    order = network.order(member)
    in_order = sets[:, order]
    broken = ~in_order[:, :-1] & in_order[:, 1:]
    if broken.any():
        row = int(broken.any(1).nonzero()[0])
        late = int(broken[row].nonzero()[0]) + 1
        raise LateVariableError(int(order[late]), int(order[~sets[row, order]][0]))


def _any_order(network: Conditioner) -> AnyOrderConditioner:
    if not isinstance(network, AnyOrderConditioner):
        raise TypeError(f"{type(network).__name__} serves fixed orders only")
    return network
