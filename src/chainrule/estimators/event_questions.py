"""One question about an event on its way from an estimator to an answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.errors import DataError, KindError, QueryError
from chainrule.estimators.conditional_query import ConditionalQuery
from chainrule.estimators.query_engines import QueryEngine
from chainrule.estimators.rows import make_generator
from chainrule.events import AllOf, Answer, Question
from chainrule.events.estimates import Estimate, estimate, part_factors
from chainrule.events.parsing import with_place
from chainrule.events.partitions import LevelPartition
from chainrule.events.quantiles import quantiles_on_line
from chainrule.events.resolved import Problem
from chainrule.schema import Schema
from chainrule.schema.dates import dates_of

__all__ = ["answer"]

# Beyond so many levels a distribution is no list that anybody reads.
_MAX_LISTED = 1000
# Standard error of a probability that draws are doubled for.
_ERROR = 0.002
# Draws of expectations and quantiles, whose units are the column's, where no error is asked for.
_DRAWS = 2**14


def answer(
    estimator: Any,
    engine: QueryEngine,
    question: Question,
    context: Any,
    error: float | None,
    random_state: Any,
    levels: Sequence[float],
) -> Answer:
    """Return the answer of a fitted estimator's engine; parameters are those of `EventMethods.ask`."""
    start = time.perf_counter()
    asking = _Asking(estimator, engine, question, context, error, random_state)
    value, standard_error, total, spread = asking.answer(levels)
    seconds = time.perf_counter() - start
    return Answer(value, standard_error, total.method, total.n_effective, spread, seconds)


class _Asking:
    """One question on its way to an answer."""

    def __init__(
        self,
        estimator: Any,
        engine: QueryEngine,
        question: Question,
        context: Any,
        error: float | None,
        random_state: Any,
    ) -> None:
        self.chains = engine.chains(estimator._encode_fitted_context(context, 1))
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
            engine.family_of,
            question.given,
            question.event or AllOf(()),
            target,
        )
        engine.check_given(ConditionalQuery.of_missing(self.problem.known))

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
        if self.question.form == "P":
            total = self._estimate(_ERROR)
            value = float(total.value[0].clip(0.0, 1.0))
            return value, float(total.standard_error[0]), total, _first(total.spread)
        assert self.problem.target is not None
        partition = self.problem.partitions[self.problem.target]
        if self.question.form == "quantiles":
            return self._quantiles(partition, levels)
        if self.question.form == "E":
            factors = part_factors(partition, "number") if isinstance(partition, LevelPartition) else None
            total = self._estimate(0.0, factors, _DRAWS)
            value = self._shown(float(total.value[0])) if self.variable.unit else float(total.value[0])
            return value, float(total.standard_error[0]), total, _first(total.spread)
        assert isinstance(partition, LevelPartition)
        total = self._estimate(_ERROR, part_factors(partition, "levels"))
        each = (total.value, total.standard_error, total.spread)
        by_level, errors, spread = (self._by_level(numbers) for numbers in each)
        return by_level, errors, total, spread

    def _estimate(
        self, default_error: float, factors: np.ndarray | None = None, max_draws: int | None = None
    ) -> Estimate:
        """Return the sums, up to the error that was asked for, or else by default."""
        if self.error is not None:
            default_error, max_draws = self.error, None
        return estimate(self.problem, self.chains, default_error, self.generator, factors, max_draws)

    def _by_level(self, numbers: np.ndarray | None) -> dict[Any, float] | None:
        if numbers is None:
            return None
        return dict(zip(self.variable.levels or (), numbers.tolist(), strict=True))

    def _quantiles(self, partition: Any, levels: Sequence[float]) -> tuple[Any, Any, Estimate, Any]:
        if isinstance(partition, LevelPartition):
            total = self._estimate(0.0, part_factors(partition, "levels"), _DRAWS)
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
