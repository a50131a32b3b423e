"""The search for the nearest row, and whether drawn rows equal training rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chainrule.metrics.statistics import Summary, summarize

if TYPE_CHECKING:
    from chainrule.schema import ColumnType

__all__ = ["TrainingRows", "nearer_to_training", "nearest"]

Codes = NDArray[np.floating]

_BLOCK = 4_000_000  # distances that are held at once


def nearest(
    rows: Codes, others: Codes, distances: Callable[[Codes, Codes], Codes]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the number of the row of `others` that is nearest to each row, and the distance to it.

    Parameters
    ----------
    rows, others : ndarray (n, D), (m, D)
    distances : callable
        From some rows and all others to their distances, (n', m).

    Returns
    -------
    ndarray (n,), intp
    ndarray (n,), float64

    Examples
    --------
    >>> rows, others = np.array([[1.0], [5.0]]), np.array([[4.0], [2.0]])
    >>> nearest(rows, others, lambda a, b: np.abs(a - b.T))
    (array([1, 0]), array([1., 1.]))
    """
    numbers, found = np.empty(len(rows), dtype=np.intp), np.empty(len(rows))
    step = max(1, _BLOCK // len(others))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        block = distances(rows[part], others)
        numbers[part], found[part] = block.argmin(axis=1), block.min(axis=1)
    return numbers, found


class TrainingRows:
    """The rows that were learnt from, to look up others among them.

    Parameters
    ----------
    variables : sequence of ColumnType
    codes : ndarray (n, D)
        NaN where a cell is missing.
    """

    def __init__(self, variables: Sequence[ColumnType], codes: Codes) -> None:
        self._numeric = [variable.is_numeric for variable in variables]
        self._sorted = [
            np.sort(codes[:, d][~np.isnan(codes[:, d])]) if numeric else None
            for d, numeric in enumerate(self._numeric)
        ]
        self._places = self._to_places(codes)
        self._known = set(_keys(codes))

    def are_exact_matches(self, codes: Codes) -> NDArray[np.bool_]:
        """Return which rows equal a training row in every cell; missing equals missing only."""
        return np.fromiter((key in self._known for key in _keys(codes)), dtype=bool, count=len(codes))

    def nearest(self, codes: Codes, among: slice = slice(None)) -> NDArray[np.float64]:
        """Return the distance of each row to its nearest training row, or of some of these, from 0 to 1.

        It is a mean over columns (Gower 1971): 1 for different levels, for numbers the share of the training
        rows that lies between them. Missing cells equal each other and differ from everything else, so that
        rows of which little is known are not near to all others.
        """
        others = self._places[among]
        return nearest(self._to_places(codes), others, self._distances)[1] / len(self._numeric)

    def _distances(self, places: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the sum over columns of the distance of each row to each other, (n, m)."""
        total = np.zeros((len(places), len(others)), dtype=np.float32)
        apart = np.empty_like(total)
        for d, numeric in enumerate(self._numeric):
            mine, theirs = places[:, d, None], others[None, :, d]
            np.subtract(mine, theirs, out=apart)
            if numeric:
                np.abs(apart, out=apart)
            else:
                np.not_equal(apart, 0, out=apart)
            lost, also = np.isnan(mine), np.isnan(theirs)
            if lost.any() or also.any():
                np.copyto(apart, 1, where=lost | also)
                np.copyto(apart, 0, where=lost & also)
            total += apart
        return total

    def _to_places(self, codes: Codes) -> NDArray[np.float32]:
        """Return numbers as the share of the training rows below them, from 0 to 1; levels as they are."""
        places = codes.astype(np.float32)
        for d, values in enumerate(self._sorted):
            if values is not None and len(values):
                observed = ~np.isnan(codes[:, d])
                mine = codes[observed, d]
                below = np.searchsorted(values, mine, "left") + np.searchsorted(values, mine, "right")
                places[observed, d] = below / (2 * len(values))
        return places


def nearer_to_training(
    variables: Sequence[ColumnType], rows: Codes, train: Codes, held_out: Codes
) -> Summary:
    """Return the share of rows that lie nearer to a training row than to one held out, with its error.

    Rows that lie as near to both count by half. Where nothing was memorised it is 0.5, if `train` and
    `held_out` are as many rows.

    Parameters
    ----------
    variables : sequence of ColumnType
    rows, train, held_out : ndarray (n, D), (m, D), (m, D)
        Codes; NaN where a cell is missing.

    Examples
    --------
    >>> from chainrule.schema import Continuous
    >>> rows = np.arange(6.0)[:, None]
    >>> nearer_to_training([Continuous("x")], rows[1:5], rows[:1], rows[5:]).mean
    0.5
    """
    both = TrainingRows(variables, np.concatenate([train, held_out]))
    to_training, to_held_out = (
        both.nearest(rows, among) for among in (slice(len(train)), slice(len(train), None))
    )
    return summarize((to_training < to_held_out) + 0.5 * (to_training == to_held_out))


def _keys(codes: Codes) -> list[bytes]:
    """Return rows as bytes that are equal where all cells are."""
    rows = np.ascontiguousarray(codes, dtype=np.float32) + np.float32(0)  # there is one zero only
    rows[np.isnan(rows)] = np.nan
    return [row.tobytes() for row in rows]
