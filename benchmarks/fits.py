"""Fits of any order with the library's defaults: seconds, and what they reach on test rows.

Log-likelihoods are means over 8 orders. Each set is fitted once; its test rows are scored once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tables import Row, Skipped
from chainrule import MADE, NADE, OrderlessNADE
from chainrule.datasets import Dataset, load_dataset
from chainrule.errors import DataError
from chainrule.estimators.autoregressive import AutoregressiveEstimator

__all__ = ["adult", "fits"]

_SEED = 0
_N_ORDERS = 8
_SETS = ("nltcs", "adult", "uci-mushrooms", "baudio", "accidents")
_FIXED_SETS = ("nltcs", "uci-adult", "kdd")


@dataclass(frozen=True)
class Fit:
    """Seconds of a fit, of scoring all test rows and of 10,000 draws; nats per test row."""

    data: str
    model: str
    fit_seconds: float
    epochs: int
    test_log_likelihood: float
    standard_error: float
    n_test: int
    score_seconds: float
    sample_seconds: float

    heading = (
        f"{'data':<14} {'model':<16} {'fit, s':>8} {'epochs':>6} {'test nats':>18} {'score, s':>9} "
        f"{'draws, s':>9}"
    )

    def line(self) -> str:
        """Return the row as a line of its table."""
        nats = f"{self.test_log_likelihood:.3f} +- {self.standard_error:.3f}"
        return (
            f"{self.data:<14} {self.model:<16} {self.fit_seconds:>8.1f} {self.epochs:>6} {nats:>18} "
            f"{self.score_seconds:>9.2f} {self.sample_seconds:>9.2f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all of it."""
        return asdict(self)


def fits(seed: int = _SEED) -> Iterator[Row]:
    """Yield fits of any order, beside a MADE of one order where columns are many, and those of one order."""
    for name in _SETS:
        dataset = _dataset(name)
        if isinstance(dataset, Skipped):
            yield dataset
            continue
        yield _measured(name, dataset, OrderlessNADE(n_orderings=_N_ORDERS, random_state=seed))
        if dataset.n_variables > 32:
            yield _measured(name, dataset, MADE(random_state=seed))
    for name in _FIXED_SETS:
        dataset = _dataset(name)
        if not isinstance(dataset, Skipped):
            for estimator in (NADE(random_state=seed), MADE(random_state=seed)):
                yield _measured(name, dataset, estimator)


def adult() -> Dataset | Skipped:
    """Return adult with its own test rows, from where `CHAINRULE_DATA` points."""
    return _dataset("adult")


def _dataset(name: str) -> Dataset | Skipped:
    folder = Path(os.environ.get("CHAINRULE_DATA", ""))
    try:
        return load_dataset(folder / "tables" / "adult" / "adult.data" if name == "adult" else name)
    except (DataError, OSError) as error:
        return Skipped(name, str(error))


def _measured(name: str, dataset: Dataset, estimator: AutoregressiveEstimator) -> Fit:
    estimator.set_params(kinds=dataset.kinds)
    start = time.perf_counter()
    estimator.fit(dataset.train, X_val=dataset.valid)
    fitted = time.perf_counter()
    scores = estimator.score_samples(dataset.test)
    scored = time.perf_counter()
    estimator.sample(10_000, random_state=_SEED)
    return Fit(
        data=name,
        model=type(estimator).__name__,
        fit_seconds=fitted - start,
        epochs=estimator.history_.epochs,
        test_log_likelihood=float(scores.mean()),
        standard_error=float(scores.std() / np.sqrt(len(scores))),
        n_test=len(scores),
        score_seconds=scored - fitted,
        sample_seconds=time.perf_counter() - scored,
    )
