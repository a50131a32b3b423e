"""Probabilities, expectations and quantiles given events, from all states or draws, and draws given them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from chainrule.errors import QueryError
from chainrule.events.chains import Chain, Ending, Plan, listed, sampled
from chainrule.events.partitions import LevelPartition, LinePartition
from chainrule.events.resolved import Problem

__all__ = ["Estimate", "MAX_DRAWS", "draws_given", "estimate", "quantiles_on_line"]

Floats = NDArray[np.float64]

N_REPLICATES = 32
"""Independent randomised quasi-Monte Carlo estimates, whose spread gives the standard error."""
FIRST_DRAWS = 2**12
MAX_DRAWS = 2**17
# Rows that pass through a network together.
_BATCH = 2**14
# Codes of quantiles are not looked for beyond.
_HIGHEST = 2.0**24


@dataclass(frozen=True)
class Estimate:
    """Sums of weights over the draws of each chain and replicate.

    Attributes
    ----------
    asked : ndarray (K, R, J)
        Weights times what is asked for.
    given : ndarray (K, R)
        Weights.
    squares : float
        Sum of the squares of all weights.
    counts : tuple of int, length K
        For how many chains each of the K stands.
    is_exact : bool
    """

    asked: Floats
    given: Floats
    squares: float
    counts: tuple[int, ...]
    is_exact: bool

    @property
    def method(self) -> Literal["exact", "sampling"]:
        """How it came about."""
        return "exact" if self.is_exact else "sampling"

    @property
    def value(self) -> Floats:
        """What is asked for given the condition, (J,)."""
        return np.asarray(self.asked.sum((0, 1)) / self.given.sum())

    @property
    def n_effective(self) -> float | None:
        """The effective sample size (Kish 1965)."""
        return None if self.is_exact else float(self.given.sum() ** 2 / self.squares)

    def linear(self, factors: Floats) -> Estimate:
        """Return the estimate of the sums with factors (J, M)."""
        return replace(self, asked=self.asked @ factors)

    @property
    def standard_error(self) -> Floats:
        """The standard error of the value, (J,), from the replicates (delta method for a ratio)."""
        if self.is_exact:
            return np.zeros(self.asked.shape[2])
        asked, given = self.asked.sum(0), self.given.sum(0)
        n = len(given)
        off = asked - self.value * given[:, None]
        error = np.sqrt((off**2).sum(0) * n / (n - 1)) / given.sum()
        # Of something that no draw met, all that is known is that it is rarer than one in so many.
        never = (asked == 0).all(0)
        return np.asarray(np.where(never, 1 / (self.n_effective or 1.0), error))

    @property
    def spread(self) -> Floats | None:
        """The standard deviation of the value over the chains, (J,)."""
        if sum(self.counts) < 2:
            return None
        each = self.asked.sum(1) / self.given.sum(1)[:, None].clip(1e-300)
        return np.asarray(np.repeat(each, self.counts, axis=0).std(0, ddof=1))

    def plus(self, other: Estimate) -> Estimate:
        """Return the estimate from the draws of both."""
        return replace(
            self,
            asked=self.asked + other.asked,
            given=self.given + other.given,
            squares=self.squares + other.squares,
        )


def estimate(
    problem: Problem,
    chains: Sequence[Chain],
    error: float,
    generator: np.random.Generator,
    max_draws: int | None = None,
) -> Estimate:
    """Return what the chains say on average: exactly where states are few, else from draws.

    Parameters
    ----------
    problem : Problem
    chains : sequence of Chain
        The answer is that of the mean of their distributions, each given what is observed.
    error : float
        Draws are doubled until the standard error of each number is at most that.
    generator : numpy Generator
    max_draws : int, default=MAX_DRAWS
        So many at most.

    Raises
    ------
    QueryError
        If the condition cannot be, or is too improbable to be drawn.
    """
    if problem.given_event.is_impossible:
        raise QueryError("the condition contradicts itself: no row can be like that")
    if problem.is_settled:
        value = np.array([[[float(not problem.asked_event.is_impossible)]]])
        return Estimate(value, np.ones((1, 1)), 1.0, (len(chains),), True)
    exact = _all_states(problem, chains)
    if exact is not None:
        _check_possible(exact.given.sum())
        return exact
    chains, counts = _distinct(chains, problem)
    plans = [problem.plan(chain.ranks) for chain in chains]
    stream = _Uniforms(len(plans[0].sequence) + 1, generator)
    n = max(FIRST_DRAWS // (N_REPLICATES * len(chains)), 1)
    total = _from_draws(problem, chains, counts, stream, n)
    while total.standard_error.max() > error or total.given.sum() == 0:
        if 2 * n * N_REPLICATES * len(chains) > (max_draws or MAX_DRAWS):
            break
        total = total.plus(_from_draws(problem, chains, counts, stream, n))
        n *= 2
    _check_possible(total.given.sum())
    return total


def _check_possible(weight: float) -> None:
    if not weight > 0:
        raise QueryError(
            "the condition has no probability that the model could tell from zero: widen its ranges, "
            "or leave a part of it out"
        )


def _all_states(problem: Problem, chains: Sequence[Chain]) -> Estimate | None:
    asked, given = [], []
    if problem.n_endless > 1:
        return None
    n_variables = problem.schema.n_variables
    chains, counts = _distinct(chains, problem)
    for chain, count in zip(chains, counts, strict=True):
        plan = problem.plan(chain.ranks)
        if _needs_draws(problem, plan):
            return None
        ending = listed(chain, plan, n_variables)
        if ending is None:
            return None
        weights, numbers = _contributions(problem, plan, ending, None)
        given.append(count * weights.sum())
        asked.append(count * numbers.sum(0))
    return Estimate(np.stack(asked)[:, None], np.array(given)[:, None], 0.0, counts, True)


def _distinct(chains: Sequence[Chain], problem: Problem) -> tuple[list[Chain], tuple[int, ...]]:
    """Return the chains that answer differently, and for how many each stands."""
    keys = [(chain.key, problem.plan(chain.ranks).sequence) for chain in chains]
    first = {key: chain for key, chain in reversed(list(zip(keys, chains, strict=True)))}
    return [first[key] for key in dict.fromkeys(keys)], tuple(Counter(keys).values())


def _needs_draws(problem: Problem, plan: Plan) -> bool:
    """Whether the expectation of a real number within limits is wanted, which families do not offer."""
    if problem.target is None:
        return False
    partition = problem.partitions[problem.target]
    if isinstance(partition, LinePartition):
        return len(partition.points) > 0 or plan.sequence[-1] != problem.target
    return False


def _from_draws(
    problem: Problem, chains: Sequence[Chain], counts: tuple[int, ...], stream: _Uniforms, n: int
) -> Estimate:
    """Return the sums of n draws for each chain and replicate."""
    asked, given, squares = [], [], 0.0
    for chain, count in zip(chains, counts, strict=True):
        plan, sums, of_weights = problem.plan(chain.ranks), None, np.zeros(N_REPLICATES)
        for uniforms in stream.batches(n):
            ending = sampled(chain, plan, uniforms[:, :-1], problem.schema.n_variables)
            weights, numbers = _contributions(problem, plan, ending, uniforms[:, -1])
            weights, numbers = count * weights, count * numbers
            squares += float((weights**2).sum())
            of_weights += weights.reshape(-1, N_REPLICATES).sum(0)
            part = numbers.reshape(-1, N_REPLICATES, numbers.shape[1]).sum(0)
            sums = part if sums is None else sums + part
        asked.append(sums)
        given.append(of_weights)
    sums_of_asked = np.stack([each for each in asked if each is not None])
    return Estimate(sums_of_asked, np.stack(given), squares, counts, False)


class _Uniforms:
    """Points of a Sobol sequence, shifted at random for each replicate (Cranley & Patterson 1976)."""

    def __init__(self, n_dimensions: int, generator: np.random.Generator) -> None:
        self._sobol = torch.quasirandom.SobolEngine(n_dimensions)
        self._generator, self.n_dimensions = generator, n_dimensions

    def batches(self, n: int) -> Iterator[Floats]:
        """Yield uniforms (n R, dimensions) in parts; replicate r has rows r, r + R, ...

        Each call has shifts of its own, so that chains and rounds are independent.
        """
        shifts = self._generator.random((N_REPLICATES, self.n_dimensions))
        self._sobol.reset()
        most = max(_BATCH // N_REPLICATES, 1)
        for start in range(0, n, most):
            points = self._sobol.draw(min(most, n - start), dtype=torch.float64).numpy()
            yield ((points[:, None] + shifts) % 1.0).reshape(-1, self.n_dimensions)


# ---------------------------------------------------------------- what is summed


def _contributions(
    problem: Problem, plan: Plan, ending: Ending, uniforms: Floats | None
) -> tuple[Floats, Floats]:
    """Return each row's weight (n,), and the weights of what is asked for, (n, J)."""
    last = plan.sequence[-1]
    partition = plan.partitions[last]
    part_masses = partition.part_masses(ending.params)
    masses = partition.masses(part_masses)
    weights = ending.weights * (masses * ending.given).sum(1)
    if problem.target is None:
        return weights, (ending.asked_weights * (masses * ending.asked).sum(1))[:, None]
    target = plan.partitions[problem.target]
    if isinstance(target, LinePartition):
        return weights, (weights * _numbers(target, ending, part_masses, uniforms))[:, None]
    if last != problem.target:
        is_part = np.eye(len(target.cell_of_part))[ending.parts[problem.target]]
        return weights, weights[:, None] * is_part
    within = part_masses * ending.given[:, partition.cell_of_part]
    return weights, ending.weights[:, None] * within


