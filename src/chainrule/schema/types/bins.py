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
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, Struct

from chainrule.errors import StorageError
from chainrule.storage import as_described

__all__ = ["LevelBins"]

MAX_BINS = 256
# Bins of fewer rows are not made.
MIN_ROWS = 30


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
    inflated : tuple of int
        The numbers of bins of one level that more rows have than any other bin need have.
    """

    starts: np.ndarray
    levels: np.ndarray
    counts: np.ndarray
    discount: float
    inflated: tuple[int, ...] = ()

    @classmethod
    def fit(cls, x: np.ndarray, n_levels: int) -> LevelBins:
        """Return bins for the levels x (n,) of n rows; NaN is left out."""
        levels, counts = np.unique(x[~np.isnan(x)].astype(np.int64), return_counts=True)
        once, twice = (counts == 1).sum(), (counts == 2).sum()
        # The leave-one-out estimate of Ney, Essen & Kneser (1994).
        discount = once / max(once + 2 * twice, 1)
        starts = _starts(levels, counts, n_levels)
        return cls(starts, levels, counts, float(discount), _inflated(starts, levels, counts))

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

    def to_dict(self) -> dict[str, Any]:
        """Return the bins in JSON-safe form."""
        arrays = {name: getattr(self, name).tolist() for name in ("starts", "levels", "counts")}
        return arrays | {"discount": self.discount, "inflated": list(self.inflated)}

    @classmethod
    def from_dict(cls, metadata: Mapping[str, Any]) -> LevelBins:
        """Undo `to_dict`; StorageError where the numbers are no bins."""
        stored = as_described(metadata, _StoredBins, "the bins of a column")
        starts, levels, counts = (
            np.array(numbers, dtype=np.int64) for numbers in (stored.starts, stored.levels, stored.counts)
        )
        rises = (np.diff(starts) > 0).all() and (np.diff(levels) > 0).all()
        is_inside = starts[0] == 0 and (levels < starts[-1]).all()
        if not (rises and is_inside and levels.shape == counts.shape):
            raise StorageError("the bins of a column: their levels do not rise, or lie outside")
        if any(number >= len(starts) - 1 for number in stored.inflated):
            raise StorageError("the bins of a column: what stands out is none of them")
        return cls(starts, levels, counts, stored.discount, tuple(stored.inflated))


Number = Annotated[int, Meta(ge=0, le=2**53)]


class _StoredBins(Struct, forbid_unknown_fields=True):
    """What `LevelBins.to_dict` returns."""

    starts: Annotated[list[Number], Meta(min_length=2)]
    levels: list[Number]
    counts: list[Annotated[int, Meta(ge=1, le=2**40)]]
    discount: Annotated[float, Meta(ge=0, le=1)]
    inflated: list[Number] = []


def _inflated(starts: np.ndarray, levels: np.ndarray, counts: np.ndarray) -> tuple[int, ...]:
    """Return the numbers of bins of one level that has twice as many rows as fill a bin."""
    is_heavy = counts >= 2 * _enough(counts)
    return tuple((np.searchsorted(starts, levels[is_heavy], side="right") - 1).tolist())


def _enough(counts: np.ndarray) -> float:
    """Return how many rows fill a bin."""
    return float(max(counts.sum() / MAX_BINS, MIN_ROWS))


def _starts(levels: np.ndarray, counts: np.ndarray, n_levels: int) -> np.ndarray:
    """Return where bins of about equally many rows start, levels that fill one having it for themselves."""
    enough = _enough(counts)
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
