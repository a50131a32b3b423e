"""Rows that fitted models draw, measured against real rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chainrule.metrics.fidelity import FidelityEvaluator, FidelityReport

if TYPE_CHECKING:
    from chainrule.datasets import Dataset
    from chainrule.report.comparison import ModelResult
    from chainrule.schema import Schema

__all__ = ["is_table", "measure_samples"]

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
    columns = schema.names[: real.n_columns]
    return FidelityReport(n_rows, real.target_name, columns, real.associations, real.test, real.real, drawn)


def is_table(dataset: Dataset, schema: Schema) -> bool:
    """Return whether rows are a table: columns with names or of several kinds, and no images."""
    if dataset.image_shape is not None or dataset.n_variables < 2:
        return False
    return schema.container != "numpy" or len(set(schema.kinds)) > 1
