"""A comparison of rows that memory does not hold: what is told is told of all rows, or says of which."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from chainrule import GMM, load
from chainrule.batches import storing
from chainrule.cli import run
from chainrule.datasets import hashed_parts
from chainrule.experiments import compare as comparing
from chainrule.metrics.statistics import summarize

N_ROWS = 3000
MODELS = "independent,made,orderless-nade"


def table():
    rng = np.random.default_rng(0)
    x = rng.normal(size=N_ROWS)
    return pl.DataFrame(
        {
            "x": x,
            "level": np.where(x + rng.normal(size=N_ROWS) > 0, "high", "low"),
            "n": rng.poisson(4, N_ROWS),
            "wide": rng.lognormal(12, 1, N_ROWS).astype(int),
            "note": pl.Series([None] * N_ROWS, dtype=pl.String),
        }
    )


def parts():
    return hashed_parts(np.arange(N_ROWS, dtype=np.uint64), 0)


def compare(data, out, *options):
    return run(["compare", str(data), "--out", str(out), "--max-epochs", "1", "--memory", "200k", *options])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "rows.parquet"
    table().write_parquet(path)
    return path


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """Return the run folder of a comparison whose samples are all rows."""
    out = tmp_path_factory.mktemp("run")
    assert compare(data, out, "--models", MODELS) == 0
    return out


@pytest.fixture(scope="module")
def results(whole):
    return json.loads((whole / "results.json").read_text())


@pytest.fixture
def no_report(monkeypatch):
    """Leave out the pictures, which take longer than all else."""
    monkeypatch.setattr(comparing, "write_report", lambda *arguments: None)


def test_the_rows_are_those_of_the_split(whole, results):
    n_rows = np.bincount(parts()).tolist()
    assert [results[key] for key in ("n_train", "n_valid", "n_test")] == n_rows
    assert results["sampled"] == {
        part: {"n_rows": n, "n_sampled": n}
        for part, n in zip(("train", "valid", "test"), n_rows, strict=True)
    }
    files = {path.name for path in whole.iterdir()}
    assert files == {"models", "results.json", "report.html", "explore.html"}


@pytest.mark.parametrize("name", MODELS.split(","))
def test_models_are_tested_on_the_test_rows_that_score_has(whole, results, data, name, tmp_path):
    saved = whole / "models" / name
    assert run(["score", str(saved), str(data), "--json", str(tmp_path / "score.json")]) == 0
    scored = json.loads((tmp_path / "score.json").read_text())
    test = table().filter(parts() == 2)
    result = results["results"][MODELS.split(",").index(name)]
    assert scored["n_rows"] == len(test)
    assert result["test_log_likelihood"] == scored["mean_log_likelihood"] == load(saved).score(test)
    assert result["standard_error"] == scored["standard_error"]


def test_what_was_sampled_is_said(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(storing, "_SAMPLE_ROWS", 200)
    out = tmp_path / "run"
    assert compare(data, out, "--models", "independent,made") == 0
    results = json.loads((out / "results.json").read_text())
    n_train, n_valid, n_test = np.bincount(parts()).tolist()
    assert results["sampled"]["train"] == {"n_rows": n_train, "n_sampled": 200}
    assert results["sampled"]["test"] == {"n_rows": n_test, "n_sampled": 200}
    assert results["sampled"]["valid"]["n_rows"] == n_valid
    assert results["n_valid"] == results["sampled"]["valid"]["n_sampled"] < n_valid
    assert (results["n_train"], results["n_test"]) == (n_train, 200)
    assert f"Networks learnt from all {n_train:,} training rows" in results["notes"][0]
    assert "from 200 of them" in results["notes"][0]
    said = capsys.readouterr()
    assert results["notes"][0] in said.out and "read in pieces" in said.err
    assert "from 200 of them" in (out / "report.html").read_text()
    # The sample is one of the test rows, and tells of all of them what a sample can.
    for result, name in zip(results["results"], ("independent", "made"), strict=True):
        scores = load(out / "models" / name).score_samples(table().filter(parts() == 2))
        gap = result["test_log_likelihood"] - summarize(scores).mean
        assert 0 < abs(gap) < 4 * result["standard_error"]


def test_a_network_is_the_one_that_a_fit_in_pieces_gives(data, whole, tmp_path):
    command = ["fit", str(data), "--model", "made", "--max-epochs", "1", "--memory", "200k"]
    assert run([*command, "--out", str(tmp_path / "made")]) == 0
    rows = table()
    compared, alone = load(whole / "models" / "made"), load(tmp_path / "made")
    np.testing.assert_array_equal(compared.score_samples(rows), alone.score_samples(rows))


def test_a_comparison_in_pieces_that_was_stopped_goes_on(
    data, whole, tmp_path, monkeypatch, no_report, capsys
):
    fit, fitted = storing.StoredTable.fit, []

    def stop_at_the_third(self, estimator):
        fitted.append(type(estimator).__name__)
        if len(fitted) == 3:
            raise KeyboardInterrupt
        fit(self, estimator)

    monkeypatch.setattr(storing.StoredTable, "fit", stop_at_the_third)
    assert compare(data, tmp_path, "--models", MODELS) == 130
    assert not (tmp_path / ".rows").exists()
    assert compare(data, tmp_path, "--models", MODELS) == 2
    assert "--resume" in capsys.readouterr().err
    assert compare(data, tmp_path, "--models", MODELS, "--resume") == 0
    assert fitted == ["Independent", "MADE", "OrderlessNADE", "OrderlessNADE"]
    for name in MODELS.split(","):
        test = table().filter(parts() == 2)
        again, before = (load(run / "models" / name).score_samples(test) for run in (tmp_path, whole))
        np.testing.assert_array_equal(again, before)


def test_models_without_bins_see_every_integer(tmp_path):
    rows = table().select("x", "n", "wide")
    rows.write_parquet(tmp_path / "rows.parquet")
    large = storing.LargeTable(pl.scan_parquet(tmp_path / "rows.parquet"), tmp_path / "rows.parquet")
    (tmp_path / "codes").mkdir()
    stored = storing.store(
        large, tmp_path / "codes", memory=2**19, missing=True, random_state=0, keep_rows=True
    )
    model, alone = GMM(2, random_state=0), GMM(2, random_state=0)
    stored.fit(model)
    alone.fit(stored.rows.train, X_val=stored.rows.valid)
    test = stored.rows.test
    np.testing.assert_array_equal(model.score_samples(test), alone.score_samples(test))


def test_missing_cells_are_noticed_wherever_they_are(tmp_path, monkeypatch, no_report):
    monkeypatch.setattr(storing, "_SAMPLE_ROWS", 100)
    holes = table().with_columns(n=pl.when(pl.int_range(pl.len()) != N_ROWS - 7).then("n"))
    holes.write_parquet(tmp_path / "holes.parquet")
    assert compare(tmp_path / "holes.parquet", tmp_path / "run", "--models", "independent,made") == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert [result["model"] for result in results["results"]] == ["independent"]
    assert "MADE is left out: it takes no missing values" in " ".join(results["notes"])


def test_a_table_of_a_few_rows_is_refused(tmp_path, capsys):
    table().head(4).write_parquet(tmp_path / "few.parquet")
    assert (
        run(["compare", str(tmp_path / "few.parquet"), "--memory", "1", "--out", str(tmp_path / "run")]) == 2
    )
    assert "too few rows" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
