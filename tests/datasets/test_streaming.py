"""Large files come in parts, which together are what the whole file holds."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from chainrule.cli import app as cli
from chainrule.datasets import load_rows, stream_rows, streaming
from chainrule.errors import DataError


@pytest.fixture
def large(monkeypatch):
    """Take every file for a large one, and parts of ten rows for large enough."""
    monkeypatch.setattr(streaming, "_LARGE", 0)
    monkeypatch.setattr(streaming, "_LARGE_BINARY", 0)
    monkeypatch.setattr(streaming, "_BATCH", 10)


def table(n=57):
    rng = np.random.default_rng(0)
    # Numbers that look whole at first, and levels that look like numbers at first.
    return pl.DataFrame(
        {
            "x": [*range(30), *rng.normal(size=n - 30)],
            "level": [*["1", "2"] * 15, *rng.choice(["1", "2", "other"], n - 30)],
            "bit": rng.integers(0, 2, n),
        },
        strict=False,
    )


def written(folder, form):
    frame, numbers = table(), np.random.default_rng(1).integers(0, 9, (57, 6))
    path = folder / f"rows.{form.split(',')[0]}"
    if form == "parquet":
        frame.write_parquet(path)
    elif form in ("csv", "tsv"):
        frame.write_csv(path, separator="\t" if form == "tsv" else ",")
    elif form == "csv, no header":
        pl.DataFrame(numbers).write_csv(path, include_header=False)
    else:
        np.save(path, numbers.reshape(57, 2, 3) if "images" in form else numbers)
    return path


@pytest.mark.parametrize("form", ["csv", "tsv", "csv, no header", "parquet", "npy", "npy, images"])
def test_parts_together_are_the_whole(tmp_path, form, large):
    path = written(tmp_path, form)
    parts, whole = list(stream_rows(path)), load_rows(path)
    assert len(parts) > 1
    if isinstance(whole, pl.DataFrame):
        assert pl.concat(parts).equals(whole)
        assert {tuple(part.dtypes) for part in parts} == {tuple(whole.dtypes)}
    else:
        np.testing.assert_array_equal(np.concatenate(parts), whole)
        assert {len(part) for part in parts[:-1]} == {10}


def test_small_files_and_named_sets_come_whole(tmp_path):
    path = written(tmp_path, "csv")
    (rows,) = stream_rows(path)
    assert rows.equals(load_rows(path))
    (rows,) = stream_rows("digits")
    assert rows.shape == (1797, 64)


def test_a_damaged_file_is_named(tmp_path, large):
    for name in ("rows.npy", "rows.parquet"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(DataError, match=name):
            list(stream_rows(tmp_path / name))


def test_scores_of_a_large_file_are_those_of_a_small_one(tmp_path, monkeypatch, capsys):
    path, model = tmp_path / "bits.csv", tmp_path / "model"
    rng = np.random.default_rng(2)
    pl.DataFrame({f"b{d}": rng.integers(0, 2, 80) for d in range(4)}).write_csv(path)
    assert cli.run(["fit", str(path), "--model", "independent", "--out", str(model)]) == 0
    results = []
    for large in (2**28, 0):
        monkeypatch.setattr(streaming, "_LARGE", large)
        monkeypatch.setattr(streaming, "_BATCH", 7)
        capsys.readouterr()
        assert cli.run(["score", str(model), str(path), "--split", "all", "--json", "-"]) == 0
        results.append(json.loads(capsys.readouterr().out))
    assert results[0] == pytest.approx(results[1], rel=1e-12)
    assert results[0]["n_rows"] == 80


def test_a_bad_value_in_a_later_part_is_told_with_where_the_part_begins(tmp_path, monkeypatch, capsys):
    path, bad, model = tmp_path / "bits.csv", tmp_path / "bad.csv", tmp_path / "model"
    bits = pl.DataFrame({"a": [0, 1] * 20, "b": [1, 1, 0, 0] * 10})
    bits.write_csv(path)
    assert cli.run(["fit", str(path), "--model", "independent", "--out", str(model)]) == 0
    pl.concat([bits, pl.DataFrame({"a": [7], "b": [0]})]).write_csv(bad)
    monkeypatch.setattr(streaming, "_LARGE", 0)
    monkeypatch.setattr(streaming, "_BATCH", 10)
    capsys.readouterr()
    assert cli.run(["score", str(model), str(bad), "--split", "all"]) == 2
    assert "rows counted from row 41" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv", "rows.tsv", "rows.arrow"])
def test_urls_are_read_by_polars(tmp_path, name):
    rows = pl.DataFrame({"a": [1, 2, None], "b": ["x", "y", "z"]})
    write = {"parquet": rows.write_parquet, "csv": rows.write_csv, "arrow": rows.write_ipc}
    if name.endswith("tsv"):
        rows.write_csv(tmp_path / name, separator="\t")
    else:
        write[name.split(".")[1]](tmp_path / name)
    (part,) = stream_rows(f"file://{tmp_path / name}")
    assert part.equals(rows)
    (part,) = stream_rows(f"file://{tmp_path / name}", columns=["b"])
    assert part.columns == ["b"]


@pytest.mark.parametrize("url", ["file:///nowhere/rows.parquet", "s3://bucket/rows.bin"])
def test_urls_of_nothing_are_refused(url):
    with pytest.raises(DataError, match="rows"):
        next(stream_rows(url))
