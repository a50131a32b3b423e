"""Questions about events to estimators that answer conditional queries."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, cast

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from chainrule.errors import DataError, KindError, ParameterError, QueryError
from chainrule.estimators.query_engines import QueryEngine
from chainrule.estimators.rows import make_generator
from chainrule.events import AllOf, Answer, Condition, Question, condition_of, parse_condition, parse_question
from chainrule.events.asking import Estimate, draws_given, estimate, quantiles_on_line
from chainrule.events.parsing import with_place
from chainrule.events.partitions import LevelPartition
from chainrule.events.resolved import Problem
from chainrule.schema import Schema
from chainrule.schema.dates import dates_of

__all__ = ["EventMethods", "Given", "says_events"]

Given = str | Condition | Mapping[Any, Any]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# Beyond so many levels a distribution is no list that anybody reads.
_MAX_LISTED = 1000
# Standard error of a probability that draws are doubled for.
_ERROR = 0.002


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
            If an expression cannot be read (the message names the place), a column or level is not known, or
            the condition is impossible.

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
        return self._answer(question, context, n_orders, error, random_state, QUANTILES)

    @available_if(_answers_queries)
    def ask(
        self,
        question: str,
        *,
        context: Any = None,
        n_orders: int | None = None,
        error: float | None = None,
        levels: Sequence[float] = QUANTILES,
        random_state: Any = None,
    ) -> Answer:
        """Return the answer to a question in words.

        Parameters
        ----------
        question : str
            ``"P(income > 50000 | age BETWEEN 30 AND 40)"``, ``"E(income | sex = 'female')"``,
            ``"quantiles(income | ...)"`` or ``"distribution(plan | ...)"``.
        context, n_orders, error, random_state
            As in `probability`; the error is in the units of the answer. Without one, expectations take
            16,384 draws where they are not exact.
        levels : sequence of float, default=(0.05, 0.25, 0.5, 0.75, 0.95)
            Which quantiles.

        Raises
        ------
        QueryError
            As in `probability`.
        KindError
            If a column of names is asked for an expectation or quantiles, or one of real numbers for the
            probabilities of its levels.
        """
        return self._answer(parse_question(question), context, n_orders, error, random_state, levels)

    def _answer(
        self,
        question: Question,
        context: Any,
        n_orders: int | None,
        error: float | None,
        random_state: Any,
        levels: Sequence[float],
    ) -> Answer:
        check_is_fitted(self, "schema_")
        if error is not None and not (isinstance(error, Real) and 0 < error < np.inf):
            raise ParameterError(f"error must be a positive number, got {error!r}")
        if not all(isinstance(level, Real) and 0 < level < 1 for level in levels):
            raise ParameterError(f"levels of quantiles lie between 0 and 1, got {tuple(levels)!r}")
        start = time.perf_counter()
        asking = _Asking(cast(Any, self), question, context, n_orders, error, random_state)
        value, standard_error, total, spread = asking.answer(levels)
        seconds = time.perf_counter() - start
        return Answer(value, standard_error, total.method, total.n_effective, spread, seconds)

    def _codes_given_events(
        self, n: int, given: Given, context: Any, engine: QueryEngine, generator: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        """Return codes (n, D) of an event's columns, NaN elsewhere, and the effective sample size."""
        family_of = engine.model.conditionals.of_variable
        problem = Problem(self.schema_, family_of, _condition(given))
        return draws_given(problem, engine.chains(context), n, generator)


