"""Log-likelihoods column by column: how a row's is made up, and the surprisal of each cell."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from scipy.special import logsumexp

from chainrule.estimators.unseen import score_summed_over_unseen
from chainrule.schema import UNSEEN

if TYPE_CHECKING:
    from chainrule.estimators.base import DensityEstimator
    from chainrule.estimators.reasons import Reason
    from chainrule.schema import Schema

__all__ = ["MarginalSurprisal", "Surprisal", "SurprisalMethods", "mean_of_members", "split_without_unseen"]

Split = Callable[[np.ndarray, np.ndarray | None], np.ndarray]

# Values of a cell that are tried one by one; of more than these, so many are drawn.
MAX_TRIED = 500


class Surprisal(ABC):
    """How the log-likelihoods of a fitted estimator split over columns and cells.

    All of it is in the user's units, from codes (n, D) that may be NaN (missing) or `UNSEEN`.
    """

    @abstractmethod
    def column_order(self) -> np.ndarray | None:
        """Return the order in which `of_columns` takes the columns, (D,); None if there are several."""

    @abstractmethod
    def of_columns(self, codes: np.ndarray, context: np.ndarray | None) -> np.ndarray:
        """Return log p(x_d | the columns before it), (n, D), NaN where missing."""

    @abstractmethod
    def of_cells(self, codes: np.ndarray, context: np.ndarray | None) -> np.ndarray:
        """Return log p(x_d | all other columns), (n, D), NaN where missing."""

    @abstractmethod
    def expected(
        self, codes: np.ndarray, context: np.ndarray | None, d: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the expected value of column d, given what `surprisal` is, and its probability, (n,).

        The most probable level; of numbers their mean, whose probability is NaN.
        """


