"""Questions to a saved model: what --given and --of mean, which models answer, what counts as missing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from chainrule.errors import DataError, QueryError

if TYPE_CHECKING:
    from chainrule.estimators.base import DensityEstimator
    from chainrule.schema import Schema

__all__ = [
    "OrdersOption",
    "RuleOption",
    "answering",
    "check_given",
    "check_rules",
    "missing_words",
    "parse_columns",
    "parse_given",
]

OrdersOption = Annotated[
    int | None,
    typer.Option(
        min=1, help="Average over so many orders (models of any order); default: those of the model."
    ),
]

RuleOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RULE",
        help="A rule between columns that the answer keeps, beside those of the model: 'signup <= churn' or "
        "'total = net + tax'. May be repeated.",
    ),
]


def check_rules(texts: Sequence[str] | None) -> None:
    """Refuse a --rule that cannot be read, before a model is loaded."""
    from chainrule.rules import parse_rule

    for text in texts or ():
        parse_rule(text)


def check_given(texts: Sequence[str] | None) -> None:
    """Refuse a --given without a value, before a model is loaded."""
    for text in texts or ():
        if "=" not in text:
            raise DataError(f"--given {text}: expected COLUMN=VALUE, such as --given {text or 'sex'}=female")


def parse_given(texts: Sequence[str], schema: Schema) -> dict[str, str]:
    """Return the values of columns; both a column's name and a value may contain ``=``."""
    given: dict[str, str] = {}
    for text in texts:
        ends = [place for place, letter in enumerate(text) if letter == "="]
        end = next((place for place in ends if text[:place] in schema.names), ends[0])
        column, value = text[:end], text[end + 1 :]
        _refuse_range(text, column, value, schema)
        if column in given:
            raise DataError(f"--given {text}: column {column!r} is given twice; name each column once")
        given[column] = value
    return given


def _refuse_range(text: str, column: str, value: str, schema: Schema) -> None:
    """Refuse ``age=10..20`` and ``age>=10``, and name what takes ranges."""
    number = r"\s*-?\d+(\.\d+)?\s*"
    name = column if column in schema.names else column.rstrip("<>! ")
    is_range = name != column or re.fullmatch(rf"{number}\.\.+{number}|\s*[<>].*", value)
    if not is_range or name not in schema.names or not schema.variables[schema.names.index(name)].is_numeric:
        return
    shown = name if name.isidentifier() else f'"{name}"'
    raise DataError(
        f"--given {text}: takes one value of a column; ranges are for --where, such as "
        f"--where '{shown} BETWEEN 10 AND 20'"
    )


def parse_columns(texts: Sequence[str] | None, schema: Schema) -> list[str] | None:
    """Return the names of columns, which commas separate unless a column has that very name."""
    if not texts:
        return None
    names: list[str] = []
    for text in texts:
        names += [text] if text in schema.names else [part.strip() for part in text.split(",")]
    return [schema.names[number] for number in schema.column_numbers(names)]


def answering(estimator: DensityEstimator) -> DensityEstimator:
    """Return the estimator if it answers conditional queries."""
    if estimator.answers_queries:
        return estimator
    raise QueryError(
        f"this model is of class {type(estimator).__name__}, which answers no such questions; "
        "fit --model orderless-nade, which answers any"
    )


def missing_words(schema: Schema) -> tuple[str, ...]:
    """Return the words that stand for a missing value in text files: those that are no levels."""
    from chainrule.datasets import MISSING_WORDS

    levels = {
        level for variable in schema.variables if not variable.is_numeric for level in variable.levels or ()
    }
    return tuple(word for word in MISSING_WORDS if word not in levels)
