"""Rules as text, read by sqlglot: ``a <= b``, ``a, b IN observed``, ``a = b + c``. Nothing is evaluated."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

from chainrule.errors import QueryError
from chainrule.events.parsing import Reader, check_length, tokens_of, tree_of, with_place

__all__ = ["Combination", "Equation", "Inequality", "Named", "Rule", "parse_rule"]

FORMS = "'signup <= churn', 'state, city IN observed' or 'total = net + tax'"


@dataclass(frozen=True)
class Named:
    """A column as a text names it.

    Parameters
    ----------
    name : str
    place : int, default=0
        Where it stands in the text, from 0.
    """

    name: str
    place: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Inequality:
    """low <= high, or low < high where it is strict.

    Parameters
    ----------
    text : str
        What the rule was read from.
    low, high : Named
    is_strict : bool
    """

    text: str
    low: Named
    high: Named
    is_strict: bool

    @property
    def columns(self) -> tuple[Named, ...]:
        """Both columns."""
        return self.low, self.high


@dataclass(frozen=True)
class Combination:
    """The columns have values that some training row has together.

    Parameters
    ----------
    text : str
    columns : tuple of Named
        Two or more.
    """

    text: str
    columns: tuple[Named, ...]


@dataclass(frozen=True)
class Equation:
    """The sum of signs times columns is a constant.

    Parameters
    ----------
    text : str
    columns : tuple of Named
    signs : tuple of int
        1 or -1 of each.
    constant : float
    """

    text: str
    columns: tuple[Named, ...]
    signs: tuple[int, ...]
    constant: float


Rule = Inequality | Combination | Equation


def parse_rule(text: str) -> Rule:
    """Return the rule that a text states.

    Parameters
    ----------
    text : str
        Two columns joined by <, <=, > or >=; two or more, separated by commas, before ``IN observed``; or an
        equation between sums and differences of columns and numbers. Names with other letters than those of
        identifiers stand in double quotes.

    Raises
    ------
    QueryError
        If it is none of these, or names a column twice; the message names the place.

    Examples
    --------
    >>> parse_rule("total = net + tax").signs
    (1, -1, -1)
    >>> parse_rule("signup <= churn").low.name
    'signup'
    """
    if not isinstance(text, str):
        raise QueryError(f"a rule is text, such as {FORMS}, not {text!r}")
    check_length(text)
    rule = _combination(text) or _of_tree(text, tree_of(text, 0, len(text)))
    names = [column.name for column in rule.columns]
    for number, column in enumerate(rule.columns):
        if column.name in names[:number]:
            raise QueryError(with_place("a rule names each column once", text, column.place))
    if len(names) < 2:
        place = rule.columns[0].place if rule.columns else 0
        raise QueryError(with_place("a rule is about two columns or more", text, place))
    return rule


def _combination(text: str) -> Combination | None:
    """Return the rule of a text that ends in IN observed; None if it does not."""
    tokens = tokens_of(text, 0, len(text))
    words = [text[token.start : token.end + 1].lower() for token in tokens[-2:]]
    if words != ["in", "observed"]:
        return None
    columns, start = [], 0
    for token in tokens[:-1]:
        if token.token_type.name in ("COMMA", "IN"):
            columns.append(_column(text, start, token.start))
            start = token.end + 1
    return Combination(text, tuple(columns))


def _column(text: str, start: int, end: int) -> Named:
    """Return the column that a part of a text names."""
    tree = tree_of(text, start, end)
    if type(tree).__name__ != "Column":
        raise QueryError(with_place("the name of a column stands here", text, start))
    return Named(*Reader(text, start).named(tree))


def _of_tree(text: str, tree: Any) -> Inequality | Equation:
    kind, reader = type(tree).__name__, Reader(text, 0)
    if kind == "Paren":
        return _of_tree(text, tree.this)
    if kind in ("LT", "LTE", "GT", "GTE"):
        sides = [_side(reader, side) for side in (tree.this, tree.expression)]
        low, high = sides if kind.startswith("L") else reversed(sides)
        return Inequality(text, low, high, not kind.endswith("E"))
    if kind == "EQ":
        terms = _Terms(reader)
        terms.add(tree.this, 1)
        terms.add(tree.expression, -1)
        if not terms.columns:
            raise QueryError(with_place("an equation names columns", text, 0))
        return Equation(text, tuple(terms.columns), tuple(terms.signs), -terms.constant)
    raise QueryError(with_place(f"a rule is {FORMS}", text, reader.place(tree)))


def _side(reader: Reader, node: Any) -> Named:
    if type(node).__name__ != "Column":
        advice = "an inequality stands between two columns; put names with other letters in double quotes"
        raise QueryError(with_place(advice, reader.text, reader.place(node)))
    return Named(*reader.named(node))


class _Terms:
    """The columns, signs and constant that an equation's sides add up to."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.columns: list[Named] = []
        self.signs: list[int] = []
        self.constant = 0.0

    def add(self, node: Any, sign: int) -> None:
        """Take in one side, or a part of it."""
        kind = type(node).__name__
        if kind == "Paren":
            self.add(node.this, sign)
        elif kind == "Neg":
            self.add(node.this, -sign)
        elif kind in ("Add", "Sub"):
            self.add(node.this, sign)
            self.add(node.expression, sign if kind == "Add" else -sign)
        elif kind == "Column":
            self.columns.append(Named(*self.reader.named(node)))
            self.signs.append(sign)
        elif kind == "Literal" and not node.is_string:
            self.constant += sign * self._number(node)
        else:
            advice = "an equation is made of sums and differences of columns and numbers"
            raise QueryError(with_place(advice, self.reader.text, self.reader.place(node)))

    def _number(self, node: Any) -> float:
        number = self.reader.number(node)
        if abs(number) > sys.float_info.max:
            raise QueryError(with_place("this number is too large", self.reader.text, 0))
        return float(number)
