"""Are the probabilities honest? Cells of held-out rows are hidden, and held against what a model expected.

Of names, reliability: among all levels to which the model gave about a probability p, a share p should be
those that stood there. Of numbers, the probability integral transform (Dawid 1984): the place of the hidden
value in its distribution, which should be uniform from 0 to 1. A discrete value has a range of places, within
which one is drawn (Czado, Gneiting & Held 2009), so that it is uniform, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from chainrule.errors import ParameterError
from chainrule.storage import json_safe

if TYPE_CHECKING:
    from chainrule.schema import Schema

__all__ = ["Calibration", "ColumnCalibration", "Coverage", "Reliability", "measure_calibration"]

Floats = NDArray[np.float64]

INTERVALS = (0.5, 0.9)
"""The probabilities of the central intervals whose coverage is counted."""

# Where runs of predicted probabilities end: narrower at both ends, where most levels of a wide column are.
_RUNS = np.array([0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0])
# What the number of levels that stood in a run varies by, at least.
_MIN_VARIANCE = 2.0
_N_BARS = 20
# The mean of Kolmogorov's distribution, by which distances from uniform times the root of n are distributed.
_KOLMOGOROV_MEAN = float(np.sqrt(np.pi / 2) * np.log(2))


class _Answering(Protocol):
    """A fitted model of any order."""

    schema_: Schema

    def conditionals(self, X: Any) -> Iterator[tuple[int, NDArray[np.int64], Any]]:
        """Yield columns, rows in which they are missing, and their distributions there."""


@dataclass(frozen=True)
class Coverage:
    """How many hidden cells central intervals hold.

    Attributes
    ----------
    plain : float
        The share of values from the lower to the upper quantile, both counted as inside. Of discrete columns
        it lies above the probability asked for by nature: quantiles are whole levels.
    randomised : float
        The share by the randomised probability integral transform, which is right for those, too: the mean
        over all places that could be drawn, so that no draw adds to its error.
    plain_error, randomised_error : float
        Standard errors.
    """

    plain: float
    plain_error: float
    randomised: float
    randomised_error: float


@dataclass(frozen=True, eq=False)
class Reliability:
    """Predicted probabilities of levels, in runs of about the same, and how often the levels stood there.

    Attributes
    ----------
    predicted, observed : ndarray (B,)
        Mean predicted probability of each run, and the share of its levels that stood there.
    error : ndarray (B,)
        The standard deviation of `observed` if the predictions are right.
    counts : ndarray (B,)
        Levels of all hidden cells in each run.
    """

    predicted: Floats
    observed: Floats
    error: Floats
    counts: NDArray[np.int64]

    @property
    def gap(self) -> float:
        """Mean difference of predicted and observed, by how often the levels of a run are expected."""
        return float(np.average(np.abs(self.observed - self.predicted), weights=self._weights))

    @property
    def gap_by_chance(self) -> float:
        """What `gap` is on average if the predictions are right."""
        return float(np.average(self.error * np.sqrt(2 / np.pi), weights=self._weights))

    @property
    def _weights(self) -> Floats:
        return self.counts * self.predicted


@dataclass(frozen=True, eq=False)
class ColumnCalibration:
    """What became of the hidden cells of one column.

    Attributes
    ----------
    column : str
    n_cells : int
    reliability : Reliability or None
        Of a column of names.
    transform : ndarray (n_cells,) or None
        The randomised probability integral transform of the cells of a column of numbers.
    coverage : mapping of float to Coverage
        By the probability of the interval; empty for names.
    """

    column: str
    n_cells: int
    reliability: Reliability | None
    transform: Floats | None
    coverage: Mapping[float, Coverage]

    @property
    def gap(self) -> float:
        """How far from calibrated: `Reliability.gap`, or Kolmogorov's distance from uniform."""
        if self.transform is None:
            assert self.reliability is not None
            return self.reliability.gap
        places = np.arange(len(self.transform) + 1) / len(self.transform)
        ordered = np.sort(self.transform)
        return float(max((places[1:] - ordered).max(), (ordered - places[:-1]).max()))

    @property
    def gap_by_chance(self) -> float:
        """What `gap` is on average if the model is calibrated."""
        if self.transform is None:
            assert self.reliability is not None
            return self.reliability.gap_by_chance
        return _KOLMOGOROV_MEAN / float(np.sqrt(len(self.transform)))

    def to_dict(self) -> dict[str, Any]:
        """Return the figures, and the curve or the histogram in twenty bars, under keys that stay stable."""
        document: dict[str, Any] = {
            "n_cells": self.n_cells,
            "gap": self.gap,
            "gap_by_chance": self.gap_by_chance,
            "coverage": {f"{share:g}": vars(found) for share, found in self.coverage.items()},
        }
        if self.transform is not None:
            document["transform"] = np.histogram(self.transform, _N_BARS, (0, 1))[0].tolist()
        if self.reliability is not None:
            document["reliability"] = {name: each.tolist() for name, each in vars(self.reliability).items()}
        return document


