"""The quality of samples: precision and recall against held-out rows, and distances to training rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from chainrule.metrics import neighbours
from chainrule.metrics.statistics import Summary, summarize

__all__ = ["Manifold", "PrecisionRecall", "grouped_summary", "nearest", "precision_recall"]

Floats = NDArray[np.float64]
_PCA_ROWS = 5000


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """Precision and recall of drawn rows, row by row.

    Attributes
    ----------
    precise : ndarray of shape (n_drawn,)
        1 where a drawn row lies among the real ones.
    recalled : ndarray of shape (n_real,)
        1 where a real row lies among the drawn ones.
    """

    precise: Floats
    recalled: Floats


def precision_recall(
    real: NDArray[np.floating], drawn: NDArray[np.floating], n_neighbours: int = 3
) -> PrecisionRecall:
    """Return precision and recall, row by row, as of Kynkaanniemi et al. (2019).

    A row lies among others if it is as near to one of them as that one's `n_neighbours`-th nearest neighbour
    among its own. Sets of the same size keep the two measures comparable.

    Parameters
    ----------
    real, drawn : ndarray of shape (n_real, d), (n_drawn, d)

    Raises
    ------
    ValueError
        If a set has no more rows than `n_neighbours`.

    Examples
    --------
    >>> rows = np.random.default_rng(0).normal(size=(200, 2))
    >>> near, far = precision_recall(rows, rows + 0.01), precision_recall(rows, rows + 50)
    >>> float(near.precise.mean()), float(far.recalled.mean())
    (1.0, 0.0)
    """
    if min(len(real), len(drawn)) <= n_neighbours:
        raise ValueError(
            f"expected more than {n_neighbours} rows in each set, got {len(real)} and {len(drawn)}"
        )
    across = _squared_distances(drawn, real)
    reach_real = _reach(real, n_neighbours)
    reach_drawn = _reach(drawn, n_neighbours)
    precise: NDArray[np.bool_] = np.any(across <= reach_real, axis=1)
    recalled: NDArray[np.bool_] = np.any(across <= reach_drawn[:, None], axis=0)
    return PrecisionRecall(precise.astype(np.float64), recalled.astype(np.float64))


class Manifold:
    """The space in which images are compared: their leading principal axes, in the pixels' units.

    Parameters
    ----------
    train : ndarray of shape (n, D)
    n_axes : int
        At most so many.
    random_state : int
    """

    def __init__(self, train: NDArray[np.generic], n_axes: int, random_state: int) -> None:
        draw = np.random.default_rng(random_state)
        rows = train[np.sort(draw.permutation(len(train))[:_PCA_ROWS])].astype(np.float32)
        n_axes = min(n_axes, *rows.shape)
        self._pca = PCA(n_axes, svd_solver="randomized", random_state=random_state).fit(rows)
        self.n_axes = n_axes
        self.share: float = float(self._pca.explained_variance_ratio_.sum())

    def place(self, rows: NDArray[np.generic]) -> Floats:
        """Return the coordinates of rows, float64 (n, n_axes)."""
        placed: Floats = self._pca.transform(rows.astype(np.float32)).astype(np.float64)
        return placed


def nearest(rows: NDArray[np.generic], train: NDArray[np.generic]) -> tuple[NDArray[np.intp], Floats]:
    """Return the number of the nearest training row of each row, and the distance to it.

    Parameters
    ----------
    rows, train : ndarray of shape (n, D), (n_train, D)

    Returns
    -------
    ndarray of shape (n,), intp
    ndarray of shape (n,), float64
        Euclidean distance in the pixels' units; of binary rows the root of how many pixels differ.
    """
    found, squared = neighbours.nearest(rows.astype(np.float32), train.astype(np.float32), _squared_distances)
    return found, np.sqrt(squared)


def grouped_summary(values: Floats, groups: NDArray[np.integer] | None) -> Summary:
    """Return the mean of a number per row, and its standard error where rows of a group belong together.

    Parameters
    ----------
    values : ndarray of shape (n,)
    groups : ndarray of shape (n,) or None
        The group of each row; None where rows are independent.

    Returns
    -------
    Summary
        The error is NaN where there is only one group.

    Examples
    --------
    >>> rows = np.array([1.0, 1.0, 2.0, 2.0])
    >>> grouped_summary(rows, np.array([0, 0, 1, 1])).standard_error
    0.5
    """
    if groups is None:
        return summarize(values)
    mean = float(values.mean())
    _, member = np.unique(groups, return_inverse=True)
    sums = np.bincount(member, weights=values - mean)
    n_groups = len(sums)
    if n_groups < 2 or not np.isfinite(values).all():
        return Summary(mean, math.nan, len(values))
    variance = n_groups / (n_groups - 1) * float((sums**2).sum()) / len(values) ** 2
    return Summary(mean, math.sqrt(variance), len(values))


def _reach(rows: NDArray[np.floating], n_neighbours: int) -> Floats:
    """Return the squared distance of each row to its `n_neighbours`-th nearest neighbour."""
    squared = _squared_distances(rows, rows)
    np.fill_diagonal(squared, 0.0)
    reach: Floats = np.partition(squared, n_neighbours, axis=1)[:, n_neighbours]
    return reach


def _squared_distances(a: NDArray[np.floating], b: NDArray[np.floating]) -> Floats:
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2.0 * (a @ b.T)
    distances: Floats = np.maximum(squared, 0.0).astype(np.float64)
    return distances
