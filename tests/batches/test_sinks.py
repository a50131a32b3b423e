"""Batches of rows end up as one file or one folder, whole or not at all."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from chainrule.batches import open_sink
from chainrule.errors import DataError

FORMS = ["rows.csv", "rows.tsv", "rows.parquet", "rows.npy", "rows"]
WORK = {"model": "a", "seed": 1}


def batches(n_batches=4, numbers_only=False):
    rng = np.random.default_rng(0)
    for number in range(n_batches):
        n = 5 if number < n_batches - 1 else 2
        text = {} if numbers_only else {"t": [f"x,{i}" if i % 2 else None for i in range(n)]}
        yield pl.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n), **text})


def read(path):
    if path.is_dir():
        return pl.read_parquet(path / "*.parquet")
    if path.suffix == ".npy":
        return pl.DataFrame(np.load(path), schema=["a", "b"], orient="row")
    if path.suffix == ".parquet":
        return pl.read_parquet(path)
    return pl.read_csv(path, separator="\t" if path.suffix == ".tsv" else ",")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n_batches", [1, 4])
def test_the_file_holds_all_batches_in_order(tmp_path, form, n_batches):
    sink = open_sink(tmp_path / form, WORK)
    frames = list(batches(n_batches, form.endswith("npy")))
    for frame in frames:
        sink.write(frame)
    if "." in form:
        assert not (tmp_path / form).exists()  # nothing has the final name before all of it is there
    sink.finish()
    assert read(tmp_path / form).equals(pl.concat(frames))
    assert [path.name for path in tmp_path.iterdir()] == [form]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n_written", [1, 2, 3])
def test_a_run_that_was_stopped_goes_on(tmp_path, form, n_written):
    frames = list(batches(numbers_only=form.endswith("npy")))
    stopped = open_sink(tmp_path / form, WORK)
    for frame in frames[:n_written]:
        stopped.write(frame)
    sink = open_sink(tmp_path / form, WORK, resume=True)
    assert sink.n_done == (n_written if n_written > 1 or form == "rows" else 0)
    earlier = list(sink.earlier())
    assert all(one.equals(other) for one, other in zip(earlier, frames, strict=False))
    for frame in frames[sink.n_done :]:
        sink.write(frame)
    sink.finish()
    assert read(tmp_path / form).equals(pl.concat(frames))
    assert [path.name for path in tmp_path.iterdir()] == [form]


def test_without_resume_a_run_starts_anew(tmp_path):
    path = tmp_path / "rows.parquet"
    frames = list(batches())
    for frame in frames[:3]:
        (stopped := open_sink(path, WORK)).write(frame)
    sink = open_sink(path, {"model": "b"})
    for frame in frames[1:]:
        sink.write(frame)
    sink.finish()
    assert read(path).equals(pl.concat(frames[1:]))
    assert stopped.n_done == 0


def test_a_run_of_something_else_is_not_taken_up(tmp_path):
    sink = open_sink(tmp_path / "rows.csv", WORK)
    for frame in batches():
        sink.write(frame)
    with pytest.raises(DataError, match="leave out --resume"):
        open_sink(tmp_path / "rows.csv", {**WORK, "seed": 2}, resume=True)


def test_text_is_no_npy(tmp_path):
    sink = open_sink(tmp_path / "rows.npy", WORK)
    sink.write(next(batches()))
    with pytest.raises(DataError, match="use .csv or .parquet"):
        sink.finish()
    assert list(tmp_path.iterdir()) == []


def test_scores_are_a_row_of_numbers(tmp_path):
    for n_batches in (1, 3):
        path = tmp_path / f"{n_batches}.npy"
        sink = open_sink(path, WORK)
        for _ in range(n_batches):
            sink.write(pl.DataFrame({"log_likelihood": [1.0, 2.0]}))
        sink.finish()
        np.testing.assert_array_equal(np.load(path), [1.0, 2.0] * n_batches)
