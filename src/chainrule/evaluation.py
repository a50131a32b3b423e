"""Held-out log-likelihoods with their standard errors, and the comparison of models on the same rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from chainrule.fidelity import Resemblance
    from chainrule.training import History

__all__ = [
    "Comparison",
    "ModelResult",
    "Summary",
    "bits_per_dimension",
    "paired_difference",
    "summarize",
]


@dataclass(frozen=True)
class Summary:
    """The mean of one number per row, and how far it can be trusted.

    Attributes
    ----------
    mean : float
        The mean over rows.
    standard_error : float
        The sample standard deviation over ``sqrt(n_rows)``; NaN for a single row or an infinite value.
    n_rows : int
        The number of rows.
    """

    mean: float
    standard_error: float
    n_rows: int

    @property
    def significant(self) -> bool:
        """Whether the mean lies more than two standard errors from zero (False where the error is NaN)."""
        return abs(self.mean) > 2 * self.standard_error


def summarize(log_likelihoods: npt.ArrayLike) -> Summary:
    """Return the mean of per-row log-likelihoods with its standard error.

    Parameters
    ----------
    log_likelihoods : array-like of shape (n,)
        Nats per row.

    Returns
    -------
    Summary
        Mean and standard error in nats.

    Raises
    ------
    ValueError
        If there are no rows or the array is not one-dimensional.

    Examples
    --------
    >>> summarize([-1.0, -2.0, -3.0])
    Summary(mean=-2.0, standard_error=0.5773502691896258, n_rows=3)
    """
    values = np.asarray(log_likelihoods, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(
            f"expected one log-likelihood per row, shape (n,) with n >= 1, but got shape {values.shape}; "
            "pass the result of score_samples"
        )
    if values.size == 1 or not np.isfinite(values).all():
        error = math.nan
    else:
        error = float(values.std(ddof=1) / math.sqrt(values.size))
    return Summary(float(values.mean()), error, int(values.size))


def bits_per_dimension(mean_log_likelihood: float, n_variables: int) -> float:
    """Convert a mean log-likelihood of discrete data into bits per variable.

    Parameters
    ----------
    mean_log_likelihood : float
        Nats per row.
    n_variables : int
        D, the number of variables of a row.

    Returns
    -------
    float
        ``-mean_log_likelihood / (n_variables * ln 2)``.

    Examples
    --------
    >>> round(bits_per_dimension(-64 * 0.693147, 64), 4)
    1.0
    """
    if n_variables < 1:
        raise ValueError(f"expected n_variables >= 1, but got {n_variables}")
    return float(-mean_log_likelihood / (n_variables * math.log(2)))


def paired_difference(a: npt.ArrayLike, b: npt.ArrayLike) -> Summary:
    """Return the mean and standard error of ``a - b`` over the same rows.

    Two models scored on the same rows share the rows' difficulty; the paired difference removes it, so it
    tells models apart that their separate standard errors cannot.

    Parameters
    ----------
    a, b : array-like of shape (n,)
        Nats per row of two models, rows in the same order.

    Returns
    -------
    Summary
        Positive mean: `a` is better.

    Examples
    --------
    >>> paired_difference([-1.0, -5.0], [-2.0, -6.0])
    Summary(mean=1.0, standard_error=0.0, n_rows=2)
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(
            f"expected log-likelihoods of the same rows, but got shapes {first.shape} and {second.shape}; "
            "score both models on the same rows"
        )
    with np.errstate(invalid="ignore"):  # -inf - -inf is NaN: no difference can be told
        return summarize(first - second)


