"""What a condition allows, as tables over the cells of the columns that it is about."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import QueryError
from chainrule.events.conditions import AllOf, Atom, Condition, Truth
from chainrule.events.partitions import Partition

__all__ = ["Event", "Lookahead", "conjuncts"]

MAX_TABLE = 2**22
"""Cells of several columns that one condition ties together."""

Cells = Mapping[int, NDArray[np.int64]]


def conjuncts(condition: Condition) -> Iterator[Condition]:
    """Yield the parts that must all hold."""
    if isinstance(condition, AllOf):
        for part in condition.parts:
            yield from conjuncts(part)
    else:
        yield condition


class Event:
    """A condition as tables: one for each set of columns that it ties together, true where it holds.

    Parameters
    ----------
    condition : Condition
    partitions : mapping of int to Partition
        Those of its columns, by number.
    column_of : mapping of Atom to int
    known : mapping of Atom to bool
        What is known of atoms about columns whose value is observed.

    Raises
    ------
    QueryError
        If it ties too many columns together.

    Attributes
    ----------
    tables : list of (columns, ndarray of bool)
        An axis for each column, of its cells.
    is_impossible : bool
        Whether it contradicts itself, or what is observed contradicts it.
    """

    def __init__(
        self,
        condition: Condition,
        partitions: Mapping[int, Partition],
        column_of: Mapping[Atom, int],
        known: Mapping[Atom, bool],
    ) -> None:
        self.tables: list[tuple[tuple[int, ...], Truth]] = []
        self.is_impossible = False
        for parts in _tied(list(conjuncts(condition)), column_of, known):
            whole = AllOf(tuple(parts))
            columns = sorted({column_of[atom] for atom in whole.atoms() if atom not in known})
            table = _table(whole, columns, partitions, column_of, known)
            self.is_impossible |= not table.any()
            if columns:
                self.tables.append((tuple(columns), table))

    @property
    def columns(self) -> frozenset[int]:
        """The columns that are not observed."""
        return frozenset(d for columns, _ in self.tables for d in columns)


def _tied(
    parts: Sequence[Condition], column_of: Mapping[Atom, int], known: Mapping[Atom, bool]
) -> list[list[Condition]]:
    """Return the parts in groups that have no column in common."""
    groups: list[tuple[set[int], list[Condition]]] = []
    for part in parts:
        columns = {column_of[atom] for atom in part.atoms() if atom not in known}
        together = [part]
        apart = []
        for group in groups:
            if columns & group[0]:
                columns |= group[0]
                together = group[1] + together
            else:
                apart.append(group)
        groups = [*apart, (columns, together)]
    return [group for _, group in groups]


def _table(
    condition: Condition,
    columns: Sequence[int],
    partitions: Mapping[int, Partition],
    column_of: Mapping[Atom, int],
    known: Mapping[Atom, bool],
) -> Truth:
    shape = tuple(partitions[d].n_cells for d in columns)
    if math.prod(shape) > MAX_TABLE:
        raise QueryError(
            f"one condition ties {len(columns)} columns together in {math.prod(shape):,} combinations, more "
            f"than {MAX_TABLE:,}: split it by AND, or ask about fewer values"
        )
    of_atom: dict[Atom, Truth] = {}
    for atom in condition.atoms():
        if atom in known:
            of_atom[atom] = np.array(known[atom])
            continue
        d = column_of[atom]
        axes = [-1 if each == d else 1 for each in columns]
        of_atom[atom] = partitions[d].truths[atom].reshape(axes)
    return np.array(np.broadcast_to(condition.truth(of_atom), shape))


class Lookahead:
    """Which cells of the next column leave an event possible, given the cells of those before it.

    Parameters
    ----------
    event : Event
    sequence : sequence of int
        The columns in the order in which their cells become known.
    partitions : mapping of int to Partition
    """

    def __init__(self, event: Event, sequence: Sequence[int], partitions: Mapping[int, Partition]) -> None:
        self._n_cells = {d: partitions[d].n_cells for d in sequence}
        self._tables: dict[int, tuple[list[int], Truth]] = {}
        for columns, table in event.tables:
            ordered = sorted(columns, key=sequence.index)
            possible = table.transpose([columns.index(d) for d in ordered])
            for i in range(len(ordered) - 1, -1, -1):
                self._tables[ordered[i]] = (ordered[:i], possible)
                possible = np.asarray(possible.any(axis=-1))

    def allowed(self, d: int, cells: Cells, n: int) -> Truth:
        """Return which cells of column d are allowed in n rows, (n, C)."""
        if d not in self._tables:
            return np.ones((n, self._n_cells[d]), dtype=bool)
        earlier, table = self._tables[d]
        if not earlier:
            return np.broadcast_to(table, (n, len(table)))
        return np.asarray(table[tuple(cells[e] for e in earlier)])
