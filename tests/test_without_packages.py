"""The core works where packages that it does not use are missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import chainrule

OPTIONAL = ("matplotlib", "polars", "optuna", "numba", "llvmlite", "ray", "anywidget", "ale_py", "pandas")

PREAMBLE = f"""
import sys
for name in {OPTIONAL!r}:
    sys.modules[name] = None  # any import of it fails, and find_spec finds nothing
import numpy as np
import chainrule
X = np.random.default_rng(0).integers(0, 2, (60, 4))
"""

FITS = """
for model in (
    chainrule.MADE(hidden_sizes=(8,), max_epochs=2),
    chainrule.NADE(hidden_size=8, max_epochs=2),
    chainrule.OrderlessNADE(hidden_sizes=(8,), max_epochs=2),
):
    scores = model.fit(X).score_samples(X)
    assert np.isfinite(scores).all()
    assert model.sample(5).shape == (5, 4)
    model.save(type(model).__name__)
    assert np.array_equal(chainrule.load(type(model).__name__).score_samples(X), scores)
"""

COMMANDS = """
from chainrule.cli import run
chainrule.Independent().fit(X).save("model")
codes = run(["score", "model", "table.csv"]), run(["compare", "digits", "--out", "run"])
assert codes == (2, 2), codes
"""


def without_packages(code, folder):
    """Run code in a process of its own, and return what it says on standard error."""
    environment = {**os.environ, "PYTHONPATH": str(Path(chainrule.__file__).parents[1])}
    command = [sys.executable, "-c", PREAMBLE + code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_models_of_arrays_need_none_of_them(tmp_path):
    assert without_packages(FITS, tmp_path) == ""


def test_commands_that_need_one_say_how_to_install_it(tmp_path):
    (tmp_path / "table.csv").write_text("a,b,c,d\n" + "0,1,0,1\n1,0,0,1\n" * 20)
    said = without_packages(COMMANDS, tmp_path).splitlines()
    assert said == [
        f"error: this needs {package}, which is not installed: pip install {package}"
        for package in ("polars", "matplotlib")
    ]
