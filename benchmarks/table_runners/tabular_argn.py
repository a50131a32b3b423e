"""Runs TabularARGN of MOSTLY AI's engine, without its protection of rare values; it scores rows of levels.

It splits off validation rows itself, so it is given both training and validation rows.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch  # noqa: F401  # its threads are limited once it is there
from mostlyai.engine import TabularARGN

from benchmarks.table_runners.protocol import Job, as_text, serve

_SECONDS = 60.0  # a minute, in which it counts its time


class _Argn:
    is_bound = False

    def __init__(self, model: TabularARGN, job: Job) -> None:
        self._model, self._job = model, job

    def draw(self, n: int) -> Any:
        return self._model.sample(n_samples=n)

    def score(self, rows: Any) -> list[float] | None:
        scores: list[float] = self._model.log_prob(as_text(rows, self._job)).tolist()
        return scores


def _fit(job: Job, train: Any, valid: Any) -> _Argn:
    frame = as_text(pd.concat([train, valid], ignore_index=True), job)
    budget = {} if job.max_time is None else {"max_training_time": job.max_time / _SECONDS}
    model = TabularARGN(
        tgt_encoding_types=dict.fromkeys(job.levels, "TABULAR_CATEGORICAL"),
        value_protection=False,
        random_state=job.seed,
        device="cpu",
        **budget,
    )
    return _Argn(model.fit(frame), job)


if __name__ == "__main__":
    serve("mostlyai-engine", "pandas", _fit)
