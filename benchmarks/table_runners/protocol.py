"""What a runner is asked and what it answers: a job and a result in JSON, rows in parquet.

It runs in every environment: it imports nothing but the standard library.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Protocol

__all__ = ["DRAWS", "JOB", "RESULT", "THREAD_VARIABLES", "Fitted", "Job", "as_text", "serve"]

# The files in the folder of a job.
JOB, RESULT, DRAWS = "job.json", "result.json", "draws.parquet"

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "LOKY_MAX_CPU_COUNT",
)

# The first draws compile or load what later ones need; they are not timed.
_WARM_UP = 100


@dataclass(frozen=True)
class Job:
    """A table to learn.

    Attributes
    ----------
    method : str
        Of the runner's methods, where it has several.
    train, valid, test : str
        Files of complete rows; the test rows are scored, where they are all of levels.
    levels : dict
        By column its possible values, as in the files; other columns are numbers.
    integers : list of str
        Those of the other columns that hold integers.
    n_draws, seed, threads : int
    max_time : float or None
        How many seconds a fit may take; for those who have such an option.
    """

    method: str
    train: str
    valid: str
    test: str
    levels: dict[str, list[Any]]
    integers: list[str]
    n_draws: int
    seed: int
    threads: int
    max_time: float | None

    def is_binary(self, columns: list[str]) -> bool:
        """Return whether all columns are of two levels."""
        return all(len(self.levels.get(name, ())) == 2 for name in columns)


class Fitted(Protocol):
    """What a runner's fit returns."""

    is_bound: bool  # whether the log-likelihoods are lower bounds

    def draw(self, n: int) -> Any:
        """Return so many rows, in a pandas or polars DataFrame."""
        ...

    def score(self, rows: Any) -> list[float] | None:
        """Return nats per row of levels; None where there is no such figure."""
        ...


def as_text(frame: Any, job: Job) -> Any:
    """Return a pandas DataFrame whose levels are text, so that none is taken for a number."""
    return frame.astype(dict.fromkeys(job.levels, str)).astype(dict.fromkeys(job.levels, object))


def serve(package: str, frames: str, fit: Callable[[Job, Any, Any], Fitted]) -> None:
    """Do the job in the folder that the command line names.

    Parameters
    ----------
    package : str
        Whose version is told.
    frames : str
        "pandas" or "polars": what rows are read into.
    fit : callable
        From a job, training and validation rows to what was fitted.
    """
    folder = Path(sys.argv[1])
    job = Job(**json.loads((folder / JOB).read_text(encoding="utf-8")))
    _limit_threads(job.threads)
    read = import_module(frames).read_parquet
    train, valid, test = (read(path) for path in (job.train, job.valid, job.test))
    start = time.perf_counter()
    fitted = fit(job, train, valid)
    fit_seconds = time.perf_counter() - start
    fitted.draw(min(_WARM_UP, job.n_draws))
    start = time.perf_counter()
    drawn = fitted.draw(job.n_draws)
    draw_seconds = time.perf_counter() - start
    (drawn.write_parquet if frames == "polars" else drawn.to_parquet)(folder / DRAWS)
    all_levels = len(job.levels) == len(list(test.columns))
    result = {
        "version": _version(package),
        "fit_seconds": fit_seconds,
        "draw_seconds": draw_seconds,
        "scores": fitted.score(test) if all_levels else None,
        "is_bound": fitted.is_bound,
    }
    (folder / RESULT).write_text(json.dumps(result), encoding="utf-8")


def _limit_threads(threads: int) -> None:
    """Limit PyTorch, which looks at the machine; the environment's variables limit all others."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    if hasattr(os, "sched_setaffinity"):
        # Libraries that start a process for every core see no more of them.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # run from a checkout
        return ""
