"""Columns of a table as the parts that mixtures of products are made of.

A continuous column with point masses makes two parts: which of them it is, or none, and the number where it
is none, which is missing otherwise. The other columns are a part each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from chainrule.baselines.product_mixture import Layout

if TYPE_CHECKING:
    from chainrule.schema import Schema

__all__ = ["Parts"]


@dataclass(frozen=True, eq=False)
class Parts:
    """The way from codes (n, D) to parts (n, P), and back.

    Attributes
    ----------
    n_levels : tuple of (int or None), length D
    spikes : mapping of int to ndarray
        Codes of the point masses, by the columns' numbers.
    """

    n_levels: tuple[int | None, ...]
    spikes: Mapping[int, np.ndarray]

    @classmethod
    def of_schema(cls, schema: Schema, n_levels: Sequence[int | None]) -> Parts:
        """Return the parts of columns that have so many levels."""
        spikes = {
            d: np.array(variable.spike_codes, dtype=np.float32)
            for d, variable in enumerate(schema.variables)
            if variable.spikes
        }
        return cls(tuple(n_levels), spikes)

    @cached_property
    def layout(self) -> Layout:
        """The kinds of the parts."""
        n_levels: list[int | None] = []
        for d, count in enumerate(self.n_levels):
            n_levels += [1 + len(self.spikes[d]), None] if d in self.spikes else [count]
        return Layout(tuple(n_levels))

    def split(self, codes: np.ndarray) -> np.ndarray:
        """Return the parts of codes; what is missing in the one is in the other."""
        if not self.spikes:
            return codes
        columns: list[np.ndarray] = []
        for d, column in enumerate(codes.T):
            columns += _which_and_number(column, self.spikes[d]) if d in self.spikes else [column]
        return np.column_stack(columns)

    def join(self, parts: np.ndarray) -> np.ndarray:
        """Return the codes of parts of which none is missing."""
        if not self.spikes:
            return parts
        codes, at = np.empty((len(parts), len(self.n_levels)), dtype=np.float32), 0
        for d in range(len(self.n_levels)):
            codes[:, d] = parts[:, at]
            if d in self.spikes:
                which, at = parts[:, at].astype(np.intp), at + 1
                codes[:, d] = np.where(which == 0, parts[:, at], self.spikes[d][np.maximum(which - 1, 0)])
            at += 1
        return codes


def _which_and_number(column: np.ndarray, spikes: np.ndarray) -> list[np.ndarray]:
    """Return 1 + the number of the spike that each code is, or 0, and the code where it is none."""
    is_spike = column[:, None] == spikes
    which = is_spike @ np.arange(1, 1 + len(spikes), dtype=np.float32)
    return [np.where(np.isnan(column), np.nan, which), np.where(is_spike.any(axis=1), np.nan, column)]
