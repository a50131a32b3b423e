"""Our estimators where PyOD's detectors are expected."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import clone
from sklearn.utils._param_validation import Interval, InvalidParameterError

from chainrule.errors import ParameterError
from chainrule.estimators.base import DensityEstimator
from chainrule.estimators.loading import find_class
from chainrule.estimators.nade import NADE
from chainrule.estimators.parameters import SHARED_CONSTRAINTS
from chainrule.estimators.rows import make_generator
from chainrule.estimators.sklearn_bases import BaseEstimator
from chainrule.schema import Binary, Schema
from chainrule.schema.tables import read_table

__all__ = ["PyODDetector"]

_N_NETWORKS, _N_MIXTURES = 4, 8
_MIXTURE_ROWS = 256
_SHARE_OF_NETWORKS = 0.5
# Of more rows than these, so many passes over them rank anomalies as well as all that a fit would take.
_FEW_ROWS, _EPOCHS_OF_MANY = 300, 10


class PyODDetector(BaseEstimator):
    """A density estimator with the interface of PyOD's detectors: high scores are strange, 1 is an anomaly.

    It can stand wherever a detector of PyOD can, such as among those that `pyod.models.combination` averages;
    PyOD itself is not needed. The score of a row is its surprisal, -log p(row) in nats.

    Unless an estimator is given there are twelve, whose surprisals are averaged: what one of them finds
    strange is so to some degree. Four are NADEs in random orders, which have half of the weight. The others
    are mixtures of 256 rows each, drawn at random: too few to learn what the anomalies among the training
    rows have in common (so `IsolationForest` draws them: Liu, Ting and Zhou 2008). Of more than 300 rows
    networks take ten epochs: what more of them gain in likelihood does not rank anomalies any better, and
    takes five to ten times as long.

    Where a table has columns of zeros and ones beside others, any other number in them is improbable, and no
    error as it is to the estimators themselves.

    Parameters
    ----------
    estimator : density estimator, optional
        Not fitted; copied before the fit. By default four of ``NADE(ordering="random")``
        and eight of ``Mixture(max_rows=256)``.
    contamination : float
        The share of the training rows to call anomalies, in (0, 0.5]; by default 0.1, as in PyOD.
    random_state : int, Generator or RandomState, optional
        That of the NADEs and mixtures; an estimator that is given has its own.

    Attributes
    ----------
    estimators_ : list of density estimators
        Fitted; one, or the twelve.
    weights_ : ndarray
        What each of them counts; they add up to 1.
    decision_scores_ : ndarray of shape (n,)
        Scores of the training rows, in nats.
    threshold_ : float
        Rows with higher scores are anomalies.
    labels_ : ndarray of shape (n,)
        1 for each training row that is an anomaly, else 0.

    Examples
    --------
    >>> from chainrule import Independent
    >>> X = np.random.default_rng(0).normal(size=(1000, 2))
    >>> detector = PyODDetector(Independent(), contamination=0.05).fit(X)
    >>> detector.predict([[0.0, 0.1], [4.0, -5.0]]), int(detector.labels_.sum())
    (array([0, 1]), 50)
    """

    weights_: np.ndarray
    decision_scores_: np.ndarray
    labels_: np.ndarray

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimator": [DensityEstimator, None],
        "contamination": [Interval(Real, 0, 0.5, closed="right")],
        "random_state": SHARED_CONSTRAINTS["random_state"],
    }

    def __init__(
        self,
        estimator: DensityEstimator | None = None,
        contamination: float = 0.1,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.contamination = contamination
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the estimator.

        Parameters
        ----------
        X : array or DataFrame, shape (n, D)
        y : None
            Not used.

        Raises
        ------
        ParameterError
            If a constructor argument is out of its range.
        """
        try:
            self._validate_params()
        except InvalidParameterError as error:
            raise ParameterError(str(error)) from None
        estimators, self.weights_ = (
            self._several(read_table(X).n_rows)
            if self.estimator is None
            else ([clone(self.estimator)], np.ones(1))
        )
        kinds = _kinds(estimators[0], X)
        self.estimators_: list[DensityEstimator] = [
            estimator.set_params(kinds=kinds).fit(X) for estimator in estimators
        ]
        self.decision_scores_ = self.decision_function(X)
        self.threshold_: float = float(np.percentile(self.decision_scores_, 100 * (1 - self.contamination)))
        self.labels_ = (self.decision_scores_ > self.threshold_).astype(int)
        return self

    def _several(self, n_rows: int) -> tuple[list[DensityEstimator], np.ndarray]:
        generator = make_generator(self.random_state)
        seeds = generator.integers(np.iinfo(np.int32).max, size=_N_NETWORKS + _N_MIXTURES).tolist()
        epochs = _EPOCHS_OF_MANY if n_rows > _FEW_ROWS else None
        networks = [
            NADE(ordering="random", max_epochs=epochs, random_state=seed) for seed in seeds[:_N_NETWORKS]
        ]
        mixture = find_class("Mixture")
        others = [mixture(max_rows=_MIXTURE_ROWS, random_state=seed) for seed in seeds[_N_NETWORKS:]]
        shares = (_SHARE_OF_NETWORKS, len(networks)), (1 - _SHARE_OF_NETWORKS, len(others))
        return [*networks, *others], np.concatenate([np.full(n, share / n) for share, n in shares])

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the surprisal of each row in nats, (n,); higher is stranger."""
        scores = np.array([estimator.score_samples(X) for estimator in self.estimators_])
        surprisals: np.ndarray = -(self.weights_ @ scores)
        return surprisals

    def predict(self, X: Any) -> np.ndarray:
        """Return 1 for each row that is an anomaly and 0 for the others, (n,)."""
        return (self.decision_function(X) > self.threshold_).astype(int)

    def fit_predict(self, X: Any, y: Any = None) -> np.ndarray:
        """Fit, and return which of the rows are anomalies, (n,)."""
        return self.fit(X).labels_

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return how far each row lies between the scores of the training rows, (n, 2): inside, and outside.

        0 stands for the least score of a training row and 1 for the highest, as in PyOD. These are no
        probabilities that a row is an anomaly, of which nothing in the data tells.
        """
        low, high = self.decision_scores_.min(), self.decision_scores_.max()
        outside = ((self.decision_function(X) - low) / max(high - low, np.finfo(float).tiny)).clip(0, 1)
        return np.column_stack([1 - outside, outside])


def _kinds(estimator: DensityEstimator, X: Any) -> str | Mapping[Any, str] | None:
    """Return the kinds of columns, of which those of zeros and ones have a share for other numbers.

    Where all columns are such, other numbers are no anomalies but other data.
    """
    declared = estimator._declared_kinds()
    if isinstance(declared, str):
        return declared
    variables = Schema.infer(X, declared, missing=estimator.supports_missing).variables
    bits = [each.name for each in variables if isinstance(each, Binary) and each.are_numbers]
    if not bits or len(bits) == len(variables):
        return declared
    return {name: "categorical" for name in bits} | dict(declared or {})