def _numbers(target: LinePartition, ending: Ending, part_masses: Floats, uniforms: Floats | None) -> Floats:
    """Return the expected number of the target in each row, (n,), or one drawn within the condition."""
    if len(target.points) == 0:
        codes = target.family.mean(ending.params.double()[:, None]).squeeze(1).numpy()
    else:
        assert uniforms is not None
        part, left = target.choose(part_masses, ending.given, uniforms)
        codes = target.codes_within(part, left, ending.params)
    return np.asarray(target.variable.numbers(codes), dtype=np.float64)


# ---------------------------------------------------------------- quantiles of real numbers and counts


def quantiles_on_line(
    problem: Problem, chains: Sequence[Chain], levels: Sequence[float], generator: np.random.Generator
) -> tuple[Floats, Floats, Estimate]:
    """Return quantiles of a target without levels, (Q,), their standard errors, and the sums at them.

    The standard error is that of the distribution function there, over its slope.
    """
    chains, counts = _distinct(chains, problem)
    endings, is_exact = _endings(problem, chains, generator)
    target = problem.partitions[problem.target] if problem.target is not None else None
    assert isinstance(target, LinePartition)
    reached = _Reached(target, endings, counts, 1 if is_exact else N_REPLICATES)
    values, errors, sums = [], [], None
    for level in levels:
        code = _bisect(partial(reached.is_up_to, level), target)
        sums = reached.of(code)
        step = 1.0 if target.variable.is_discrete else 1e-3
        slope = (sums.value[0] - reached.of(code - step).value[0]) / step
        values.append(float(np.asarray(target.variable.numbers(np.array([code])))[0]))
        scale = float(np.diff(np.asarray(target.variable.numbers(np.array([0.0, 1.0]))))[0])
        errors.append(sums.standard_error[0] / max(slope, 1e-12) * scale)
    assert sums is not None
    return np.array(values), np.array(errors), sums


