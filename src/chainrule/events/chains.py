"""From models to weighted prefixes of rows: all of them, or some drawn in sequence.

The columns of a condition come first, each drawn from its conditional within the cells that leave the
condition possible; a row's weight is the product of the masses of those cells. That is sequential importance
sampling (Kong, Liu & Wong 1994) with a look-ahead that never leads into a dead end of one condition. Where
the states of all columns but the last are few, they are listed instead, and the answer is exact.
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

MAX_STATES = 5_000
"""So many states are listed at most; beyond, rows are drawn."""


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
    """What is observed, the condition, what is asked for, and the columns' sequence.

    Parameters
    ----------
    evidence : dict of int to float
        Codes, as models see them, of what is observed.
    partitions : mapping of int to partition
    given, asked : Event
        `asked` has no table where the last column's distribution is wanted.
    sequence : tuple of int
        Columns of both; the last one is never drawn.
    n_given : int
        So many leading columns are drawn within `given`; the later ones, which it does not name, within
        `asked`.
    """

    evidence: Mapping[int, float]
    partitions: Mapping[int, AnyPartition]
    given: Event
    asked: Event
    sequence: tuple[int, ...]
    n_given: int


@dataclass(frozen=True)
class Ending:
    """Rows in which all columns of a sequence but the last have values.

    Attributes
    ----------
    weights : ndarray (n,)
        Their probability, or what they weigh as draws, the condition's part of the last column left out.
    asked_weights : ndarray (n,)
        The same times the masses of what is asked for.
    params : Tensor (n, P)
        Of the last column.
    given, asked : ndarray of bool (n, C)
        Which of its cells the condition, and the question beside it, allow.
    codes : ndarray (n, D)
        Codes as models see them.
    parts : dict of int to ndarray (n,)
        The part of each column that was drawn.
    rows : ndarray of int (n,)
        Which of the uniforms each row was drawn with.
    """

    weights: Floats
    asked_weights: Floats
    params: Tensor
    given: Truth
    asked: Truth
    codes: NDArray[np.float32]
    parts: dict[int, NDArray[np.int64]]
    rows: NDArray[np.int64]


class _Rows:
    """Prefixes of rows on their way through a sequence."""

    def __init__(self, plan: Plan, n_variables: int, n: int) -> None:
        self.plan = plan
        self.codes = np.zeros((n, n_variables), dtype=np.float32)
        for d, code in plan.evidence.items():
            self.codes[:, d] = code
        self.weights, self.asked_weights = np.ones(n), np.ones(n)
        self.parts: dict[int, NDArray[np.int64]] = {}
        self.cells: dict[int, NDArray[np.int64]] = {}
        self.rows = np.arange(n)
        self._given = Lookahead(plan.given, plan.sequence, plan.partitions)
        self._asked = Lookahead(plan.asked, plan.sequence, plan.partitions)

    def __len__(self) -> int:
        return len(self.codes)

    def observed(self, position: int) -> list[int]:
        """Return the columns that are known before a position of the sequence."""
        return [*self.plan.evidence, *self.plan.sequence[:position]]

    def allowed(self, position: int) -> tuple[Truth, bool]:
        """Return the cells that may be drawn there, and whether that is for the sake of the question."""
        d, is_given = self.plan.sequence[position], position < self.plan.n_given
        return (self._given if is_given else self._asked).allowed(d, self.cells, len(self)), not is_given

    def weigh(self, masses: Floats, is_asked: bool) -> None:
        """Multiply the weights by masses (n,)."""
        self.asked_weights = self.asked_weights * masses
        if not is_asked:
            self.weights = self.weights * masses

    def put(self, d: int, codes: Floats, parts: NDArray[np.int64]) -> None:
        """Give column d its codes."""
        self.codes[:, d] = codes
        self.parts[d] = parts
        self.cells[d] = self.plan.partitions[d].cell_of_part[parts]

    def take(self, index: NDArray[np.int64]) -> None:
        """Keep some rows, or several copies of them."""
        self.codes, self.rows = self.codes[index], self.rows[index]
        self.weights, self.asked_weights = self.weights[index], self.asked_weights[index]
        self.parts = {d: parts[index] for d, parts in self.parts.items()}
        self.cells = {d: cells[index] for d, cells in self.cells.items()}

    def ending(self, params: Tensor) -> Ending:
        """Return the rows with what the last column may be."""
        last, n = self.plan.sequence[-1], len(self)
        given = self._given.allowed(last, self.cells, n)
        asked = self._asked.allowed(last, self.cells, n) & given & self._still_asked(last)[:, None]
        return Ending(
            self.weights, self.asked_weights, params, given, asked, self.codes, self.parts, self.rows
        )

    def _still_asked(self, last: int) -> Truth:
        """Return in which rows what is asked for is still possible, (n,)."""
        possible = np.ones(len(self), dtype=bool)
        for columns, table in self.plan.asked.tables:
            if last not in columns:
                possible &= table[tuple(self.cells[d] for d in columns)]
        return possible


def listed(chain: Chain, plan: Plan, n_variables: int) -> Ending | None:
    """Return every state of all columns but the last, or None if they are too many or have no end."""
    if any(isinstance(plan.partitions[d], LinePartition) for d in plan.sequence[:-1]):
        return None
    rows = _Rows(plan, n_variables, 1)
    for position, d in enumerate(plan.sequence[:-1]):
        partition = plan.partitions[d]
        assert isinstance(partition, LevelPartition)
        allowed, is_asked = rows.allowed(position)
        possible = allowed[:, partition.cell_of_part]
        if possible.sum() > MAX_STATES:
            return None
        masses = partition.part_masses(chain.params(rows.codes, rows.observed(position), d))
        total = (masses * possible).sum(axis=1)
        if is_asked:
            # What the condition weighs must not be lost with states that answer no.
            possible = possible | (total == 0)[:, None]
        index, part = np.nonzero(possible)
        mass, is_right = masses[index, part], allowed[index, partition.cell_of_part[part]]
        share = mass / np.where(total > 0, total, masses.sum(axis=1))[index] if is_asked else mass
        rows.take(index)
        rows.weights = rows.weights * share
        rows.asked_weights = rows.asked_weights * mass * is_right
        rows.put(d, partition.part_code[part].astype(np.float64), part)
    last = plan.sequence[-1]
    return rows.ending(chain.params(rows.codes, rows.observed(len(plan.sequence) - 1), last))


def sampled(chain: Chain, plan: Plan, uniforms: Floats, n_variables: int) -> Ending:
    """Return rows drawn in sequence from uniforms (n, len(sequence) - 1)."""
    rows = _Rows(plan, n_variables, len(uniforms))
    for position, d in enumerate(plan.sequence[:-1]):
        partition = plan.partitions[d]
        allowed, is_asked = rows.allowed(position)
        params = chain.params(rows.codes, rows.observed(position), d)
        part_masses = partition.part_masses(params)
        rows.weigh((partition.masses(part_masses) * allowed).sum(axis=1), is_asked)
        part, left = partition.choose(part_masses, allowed, uniforms[:, position])
        rows.put(d, partition.codes_within(part, left, params), part)
    last = plan.sequence[-1]
    return rows.ending(chain.params(rows.codes, rows.observed(len(plan.sequence) - 1), last))
