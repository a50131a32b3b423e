"""`chainrule score --top`: the least probable rows, and the columns that make them so."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from chainrule import MADE, Independent, Mixture
from chainrule.cli import run

PLANTED = 150  # counted from 1, as the command does


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    sex = rng.choice(["female", "male"], size=200)
    frame = pl.DataFrame(
        {
            "sex": sex,
            "age": rng.integers(18, 70, size=200),
            "height": rng.normal(165, 3, size=200) + 20 * (sex == "male"),
            "a very long name of a column": rng.choice(["yes", "no"], size=200),
        }
    )
    planted = pl.lit(pl.Series([row + 1 == PLANTED for row in range(200)]))
    return frame.with_columns(
        pl.when(planted).then(250.0).otherwise(pl.col("height")).alias("height"),
        pl.when(planted).then(pl.lit("female")).otherwise(pl.col("sex")).alias("sex"),
    )


@pytest.fixture(scope="module")
def data(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "people.csv"
    table.write_csv(path)
    return path


@pytest.fixture(scope="module")
def folder(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "mixture"
    Mixture(n_components=2, random_state=0).fit(table).save(path)
    return path


def facts_of(capsys, *arguments):
    assert run(["score", *map(str, arguments), "--json", "-"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_planted_row_comes_first_and_says_why(folder, data, table, capsys):
    metadata = facts_of(capsys, folder, data, "--top", 5)
    assert metadata["n_rows"] == 200  # all rows, in the order of the file
    assert metadata["surprise_given"] == "others"
    rows = metadata["least_probable"]
    assert len(rows) == 5
    nats = [row["log_likelihood"] for row in rows]
    assert nats == sorted(nats)
    scores = Mixture(n_components=2, random_state=0).fit(table).score_samples(table)
    assert [row["row"] for row in rows] == (np.argsort(scores)[:5] + 1).tolist()
    assert rows[0]["row"] == PLANTED
    cause = rows[0]["columns"][0]
    assert cause["column"] == "height"
    assert cause["value"] == 250.0
    assert 150 < cause["expected"] < 200
    assert cause["probability"] is None
    assert cause["surprise"] > cause["usual_surprise"] + 5
    assert all(len(row["columns"]) <= 3 for row in rows)
    assert all(c["surprise"] > c["usual_surprise"] for row in rows for c in row["columns"])


def test_the_table_on_the_terminal(folder, data, capsys):
    assert run(["score", str(folder), str(data), "--top", "2"]) == 0
    out = capsys.readouterr().out
    assert "The least probable rows" in out
    assert "-log p(value | all other columns)" in " ".join(out.split())
    line = next(line for line in out.splitlines() if str(PLANTED) in line and "│" in line)
    assert "height" in line
    assert "250" in line
    assert "density" in line


def test_a_model_of_fixed_order_says_what_its_surprise_is_given(table, data, tmp_path, capsys):
    MADE((8,), max_epochs=2, random_state=0).fit(table).save(tmp_path / "made")
    metadata = facts_of(capsys, tmp_path / "made", data, "--top", 3)
    assert metadata["surprise_given"] == "before"
    assert all(c["expected"] is not None for row in metadata["least_probable"] for c in row["columns"])
    assert run(["score", str(tmp_path / "made"), str(data), "--top", "1"]) == 0
    assert "-log p(value | the columns before it)" in " ".join(capsys.readouterr().out.split())


def test_rows_are_those_of_the_split_that_is_asked_for(folder, data, capsys):
    assert facts_of(capsys, folder, data)["n_rows"] == 20
    metadata = facts_of(capsys, folder, data, "--top", 100, "--split", "test")
    assert metadata["n_rows"] == len(metadata["least_probable"]) == 20
    assert sorted(row["row"] for row in metadata["least_probable"]) == list(range(1, 21))


def test_missing_values_are_no_reason(folder, table, tmp_path, capsys):
    holes = table.with_columns(pl.when(pl.int_range(200) % 2 == 1).then("height").alias("height"))
    holes.write_csv(tmp_path / "holes.csv")
    metadata = facts_of(capsys, folder, tmp_path / "holes.csv", "--top", 200)
    for row in metadata["least_probable"]:
        assert row["row"] % 2 == 0 or "height" not in [cell["column"] for cell in row["columns"]]


def test_arrays_have_numbered_columns(tmp_path, capsys):
    X = np.random.default_rng(0).normal(size=(100, 2))
    X[41] = [0, 30]
    np.save(tmp_path / "x.npy", X)
    Independent().fit(X).save(tmp_path / "independent")
    metadata = facts_of(capsys, tmp_path / "independent", tmp_path / "x.npy", "--top", 1)
    (found,) = metadata["least_probable"]
    assert found["row"] == 42
    assert found["columns"][0]["column"] == "x2"
    assert found["columns"][0]["value"] == 30


def test_whole_rows_only(folder, data, capsys):
    assert run(["score", str(folder), str(data), "--top", "3", "--of", "sex"]) == 2
    assert "--top ranks whole rows" in capsys.readouterr().err
    assert run(["score", str(folder), str(data), "--top", "0"]) == 2
