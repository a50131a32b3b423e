"""What can be asked of estimators whose model is a chain of conditionals, or several of them."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from chainrule.errors import DataError, ParameterError, QueryError
from chainrule.estimators.conditional_query import ADVICE, ConditionalQuery
from chainrule.estimators.dependence_methods import DependenceMethods
from chainrule.estimators.event_methods import EventMethods, Given, says_events
from chainrule.estimators.finite import require_finite_codes
from chainrule.estimators.rows import make_generator, with_index_of
from chainrule.estimators.unseen import warn_of_unseen
from chainrule.schema import UNSEEN, Schema

if TYPE_CHECKING:
    from chainrule.estimators.conditional_distribution import ConditionalDistribution
    from chainrule.estimators.query_engines import QueryEngine

__all__ = ["Columns", "QueryMethods"]

Columns = str | int | Sequence[str | int]
_WAYS = ("sample", "mode", "mean")
# Rows drawn from an effective sample of fewer come with a warning.
_FEW = 30


def _answers_queries(estimator: QueryMethods) -> bool:
    return estimator.answers_queries


def _is_of_any_order(estimator: QueryMethods) -> bool:
    return estimator.is_any_order


class QueryMethods(DependenceMethods, EventMethods):
    """Conditional queries of an estimator, for those that answer them.

    `OrderlessNADE` answers every query, by an order in which
    the evidence comes first. Each answer is a normalised distribution. Answers under different orders can
    differ a little: `n_orders` averages over several, and the spread tells by how much they differ. Models of
    fixed order answer what their order can answer, and refuse the rest with a `QueryError`.
    """

    schema_: Schema

    @property
    def answers_queries(self) -> bool:
        """Whether p(these | those) can be asked for at all."""
        return False

    def query_engine(self, n_orders: int | None = None) -> QueryEngine:
        """Return the engine that answers `ConditionalQuery` objects, which are about codes.

        Parameters
        ----------
        n_orders : int, optional
            Number of orders that answer; by default those of the model.

        Raises
        ------
        QueryError
            If the model answers no queries, or `n_orders` is given and its order is fixed.
        """
        raise QueryError(f"{type(self).__name__} answers no questions p(these | those). {ADVICE}")

    @property
    @abstractmethod
    def supports_missing(self) -> bool:
        """Whether rows may have missing values."""

    @property
    @abstractmethod
    def is_any_order(self) -> bool:
        """Whether the model serves every order of the variables."""

    @abstractmethod
    def _encode_to_score(self, X: Any) -> np.ndarray:
        """Return the codes of rows; levels that the training rows lack are `UNSEEN` and warned about."""

    @abstractmethod
    def _encode_fitted_context(self, context: Any, n_rows: int) -> np.ndarray | None:
        """Return the codes of the side information."""

    def _decode_whole(self, codes: np.ndarray, known: Any = None) -> Any:
        """Return rows from codes that a model made, none of which may pass for a missing value."""
        return self.schema_.decode(require_finite_codes(codes, self.schema_), known)

    @available_if(_answers_queries)
    def impute(
        self,
        X: Any,
        *,
        how: Literal["sample", "mode", "mean"] = "sample",
        n_draws: int | None = None,
        context: Any = None,
        n_orders: int | None = None,
        random_state: Any = None,
        return_spread: bool = False,
    ) -> Any:
        """Fill in missing values from their distribution given what is there.

        Parameters
        ----------
        X : array or DataFrame, shape (n, D)
            Rows with missing values (NaN, None, null). All others come back as they are; of levels that
            the training rows lack it is warned, and what is filled in beside them does not depend on them.
        how : {"sample", "mode", "mean"}
            "sample" draws all missing values of a row together, as one draw of p(missing | there); the other
            two fill each cell with the most probable, or the expected, value of its own distribution given
            what is there. Binary and categorical columns have no mean and take the mode, and ordinal ones
            the level nearest to theirs. Cells filled so may break a rule between them, draws do not.
        n_draws : int, optional
            With "sample": return a list of so many completed tables (multiple imputation, Rubin 1987).
        context : array or DataFrame, shape (n, C), optional
        n_orders : int, optional
            As in `score_samples` and `sample`.
        random_state : None, int, Generator or RandomState
        return_spread : bool, default=False
            With "mode" and "mean": return by how much the orders and members that answer disagree, too.

        Returns
        -------
        rows
            In the container of the training data, with the index of `X` where pandas has one; a list of them
            with `n_draws`.
        spread : ndarray (n, D), with `return_spread`
            Of each cell that was filled in, the standard deviation over orders and members of the expected
            value of a number, in its units, and of the probability of any other value that was filled in;
            NaN where nothing was missing, 0 where a single answer serves all orders.

        Raises
        ------
        ParameterError
            If `how` or `n_draws` is none of the above, or the spread is asked for with "sample".
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
        if return_spread and how == "sample":
            raise ParameterError('return_spread goes with how="mode" and "mean"; of draws n_draws tells it')
        codes = self.schema_.encode(X, estimator=type(self).__name__, missing=True, unseen=UNSEEN)
        warn_of_unseen(codes, self.schema_, "they stay as they are, and nothing is concluded from them")
        is_unseen = codes == UNSEEN
        # A sum over what an unseen level could have been: it is drawn or filled in as well, and put back.
        codes[is_unseen] = np.nan
        query = ConditionalQuery.of_missing(codes, self._encode_fitted_context(context, len(codes)))
        engine = self.query_engine(n_orders)
        if how == "sample":
            generator = engine.torch_generator(make_generator(random_state))
            drawn = (engine.sample(query, generator) for _ in range(n_draws or 1))
            tables = [with_index_of(X, self._decode_whole(each, X)) for each in drawn]
            return tables[0] if n_draws is None else tables
        engine.check_given(query)
        filled, spread = query.codes.copy(), np.full(query.codes.shape, np.nan)
        for rows, d, distribution in engine.distributions(query):
            filled[rows, d] = _fill(distribution, how)
            if return_spread:
                spread[rows, d] = _spread_of_filled(distribution, filled[rows, d])
        spread[is_unseen] = np.nan
        table = with_index_of(X, self._decode_whole(filled, X))
        return (table, spread) if return_spread else table

    @available_if(_answers_queries)
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
        query = np.zeros(codes.shape, bool)
        query[:, d] = True
        beside = self._encode_fitted_context(context, len(codes))
        asked = ConditionalQuery(codes, ~np.isnan(codes) & ~query, query, beside)
        engine = self.query_engine(n_orders)
        engine.check_given(asked)
        return engine.distribution(asked, d)

    @available_if(_answers_queries)
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
        codes = self._codes_of(X)
        query = ConditionalQuery.of_missing(codes, self._encode_fitted_context(context, len(codes)))
        engine = self.query_engine(n_orders)
        engine.check_given(query)
        for rows, d, distribution in engine.distributions(query):
            yield d, rows, distribution

    @available_if(_is_of_any_order)
    def explore(self, path: str | Path | None = None, *, title: str = "Explore a model") -> Any:
        """Write the page on which one sets some columns and watches the others, or show it in a notebook.

        Parameters
        ----------
        path : str or Path, optional
            The HTML file, which needs no network and no other file; its folder must exist. Without it a
            widget is returned, which needs `anywidget`.
        title : str

        Returns
        -------
        Path or ExploreWidget

        Raises
        ------
        QueryError
            If the model has what the page cannot compute, such as context or a family of one's own.
        MissingPackageError
            If a widget is asked for and `anywidget` is not installed.
        """
        from chainrule import explore

        models = self.query_engine().models
        if path is None:
            return explore.show_widget(models, self.schema_, title)
        explore.write_page(models, self.schema_, path, title)
        return Path(path)

    @available_if(_answers_queries)
    def order_scores(
        self,
        X: Any,
        *,
        context: Any = None,
        given: Columns | None = None,
        of: Columns | None = None,
        n_orders: int | None = None,
    ) -> np.ndarray:
        """Return log p(of | given) of each row under each of the orders that answer, float64 (K, n).

        The score of a row is the mean of their probabilities: ``logsumexp(scores, axis=0) - log(K)``.

        Parameters
        ----------
        X, context, given, of, n_orders
            As in `score_samples`.
        """
        check_is_fitted(self, "schema_")
        engine = self.query_engine(n_orders)
        codes = self._encode_to_score(X)
        is_observed, is_query = self._evidence_and_query(given, of)
        unseen = codes == UNSEEN
        if unseen.any() and not self.supports_missing:
            name = self.schema_.names[int(unseen.any(axis=0).argmax())]
            raise QueryError(
                f"rows hold levels of column {name!r} that the training rows lack, about which a model of "
                f"fixed order answers no such question. {ADVICE}"
            )
        present = np.isfinite(codes)
        query = ConditionalQuery(
            np.where(unseen, np.nan, codes),
            present & is_observed,
            present & is_query,
            self._encode_fitted_context(context, len(codes)),
        )
        return engine.log_probs(query) + self.schema_.log_abs_det_jacobian(codes, is_query)

    def _score_query(
        self,
        X: Any,
        context: Any,
        given: Columns | None,
        of: Columns | None,
        n_orders: int | None,
        return_spread: bool,
    ) -> Any:
        """Return log p(of | given) of each row, (n,), and its spread over the orders if wanted."""
        check_is_fitted(self, "schema_")
        if return_spread and self.query_engine(n_orders).n_answers < 2:
            raise ParameterError("the spread over orders needs n_orders of at least 2")
        scores = self.order_scores(X, context=context, given=given, of=of, n_orders=n_orders)
        mean: np.ndarray = np.logaddexp.reduce(scores, axis=0) - np.log(len(scores))
        return (mean, scores.std(axis=0, ddof=1)) if return_spread else mean

    def _sample_given(
        self,
        n_samples: int,
        given: Any,
        context: Any,
        n_orders: int | None,
        rules: Sequence[str] | None,
        random_state: Any,
    ) -> Any:
        """Return rows drawn given some values, or completions of rows."""
        given = {} if given is None else given
        engine = self._engine(n_orders, rules)
        if says_events(given):
            return self._sample_given_events(n_samples, given, context, engine, random_state)
        codes = self._codes_of(given)
        # One context for all, or one for each given row, or for each sample if all share what is given.
        n_contexts = n_samples if isinstance(given, Mapping) else len(codes)
        n_contexts = 1 if context is None or len(context) == 1 else n_contexts
        codes = np.repeat(codes, n_samples, axis=0)
        context_codes = self._encode_fitted_context(context, n_contexts)
        if context_codes is not None:
            context_codes = np.repeat(context_codes, len(codes) // n_contexts, axis=0)
        generator = engine.torch_generator(make_generator(random_state))
        drawn = engine.sample(ConditionalQuery.of_missing(codes, context_codes), generator)
        return self._decode_whole(drawn, given)

    def _sample_given_events(
        self, n_samples: int, given: Given, context: Any, engine: QueryEngine, random_state: Any
    ) -> Any:
        """Return rows drawn given ranges, sets or a WHERE expression."""
        context_codes = self._encode_fitted_context(context, 1)
        generator = make_generator(random_state)
        codes, worth = self._codes_given_events(n_samples, given, context_codes, engine, generator)
        if worth < min(n_samples, _FEW):
            warnings.warn(
                f"the condition is so improbable that {n_samples} rows were drawn from the worth of "
                f"{worth:.0f}: many are alike; widen its ranges, or leave a part of it out",
                stacklevel=3,
            )
        if context_codes is not None:
            context_codes = np.repeat(context_codes, len(codes), axis=0)
        query = ConditionalQuery.of_missing(codes, context_codes)
        return self._decode_whole(engine.sample(query, engine.torch_generator(generator)), {})

    def _evidence_and_query(self, given: Columns | None, of: Columns | None) -> tuple[np.ndarray, np.ndarray]:
        """Return which columns are given and which are the query, bool (D,) each."""
        n_variables = self.schema_.n_variables
        is_observed, is_query = np.zeros(n_variables, bool), np.ones(n_variables, bool)
        if given is not None:
            is_observed[self.schema_.column_numbers(given)] = True
        if of is not None:
            is_query[:] = False
            is_query[self.schema_.column_numbers(of)] = True
            both = [self.schema_.names[d] for d in np.flatnonzero(is_observed & is_query)]
            if both:
                raise DataError(f"columns cannot be both given and asked for: {', '.join(map(repr, both))}")
        is_query &= ~is_observed
        if not is_query.any():
            raise DataError("nothing is asked for: leave at least one column out of given, or into of")
        return is_observed, is_query

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


def _is_flat(known: Any) -> bool:
    """Whether this is a name, or a list of names or numbers, instead of rows."""
    return isinstance(known, str | list | tuple) and all(
        isinstance(item, str | int | float) for item in known
    )


def _fill(distribution: ConditionalDistribution, how: str) -> np.ndarray:
    """Return the codes of the most probable or the expected values."""
    distribution = distribution.as_numbers()
    variable = distribution.variable
    if not variable.is_numeric:
        return distribution.probabilities.argmax(1)
    if how == "mode":
        return variable.codes_of_numbers(distribution.mode())
    mean = distribution.mean()
    if not variable.is_discrete:
        return variable.codes_of_numbers(mean)
    return distribution.nearest_left(variable.codes_of_numbers(np.rint(mean)))


def _spread_of_filled(distribution: ConditionalDistribution, codes: np.ndarray) -> np.ndarray:
    """Return by how much answers disagree on means, or on probabilities of the levels filled in, (n,)."""
    answers = distribution.answers()
    if len(answers) < 2:
        return np.zeros(len(codes))
    if distribution.variable.is_numeric:
        each = np.stack([answer.mean() for answer in answers])
    else:
        at = np.arange(len(codes)), codes.astype(np.int64)
        each = np.stack([answer.probabilities[at] for answer in answers])
    spread: np.ndarray = each.std(axis=0, ddof=1)
    return spread
