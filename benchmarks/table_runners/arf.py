"""Runs arfpy, adversarial random forests, with its defaults; it has no log-likelihood.

It takes no validation rows, so it learns from those, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from arfpy import arf

from benchmarks.table_runners.protocol import Job, as_text, serve


class _Forest:
    is_bound = False

    def __init__(self, forest: Any) -> None:
        self._forest = forest

    def draw(self, n: int) -> Any:
        return self._forest.forge(n)

    def score(self, rows: Any) -> list[float] | None:
        return None


def _fit(job: Job, train: Any, valid: Any) -> _Forest:
    np.random.seed(job.seed)
    frame = as_text(pd.concat([train, valid], ignore_index=True), job)
    forest = arf.arf(frame, verbose=False, random_state=job.seed, n_jobs=job.threads)
    forest.forde()
    return _Forest(forest)


if __name__ == "__main__":
    serve("arfpy", "pandas", _fit)
