"""Conditions and questions as text: SQL's WHERE expressions, read by sqlglot. Nothing is ever evaluated."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from chainrule.errors import QueryError
from chainrule.events.conditions import (
    AllOf,
    AnyOf,
    Comparison,
    Condition,
    Membership,
    Not,
    NotKnown,
    Operator,
    between,
)

if TYPE_CHECKING:
    from sqlglot.expressions import Expr

__all__ = [
    "Question",
    "Reader",
    "check_length",
    "parse_condition",
    "parse_question",
    "shortened",
    "tokens_of",
    "tree_of",
    "with_place",
]

MAX_LETTERS = 10_000
"""Longer texts are refused before they are read."""

FORMS = "P(condition | condition), E(column | condition), quantiles(column | ...), distribution(column | ...)"
_SHOWN = 40  # letters of a text on either side of a place

_OPERATORS: dict[str, Operator] = {"EQ": "=", "LT": "<", "LTE": "<=", "GT": ">", "GTE": ">="}
_MIRRORED: dict[Operator, Operator] = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


@dataclass(frozen=True)
class Question:
    """What is asked, and given what.

    Parameters
    ----------
    form : {"P", "E", "quantiles", "distribution"}
    event : Condition, optional
        Of "P".
    column : str, optional
        Of the others.
    given : Condition
        `AllOf(())` if nothing is.
    text : str, default=""
    place : int, default=0
        Where the column stands in the text.
    """

    form: Literal["P", "E", "quantiles", "distribution"]
    event: Condition | None
    column: str | None
    given: Condition
    text: str = ""
    place: int = 0


def parse_question(text: str) -> Question:
    """Return the question that a text asks: P, E, quantiles or distribution of something given something.

    Parameters
    ----------
    text : str
        Such as ``P(income > 50000 | age BETWEEN 30 AND 40)`` or ``E(income | sex = 'female')``.

    Raises
    ------
    QueryError
        If it is none; the message names the place.

    Examples
    --------
    >>> question = parse_question("E(income | sex = 'female')")
    >>> question.form, question.column
    ('E', 'income')
    """
    check_length(text)
    found = re.fullmatch(r"\s*(\w+)\s*\((.*)\)\s*", text, re.DOTALL)
    if found is None and re.match(r"\s*(P|E|quantiles|distribution)\s*\(", text, re.IGNORECASE):
        raise QueryError(f"{shortened(text)!r} does not end with the bracket that closes it")
    forms: dict[str, Literal["P", "E", "quantiles", "distribution"]] = {
        "p": "P",
        "e": "E",
        "quantiles": "quantiles",
        "distribution": "distribution",
    }
    form = forms.get(found[1].lower()) if found else None
    if found is None or form is None:
        raise QueryError(f"{shortened(text)!r} is no question: ask {FORMS}")
    asked, given = _at_bar(text, found.start(2), found.end(2))
    condition = AllOf(()) if given is None else _parse(text, *given)
    if form == "P":
        return Question(form, _parse(text, *asked), None, condition)
    name, place = _column_alone(text, *asked, form)
    return Question(form, None, name, condition, text, place)


def parse_condition(text: str) -> Condition:
    """Return the condition that a WHERE expression states.

    Comparisons, BETWEEN, IN, IS NULL, AND, OR, NOT and brackets are understood; names of columns with other
    letters than those of identifiers stand in double quotes, text and dates in single ones.

    Raises
    ------
    QueryError
        If the text is anything else; the message names the place.

    Examples
    --------
    >>> [type(atom).__name__ for atom in parse_condition("age > 30 AND state IN ('NY', 'NJ')").atoms()]
    ['Comparison', 'Membership']
    """
    check_length(text)
    return _parse(text, 0, len(text))


def with_place(message: str, text: str, place: int) -> str:
    """Return a message with the place in the text that it is about, on one line.

    >>> with_place("no such column", "ages > 30", 0)
    "no such column (at 'ages > 30', letter 1)"
    """
    shown = shortened(text[place:])
    return f"{message} (at {shown!r}, letter {place + 1})"


def shortened(text: str) -> str:
    """Return the beginning of a text, on one line."""
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def check_length(text: str) -> None:
    """Refuse a text that is too long to be read."""
    if len(text) > MAX_LETTERS:
        raise QueryError(f"the text has {len(text):,} letters; at most {MAX_LETTERS:,} are read")


def _at_bar(text: str, start: int, end: int) -> tuple[tuple[int, int], tuple[int, int] | None]:
    """Return where the question and the condition stand, which the first bar outside of quotes separates."""
    from sqlglot import TokenType

    for token in tokens_of(text, start, end):
        if token.token_type == TokenType.PIPE:
            return (start, start + token.start), (start + token.end + 1, end)
    return (start, end), None


def tokens_of(text: str, start: int, end: int) -> list[Any]:
    """Return the words and signs of a part of a text; a quote that is not closed is refused."""
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        return list(sqlglot.tokenize(text[start:end]))
    except SqlglotError:
        raise QueryError(with_place("a quote is not closed", text, _open_quote(text, start, end))) from None


def _open_quote(text: str, start: int, end: int) -> int:
    """Return where the last quote opens that is not closed."""
    place, quote = start, ""
    for i in range(start, end):
        if quote == text[i]:
            quote = ""
        elif not quote and text[i] in "'\"`":
            place, quote = i, text[i]
    return place


def _column_alone(text: str, start: int, end: int, form: str) -> tuple[str, int]:
    tree = tree_of(text, start, end)
    if type(tree).__name__ != "Column":
        raise QueryError(with_place(f"{form}(...) takes the name of one column", text, start))
    return Reader(text, start).named(tree)


def _parse(text: str, start: int, end: int) -> Condition:
    return Reader(text, start).condition(tree_of(text, start, end))


def tree_of(text: str, start: int, end: int) -> Expr:
    """Return sqlglot's tree of a part of a text; what cannot be read is refused with its place."""
    import sqlglot
    from sqlglot.errors import ParseError, SqlglotError

    part = text[start:end]
    if not part.strip():
        raise QueryError(with_place("a condition is missing", text, start))
    tokens_of(text, start, end)  # a quote that is not closed has a message of its own
    try:
        with _silent_logger():
            return sqlglot.parse_one(part)
    except ParseError as error:
        known = error.errors[0] if error.errors else {}
        place = start + len(known.get("start_context") or "") if known else start
        raise QueryError(with_place(_advice_before(text[start:place]), text, place)) from None
    except (SqlglotError, RecursionError):
        raise QueryError(with_place("this is no condition that can be read", text, start)) from None


