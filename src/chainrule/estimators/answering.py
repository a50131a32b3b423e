"""The estimator's face of questions: p(these | those), completions, imputation, conditional distributions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any, Literal

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from chainrule.errors import DataError, ParameterError, QueryError
from chainrule.estimators.base import DensityEstimator, make_generator
from chainrule.estimators.conditional_distribution import ConditionalDistribution
from chainrule.estimators.questions import ADVICE, MemberQuestioners, Question, Questioner
from chainrule.schema import UNSEEN

__all__ = ["AnsweringEstimator"]

Columns = str | int | Sequence[str | int]
_WAYS = ("sample", "mode", "mean")


class AnsweringEstimator(DensityEstimator):
    """An estimator whose model is a chain of conditionals, or several, and what can be asked of it.

    Models of any order (``MADE(ordering="any")``, `OrderlessNADE`) answer every question, by an order in
    which what is given comes first. Each answer is a normalised distribution. Answers under different orders
    can differ a little: `n_orders` averages over several, and the spread tells by how much they differ.
    Models of fixed order answer what their order can answer, and refuse the rest with a `QueryError`.
    """

    def score_samples(
        self,
        X: Any,
        context: Any = None,
        *,
        given: Columns | None = None,
        of: Columns | None = None,
        n_orders: int | None = None,
        return_spread: bool = False,
    ) -> Any:
        """Return the log-likelihood of each row, float64 of shape (n,), or log p(these | those).

        Nats, in the units of `X`: the log-probability of discrete columns plus the log-density of continuous
        ones.

        Parameters
        ----------
        X : array or DataFrame, shape (n, D)
            With missing values, if the model is of any order: they are left out, and the answer is about
            what is there.
        context : array or DataFrame, shape (n, C), optional
        given : column or sequence of columns, optional
            By name or number from 0: condition on these.
        of : column or sequence of columns, optional
            Whose probability is asked for; by default all that are not given.
        n_orders : int, optional
            Over how many orders the probabilities are averaged; by default the model's `n_orderings`.
        return_spread : bool
            Return also the standard deviation over the orders of each row's log-probability, (n,).

        Raises
        ------
        QueryError
            If a fixed order cannot answer the question.
        DataError
            If columns are unknown or both given and asked for, or rows cannot be used.
        ParameterError
            If `n_orders` is no positive number, or the spread is asked for of one order.

        Examples
        --------
        >>> from chainrule import OrderlessNADE
        >>> X = np.random.default_rng(0).integers(0, 2, (200, 3))
        >>> model = OrderlessNADE(hidden_sizes=(16,), max_epochs=2, random_state=0).fit(X)
        >>> whole = model.score_samples(X, of=[0, 1])
        >>> parts = model.score_samples(X, of=0) + model.score_samples(X, of=1, given=0)
        >>> bool(np.allclose(whole, parts, atol=0.1))
        True
        """
        if not (given is not None or of is not None or n_orders is not None or return_spread):
            return super().score_samples(X, context)
        check_is_fitted(self, "schema_")
        questioner = self._questioner(n_orders)
        if return_spread and questioner.n_answers < 2:
            raise ParameterError("the spread over orders needs n_orders of at least 2")
        codes = self._encode_to_score(X)
        is_given, is_asked = self._given_and_asked(given, of)
        unseen = codes == UNSEEN
        if unseen.any() and not self.supports_missing:
            name = self.schema_.names[int(unseen.any(axis=0).argmax())]
            raise QueryError(
                f"rows hold levels of column {name!r} that the training rows lack, about which a model of "
                f"fixed order answers no such question. {ADVICE}"
            )
        there = np.isfinite(codes)
        question = Question(
            np.where(unseen, np.nan, codes),
            there & is_given,
            there & is_asked,
            self._encode_fitted_context(context, len(codes)),
        )
        scores = questioner.log_probs(question) + self.schema_.log_abs_det_jacobian(codes, is_asked)
        mean: np.ndarray = np.logaddexp.reduce(scores, axis=0) - np.log(len(scores))
        return (mean, scores.std(axis=0, ddof=1)) if return_spread else mean

    def sample(
        self,
        n_samples: int = 1,
        *,
        given: Any = None,
        context: Any = None,
        n_orders: int | None = None,
        random_state: Any = None,
    ) -> Any:
        """Draw rows from the fitted distribution, or from that of the rest given some values.

        Draws are exact and take the same time however improbable the given values are: none is rejected.

        Parameters
        ----------
        n_samples : int
            How many rows; if `given` are rows, how many completions of each.
        given : mapping of column to value, or rows with missing values, optional
            What all samples share, or rows to complete: each completion stands after the others of its row.
        context : array or DataFrame, shape (1, C), or one row per sample or per given row, optional
        n_orders : int, optional
            From how many orders each sample's is drawn; by default the model's `n_orderings`.
        random_state : None, int, Generator or RandomState
            None draws anew at each call.

        Returns
        -------
        Rows in the container of the training data, with its columns and types.

        Raises
        ------
        QueryError
            If a fixed order cannot answer the question.
        DataError
            If a column is unknown, a value is none that the column can have, or rows have other columns.
        """
        if given is None and n_orders is None:
            return super().sample(n_samples, context=context, random_state=random_state)
        check_is_fitted(self, "schema_")
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ParameterError(f"n_samples must be a whole number of at least 1, got {n_samples!r}")
        given = {} if given is None else given
        questioner = self._questioner(n_orders)
        codes = self._codes_of(given)
        # One context for all, or one for each given row, or for each sample if all share what is given.
        n_contexts = n_samples if isinstance(given, Mapping) else len(codes)
        n_contexts = 1 if context is None or len(context) == 1 else n_contexts
        codes = np.repeat(codes, n_samples, axis=0)
        context_codes = self._encode_fitted_context(context, n_contexts)
        if context_codes is not None:
            context_codes = np.repeat(context_codes, len(codes) // n_contexts, axis=0)
        there = ~np.isnan(codes)
        question = Question(codes, there, ~there, context_codes)
        generator = self._torch_generator(make_generator(random_state))
        return self._decode_whole(questioner.complete(question, generator), given)

    def impute(
        self,
        X: Any,
        *,
        how: Literal["sample", "mode", "mean"] = "sample",
        n_draws: int | None = None,
        context: Any = None,
        n_orders: int | None = None,
        random_state: Any = None,
    ) -> Any:
        """Fill in missing values from their distribution given what is there.

        Parameters
        ----------
        X : array or DataFrame, shape (n, D)
            Rows with missing values (NaN, None, null).
        how : {"sample", "mode", "mean"}
            "sample" draws all missing values of a row together, as one draw of p(missing | there); the other
            two fill each cell with the most probable, or the expected, value of its own distribution given
            what is there. Binary and categorical columns have no mean and take the mode, and ordinal ones
            the level nearest to theirs.
        n_draws : int, optional
            With "sample": return a list of so many completed tables (multiple imputation, Rubin 1987).
        context : array or DataFrame, shape (n, C), optional
        n_orders : int, optional
            As in `score_samples` and `sample`.
        random_state : None, int, Generator or RandomState

        Returns
        -------
        Rows in the container of the training data; a list of them with `n_draws`.

        Raises
        ------
        ParameterError
            If `how` or `n_draws` is none of the above.
        QueryError, DataError
            As in `sample`.
        """
        check_is_fitted(self, "schema_")
        if how not in _WAYS:
            raise ParameterError(f'how must be one of "sample", "mode" and "mean", got {how!r}')
        if n_draws is not None and (how != "sample" or not isinstance(n_draws, Integral) or n_draws < 1):
            raise ParameterError(
                f'n_draws goes with how="sample" and is a whole number from 1 on, got {n_draws!r} and {how!r}'
            )
        question = self._question_of_holes(X, context)
        questioner = self._questioner(n_orders)
        if how == "sample":
            generator = self._torch_generator(make_generator(random_state))
            tables = [
                self._decode_whole(questioner.complete(question, generator), X) for _ in range(n_draws or 1)
            ]
            return tables[0] if n_draws is None else tables
        filled = question.codes.copy()
        for rows, d, distribution in questioner.distributions(question):
            filled[rows, d] = _fill(distribution, how)
        return self._decode_whole(filled, X)

    def conditional(
        self, X: Any, column: str | int, *, context: Any = None, n_orders: int | None = None
    ) -> ConditionalDistribution:
        """Return the distribution of one column given the others that are there, for each row.

        Parameters
        ----------
        X : array or DataFrame, shape (n, D), or mapping of column to value
            Rows with missing values, or one row of which the mapping tells what is known. Values of `column`
            itself have no effect.
        column : str or int
            By name or number from 0.
        context : array or DataFrame, shape (n, C), optional
        n_orders : int, optional
            Over how many orders to average; an `OrderlessNADE` gives the same under each.

        Returns
        -------
        ConditionalDistribution
            With `probabilities`, `mean`, `mode`, `quantile`, `cdf`, `log_prob` and `spread`.

        Raises
        ------
        QueryError, DataError
            As in `sample`.
        """
        check_is_fitted(self, "schema_")
        (d,) = self.schema_.column_numbers([column])
        codes = self._codes_of(X)
        there = ~np.isnan(codes)
        asked = np.zeros_like(there)
        asked[:, d] = True
        question = Question(codes, there & ~asked, asked, self._encode_fitted_context(context, len(codes)))
        return self._questioner(n_orders).distribution(question, d)

    def conditionals(
        self, X: Any, *, context: Any = None, n_orders: int | None = None
    ) -> Iterator[tuple[int, np.ndarray, ConditionalDistribution]]:
        """Yield the distributions of all missing cells, each given what is there in its row.

        Parameters
        ----------
        X : array or DataFrame, shape (n, D)
            Rows with missing values.
        context : array or DataFrame, shape (n, C), optional
        n_orders : int, optional
            As in `conditional`.

        Yields
        ------
        column : int
            Its number, from 0.
        rows : ndarray
            Numbers of some rows in which it is missing; a column may come several times, with other rows.
        distribution : ConditionalDistribution
            Of the column in these rows.

        Raises
        ------
        QueryError, DataError
            As in `sample`.
        """
        check_is_fitted(self, "schema_")
        question = self._question_of_holes(X, context)
        for rows, d, distribution in self._questioner(n_orders).distributions(question):
            yield d, rows, distribution

    def _cell_scores(self, codes: np.ndarray, context: np.ndarray | None) -> np.ndarray:
        questioner, there = self._questioner(None), np.isfinite(codes)
        known = np.where(there, codes, np.nan)
        scores = np.empty(codes.shape)
        for d in range(codes.shape[1]):
            asked = np.zeros_like(there)
            asked[:, d] = there[:, d]
            answers = questioner.log_probs(Question(known, there & ~asked, asked, context))
            scores[:, d] = np.logaddexp.reduce(answers, axis=0) - np.log(len(answers))
        return np.where(np.isnan(codes), np.nan, scores + self.schema_.log_abs_det_jacobian_of_cells(codes))

    def _expected_values(
        self, codes: np.ndarray, context: np.ndarray | None, d: int
    ) -> tuple[np.ndarray, np.ndarray]:
        given, asked = np.isfinite(codes), np.zeros(codes.shape, bool)
        codes = np.where(given, codes, np.nan)
        order = self.column_order()
        if self.surprise_given == "before" and order is not None:
            given[:, order[order.tolist().index(d) :]] = False
        given[:, d], asked[:, d] = False, True
        distribution = self._questioner(None).distribution(Question(codes, given, asked, context), d)
        if not self.schema_.variables[d].is_numeric:
            return distribution.mode(), distribution.probabilities.max(axis=1)
        return distribution.mean(), np.full(len(codes), np.nan)

    def _question_of_holes(self, X: Any, context: Any) -> Question:
        """Return the question of what is missing in rows given what is there."""
        codes = self.schema_.encode(X, estimator=type(self).__name__, missing=True)
        there = ~np.isnan(codes)
        return Question(codes, there, ~there, self._encode_fitted_context(context, len(codes)))

    def _given_and_asked(self, given: Columns | None, of: Columns | None) -> tuple[np.ndarray, np.ndarray]:
        """Return which columns are given and which are asked for, bool (D,) each."""
        n_variables = self.schema_.n_variables
        is_given, is_asked = np.zeros(n_variables, bool), np.ones(n_variables, bool)
        if given is not None:
            is_given[self.schema_.column_numbers(given)] = True
        if of is not None:
            is_asked[:] = False
            is_asked[self.schema_.column_numbers(of)] = True
            both = [self.schema_.names[d] for d in np.flatnonzero(is_given & is_asked)]
            if both:
                raise DataError(f"columns cannot be both given and asked for: {', '.join(map(repr, both))}")
        is_asked &= ~is_given
        if not is_asked.any():
            raise DataError("nothing is asked for: leave at least one column out of given, or into of")
        return is_given, is_asked

    def _codes_of(self, known: Any) -> np.ndarray:
        """Return the codes of rows, or one row of them from a mapping, NaN where nothing is known."""
        if not isinstance(known, Mapping):
            if _is_flat(known):
                raise DataError(
                    "what is known is given as a mapping from columns to values, or as rows with missing "
                    f"values, not as {known!r}"
                )
            return self.schema_.encode(known, estimator=type(self).__name__, missing=True)
        codes = np.full((1, self.schema_.n_variables), np.nan, dtype=np.float32)
        for d, code in self.schema_.encode_values(known).items():
            codes[0, d] = code
        return codes

    @abstractmethod
    def _questioner(self, n_orders: int | None) -> Questioner | MemberQuestioners:
        """Return what puts questions to the model."""

    @abstractmethod
    def _torch_generator(self, generator: np.random.Generator) -> torch.Generator:
        """Return a generator where the model is."""


def _is_flat(known: Any) -> bool:
    """Whether this is a name, or a list of names or numbers, instead of rows."""
    return isinstance(known, str | list | tuple) and all(
        isinstance(item, str | int | float) for item in known
    )


def _fill(distribution: ConditionalDistribution, how: str) -> np.ndarray:
    """Return the codes of the most probable or the expected values."""
    variable = distribution.variable
    if not variable.is_numeric:
        return distribution.probabilities.argmax(1)
    if how == "mode":
        return variable.codes_of_numbers(distribution.mode())
    mean = distribution.mean()
    return variable.codes_of_numbers(np.rint(mean) if variable.is_discrete else mean)
