"""Several models on the same rows: their results as data, from which page, terminal and JSON are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.metrics.statistics import Summary, bits_per_dimension, paired_difference, summarize
from chainrule.report.result_columns import RESULT_COLUMNS
from chainrule.storage import json_safe

if TYPE_CHECKING:
    from chainrule.metrics.fidelity import FidelityReport
    from chainrule.metrics.membership import Membership
    from chainrule.report.model_answers import ModelAnswers
    from chainrule.training import History

__all__ = ["Comparison", "ModelResult"]


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
    membership : Membership or None
        How well the log-likelihoods tell training rows from test rows; None where it was not measured.
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
    membership: Membership | None = None

    @property
    def summary(self) -> Summary:
        """Mean test log-likelihood, its standard error and the number of test rows."""
        return summarize(self.log_likelihoods)

    @property
    def is_lower_bound(self) -> bool:
        """Whether the log-likelihoods are only a bound on those of the model."""
        likelihood = getattr(self.estimator, "likelihood_", "exact")
        return likelihood == "lower bound" or self.note.startswith("lower bound")

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
    sampled : dict or None
        How many rows of each part there are, and how many stand for them, where rows are more than memory
        holds; None where all are in memory.
    notes : list of str
        One line for each thing that the reader must know, such as a model that was left out and why.
    fidelity : FidelityReport or None
        How rows drawn from each model compare with real ones; None where rows are no table.
    answers : ModelAnswers or None
        Dependence of columns and calibration of the best model of any order; None without one, or of images.
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
    image_shape: tuple[int, ...] | None
    entropy: float | None
    random_state: int
    results: list[ModelResult]
    train_rows: Any
    test_rows: Any
    seconds: float
    sampled: dict[str, dict[str, int]] | None = None
    notes: list[str] = field(default_factory=list)
    fidelity: FidelityReport | None = None
    answers: ModelAnswers | None = None

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
        """Return the comparison as JSON-safe values under keys that stay stable."""
        best = self.best()
        document = {
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
            "entropy": self.entropy,
            "random_state": self.random_state,
            "seconds": self.seconds,
            "sampled": self.sampled,
            "notes": self.notes,
            "synthetic": None if self.fidelity is None else self.fidelity.to_dict(),
            "answers": None if self.answers is None else self.answers.to_dict(),
        }
        safe: dict[str, Any] = json_safe(document)
        return safe

    def _result_to_dict(self, result: ModelResult) -> dict[str, Any]:
        entry: dict[str, Any] = {"model": result.model}
        for column in RESULT_COLUMNS:
            entry |= column.to_dict(self, result)
        shares = result.column_log_likelihoods
        names = () if shares is None else result.estimator.schema_.names
        by_name = None if shares is None else dict(zip(names, shares, strict=True))
        membership = None if result.membership is None else result.membership.to_dict()
        return entry | {
            "note": result.note,
            "column_log_likelihoods": by_name,
            "membership": membership,
        }