@dataclass(frozen=True, eq=False)
class ModelResult:
    """What one model did on one data set.

    Attributes
    ----------
    model : str
        The name to show, such as ``"MADE"``.
    estimator : DensityEstimator
        The fitted model.
    log_likelihoods : ndarray of shape (n_test,)
        Nats per test row, in the user's units.
    fit_seconds, sample_seconds : float
        Time of the fit, and of drawing 1000 samples.
    epochs : int or None
        Epochs trained; None for a model that is not trained in epochs.
    n_parameters : int
        Number of free parameters.
    samples : array or DataFrame
        Rows drawn from the model, in the container of the data.
    history : History or None
        Learning curves; None for a baseline.
    note : str
        One line that belongs beside the figure, such as "lower bound: uniform dequantisation".
    column_log_likelihoods : ndarray of shape (D,) or None
        Mean nats per test row of each column given those before it, in the order of the columns; None where
        the model takes them in another one, or there are too many.
    """

    model: str
    estimator: Any
    log_likelihoods: np.ndarray
    fit_seconds: float
    sample_seconds: float
    epochs: int | None
    n_parameters: int
    samples: Any
    history: History | None = None
    note: str = ""
    column_log_likelihoods: np.ndarray | None = None

    @property
    def summary(self) -> Summary:
        """Mean test log-likelihood, its standard error and the number of test rows."""
        return summarize(self.log_likelihoods)

    @property
    def test_log_likelihood(self) -> float:
        """Mean nats per test row."""
        return self.summary.mean

    @property
    def standard_error(self) -> float:
        """Standard error of the mean test log-likelihood, in nats."""
        return self.summary.standard_error


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several models, fitted on the same training rows and tested on the same held-out rows.

    Attributes
    ----------
    dataset, description, split : str
        The name of the data, what they are, and how their rows were split.
    n_train, n_valid, n_test, n_variables : int
        Numbers of rows and of variables.
    kinds : str
        A short summary of the kinds of variables, such as "64 variables: 64 binary".
    discrete : bool
        Whether no variable is continuous, so that bits per dimension mean something.
    image_shape : tuple of int or None
        Height and width where a row is an image.
    entropy : float or None
        Entropy of the true distribution in nats, where it is known.
    random_state : int
        The seed of splits, fits and samples.
    results : list of ModelResult
        One per model, in the order in which they were asked for.
    train_rows, test_rows : array or DataFrame
        A few real training rows to show beside samples, and all test rows (row i belongs to entry i of
        each result's `log_likelihoods`).
    seconds : float
        Time of the whole comparison.
    notes : list of str
        One line for each thing that the reader must know, such as a model that was left out and why.
    resemblance : Resemblance or None
        How rows drawn from each model compare with real ones; None where rows are no table.
    """

    dataset: str
    description: str
    split: str
    n_train: int
    n_valid: int
    n_test: int
    n_variables: int
    kinds: str
    discrete: bool
    image_shape: tuple[int, int] | None
    entropy: float | None
    random_state: int
    results: list[ModelResult]
    train_rows: Any
    test_rows: Any
    seconds: float
    notes: list[str] = field(default_factory=list)
    resemblance: Resemblance | None = None

    def ranked(self) -> list[ModelResult]:
        """Return the results, highest mean test log-likelihood first."""
        return sorted(self.results, key=lambda result: result.test_log_likelihood, reverse=True)

    def best(self) -> ModelResult | None:
        """Return the model to mark as best, or None where the rows do not tell.

        A model is marked only when its paired difference to *every* other model exceeds two standard errors.
        """
        if len(self.results) < 2:
            return None
        first, *others = self.ranked()
        leads = (paired_difference(first.log_likelihoods, other.log_likelihoods) for other in others)
        return first if all(lead.mean > 0 and lead.significant for lead in leads) else None

    def difference(self, result: ModelResult) -> Summary:
        """Return the paired difference of `result` to the model with the highest mean (itself: 0)."""
        return paired_difference(result.log_likelihoods, self.ranked()[0].log_likelihoods)

    def bits_per_dim(self, result: ModelResult) -> float | None:
        """Return the bits per dimension of `result`; None where a variable is continuous."""
        return bits_per_dimension(result.test_log_likelihood, self.n_variables) if self.discrete else None

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON-safe values under keys that stay stable.

        A number that JSON cannot hold (infinite, NaN) becomes None.
        """
        best = self.best()
        return {
            "dataset": self.dataset,
            "n_train": self.n_train,
            "n_valid": self.n_valid,
            "n_test": self.n_test,
            "n_variables": self.n_variables,
            "results": [self._result_to_dict(result) for result in self.results],
            "best": None if best is None else best.model,
            "description": self.description,
            "split": self.split,
            "kinds": self.kinds,
            "entropy": _finite(self.entropy),
            "random_state": self.random_state,
            "seconds": _finite(self.seconds),
            "notes": list(self.notes),
            "synthetic": None if self.resemblance is None else self.resemblance.to_dict(),
        }

    def _result_to_dict(self, result: ModelResult) -> dict[str, Any]:
        summary, difference = result.summary, self.difference(result)
        return {
            "model": result.model,
            "test_log_likelihood": _finite(summary.mean),
            "standard_error": _finite(summary.standard_error),
            "bits_per_dim": _finite(self.bits_per_dim(result)),
            "n_parameters": int(result.n_parameters),
            "fit_seconds": _finite(result.fit_seconds),
            "sample_seconds": _finite(result.sample_seconds),
            "epochs": None if result.epochs is None else int(result.epochs),
            "difference": _finite(difference.mean),
            "difference_standard_error": _finite(difference.standard_error),
            "note": result.note,
            "column_log_likelihoods": _by_name(result),
        }


def _by_name(result: ModelResult) -> dict[str, float | None] | None:
    if result.column_log_likelihoods is None:
        return None
    names = result.estimator.schema_.names
    return dict(zip(names, map(_finite, result.column_log_likelihoods.tolist()), strict=True))


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
