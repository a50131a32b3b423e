"""From models to weighted rows of an event: all of them, or some drawn in sequence.

Column after column is drawn from its conditional within the cells that leave the event possible; a row's
weight is the product of the masses of those cells, and its expectation the event's probability. That is
sequential importance sampling (Kong, Liu & Wong 1994) with a look-ahead that never leads into a dead end.
Where the states of all columns but the last are few, they are listed instead, and the answer is exact.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from chainrule.events.compiled import Event, Lookahead
from chainrule.events.conditions import Truth
from chainrule.events.partitions import LevelPartition, LinePartition

__all__ = ["AnyPartition", "Chain", "Ending", "Plan", "listed", "sampled"]

AnyPartition = LevelPartition | LinePartition
Floats = NDArray[np.float64]

MAX_STATES = 40_000
"""So many states of all chains together are listed at most; beyond, rows are drawn."""
MAX_LOOKED_AT = 16 * MAX_STATES
"""So many are looked at for those that rules leave."""


class Chain(Protocol):
    """A model under one order."""

    @property
    def key(self) -> Hashable:
        """What tells it from chains that answer alike when columns come in the same sequence."""
        ...

    @property
    def ranks(self) -> Sequence[int]:
        """The position of each variable, (D,)."""
        ...

    def params(self, codes: NDArray[np.float32], observed: Sequence[int], d: int) -> Tensor:
        """Return the params (n, P_d) of variable d, on the CPU, given the codes of some variables."""
        ...


@dataclass(frozen=True)
class Plan:
    """What is observed, an event, and the sequence in which its columns are drawn.

    Parameters
    ----------
    evidence : dict of int to float
        Codes, as models see them, of what is observed.
    partitions : mapping of int to partition
    event : Event
    sequence : tuple of int
        Its columns, and others that are drawn freely; the last one is never drawn.
    """

    evidence: Mapping[int, float]
    partitions: Mapping[int, AnyPartition]
    event: Event
    sequence: tuple[int, ...]

    @property
    def last(self) -> AnyPartition:
        """The partition of the last column."""
        return self.partitions[self.sequence[-1]]


@dataclass(frozen=True)
class Ending:
    """Rows in which all columns of a sequence but the last have values.

    Attributes
    ----------
    weights : ndarray (n,)
        The probability of each, or what it weighs as a draw, the last column included.
    before : ndarray (n,)
        The same without the last column.
    params : Tensor (n, P)
        Of the last column.
    part_masses : ndarray (n, J)
        Of its parts.
    allowed : ndarray of bool (n, C)
        Which of its cells the event allows.
    codes : ndarray (n, D)
        Codes as models see them.
    parts : dict of int to ndarray (n,)
        The part of each column that was drawn.
    """

    weights: Floats
    before: Floats
    params: Tensor
    part_masses: Floats
    allowed: Truth
    codes: NDArray[np.float32]
    parts: dict[int, NDArray[np.int64]]


class _Rows:
    """Prefixes of rows on their way through a sequence."""

    def __init__(self, chain: Chain, plan: Plan, n_variables: int, n: int) -> None:
        self.chain, self.plan = chain, plan
        self.codes = np.zeros((n, n_variables), dtype=np.float32)
        for d, code in plan.evidence.items():
            self.codes[:, d] = code
        self.weights = np.ones(n)
        self.parts: dict[int, NDArray[np.int64]] = {}
        self.cells: dict[int, NDArray[np.int64]] = {}
        self._lookahead = Lookahead(plan.event, plan.sequence, plan.partitions)

    def params(self, position: int) -> Tensor:
        """Return the params of the column at a position of the sequence, given those before."""
        observed = [*self.plan.evidence, *self.plan.sequence[:position]]
        return self.chain.params(self.codes, observed, self.plan.sequence[position])

    def allowed(self, position: int) -> Truth:
        """Return the cells of that column that leave the event possible, (n, C)."""
        return self._lookahead.allowed(self.plan.sequence[position], self.cells, len(self.codes))

    def put(self, d: int, codes: Floats, parts: NDArray[np.int64]) -> None:
        """Give column d its codes."""
        self.codes[:, d] = codes
        self.parts[d] = parts
        self.cells[d] = self.plan.partitions[d].cell_of_part[parts]

    def take(self, index: NDArray[np.int64]) -> None:
        """Keep some rows, or several copies of them."""
        self.codes, self.weights = self.codes[index], self.weights[index]
        self.parts = {d: parts[index] for d, parts in self.parts.items()}
        self.cells = {d: cells[index] for d, cells in self.cells.items()}

    def ending(self) -> Ending:
        """Return the rows with what the last column may be."""
        position, last = len(self.plan.sequence) - 1, self.plan.last
        params, allowed = self.params(position), self.allowed(position)
        part_masses = last.part_masses(params)
        weights = self.weights * (last.masses(part_masses) * allowed).sum(axis=1)
        return Ending(weights, self.weights, params, part_masses, allowed, self.codes, self.parts)


def listed(chain: Chain, plan: Plan, n_variables: int, n_chains: int) -> Ending | None:
    """Return every state of all columns but the last, or None if they are too many or have no end.

    They are too many if as many for each of `n_chains` would be.
    """
    if any(isinstance(plan.partitions[d], LinePartition) for d in plan.sequence[:-1]):
        return None
    rows = _Rows(chain, plan, n_variables, 1)
    for position, d in enumerate(plan.sequence[:-1]):
        partition = plan.partitions[d]
        assert isinstance(partition, LevelPartition)
        possible = rows.allowed(position)[:, partition.cell_of_part]
        if possible.sum() * n_chains > MAX_LOOKED_AT:
            return None
        masses = partition.part_masses(rows.params(position))
        possible &= masses > 0
        if possible.sum() * n_chains > MAX_STATES:
            return None
        index, part = np.nonzero(possible) if possible.any() else (np.zeros(1, np.int64),) * 2
        rows.take(index)
        rows.weights = rows.weights * (masses * possible)[index, part]
        rows.put(d, partition.part_code[part].astype(np.float64), part)
    return rows.ending()


def sampled(chain: Chain, plan: Plan, uniforms: Floats, n_variables: int) -> Ending:
    """Return rows drawn in sequence from uniforms (n, at least len(sequence) - 1)."""
    rows = _Rows(chain, plan, n_variables, len(uniforms))
    for position, d in enumerate(plan.sequence[:-1]):
        partition = plan.partitions[d]
        allowed, params = rows.allowed(position), rows.params(position)
        part_masses = partition.part_masses(params)
        rows.weights = rows.weights * (partition.masses(part_masses) * allowed).sum(axis=1)
        part, left = partition.choose(part_masses, allowed, uniforms[:, position])
        rows.put(d, partition.codes_within(part, left, params), part)
    return rows.ending()
