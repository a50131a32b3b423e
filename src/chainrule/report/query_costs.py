"""Which fitted models a report puts queries to, and what an answer costs."""

from __future__ import annotations

from typing import Any

from chainrule.conditioners import ObservedSetConditioner
from chainrule.estimators.autoregressive import AutoregressiveEstimator
from chainrule.estimators.ensemble import Ensemble

__all__ = ["answers_any_query", "pass_cost", "scoring_cost"]

# What the calls of one step of a pass take beside its products, in multiplications that take as long.
_STEP = 5e6


def answers_any_query(estimator: Any) -> bool:
    """Return whether a fitted estimator answers p(these | those) for any two sets of columns."""
    if isinstance(estimator, Ensemble):
        return answers_any_query(estimator.members_[0])
    return (
        isinstance(estimator, AutoregressiveEstimator)
        and estimator.is_any_order
        and estimator.context_schema_ is None
    )


def pass_cost(estimator: Any, n_rows: int) -> float:
    """Return about how many multiplications a sequential pass through all variables of rows takes."""
    if isinstance(estimator, Ensemble):
        return sum(pass_cost(member, n_rows) for member in estimator.members_)
    network, n_variables = estimator.model_.conditioner, estimator.schema_.n_variables
    per_step = network.products_per_step() if isinstance(network, ObservedSetConditioner) else 0
    return n_variables * (_STEP + n_rows * per_step) + n_rows * estimator.n_parameters_


def scoring_cost(estimator: Any, n_rows: int) -> float:
    """Return about how many multiplications the log-likelihoods of `n_rows` rows under one order take.

    For an ensemble: under one member.
    """
    if isinstance(estimator, Ensemble):
        return max(scoring_cost(member, n_rows) for member in estimator.members_)
    is_sequential = isinstance(estimator, AutoregressiveEstimator) and isinstance(
        estimator.model_.conditioner, ObservedSetConditioner
    )
    return pass_cost(estimator, n_rows) if is_sequential else float(_STEP + n_rows * estimator.n_parameters_)
