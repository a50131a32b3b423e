"""The line, or the list of levels, on which a rule sees a column; masses and draws within limits on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chainrule.conditionals import Conditional, PointMasses
from chainrule.events.partitions import LevelPartition, LinePartition, numbers_of_levels
from chainrule.rules.plain import LEAST_MASS, plain_draw, plain_log_prob
from chainrule.rules.truncated import TOLERANCE, WithinLevels, limited
from chainrule.schema import ColumnType

__all__ = ["Axis", "Domain", "LevelAxis", "LineAxis", "axis_of", "is_whole", "level_axis_of"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

MAX_LISTED = 256
"""Columns of more levels are restricted by limits alone, not level by level."""


@dataclass
class Domain:
    """What is left for a column in each of n rows.

    Attributes
    ----------
    low, high : ndarray (n,)
        Least and greatest number; the former is above the latter where nothing is left.
    levels : ndarray of bool (n, L), optional
        Which levels, of columns that have a list of them.
    """

    low: Floats
    high: Floats
    levels: Mask | None = None

    def is_empty(self, tolerance: Floats) -> Mask:
        """Return where nothing is left, (n,), real numbers being told apart up to a tolerance (n,)."""
        if self.levels is None:
            return np.asarray(self.low > self.high + tolerance)
        return np.asarray(~self.levels.any(1))

    def ordered(self) -> tuple[Floats, Floats]:
        """Return the limits of numbers, which rounding may have moved past each other, in order."""
        return np.minimum(self.low, self.high), np.maximum(self.low, self.high)


class Axis(ABC):
    """A column as rules see it.

    Parameters
    ----------
    variable : ColumnType
        Without bins.
    """

    truncated: Conditional
    """The column's family, cut to a domain; `truncated_params` are its params."""

    def __init__(self, variable: ColumnType) -> None:
        self.variable = variable

    @abstractmethod
    def whole(self, n: int) -> Domain:
        """Return the domain of n rows of which nothing is known."""

    @abstractmethod
    def at(self, codes: Floats) -> Domain:
        """Return the domain of rows whose codes are known, (n,)."""

    @abstractmethod
    def tighten(
        self, domain: Domain, low: Floats, high: Floats, slack: Floats, is_strict: bool = False
    ) -> None:
        """Leave what lies between limits, which are included unless it is strict.

        By the slack, (n,), the rounding of other columns may have moved the limits.
        """

    @abstractmethod
    def tolerance(self, codes: Floats) -> Floats:
        """Return by how much codes in float32 may be off, in the column's units, (n,)."""

    @abstractmethod
    def log_prob(
        self, log_prob: Floats, codes: Floats, domain: Domain, params: Tensor, tolerance: Floats
    ) -> Floats:
        """Return log p of codes within a domain, (n,), from those without limits; -inf outside of it."""

    @abstractmethod
    def draw(self, domain: Domain, params: Tensor, uniforms: Floats) -> Floats:
        """Return codes drawn within a domain, (n,)."""

    @abstractmethod
    def truncated_params(self, domain: Domain, params: Tensor, tolerance: Floats) -> Tensor:
        """Return params of the family within a domain, float64, from the family's own (n, P).

        Where nothing is left, that is the whole family: no row that counts comes there.
        """


