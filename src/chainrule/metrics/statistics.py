"""Means over rows with their standard errors, and paired differences of models on the same rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["RunningSummary", "Summary", "bits_per_dimension", "paired_difference", "summarize"]


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


class RunningSummary:
    """A `Summary` of numbers that come in batches, none of which is kept (Chan, Golub and LeVeque, 1983).

    Examples
    --------
    >>> running = RunningSummary()
    >>> running.add([-1.0, -2.0])
    >>> running.add([-3.0])
    >>> running.summary()
    Summary(mean=-2.0, standard_error=0.5773502691896258, n_rows=3)
    """

    n_rows: int

    def __init__(self) -> None:
        self.n_rows = 0
        self._mean = 0.0
        self._squares = 0.0  # of the differences from the mean

    def add(self, numbers: npt.ArrayLike) -> None:
        """Count in one number per row, (n,)."""
        values = np.asarray(numbers, dtype=np.float64)
        if values.size == 0:
            return
        with np.errstate(invalid="ignore"):  # infinite values make the error NaN
            mean = float(values.mean())
            squares = float(((values - mean) ** 2).sum())
            n_rows = self.n_rows + values.size
            difference = mean - self._mean if self.n_rows else 0.0
            self._squares += squares + difference**2 * self.n_rows * values.size / n_rows
            if math.isfinite(difference):
                self._mean = (self._mean if self.n_rows else mean) + difference * values.size / n_rows
            else:
                self._mean += mean
        self.n_rows = n_rows

    def summary(self) -> Summary:
        """Return the mean with its standard error."""
        if self.n_rows < 2 or not math.isfinite(self._squares):
            return Summary(self._mean, math.nan, self.n_rows)
        deviation = math.sqrt(self._squares / (self.n_rows - 1))
        return Summary(self._mean, deviation / math.sqrt(self.n_rows), self.n_rows)


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
    running = RunningSummary()
    running.add(values)
    return running.summary()


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
