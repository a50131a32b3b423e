"""How the cells of one column become symbols, whole numbers that are coded, and are coded by a family.

A symbol is the number of a level, a count, or how many steps of its grid a real number lies from zero. What a
network sees of a cell is made from the symbol alone, by the same function in both directions. Families are
asked for `level_probabilities` and `cdf` only.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chainrule import supports
from chainrule.compression.coders import ANY, SymbolCoder
from chainrule.compression.lines import LARGEST_SYMBOL, RADIX, code_on_line, n_digits_of
from chainrule.conditionals import Conditional, Conditionals
from chainrule.schema import ColumnType, Schema
from chainrule.schema.types.base import is_integer_dtype
from chainrule.schema.types.bins import LevelBins

__all__ = ["Column", "columns_of"]

Floats = NDArray[np.float64]
Symbols = NDArray[np.int64]

# Levels in an order are coded one and all up to so many; of more, digit by digit.
_MAX_AT_ONCE = 128
# Of a number: six digits tell 16 million apart.
_USUAL_DIGITS = 6


@dataclass(frozen=True)
class Column(ABC):
    """A column as it is coded.

    Parameters
    ----------
    variable : ColumnType
    family : Conditional
        Of the variable alone.
    """

    variable: ColumnType
    family: Conditional

    @property
    def has_range(self) -> bool:
        """Whether symbols have no end but that of the rows at hand, which is to be told with them."""
        return False

    @property
    def n_masses(self) -> int:
        """About how many numbers the frequencies of one cell are."""
        return RADIX * _USUAL_DIGITS

    @property
    def is_of_numbers(self) -> bool:
        """Whether symbols are made from numbers, of which codes are roundings."""
        return False

    @abstractmethod
    def symbols(self, values: NDArray[Any], codes: NDArray[np.float32]) -> Symbols:
        """Return the symbols of cells that are there, (n,), `ANY` where a cell has none.

        Parameters
        ----------
        values : ndarray of shape (n,)
            Levels, or numbers in the unit of the column.
        codes : ndarray of shape (n,)
            As `Schema.encode` gives them.
        """

    @abstractmethod
    def values(self, symbols: Symbols) -> NDArray[Any]:
        """Return the levels or numbers of symbols."""

    @abstractmethod
    def seen(self, symbols: Symbols) -> NDArray[np.float32]:
        """Return the codes of symbols as a network sees them."""

    @abstractmethod
    def probe(self, hashes: NDArray[np.uint64]) -> tuple[Symbols, tuple[int, int]]:
        """Return symbols for a self-test that follow from large numbers (n,) alone, and their range."""

    @abstractmethod
    def code(self, coder: SymbolCoder, params: Tensor, wanted: Symbols, limits: tuple[int, int]) -> Symbols:
        """Return the symbols (n,) that are coded next.

        Parameters
        ----------
        coder : SymbolCoder
        params : Tensor (n, P)
        wanted : ndarray of int64, shape (n,)
            What is to be written; see `SymbolCoder`.
        limits : tuple of int
            The least and greatest symbol, where the column `has_range`.
        """


@dataclass(frozen=True)
class LevelColumn(Column):
    """A column of finitely many levels; of very many integers, models see the number of a bin."""

    @property
    def n_masses(self) -> int:
        """About how many numbers the frequencies of one cell are."""
        bins, n_codes = self.variable.bins, int(self.variable.n_codes)
        n_seen = n_codes if bins is None else bins.n_bins
        of_seen = n_seen if self._is_coded_at_once(n_seen) else RADIX * n_digits_of(n_seen)
        return of_seen + (0 if bins is None else RADIX * n_digits_of(n_codes // bins.n_bins))

    def _is_coded_at_once(self, n_seen: int) -> bool:
        return n_seen <= _MAX_AT_ONCE or not isinstance(self.variable.support, supports.Grid)

    def symbols(self, values: NDArray[Any], codes: NDArray[np.float32]) -> Symbols:
        """Return the codes, which are whole numbers."""
        known = np.isfinite(codes)
        return np.where(known, np.where(known, codes, 0).astype(np.int64), ANY)

    def values(self, symbols: Symbols) -> NDArray[Any]:
        """Return the levels."""
        return self.variable.decode_column(symbols.astype(np.float64))

    def seen(self, symbols: Symbols) -> NDArray[np.float32]:
        """Return the numbers of levels, or of bins."""
        return np.asarray(self.variable.coarse(symbols.astype(np.float64)), dtype=np.float32)

    def probe(self, hashes: NDArray[np.uint64]) -> tuple[Symbols, tuple[int, int]]:
        """Return levels of all."""
        n_levels = int(self.variable.n_codes)
        return (hashes % np.uint64(n_levels)).astype(np.int64), (0, n_levels - 1)

    def code(self, coder: SymbolCoder, params: Tensor, wanted: Symbols, limits: tuple[int, int]) -> Symbols:
        """Code the level, or the bin and the level in it."""
        bins = self.variable.bins
        if bins is None:
            return self._code_seen(coder, params, wanted, int(self.variable.n_codes))
        of_bin = np.where(wanted == ANY, ANY, bins.bin_of(wanted))
        return _code_within(coder, bins, self._code_seen(coder, params, of_bin, bins.n_bins), wanted)

    def _code_seen(self, coder: SymbolCoder, params: Tensor, wanted: Symbols, n_codes: int) -> Symbols:
        """Code what the model sees."""
        if n_codes == 1:
            return np.zeros(len(wanted), dtype=np.int64)
        params = params.double()[:, None]
        if isinstance(self.variable.support, supports.Binary):
            one = self.family.mean(params).numpy()  # of a number that is 0 or 1
            return coder.code(np.concatenate([1 - one, one], axis=1), wanted)
        if self._is_coded_at_once(n_codes):
            return coder.code(self.family.level_probabilities(params, n_codes).squeeze(1).numpy(), wanted)
        low, high = _everywhere((0, n_codes - 1), len(wanted))
        return code_on_line(coder, lambda at: _cdf(self.family, at - 0.5, params), low, high, wanted)


@dataclass(frozen=True)
class CountColumn(Column):
    """A column of counts."""

    @property
    def has_range(self) -> bool:
        """Yes."""
        return True

    def symbols(self, values: NDArray[Any], codes: NDArray[np.float32]) -> Symbols:
        """Return the counts."""
        return codes.astype(np.int64)

    def values(self, symbols: Symbols) -> NDArray[Any]:
        """Return the counts."""
        return self.variable.decode_column(symbols.astype(np.float64))

    def seen(self, symbols: Symbols) -> NDArray[np.float32]:
        """Return the counts."""
        return symbols.astype(np.float32)

    def probe(self, hashes: NDArray[np.uint64]) -> tuple[Symbols, tuple[int, int]]:
        """Return counts up to 99."""
        return (hashes % np.uint64(100)).astype(np.int64), (0, 99)

    def code(self, coder: SymbolCoder, params: Tensor, wanted: Symbols, limits: tuple[int, int]) -> Symbols:
        """Code digits of the count."""
        low, high = _everywhere(limits, len(wanted))
        params = params.double()[:, None]
        return code_on_line(coder, lambda at: _cdf(self.family, at - 0.5, params), low, high, wanted)


@dataclass(frozen=True)
class RealColumn(Column):
    """A column of real numbers, which are whole multiples of a step.

    Parameters
    ----------
    step : Fraction
    """

    step: Fraction

    @property
    def has_range(self) -> bool:
        """Yes."""
        return True

    @property
    def is_of_numbers(self) -> bool:
        """Yes."""
        return True

    def symbols(self, values: NDArray[Any], codes: NDArray[np.float32]) -> Symbols:
        """Return how many steps each number is, rounded."""
        is_whole = np.issubdtype(values.dtype, np.integer)
        if is_whole and self.step == 1:
            near = (values < LARGEST_SYMBOL) & (values > -LARGEST_SYMBOL)
            return np.where(near, np.where(near, values, 0).astype(np.int64), ANY)
        with np.errstate(over="ignore"):
            steps = np.rint(values.astype(np.float64) * self.step.denominator / self.step.numerator)
        near = np.abs(steps) < 2**53  # all whole numbers up to here are floats
        return np.where(near, np.where(near, steps, 0).astype(np.int64), ANY)

    def values(self, symbols: Symbols) -> NDArray[Any]:
        """Return the multiples of the step: the floats nearest to them."""
        if is_integer_dtype(self.variable.dtype) and self.step.denominator == 1:
            return symbols * self.step.numerator
        return self._numbers(symbols)

    def _numbers(self, symbols: NDArray[Any]) -> Floats:
        return np.asarray(symbols * float(self.step.numerator) / self.step.denominator)

    def seen(self, symbols: Symbols) -> NDArray[np.float32]:
        """Return standardised numbers, or the code of a point mass."""
        codes = self._codes(symbols)
        for symbol, code in zip(self._mass_symbols, self._mass_codes, strict=True):
            codes = np.where(symbols == symbol, code, codes)
        return codes.astype(np.float32)

    def _codes(self, symbols: NDArray[Any]) -> Floats:
        numbers = self.variable.codes_of_numbers(self._numbers(symbols))
        return np.asarray(numbers, dtype=np.float64)

    @cached_property
    def _mass_codes(self) -> Floats:
        """The codes of the point masses, (J,)."""
        return np.array(getattr(self.variable.support, "point_masses", ()), dtype=np.float64)

    @cached_property
    def _mass_symbols(self) -> Symbols:
        """The symbols nearest to the point masses, (J,); a coarse step may give two of them one."""
        return self._nearest(self._mass_codes)

    def _nearest(self, codes: Floats) -> Symbols:
        numbers = np.asarray(self.variable.numbers(codes), dtype=np.float64)
        return self.symbols(numbers, codes.astype(np.float32))

    def probe(self, hashes: NDArray[np.uint64]) -> tuple[Symbols, tuple[int, int]]:
        """Return numbers within three standard deviations, and point masses."""
        codes = (hashes % np.uint64(6001)).astype(np.float64) / 1000 - 3
        codes[: len(self._mass_codes)] = self._mass_codes[: len(codes)]
        symbols = self._nearest(codes)
        return symbols, (int(symbols.min()), int(symbols.max()))

    def code(self, coder: SymbolCoder, params: Tensor, wanted: Symbols, limits: tuple[int, int]) -> Symbols:
        """Code which point mass a number is, if any, and the digits of all others."""
        params = params.double()[:, None]
        if not len(self._mass_codes):
            return self._code_elsewhere(coder, params, np.empty((len(wanted), 0)), wanted, limits)
        jumps = self._jumps(params)
        symbols, group = np.unique(self._mass_symbols, return_inverse=True)
        masses = jumps @ np.eye(len(symbols))[group]
        at = np.minimum(np.searchsorted(symbols, wanted), len(symbols) - 1)
        chosen = np.where(wanted == ANY, -1, np.where(symbols[at] == wanted, at + 1, 0))
        others = (1 - masses.sum(axis=1, keepdims=True)).clip(0.0)
        chosen = coder.code(np.concatenate([others, masses], axis=1), chosen)
        coded = symbols[chosen - 1]
        rows = np.flatnonzero(chosen == 0)
        if len(rows):
            coded[rows] = self._code_elsewhere(coder, params[rows], jumps[rows], wanted[rows], limits)
        return coded

    def _jumps(self, params: Tensor) -> Floats:
        """Return the probability of each point mass, (n, J): a jump of the distribution function."""
        at = np.broadcast_to(self._mass_codes, (len(params), len(self._mass_codes)))
        before = np.nextafter(at, -np.inf)
        return (_cdf(self.family, at, params) - _cdf(self.family, before, params)).clip(0.0)

    def _code_elsewhere(
        self, coder: SymbolCoder, params: Tensor, jumps: Floats, wanted: Symbols, limits: tuple[int, int]
    ) -> Symbols:
        """Code the digits of numbers by what the distribution function rises by between point masses."""

        def reached(at: Symbols) -> Floats:
            codes = self._codes(at - 0.5)
            cdf = _cdf(self.family, codes, params)
            for number, code in enumerate(self._mass_codes):
                cdf -= np.where(codes >= code, jumps[:, number, None], 0.0)
            return cdf

        low, high = _everywhere(limits, len(wanted))
        return code_on_line(coder, reached, low, high, wanted)


def _code_within(coder: SymbolCoder, bins: LevelBins, number: Symbols, wanted: Symbols) -> Symbols:
    """Code the level within each bin whose number is given, by the histogram there."""
    low, end = bins.starts[number], bins.starts[number + 1]

    def reached(at: Symbols) -> Floats:
        below = np.maximum(at - 1, low[:, None])
        return np.where(at > low[:, None], bins.cdf_within(below), 0.0)

    return code_on_line(coder, reached, low, end - 1, wanted)


def _everywhere(limits: tuple[int, int], n: int) -> tuple[Symbols, Symbols]:
    """Return the same limits for each of n rows."""
    return np.full(n, limits[0], dtype=np.int64), np.full(n, limits[1], dtype=np.int64)


def _cdf(family: Conditional, codes: NDArray[Any], params: Tensor) -> Floats:
    """Return P(X <= code) of each row, (n, B), for codes (n, B) and params (n, 1, P)."""
    at = torch.from_numpy(np.ascontiguousarray(codes.T))[..., None]
    return np.ascontiguousarray(family.cdf(at, params).squeeze(-1).numpy().T)


# ---------------------------------------------------------------- the columns of a model


def columns_of(
    conditionals: Conditionals, schema: Schema, steps: Mapping[int, Fraction]
) -> tuple[Column, ...]:
    """Return how the columns of a model are coded, on the CPU."""
    columns: list[Column] = []
    for d, variable in enumerate(schema.variables):
        family = copy.deepcopy(conditionals.of_variable(d)).cpu()
        if variable.levels is not None:
            columns.append(LevelColumn(variable, family))
        elif variable.is_discrete:
            columns.append(CountColumn(variable, family))
        else:
            columns.append(RealColumn(variable, family, steps[d]))
    return tuple(columns)
