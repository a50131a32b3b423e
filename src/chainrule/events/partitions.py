"""Partitions of a column's values into the cells that conditions tell apart, with the mass of each.

A *part* is what a family has a probability of: a level (or the share of a bin that lies in a cell), a point
on the line, or the interval between two points. A *cell* is a set of parts that no atom tells apart.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chainrule.conditionals import Conditional
from chainrule.errors import QueryError
from chainrule.events.conditions import Atom, Comparison, Membership, Truth
from chainrule.schema import ColumnType
from chainrule.schema.lookup import encode_value

__all__ = [
    "LevelPartition",
    "LinePartition",
    "Partition",
    "holds",
    "holds_of_levels",
    "numbers_of_levels",
    "partition_of",
]

Floats = NDArray[np.float64]
Codes = NDArray[np.float64]

# Bisections of a truncated draw; codes of columns of real numbers are standardised.
_BISECTIONS = 50
_FURTHEST = 1e3


class Partition(ABC):
    """The parts of a column, the cell of each, and which atoms hold in which cell.

    Parameters
    ----------
    variable : ColumnType
    family : Conditional
        Of the variable alone.
    atoms : sequence of Atom
        About the variable; without any, there is one cell.

    Attributes
    ----------
    cell_of_part : ndarray of int, shape (J,)
    n_cells : int
        C.
    truths : dict of Atom to bool ndarray, shape (C,)
    """

    def __init__(self, variable: ColumnType, family: Conditional, atoms: Sequence[Atom]) -> None:
        self.variable = variable
        self.family: Conditional = copy.deepcopy(family).cpu()
        self.atoms: tuple[Atom, ...] = tuple(atoms)
        self.cell_of_part: NDArray[np.int64]
        self.n_cells: int
        self.truths: dict[Atom, Truth]

    def _cells_of(self, truth: Truth) -> NDArray[np.int64]:
        """Return the number of the cell of each of some values by what atoms (m, L) say of them."""
        patterns, cell = np.unique(truth, axis=1, return_inverse=True)
        self.n_cells = patterns.shape[1]
        self.truths = dict(zip(self.atoms, patterns, strict=False))  # one pattern more where no atom is
        return np.asarray(cell.reshape(-1))

    @abstractmethod
    def part_masses(self, params: Tensor) -> Floats:
        """Return the probability of each part, (n, J), from params (n, P)."""

    @abstractmethod
    def codes_within(self, part: NDArray[np.int64], share: Floats, params: Tensor) -> Codes:
        """Return codes as models see them, one of each row's part, at a share (0 to 1) of its mass."""

    def masses(self, part_masses: Floats) -> Floats:
        """Return the probability of each cell, (n, C), from that of each part."""
        return part_masses @ np.eye(self.n_cells)[self.cell_of_part]

    def choose(
        self, part_masses: Floats, allowed: Truth, uniforms: Floats
    ) -> tuple[NDArray[np.int64], Floats]:
        """Return a part of each row in a cell that is allowed, (n,), and what is left of the uniforms."""
        weights = part_masses * allowed[:, self.cell_of_part]
        reached = weights.cumsum(1)
        at = uniforms * reached[:, -1]
        part = np.minimum((reached <= at[:, None]).sum(1), weights.shape[1] - 1)
        # The last part with any mass, where rounding or nothing at all leads beyond it.
        last = weights.shape[1] - 1 - (weights[:, ::-1] > 0).argmax(1)
        part = np.minimum(part, last)
        rows = np.arange(len(part))
        weight = weights[rows, part]
        left = (at - (reached[rows, part] - weight)) / np.where(weight > 0, weight, 1.0)
        return part, left.clip(0.0, 1.0)


