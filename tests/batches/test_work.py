"""What is done with batches is what is done with all rows at once."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from chainrule import OrderlessNADE
from chainrule.batches import (
    Draw,
    impute_batches,
    partition_seed,
    sample_batches,
    score_batches,
    work,
)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    x = rng.normal(size=150)
    return pl.DataFrame(
        {
            "x": x.round(3),
            "n": rng.poisson(3, 150),
            "level": np.where(x > 0, "high", "low"),
            "ok": rng.random(150) < 0.5,
        }
    )


@pytest.fixture(scope="module")
def model(rows):
    return OrderlessNADE((8,), max_epochs=2, random_state=0).fit(rows)


@pytest.fixture(scope="module")
def holes(rows):
    keep = np.random.default_rng(1).random(rows.shape) < 0.7
    return rows.select(
        pl.when(pl.Series(keep[:, d])).then(pl.col(name)).alias(name) for d, name in enumerate(rows.columns)
    )


def test_scores_of_batches_are_those_of_all_rows(model, rows):
    parts = list(score_batches(model, rows.iter_slices(40)))
    scores = pl.concat(parts)["log_likelihood"].to_numpy()
    np.testing.assert_array_equal(scores, model.score_samples(rows))


def test_scores_of_questions_have_their_spread(model, rows):
    question = {"given": ["x"], "of": ["level"], "n_orders": 3, "return_spread": True}
    (part,) = score_batches(model, [rows], **question)
    scores, spread = model.score_samples(rows, **question)
    np.testing.assert_array_equal(part["log_likelihood"].to_numpy(), scores)
    np.testing.assert_array_equal(part["spread"].to_numpy(), spread)


def test_record_batches_come_back_as_such(model, rows, holes):
    pa = pytest.importorskip("pyarrow")
    record_batches = rows.to_arrow().to_batches(max_chunksize=60)
    parts = list(score_batches(model, record_batches))
    assert {type(part) for part in parts} == {pa.RecordBatch}
    scores = pa.Table.from_batches(parts)["log_likelihood"].to_numpy()
    np.testing.assert_array_equal(scores, model.score_samples(rows))
    completed = list(impute_batches(model, holes.to_arrow().to_batches(max_chunksize=60), random_state=0))
    table = pl.from_arrow(pa.Table.from_batches(completed))
    assert table.null_count().sum_horizontal().item() == 0


def test_values_and_columns_that_are_there_stay(model, rows, holes):
    beside = holes.with_columns(note=pl.lit("as it is"))
    completed = pl.concat(impute_batches(model, beside.iter_slices(64), random_state=0))
    assert completed.columns == beside.columns
    assert completed.null_count().sum_horizontal().item() == 0
    for name in holes.columns:
        there = holes[name].is_not_null()
        assert completed.filter(there)[name].equals(holes.filter(there)[name])


def test_draws_do_not_depend_on_who_draws_them(model, monkeypatch):
    monkeypatch.setattr(work, "BATCH_ROWS", 50)
    whole = list(sample_batches(model, 120, random_state=3))
    assert [len(part) for part in whole] == [50, 50, 20]
    draw = Draw(model, {}, 3)
    for number in (2, 0, 1):
        assert draw([50, 50, 20][number], number).equals(whole[number])
    assert whole[0].equals(model.sample(50, random_state=3))
    assert not whole[0].equals(whole[1])


def test_each_batch_has_a_seed_of_its_own():
    first = [partition_seed(5, number).random() for number in range(100)]
    assert len(set(first)) == 100
    assert first == [partition_seed(5, number).random() for number in range(100)]
    assert partition_seed(None, 0).random() != partition_seed(None, 0).random()


def test_empty_batches_and_partitions_have_the_columns_of_the_others(model, rows, holes):
    """Spark's mapInArrow gives each partition as an iterator: of no batch, of empty ones, of many."""
    pa = pytest.importorskip("pyarrow")
    table = holes.to_arrow()
    table = table.cast(
        pa.schema([f.with_type(pa.string()) if f.name == "level" else f for f in table.schema])
    )
    (batch,) = table.combine_chunks().to_batches()
    for function, question in (
        (score_batches, {}),
        (score_batches, {"n_orders": 2, "return_spread": True}),
        (impute_batches, {"random_state": 1}),
    ):
        assert list(function(model, iter([]), **question)) == []
        parts = list(function(model, iter([batch.slice(0, 0), batch, batch.slice(3, 0)]), **question))
        assert [type(part) for part in parts] == [pa.RecordBatch] * 3
        assert [part.num_rows for part in parts] == [0, 150, 0]
        assert parts[0].schema == parts[1].schema == parts[2].schema
        assert type(next(function(model, [table], **question))) is pa.Table
    assert parts[1].schema == batch.schema
