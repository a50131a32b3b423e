"""Large files on the command line: rows in pieces, runs that go on, draws that do not depend on batches."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from chainrule import load
from chainrule.batches import work
from chainrule.cli import run
from chainrule.cli.large import parse_memory
from chainrule.datasets import hashed_parts, streaming
from chainrule.errors import DataError

TINY = ["--hidden-sizes", "16", "--max-epochs", "3"]


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    x = rng.normal(size=3000)
    return pl.DataFrame(
        {
            "x": x,
            "y": x + rng.normal(size=3000),
            "level": np.where(x + rng.normal(size=3000) > 0, "high", "low"),
            "n": rng.poisson(4, 3000),
        }
    )


@pytest.fixture(scope="module")
def data(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "rows.parquet"
    rows.write_parquet(path, row_group_size=500)
    return path


@pytest.fixture(scope="module")
def model(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "model"
    assert run(["fit", str(data), "--model", "orderless-nade", "--out", str(folder), *TINY]) == 0
    return folder


@pytest.fixture
def in_pieces(monkeypatch):
    monkeypatch.setattr(streaming, "_LARGE_BINARY", 0)
    monkeypatch.setattr(streaming, "_BATCH", 700)


def test_a_score_that_was_stopped_goes_on(model, data, tmp_path, in_pieces, monkeypatch, capsys):
    command = ["score", str(model), str(data), "--split", "all", "--orders", "2", "--json", "-"]
    assert run([*command, "--out", str(tmp_path / "whole.parquet")]) == 0
    whole = json.loads(capsys.readouterr().out)
    score, calls = work.Score.__call__, []

    def stop_at_the_third(self, batch, number):
        calls.append(number)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return score(self, batch, number)

    monkeypatch.setattr(work.Score, "__call__", stop_at_the_third)
    command += ["--out", str(tmp_path / "stopped.parquet")]
    assert run(command) == 130
    assert not (tmp_path / "stopped.parquet").exists()
    capsys.readouterr()
    assert run([*command, "--resume"]) == 0
    assert calls == [0, 1, 2, 2, 3, 4]
    again = json.loads(capsys.readouterr().out)
    assert again == pytest.approx(whole, rel=1e-12)
    assert (tmp_path / "stopped.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    scores, spread = load(model).score_samples(pl.read_parquet(data), n_orders=2, return_spread=True)
    written = pl.read_parquet(tmp_path / "whole.parquet")
    np.testing.assert_array_equal(written["log_likelihood"].to_numpy(), scores)
    np.testing.assert_array_equal(written["spread"].to_numpy(), spread)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stopped.parquet", "whole.parquet"]


def test_a_folder_of_parquet_is_read_and_written(model, rows, data, tmp_path, in_pieces):
    folder = tmp_path / "parts"
    folder.mkdir()
    for number, part in enumerate(rows.iter_slices(900)):
        part.write_parquet(folder / f"{number}.parquet")
    for source, name in ((data, "a.npy"), (folder, "b.npy")):
        assert run(["score", str(model), str(source), "--split", "all", "--out", str(tmp_path / name)]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))
    assert run(["sample", str(model), "-n", "50", "--seed", "1", "--out", str(tmp_path / "drawn")]) == 0
    assert pl.read_parquet(tmp_path / "drawn" / "*.parquet").equals(load(model).sample(50, random_state=1))


@pytest.mark.parametrize("suffix", ["csv", "arrow", "parquet"])
def test_all_forms_of_a_table_score_alike(model, rows, tmp_path, suffix, capsys):
    path = tmp_path / f"rows.{suffix}"
    {"csv": rows.write_csv, "arrow": rows.write_ipc, "parquet": rows.write_parquet}[suffix](path)
    assert run(["score", str(model), str(path), "--split", "all", "--json", "-"]) == 0
    mean = json.loads(capsys.readouterr().out)["mean_log_likelihood"]
    assert mean == pytest.approx(load(model).score(rows), rel=1e-9)


def test_imputation_in_pieces_keeps_what_is_there(model, rows, tmp_path, in_pieces):
    holes = rows.with_columns(level=pl.when(pl.col("n") > 3).then(pl.col("level")), note=pl.lit("kept"))
    holes.write_parquet(tmp_path / "holes.parquet")
    out = tmp_path / "full.csv"
    command = ["impute", str(model), str(tmp_path / "holes.parquet"), "--seed", "2", "--out", str(out)]
    assert run(command) == 0
    full = pl.read_csv(out)
    assert full.columns == holes.columns
    assert full["level"].null_count() == 0
    there = holes["level"].is_not_null()
    assert full.filter(there)["level"].equals(holes.filter(there)["level"])


@pytest.mark.parametrize("name", ["made", "orderless-nade", "independent"])
def test_a_fit_in_pieces_is_as_good_as_one_in_memory(name, data, rows, tmp_path, capsys):
    options = [] if name == "independent" else ["--hidden-sizes", "16", "--max-epochs", "6"]
    command = ["fit", str(data), "--model", name, *options, "--json", "-"]
    assert run([*command, "--memory", "300k", "--out", str(tmp_path / "pieces")]) == 0
    assert "read in pieces" in capsys.readouterr().err
    assert run([*command, "--out", str(tmp_path / "whole")]) == 0
    pieces, whole = load(tmp_path / "pieces"), load(tmp_path / "whole")
    assert pieces.schema_.kinds == whole.schema_.kinds
    # The sampling error of the mean over 3,000 rows is 0.03; twenty seeds differ by up to 0.04.
    assert pieces.score(rows) == pytest.approx(whole.score(rows), abs=0.1)
    assert not (tmp_path / "pieces" / ".rows").exists()


def test_test_rows_of_a_fit_in_pieces_were_not_fitted(data, rows, tmp_path, capsys):
    out = tmp_path / "model"
    assert run(["fit", str(data), "--model", "made", *TINY, "--memory", "300k", "--out", str(out)]) == 0
    capsys.readouterr()
    assert run(["score", str(out), str(data), "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    test = rows.filter(hashed_parts(np.arange(len(rows), dtype=np.uint64), 0) == 2)
    assert result["n_rows"] == len(test)
    assert result["mean_log_likelihood"] == pytest.approx(load(out).score(test), rel=1e-9)


def test_rules_need_all_rows(data, tmp_path, capsys):
    command = ["fit", str(data), "--model", "orderless-nade", "--rule", "x <= y", "--memory", "300k"]
    assert run([*command, "--out", str(tmp_path / "model")]) == 2
    assert "more --memory" in capsys.readouterr().err


def test_sizes_of_memory():
    assert parse_memory(None) is None
    assert parse_memory("2048") == 2048
    assert parse_memory("1.5 GB") == 3 * 2**29
    for text in ("", "much", "-1G", "0", "1X", "GiB"):
        with pytest.raises(DataError, match="expected a size"):
            parse_memory(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resume"], "name it by --out"),
        (["--top", "3", "--out", "x.csv", "--resume"], "leave out --resume"),
        (["--out", "x.xlsx"], "expected a name that ends in"),
    ],
)
def test_what_cannot_be_written_is_refused(model, data, options, message, capsys):
    assert run(["score", str(model), str(data), *options]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_with_other_files_is_left_alone(model, data, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert run(["score", str(model), str(data), "--out", str(tmp_path)]) == 2
    assert "holds other files" in capsys.readouterr().err
