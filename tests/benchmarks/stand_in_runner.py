"""A runner for tests: it draws training rows at random, and gives every row the same probability."""

from __future__ import annotations

import math
import os
import time

from benchmarks.table_runners.protocol import THREAD_VARIABLES, serve


class _StandIn:
    is_bound = True

    def __init__(self, job, train):
        self._job, self._train = job, train

    def draw(self, n):
        return self._train.sample(n, with_replacement=True, seed=self._job.seed)

    def score(self, rows):
        return [-len(rows.columns) * math.log(2)] * len(rows)


def _fit(job, train, valid):
    assert all(os.environ[name] == str(job.threads) for name in THREAD_VARIABLES)
    if job.method == "fails":
        raise ValueError("it cannot learn this")
    if job.method == "sleeps":
        time.sleep(600)
    return _StandIn(job, train)


if __name__ == "__main__":
    serve("polars", "polars", _fit)
