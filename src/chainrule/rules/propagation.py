"""What rules leave of columns, given the values of others: limits and lists of levels, narrowed in turn.

Where rules and columns form a tree, or rules are inequalities without a circle, what is left of each column
when nothing changes any more is just what some row that keeps all rules can have. So a column drawn from what
is left never leads into a dead end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from chainrule.rules.axes import Axis, Domain, LevelAxis
from chainrule.rules.parsing import Equation, Inequality
from chainrule.rules.resolved import Placed

__all__ = ["CombinationOf", "Constraint", "EquationOf", "InequalityOf", "narrowed"]

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

_MAX_CELLS = 2**24  # of a table of rows against combinations


class Constraint(ABC):
    """A rule in numbers.

    Parameters
    ----------
    placed : Placed
    axes : mapping of int to Axis
    """

    text: str
    columns: tuple[int, ...]
    axes: Mapping[int, Axis]

    def __init__(self, placed: Placed, axes: Mapping[int, Axis]) -> None:
        self.text, self.columns, self.axes = placed.rule.text, placed.columns, axes

    @abstractmethod
    def narrow(self, domains: Mapping[int, Domain], slack: Floats) -> None:
        """Take from the columns' domains what no values of the others go with; see `Axis.tighten`."""

    @abstractmethod
    def broken(self, codes: NDArray[np.float32]) -> Mask:
        """Return which rows (n, D) of known codes break the rule, (n,)."""

    def _at(self, codes: NDArray[np.float32]) -> tuple[list[Domain], Floats]:
        """Return each column's number in rows, and by how much rounding may have moved them together."""
        own = [codes[:, d].astype(np.float64) for d in self.columns]
        at = [self.axes[d].at(code) for d, code in zip(self.columns, own, strict=True)]
        off = [self.axes[d].tolerance(code) for d, code in zip(self.columns, own, strict=True)]
        return at, np.sum(off, axis=0)


class InequalityOf(Constraint):
    """low <= high, or low < high."""

    def __init__(self, placed: Placed, axes: Mapping[int, Axis]) -> None:
        super().__init__(placed, axes)
        assert isinstance(placed.rule, Inequality)
        self.is_strict: bool = placed.rule.is_strict

    def narrow(self, domains: Mapping[int, Domain], slack: Floats) -> None:
        """Let each column end where the other does."""
        low, high = self.columns
        least, most = domains[low].low, domains[high].high
        free = np.full(len(least), np.inf)
        self.axes[high].tighten(domains[high], least, free, slack, self.is_strict)
        self.axes[low].tighten(domains[low], -free, most, slack, self.is_strict)

    def broken(self, codes: NDArray[np.float32]) -> Mask:
        """Return where the columns stand the other way round."""
        (low, high), off = self._at(codes)
        return (low.low > high.low + off) | (self.is_strict & (low.low == high.low))


class EquationOf(Constraint):
    """A sum of columns, some of them negative, is a constant."""

    signs: tuple[int, ...]
    constant: float

    def __init__(self, placed: Placed, axes: Mapping[int, Axis]) -> None:
        super().__init__(placed, axes)
        assert isinstance(placed.rule, Equation)
        self.signs, self.constant = placed.rule.signs, placed.rule.constant

    def narrow(self, domains: Mapping[int, Domain], slack: Floats) -> None:
        """Let each column lie where the others, at their limits, may put it."""
        terms = [_signed(domains[d], sign) for d, sign in zip(self.columns, self.signs, strict=True)]
        for i, (d, sign) in enumerate(zip(self.columns, self.signs, strict=True)):
            others = terms[:i] + terms[i + 1 :]
            low = self.constant - np.sum([high for _, high in others], axis=0)
            high = self.constant - np.sum([low for low, _ in others], axis=0)
            if sign < 0:
                low, high = -high, -low
            self.axes[d].tighten(domains[d], low, high, slack)

    def broken(self, codes: NDArray[np.float32]) -> Mask:
        """Return where the sum is another."""
        at, off = self._at(codes)
        total = np.sum([sign * each.low for sign, each in zip(self.signs, at, strict=True)], axis=0)
        return np.asarray(np.abs(total - self.constant) > off)


def _signed(domain: Domain, sign: int) -> tuple[Floats, Floats]:
    return (domain.low, domain.high) if sign > 0 else (-domain.high, -domain.low)


class CombinationOf(Constraint):
    """The columns' codes stand together in a table.

    Parameters
    ----------
    placed, axes
        As in `Constraint`.
    table : ndarray of int (R, k)
        The combinations; each once.
    """

    def __init__(self, placed: Placed, axes: Mapping[int, Axis], table: NDArray[np.int64]) -> None:
        super().__init__(placed, axes)
        self.table = table
        self._sorted = [np.argsort(codes, kind="stable") for codes in table.T]
        self._levels, self._starts = zip(
            *(np.unique(codes, return_index=True) for codes in np.sort(table, axis=0).T), strict=True
        )

    def narrow(self, domains: Mapping[int, Domain], slack: Floats) -> None:
        """Leave the levels of combinations of which every level is left."""
        masks = [domains[d].levels for d in self.columns]
        n = len(domains[self.columns[0]].low)
        left = [np.zeros_like(mask) for mask in masks]
        step = max(1, _MAX_CELLS // max(1, len(self.table)))
        for start in range(0, n, step):
            rows = slice(start, start + step)
            possible = np.ones((min(step, n - start), len(self.table)), dtype=bool)
            for mask, codes in zip(masks, self.table.T, strict=True):
                assert mask is not None
                possible &= mask[rows, codes]
            for j, mask in enumerate(left):
                some = np.logical_or.reduceat(possible[:, self._sorted[j]], self._starts[j], axis=1)
                mask[rows, self._levels[j]] = some
        for d, mask in zip(self.columns, left, strict=True):
            axis = self.axes[d]
            assert isinstance(axis, LevelAxis)
            axis.keep(domains[d], mask)

    def broken(self, codes: NDArray[np.float32]) -> Mask:
        """Return where the combination is none of the table."""
        known = {tuple(row) for row in self.table.tolist()}
        rows = codes[:, list(self.columns)].astype(np.int64).tolist()
        return np.array([tuple(row) not in known for row in rows], dtype=bool)


def narrowed(constraints: Sequence[Constraint], domains: Mapping[int, Domain], slack: Floats) -> None:
    """Narrow domains until rules leave them as they are."""
    # Each round carries what is known one rule further, and the longest path goes through all of them once.
    for _ in range(len(constraints)):
        for constraint in constraints:
            constraint.narrow(domains, slack)