@dataclass(frozen=True, eq=False)
class Calibration:
    """What became of hidden cells, column by column.

    Attributes
    ----------
    columns : tuple of ColumnCalibration
        Those with hidden cells.
    share : float
        Of the cells that was hidden.
    n_rows : int
    """

    columns: tuple[ColumnCalibration, ...]
    share: float
    n_rows: int

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-safe values under keys that stay stable."""
        columns = {each.column: each.to_dict() for each in self.columns}
        safe: dict[str, Any] = json_safe({"share": self.share, "n_rows": self.n_rows, "columns": columns})
        return safe


def measure_calibration(
    model: _Answering, X: Any, *, share: float = 0.3, n_rows: int = 2000, random_state: int = 0
) -> Calibration:
    """Hide cells of rows that a model has not seen, and hold them against its conditionals given the rest.

    Parameters
    ----------
    model : density estimator
        Any that offers `conditionals`: those of any order.
    X : array or DataFrame, shape (n, D)
        Held-out rows.
    share : float, default=0.3
        Of the cells to hide, each by itself, in (0, 1].
    n_rows : int, default=2000
        At most so many of the rows, drawn at random.
    random_state : int, default=0

    Returns
    -------
    Calibration

    Raises
    ------
    ParameterError
        If `share` is not above 0 and at most 1.

    Examples
    --------
    >>> from chainrule import OrderlessNADE
    >>> X = np.random.default_rng(0).integers(0, 2, (400, 2))
    >>> model = OrderlessNADE(hidden_sizes=(8,), max_epochs=5, random_state=0).fit(X[:200])
    >>> found = measure_calibration(model, X[200:])
    >>> [column.column for column in found.columns], found.columns[0].gap < 0.2
    (['x1', 'x2'], True)
    """
    if not 0 < share <= 1:
        raise ParameterError(f"share must be above 0 and at most 1, got {share!r}")
    schema, rng = model.schema_, np.random.default_rng(random_state)
    codes = schema.encode(X, missing=True, unseen=np.nan)
    codes = codes[np.sort(rng.permutation(len(codes))[:n_rows])]
    hidden = (rng.random(codes.shape) < share) & ~np.isnan(codes)
    found: dict[int, list[tuple[Any, ...]]] = {}
    for d, rows, distribution in model.conditionals(_with_holes(schema, codes, hidden)):
        of_hidden = hidden[rows, d]
        if of_hidden.any():
            held = _held_against(distribution, schema, d, codes[rows, d])
            found.setdefault(d, []).append(tuple(part[of_hidden] for part in held))
    columns = (_of_column(schema, d, [np.concatenate(p) for p in zip(*found[d], strict=True)], rng)
               for d in sorted(found))  # fmt: skip
    return Calibration(tuple(columns), float(share), len(codes))


def _with_holes(schema: Schema, codes: NDArray[np.floating], hidden: NDArray[np.bool_]) -> Any:
    """Return rows whose hidden cells are missing; an array that cannot hold that becomes another one."""
    holes = np.where(hidden, np.nan, codes)
    if schema.container != "numpy":
        return schema.decode(holes)
    whole = schema.decode(np.nan_to_num(codes))
    is_number = np.issubdtype(whole.dtype, np.number) or np.issubdtype(whole.dtype, np.bool_)
    rows = whole.astype(np.float64 if is_number else object)
    rows[np.isnan(holes)] = np.nan if is_number else None
    return rows


def _held_against(
    distribution: Any, schema: Schema, d: int, codes: NDArray[np.floating]
) -> tuple[NDArray[Any], ...]:
    """Return P(X < value) and P(X <= value) of numbers; of names all probabilities, and the true levels."""
    variable = schema.variables[d]
    if variable.is_numeric:
        below, reached = distribution.interval(np.nan_to_num(variable.numbers(codes.astype(np.float64))))
        return below, reached
    return distribution.probabilities, np.nan_to_num(codes).astype(np.int64)


def _of_column(
    schema: Schema, d: int, held: list[NDArray[Any]], rng: np.random.Generator
) -> ColumnCalibration:
    variable = schema.variables[d]
    if not variable.is_numeric:
        return ColumnCalibration(variable.name, len(held[1]), _reliability(*held), None, {})
    below, reached = held
    transform = below + rng.random(len(below)) * (reached - below)
    coverage = {interval: _coverage(below, reached, interval) for interval in INTERVALS}
    return ColumnCalibration(variable.name, len(below), None, transform, coverage)


def _coverage(below: Floats, reached: Floats, interval: float) -> Coverage:
    tail = (1 - interval) / 2
    # The least value that is not exceeded with probability q is at most x just if P(X <= x) >= q.
    plain = float(((reached >= tail) & (below < 1 - tail)).mean())
    # Of the places of each value the share within the interval; a density leaves one place.
    overlap = np.minimum(reached, 1 - tail) - np.maximum(below, tail)
    width = reached - below
    is_range = width > 1e-9
    inside = np.where(is_range, overlap.clip(0) / np.where(is_range, width, 1.0), overlap >= -width)
    root = np.sqrt(len(below))
    return Coverage(
        plain, float(np.sqrt(plain * (1 - plain)) / root), float(inside.mean()), float(inside.std() / root)
    )


def _reliability(probabilities: Floats, truth: NDArray[np.int64]) -> Reliability:
    """Return the reliability of all levels together, in runs of about the same probability."""
    stood = np.zeros(probabilities.shape, dtype=bool)
    stood[np.arange(len(truth)), truth] = True
    predicted = probabilities.ravel().clip(0, 1)
    run = np.searchsorted(_RUNS[1:-1], predicted, side="right")
    sums = [
        np.bincount(run, weights, len(_RUNS) - 1)
        for weights in (None, predicted, stood.ravel(), predicted * (1 - predicted))
    ]
    counts, of_predicted, of_stood, variance = _merged(np.array(sums))
    return Reliability(
        of_predicted / counts, of_stood / counts, np.sqrt(variance) / counts, counts.astype(np.int64)
    )


def _merged(sums: Floats) -> Floats:
    """Return sums over runs, (4, B), of which each leaves something to chance: others join the next one."""
    merged: list[Floats] = []
    pending = np.zeros(len(sums))
    for each in sums.T:
        pending = pending + each
        if pending[3] >= _MIN_VARIANCE:
            merged.append(pending)
            pending = np.zeros(len(sums))
    if not merged or pending[0] > 0:
        merged = [*merged[:-1], pending + (merged[-1] if merged else 0.0)]
    return np.array(merged).T