class _Asking:
    """One question on its way to an answer."""

    def __init__(
        self,
        estimator: Any,
        question: Question,
        context: Any,
        n_orders: int | None,
        error: float | None,
        random_state: Any,
    ) -> None:
        self.engine: QueryEngine = estimator.query_engine(n_orders)
        self.chains = self.engine.chains(estimator._encode_fitted_context(context, 1))
        self.question, self.error = question, error
        self.generator = make_generator(random_state)
        schema: Schema = estimator.schema_
        target = None
        if question.column is not None:
            target = self._target(schema)
            self.variable = schema.variables[target]
            self._check_kind()
        self.problem = Problem(
            schema,
            self.engine.model.conditionals.of_variable,
            question.given,
            question.event or AllOf(()),
            target,
        )

    def _target(self, schema: Schema) -> int:
        try:
            return schema.column_numbers([self.question.column])[0]
        except DataError as error:
            raise QueryError(with_place(str(error), self.question.text, self.question.place)) from None

    def _check_kind(self) -> None:
        variable, form = self.variable, self.question.form
        if form == "distribution":
            if variable.levels is None or len(variable.levels) > _MAX_LISTED:
                raise KindError(
                    f"column {variable.name!r} ({variable.describe()}) has no list of levels: ask for "
                    f"quantiles({variable.name} | ...) or the P(...) of a range"
                )
        elif not variable.is_numeric:
            raise KindError(
                f"column {variable.name!r} is {variable.kind} and has no numbers to take {form}(...) of: ask "
                f"for distribution({variable.name} | ...)"
            )

    def answer(self, levels: Sequence[float]) -> tuple[Any, Any, Estimate, Any]:
        """Return value, standard error, the sums behind it, and the spread over orders."""
        form = self.question.form
        if form == "P":
            total = self._estimate(_ERROR)
            value, error = float(total.value[0].clip(0.0, 1.0)), float(total.standard_error[0])
            return value, error, total, _first(total.spread)
        assert self.problem.target is not None
        partition = self.problem.partitions[self.problem.target]
        if form == "quantiles":
            return self._quantiles(partition, levels)
        if form == "E":
            total = self._estimate(0.0, 2**14)
            if isinstance(partition, LevelPartition):
                total = total.linear(partition.part_numbers()[:, None])
            value = self._shown(float(total.value[0])) if self.variable.unit else float(total.value[0])
            return value, float(total.standard_error[0]), total, _first(total.spread)
        assert isinstance(partition, LevelPartition)
        total = self._estimate(_ERROR).linear(_level_factors(partition))
        each = (total.value, total.standard_error, total.spread)
        by_level, errors, spread = (self._by_level(numbers) for numbers in each)
        return by_level, errors, total, spread

    def _estimate(self, default_error: float, max_draws: int | None = None) -> Estimate:
        if self.error is not None:
            return estimate(self.problem, self.chains, self.error, self.generator)
        return estimate(self.problem, self.chains, default_error, self.generator, max_draws)

    def _by_level(self, numbers: np.ndarray | None) -> dict[Any, float] | None:
        if numbers is None:
            return None
        return dict(zip(self.variable.levels or (), numbers.tolist(), strict=True))

    def _quantiles(self, partition: Any, levels: Sequence[float]) -> tuple[Any, Any, Estimate, Any]:
        if isinstance(partition, LevelPartition):
            total = self._estimate(0.0, 2**14).linear(_level_factors(partition))
            values, errors = _quantiles_of_levels(total, levels)
            numbers = self.variable.numbers(values)
        else:
            numbers, errors, total = quantiles_on_line(self.problem, self.chains, levels, self.generator)
        shown = {level: self._shown(number) for level, number in zip(levels, numbers.tolist(), strict=True)}
        return shown, dict(zip(levels, errors.tolist(), strict=True)), total, None

    def _shown(self, number: float) -> Any:
        """Return a number on the line of the column's values: a date where they are dates."""
        if self.variable.unit:
            return dates_of(np.array([number]), self.variable.unit)[0].item()
        return int(number) if self.variable.is_discrete and number == int(number) else number


def _first(numbers: np.ndarray | None) -> float | None:
    return None if numbers is None else float(numbers[0])


def _level_factors(partition: LevelPartition) -> np.ndarray:
    """Return what turns masses of parts into masses of levels, (J, L)."""
    return partition.level_masses(np.eye(len(partition.cell_of_part)))


def _quantiles_of_levels(total: Estimate, levels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes of quantiles (Q,) and their standard errors, from the masses of all levels."""
    at = np.asarray(levels)[:, None]

    def codes(masses: np.ndarray) -> np.ndarray:
        above = masses.cumsum()[None] >= at - 1e-12
        above[:, -1] = True
        return above.argmax(1).astype(np.float64)

    values = codes(total.value)
    if total.is_exact:
        return values, np.zeros(len(values))
    asked, given = total.asked.sum(0), total.given.sum(0)
    each = np.stack([codes(a / g) for a, g in zip(asked, given, strict=True) if g > 0])
    return values, each.std(0, ddof=1) / np.sqrt(len(each))


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
