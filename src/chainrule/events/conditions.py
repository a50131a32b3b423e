"""Conditions on columns: comparisons, ranges and sets of values, joined by and, or and not.

A condition knows columns by name and values as a user writes them. `events.parsing` makes one of text,
`condition_of` of a mapping, and `events.compiled` finds out which codes it allows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import QueryError

__all__ = [
    "AllOf",
    "AnyOf",
    "Atom",
    "Comparison",
    "Condition",
    "Membership",
    "Not",
    "NotKnown",
    "Operator",
    "between",
    "condition_of",
]

Operator = Literal["=", "<", "<=", ">", ">="]
Truth = NDArray[np.bool_]

_COMPARE = {"=": np.equal, "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}


class Condition(ABC):
    """A statement about a row that is true or false."""

    @abstractmethod
    def atoms(self) -> Iterator[Atom]:
        """Yield the statements about one column each, from left to right."""

    @abstractmethod
    def truth(self, of_atom: Mapping[Atom, Truth]) -> Truth:
        """Return where the condition holds, from where each atom does; arrays broadcast."""


@dataclass(frozen=True, eq=False)
class Atom(Condition):
    """A statement about one column.

    Parameters
    ----------
    column : str or int
        By name, or number from 0.
    text : str, default=""
        What it was read from; messages show where in it something is wrong.
    place : int, default=0
        Where it stands there, from 0.
    """

    column: str | int
    text: str = ""
    place: int = 0

    def atoms(self) -> Iterator[Atom]:
        """Yield the statement itself."""
        yield self

    def truth(self, of_atom: Mapping[Atom, Truth]) -> Truth:
        """Return where it holds."""
        return of_atom[self]


@dataclass(frozen=True, eq=False)
class Comparison(Atom):
    """column = value, or <, <=, >, >= where values lie on a line.

    Examples
    --------
    >>> Comparison("age", operator="<", value=30).operator
    '<'
    """

    operator: Operator = "="
    value: Any = None

    def holds(self, numbers: NDArray[Any], bound: float) -> Truth:
        """Return whether each number compares so with the number of the value."""
        return np.asarray(_COMPARE[self.operator](numbers, bound))


@dataclass(frozen=True, eq=False)
class Membership(Atom):
    """The column has one of the values."""

    values: tuple[Any, ...] = ()


@dataclass(frozen=True, eq=False)
class NotKnown(Atom):
    """Nothing is known of the column: what IS NULL says in a condition."""


@dataclass(frozen=True, eq=False)
class _Joined(Condition):
    """Several conditions.

    Parameters
    ----------
    parts : tuple of Condition
    """

    parts: tuple[Condition, ...]

    def atoms(self) -> Iterator[Atom]:
        """Yield those of all parts."""
        for part in self.parts:
            yield from part.atoms()


@dataclass(frozen=True, eq=False)
class AllOf(_Joined):
    """All parts hold; true if there is none."""

    def truth(self, of_atom: Mapping[Atom, Truth]) -> Truth:
        """Return where all parts hold."""
        return reduce(np.logical_and, (part.truth(of_atom) for part in self.parts), np.array(True))


@dataclass(frozen=True, eq=False)
class AnyOf(_Joined):
    """At least one part holds; false if there is none."""

    def truth(self, of_atom: Mapping[Atom, Truth]) -> Truth:
        """Return where any part holds."""
        return reduce(np.logical_or, (part.truth(of_atom) for part in self.parts), np.array(False))


@dataclass(frozen=True, eq=False)
class Not(Condition):
    """The part does not hold.

    As a value of a mapping it stands before what is not the case: ``{"state": Not({"NY", "NJ"})}``.
    """

    part: Any

    def atoms(self) -> Iterator[Atom]:
        """Yield those of the part."""
        yield from self.part.atoms()

    def truth(self, of_atom: Mapping[Atom, Truth]) -> Truth:
        """Return where the part does not hold."""
        return np.logical_not(self.part.truth(of_atom))


def condition_of(given: Mapping[Any, Any]) -> AllOf:
    """Return what a mapping says of columns: values, ranges and sets.

    Parameters
    ----------
    given : mapping of column to value
        A pair (low, high) is a range with both ends, of which either may be None; a set or list says that
        the column has one of its values; `Not` of one of these denies it; anything else is the value itself.

    Raises
    ------
    QueryError
        If a range has not two ends, or none.

    Examples
    --------
    >>> [atom.column for atom in condition_of({"age": (30, 40), "state": {"NY", "NJ"}}).atoms()]
    ['age', 'age', 'state']
    """
    return AllOf(tuple(_of_column(column, value) for column, value in given.items()))


def _of_column(column: Any, value: Any) -> Condition:
    if isinstance(value, Not):
        return Not(_of_column(column, value.part))
    if isinstance(value, tuple):
        return _range(column, value)
    if isinstance(value, (set, frozenset, list)):
        return Membership(column, values=tuple(_in_order(value)))
    return Comparison(column, value=value)


def _in_order(values: Iterable[Any]) -> list[Any]:
    """Return values in an order that does not change from process to process."""
    return sorted(values, key=lambda value: (type(value).__name__, str(value)))


def _range(column: Any, ends: tuple[Any, ...]) -> Condition:
    if len(ends) != 2 or ends == (None, None):
        raise QueryError(
            f"column {column!r} is given {ends!r}: a range is a pair (low, high), of which one may be None; "
            "write several values as a set"
        )
    return between(column, low=ends[0], high=ends[1])


def between(column: Any, text: str = "", place: int = 0, *, low: Any, high: Any) -> AllOf:
    """Return the condition that a column lies between two values, both included; None is no limit.

    Raises
    ------
    QueryError
        If the range is upside down.
    """
    if type(low) is type(high) and low is not None and low > high:
        raise QueryError(f"the range from {low!r} to {high!r} of column {column!r} is upside down")
    ends: tuple[tuple[Operator, Any], ...] = ((">=", low), ("<=", high))
    parts = (Comparison(column, text, place, operator=op, value=end) for op, end in ends if end is not None)
    return AllOf(tuple(parts))
