"""Probabilities, expectations and distributions given events, from all states or from draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from chainrule.errors import QueryError
from chainrule.events.chains import Chain, Ending, Plan, listed, sampled
from chainrule.events.partitions import LevelPartition, LinePartition
from chainrule.events.resolved import Problem

__all__ = [
    "FIRST_DRAWS",
    "N_REPLICATES",
    "Estimate",
    "Uniforms",
    "check_consistent",
    "check_possible",
    "distinct",
    "estimate",
    "part_factors",
]

Floats = NDArray[np.float64]

N_REPLICATES = 32
"""Independent randomised quasi-Monte Carlo estimates, whose spread gives the standard error."""
FIRST_DRAWS = 2**12
MAX_DRAWS = 2**17
# Rows that pass through a network together.
_BATCH = 2**14


@dataclass(frozen=True)
class Estimate:
    """Sums of weights over the draws of each chain and replicate.

    Attributes
    ----------
    asked : ndarray (K, R, M)
        Weights times what is asked for.
    given : ndarray (K, R)
        Weights of the condition.
    squares : float
        Sum of their squares.
    reach : ndarray (M,)
        By how much the terms of `asked` differ at most.
    counts : tuple of int, length K
        For how many chains each of the K stands.
    is_exact : bool
    """

    asked: Floats
    given: Floats
    squares: float
    reach: Floats
    counts: tuple[int, ...]
    is_exact: bool

    @property
    def method(self) -> Literal["exact", "sampling"]:
        """How it came about."""
        return "exact" if self.is_exact else "sampling"

    @property
    def value(self) -> Floats:
        """What is asked for given the condition, (M,)."""
        return np.asarray(self.asked.sum((0, 1)) / self.given.sum())

    @property
    def n_effective(self) -> float | None:
        """The effective sample size (Kish 1965)."""
        return None if self.is_exact else float(self.given.sum() ** 2 / self.squares)

    @property
    def standard_error(self) -> Floats:
        """The standard error of the value, (M,), from the replicates (delta method for a ratio).

        Replicates of evenly spread points may all agree by chance, so one draw more or less is added to it.
        """
        if self.is_exact:
            return np.zeros(self.asked.shape[2])
        asked, given = self.asked.sum(0), self.given.sum(0)
        n = len(given)
        off = asked - self.value * given[:, None]
        error = np.sqrt((off**2).sum(0) * n / (n - 1)) / given.sum()
        one_draw = self.reach / given.sum()
        # Of something that no draw met, all that is known is that it is rarer than one in so many.
        never = (asked == 0).all(0)
        return np.asarray(np.where(never, 1 / (self.n_effective or 1.0), np.hypot(error, one_draw)))

    @property
    def spread(self) -> Floats | None:
        """The standard deviation of the value over the chains, (M,); None for one."""
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
            reach=np.maximum(self.reach, other.reach),
        )


def estimate(
    problem: Problem,
    chains: Sequence[Chain],
    error: float,
    generator: np.random.Generator,
    factors: Floats | None = None,
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
    factors : ndarray (J, M), optional
        What each of the J parts of the target counts for each of M numbers.
    max_draws : int, default=MAX_DRAWS
        So many at most.

    Raises
    ------
    QueryError
        If the condition cannot be, or is too improbable to be drawn.
    """
    check_consistent(problem)
    if problem.is_settled:
        value = np.array([[[float(not problem.asked_event.is_impossible)]]])
        return Estimate(value, np.ones((1, 1)), 1.0, np.zeros(1), (len(chains),), True)
    chains, counts = distinct(chains, problem)
    exact = _all_states(problem, chains, counts, factors)
    if exact is not None:
        check_possible(exact.given.sum())
        return exact
    stream = Uniforms(len(problem.sequence(chains[0].ranks)) + 1, generator)
    n = max(FIRST_DRAWS // (N_REPLICATES * len(chains)), 1)
    total = _from_draws(problem, chains, counts, factors, stream, n)
    while not total.given.sum() > 0 or total.standard_error.max() > error:
        if 2 * n * N_REPLICATES * len(chains) > (max_draws or MAX_DRAWS):
            break
        total = total.plus(_from_draws(problem, chains, counts, factors, stream, n))
        n *= 2
    check_possible(total.given.sum())
    return total


def check_consistent(problem: Problem) -> None:
    """Refuse a condition that no row can satisfy."""
    if problem.given_event.is_impossible:
        problem.refuse_what_never_holds()
        raise QueryError("the condition contradicts itself: no row can be like that")


def check_possible(weight: float) -> None:
    """Refuse a condition without any weight."""
    if not weight > 0:
        raise QueryError(
            "the condition has no probability that the model could tell from zero: widen its ranges, "
            "or leave a part of it out"
        )


def distinct(chains: Sequence[Chain], problem: Problem) -> tuple[list[Chain], tuple[int, ...]]:
    """Return the chains that answer differently, and for how many each stands."""
    keys = [(chain.key, problem.sequence(chain.ranks)) for chain in chains]
    first = {key: chain for key, chain in reversed(list(zip(keys, chains, strict=True)))}
    return [first[key] for key in dict.fromkeys(keys)], tuple(Counter(keys).values())


class Uniforms:
    """Points of a Sobol sequence, shifted at random for each replicate (Cranley & Patterson 1976)."""

    n_dimensions: int

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


# ---------------------------------------------------------------- all states, or draws


def _all_states(
    problem: Problem, chains: Sequence[Chain], counts: tuple[int, ...], factors: Floats | None
) -> Estimate | None:
    """Return the sums over all states, or None if they are too many or have no end."""
    if problem.n_endless > 1 or _needs_draws(problem):
        return None
    asked, given = [], []
    for chain, count in zip(chains, counts, strict=True):
        plan = problem.plan_asked(chain.ranks)
        ending = listed(chain, plan, problem.schema.n_variables, len(chains))
        weights = None if ending is None else _given_weights(problem, chain, ending, None, len(chains))
        if ending is None or weights is None:
            return None
        given.append(count * weights.sum())
        asked.append(count * _terms(problem, plan, ending, factors, None).sum(0))
    reach = np.zeros(asked[0].shape)
    return Estimate(np.stack(asked)[:, None], np.array(given)[:, None], 0.0, reach, counts, True)


def _needs_draws(problem: Problem) -> bool:
    """Whether the expectation of a number within limits is wanted, which families do not offer."""
    if problem.target is None:
        return False
    partition = problem.partitions[problem.target]
    return isinstance(partition, LinePartition) and len(partition.points) > 0


def _from_draws(
    problem: Problem,
    chains: Sequence[Chain],
    counts: tuple[int, ...],
    factors: Floats | None,
    stream: Uniforms,
    n: int,
) -> Estimate:
    """Return the sums of n draws for each chain and replicate."""
    each = [
        _of_chain(problem, chain, count, factors, list(stream.batches(n)))
        for chain, count in zip(chains, counts, strict=True)
    ]
    asked, given, squares, reach = zip(*each, strict=True)
    return Estimate(np.stack(asked), np.stack(given), sum(squares), np.stack(reach).max(0), counts, False)


def _of_chain(
    problem: Problem, chain: Chain, count: int, factors: Floats | None, uniforms: Sequence[Floats]
) -> tuple[Floats, Floats, float, Floats]:
    """Return the sums of one chain: asked (R, M), given (R,), squares, and reach (M,)."""
    plan = problem.plan_asked(chain.ranks)
    asked, given, lowest, highest = [], [], [], []
    for batch in uniforms:
        ending = sampled(chain, plan, batch, problem.schema.n_variables)
        weights = _given_weights(problem, chain, ending, batch)
        assert weights is not None
        given.append(count * weights)
        terms = count * _terms(problem, plan, ending, factors, batch[:, -1])
        asked.append(terms.reshape(-1, N_REPLICATES, terms.shape[1]).sum(0))
        lowest.append(terms.min(0))
        highest.append(terms.max(0))
    weights = np.concatenate(given)
    reach = np.max(highest, axis=0) - np.min(lowest, axis=0)
    squares = float((weights**2).sum())
    return np.sum(asked, axis=0), weights.reshape(-1, N_REPLICATES).sum(0), squares, reach


def _given_weights(
    problem: Problem, chain: Chain, ending: Ending, uniforms: Floats | None, n_chains: int = 1
) -> Floats | None:
    """Return the weights of the condition alone, with the same uniforms; None if states are too many."""
    if problem.target is not None:
        return ending.weights
    plan, n_variables = problem.plan_given(chain.ranks), problem.schema.n_variables
    if not plan.sequence:
        return np.ones(1 if uniforms is None else len(uniforms))
    if uniforms is not None:
        return sampled(chain, plan, uniforms, n_variables).weights
    of_given = listed(chain, plan, n_variables, n_chains)
    return None if of_given is None else of_given.weights


# ---------------------------------------------------------------- what is summed


def _terms(
    problem: Problem, plan: Plan, ending: Ending, factors: Floats | None, uniforms: Floats | None
) -> Floats:
    """Return each row's weight times what is asked for, (n, M)."""
    if problem.target is None:
        return ending.weights[:, None]
    target = plan.partitions[problem.target]
    if isinstance(target, LinePartition):
        return (ending.weights * _numbers(target, ending, uniforms))[:, None]
    assert factors is not None
    if problem.target != plan.sequence[-1]:
        return np.asarray(ending.weights[:, None] * factors[ending.parts[problem.target]])
    within = ending.part_masses * ending.allowed[:, target.cell_of_part]
    return np.asarray(ending.before[:, None] * (within @ factors))


def _numbers(target: LinePartition, ending: Ending, uniforms: Floats | None) -> Floats:
    """Return the expected number of the target in each row, (n,), or one drawn within the condition."""
    if len(target.points) == 0:
        codes = target.family.mean(ending.params.double()[:, None]).squeeze(1).numpy()
    else:
        assert uniforms is not None
        part, left = target.choose(ending.part_masses, ending.allowed, uniforms)
        codes = target.codes_within(part, left, ending.params)
    return np.asarray(target.variable.numbers(codes), dtype=np.float64)


def part_factors(partition: LevelPartition, of: Literal["number", "levels"]) -> Floats:
    """Return what each part counts: its expected number, (J, 1), or its share of each level, (J, L)."""
    if of == "number":
        return partition.part_numbers()[:, None]
    return partition.level_masses(np.eye(len(partition.cell_of_part)))
