"""Which rows are anomalies: those whose log-likelihood lies below a quantile of what was seen in the fit."""

from __future__ import annotations

from abc import abstractmethod
from numbers import Real
from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.utils._param_validation import Interval, StrOptions

from chainrule.estimators.sklearn_bases import OutlierMixin

__all__ = ["CONTAMINATION", "AnomalyMixin", "offset_of", "rows_for_offset"]

CONTAMINATION: list[Any] = [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")]
"""What the constructor argument `contamination` may be."""

# What "auto" stands for, and on how many rows: nobody asked, so a fit must hardly notice, and to score a wide
# row may take as many passes as it has columns.
_AUTO_SHARE = 0.01
_AUTO_ROWS = 2000
_AUTO_MIN_ROWS = 500
_AUTO_CELLS = 200_000
# Scores of one row that differ by less, as a share of them, are the same score: networks count in float32.
_ROUNDING = 1e-6
# Stands for the log-likelihood of rows of probability 0.
_NOTHING = -1e300
# A quantile of validation rows is trusted where at least so many of them lie below it.
_ENOUGH_BELOW = 20


class AnomalyMixin(OutlierMixin):
    """Rows as anomalies or not, as in scikit-learn's ``IsolationForest``.

    `contamination` is the share of rows to call anomalies, and `offset_` the log-likelihood below which they
    are. It is that quantile of the log-likelihoods of the validation rows, which the fit has not learnt
    from, so that the same share of new rows lies below it. Where this would be fewer than 20 validation rows,
    it is the quantile of all rows that `fit` was given. "auto" stands for 0.01, on at most 2,000 rows,
    500 of wide ones.
    """

    contamination: float | str
    offset_: float

    @abstractmethod
    def score_samples(self, X: Any, context: Any = None) -> Any:
        """Return the log-likelihood of each row."""

    def decision_function(self, X: Any, context: Any = None) -> np.ndarray:
        """Return each row's log-likelihood above `offset_`, in nats, (n,); negative for anomalies.

        Parameters
        ----------
        X : array or DataFrame, shape (n, D)
        context : array or DataFrame, shape (n, C), optional
            As in `score_samples`.

        Examples
        --------
        >>> from chainrule import Independent
        >>> X = np.random.default_rng(0).normal(size=(1000, 2))
        >>> model = Independent(contamination=0.05).fit(X)
        >>> bool(np.allclose(model.decision_function(X), model.score_samples(X) - model.offset_))
        True
        """
        scores: np.ndarray = self.score_samples(X, context)
        return scores - self._fitted_offset()

    def predict(self, X: Any, context: Any = None) -> np.ndarray:
        """Return -1 for each row that is an anomaly and 1 for the others, (n,).

        Rows with missing values are judged by what is there, so that they have fewer reasons to be anomalies.

        Parameters
        ----------
        X : array or DataFrame, shape (n, D)
        context : array or DataFrame, shape (n, C), optional
            As in `score_samples`.

        Examples
        --------
        >>> from chainrule import Independent
        >>> X = np.random.default_rng(0).normal(size=(1000, 2))
        >>> Independent(contamination=0.05).fit(X).predict([[0.0, 0.1], [4.0, -5.0]])
        array([ 1, -1])
        """
        return np.where(self.decision_function(X, context) >= 0, 1, -1)

    def _fitted_offset(self) -> float:
        if not hasattr(self, "offset_"):
            raise NotFittedError(
                f"this {type(self).__name__} has no offset_, as members of an ensemble and models of earlier "
                "versions have none: fit it, or set it to a log-likelihood below which rows are anomalies"
            )
        return self.offset_


def rows_for_offset(contamination: float | str, n_train: int, n_val: int, n_variables: int) -> np.ndarray:
    """Return the numbers of the rows, training rows before validation rows, whose quantile is the offset."""
    most = max(_AUTO_MIN_ROWS, min(_AUTO_ROWS, _AUTO_CELLS // n_variables))
    rows = np.arange(n_train, n_train + n_val)
    if _share(contamination) * n_val < _ENOUGH_BELOW:
        rows = np.arange(n_train + n_val)
    if contamination == "auto" and len(rows) > most:
        rows = np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
    return rows


def offset_of(contamination: float | str, log_likelihoods: np.ndarray) -> float:
    """Return the log-likelihood below which a share of rows lies.

    Of n rows as near as may be ``contamination * n`` lie below it, and none so near to it that the rounding
    of its score, which depends on the rows beside it, could take it to the other side.

    Examples
    --------
    >>> offset_of(0.25, np.array([-4.0, -3.0, -2.0, -1.0]))
    -3.5
    """
    finite = np.nan_to_num(log_likelihoods, neginf=_NOTHING)
    least_inside = np.quantile(finite, _share(contamination), method="higher")
    tie = least_inside - _ROUNDING * max(1.0, abs(least_inside))
    outside = finite[finite < tie]
    return float(least_inside / 2 + outside.max() / 2 if len(outside) else tie)


def _share(contamination: float | str) -> float:
    return _AUTO_SHARE if isinstance(contamination, str) else float(contamination)
