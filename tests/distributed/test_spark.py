"""The recipe for Spark in docs/scale.md, executed where Spark is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest

PATIENCE = 300  # ends a Spark that hangs; nothing waits for the time to pass


@pytest.mark.skipif(find_spec("pyspark") is None, reason="pyspark is not installed")
@pytest.mark.skipif(shutil.which("java") is None, reason="there is no java, which Spark needs")
def test_the_recipe_scores_and_completes_all_rows(model, folder, data, rows, tmp_path):
    page = Path(__file__).parents[2] / "docs" / "scale.md"
    (recipe,) = re.findall(r"```python\n(from pyspark.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    shutil.copytree(folder, tmp_path / "model")
    shutil.copy(data, tmp_path / "rows.parquet")
    done = subprocess.run(
        [sys.executable, "-c", f"{recipe}\nscores.write.parquet('scores')\nfull.write.parquet('full')\n"],
        cwd=tmp_path,
        env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    scores = pl.read_parquet(tmp_path / "scores" / "*.parquet")
    expected = np.sort(model.score_samples(rows))
    np.testing.assert_array_equal(np.sort(scores["log_likelihood"].to_numpy()), expected)
    full = pl.read_parquet(tmp_path / "full" / "*.parquet")
    assert full.columns == rows.columns and len(full) == len(rows)
    assert full.null_count().row(0) == (0, 0, 0, 0)
