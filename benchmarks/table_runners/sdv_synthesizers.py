"""Runs GaussianCopula and CTGAN of SDV with their defaults; neither has a log-likelihood.

They take no validation rows, so they learn from those, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from sdv.metadata import Metadata
from sdv.single_table import CTGANSynthesizer, GaussianCopulaSynthesizer

from benchmarks.table_runners.protocol import Job, as_text, serve

_METHODS = {"gaussian-copula": GaussianCopulaSynthesizer, "ctgan": CTGANSynthesizer}
_TABLE = "rows"


class _Synthesizer:
    is_bound = False

    def __init__(self, synthesizer: Any) -> None:
        self._synthesizer = synthesizer

    def draw(self, n: int) -> Any:
        drawn = self._synthesizer.sample(n)
        return drawn[_TABLE] if isinstance(drawn, dict) else drawn

    def score(self, rows: Any) -> list[float] | None:
        return None


def _fit(job: Job, train: Any, valid: Any) -> _Synthesizer:
    np.random.seed(job.seed)
    torch.manual_seed(job.seed)
    frame = as_text(pd.concat([train, valid], ignore_index=True), job)
    # Kinds are declared, so that no column is taken for an address or a key.
    kinds = {name: {"sdtype": "categorical" if name in job.levels else "numerical"} for name in frame}
    metadata = Metadata.load_from_dict({"tables": {_TABLE: {"columns": kinds}}, "relationships": []})
    synthesizer = _METHODS[job.method](metadata)
    synthesizer.fit({_TABLE: frame})
    return _Synthesizer(synthesizer)


if __name__ == "__main__":
    serve("sdv", "pandas", _fit)
