"""Rows that workers of Ray score in a second, against one process of one thread."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np
import polars as pl
import torch

from benchmarks.tables import Row, Skipped
from chainrule import MADE
from chainrule.batches import BATCH_ROWS, Score
from chainrule.distributed import Engine, connected, in_order

__all__ = ["ray_scoring"]

_N_BATCHES = 32
_N_COLUMNS = 10


@dataclass(frozen=True)
class Throughput:
    """Thousands of rows per second: medians over runs of the two, turn by turn."""

    workers: int
    alone: float
    shared: float

    heading = (
        f"{f'MADE 100-100, {_N_BATCHES} batches of {BATCH_ROWS:,} rows x {_N_COLUMNS}: 1000 rows/s':<66} "
        f"{'1 thread':>9} {'Ray':>9} {'ratio':>7}"
    )

    def line(self) -> str:
        """Return the row of the table."""
        ratio = self.shared / self.alone
        return f"{f'{self.workers} workers':<66} {self.alone:>9.0f} {self.shared:>9.0f} {ratio:>7.2f}"

    def to_dict(self) -> dict[str, Any]:
        """Return the figures."""
        return asdict(self)


def ray_scoring(runs: int) -> Iterator[Row]:
    """Score the same batches alone and with all processors of this machine."""
    try:
        import ray  # noqa: F401
    except ModuleNotFoundError:
        yield Skipped("Ray", "it is not installed")
        return
    x = np.random.default_rng(0).normal(size=(BATCH_ROWS, _N_COLUMNS)).cumsum(axis=1)
    rows = pl.DataFrame(x, schema=[f"x{d}" for d in range(_N_COLUMNS)])
    work = Score(MADE((100, 100), max_epochs=1, random_state=0).fit(rows.head(20_000)), {})
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with connected("ray") as engine:
            _rate(work, rows, engine)  # workers start, and compile
            rates = [(_rate(work, rows, None), _rate(work, rows, engine)) for _ in range(runs)]
    finally:
        torch.set_num_threads(n_threads)
    alone, shared = (median(each) / 1000 for each in zip(*rates, strict=True))
    yield Throughput(os.cpu_count() or 1, alone, shared)


def _rate(work: Score, rows: pl.DataFrame, engine: Engine | None) -> float:
    """Return rows per second."""
    start = time.perf_counter()
    n_rows = sum(len(scores) for _, scores in in_order(work, [rows] * _N_BATCHES, engine))
    return n_rows / (time.perf_counter() - start)