class LevelAxis(Axis):
    """A column of a list of levels.

    Parameters
    ----------
    variable : ColumnType
    family : Conditional
        Of the variable alone.
    numbers : ndarray (L,) or None
        The number of each level; None where levels are names.
    """

    def __init__(self, variable: ColumnType, family: Conditional, numbers: Floats | None) -> None:
        super().__init__(variable)
        self.numbers: Floats = np.zeros(len(variable.levels or ())) if numbers is None else numbers
        self._partition = LevelPartition(variable, family, [])
        self.truncated: WithinLevels = WithinLevels(self._partition.family, len(self.numbers))

    def whole(self, n: int) -> Domain:
        """Return all levels."""
        return self._of_levels(np.ones((n, len(self.numbers)), dtype=bool))

    def at(self, codes: Floats) -> Domain:
        """Return the level that each row has."""
        return self._of_levels(codes[:, None] == np.arange(len(self.numbers)))

    def _of_levels(self, levels: Mask) -> Domain:
        domain = Domain(np.empty(len(levels)), np.empty(len(levels)), levels)
        self._set_limits(domain)
        return domain

    def _set_limits(self, domain: Domain) -> None:
        assert domain.levels is not None
        domain.low = np.where(domain.levels, self.numbers, np.inf).min(1)
        domain.high = np.where(domain.levels, self.numbers, -np.inf).max(1)

    def tighten(
        self, domain: Domain, low: Floats, high: Floats, slack: Floats, is_strict: bool = False
    ) -> None:
        """Leave the levels whose numbers lie between limits."""
        outwards = -slack if is_strict else slack
        low, high = low - outwards, high + outwards
        inside = np.greater if is_strict else np.greater_equal
        self.keep(domain, inside(self.numbers, low[:, None]) & inside(high[:, None], self.numbers))

    def keep(self, domain: Domain, levels: Mask) -> None:
        """Leave no others than some levels (n, L)."""
        assert domain.levels is not None
        domain.levels &= levels
        self._set_limits(domain)

    def tolerance(self, codes: Floats) -> Floats:
        """Return zeros."""
        return np.zeros(len(codes))

    def log_prob(
        self, log_prob: Floats, codes: Floats, domain: Domain, params: Tensor, tolerance: Floats
    ) -> Floats:
        """Return log p given one of the levels that are left."""
        assert domain.levels is not None
        mass = (self._partition.part_masses(params) * domain.levels).sum(1)
        is_left = np.take_along_axis(domain.levels, codes.astype(np.intp)[:, None], axis=1)[:, 0]
        alike = -np.log(np.maximum(domain.levels.sum(1), 1))
        scaled = np.where(mass >= LEAST_MASS, log_prob - np.log(np.maximum(mass, LEAST_MASS)), alike)
        return np.where(is_left, scaled, -np.inf)

    def draw(self, domain: Domain, params: Tensor, uniforms: Floats) -> Floats:
        """Return one of the levels that are left."""
        assert domain.levels is not None
        weights = self._partition.part_masses(params) * domain.levels
        weights = np.where(weights.sum(1, keepdims=True) >= LEAST_MASS, weights, domain.levels)
        everything = np.ones((len(weights), 1), dtype=bool)
        part, _ = self._partition.choose(weights, everything, uniforms)
        return part.astype(np.float64)

    def truncated_params(self, domain: Domain, params: Tensor, tolerance: Floats) -> Tensor:
        """Return the params and which levels are left."""
        assert domain.levels is not None
        left = domain.levels | ~domain.levels.any(1, keepdims=True)
        return torch.cat([params.double(), torch.from_numpy(left).double()], dim=1)


