"""A fit to rows that are more than memory holds."""

from __future__ import annotations

import numpy as np

from chainrule.errors import ParameterError
from chainrule.estimators.anomalies import offset_of, rows_for_offset
from chainrule.estimators.base import DensityEstimator
from chainrule.estimators.rows import CodedRows, make_generator
from chainrule.schema import Schema

__all__ = ["fit_stored"]


def fit_stored(
    estimator: DensityEstimator, schema: Schema, train: CodedRows, valid: CodedRows, codes_val: np.ndarray
) -> None:
    """Fit an estimator to coded rows that lie in files.

    Networks see all rows, a batch at a time; baselines, which need theirs at once, the sample in `train`.

    Parameters
    ----------
    estimator : density estimator
    schema : Schema
        Of all rows.
    train : CodedRows
        With `files`.
    valid : CodedRows
        In memory.
    codes_val : ndarray of shape (n, D)
        The codes of the validation rows, before `Schema.coarse`.

    Raises
    ------
    ParameterError
        If a constructor argument is out of its range, or the estimator has rules, which need all rows at
        once.
    KindError
        If a column is of a kind that this model cannot model.
    FitInterrupted
        On Ctrl-C; the estimator is fitted, with the best weights so far.
    """
    estimator.check(schema)
    if estimator.has_rules:
        raise ParameterError("rules are learned from all rows at once: take fewer rows, or more --memory")
    estimator._set_schema(schema, None)
    try:
        estimator._fit_codes(train, valid, make_generator(estimator.random_state))
    finally:
        if hasattr(estimator, "n_parameters_"):
            rows = rows_for_offset(estimator.contamination, 0, len(codes_val), codes_val.shape[1])
            scores = estimator.log_likelihoods(codes_val[rows], None)
            estimator.offset_ = offset_of(estimator.contamination, scores)
