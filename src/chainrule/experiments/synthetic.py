"""Rows that fitted models draw, measured against real rows; and whether models know their training rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.metrics.fidelity import FidelityEvaluator, FidelityReport
from chainrule.metrics.membership import Membership, membership_test
from chainrule.report.rows import take_rows

if TYPE_CHECKING:
    from chainrule.datasets import Dataset
    from chainrule.estimators.base import DensityEstimator
    from chainrule.report.comparison import ModelResult
    from chainrule.schema import Schema

__all__ = ["is_table", "measure_samples", "membership_of_training_rows"]

_MAX_ROWS = 5000
_CELLS = 500_000  # drawn from each model: a second or two with all measures


def measure_samples(
    dataset: Dataset, results: Sequence[ModelResult], random_state: int = 0
) -> FidelityReport | None:
    """Return how rows drawn from each model compare with real rows; None where rows are no table.

    Each model draws as many rows as there are training rows, up to 5000.

    Parameters
    ----------
    dataset : Dataset
    results : sequence of ModelResult
        Fitted models, at least one.
    random_state : int
    """
    schema: Schema = results[0].estimator.schema_
    if not is_table(dataset, schema):
        return None
    n_rows = min(len(dataset.train), _MAX_ROWS, max(1, _CELLS // dataset.n_variables))
    real = FidelityEvaluator(schema, dataset.train, dataset.test, n_rows=n_rows, random_state=random_state)
    drawn = {
        result.model: real.measure(result.estimator.sample(n_rows, random_state=random_state))
        for result in results
    }
    return FidelityReport(
        n_rows=n_rows,
        target=real.target_name,
        names=schema.names,
        columns=schema.names[: real.n_columns],
        associations=real.associations,
        test=real.test,
        real=real.real,
        models=drawn,
    )


def membership_of_training_rows(
    estimator: DensityEstimator, train: Any, log_likelihoods: np.ndarray, random_state: int = 0
) -> Membership:
    """Return how well a fitted model's log-likelihoods tell training rows, up to 5000, from test rows.

    Parameters
    ----------
    estimator : DensityEstimator
    train : array or DataFrame
    log_likelihoods : ndarray (m,)
        Nats of the test rows.
    random_state : int
    """
    some = np.random.default_rng(random_state).permutation(len(train))[:_MAX_ROWS]
    return membership_test(estimator.score_samples(take_rows(train, some)), log_likelihoods, random_state)


def is_table(dataset: Dataset, schema: Schema) -> bool:
    """Return whether rows are a table: columns with names or of several kinds, and no images."""
    if dataset.image_shape is not None or dataset.n_variables < 2:
        return False
    return schema.container != "numpy" or len(set(schema.kinds)) > 1
