"""The recipes of docs/interfaces.md work as they stand there, where the other library is installed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import chainrule
from chainrule import MADE

PAGE = (Path(__file__).parents[1] / "docs" / "interfaces.md").read_text(encoding="utf-8")


def recipe(words):
    """Return the one piece of Python on the page that has some words."""
    (code,) = [code for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if words in code]
    return code


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    sex = rng.choice(["female", "male"], 300)
    return pd.DataFrame({"age": rng.normal(40, 9, 300), "sex": sex, "smokes": rng.choice(["no", "yes"], 300)})


def test_pyod(table):
    names = {"X": table[["age"]].to_numpy(), "X_new": np.array([[40.0], [400.0]])}
    exec(recipe("PyODDetector(contamination"), names)
    assert names["detector"].predict(names["X_new"]).tolist() == [0, 1]


def test_sdv(table):
    pytest.importorskip("sdv")
    exec(recipe("from sdv.sampling"), names := {"table": table})
    assert len(names["synthesizer"].sample(num_rows=5)) == 5


def test_onnx(table):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model = MADE(hidden_sizes=(8,), max_epochs=2, random_state=0).fit(table)
    model.save("my-model")
    names = {"rows": table}
    exec(recipe("export_onnx(load"), names)
    exec("import numpy as np\n" + recipe("def code_of"), names)
    exec(recipe("onnxruntime.InferenceSession"), names)
    np.testing.assert_allclose(names["nats"], model.score_samples(table), rtol=1e-5, atol=1e-5)


def test_mlflow(table):
    mlflow = pytest.importorskip("mlflow")
    names = {"table": table}
    exec(recipe("mlflow.pyfunc.log_model"), names)
    model = mlflow.pyfunc.load_model(f"models:/{mlflow.last_logged_model().model_id}")
    assert np.array_equal(model.predict(table), chainrule.load("my-model").score_samples(table))
