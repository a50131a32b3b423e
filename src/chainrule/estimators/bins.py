"""Bins: what wide ordinal columns, of far more levels than rows could tell probabilities of, are modelled as.

A bin is a run of levels that holds a share of the training rows. Models see the number of the bin, which is a
narrow ordinal without long tails; within a bin all models agree, on a smoothed histogram of the levels. So

    log P(level) = log P(its bin) + log P(level | its bin),

which sums to one over all levels, as quantile normalisation with its log-determinant integrates to one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from chainrule.schema import Schema

__all__ = ["Bins", "LevelBins"]

# An ordinal of more levels than this is put into bins.
_MOST_LEVELS = 256
_MOST_BINS = 64
# Bins of fewer rows are not made.
_FEWEST_ROWS = 30


@dataclass(frozen=True, eq=False)
class LevelBins:
    """Runs of levels, and a smoothed histogram of the levels within each.

    Of the n rows in a bin, a level that c of them have gets the probability (c - discount) / (n + 1); what is
    left is spread evenly over all levels of the bin, seen or not (absolute discounting). Where hardly a level
    comes twice, nearly all is spread evenly; where few levels come over and over, they keep what they have.

    Attributes
    ----------
    starts : ndarray of shape (B + 1,)
        First level of each bin, and the number of levels.
    levels, counts : ndarray of shape (U,)
        Distinct levels of the training rows, in order, and how many rows have each.
    discount : float
        Between 0 and 1.
    """

    starts: np.ndarray
    levels: np.ndarray
    counts: np.ndarray
    discount: float

    @classmethod
    def fit(cls, x: np.ndarray, n_levels: int) -> LevelBins:
        """Return bins for the levels x (n,) of n rows; NaN is left out."""
        levels, counts = np.unique(x[~np.isnan(x)].astype(np.int64), return_counts=True)
        once, twice = (counts == 1).sum(), (counts == 2).sum()
        # The leave-one-out estimate of Ney, Essen & Kneser (1994).
        discount = once / max(once + 2 * twice, 1)
        return cls(_starts(levels, counts, n_levels), levels, counts, float(discount))

    @property
    def n_bins(self) -> int:
        """B."""
        return len(self.starts) - 1

    def bin_of(self, levels: np.ndarray) -> np.ndarray:
        """Return the numbers of the bins of levels, int (n,)."""
        number: np.ndarray = np.searchsorted(self.starts, levels, side="right") - 1
        return number

    @cached_property
    def _rows(self) -> np.ndarray:
        """Training rows of each bin, (B,)."""
        return np.bincount(self.bin_of(self.levels), self.counts, self.n_bins)

    @cached_property
    def _spread(self) -> np.ndarray:
        """What each level of a bin gets, seen or not, in rows, (B,)."""
        n_seen = np.bincount(self.bin_of(self.levels), minlength=self.n_bins)
        return (self.discount * n_seen + 1) / np.diff(self.starts)

    @cached_property
    def _kept(self) -> np.ndarray:
        """What the levels before each distinct one keep for themselves, in rows, (U + 1,)."""
        return np.concatenate([[0.0], np.cumsum(self.counts - self.discount)])

    def log_prob_within(self, levels: np.ndarray) -> np.ndarray:
        """Return log P(level | its bin), (n,)."""
        number = self.bin_of(levels)
        at = np.searchsorted(self.levels, levels)
        is_seen = np.append(self.levels, -1)[at] == levels
        own = np.where(is_seen, np.append(self.counts, 0)[at] - self.discount, 0.0)
        log_prob: np.ndarray = np.log((own + self._spread[number]) / (self._rows[number] + 1))
        return log_prob

    def cdf_within(self, levels: np.ndarray) -> np.ndarray:
        """Return P(X <= level | its bin), (n,)."""
        number = self.bin_of(levels)
        start = self.starts[number]
        first, after = np.searchsorted(self.levels, start), np.searchsorted(self.levels, levels, side="right")
        reached = self._kept[after] - self._kept[first] + self._spread[number] * (levels - start + 1)
        cdf: np.ndarray = reached / (self._rows[number] + 1)
        return cdf

    @cached_property
    def means(self) -> np.ndarray:
        """The expected level within each bin, (B,)."""
        number = self.bin_of(self.levels)
        seen = np.bincount(number, (self.counts - self.discount) * self.levels, self.n_bins)
        middle = (self.starts[:-1] + self.starts[1:] - 1) / 2
        evenly: np.ndarray = self._spread * np.diff(self.starts) * middle
        return (seen + evenly) / (self._rows + 1)

    @cached_property
    def modes(self) -> np.ndarray:
        """The most probable level within each bin, (B,); the middle one where none was seen."""
        best = (self.starts[:-1] + self.starts[1:] - 1) // 2
        by_count = np.argsort(self.counts, kind="stable")
        best[self.bin_of(self.levels[by_count])] = self.levels[by_count]
        return best

    def draw(self, number: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return one level of each bin whose number is given, (n,)."""
        start, width = self.starts[number], np.diff(self.starts)[number]
        drawn = start + np.floor(generator.random(len(number)) * width).astype(np.int64)
        evenly = self._spread[number] * width
        is_seen = generator.random(len(number)) * (self._rows[number] + 1) >= evenly
        if is_seen.any():
            first, last = np.searchsorted(self.levels, [start[is_seen], start[is_seen] + width[is_seen]])
            share = generator.random(len(first))
            at = self._kept[first] + share * (self._kept[last] - self._kept[first])
            # Rounding must not lead out of the bin.
            chosen = np.clip(np.searchsorted(self._kept, at, side="right") - 1, first, last - 1)
            drawn[is_seen] = self.levels[chosen]
        return drawn


