"""Runs scikit-learn's GaussianMixture; validation rows choose the number of its components.

Binary columns and integers are dequantised by uniform noise, so that densities are lower bounds of
probabilities; levels of more than two are coded one-hot, and drawn as the largest of their numbers.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import polars as pl
from sklearn.mixture import GaussianMixture

from benchmarks.table_runners.protocol import Job, serve

_N_COMPONENTS = (1, 2, 4, 8, 16, 32, 64)
_ONE_HOT_VARIANCE = 1e-3  # the numbers of a column add up to one: without it no covariance could be inverted

Array = np.ndarray


class _Coding:
    """From rows to numbers and back."""

    def __init__(self, job: Job, train: pl.DataFrame) -> None:
        self._job, self._names, self._draw = job, train.columns, np.random.default_rng(job.seed)
        numbers = {n: train[n].to_numpy().astype(float) for n in train.columns if n not in job.levels}
        self._scales = {name: (values.mean(), values.std() or 1.0) for name, values in numbers.items()}
        # No row that is drawn has values beyond those of the training rows.
        self._ranges = {name: (values.min(), values.max()) for name, values in numbers.items()}
        self.has_one_hot = any(len(levels) > 2 for levels in job.levels.values())

    def encode(self, rows: pl.DataFrame) -> Array:
        """Return (n, number of coordinates)."""
        return np.concatenate([self._encode_column(rows[name]) for name in rows.columns], axis=1)

    def _encode_column(self, column: pl.Series) -> Array:
        noise = self._draw.random(len(column))
        if column.name not in self._job.levels:
            mean, scale = self._scales[column.name]
            values = column.to_numpy().astype(float)
            values = values + noise if column.name in self._job.integers else values
            coordinate: Array = ((values - mean) / scale)[:, None]
            return coordinate
        levels = self._job.levels[column.name]
        codes = np.array([levels.index(value) for value in column])
        return np.eye(len(levels))[codes] if len(levels) > 2 else (codes + noise)[:, None]

    def decode(self, coordinates: Array) -> pl.DataFrame:
        """Return rows."""
        columns, start = {}, 0
        for name in self._names:
            width = len(self._job.levels[name]) if self._one_hot(name) else 1
            columns[name] = self._decode_column(name, coordinates[:, start : start + width])
            start += width
        return pl.DataFrame(columns)

    def _one_hot(self, name: str) -> bool:
        return len(self._job.levels.get(name, ())) > 2

    def _decode_column(self, name: str, part: Array) -> list[Any]:
        if name in self._job.levels:
            levels = self._job.levels[name]
            codes = part.argmax(axis=1) if self._one_hot(name) else np.floor(part[:, 0])
            return [levels[code] for code in np.clip(codes, 0, len(levels) - 1).astype(int)]
        mean, scale = self._scales[name]
        values = part[:, 0] * scale + mean
        values = np.floor(values) if name in self._job.integers else values
        bounded: list[Any] = np.clip(values, *self._ranges[name]).tolist()
        return bounded


class _Mixture:
    is_bound = True

    def __init__(self, job: Job, mixture: GaussianMixture, coding: _Coding) -> None:
        self._job, self._mixture, self._coding = job, mixture, coding

    def draw(self, n: int) -> Any:
        coordinates, _ = self._mixture.sample(n)
        return self._coding.decode(np.random.default_rng(self._job.seed).permutation(coordinates))

    def score(self, rows: Any) -> list[float] | None:
        if not self._job.is_binary(rows.columns):
            return None
        scores: list[float] = self._mixture.score_samples(self._coding.encode(rows)).tolist()
        return scores


def _fit(job: Job, train: Any, valid: Any) -> _Mixture:
    start = time.perf_counter()
    coding = _Coding(job, train)
    learned, held_out = coding.encode(train), coding.encode(valid)
    variance = _ONE_HOT_VARIANCE if coding.has_one_hot else 1e-6
    best, best_score = None, -np.inf
    for n_components in _N_COMPONENTS:
        over = job.max_time is not None and time.perf_counter() - start > job.max_time
        if over or n_components > len(learned):
            break
        mixture = GaussianMixture(n_components, reg_covar=variance, random_state=job.seed).fit(learned)
        score = mixture.score(held_out)
        if score <= best_score:
            break
        best, best_score = mixture, score
    if best is None:
        raise ValueError("no mixture could be fitted")
    return _Mixture(job, best, coding)


if __name__ == "__main__":
    serve("scikit-learn", "polars", _fit)
