"""Mutual information: how many nats two columns tell about each other, from probabilities or rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.metrics.cells import Cells

if TYPE_CHECKING:
    from chainrule.schema import Schema

__all__ = [
    "entropy",
    "information_similarity",
    "informational_correlation",
    "log_ratios",
    "normalised_information",
    "rows_dependence",
    "rows_information",
]

Floats = NDArray[np.float64]


def log_ratios(joint: Floats) -> Floats:
    """Return log p(a, b) / (p(a) p(b)) of each entry of a table, (A, B), 0 where nothing stands.

    Their mean under the table is the mutual information in nats.

    Parameters
    ----------
    joint : ndarray (A, B)
        Probabilities, or counts.

    Examples
    --------
    >>> joint = np.eye(2) / 2
    >>> float((joint * log_ratios(joint)).sum().round(4))
    0.6931
    """
    total = joint.sum()
    expected = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
    there = joint > 0
    ratios: Floats = np.log(np.where(there, joint * total, 1.0) / np.where(there, expected, 1.0))
    return ratios


def entropy(probabilities: NDArray[Any]) -> float:
    """Return the entropy in nats of probabilities, or of counts.

    >>> round(entropy(np.array([3, 3, 0])), 4)
    0.6931
    """
    shares = probabilities[probabilities > 0] / max(float(probabilities.sum()), 1e-300)
    return max(-float((shares * np.log(shares)).sum()), 0.0)


def informational_correlation(information: Floats, entropies: Floats) -> Floats:
    """Return mutual information on the scale of a correlation, from 0 to 1, (D, D).

    ``sqrt((1 - exp(-2 I)) / (1 - exp(-2 H)))``, where H is the smaller entropy of the two. The numerator is
    Linfoot's informational coefficient of correlation (1957), which of two Gaussian columns is the absolute
    value of their correlation; the denominator is the most that it can be, so that 1 means that one column
    determines the other.

    Parameters
    ----------
    information : ndarray (D, D)
        Nats; the diagonal is not looked at.
    entropies : ndarray (D,)
        Nats; infinite of columns that have a density.

    Returns
    -------
    ndarray (D, D)
        With ones on the diagonal; 0 where a column has one value only.

    Examples
    --------
    >>> nats = -0.5 * np.log(1 - 0.6**2)
    >>> informational_correlation(np.full((2, 2), nats), np.full(2, np.inf)).round(4).tolist()
    [[1.0, 0.6], [0.6, 1.0]]
    """
    most = -np.expm1(-2 * np.minimum(entropies[:, None], entropies))
    reached = -np.expm1(-2 * np.nan_to_num(information).clip(0))
    share = np.where(most > 0, reached / np.where(most > 0, most, 1.0), 0.0)
    normalised: Floats = np.sqrt(share.clip(0, 1))
    np.fill_diagonal(normalised, 1.0)
    return normalised


def rows_information(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Return the mutual information of two columns of cells, in nats, from rows that have both.

    What few rows show by chance alone is taken off: (cells of the table - rows of it - columns of it + 1) /
    (2 n), each counted where it is not empty (Miller 1955).

    Parameters
    ----------
    first, second : ndarray of int (n,)
        Cells from 0 on; -1 where a value is missing.

    Examples
    --------
    >>> bits = np.tile([0, 0, 1, 1], 500)
    >>> round(rows_information(bits, bits), 3), rows_information(bits, np.tile([0, 1], 1000))
    (0.693, 0.0)
    """
    both = (first >= 0) & (second >= 0)
    first, second = first[both], second[both]
    if not len(first):
        return 0.0
    width = int(second.max()) + 1
    counts = np.bincount(first * width + second, minlength=(int(first.max()) + 1) * width)
    table = counts.reshape(-1, width).astype(np.float64)
    plain = float((table * log_ratios(table)).sum()) / len(first)
    n_free = (table > 0).sum() - (table.sum(1) > 0).sum() - (table.sum(0) > 0).sum() + 1
    return max(plain - float(n_free) / (2 * len(first)), 0.0)


def rows_dependence(
    schema: Schema, codes: NDArray[np.floating], columns: Sequence[int], cells: Sequence[Cells]
) -> Floats:
    """Return the informational correlation of each pair of columns of rows, sorted into cells.

    Parameters
    ----------
    schema : Schema
    codes : ndarray (n, D)
        NaN where a value is missing.
    columns : sequence of int
        Those to look at, D' of them.
    cells : sequence of Cells
        Of these columns.

    Returns
    -------
    ndarray (D', D')
    """
    return informational_correlation(*_information_of_rows(schema, codes, columns, cells))


def _information_of_rows(
    schema: Schema, codes: NDArray[np.floating], columns: Sequence[int], cells: Sequence[Cells]
) -> tuple[Floats, Floats]:
    """Return the mutual information of each pair of columns of rows, and the entropy of each, in nats."""
    coarse = schema.coarse(codes)
    numbers = [each.number(coarse[:, d]) for d, each in zip(columns, cells, strict=True)]
    information = np.zeros((len(columns), len(columns)))
    for i, first in enumerate(numbers):
        for j, second in enumerate(numbers[:i]):
            information[i, j] = information[j, i] = rows_information(first, second)
    entropies = [entropy(np.bincount(column[column >= 0])) for column in numbers]
    return information, np.array(entropies)


def normalised_information(
    schema: Schema, codes: NDArray[np.floating], columns: Sequence[int], cells: Sequence[Cells]
) -> Floats:
    """Return the mutual information of each pair of columns over the mean of their entropies, (D', D').

    From 0 to 1, which says that either column determines the other; 0 where both have one cell only.
    Parameters are those of `rows_dependence`.
    """
    information, entropies = _information_of_rows(schema, codes, columns, cells)
    means = (entropies[:, None] + entropies) / 2
    normalised: Floats = np.where(means > 0, information / np.where(means > 0, means, 1.0), 0.0).clip(max=1)
    return normalised


def information_similarity(real: Floats, drawn: Floats) -> float:
    """Return how alike two matrices of normalised mutual information are, from 0 to 1, over all pairs.

    A pair has ``1 - |r - s| / max(r, s)``, and the weight ``max(r, s)``: pairs that depend on each other
    decide. NaN where no pair does.

    >>> information_similarity(np.array([[1, 0.5], [0.5, 1]]), np.array([[1, 0.25], [0.25, 1]]))
    0.5
    """
    pairs = np.triu_indices(len(real), 1)
    larger, smaller = np.maximum(real, drawn)[pairs].sum(), np.minimum(real, drawn)[pairs].sum()
    return float(smaller / larger) if larger > 0 else math.nan
