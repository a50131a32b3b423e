"""Rows drawn given events."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from chainrule.events.chains import Chain, Ending, Plan, listed, sampled
from chainrule.events.estimates import FIRST_DRAWS, check_consistent, check_possible, distinct
from chainrule.events.partitions import LevelPartition
from chainrule.events.resolved import Problem

__all__ = ["draws_given"]

Floats = NDArray[np.float64]


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
    check_consistent(problem)
    rows = np.full((n, problem.schema.n_variables), np.nan, dtype=np.float32)
    for d, code in problem.evidence.items():
        rows[:, d] = code
    if not problem.given_event.columns:
        return rows, math.inf
    chains, counts = distinct(chains, problem)
    n_each = max(FIRST_DRAWS, 4 * n) // len(chains)
    each = [_weighted(chain, problem, n_each, len(chains), generator) for chain in chains]
    weights = np.concatenate([c * rows.weights for c, rows in zip(counts, each, strict=True)])
    check_possible(weights.sum())
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
    weights: Floats
    is_listed: bool

    def drawn(self, index: NDArray[np.int64], generator: np.random.Generator) -> dict[int, Floats]:
        """Return codes of the condition's columns in some of the rows."""
        last = self.plan.sequence[-1]
        partition = self.plan.partitions[last]
        part, left = partition.choose(
            self.ending.part_masses[index], self.ending.allowed[index], generator.random(len(index))
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


def _weighted(
    chain: Chain, problem: Problem, n: int, n_chains: int, generator: np.random.Generator
) -> _Weighted:
    """Return all states of a condition by one chain, or n draws."""
    plan = problem.plan_given(chain.ranks)
    ending = listed(chain, plan, problem.schema.n_variables, n_chains)
    if ending is not None:
        return _Weighted(plan, ending, ending.weights, True)
    uniforms = generator.random((n, len(plan.sequence) - 1))
    ending = sampled(chain, plan, uniforms, problem.schema.n_variables)
    return _Weighted(plan, ending, ending.weights / n, False)
