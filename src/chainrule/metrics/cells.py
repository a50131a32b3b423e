"""Cells: the values of a column sorted into a few numbered classes, so that any two columns make a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from chainrule.schema import ColumnType

__all__ = ["Cells", "cut_at", "every_level", "few_cells"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Cells:
    """Classes of the codes of one column, as models see them.

    Attributes
    ----------
    edges : ndarray (n_cells - 1,) or None
        Codes at which the cells end, in rising order, each within its cell; None where levels are sorted
        one by one.
    of_level : ndarray of int or None
        The cell of each level, of wide ordinals of each bin; None where there are edges.
    """

    edges: Floats | None = None
    of_level: NDArray[np.int64] | None = None

    @property
    def n_cells(self) -> int:
        """Number of cells, at least one."""
        if self.edges is not None:
            return len(self.edges) + 1
        assert self.of_level is not None
        return int(self.of_level.max(initial=0)) + 1

    def number(self, codes: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the cell of each code, (n,); -1 of NaN."""
        known = np.nan_to_num(codes)
        if self.edges is not None:
            cells = np.searchsorted(self.edges, known)
        else:
            assert self.of_level is not None
            cells = self.of_level[known.astype(np.int64)]
        return np.where(np.isnan(codes), -1, cells)


def every_level(variable: ColumnType) -> Cells:
    """Return a cell for each level, of wide ordinals for each bin."""
    n_seen = int(variable.n_codes) if variable.bins is None else variable.bins.n_bins
    return Cells(of_level=np.arange(n_seen))


def cut_at(variable: ColumnType, codes: NDArray[np.floating]) -> Cells:
    """Return cells that end at some codes, and at each point mass, which gets a cell of its own."""
    masses = np.array(getattr(variable.support, "point_masses", ()), dtype=np.float64)
    ends = [codes.astype(np.float64), masses, np.nextafter(masses, -np.inf)]
    return Cells(edges=np.unique(np.concatenate(ends)))


def few_cells(variable: ColumnType, codes: NDArray[np.floating], most: int) -> Cells:
    """Return at most so many cells for the codes of some rows, as models see them.

    Of numbers cells of about as many rows each; of names the most frequent ones, and one cell for the rest.

    Parameters
    ----------
    variable : ColumnType
    codes : ndarray (n,)
        NaN where a value is missing.
    most : int
        At least 2.
    """
    levels = None if variable.levels is None else every_level(variable)
    if levels is not None and levels.n_cells <= most:
        return levels
    known = codes[~np.isnan(codes)]
    if not variable.is_numeric:
        counts = np.bincount(known.astype(np.int64), minlength=int(variable.n_codes))
        of_level = np.full(len(counts), most - 1)
        of_level[np.argsort(-counts, kind="stable")[: most - 1]] = np.arange(most - 1)
        return Cells(of_level=of_level)
    edges = np.empty(0)
    if len(known):
        edges = np.unique(np.quantile(known, np.arange(1, most) / most, method="inverted_cdf"))
        edges = edges[edges < known.max()].astype(np.float64)
    if levels is None:
        return Cells(edges=edges)
    return Cells(of_level=np.searchsorted(edges, np.arange(levels.n_cells)))
