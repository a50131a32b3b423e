"""Runs a chain of scikit-learn's HistGradientBoostingClassifier, one per column given those before it.

Columns of numbers are cut into bins of about as many training rows each; within its bin a number is that of a
training row at random. Validation rows end each fit. Every level has the weight of one more training row, so
that none is impossible.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.table_runners.protocol import Job, serve

_N_BINS = 20
_MAX_CATEGORIES = 255  # of a feature of the trees; columns of more levels are taken for numbers

Array = np.ndarray


@dataclass(frozen=True)
class _Column:
    """How a column is cut into classes, and what values a class has; `values` of levels are themselves."""

    edges: Array | None
    values: list[Array]

    @classmethod
    def of(cls, column: pl.Series, levels: list[Any] | None) -> _Column:
        if levels is not None:
            return cls(None, [np.array([level], dtype=object) for level in levels])
        values = column.to_numpy()
        edges = np.unique(np.quantile(values, np.linspace(0, 1, _N_BINS + 1)[1:-1]))
        bins = np.searchsorted(edges, values, side="left")
        kept = np.unique(bins)  # empty bins go
        return cls(edges[kept[:-1]], [values[bins == b] for b in kept])

    def classes(self, column: pl.Series) -> Array:
        if self.edges is not None:
            bins: Array = np.searchsorted(self.edges, column.to_numpy(), side="left")
            return bins
        number = {values[0]: code for code, values in enumerate(self.values)}
        return np.array([number[value] for value in column])

    def draw(self, classes: Array, draw: np.random.Generator) -> Array:
        if self.edges is None:
            levels: Array = np.array([values[0] for values in self.values], dtype=object)
            return np.take(levels, classes)
        drawn = np.empty(len(classes))
        for code, values in enumerate(self.values):
            here = classes == code
            drawn[here] = draw.choice(values, here.sum())
        return drawn


class _Chain:
    is_bound = False

    def __init__(self, job: Job, train: pl.DataFrame, valid: pl.DataFrame) -> None:
        self._job, self._names, self._n_rows = job, train.columns, len(train)
        self._columns = [_Column.of(train[name], job.levels.get(name)) for name in self._names]
        x, x_valid = self._features(train), self._features(valid)
        self._models = []
        for d, (name, column) in enumerate(zip(self._names, self._columns, strict=True)):
            y, y_valid = column.classes(train[name]), column.classes(valid[name])
            self._models.append(self._fitted(x[:, :d], y, x_valid[:, :d], y_valid))

    def _features(self, rows: pl.DataFrame) -> Array:
        columns = zip(self._names, self._columns, strict=True)
        return np.stack([self._feature(column, rows[name]) for name, column in columns], axis=1)

    def _feature(self, column: _Column, values: pl.Series) -> Array:
        coded = column.classes(values) if column.edges is None else values.to_numpy()
        return np.asarray(coded, dtype=float)

    def _fitted(self, x: Array, y: Array, x_valid: Array, y_valid: Array) -> Any:
        """Return a classifier, or shares where there is nothing to learn a classifier from."""
        if x.shape[1] == 0 or len(np.unique(y)) == 1:
            return np.bincount(y) / len(y)
        known = np.isin(y_valid, y)
        categorical = [c.edges is None and len(c.values) <= _MAX_CATEGORIES for c in self._columns]
        model = HistGradientBoostingClassifier(
            categorical_features=categorical[: x.shape[1]],
            early_stopping=bool(known.any()),
            random_state=self._job.seed,
        )
        if not known.any():
            return model.fit(x, y)
        return model.fit(x, y, X_val=x_valid[known], y_val=y_valid[known])

    def _probabilities(self, d: int, x: Array) -> Array:
        n_classes = len(self._columns[d].values)
        model, found = self._models[d], np.zeros((len(x), n_classes))
        if isinstance(model, np.ndarray):
            found[:, : len(model)] = model
        else:
            found[:, model.classes_] = model.predict_proba(x[:, :d])
        return (self._n_rows * found + 1) / (self._n_rows + n_classes)

    def draw(self, n: int) -> Any:
        draw = np.random.default_rng(self._job.seed)
        x, drawn = np.empty((n, len(self._names))), {}
        for d, (name, column) in enumerate(zip(self._names, self._columns, strict=True)):
            cumulative = self._probabilities(d, x).cumsum(axis=1)
            below = draw.random((n, 1)) * cumulative[:, -1:] >= cumulative
            values = column.draw(below.sum(axis=1).clip(max=len(column.values) - 1), draw)
            drawn[name] = values.tolist()
            x[:, d] = self._feature(column, pl.Series(values.tolist()))
        return pl.DataFrame(drawn)

    def score(self, rows: Any) -> list[float] | None:
        x, total = self._features(rows), np.zeros(len(rows))
        for d, (name, column) in enumerate(zip(self._names, self._columns, strict=True)):
            total += np.log(self._probabilities(d, x)[np.arange(len(rows)), column.classes(rows[name])])
        scores: list[float] = total.tolist()
        return scores


def _fit(job: Job, train: Any, valid: Any) -> _Chain:
    return _Chain(job, train, valid)


if __name__ == "__main__":
    serve("scikit-learn", "polars", _fit)