class _Reached:
    """The distribution function of a target given a condition, from rows in which all else is drawn."""

    def __init__(
        self, target: LinePartition, endings: Sequence[Ending], counts: tuple[int, ...], n_replicates: int
    ) -> None:
        self.target, self.endings, self.n_replicates = target, endings, n_replicates
        self.counts = counts
        self._at = [target.reached(ending.params) for ending in endings]

    def is_up_to(self, level: float, code: float) -> bool:
        """Return whether P(X <= code) is at least a level."""
        return bool(self.of(code).value[0] >= level - 1e-12)

    def of(self, code: float) -> Estimate:
        """Return the sums whose ratio is P(X <= code)."""
        asked, given, squares = [], [], 0.0
        for ending, reached, count in zip(self.endings, self._at, self.counts, strict=True):
            allowed = ending.given[:, self.target.cell_of_part]
            up_to = self.target.cdf(np.full(len(reached), code), ending.params)[:, None]
            below = (np.clip(up_to, reached[:, :-1], reached[:, 1:]) - reached[:, :-1]) * allowed
            weights = count * ending.weights * (np.diff(reached, axis=1) * allowed).sum(1)
            squares += float((weights**2).sum())
            given.append(weights.reshape(-1, self.n_replicates).sum(0))
            asked.append((count * ending.weights * below.sum(1)).reshape(-1, self.n_replicates).sum(0))
        is_exact = self.n_replicates == 1
        return Estimate(np.stack(asked)[:, :, None], np.stack(given), squares, self.counts, is_exact)


