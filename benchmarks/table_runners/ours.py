"""Runs `chainrule`'s networks with their defaults; that of any order averages over 8, as in `compare`."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.table_runners.protocol import Job, serve
from chainrule import MADE, NADE, OrderlessNADE
from chainrule.training import Callback, Epoch

_N_ORDERS = 8

Network = OrderlessNADE | NADE | MADE


class _Budget(Callback):
    """Ends a fit with its best weights when its time is over."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.perf_counter() + seconds

    def on_epoch(self, epoch: Epoch) -> bool:
        return self._end is not None and time.perf_counter() >= self._end


class _Ours:
    is_bound = False

    def __init__(self, model: Network, seed: int) -> None:
        self._model, self._seed = model, seed

    def draw(self, n: int) -> Any:
        return self._model.sample(n, random_state=self._seed)

    def score(self, rows: Any) -> list[float] | None:
        scores: list[float] = self._model.score_samples(rows).tolist()
        return scores


def _network(job: Job) -> Network:
    if job.method == "nade":
        return NADE(random_state=job.seed)
    if job.method == "made":
        return MADE(random_state=job.seed)
    return OrderlessNADE(n_orderings=_N_ORDERS, random_state=job.seed)


def _fit(job: Job, train: Any, valid: Any) -> _Ours:
    model = _network(job)
    model.fit(train, X_val=valid, callbacks=[_Budget(job.max_time)])
    return _Ours(model, job.seed)


if __name__ == "__main__":
    serve("chainrule", "polars", _fit)