class MarginalSurprisal(Surprisal):
    """The split of an estimator that gives the exact likelihood of what is left of a row.

    Parameters
    ----------
    estimator : DensityEstimator
        Fitted.
    """

    def __init__(self, estimator: DensityEstimator) -> None:
        self.estimator = estimator

    def column_order(self) -> np.ndarray:
        """Return the order of the columns."""
        return np.arange(self.estimator.schema_.n_variables)

    def of_columns(self, codes: np.ndarray, context: np.ndarray | None) -> np.ndarray:
        """Return the gains in log-likelihood, column by column."""
        part = np.full_like(codes, np.nan)
        scores, before = np.empty(codes.shape), np.zeros(len(codes))
        for d in range(codes.shape[1]):
            part[:, d] = codes[:, d]
            now = self.estimator.log_likelihoods(part, context)
            scores[:, d], before = now - before, now
        return np.where(np.isnan(codes), np.nan, scores)

    def of_cells(self, codes: np.ndarray, context: np.ndarray | None) -> np.ndarray:
        """Return the loss in log-likelihood with each cell of a row."""
        whole = self.estimator.log_likelihoods(codes, context)
        scores = np.empty(codes.shape)
        for d in range(codes.shape[1]):
            others = codes.copy()
            others[:, d] = np.nan
            scores[:, d] = whole - self.estimator.log_likelihoods(others, context)
        return np.where(np.isnan(codes), np.nan, scores)

    def expected(
        self, codes: np.ndarray, context: np.ndarray | None, d: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the best or the mean of the values that column d can have, or of some drawn ones."""
        variable = self.estimator.schema_.variables[d]
        if variable.n_codes <= MAX_TRIED:
            tried = np.arange(variable.n_codes, dtype=codes.dtype)
            weights = np.zeros(len(tried))
        else:
            tried, weights = self._draws_of(d)
        filled = np.repeat(codes, len(tried), axis=0)
        filled[:, d] = np.tile(tried, len(codes))
        beside = None if context is None else np.repeat(context, len(tried), axis=0)
        scores = self.estimator.log_likelihoods(filled, beside).reshape(len(codes), len(tried)) - weights
        shares = np.exp(scores - logsumexp(scores, axis=1, keepdims=True))
        if not variable.is_numeric:
            best = shares.argmax(axis=1)
            return variable.decode(best).astype(object), shares.max(axis=1)
        return shares @ variable.numbers(tried), np.full(len(codes), np.nan)

    def _draws_of(self, d: int) -> tuple[np.ndarray, np.ndarray]:
        """Return values of column d drawn from the model, and the log of how often each of them comes."""
        drawn = self.estimator.draw_codes(MAX_TRIED, np.random.default_rng(0), None)
        alone = np.full_like(drawn, np.nan)
        alone[:, d] = drawn[:, d]
        return drawn[:, d], self.estimator.log_likelihoods(alone, None)


class SurprisalMethods(ABC):
    """What a density estimator says about single columns of a row."""

    schema_: Schema

    @abstractmethod
    def surprisals(self) -> Surprisal:
        """Return how the fitted model's log-likelihoods split over columns and cells, on codes."""

    @property
    @abstractmethod
    def surprisal_given(self) -> Literal["others", "before"]:
        """Whether `surprisal` is given all other columns, or only those before."""

    @abstractmethod
    def encode_rows(self, X: Any, context: Any = None) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the codes of rows and of their context."""

    def column_order(self) -> np.ndarray | None:
        """Return the order in which `score_columns` takes the columns, by their numbers from 0, (D,).

        None if there are several orders, over which the model is averaged.
        """
        return self.surprisals().column_order()

    def score_columns(self, X: Any, context: Any = None) -> np.ndarray:
        """Split the log-likelihood of each row over its columns, float64 of shape (n, D).

        A column's share is log p(x_d | the columns before it), in nats: the log-probability of a discrete
        column, the log-density of a continuous one in its own unit. "Before" is in the order of the columns,
        but in a model of fixed order in that order, see `column_order`.

        Parameters
        ----------
        X : array or DataFrame, shape (n, D)
        context : array or DataFrame, shape (n, C), optional
            As in `score_samples`.

        Returns
        -------
        ndarray
            NaN where a value is missing. The sum of a row is its `score_samples`; of a model of any order,
            that under the order of the columns.

        Examples
        --------
        >>> from chainrule import Independent
        >>> X = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [1, 1], [1, 1]])
        >>> Independent().fit(X).score_columns([[0, 1]]).round(4)
        array([[-1.0296, -0.4418]])
        """
        return self.surprisals().of_columns(*self.encode_rows(X, context))

    def surprisal(self, X: Any, context: Any = None) -> np.ndarray:
        """Return the surprisal of each cell, float64 of shape (n, D), in nats.

        -log p(x_d | all other columns), where the model can tell it; otherwise, in models of fixed order,
        -log p(x_d | the columns before it). `surprisal_given` says which of the two. That of a continuous
        column is minus a log-density in its own unit, so compare it with that of other rows, not of other
        columns.

        Parameters
        ----------
        X : array or DataFrame, shape (n, D)
        context : array or DataFrame, shape (n, C), optional
            As in `score_samples`.

        Returns
        -------
        ndarray
            NaN where a value is missing; missing values of other columns are left out.

        Examples
        --------
        >>> from chainrule import Mixture
        >>> X = np.repeat([[0, 0, 1], [1, 1, 1]], 50, axis=0)
        >>> model = Mixture(n_components=2, random_state=0).fit(X)
        >>> surprisal = model.surprisal([[0, 1, 1], [1, 1, 1]])
        >>> bool(surprisal[0, 0] > 3 > 0.1 > surprisal[1, 0])
        True
        """
        codes, context_codes = self.encode_rows(X, context)
        split = self.surprisals()
        if self.surprisal_given == "others":
            return -split.of_cells(codes, context_codes)
        return -split.of_columns(codes, context_codes)

    def reasons(self, X: Any, *, compared_with: Any = None, n_reasons: int = 3) -> list[list[Reason]]:
        """Return why rows are improbable: their most surprising cells, and what was to be expected of them.

        Parameters
        ----------
        X : array or DataFrame, shape (n, D)
            Rows, such as the least probable ones.
        compared_with : array or DataFrame, shape (m, D), optional
            Rows whose mean surprisal is what is usual in a column; by default X itself.
        n_reasons : int, default=3
            At most so many cells of a row, of those that surprise more than is usual in their column.

        Returns
        -------
        list of list of Reason
            For each row its cells, those first whose surprisal exceeds the usual one the most, in nats.

        Examples
        --------
        >>> from chainrule import Mixture
        >>> X = np.repeat([[0, 0, 0, 0], [1, 1, 1, 1]], 50, axis=0)
        >>> model = Mixture(n_components=2, random_state=0).fit(X)
        >>> ((reason,),) = model.reasons([[0, 1, 1, 1]], compared_with=X, n_reasons=1)
        >>> reason.column, reason.expected, bool(reason.probability < 0.1)
        ('x1', 1, True)
        """
        from chainrule.estimators.reasons import find_reasons

        surprisal = self.surprisal(X if compared_with is None else compared_with)
        known = np.isfinite(surprisal)
        usual = np.where(known, surprisal, 0.0).sum(axis=0) / known.sum(axis=0).clip(min=1)
        return find_reasons(cast("DensityEstimator", self), X, usual, n_reasons)


def split_without_unseen(
    split: Split,
    codes: np.ndarray,
    context: np.ndarray | None,
    n_codes: Sequence[float],
    order: np.ndarray | None = None,
) -> np.ndarray:
    """Return the split of rows, (n, D), in which levels may be `UNSEEN`: these get 0.

    The rest of such a row is split as that of its leading columns, summed over the levels that stand there.
    """
    unseen = codes == UNSEEN
    has_unseen = unseen.any(axis=1)
    scores = np.empty(codes.shape)
    scores[~has_unseen] = split(codes[~has_unseen], None if context is None else context[~has_unseen])
    if not has_unseen.any():
        return scores
    codes, context = codes[has_unseen], None if context is None else context[has_unseen]
    order = np.arange(codes.shape[1]) if order is None else order
    log_levels = np.log(np.where(np.isfinite(n_codes), n_codes, 1.0))
    before = np.zeros(len(codes))
    for position, d in enumerate(order):
        leading, rest = order[: position + 1], order[position + 1 :]
        now = score_summed_over_unseen(partial(_sum_of, split, leading), codes, context, n_codes)
        now -= unseen[has_unseen][:, rest] @ log_levels[rest]  # of those that stand behind, the mean
        scores[has_unseen, d], before = now - before, now
    return np.where(unseen, 0.0, scores)


def _sum_of(split: Split, columns: np.ndarray, codes: np.ndarray, context: np.ndarray | None) -> np.ndarray:
    total: np.ndarray = split(codes, context)[:, columns].sum(axis=1)
    return total


def mean_of_members(scores: np.ndarray) -> np.ndarray:
    """Split the log of the mean of several products, (n, D), as they split theirs, (K, n, D).

    A column gets the mean of its scores, in which each product counts by its share in the row's probability.
    What the sum lacks then, at most log K, all columns of the row share evenly.
    """
    present = ~np.isnan(scores[0])
    totals = np.where(present, scores, 0.0).sum(axis=2)
    whole = logsumexp(totals, axis=0) - np.log(len(scores))
    shares = np.exp(totals - logsumexp(totals, axis=0))
    with np.errstate(invalid="ignore"):
        split = np.where(shares[..., None] > 0, shares[..., None] * scores, 0.0).sum(axis=0)
    rest = whole - np.where(present, split, 0.0).sum(axis=1)
    split += rest[:, None] / np.maximum(present.sum(axis=1), 1)[:, None]
    return np.where(present, split, np.nan)
