"""Quantiles of real numbers and counts given events."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from chainrule.events.chains import Chain, Ending, listed, sampled
from chainrule.events.estimates import (
    FIRST_DRAWS,
    N_REPLICATES,
    Estimate,
    Uniforms,
    check_consistent,
    check_possible,
    distinct,
)
from chainrule.events.partitions import LinePartition
from chainrule.events.resolved import Problem

__all__ = ["quantiles_on_line"]

Floats = NDArray[np.float64]

# Codes of quantiles are not looked for beyond.
_HIGHEST = 2.0**24


def quantiles_on_line(
    problem: Problem, chains: Sequence[Chain], levels: Sequence[float], generator: np.random.Generator
) -> tuple[Floats, Floats, Estimate]:
    """Return quantiles of a target without levels, (Q,), their standard errors, and the sums at the last.

    A standard error is that of the distribution function there, over its slope.
    """
    check_consistent(problem)
    chains, counts = distinct(chains, problem)
    assert problem.target is not None
    target = problem.partitions[problem.target]
    assert isinstance(target, LinePartition)
    endings, is_exact = _endings(problem, chains, generator)
    check_possible(sum(float(ending.weights.sum()) for ending in endings))
    reached = _Reached(target, endings, counts, 1 if is_exact else N_REPLICATES)
    values, errors, sums = [], [], None
    for level in levels:
        code = _bisect(partial(reached.is_up_to, level), target)
        sums = reached.of(code)
        step = 1.0 if target.variable.is_discrete else 1e-3
        slope = (sums.value[0] - reached.of(code - step).value[0]) / step
        values.append(float(np.asarray(target.variable.numbers(np.array([code])))[0]))
        unit = float(np.diff(np.asarray(target.variable.numbers(np.array([0.0, 1.0]))))[0])
        errors.append(sums.standard_error[0] / max(slope, 1e-12) * unit)
    assert sums is not None
    return np.array(values), np.array(errors), sums


class _Reached:
    """The distribution function of a target given a condition, from rows in which all else is drawn."""

    def __init__(
        self, target: LinePartition, endings: Sequence[Ending], counts: tuple[int, ...], n_replicates: int
    ) -> None:
        self.target, self.endings, self.counts = target, endings, counts
        self.n_replicates = n_replicates
        self._at = [target.reached(ending.params) for ending in endings]

    def is_up_to(self, level: float, code: float) -> bool:
        """Return whether P(X <= code) is at least a level."""
        return bool(self.of(code).value[0] >= level - 1e-12)

    def of(self, code: float) -> Estimate:
        """Return the sums whose ratio is P(X <= code)."""
        asked, given, squares, reach = [], [], 0.0, 0.0
        for ending, reached, count in zip(self.endings, self._at, self.counts, strict=True):
            up_to = self.target.cdf(np.full(len(reached), code), ending.params)[:, None]
            below = np.clip(up_to, reached[:, :-1], reached[:, 1:]) - reached[:, :-1]
            below = (below * ending.allowed[:, self.target.cell_of_part]).sum(1)
            terms, weights = count * ending.before * below, count * ending.weights
            squares += float((weights**2).sum())
            reach = max(reach, float(np.ptp(terms)))
            given.append(weights.reshape(-1, self.n_replicates).sum(0))
            asked.append(terms.reshape(-1, self.n_replicates).sum(0))
        sums, is_exact = np.stack(asked)[:, :, None], self.n_replicates == 1
        return Estimate(sums, np.stack(given), squares, np.array([reach]), self.counts, is_exact)


def _endings(
    problem: Problem, chains: Sequence[Chain], generator: np.random.Generator
) -> tuple[list[Ending], bool]:
    """Return one ending of each chain, and whether they are all states rather than draws."""
    n_variables = problem.schema.n_variables
    plans = [problem.plan_asked(chain.ranks) for chain in chains]
    if problem.n_endless == 1:
        pairs, n_chains = zip(chains, plans, strict=True), len(chains)
        all_states = [listed(chain, plan, n_variables, n_chains) for chain, plan in pairs]
        found = [ending for ending in all_states if ending is not None]
        if len(found) == len(chains):
            return found, True
    stream = Uniforms(len(plans[0].sequence), generator)
    n = max(FIRST_DRAWS // (N_REPLICATES * len(chains)), 1)
    return [
        sampled(chain, plan, np.concatenate(list(stream.batches(n))), n_variables)
        for chain, plan in zip(chains, plans, strict=True)
    ], False


def _bisect(is_reached: Callable[[float], bool], target: LinePartition) -> float:
    """Return the least code at which something is reached, by bisection."""
    whole, low, high = target.variable.is_discrete, -1.0, 1.0
    while not is_reached(high) and high < _HIGHEST:
        low, high = high, 2 * high
    while not whole and is_reached(low) and low > -_HIGHEST:
        low, high = 2 * low, low
    while high - low > (1.0 if whole else 1e-9 * max(1.0, abs(high))):
        middle = math.floor((low + high) / 2) if whole else (low + high) / 2
        low, high = (low, middle) if is_reached(middle) else (middle, high)
    return high