def _starts(levels: np.ndarray, counts: np.ndarray, n_levels: int) -> np.ndarray:
    """Return where bins of about equally many rows start, levels that fill one having it for themselves."""
    enough = max(counts.sum() / _MOST_BINS, _FEWEST_ROWS)
    starts, rows = [0], 0
    for i, (level, count) in enumerate(zip(levels.tolist(), counts.tolist(), strict=True)):
        if count >= enough:
            starts += [level, level + 1]
            rows = 0
            continue
        rows += count
        if rows >= enough and i + 1 < len(levels):
            starts.append((level + int(levels[i + 1])) // 2 + 1)
            rows = 0
    return np.unique([*starts, n_levels])


@dataclass(frozen=True, eq=False)
class Bins:
    """The bins of a table's wide ordinal columns; other columns stay as they are.

    Attributes
    ----------
    of : mapping of int to LevelBins
        By the columns' numbers.
    n_levels : tuple of (int or None), length D
        Levels of the columns, in those of `of` their bins.
    """

    of: Mapping[int, LevelBins]
    n_levels: tuple[int | None, ...]

    @classmethod
    def fit(cls, schema: Schema, codes: np.ndarray) -> Bins:
        """Return the bins for training rows of codes (n, D)."""
        return cls._of_schema(
            schema,
            {
                d: LevelBins.fit(codes[:, d], variable.n_levels)
                for d, variable in enumerate(schema.variables)
                if variable.kind == "ordinal" and variable.n_levels and variable.n_levels > _MOST_LEVELS
            },
        )

    @classmethod
    def _of_schema(cls, schema: Schema, of: Mapping[int, LevelBins]) -> Bins:
        return cls(of, tuple(of[d].n_bins if d in of else count for d, count in enumerate(schema.n_levels)))

    @property
    def n_parameters(self) -> int:
        """How many frequencies the histograms hold."""
        return sum(len(bins.levels) for bins in self.of.values())

    def split(self, codes: np.ndarray) -> np.ndarray:
        """Return codes (n, D) with the numbers of bins in place of levels; what is missing stays missing."""
        if not self.of:
            return codes
        codes = codes.copy()
        for d, bins in self.of.items():
            there = ~np.isnan(codes[:, d])
            codes[there, d] = bins.bin_of(codes[there, d])
        return codes

    def log_prob_within(self, codes: np.ndarray) -> np.ndarray:
        """Return log P(level | its bin) of each cell, (n, D); 0 where there are no bins, or nothing."""
        log_prob = np.zeros(codes.shape)
        for d, bins in self.of.items():
            there = ~np.isnan(codes[:, d])
            log_prob[there, d] = bins.log_prob_within(codes[there, d])
        return log_prob

    def log_prob_of_rows(self, codes: np.ndarray, asked: np.ndarray | None = None) -> np.ndarray:
        """Return the sum of `log_prob_within` over each row's cells, or those asked for (bool), (n,)."""
        if not self.of:
            return np.zeros(len(codes))
        cells = self.log_prob_within(codes)
        total: np.ndarray = (cells if asked is None else np.where(asked, cells, 0.0)).sum(axis=1)
        return total

    def draw(self, codes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return codes (n, D) with drawn levels in place of the numbers of bins."""
        if not self.of:
            return codes
        codes = codes.copy()
        for d, bins in self.of.items():
            codes[:, d] = bins.draw(codes[:, d].astype(np.intp), generator)
        return codes

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the bins as named arrays."""
        arrays: dict[str, np.ndarray] = {}
        for d, bins in self.of.items():
            arrays |= {f"bins.{d}.{name}": getattr(bins, name) for name in ("starts", "levels", "counts")}
            arrays[f"bins.{d}.discount"] = np.array([bins.discount])
        return arrays

    @classmethod
    def from_arrays(cls, schema: Schema, arrays: Mapping[str, np.ndarray]) -> Bins:
        """Return the bins that `to_arrays` described; models that were saved without bins have none."""
        of = {}
        for d in range(schema.n_variables):
            if f"bins.{d}.starts" in arrays:
                values: dict[str, Any] = {
                    name: arrays[f"bins.{d}.{name}"] for name in ("starts", "levels", "counts")
                }
                of[d] = LevelBins(**values, discount=float(arrays[f"bins.{d}.discount"][0]))
        return cls._of_schema(schema, of)
