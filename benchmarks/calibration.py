"""Calibration on adult, with cells of all test rows hidden five times, and what dependence costs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.fits import adult
from benchmarks.tables import Row, Skipped
from chainrule import OrderlessNADE
from chainrule.metrics.calibration import ColumnCalibration, measure_calibration

__all__ = ["calibration"]

_SEED, _N_ORDERS, _N_TIMES = 0, 8, 5


@dataclass(frozen=True)
class Calibrated:
    """Means over five draws of the hidden cells: gaps, and the shares that central intervals hold."""

    column: str
    n_cells: float
    gap: float
    gap_by_chance: float
    held_50: float | None
    held_90: float | None
    plain_50: float | None
    plain_90: float | None

    heading = (
        f"{'column':<16} {'cells':>6} {'gap':>7} {'chance':>7} "
        f"{'50 %':>6} {'90 %':>6} {'50 %, ends':>10} {'90 %, ends':>10}"
    )

    def line(self) -> str:
        """Return the row as a line of its table."""
        shares = (self.held_50, self.held_90, self.plain_50, self.plain_90)
        texts = ["-" if share is None else f"{100 * share:.1f}" for share in shares]
        return (
            f"{self.column:<16} {self.n_cells:>6.0f} {self.gap:>7.4f} {self.gap_by_chance:>7.4f} "
            f"{texts[0]:>6} {texts[1]:>6} {texts[2]:>10} {texts[3]:>10}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all of it."""
        return asdict(self)


@dataclass(frozen=True)
class Seconds:
    """What something took, second call."""

    work: str
    seconds: float

    heading = f"{'work':<60} {'seconds':>8}"

    def line(self) -> str:
        """Return the row as a line of its table."""
        return f"{self.work:<60} {self.seconds:>8.2f}"

    def to_dict(self) -> dict[str, Any]:
        """Return all of it."""
        return asdict(self)


def calibration() -> Iterator[Row]:
    """Yield the calibration of each column of adult, and seconds."""
    dataset = adult()
    if isinstance(dataset, Skipped):
        yield dataset
        return
    model = OrderlessNADE(n_orderings=_N_ORDERS, random_state=_SEED, kinds=dataset.kinds)
    model.fit(dataset.train, X_val=dataset.valid)
    found = [
        measure_calibration(model, dataset.test, n_rows=len(dataset.test), random_state=seed)
        for seed in range(_N_TIMES)
    ]
    for columns in zip(*(each.columns for each in found), strict=True):
        yield _mean(columns)
    works = {
        "dependence of all 15 columns": model.dependence,
        "what to ask next about class": lambda: model.next_question("class"),
        "calibration on 2,000 test rows": lambda: measure_calibration(model, dataset.test),
    }
    for work, call in works.items():
        call()
        start = time.perf_counter()
        call()
        yield Seconds(work, time.perf_counter() - start)


def _mean(columns: tuple[ColumnCalibration, ...]) -> Calibrated:
    def covered(interval: float, which: str) -> float | None:
        held = [getattr(each.coverage[interval], which) for each in columns if each.coverage]
        return float(np.mean(held)) if held else None

    means = (
        float(np.mean([getattr(e, name) for e in columns])) for name in ("n_cells", "gap", "gap_by_chance")
    )
    shares = (covered(interval, which) for which in ("randomised", "plain") for interval in (0.5, 0.9))
    return Calibrated(columns[0].column, *means, *shares)
