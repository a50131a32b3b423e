"""Questions about events to estimators that answer conditional queries."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from chainrule.errors import ParameterError, QueryError
from chainrule.estimators.conditional_query import ConditionalQuery
from chainrule.events import AllOf, Answer, Condition, Question, condition_of, parse_condition, parse_question
from chainrule.schema import Schema

if TYPE_CHECKING:
    from chainrule.estimators.query_engines import QueryEngine

__all__ = ["EventMethods", "Given", "says_events"]

Given = str | Condition | Mapping[Any, Any]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def _answers_queries(estimator: Any) -> bool:
    return bool(estimator.answers_queries)


def says_events(given: Any) -> bool:
    """Whether what is given is more than values: text, a condition, or a mapping with ranges or sets."""
    if isinstance(given, (str, Condition)):
        return True
    is_mapping = isinstance(given, Mapping)
    return is_mapping and any(isinstance(v, (tuple, set, frozenset, list, Condition)) for v in given.values())


class EventMethods:
    """What can be asked about ranges, sets and other events, for estimators with a `query_engine`."""

    schema_: Schema

    @available_if(_answers_queries)
    def probability(
        self,
        event: Given,
        given: Given | None = None,
        *,
        context: Any = None,
        n_orders: int | None = None,
        rules: Sequence[str] | None = None,
        error: float | None = None,
        random_state: Any = None,
    ) -> Answer:
        """Return the probability of an event given another.

        Exact where at most one column has endless values and the combinations of the others are few;
        otherwise an estimate by sequential importance sampling.

        Parameters
        ----------
        event : str, mapping or Condition
            A WHERE expression, ``"income > 50000 AND hours < 20"``, or columns and their values, ranges
            ``(low, high)`` and sets.
        given : str, mapping or Condition, optional
            What is known, in the same forms. A column's single value is evidence.
        context : array or DataFrame, shape (1, C), optional
            Side information of models that were fitted with some.
        n_orders : int, optional
            Number of orders that answer; by default those of the model.
        rules : sequence of str, optional
            Rules between columns, ``["signup <= churn"]``, beside those of the model: the answer is that of
            the model had they been among its `rules`.
        error : float, default=0.002
            Draws are doubled until the standard error is at most that, or there are 131,072 of them.
        random_state : None, int, Generator or RandomState

        Returns
        -------
        Answer
            Its `value` is between 0 and 1; ``float(answer)`` is the same.

        Raises
        ------
        QueryError
            If an expression or rule cannot be read (the message names the place), a column or level is not
            known, or the condition is impossible.
        DataError
            If values that are given break a rule.

        Examples
        --------
        >>> from chainrule import OrderlessNADE
        >>> x1 = np.random.default_rng(0).integers(0, 2, 500)
        >>> X = np.stack([x1, x1], axis=1)
        >>> model = OrderlessNADE(hidden_sizes=(16,), max_epochs=60, random_state=0).fit(X)
        >>> float(model.probability("x2 = 1", given={"x1": 1})) > 0.95
        True
        """
        known = AllOf(()) if given is None else _condition(given)
        question = Question("P", _condition(event), None, known)
        return self._answer(question, context, n_orders, rules, error, random_state, QUANTILES)

    @available_if(_answers_queries)
    def ask(
        self,
        question: str | Question,
        *,
        context: Any = None,
        n_orders: int | None = None,
        rules: Sequence[str] | None = None,
        error: float | None = None,
        levels: Sequence[float] = QUANTILES,
        random_state: Any = None,
    ) -> Answer:
        """Return the answer to a question in words.

        Parameters
        ----------
        question : str or Question
            ``"P(income > 50000 | age BETWEEN 30 AND 40)"``, ``"E(income | sex = 'female')"``,
            ``"quantiles(income | ...)"`` or ``"distribution(plan | ...)"``, or what `parse_question` makes of
            such a text.
        context, n_orders, rules, error, random_state
            As in `probability`; the error is in the units of the answer. Without one, expectations take
            16,384 draws where they are not exact.
        levels : sequence of float, default=(0.05, 0.25, 0.5, 0.75, 0.95)
            Which quantiles.

        Raises
        ------
        QueryError, DataError
            As in `probability`.
        KindError
            If a column of names is asked for an expectation or quantiles, or one of real numbers for the
            probabilities of its levels.
        """
        return self._answer(_question(question), context, n_orders, rules, error, random_state, levels)

    def _answer(
        self,
        question: Question,
        context: Any,
        n_orders: int | None,
        rules: Sequence[str] | None,
        error: float | None,
        random_state: Any,
        levels: Sequence[float],
    ) -> Answer:
        check_is_fitted(self, "schema_")
        if error is not None and not (isinstance(error, Real) and 0 < error < np.inf):
            raise ParameterError(f"error must be a positive number, got {error!r}")
        if not all(isinstance(level, Real) and 0 < level < 1 for level in levels):
            raise ParameterError(f"levels of quantiles lie between 0 and 1, got {tuple(levels)!r}")
        from chainrule.estimators.event_questions import answer  # brings PyTorch, which baselines do without

        engine = self._engine(n_orders, rules)
        return answer(cast(Any, self), engine, question, context, error, random_state, levels)

    @abstractmethod
    def query_engine(self, n_orders: int | None = None) -> QueryEngine:
        """Return the engine that answers."""

    def _engine(self, n_orders: int | None, rules: Sequence[str] | None) -> QueryEngine:
        """Return the engine whose answers keep some rules."""
        if isinstance(rules, str):
            raise ParameterError(f"rules is a list of texts, such as [{rules!r}], not one text")
        engine = self.query_engine(n_orders)
        return engine.with_rules(rules) if rules else engine

    def _codes_given_events(
        self, n: int, given: Given, context: Any, engine: QueryEngine, generator: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        """Return codes (n, D) of an event's columns, NaN elsewhere, and the effective sample size."""
        from chainrule.events.draws import draws_given
        from chainrule.events.resolved import Problem

        problem = Problem(self.schema_, engine.family_of, _condition(given))
        engine.check_given(ConditionalQuery.of_missing(problem.known))
        return draws_given(problem, engine.chains(context), n, generator)


def _question(question: str | Question) -> Question:
    return question if isinstance(question, Question) else parse_question(question)


def _condition(given: Given) -> Condition:
    if isinstance(given, str):
        return parse_condition(given)
    if isinstance(given, Condition):
        return given
    if isinstance(given, Mapping):
        return condition_of(given)
    raise QueryError(
        f"an event is a WHERE expression, or a mapping of columns to values, ranges or sets, not {given!r}"
    )