class LineAxis(Axis):
    """A column of numbers on a line: real ones, counts, or many levels in order.

    Parameters
    ----------
    variable : ColumnType
    family : Conditional
        Of the variable alone.
    """

    def __init__(self, variable: ColumnType, family: Conditional) -> None:
        super().__init__(variable)
        self._line = LinePartition(variable, family, [])
        self.truncated: Conditional = limited(self._line.family, variable)
        self._last = np.inf if variable.levels is None else len(variable.levels) - 1.0
        self.is_whole: bool = is_whole(variable)
        ends = variable.numbers(np.array([0.0, 1.0]))
        self._unit = 0.0 if variable.is_discrete else float(ends[1] - ends[0])
        masses = np.array(getattr(variable.support, "point_masses", ()), dtype=np.float32)
        self._masses = self._values(masses) if len(masses) else np.empty(0)
        self._lowest = float(variable.numbers(np.zeros(1))[0]) if variable.is_discrete else -np.inf
        self._highest = self._lowest + self._last if variable.is_discrete else np.inf

    def _values(self, codes: NDArray[Any]) -> Floats:
        return np.asarray(self.variable.decode(codes), dtype=np.float64)

    def whole(self, n: int) -> Domain:
        """Return the whole line."""
        return Domain(np.full(n, self._lowest), np.full(n, self._highest))

    def at(self, codes: Floats) -> Domain:
        """Return the number that each row has."""
        values = self._values(codes)
        return Domain(values, values.copy())

    def tighten(
        self, domain: Domain, low: Floats, high: Floats, slack: Floats, is_strict: bool = False
    ) -> None:
        """Leave what lies between limits."""
        if self.is_whole:
            if is_strict:
                low, high = np.floor(low + slack) + 1, np.ceil(high - slack) - 1
            else:
                low, high = np.ceil(low - slack), np.floor(high + slack)
        elif is_strict:
            low = np.where(np.isinf(low), low, np.nextafter(low, np.inf))
            high = np.where(np.isinf(high), high, np.nextafter(high, -np.inf))
        domain.low, domain.high = np.maximum(domain.low, low), np.minimum(domain.high, high)

    def tolerance(self, codes: Floats) -> Floats:
        """Return a millionth of the scale, more for numbers far out; nothing where they are rounded."""
        off = TOLERANCE * self._unit * (1 + np.abs(codes))
        return np.where(self.is_whole & (off < 0.5), 0.0, off)

    def log_prob(
        self, log_prob: Floats, codes: Floats, domain: Domain, params: Tensor, tolerance: Floats
    ) -> Floats:
        """Return log p within the limits; a value that leaves no choice has probability 1."""
        values = self._values(codes)
        low, high = domain.ordered()
        low, high = self._on_point_masses(low, tolerance), self._on_point_masses(high, tolerance)
        spare = np.where(np.isin(values, self._masses), 0.0, tolerance)
        is_left = (values >= low - spare) & (values <= high + spare)
        is_left &= domain.low <= domain.high + tolerance
        first, last = self._ends(low, high)
        before, reached = self._reached(self._line.family, first, last, params)
        mass = reached - before
        scaled = log_prob - np.log(np.maximum(mass, LEAST_MASS))
        plain = plain_log_prob(codes, first, last, self.variable.is_discrete)
        scaled = np.where(mass >= LEAST_MASS, scaled, plain)
        if not self.variable.is_discrete:
            # Of a number that follows from others there is no density: nothing of the change of units stays.
            without_units = -self.variable.log_abs_det_jacobian(codes.astype(np.float32))
            scaled = np.where(high <= low + tolerance, without_units, scaled)
        return np.where(is_left, scaled, -np.inf)

    def _on_point_masses(self, limit: Floats, tolerance: Floats) -> Floats:
        """Return limits that lie where a point mass does, but for rounding, exactly there.

        Those of a strict inequality lie just beside it.
        """
        for mass in self._masses:
            beside = (limit == np.nextafter(mass, np.inf)) | (limit == np.nextafter(mass, -np.inf))
            limit = np.where((np.abs(limit - mass) <= tolerance) & ~beside, mass, limit)
        return limit

    def _ends(self, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        """Return the codes between which all codes stand for numbers within limits."""
        half = 0.5 if self.is_whole and not self.variable.is_discrete else 0.0
        first = self.variable.codes_of_numbers(low - half)
        last = self.variable.codes_of_numbers(high + half)
        return np.asarray(first, dtype=np.float64), np.asarray(last, dtype=np.float64)

    def _reached(
        self, family: Conditional, first: Floats, last: Floats, params: Tensor
    ) -> tuple[Floats, Floats]:
        """Return the distribution function just before one code and at another, (n,) each."""
        before = first - 1 if self.variable.is_discrete else np.nextafter(first, -np.inf)
        is_low, is_high = np.isneginf(first), np.isposinf(last)
        reached_before = cdf_of(family, np.where(is_low, 0.0, before), params)
        reached = cdf_of(family, np.where(is_high, 0.0, last), params)
        return np.where(is_low, 0.0, reached_before), np.where(is_high, 1.0, reached)

    def draw(self, domain: Domain, params: Tensor, uniforms: Floats) -> Floats:
        """Return codes between the limits, by the distribution function's inverse."""
        domain = Domain(*domain.ordered())
        first, last = self._ends(domain.low, domain.high)
        before, reached = self._reached(self._line.family, first, last, params)
        at = before + uniforms * (reached - before)
        codes = plain_draw(first, last, uniforms, self.variable.is_discrete)
        rows = np.flatnonzero((reached - before >= LEAST_MASS) & (first < last))
        chosen = params[torch.from_numpy(rows)]
        codes[rows] = self._line.codes_reaching(at[rows], first[rows], last[rows], chosen)
        return self._within(codes.astype(np.float32), domain).astype(np.float64)

    def truncated_params(self, domain: Domain, params: Tensor, tolerance: Floats) -> Tensor:
        """Return the params with the limits, and the logits of the point masses that lie within."""
        is_empty, (low, high) = domain.is_empty(tolerance), domain.ordered()
        low, high = self._on_point_masses(low, tolerance), self._on_point_masses(high, tolerance)
        low, high = np.where(is_empty, self._lowest, low), np.where(is_empty, self._highest, high)
        first, last = self._ends(low, high)
        if not self.variable.is_discrete:
            only = np.asarray(self.variable.codes_of_numbers(low), dtype=np.float64)
            is_known = high <= low + tolerance
            first, last = np.where(is_known, only, first), np.where(is_known, only, last)
        family, own = self._line.family, params.double()
        if not isinstance(family, PointMasses):
            return torch.cat([own, self._limits(family, first, last, own)], dim=1)
        elsewhere, on_masses, of_density = family.split(own)
        limits = self._limits(family.density, first, last, of_density)
        inside = (self._masses >= low[:, None]) & (self._masses <= high[:, None])
        on_masses = torch.where(torch.from_numpy(inside), on_masses, -torch.inf)
        elsewhere = elsewhere + (limits[:, 3] - limits[:, 2]).log()
        logits = torch.cat([elsewhere[:, None], on_masses], dim=1)
        is_plain = logits.exp().sum(1, keepdim=True) < LEAST_MASS
        plain = torch.full_like(logits, -torch.inf)
        plain[:, 0] = 0.0
        return torch.cat([torch.where(is_plain, plain, logits), of_density, limits], dim=1)

    def _limits(self, family: Conditional, first: Floats, last: Floats, params: Tensor) -> Tensor:
        """Return what stands behind the params of a family within limits, (n, 4)."""
        limits = (first, last, *self._reached(family, first, last, params))
        return torch.from_numpy(np.stack(limits, axis=1))

    def _within(self, codes: NDArray[Any], domain: Domain) -> NDArray[Any]:
        """Return codes in float32 whose numbers lie within limits where rounding led beyond these."""
        for limit, side in ((domain.low, 1), (domain.high, -1)):
            beyond = side * (limit - self._values(codes)) > 0
            near = self.variable.codes_of_numbers(np.where(beyond, limit, 0.0)).astype(np.float32)
            codes = np.where(beyond, near, codes)
            for _ in range(4):  # rounding is off by one step, or by two
                beyond = side * (limit - self._values(codes)) > 0
                codes = np.where(beyond, np.nextafter(codes, np.float32(side * np.inf)), codes)
        return codes


def cdf_of(family: Conditional, codes: Floats, params: Tensor) -> Floats:
    """Return P(X <= code) of each row, (n,), from params (n, P)."""
    found = family.cdf(torch.from_numpy(codes)[:, None], params.double()[:, None])
    return np.asarray(found.squeeze(1).numpy())


def is_whole(variable: ColumnType) -> bool:
    """Whether a column's numbers are whole ones, in its type or once they are decoded."""
    decoded = np.asarray(variable.decode(np.array([0.25, 0.5])), dtype=np.float64)
    return variable.is_discrete or bool((decoded % 1 == 0).all())


def axis_of(variable: ColumnType, family: Conditional) -> LevelAxis | LineAxis:
    """Return the axis of a column without bins."""
    levels = variable.levels
    if levels is None or (variable.is_numeric and len(levels) > MAX_LISTED):
        return LineAxis(variable, family)
    return level_axis_of(variable, family)


def level_axis_of(variable: ColumnType, family: Conditional) -> LevelAxis:
    """Return the axis of a column whose levels are told apart, however many they are."""
    return LevelAxis(variable, family, numbers_of_levels(variable))
