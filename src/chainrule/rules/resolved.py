"""Rules against a schema: columns by number, and whether their kinds allow what is said of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import NoReturn

import numpy as np

from chainrule.errors import DataError, QueryError
from chainrule.events.parsing import with_place
from chainrule.events.partitions import numbers_of_levels
from chainrule.rules.axes import is_whole
from chainrule.rules.parsing import Combination, Equation, Inequality, Named, Rule, parse_rule
from chainrule.schema import ColumnType, Schema

__all__ = ["Placed", "groups_of", "placed", "placed_at_question"]

MAX_LEVELS = 10_000
"""Columns of more levels stand in no combination."""


@dataclass(frozen=True)
class Placed:
    """A rule, and the numbers of its columns.

    Parameters
    ----------
    rule : Rule
    columns : tuple of int
    """

    rule: Rule
    columns: tuple[int, ...]


def placed(texts: Sequence[str], schema: Schema) -> list[Placed]:
    """Return the rules that some texts state of the columns of a schema.

    Raises
    ------
    QueryError
        If a text is no rule, a column is unknown or of a kind that the rule cannot be about, or rules run in
        a circle; the message names the place.
    """
    rules = []
    for rule in map(parse_rule, texts):
        columns = tuple(_number_of(rule, column, schema) for column in rule.columns)
        for column, d in zip(rule.columns, columns, strict=True):
            _check_column(rule, column, schema.variables[d])
        _check_together(rule, [schema.variables[d] for d in columns])
        rules.append(Placed(rule, columns))
    for group in groups_of(rules):
        _check_group(group)
    return rules


def placed_at_question(
    own: Sequence[str], texts: Sequence[str], schema: Schema, known: Collection[str]
) -> list[Placed]:
    """Return a fitted model's own rules, and those of a question behind them.

    Parameters
    ----------
    own, texts : sequence of str
    schema : Schema
        That of the fit.
    known : collection of str
        The rules of which the model keeps combinations.

    Raises
    ------
    QueryError
        As in `placed`, and if a rule of the question needs what only a fit with that rule learns.
    """
    rules = placed([*own, *texts], schema)
    for each in rules[len(own) :]:
        rule = each.rule
        if isinstance(rule, Combination) and rule.text not in known:
            advice = "a model keeps the combinations of its training rows only if it was fitted with the rule"
            _refuse(rule, rule.columns[0], f"{advice}: fit with it")
        for column, d in zip(rule.columns, each.columns, strict=True):
            if schema.variables[d].bins is not None:
                advice = "a model tells its levels apart only if it was fitted with the rule: fit with it"
                _refuse(rule, column, f"column {column.name!r} has very many levels, and {advice}")
    return rules


def groups_of(rules: Sequence[Placed]) -> list[list[Placed]]:
    """Return the rules in groups that have no column in common."""
    groups: list[list[Placed]] = []
    for rule in rules:
        tied = [group for group in groups if any(set(rule.columns) & set(other.columns) for other in group)]
        groups = [group for group in groups if group not in tied]
        groups.append([*(other for group in tied for other in group), rule])
    return groups


def _number_of(rule: Rule, column: Named, schema: Schema) -> int:
    try:
        (number,) = schema.column_numbers([column.name])
    except DataError as error:
        _refuse(rule, column, str(error))
    return number


def _check_column(rule: Rule, column: Named, variable: ColumnType) -> None:
    """Refuse a rule about a column that has not the values it needs."""
    if isinstance(rule, Combination):
        if variable.levels is None:
            _refuse(rule, column, f"column {variable.name!r} is {variable.kind} and has no list of levels")
        if len(variable.levels) > MAX_LEVELS:
            _refuse(rule, column, f"column {variable.name!r} has more than {MAX_LEVELS:,} levels")
        return
    numbers = None if variable.levels is None else numbers_of_levels(variable)
    if variable.levels is not None and numbers is None:
        what = "names without an order" if isinstance(rule, Inequality) else "names, not numbers"
        _refuse(rule, column, f"the levels of column {variable.name!r} are {what}")
    if isinstance(rule, Equation) and numbers is not None and (np.diff(numbers) != 1).any():
        advice = "declare it ordinal, so that the numbers between them count, too"
        _refuse(rule, column, f"column {variable.name!r} has levels with gaps, not a range: {advice}")


def _check_together(rule: Rule, variables: Sequence[ColumnType]) -> None:
    """Refuse a rule about columns that cannot be compared or added."""
    if isinstance(rule, Combination):
        return
    first, *others = variables
    for other, column in zip(others, rule.columns[1:], strict=True):
        if other.unit != first.unit:
            units = [f"column {v.name!r} holds {v.unit or 'plain numbers'}" for v in (first, other)]
            _refuse(rule, column, f"{units[0]}, {units[1]}, which a rule cannot bring together")
        alike = other.is_discrete == first.is_discrete and is_whole(other) == is_whole(first)
        if isinstance(rule, Equation) and not alike:
            names = f"columns {first.name!r} and {other.name!r}"
            kinds = " and ".join(
                f"{each.kind} of {'whole' if is_whole(each) else 'real'} numbers" for each in (first, other)
            )
            _refuse(rule, column, f"{names} are {kinds} in one equation: make them alike")
    if isinstance(rule, Equation) and is_whole(first) and rule.constant % 1:
        _refuse(rule, rule.columns[0], f"whole numbers do not add up to {rule.constant:g}")


def _check_group(group: Sequence[Placed]) -> None:
    """Refuse rules of which limits of single columns do not tell whether they can all be kept."""
    if all(isinstance(each.rule, Inequality) for each in group):
        graph: dict[int, list[int]] = {}
        for each in group:
            graph.setdefault(each.columns[0], []).append(each.columns[1])
        try:
            TopologicalSorter(graph).prepare()
        except CycleError:
            _refuse_together(group, "lead in a circle; write one equation of them")
        return
    # A tree of rules and columns has one edge less than nodes.
    columns = {d for each in group for d in each.columns}
    if sum(len(each.columns) for each in group) != len(columns) + len(group) - 1:
        _refuse_together(group, "tie the same columns together more than once; leave one of them out")
    combined = {d for each in group if isinstance(each.rule, Combination) for d in each.columns}
    added = {d for each in group if isinstance(each.rule, Equation) for d in each.columns}
    if combined & added:
        _refuse_together(group, "have a column in a combination and in an equation; leave one of them out")


def _refuse(rule: Rule, column: Named, message: str) -> NoReturn:
    raise QueryError(with_place(f"rule {rule.text!r}: {message}", rule.text, column.place)) from None


def _refuse_together(group: Sequence[Placed], message: str) -> NoReturn:
    names = " and ".join(repr(each.rule.text) for each in group)
    raise QueryError(f"the rules {names} {message}") from None
