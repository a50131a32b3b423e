"""`chainrule export` and `chainrule card`: a saved model for others."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from chainrule import load
from chainrule.cli import run


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    rng = np.random.default_rng(0)
    colour = rng.choice(["blue", "green"], size=300)
    height = rng.normal(170, 10, size=300) + 15 * (colour == "blue")
    path = tmp_path_factory.mktemp("data") / "people.csv"
    pl.DataFrame({"colour": colour, "height": height}).write_csv(path)
    return path


@pytest.fixture(scope="module")
def saved(people, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "made"
    options = ["--hidden-sizes", "8", "--max-epochs", "2", "--seed", "3"]
    assert run(["fit", str(people), "--model", "made", "--out", str(folder), *options]) == 0
    return folder


def test_export_writes_a_graph_and_how_columns_are_coded(saved, tmp_path, capsys):
    pytest.importorskip("onnx")
    path = tmp_path / "people.onnx"
    assert run(["export", str(saved), "--out", str(path), "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == {
        "path": str(path),
        "columns": str(tmp_path / "people.columns.json"),
        "bytes": path.stat().st_size,
    }
    columns = json.loads((tmp_path / "people.columns.json").read_text())["columns"]
    assert [column["name"] for column in columns] == ["colour", "height"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "model.pt"], "expected a name that ends in .onnx"),
        (["--out", "model.onnx", "--orders", "2"], "n_orders is for models of any order"),
        (["--out", "nowhere/model.onnx"], "its folder does not exist"),
    ],
)
def test_an_export_that_cannot_be_is_one_line(options, message, saved, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    assert run(["export", str(saved), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_a_card_measures_the_rows_of_the_split_of_the_fit(saved, people, tmp_path, capsys):
    assert run(["score", str(saved), str(people), "--json", str(tmp_path / "score.json")]) == 0
    capsys.readouterr()
    assert run(["card", str(saved), "--data", str(people), "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    scored = json.loads((tmp_path / "score.json").read_text())
    assert result["measured"]["test_log_likelihood"] == pytest.approx(scored["mean_log_likelihood"])
    assert result["measured"]["n_train"] == 240
    assert 0 <= result["measured"]["membership"]["auc"] <= 1
    assert "| colour | binary | 2 |" in (saved / "README.md").read_text()
    assert load(saved).schema_.names == ("colour", "height")


def test_a_card_of_no_model_is_refused(tmp_path, capsys):
    assert run(["card", str(tmp_path)]) == 2
    assert "is not a saved model" in capsys.readouterr().err
