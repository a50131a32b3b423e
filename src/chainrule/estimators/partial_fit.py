"""Going on with a fitted model: more rows, or more time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from chainrule.errors import DataError
from chainrule.estimators.rows import CodedRows, split_rows, take
from chainrule.schema import UNSEEN
from chainrule.training import validation_nll

if TYPE_CHECKING:
    from chainrule.estimators.autoregressive import AutoregressiveEstimator

__all__ = ["go_on"]


def go_on(estimator: AutoregressiveEstimator, X: Any, context: Any, generator: np.random.Generator) -> None:
    """Train a fitted model on rows; the weights it came with stay where none are better."""
    train, valid = _coded_parts(estimator, X, context, generator)
    model = estimator.model_
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    reached = _nll(estimator, valid)
    try:
        estimator._train(train, valid, torch.Generator().manual_seed(int(generator.integers(2**62))))
    finally:
        now = _nll(estimator, valid)
        if reached is not None and now is not None and now > reached:
            model.load_state_dict(before)


def _coded_parts(
    estimator: AutoregressiveEstimator, X: Any, context: Any, generator: np.random.Generator
) -> tuple[CodedRows, CodedRows | None]:
    """Return the rows of which all levels are known, for training and for validation."""
    codes, beside = estimator.encode_rows(X, context)
    if estimator.model_.restriction is not None:
        estimator.model_.restriction.check(torch.from_numpy(codes), "the new rows")
    known = (codes != UNSEEN).all(axis=1)
    if not known.any():
        raise DataError("every row has a level that the first fit did not know; fit anew to learn of it")
    codes, beside = codes[known], take(beside, known)
    rows_train, rows_val = split_rows(len(codes), estimator.validation_fraction, generator)
    train = estimator._coded_rows(codes[rows_train], take(beside, rows_train))
    if not len(rows_val):
        return train, None
    return train, estimator._coded_rows(codes[rows_val], take(beside, rows_val))


def _nll(estimator: AutoregressiveEstimator, rows: CodedRows | None) -> float | None:
    return None if rows is None else validation_nll(estimator.model_, estimator._rows_in_memory(rows))