def _endings(
    problem: Problem, chains: Sequence[Chain], generator: np.random.Generator
) -> tuple[list[Ending], bool]:
    """Return one ending of each chain: all states, or draws."""
    n_variables = problem.schema.n_variables
    plans = [problem.plan(chain.ranks) for chain in chains]
    if problem.n_endless == 1:
        all_states = [listed(chain, plan, n_variables) for chain, plan in zip(chains, plans, strict=True)]
        found = [ending for ending in all_states if ending is not None]
        if len(found) == len(chains):
            return found, True
    stream = _Uniforms(len(plans[0].sequence), generator)
    n = max(FIRST_DRAWS // (N_REPLICATES * len(chains)), 1)
    return [
        sampled(chain, plan, np.concatenate(list(stream.batches(n)))[:, :-1], n_variables)
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


# ---------------------------------------------------------------- draws


def draws_given(
    problem: Problem, chains: Sequence[Chain], n: int, generator: np.random.Generator
) -> tuple[NDArray[np.float32], float]:
    """Return codes (n, D) of a condition's rows, NaN in columns that it does not name, and their worth.

    Rows are drawn within the condition one column after the other and resampled by their weights.

    Returns
    -------
    codes : ndarray (n, D)
    n_effective : float
        Effective size of the sample that was resampled; infinite where it was all states.

    Raises
    ------
    QueryError
        If the condition cannot be, or is too improbable to be drawn.
    """
    if problem.given_event.is_impossible:
        raise QueryError("the condition contradicts itself: no row can be like that")
    rows = np.full((n, problem.schema.n_variables), np.nan, dtype=np.float32)
    for d, code in problem.evidence.items():
        rows[:, d] = code
    if not problem.given_event.columns:
        return rows, math.inf
    chains, counts = _distinct(chains, problem)
    each = [_weighted(chain, problem, max(FIRST_DRAWS, 4 * n) // len(chains), generator) for chain in chains]
    weights = np.concatenate([c * rows.weights for c, rows in zip(counts, each, strict=True)])
    _check_possible(weights.sum())
    chosen = np.sort(generator.choice(len(weights), size=n, p=weights / weights.sum()))
    first = 0
    for part in each:
        mine = np.flatnonzero((chosen >= first) & (chosen < first + len(part.weights)))
        for d, codes in part.drawn(chosen[mine] - first, generator).items():
            rows[mine, d] = codes
        first += len(part.weights)
    is_listed = all(part.is_listed for part in each)
    generator.shuffle(rows)
    return rows, math.inf if is_listed else float(weights.sum() ** 2 / (weights**2).sum())


@dataclass(frozen=True)
class _Weighted:
    """Rows of a condition by one chain, each with its weight."""

    plan: Plan
    ending: Ending
    part_masses: Floats
    weights: Floats
    is_listed: bool

    def drawn(self, index: NDArray[np.int64], generator: np.random.Generator) -> dict[int, Floats]:
        """Return codes of the condition's columns in some of the rows."""
        last = self.plan.sequence[-1]
        partition = self.plan.partitions[last]
        part, left = partition.choose(
            self.part_masses[index], self.ending.given[index], generator.random(len(index))
        )
        parts = {d: of_all[index] for d, of_all in self.ending.parts.items()} | {last: part}
        drawn: dict[int, Floats] = {}
        for d, chosen in parts.items():
            own = self.plan.partitions[d]
            if isinstance(own, LevelPartition):
                drawn[d] = own.refined(chosen, generator)
            elif d == last:
                drawn[d] = own.codes_within(part, left, self.ending.params[torch.from_numpy(index)])
            else:
                drawn[d] = self.ending.codes[index, d].astype(np.float64)
        return drawn


def _weighted(chain: Chain, problem: Problem, n: int, generator: np.random.Generator) -> _Weighted:
    """Return all states of a condition by one chain, or n draws."""
    plan = problem.plan(chain.ranks)
    ending = listed(chain, plan, problem.schema.n_variables)
    is_listed = ending is not None
    if ending is None:
        uniforms = generator.random((n, len(plan.sequence) - 1))
        ending = sampled(chain, plan, uniforms, problem.schema.n_variables)
    last = plan.partitions[plan.sequence[-1]]
    part_masses = last.part_masses(ending.params)
    weights = ending.weights * (last.masses(part_masses) * ending.given).sum(1)
    return _Weighted(plan, ending, part_masses, weights if is_listed else weights / n, is_listed)