def _advice_before(text: str) -> str:
    """Return what is wrong where reading ends after a text: two words may be meant as one name."""
    name = '; a name with blanks stands in "double quotes"' if re.search(r"\w \w+\s*$", text) else ""
    return f"this is no condition that can be read{name}"


@contextmanager
def _silent_logger() -> Iterator[None]:
    """Keep sqlglot from writing about statements that are no conditions: the refusal says it."""
    logger = logging.getLogger("sqlglot")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


class Reader:
    """From sqlglot's tree of one text to a condition; whatever is no condition is refused with its place."""

    text: str
    start: int

    def __init__(self, text: str, start: int) -> None:
        self.text, self.start = text, start
        self._readers: dict[str, Callable[[Any], Condition]] = {
            "Paren": lambda node: self.condition(node.this),
            "And": lambda node: AllOf((self.condition(node.this), self.condition(node.expression))),
            "Or": lambda node: AnyOf((self.condition(node.this), self.condition(node.expression))),
            "Not": lambda node: Not(self.condition(node.this)),
            "NEQ": lambda node: Not(self._comparison(node, "=")),
            "Between": self._between,
            "In": self._membership,
            "Is": self._is,
            "Boolean": lambda node: AllOf(()) if node.this else AnyOf(()),
            "Column": lambda node: Comparison(*self._column(node), value=True),
        }

    def condition(self, node: Any) -> Condition:
        """Return the condition that a node states."""
        kind = type(node).__name__
        if kind in _OPERATORS:
            return self._comparison(node, _OPERATORS[kind])
        reader = self._readers.get(kind)
        if reader is None:
            raise self.refusal(node)
        try:
            return reader(node)
        except RecursionError:
            raise QueryError(f"{shortened(self.text)!r} is nested too deeply") from None

    def name(self, node: Any) -> str:
        """Return the name of a column."""
        if type(node.this).__name__ != "Identifier" or node.args.get("table"):
            advice = 'put a name with a dot in "double quotes"'
            raise QueryError(with_place(advice, self.text, self.place(node)))
        return str(node.this.this)

    def named(self, node: Any) -> tuple[str, int]:
        """Return the name of a column, and where it stands."""
        return self.name(node), self.place(node)

    def _comparison(self, node: Any, operator: Operator) -> Comparison:
        left, right = node.this, node.expression
        if type(left).__name__ != "Column":
            left, right, operator = right, left, _MIRRORED[operator]
        if type(left).__name__ != "Column":
            raise self.refusal(node)
        return Comparison(*self._column(left), operator=operator, value=self._value(right))

    def _between(self, node: Any) -> Condition:
        column = self._column(node.this)
        low, high = self._value(node.args["low"]), self._value(node.args["high"])
        try:
            return between(*column, low=low, high=high)
        except QueryError as error:
            raise QueryError(with_place(str(error), self.text, self.place(node))) from None

    def _membership(self, node: Any) -> Condition:
        column = self._column(node.this)
        if not node.expressions:
            raise self.refusal(node)
        return Membership(*column, values=tuple(self._value(each) for each in node.expressions))

    def _is(self, node: Any) -> Condition:
        column = self._column(node.this)
        kind = type(node.expression).__name__
        if kind == "Null":
            return NotKnown(*column)
        if kind == "Boolean":
            return Comparison(*column, value=bool(node.expression.this))
        raise self.refusal(node)

    def _column(self, node: Any) -> tuple[str, str, int]:
        """Return a column's name, and where it stands."""
        if type(node).__name__ != "Column":
            raise self.refusal(node)
        return self.name(node), self.text, self.place(node)

    def _value(self, node: Any) -> Any:
        """Return a number, a text or a truth value that stands in the text as such."""
        kind = type(node).__name__
        if kind == "Literal":
            return str(node.this) if node.is_string else self.number(node)
        if kind == "Boolean":
            return bool(node.this)
        if kind == "Neg" and type(node.this).__name__ == "Literal" and not node.this.is_string:
            return -self.number(node.this)
        if kind == "Cast" and type(node.this).__name__ == "Literal":  # DATE '2024-03-01'
            return str(node.this.this)
        if kind == "Column":
            raise QueryError(
                with_place(
                    "columns are compared with values here; text stands in 'single quotes'",
                    self.text,
                    self.place(node),
                )
            )
        raise self.refusal(node)

    def number(self, node: Any) -> int | float:
        """Return the number that a literal spells; sqlglot takes 3E for one, too."""
        for number in (int, float):
            with suppress(ValueError):
                return number(node.this)
        raise QueryError(with_place("this is no number", self.text, self.place(node)))

    def refusal(self, node: Any) -> QueryError:
        """Return the error about a node that is no condition."""
        advice = "only comparisons, BETWEEN, IN, IS NULL, AND, OR, NOT and brackets are understood"
        if type(node).__name__ in ("Sub", "Add", "Mul", "Div") or any(
            type(part).__name__ == "Sub" for part in node.walk()
        ):
            advice += '; put names with other letters in double quotes, as in "hours-per-week"'
        return QueryError(with_place(advice, self.text, self.place(node)))

    def place(self, node: Any) -> int:
        """Return where the first name or value of a node stands in the text."""
        starts = [part.meta["start"] for part in node.walk() if "start" in part.meta]
        return self.start + min(starts, default=0)
