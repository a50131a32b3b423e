"""Columns of a table as the parts that mixtures of products are made of.

A continuous column with point masses makes two parts: which of them it is, or none, and the number where it
is none, which is missing otherwise. The other columns are a part each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from chainrule.baselines.product_mixture import Layout
from chainrule.supports import Levels, Reals, Support

__all__ = ["Parts"]


@dataclass(frozen=True, eq=False)
class Parts:
    """The way from codes (n, D) to parts (n, P), and back.

    Parameters
    ----------
    supports : sequence of Support, length D
    """

    supports: Sequence[Support]

    @cached_property
    def point_masses(self) -> dict[int, np.ndarray]:
        """Codes of the point masses, by the columns' numbers."""
        return {
            d: np.array(support.point_masses, dtype=np.float32)
            for d, support in enumerate(self.supports)
            if isinstance(support, Reals) and support.point_masses
        }

    @cached_property
    def layout(self) -> Layout:
        """The supports of the parts."""
        parts: list[Support] = []
        for d, support in enumerate(self.supports):
            masses = self.point_masses.get(d)
            parts += [support] if masses is None else [Levels(1 + len(masses)), Reals()]
        return Layout(tuple(parts))

    def split(self, codes: np.ndarray) -> np.ndarray:
        """Return the parts of codes; what is missing in the one is in the other."""
        if not self.point_masses:
            return codes
        columns: list[np.ndarray] = []
        for d, column in enumerate(codes.T):
            columns += _which_and_number(column, self.point_masses[d]) if d in self.point_masses else [column]
        return np.column_stack(columns)

    def join(self, parts: np.ndarray) -> np.ndarray:
        """Return the codes of parts of which none is missing."""
        if not self.point_masses:
            return parts
        codes, at = np.empty((len(parts), len(self.supports)), dtype=np.float32), 0
        for d in range(len(self.supports)):
            codes[:, d] = parts[:, at]
            if d in self.point_masses:
                which, at = parts[:, at].astype(np.intp), at + 1
                codes[:, d] = np.where(
                    which == 0, parts[:, at], self.point_masses[d][np.maximum(which - 1, 0)]
                )
            at += 1
        return codes


def _which_and_number(column: np.ndarray, codes: np.ndarray) -> list[np.ndarray]:
    """Return 1 + the number of the point mass that each code is, or 0, and the code where it is none."""
    is_mass = column[:, None] == codes
    which = is_mass @ np.arange(1, 1 + len(codes), dtype=np.float32)
    return [np.where(np.isnan(column), np.nan, which), np.where(is_mass.any(axis=1), np.nan, column)]
