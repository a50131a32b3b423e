"""Events: conditions on ranges and sets of values, and what a model says of them."""

from __future__ import annotations

from chainrule.events.answers import Answer
from chainrule.events.conditions import (
    AllOf,
    AnyOf,
    Comparison,
    Condition,
    Membership,
    Not,
    NotKnown,
    condition_of,
)
from chainrule.events.parsing import Question, parse_condition, parse_question

__all__ = [
    "AllOf",
    "Answer",
    "AnyOf",
    "Comparison",
    "Condition",
    "Membership",
    "Not",
    "NotKnown",
    "Question",
    "condition_of",
    "parse_condition",
    "parse_question",
]