class LevelPartition(Partition):
    """Parts of a column of finitely many levels: each level, or each bin's share in each cell."""

    def __init__(self, variable: ColumnType, family: Conditional, atoms: Sequence[Atom]) -> None:
        super().__init__(variable, family, atoms)
        levels = np.arange(len(variable.levels or ()))
        truth = np.stack([holds_of_levels(atom, variable) for atom in atoms] or [np.ones(len(levels), bool)])
        self.cell_of_level: NDArray[np.int64] = self._cells_of(truth)
        bins = variable.bins
        if bins is None:
            self.part_code, self.cell_of_part = levels, self.cell_of_level
            self.part_share: Floats = np.ones(len(levels))
        else:
            share = np.exp(bins.log_prob_within(levels))
            pair = bins.bin_of(levels) * self.n_cells + self.cell_of_level
            pairs, number = np.unique(pair, return_inverse=True)
            self.part_code, self.cell_of_part = pairs // self.n_cells, pairs % self.n_cells
            self.part_share = np.asarray(np.bincount(number, share))
            self._part_of_level, self._share_of_level = number, share

    def part_masses(self, params: Tensor) -> Floats:
        """Return the probability of each part, (n, J)."""
        n_codes = int(self.part_code.max()) + 1
        probabilities = self.family.level_probabilities(params.double()[:, None], n_codes).squeeze(1).numpy()
        return np.asarray(probabilities[:, self.part_code] * self.part_share)

    def codes_within(self, part: NDArray[np.int64], share: Floats, params: Tensor) -> Codes:
        """Return the level, or the bin's number."""
        return self.part_code[part].astype(np.float64)

    def refined(self, part: NDArray[np.int64], generator: np.random.Generator) -> Codes:
        """Return the code of a level of each part, (n,): of a bin's share in a cell, a level drawn there."""
        if self.variable.bins is None:
            return self.part_code[part].astype(np.float64)
        order = np.argsort(self._part_of_level, kind="stable")
        ends = np.cumsum(self._share_of_level[order])
        first = np.searchsorted(self._part_of_level[order], part)
        last = np.searchsorted(self._part_of_level[order], part, side="right") - 1
        before = np.where(first > 0, ends[first - 1], 0.0)
        at = before + generator.random(len(part)) * (ends[last] - before)
        return order[np.clip(np.searchsorted(ends, at, side="right"), first, last)].astype(np.float64)

    def part_numbers(self) -> Floats:
        """Return the expected number of each part on the line of values, (J,)."""
        numbers = np.asarray(self.variable.numbers(np.arange(len(self.cell_of_level))), dtype=np.float64)
        if self.variable.bins is None:
            return numbers
        total = np.bincount(self._part_of_level, self._share_of_level * numbers)
        return np.asarray(total / self.part_share)

    def level_masses(self, of_parts: Floats) -> Floats:
        """Return the mass of each level, (R, L), from that of each part, (R, J)."""
        if self.variable.bins is None:
            return of_parts
        within = self._share_of_level / self.part_share[self._part_of_level]
        return np.asarray(of_parts[:, self._part_of_level] * within)


class LinePartition(Partition):
    """Parts of a column of real numbers or counts: points, and the intervals between them.

    Parts 0, 2, 4, ... are the intervals below, between and above the points; parts 1, 3, ... the points.
    """

    def __init__(self, variable: ColumnType, family: Conditional, atoms: Sequence[Atom]) -> None:
        super().__init__(variable, family, atoms)
        points = np.unique([point for atom in atoms for point in _points(atom, variable)])
        self.points: NDArray[np.float64] = points.astype(np.float64)
        # What is true of an interval is true of a number in it.
        ends = np.concatenate([points[:1] - 1, points, points[-1:] + 1])
        numbers = np.empty(2 * len(points) + 1)
        numbers[1::2], numbers[::2] = points, (ends[:-1] + ends[1:]) / 2 if len(points) else 0.0
        truth = np.stack([holds(atom, variable, numbers) for atom in atoms] or [np.ones(len(numbers), bool)])
        self.cell_of_part: NDArray[np.int64] = self._cells_of(truth)
        self._codes = np.asarray(variable.codes_of_numbers(self.points), dtype=np.float64)
        self._low, self._high = self._ends_of_parts()

    def _ends_of_parts(self) -> tuple[Codes, Codes]:
        """Return the least and greatest code, as float32 holds it, of each part, (J,)."""
        low, high = np.full(2 * len(self.points) + 1, -np.inf), np.full(2 * len(self.points) + 1, np.inf)
        for i, (point, code) in enumerate(zip(self.points, self._codes, strict=True)):
            low[2 * i + 1] = high[2 * i + 1] = np.float32(code)
            high[2 * i] = self._beside(point, code, -1)
            low[2 * i + 2] = self._beside(point, code, 1)
        if self.variable.is_discrete:
            low[0] = 0.0
        return low, high

    def _beside(self, point: float, code: float, side: int) -> float:
        """Return the nearest code on one side of a point that stands for a number on that side."""
        if self.variable.is_discrete:
            return np.ceil(code) - 1 if side < 0 else np.floor(code) + 1
        near = np.float32(code)
        while side * (float(self.variable.numbers(np.array([near], np.float32))[0]) - point) <= 0:
            near = np.nextafter(near, np.float32(side * np.inf))
        return float(near)

    def reached(self, params: Tensor) -> Floats:
        """Return the distribution function before and at each point, with 0 and 1 at the ends, (n, J + 1)."""
        n = len(params)
        at = np.empty(2 * len(self._codes))
        at[::2], at[1::2] = np.nextafter(self._codes, -np.inf), self._codes
        each = [self.cdf(np.full(n, x), params) for x in at]
        return np.stack([np.zeros(n), *each, np.ones(n)], axis=1)

    def cdf(self, codes: Codes, params: Tensor) -> Floats:
        """Return P(X <= code) of each row, (n,)."""
        x = torch.from_numpy(codes)[:, None]
        return np.asarray(self.family.cdf(x, params.double()[:, None]).squeeze(1).numpy())

    def part_masses(self, params: Tensor) -> Floats:
        """Return the probability of each part, (n, J)."""
        return np.asarray(np.diff(self.reached(params), axis=1).clip(0.0))

    def codes_within(self, part: NDArray[np.int64], share: Floats, params: Tensor) -> Codes:
        """Return codes by bisection of the distribution function between the ends of the parts."""
        reached, rows = self.reached(params), np.arange(len(part))
        at = reached[rows, part] + share * (reached[rows, part + 1] - reached[rows, part])
        return self.codes_reaching(at, self._low[part], self._high[part], params)

    def codes_reaching(self, at: Floats, low: Codes, high: Codes, params: Tensor) -> Codes:
        """Return the least code between two ends up to which so much probability lies, (n,) each."""
        if self.variable.is_discrete:
            codes = self._least_counts(at, low - 1, high, params)
        else:
            a, b = np.maximum(low, -_FURTHEST), np.minimum(high, _FURTHEST)
            for _ in range(_BISECTIONS):
                middle = (a + b) / 2
                below = self.cdf(middle, params) < at
                a, b = np.where(below, middle, a), np.where(below, b, middle)
            codes = self._on_point_masses(b)
        return np.asarray(codes.astype(np.float32).clip(low, high), dtype=np.float64)

    def _least_counts(self, at: Floats, low: Codes, high: Codes, params: Tensor) -> Codes:
        """Return the least whole numbers up to which so much is reached, above `low` and up to `high`."""
        b = np.minimum(np.maximum(2 * (low + 1), 1.0), high)
        while (short := (self.cdf(b, params) < at - 1e-12) & (b < high) & (b < 2.0**24)).any():
            low, b = np.where(short, b, low), np.where(short, np.minimum(2 * b, high), b)
        while (b - low > 1).any():
            middle = np.floor((low + b) / 2)
            below = self.cdf(middle, params) < at - 1e-12
            is_open = b - low > 1
            low, b = np.where(below & is_open, middle, low), np.where(below | ~is_open, b, middle)
        return b

    def _on_point_masses(self, codes: Codes) -> Codes:
        """Return codes of which those that bisection brought to a point mass are exactly there."""
        for mass in getattr(self.variable.support, "point_masses", ()):
            codes = np.where(np.abs(codes - mass) < 1e-9 * max(1.0, abs(mass)), mass, codes)
        return codes


