"""What a fit says of its validation rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chainrule.cli.output import say

if TYPE_CHECKING:
    from chainrule.estimators.base import DensityEstimator

__all__ = ["validation_score"]

# Multiplications: some minutes of one core.
_MAX_COST = 1e13


def validation_score(estimator: DensityEstimator, rows: Any) -> float:
    """Return the nats per validation row; the fit's own estimate where the exact number would take long.

    A network that sees the whole row at each of its steps would take longer to score an image's validation
    rows than it took to learn.
    """
    from chainrule.report.query_costs import scoring_cost

    history = estimator.history_
    n_orders = estimator.get_params(deep=False).get("n_orderings", 1)
    if not history or not history.valid or n_orders * scoring_cost(estimator, len(rows)) <= _MAX_COST:
        return estimator.score(rows)
    say("the validation rows would take long to score: what is told of them is the fit's estimate")
    return -history.best_nll
