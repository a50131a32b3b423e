"""The answers of the best model of any order, held against the rows of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from chainrule.estimators.dependence import find_dependence
from chainrule.metrics.calibration import measure_calibration
from chainrule.metrics.cells import few_cells
from chainrule.metrics.information import rows_dependence
from chainrule.report.model_answers import ModelAnswers
from chainrule.report.query_costs import answers_any_query

if TYPE_CHECKING:
    from chainrule.datasets import Dataset
    from chainrule.report.comparison import ModelResult

__all__ = ["measure_answers"]

_MAX_ROWS, _MIN_ROWS = 2000, 100
_CELLS = 60_000  # of the rows in which some are hidden
_N_VALUES = 500  # of a column that has more: drawn in strata, they leave an error below 0.001 nats
_MAX_COLUMNS = 60  # of the map of dependence
_MIN_CELLS, _MAX_CELLS = 3, 12  # of a column
_ROWS_PER_CELL = 20  # of the table of two columns


def measure_answers(
    dataset: Dataset, results: Sequence[ModelResult], random_state: int = 0
) -> ModelAnswers | None:
    """Return calibration and dependence of the best model of any order.

    None where there is no such model, or rows are images.

    Parameters
    ----------
    dataset : Dataset
    results : sequence of ModelResult
        Fitted models.
    random_state : int
    """
    ranked = sorted(results, key=lambda result: result.test_log_likelihood, reverse=True)
    answering = [result for result in ranked if answers_any_query(result.estimator)]
    if not answering or dataset.image_shape is not None or dataset.n_variables < 2 or not len(dataset.test):
        return None
    estimator = answering[0].estimator
    schema = estimator.schema_
    n_rows = min(_MAX_ROWS, max(_MIN_ROWS, _CELLS // dataset.n_variables))
    calibration = measure_calibration(estimator, dataset.test, n_rows=n_rows, random_state=random_state)
    codes = schema.encode(dataset.train, missing=True)
    coarse = schema.coarse(codes)
    columns = range(min(schema.n_variables, _MAX_COLUMNS))
    # Few rows in many cells would show little but chance.
    n_cells = int(np.clip(np.sqrt(len(codes) / _ROWS_PER_CELL), _MIN_CELLS, _MAX_CELLS))
    cells = [few_cells(schema.variables[d], coarse[:, d], n_cells) for d in columns]
    dependence = find_dependence(
        estimator.query_engine(),
        np.random.default_rng(random_state),
        n_rows=_N_VALUES,
        columns=columns,
        cells=cells,
    )
    rows = rows_dependence(schema, codes, columns, cells)
    return ModelAnswers(answering[0].model, calibration, dependence, rows, n_cells, len(codes))