def partition_of(
    variable: ColumnType, family: Conditional, atoms: Sequence[Atom]
) -> LevelPartition | LinePartition:
    """Return the partition of a column by what atoms say of it."""
    if variable.levels is None:
        return LinePartition(variable, family, atoms)
    return LevelPartition(variable, family, atoms)


# ---------------------------------------------------------------- what atoms say of values


def holds(atom: Atom, variable: ColumnType, numbers: Floats) -> Truth:
    """Return of which numbers on the line of values the atom holds.

    Raises
    ------
    QueryError, DataError
        If the column has no such values.
    """
    if isinstance(atom, Membership):
        return np.isin(numbers, [_number(value, variable) for value in atom.values])
    assert isinstance(atom, Comparison)
    return atom.holds(numbers, _number(atom.value, variable))


def holds_of_levels(atom: Atom, variable: ColumnType) -> Truth:
    """Return of which levels the atom holds, (L,)."""
    codes = np.arange(len(variable.levels or ()))
    if isinstance(atom, Membership):
        return np.isin(codes, [encode_value(value, variable) for value in atom.values])
    assert isinstance(atom, Comparison)
    if atom.operator == "=":
        return np.asarray(codes == encode_value(atom.value, variable))
    return atom.holds(_numbers_to_compare(atom, variable), _number(atom.value, variable))


def numbers_of_levels(variable: ColumnType) -> Floats | None:
    """Return the number of each level, (L,), or None where levels are names without an order."""
    levels = variable.levels or ()
    if variable.is_numeric:
        return np.asarray(variable.numbers(np.arange(len(levels))), dtype=np.float64)
    if any(isinstance(level, (str, bool)) for level in levels):
        return None
    return np.array(levels, dtype=np.float64)


def _numbers_to_compare(atom: Comparison, variable: ColumnType) -> Floats:
    """Return the number of each level, (L,)."""
    numbers = numbers_of_levels(variable)
    if numbers is None:
        raise QueryError(
            f"the levels of column {variable.name!r} are names without an order: compare by =, <> or IN, "
            f"not by {atom.operator}"
        )
    return numbers


def _points(atom: Atom, variable: ColumnType) -> list[float]:
    """Return the numbers at which the atom may change between true and false."""
    values = atom.values if isinstance(atom, Membership) else (getattr(atom, "value", None),)
    return [_number(value, variable) for value in values]


def _number(value: object, variable: ColumnType) -> float:
    number = variable.number_of(value)
    if number is None or not np.isfinite(number):
        takes = "dates such as '2024-03-01'" if variable.unit else "finite numbers"
        raise QueryError(
            f"column {variable.name!r} is {variable.kind} and is compared with {takes}, not {value!r}"
        )
    return number
