"""A condition and a question against a schema: evidence, partitions and events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from chainrule.conditionals import Conditional
from chainrule.errors import DataError, QueryError
from chainrule.events.chains import AnyPartition, Plan
from chainrule.events.compiled import Event, conjuncts
from chainrule.events.conditions import AllOf, Atom, Comparison, Condition, Membership, Not, NotKnown
from chainrule.events.parsing import with_place
from chainrule.events.partitions import LinePartition, holds, holds_of_levels, partition_of
from chainrule.schema import Schema
from chainrule.schema.lookup import encode_value

__all__ = ["Problem"]


@dataclass
class Problem:
    """What is asked of a model given what, in codes.

    Parameters
    ----------
    schema : Schema
    family_of : callable
        From the number of a variable to its family.
    given : Condition
        Of its parts that must all hold, "column = value" is evidence unless more is said of the column.
    asked : Condition, optional
    target : int, optional
        The column whose distribution is wanted instead.

    Raises
    ------
    QueryError
        If the columns or values are none of the schema's.
    """

    schema: Schema
    family_of: Callable[[int], Conditional]
    given: Condition
    asked: Condition = AllOf(())
    target: int | None = None
    evidence: dict[int, float] = field(init=False, default_factory=dict)
    """Codes, as rows have them, of what is observed."""
    partitions: dict[int, AnyPartition] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._column_of: dict[Atom, int] = {}
        self._known: dict[Atom, bool] = {}
        given = self._without_unknown(self.given)
        for atom in [*given.atoms(), *self.asked.atoms()]:
            self._find(atom)
        given = self._taken_as_evidence(given)
        for atom in [*given.atoms(), *self.asked.atoms()]:
            self._settle(atom)
        self._make_partitions([*given.atoms(), *self.asked.atoms()])
        self.given_event: Event = Event(given, self.partitions, self._column_of, self._known)
        both = AllOf((given, self.asked))
        self.asked_event: Event = Event(both, self.partitions, self._column_of, self._known)

    # ------------------------------------------------------------ columns and values

    def _without_unknown(self, given: Condition) -> AllOf:
        """Return the condition without what it says of missing values: that nothing is known."""
        kept = [
            part
            for part in conjuncts(given)
            if not isinstance(part.part if isinstance(part, Not) else part, NotKnown)
        ]
        return AllOf(tuple(kept))

    def _find(self, atom: Atom) -> None:
        with self._at(atom):
            if isinstance(atom, NotKnown):
                raise QueryError(
                    f"a model tells what column {atom.column!r} is, not whether it is missing: IS NULL "
                    "stands in a condition only, joined by AND, for a column of which nothing is known"
                )
            (self._column_of[atom],) = self.schema.column_numbers([atom.column])

    def _taken_as_evidence(self, given: AllOf) -> AllOf:
        """Return the condition without parts that state one column's value, which become evidence."""
        times = [self._column_of[atom] for atom in given.atoms()]
        kept = []
        for part in given.parts:
            value = _stated(part)
            if value is None or times.count(self._column_of[value[0]]) > 1:
                kept.append(part)
                continue
            atom, stated = value
            d = self._column_of[atom]
            if d == self.target:
                kept.append(part)
                continue
            with self._at(atom):
                self.evidence[d] = encode_value(stated, self.schema.variables[d])
        return AllOf(tuple(kept))

    def _settle(self, atom: Atom) -> None:
        """Find out whether an atom about a column whose value is known holds."""
        d = self._column_of[atom]
        if d not in self.evidence:
            return
        variable, code = self.schema.variables[d], self.evidence[d]
        with self._at(atom):
            if variable.levels is None:
                self._known[atom] = bool(holds(atom, variable, variable.numbers(np.array([code])))[0])
            else:
                self._known[atom] = bool(holds_of_levels(atom, variable)[int(code)])

    def _make_partitions(self, atoms: Sequence[Atom]) -> None:
        of_column: dict[int, list[Atom]] = {} if self.target is None else {self.target: []}
        for atom in atoms:
            if atom not in self._known:
                of_column.setdefault(self._column_of[atom], []).append(atom)
        for d, own in of_column.items():
            for atom in own:  # one after the other, so that an error names its place
                with self._at(atom):
                    partition_of(self.schema.variables[d], self.family_of(d), [atom])
            self.partitions[d] = partition_of(self.schema.variables[d], self.family_of(d), own)

    def refuse_what_never_holds(self) -> None:
        """Refuse a part of the condition that is true of no value of its column."""
        parts = list(conjuncts(self.given))
        for partition in self.partitions.values():
            for atom, truth in partition.truths.items():
                if truth.any() or atom not in parts:
                    continue
                name, levels = partition.variable.name, partition.variable.levels
                known = f": they range from {levels[0]} to {levels[-1]}" if levels else ""
                with self._at(atom):
                    raise QueryError(f"this is true of no value of column {name!r}{known}")

    @contextmanager
    def _at(self, atom: Atom) -> Iterator[None]:
        """Say where in the text a column or value stands that is refused."""
        try:
            yield
        except DataError as error:
            if not atom.text:
                raise
            raise QueryError(with_place(str(error), atom.text, atom.place)) from None

    # ------------------------------------------------------------ sequences

    def sequence(self, ranks: Sequence[int]) -> tuple[int, ...]:
        """Return the columns as a model of an order goes through them.

        Those of the condition come first, and of these last what is asked for, too. A column without levels
        is last of all if it is the only one, because all states of the others can be listed then; an answer
        does not depend on whether they are.
        """
        given, asked = self.given_event.columns, self.asked_event.columns
        if self.target is not None:
            asked = asked | {self.target}
        named = {self._column_of[atom] for atom in self.asked.atoms()} | {self.target}
        columns = sorted(given | asked, key=lambda d: (d not in given, d in given and d in named, ranks[d]))
        endless = [d for d in columns if isinstance(self.partitions[d], LinePartition)]
        if len(endless) == 1:
            columns = [*(d for d in columns if d != endless[0]), endless[0]]
        return tuple(columns)

    def plan_asked(self, ranks: Sequence[int]) -> Plan:
        """Return the plan whose weights are worth p(condition and question | evidence)."""
        return Plan(self._coarse(), self.partitions, self.asked_event, self.sequence(ranks))

    def plan_given(self, ranks: Sequence[int]) -> Plan:
        """Return the plan whose weights are worth p(condition | evidence); without columns if it is 1."""
        columns, given = self.sequence(ranks), self.given_event.columns
        n = max((position + 1 for position, d in enumerate(columns) if d in given), default=0)
        return Plan(self._coarse(), self.partitions, self.given_event, columns[:n])

    @property
    def known(self) -> NDArray[np.float32]:
        """The codes of what is observed, (1, D), NaN elsewhere."""
        codes = np.full((1, self.schema.n_variables), np.nan, dtype=np.float32)
        for d, code in self.evidence.items():
            codes[0, d] = code
        return codes

    def _coarse(self) -> dict[int, float]:
        seen = self.schema.coarse(self.known)[0]
        return {d: float(seen[d]) for d in self.evidence}

    @property
    def is_settled(self) -> bool:
        """Whether what is observed answers the question, with yes or no."""
        is_open = self.asked_event.columns or self.target is not None
        return self.asked_event.is_impossible or not is_open

    @property
    def n_endless(self) -> int:
        """Number of columns whose states cannot be listed."""
        return sum(isinstance(partition, LinePartition) for partition in self.partitions.values())


def _stated(part: Condition) -> tuple[Atom, object] | None:
    """Return the value that a condition says a column has, or None."""
    if isinstance(part, Comparison) and part.operator == "=":
        return part, part.value
    if isinstance(part, Membership) and len(part.values) == 1:
        return part, part.values[0]
    return None
