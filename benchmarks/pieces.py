"""The same rows fitted in memory and in pieces: how far the log-likelihoods of the test rows lie apart."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.scale import write_rows
from benchmarks.tables import Row
from chainrule import MADE
from chainrule.batches import LargeTable, store
from chainrule.datasets import hashed_parts
from chainrule.metrics.statistics import paired_difference

__all__ = ["pieces"]

_N_ROWS = 400_000
_MEMORY = 2**25
_SEEDS = (0, 1)


@dataclass(frozen=True)
class PiecesFit:
    """A fit in pieces beside one in memory, and another one in memory that differs by its seed."""

    seed: int
    n_files: int
    in_memory: float
    in_pieces: float
    difference: float
    standard_error: float
    difference_of_seeds: float
    seconds_in_memory: float
    seconds_in_pieces: float

    heading = (
        f"{'seed':>4} {'files':>5} {'in memory, nats':>16} {'in pieces, nats':>16} {'difference':>20} "
        f"{'of another seed':>16} {'seconds':>15}"
    )

    def line(self) -> str:
        """Return the row of the table."""
        return (
            f"{self.seed:>4} {self.n_files:>5} {self.in_memory:>16.4f} {self.in_pieces:>16.4f} "
            f"{self.difference:>11.4f} ± {self.standard_error:.4f} {self.difference_of_seeds:>16.4f} "
            f"{self.seconds_in_memory:>7.0f} {self.seconds_in_pieces:>7.0f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the figures."""
        return asdict(self)


def pieces() -> Iterator[Row]:
    """Fit a MADE to the same training rows both ways, with two seeds; test on the same test rows.

    Fits that differ by their seeds alone, in memory, show how much of a difference is chance.
    """
    with tempfile.TemporaryDirectory(prefix="chainrule-pieces-") as name:
        path = write_rows(Path(name) / "rows.parquet", _N_ROWS)
        for seed in _SEEDS:
            yield _both(path, seed)


def _both(path: Path, seed: int) -> PiecesFit:
    rows = pl.read_parquet(path)
    numbers = hashed_parts(np.arange(len(rows), dtype=np.uint64), seed)
    train, valid, test = (rows.filter(numbers == part) for part in range(3))
    start = time.perf_counter()
    whole = _new(seed).fit(train, X_val=valid)
    middle = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        large = LargeTable(pl.scan_parquet(path), path)
        stored = store(large, Path(folder), memory=_MEMORY, missing=False, random_state=seed)
        parts = _new(seed)
        stored.fit(parts)
    end = time.perf_counter()
    other = _new(seed + len(_SEEDS)).fit(train, X_val=valid)
    scores, scores_of_parts = whole.score_samples(test), parts.score_samples(test)
    gap = paired_difference(scores_of_parts, scores)
    return PiecesFit(
        seed=seed,
        n_files=len(stored.files),
        in_memory=float(scores.mean()),
        in_pieces=float(scores_of_parts.mean()),
        difference=gap.mean,
        standard_error=gap.standard_error,
        difference_of_seeds=other.score(test) - float(scores.mean()),
        seconds_in_memory=middle - start,
        seconds_in_pieces=end - middle,
    )


def _new(seed: int) -> MADE:
    return MADE((64,), max_epochs=10, random_state=seed)
