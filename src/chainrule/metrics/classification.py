"""What a classifier learns from drawn rows, measured on real ones: train on synthetic, test on real."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from threadpoolctl import threadpool_limits

from chainrule.metrics.statistics import Summary

if TYPE_CHECKING:
    from chainrule.schema import ColumnType

__all__ = ["Auc", "area_under_curve", "choose_target", "tstr_auc"]

Codes = NDArray[np.floating]

_MAX_CLASSES = 10
_MIN_TRAIN_ROWS, _MIN_TEST_ROWS = 10, 5
_MAX_BINS = 255  # what the classifier can tell apart in a column of levels
_FEW_NUMBERS = 2**17


@dataclass(frozen=True, eq=False)
class Auc:
    """The area under the ROC curve on some rows.

    With several classes it is the mean over classes of the area of one class against all others.

    Attributes
    ----------
    value : float
        From 0 to 1; 0.5 for guesses.
    influence : ndarray (n,)
        By how much, to first order, each row moves the area, times n (DeLong et al. 1988): its spread gives
        the standard error, and with the same rows that of a difference.
    """

    value: float
    influence: NDArray[np.float64]

    @property
    def summary(self) -> Summary:
        """The area with its standard error over test rows."""
        n = len(self.influence)
        error = float(self.influence.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan
        return Summary(self.value, error, n)

    @property
    def standard_error(self) -> float:
        """Standard error of the area over test rows."""
        return self.summary.standard_error

    def difference(self, other: Auc) -> Summary:
        """Return the paired difference to an area on the same rows; positive: this one is larger."""
        return Auc(self.value - other.value, self.influence - other.influence).summary


def area_under_curve(truth: NDArray[np.int64], scores: NDArray[np.floating]) -> Auc:
    """Return the area under the ROC curve of scores (n, K) for classes 0..K-1.

    Classes that all rows have, or none, are left out; two classes have one area between them.

    >>> truth = np.array([0, 0, 1, 1])
    >>> area_under_curve(truth, np.array([[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]])).value
    0.75
    """
    counts = np.bincount(truth, minlength=scores.shape[1])
    classes = np.flatnonzero((counts > 0) & (counts < len(truth)))
    if len(classes) == 2:
        classes = classes[1:]
    areas = [_one_against_rest(truth == c, scores[:, c]) for c in classes]
    if not areas:
        return Auc(math.nan, np.zeros(len(truth)))
    return Auc(
        float(np.mean([area.value for area in areas])), np.mean([area.influence for area in areas], axis=0)
    )


def _one_against_rest(positive: NDArray[np.bool_], scores: NDArray[np.floating]) -> Auc:
    ranks = rankdata(scores)
    below = np.empty(len(scores))
    for rows in (positive, ~positive):
        # Of each row the rows of the other side that score lower.
        below[rows] = (ranks[rows] - rankdata(scores[rows])) / (~rows).sum()
    won = np.where(positive, below, 1 - below)
    value = float(won[positive].mean())
    share = positive.mean()
    return Auc(value, (won - value) / np.where(positive, share, 1 - share))


def choose_target(variables: Sequence[ColumnType], train: Codes, test: Codes) -> int | None:
    """Return the last column of two to ten levels, two of them with enough rows; None: there is none."""
    for d in range(len(variables) - 1, -1, -1):
        if variables[d].is_numeric or variables[d].n_codes > _MAX_CLASSES:
            continue
        often = _counts(train[:, d]) >= _MIN_TRAIN_ROWS
        often &= _counts(test[:, d]) >= _MIN_TEST_ROWS
        if often.sum() >= 2:
            return d
    return None


def _counts(values: Codes) -> NDArray[np.int64]:
    return np.bincount(values[~np.isnan(values)].astype(int), minlength=_MAX_CLASSES)


def threads_for(rows: Codes) -> AbstractContextManager[Any]:
    """Return a context in which one thread grows trees of few rows: several would wait, not work."""
    return threadpool_limits(1 if rows.size <= _FEW_NUMBERS else None, "openmp")


def tstr_auc(
    rows: Codes, test: Codes, variables: Sequence[ColumnType], target: int, random_state: int = 0
) -> Auc:
    """Train a gradient-boosted classifier of one column on `rows`, and return its area on `test`.

    Rows whose target is missing are left out; other missing cells are the classifier's business.

    Parameters
    ----------
    rows, test : ndarray (n, D), (m, D)
        Codes.
    variables : sequence of ColumnType
    target : int
        The column to predict from all others; columns of more than 254 levels are not used.
    random_state : int
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    rows, test = (codes[~np.isnan(codes[:, target])] for codes in (rows, test))
    truth = test[:, target].astype(np.int64)
    scores = np.zeros((len(test), int(variables[target].n_codes)))
    classes = np.unique(rows[:, target]).astype(int)
    used = [d for d, v in enumerate(variables) if d != target and (v.is_numeric or v.n_codes < _MAX_BINS)]
    if len(classes) > 1 and used:
        classifier = HistGradientBoostingClassifier(
            categorical_features=[not variables[d].is_numeric for d in used],
            early_stopping=False,
            random_state=random_state,
        )
        with threads_for(rows):
            classifier.fit(rows[:, used], rows[:, target].astype(int))
            scores[:, classes] = classifier.predict_proba(test[:, used])
    # One class only, or nothing to learn from: all rows score alike, which is an area of a half.
    return area_under_curve(truth, scores)
