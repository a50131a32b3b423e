"""Hidden cells and planted outliers of mixed tables: any-order models against what people use.

A share of the cells of held-out rows is hidden. Categories are told by accuracy and log-loss, numbers by the
root of the mean squared error and the log-loss (mass or density) in units of the column's standard deviation.
The others see categories one-hot and numbers standardised, and learn from complete training rows with as many
cells hidden; a category's columns become probabilities, moved off 0 and 1, and a number's prediction a
Gaussian, both by what is best on validation rows. Columns with point masses have no log-loss here. Test rows
are looked at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from sklearn.ensemble import IsolationForest
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.metrics import roc_auc_score

from benchmarks.tables import Row, Skipped
from chainrule import OrderlessNADE
from chainrule.datasets import Dataset, load_dataset
from chainrule.datasets.sources import DATA_VARIABLE
from chainrule.errors import DataError
from chainrule.metrics.statistics import paired_difference, summarize
from chainrule.schema import Schema

__all__ = ["HiddenCells", "Outliers", "cells", "hidden_cells", "planted_outliers"]

_SEED = 0
_HIDDEN = 0.3
_MAX_SCORED = 2000
# Where there are fewer rows, each is scored under several draws of its holes; errors are over rows.
_MIN_HOLES = 2000
_MAX_LEARNED = {"KNNImputer": 5000, "IterativeImputer": 5000}
_SET_OFF = (1e-3, 3e-3, 0.01, 0.02, 0.05, 0.1)
_TABLES = {"adult": "adult/adult.data", "abalone": "abalone.csv"}

Array = np.ndarray


@dataclass(frozen=True)
class HiddenCells:
    """How well one method tells hidden cells; differences are to the any-order model, over rows."""

    data: str
    method: str
    accuracy: float
    behind_accuracy: float
    behind_accuracy_error: float
    category_loss: float
    rmse: float
    behind_squared_error: float
    behind_squared_error_error: float
    number_loss: float
    learn_seconds: float
    seconds: float

    heading = (
        f"{'data':<8} {'method':<18} {'accuracy':>9} {'ours minus it':>18} {'log-loss':>9} {'RMSE':>7} "
        f"{'its sq. error minus ours':>24} {'log-loss':>9} {'learn, s':>9} {'answer, s':>9}"
    )

    def line(self) -> str:
        """Return the row as a line of its table."""
        return (
            f"{self.data:<8} {self.method:<18} {self.accuracy:>9.4f} "
            f"{f'{self.behind_accuracy:.4f} +- {self.behind_accuracy_error:.4f}':>18} "
            f"{self.category_loss:>9.4f} {self.rmse:>7.4f} "
            f"{f'{self.behind_squared_error:.4f} +- {self.behind_squared_error_error:.4f}':>24} "
            f"{self.number_loss:>9.4f} {self.learn_seconds:>9.1f} {self.seconds:>9.1f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all of it."""
        return asdict(self)


