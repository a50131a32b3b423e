"""The rules of a fitted model: what they allow, as its log-probabilities and draws need it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chainrule.conditionals import Conditional, Conditionals
from chainrule.errors import DataError, StorageError
from chainrule.rules.axes import Axis, Domain, LevelAxis, LineAxis, axis_of, level_axis_of
from chainrule.rules.parsing import Combination, Equation
from chainrule.rules.propagation import CombinationOf, Constraint, EquationOf, InequalityOf, narrowed
from chainrule.rules.resolved import Placed, groups_of, placed, placed_at_question
from chainrule.schema import Schema

__all__ = ["RuleSet", "check_tables", "columns_of", "observed_tables", "rules_of_question"]

Tables = Mapping[str, NDArray[np.int64]]


def columns_of(texts: Sequence[str], schema: Schema) -> frozenset[int]:
    """Return the numbers of the columns that rules are about; errors are those of `placed`."""
    return frozenset(d for each in placed(texts, schema) for d in each.columns)


def observed_tables(
    texts: Sequence[str], schema: Schema, codes: NDArray[np.float32]
) -> dict[str, NDArray[np.int64]]:
    """Return the combinations of codes (R, k) that rows (n, D) have, by the text of the rule.

    Raises
    ------
    DataError
        If no row has all columns of a rule.
    """
    tables = {}
    for each in placed(texts, schema):
        if isinstance(each.rule, Combination):
            own = codes[:, list(each.columns)]
            whole = own[np.isfinite(own).all(axis=1)]
            if not len(whole):
                raise DataError(f"the rule {each.rule.text!r} is about columns that no row has together")
            tables[each.rule.text] = np.unique(whole.astype(np.int64), axis=0)
    return tables


def check_tables(tables: Tables, texts: Sequence[str], schema: Schema) -> None:
    """Refuse saved tables that are not those of the rules, and columns of rules that are modelled in bins.

    Raises
    ------
    StorageError
        Naming the rule or the column.
    """
    rules = placed(texts, schema)
    named = {each.rule.text: each for each in rules if isinstance(each.rule, Combination)}
    if named.keys() != tables.keys():
        raise StorageError("the combinations of rules are not those of the rules")
    for text, table in tables.items():
        n_codes = [schema.n_codes[d] for d in named[text].columns]
        fits = table.dtype == np.int64 and table.ndim == 2 and table.shape[1] == len(n_codes) and len(table)
        if not fits or (table < 0).any() or (table >= n_codes).any():
            raise StorageError(f"the combinations of the rule {text!r} are none of its columns")
    for d in {d for each in rules for d in each.columns}:
        if schema.variables[d].bins is not None:
            raise StorageError(f"column {schema.names[d]!r}: rules are about single levels, not about bins")


def rules_of_question(
    texts: Sequence[str], schema: Schema, conditionals: Conditionals, own: RuleSet | None
) -> RuleSet:
    """Return the rules of a fitted model and those of a question together; errors: `placed_at_question`."""
    texts_of_fit, tables = ((), {}) if own is None else (own.texts, own.tables)
    more = [text for text in dict.fromkeys(texts) if text not in texts_of_fit]
    placed_at_question(texts_of_fit, more, schema, tables)
    return RuleSet([*texts_of_fit, *more], schema, tables, conditionals)


class RuleSet:
    """Rules between the columns of a model; see `samplers.restrictions.Restriction`.

    Parameters
    ----------
    texts : sequence of str
    schema : Schema
        In which columns of rules have no bins.
    tables : mapping of str to ndarray (R, k)
        Of the rules that name combinations.
    conditionals : Conditionals
        The families of all columns.
    """

    texts: tuple[str, ...]
    tables: Tables

    def __init__(
        self, texts: Sequence[str], schema: Schema, tables: Tables, conditionals: Conditionals
    ) -> None:
        self.texts, self.tables = tuple(texts), tables
        self.names: tuple[str, ...] = schema.names
        self.starts: list[int] = conditionals.starts
        rules = placed(texts, schema)
        combined = {d for each in rules if isinstance(each.rule, Combination) for d in each.columns}
        self.axes: dict[int, LevelAxis | LineAxis] = {}
        for d in sorted({d for each in rules for d in each.columns}):
            make = level_axis_of if d in combined else axis_of
            self.axes[d] = make(schema.variables[d], conditionals.of_variable(d))
        self._groups = [
            _Group([_constraint(each, self.axes, tables) for each in group], self.axes)
            for group in groups_of(rules)
        ]
        self._group_of = {d: group for group in self._groups for d in group.columns}

    @property
    def columns(self) -> frozenset[int]:
        """The numbers of the columns that rules are about."""
        return frozenset(self.axes)

    def check(self, codes: Tensor, what: str) -> None:
        """Refuse rows of codes (n, D) that break a rule; those that lack one of its columns do not.

        Raises
        ------
        DataError
            Naming the rule, how many rows break it, and the first.
        """
        rows = codes.cpu().numpy()
        for group in self._groups:
            for constraint in group.constraints:
                whole = np.flatnonzero(np.isfinite(rows[:, constraint.columns]).all(axis=1))
                broken = whole[constraint.broken(rows[whole])]
                if len(broken):
                    count = "1 row" if len(broken) == 1 else f"{len(broken):,} rows"
                    verb = "breaks" if len(broken) == 1 else "break"
                    raise DataError(
                        f"{count} of {what} {verb} the rule {constraint.text!r}, first row {broken[0] + 1}: "
                        "mend or leave out such rows, or the rule"
                    )

    def log_conditionals(
        self,
        log_probs: Tensor,
        x: Tensor,
        outputs: Tensor,
        observed: Tensor,
        query: Tensor,
        present: Tensor,
        order: Tensor,
    ) -> Tensor:
        """Return the log-conditionals (n, D) within what rules leave."""
        restricted = log_probs.clone()
        codes, params = x.detach().cpu().numpy(), outputs.detach().cpu()
        known, asked = observed.cpu().numpy(), query.cpu().numpy()
        here = present.cpu().numpy()
        seen = known.copy()
        for d in order.tolist():
            if d in self.axes:
                rows = np.flatnonzero(asked[:, d])
                of_d = params[torch.from_numpy(rows), self.starts[d] : self.starts[d + 1]]
                before = log_probs[:, d].detach().double().cpu().numpy()[rows]
                after = self._group_of[d].log_prob(d, before, codes[rows], seen[rows], here[rows], of_d)
                at = torch.from_numpy(rows).to(log_probs.device)
                restricted[at, d] = torch.from_numpy(after).to(log_probs)
            seen[:, d] |= asked[:, d]
        return restricted

    def draw(self, d: int, params: Tensor, uniforms: Tensor, rows: Tensor, seen: Tensor) -> Tensor:
        """Return draws of variable d (n,) that keep all rules, and let all others keep them.

        Raises
        ------
        DataError
            If what a row has seen leaves nothing.
        """
        codes, known, group = rows.cpu().numpy(), seen.cpu().numpy(), self._group_of[d]
        domain = group.domain(d, codes, known, np.ones_like(known), np.zeros(len(codes)))
        # To the letter, unless rounding of what is given leaves nothing then.
        none = np.flatnonzero(domain.is_empty(group.tolerance(codes, known)))
        if len(none):
            _put(domain, none, self._open_domain(d, codes[none], known[none]))
        drawn = self.axes[d].draw(domain, params.cpu(), uniforms[:, 0].double().cpu().numpy())
        return torch.from_numpy(drawn).to(rows)

    def _open_domain(self, d: int, codes: NDArray[np.float32], seen: NDArray[np.bool_]) -> Domain:
        """Return what is left of column d in rows (n, D); refuse rows in which nothing is."""
        group = self._group_of[d]
        tolerance = group.tolerance(codes, seen)
        domain = group.domain(d, codes, seen, np.ones_like(seen), tolerance)
        if domain.is_empty(tolerance).any():
            texts = ", ".join(repr(each.text) for each in group.constraints)
            raise DataError(
                f"what is given leaves no value of column {self.names[d]!r} that keeps the rules {texts}: "
                "give other values"
            )
        return domain

    def check_given(self, codes: Tensor) -> None:
        """Refuse rows of codes (n, D), NaN where missing, that break a rule or leave no way to keep one.

        Raises
        ------
        DataError
            Naming the rules.
        """
        self.check(codes, "what is given")
        rows, seen = codes.cpu().numpy(), ~codes.cpu().isnan().numpy()
        for d in self.columns:
            missing = ~seen[:, d]
            self._open_domain(d, rows[missing], seen[missing])

    def family(self, d: int) -> Conditional:
        """Return the family of column d within what rules leave."""
        return self.axes[d].truncated

    def params(self, d: int, params: Tensor, rows: Tensor, seen: Tensor) -> Tensor:
        """Return the params of that family in rows (n, D) of which some columns are seen."""
        codes, known, group = rows.cpu().numpy(), seen.cpu().numpy(), self._group_of[d]
        tolerance = group.tolerance(codes, known)
        domain = group.domain(d, codes, known, np.ones_like(known), tolerance)
        return self.axes[d].truncated_params(domain, params.cpu(), tolerance)


class _Group:
    """Rules that have columns in common."""

    def __init__(self, constraints: Sequence[Constraint], axes: Mapping[int, Axis]) -> None:
        self.constraints = constraints
        self.columns = sorted({d for each in constraints for d in each.columns})
        self.axes = axes

    def domain(
        self,
        d: int,
        codes: NDArray[np.float32],
        seen: NDArray[np.bool_],
        here: NDArray[np.bool_],
        slack: NDArray[np.float64],
    ) -> Domain:
        """Return what rules leave of column d in rows (n, D), given the columns that are seen.

        A rule acts in the rows in which all of its columns are here. Draws keep to rules to the letter,
        scores leave some slack (n,) for what rounding to float32 may have done to a row.
        """
        domain = self.axes[d].whole(len(codes))
        acts = np.stack([here[:, each.columns].all(axis=1) for each in self.constraints], axis=1)
        for pattern in np.unique(acts, axis=0):
            active = [each for each, is_active in zip(self.constraints, pattern, strict=True) if is_active]
            if active:
                rows = np.flatnonzero((acts == pattern).all(axis=1))
                found = self._narrowed(active, codes[rows], seen[rows], slack[rows])
                if d in found:
                    _put(domain, rows, found[d])
        return domain

    def _narrowed(
        self,
        active: Sequence[Constraint],
        codes: NDArray[np.float32],
        seen: NDArray[np.bool_],
        slack: NDArray[np.float64],
    ) -> dict[int, Domain]:
        domains = {}
        for e in sorted({e for each in active for e in each.columns}):
            domains[e] = self.axes[e].whole(len(codes))
            rows = np.flatnonzero(seen[:, e])
            if len(rows):
                _put(domains[e], rows, self.axes[e].at(codes[rows, e].astype(np.float64)))
        narrowed(active, domains, slack)
        return domains

    def log_prob(
        self,
        d: int,
        log_prob: NDArray[np.float64],
        codes: NDArray[np.float32],
        seen: NDArray[np.bool_],
        here: NDArray[np.bool_],
        params: Tensor,
    ) -> NDArray[np.float64]:
        """Return log p of column d in rows within what rules leave, (n,)."""
        slack, own = self.tolerance(codes, seen), codes[:, d].astype(np.float64)
        domain = self.domain(d, codes, seen, here, slack)
        tolerance = slack + self.axes[d].tolerance(own)
        return self.axes[d].log_prob(log_prob, own, domain, params, tolerance)

    def tolerance(self, codes: NDArray[np.float32], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return by how much the numbers that are seen may be off together, (n,)."""
        each = [
            np.where(seen[:, e], self.axes[e].tolerance(codes[:, e].astype(np.float64)), 0.0)
            for e in self.columns
        ]
        return np.asarray(np.sum(each, axis=0))


def _put(domain: Domain, rows: NDArray[np.int64], part: Domain) -> None:
    """Take the domain of some rows from another."""
    domain.low[rows], domain.high[rows] = part.low, part.high
    if domain.levels is not None and part.levels is not None:
        domain.levels[rows] = part.levels


def _constraint(each: Placed, axes: Mapping[int, Axis], tables: Tables) -> Constraint:
    if isinstance(each.rule, Combination):
        return CombinationOf(each, axes, tables[each.rule.text])
    return EquationOf(each, axes) if isinstance(each.rule, Equation) else InequalityOf(each, axes)
