"""Files from a hundred thousand to twenty million rows: time and peak memory of whole commands."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tables import Row

__all__ = ["scale"]

_SIZES = (100_000, 1_000_000, 20_000_000)
_FIT_ROWS = 50_000
_BLOCK = 500_000
_MIB = 2**20

_IN_MEMORY = """
import statistics, sys, time
import polars as pl
from chainrule import load
model, rows = load(sys.argv[1]), pl.read_parquet(sys.argv[2])
model.score_samples(rows[:1000])
seconds = []
for _ in range(3):
    start = time.perf_counter()
    model.score_samples(rows)
    seconds.append(time.perf_counter() - start)
print(statistics.median(seconds))
"""


@dataclass(frozen=True)
class Command:
    """A command over so many rows."""

    work: str
    n_rows: int
    seconds: float
    peak_bytes: int

    heading = f"{'work':<44} {'rows':>11} {'seconds':>9} {'rows/s':>11} {'peak, MiB':>10}"

    def line(self) -> str:
        """Return the row of the table."""
        per_second = self.n_rows / self.seconds
        return (
            f"{self.work:<44} {self.n_rows:>11,} {self.seconds:>9.1f} {per_second:>11,.0f} "
            f"{self.peak_bytes / _MIB:>10.0f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the figures."""
        return asdict(self)


@dataclass(frozen=True)
class Ratio:
    """How two commands compare."""

    what: str
    value: float

    heading = ""

    def line(self) -> str:
        """Return it in words."""
        return f"{self.what}: {self.value:.3f}"

    def to_dict(self) -> dict[str, Any]:
        """Return both."""
        return asdict(self)


def scale(sizes: tuple[int, ...] = _SIZES) -> Iterator[Row]:
    """Yield the times and peaks of scoring, drawing and fitting, and what follows from them."""
    with tempfile.TemporaryDirectory(prefix="chainrule-scale-") as name:
        folder = Path(name)
        files = {n_rows: write_rows(folder / f"{n_rows}.parquet", n_rows) for n_rows in (_FIT_ROWS, *sizes)}
        model = folder / "model"
        options = ["--hidden-sizes", "16", "--max-epochs", "3"]
        _run("fit", [str(files[_FIT_ROWS]), "--model", "made", "--out", str(model), *options], _FIT_ROWS)
        scored = []
        for n_rows in sizes:
            out = folder / f"scores-{n_rows}.parquet"
            arguments = [str(model), str(files[n_rows]), "--split", "all", "--out", str(out)]
            scored.append(_run("score", arguments, n_rows))
            yield scored[-1]
        yield from _ratios(scored, _seconds_in_memory(model, files[sizes[1]]))
        for n_rows in sizes[:2]:
            arguments = [str(model), "-n", str(n_rows), "--seed", "0", "--out", str(folder / "drawn.csv")]
            yield _run("sample", arguments, n_rows)
        arguments = [str(files[sizes[-1]]), "--model", "made", "--hidden-sizes", "64", "--memory", "1GiB"]
        yield _run("fit --memory 1GiB", [*arguments, "--out", str(folder / "large")], sizes[-1])


def write_rows(path: Path, n_rows: int) -> Path:
    """Write a table of ten columns of several kinds, the same for the same number of rows."""
    import pyarrow.parquet as pq

    writer = None
    for start in range(0, n_rows, _BLOCK):
        block = _block(min(_BLOCK, n_rows - start), start).to_arrow()
        writer = writer or pq.ParquetWriter(path, block.schema, compression="zstd")
        writer.write_table(block, row_group_size=125_000)
    assert writer is not None
    writer.close()
    return path


def _block(n: int, start: int) -> Any:
    import polars as pl

    rng = np.random.default_rng([7, start])
    z, level = rng.normal(size=n), rng.integers(0, 5, n)
    return pl.DataFrame(
        {
            "a": z,
            "b": 0.5 * z + rng.normal(size=n),
            "c": np.array(["u", "v", "w", "x", "y"])[level],
            "d": rng.poisson(3, n) + level,
            "e": rng.random(n) < 1 / (1 + np.exp(-z)),
            "f": rng.exponential(size=n) * (1 + level),
            "g": rng.integers(0, 100, n),
            "h": np.where(rng.random(n) < 0.3, 0.0, rng.lognormal(size=n)),
            "i": np.array(["no", "yes"])[(z > 0).astype(int) ^ (rng.random(n) < 0.1)],
            "j": np.round(z * 10 + 20).astype(int),
        }
    )


def _run(work: str, arguments: list[str], n_rows: int) -> Command:
    """Run a command and wait for it alone, so that the peak is its own."""
    command = [sys.executable, "-m", "chainrule", work.split()[0], *arguments]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return Command(work, n_rows, seconds, usage.ru_maxrss * 1024)


def _seconds_in_memory(model: Path, path: Path) -> float:
    command = [sys.executable, "-c", _IN_MEMORY, str(model), str(path)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _ratios(scored: list[Command], seconds_in_memory: float) -> Iterator[Ratio]:
    small, middle, large = scored
    in_memory = middle.n_rows / seconds_in_memory
    yield Ratio("score: peak of the most rows over that of a million", large.peak_bytes / middle.peak_bytes)
    yield Ratio(
        "score: rows per second of the most rows over those of score_samples",
        large.n_rows / large.seconds / in_memory,
    )
    slope = math.log(large.seconds / small.seconds) / math.log(large.n_rows / small.n_rows)
    yield Ratio("score: seconds in rows, log-log slope", slope)