@dataclass(frozen=True)
class Outliers:
    """How well one method ranks planted rows as outliers."""

    data: str
    method: str
    auc: float
    error: float
    seconds: float

    heading = f"{'data':<8} {'method':<18} {'AUC of planted outliers':>24} {'s':>7}"

    def line(self) -> str:
        """Return the row as a line of its table."""
        return (
            f"{self.data:<8} {self.method:<18} {f'{self.auc:.4f} +- {self.error:.4f}':>24} "
            f"{self.seconds:>7.1f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all of it."""
        return asdict(self)


def cells() -> Iterator[Row]:
    """Yield the figures of hidden cells on adult and abalone, and of outliers planted in adult."""
    import os

    folder = os.environ.get(DATA_VARIABLE, "")
    for name, path in _TABLES.items():
        try:
            dataset = load_dataset(f"{folder}/tables/{path}", random_state=_SEED)
        except DataError as error:
            yield Skipped(name, f"no data: {error}")
            continue
        estimator = OrderlessNADE((200, 200), random_state=_SEED, kinds=dataset.kinds)
        start = time.perf_counter()
        estimator.fit(dataset.train, X_val=dataset.valid)
        learned = time.perf_counter() - start
        yield from hidden_cells(name, dataset, estimator, learned)
        if name == "adult":
            yield from planted_outliers(name, dataset, estimator)


# ---------------------------------------------------------------- hidden cells


@dataclass
class _Answers:
    """Of hidden categories, whether told right and with which probability; of numbers, error and log-loss."""

    right: Array
    probability: Array
    error: Array
    loss: Array


def hidden_cells(name: str, dataset: Dataset, estimator: Any, learned: float) -> Iterator[HiddenCells]:
    """Yield how well each method tells hidden cells, the any-order model first."""
    schema = estimator.schema_
    draw = np.random.default_rng(_SEED)
    valid, test = (_repeated(_some(rows, draw)) for rows in (dataset.valid, dataset.test))
    n_rows = min(len(dataset.test), _MAX_SCORED)
    codes_valid, codes = (schema.encode(rows, missing=True, unseen=np.nan) for rows in (valid, test))
    hidden_valid, hidden = ((draw.random(c.shape) < _HIDDEN) & ~np.isnan(c) for c in (codes_valid, codes))
    start = time.perf_counter()
    ours = _ours(estimator, test, codes, hidden)
    yield _row(name, "OrderlessNADE", n_rows, ours, ours, learned, time.perf_counter() - start)
    table = _OneHot(schema)
    train = schema.encode(dataset.train, missing=True, unseen=np.nan)
    for method, imputer in _imputers():
        rows = train[draw.permutation(len(train))[: _MAX_LEARNED.get(method, len(train))]]
        start = time.perf_counter()
        imputer.fit(table.features(np.where(draw.random(rows.shape) < _HIDDEN, np.nan, rows)))
        spent = time.perf_counter() - start
        held = imputer.transform(table.features(np.where(hidden_valid, np.nan, codes_valid)))
        settings = table.calibrated(held, codes_valid, hidden_valid)
        start = time.perf_counter()
        filled = imputer.transform(table.features(np.where(hidden, np.nan, codes)))
        answers = table.answers(filled, codes, hidden, settings)
        yield _row(name, method, n_rows, answers, ours, spent, time.perf_counter() - start)


def _some(rows: Any, draw: np.random.Generator) -> Any:
    return rows[np.sort(draw.permutation(len(rows))[:_MAX_SCORED]).tolist()]


def _repeated(rows: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([rows] * max(1, _MIN_HOLES // len(rows)))


def _imputers() -> Iterator[tuple[str, Any]]:
    yield "SimpleImputer", SimpleImputer()
    yield "KNNImputer", KNNImputer(n_neighbors=20, weights="distance")
    yield "IterativeImputer", IterativeImputer(max_iter=5, random_state=_SEED)


def _ours(estimator: Any, rows: pl.DataFrame, codes: Array, hidden: Array) -> _Answers:
    schema = estimator.schema_
    answers = _Answers(*(np.full(codes.shape, np.nan) for _ in range(4)))
    holes = rows.with_columns(
        pl.when(pl.Series(~hidden[:, d])).then(pl.col(column)).otherwise(None).alias(column)
        for d, column in enumerate(rows.columns)
    )
    for d, numbers, distribution in estimator.conditionals(holes):
        kept = np.flatnonzero(hidden[numbers, d])
        chosen = numbers[kept]
        if not len(chosen):
            continue
        variable = schema.variables[d]
        if _is_category(variable):
            probabilities = distribution.probabilities[kept]
            level = codes[chosen, d].astype(int)
            answers.right[chosen, d] = probabilities.argmax(axis=1) == level
            answers.probability[chosen, d] = probabilities[np.arange(len(chosen)), level]
        else:
            spread = _spread(schema, d)
            values = rows[rows.columns[d]].to_numpy()[numbers].astype(float)
            there = np.where(np.isnan(values), np.nanmean(values), values)
            if variable.kind == "ordinal":  # beyond its range is the nearest end, as in all scores
                there = there.clip(variable.low, variable.high)
            # A mass counts as the density over the one unit between integers.
            log_density = distribution.log_prob(there) + np.log(spread)
            answers.error[chosen, d] = (distribution.mean()[kept] - values[kept]) / spread
            if not _has_masses(variable):
                answers.loss[chosen, d] = -log_density[kept]
    return answers


def _is_category(variable: Any) -> bool:
    return variable.kind in ("binary", "categorical")


def _spread(schema: Schema, d: int) -> float:
    """Return the standard deviation of column d in its own unit, or the range of a narrow ordinal / 4."""
    variable = schema.variables[d]
    if variable.kind == "continuous":
        return float(variable.scale)
    return max((variable.high - variable.low) / 4, 1.0)


def _has_masses(variable: Any) -> bool:
    """Whether some values have probabilities, which cannot be held against the densities of the others."""
    return bool(variable.kind == "continuous" and variable.point_masses)


class _OneHot:
    """Categories one-hot and numbers in units of their spread, and back to answers."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        widths = [v.n_levels if _is_category(v) else 1 for v in schema.variables]
        self.starts = np.concatenate([[0], np.cumsum(widths)])

    def _numbers(self, codes: Array, d: int) -> Array:
        """Return a column of codes in units of its spread; continuous codes are standardised already."""
        if self.schema.variables[d].kind == "continuous":
            return codes[:, d].astype(float)
        numbers: Array = codes[:, d].astype(float) / _spread(self.schema, d)
        return numbers

    def features(self, codes: Array) -> Array:
        """Return features (n, F); all of a hidden category's are NaN."""
        columns = []
        for d, variable in enumerate(self.schema.variables):
            if _is_category(variable):
                one_hot = np.arange(variable.n_levels) == codes[:, d : d + 1]
                columns.append(np.where(np.isnan(codes[:, d : d + 1]), np.nan, one_hot))
            else:
                columns.append(self._numbers(codes, d)[:, None])
        return np.concatenate(columns, axis=1)

    def _probabilities(self, filled: Array, d: int, off: float) -> Array:
        raw = np.clip(filled[:, self.starts[d] : self.starts[d + 1]], 0, None) + off
        probabilities: Array = raw / raw.sum(axis=1, keepdims=True)
        return probabilities

    def calibrated(self, filled: Array, codes: Array, hidden: Array) -> dict[int, float]:
        """Return what is added to each category's probabilities, and each number's standard error."""
        settings: dict[int, float] = {}
        for d, variable in enumerate(self.schema.variables):
            rows = hidden[:, d]
            if not _is_category(variable):
                error = filled[rows, self.starts[d]] - self._numbers(codes, d)[rows]
                settings[d] = max(float(np.sqrt(np.mean(error**2))), 1e-3) if rows.any() else 1.0
                continue
            level = codes[rows, d].astype(int)

            def loss(off: float, d: int = d, rows: Array = rows, level: Array = level) -> float:
                p = self._probabilities(filled[rows], d, off)
                return float(-np.log(p[np.arange(len(level)), level]).mean()) if len(level) else 0.0

            settings[d] = min(_SET_OFF, key=loss)
        return settings

    def answers(self, filled: Array, codes: Array, hidden: Array, settings: dict[int, float]) -> _Answers:
        """Return the answers to hidden cells."""
        answers = _Answers(*(np.full(codes.shape, np.nan) for _ in range(4)))
        for d, variable in enumerate(self.schema.variables):
            rows = np.flatnonzero(hidden[:, d])
            if _is_category(variable):
                p = self._probabilities(filled[rows], d, settings[d])
                level = codes[rows, d].astype(int)
                answers.right[rows, d] = p.argmax(axis=1) == level
                answers.probability[rows, d] = p[np.arange(len(rows)), level]
            else:
                error = filled[rows, self.starts[d]] - self._numbers(codes, d)[rows]
                answers.error[rows, d] = error
                if _has_masses(variable):
                    continue
                variance = settings[d] ** 2
                answers.loss[rows, d] = 0.5 * (error**2 / variance + np.log(2 * np.pi * variance))
        return answers


def _row(
    data: str, method: str, n_rows: int, answers: _Answers, ours: _Answers, learned: float, seconds: float
) -> HiddenCells:
    accuracy = paired_difference(*_per_row(n_rows, ours.right, answers.right))
    squared = paired_difference(*_per_row(n_rows, answers.error**2, ours.error**2))
    return HiddenCells(
        data, method, float(np.nanmean(answers.right)), accuracy.mean, accuracy.standard_error,
        float(-np.nanmean(np.log(answers.probability))), float(np.sqrt(np.nanmean(answers.error**2))),
        squared.mean, squared.standard_error, float(np.nanmean(answers.loss)), learned, seconds,
    )  # fmt: skip


def _per_row(n_rows: int, a: Array, b: Array) -> tuple[Array, Array]:
    """Return the means over the cells of each row, under all draws of its holes, of rows that have some."""
    a, b = (each.reshape(-1, n_rows, each.shape[1]).swapaxes(0, 1).reshape(n_rows, -1) for each in (a, b))
    there = ~np.isnan(a).all(axis=1)
    return np.nanmean(a[there], axis=1), np.nanmean(b[there], axis=1)


# ---------------------------------------------------------------- planted outliers


def planted_outliers(name: str, dataset: Dataset, estimator: Any) -> Iterator[Outliers]:
    """Yield how well rows are found whose columns were shuffled each by itself, 5 % of the test rows."""
    draw = np.random.default_rng(_SEED)
    rows = _some(dataset.test, draw)
    planted = draw.random(len(rows)) < 0.05
    shuffled = rows.select(pl.col(column).gather(draw.permutation(len(rows))) for column in rows.columns)
    mixed = rows.select(
        pl.when(pl.Series(planted)).then(shuffled[column]).otherwise(pl.col(column)).alias(column)
        for column in rows.columns
    )
    schema = estimator.schema_
    table = _OneHot(schema)
    train = table.features(schema.encode(dataset.train, missing=True, unseen=np.nan))
    fill = SimpleImputer().fit(train)
    scorers: dict[str, Callable[[], Array]] = {
        "OrderlessNADE": lambda: -estimator.score_samples(mixed),
        "IsolationForest": lambda: (
            -IsolationForest(n_estimators=300, random_state=_SEED)
            .fit(fill.transform(train))
            .score_samples(fill.transform(table.features(schema.encode(mixed, missing=True, unseen=np.nan))))
        ),
    }
    for method, scorer in scorers.items():
        start = time.perf_counter()
        scores = scorer()
        spent = time.perf_counter() - start
        again = [draw.integers(len(rows), size=len(rows)) for _ in range(200)]
        spread = summarize(np.array([roc_auc_score(planted[i], scores[i]) for i in again]))
        error = spread.standard_error * np.sqrt(len(again))
        yield Outliers(name, method, float(roc_auc_score(planted, scores)), float(error), spent)
