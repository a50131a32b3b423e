"""Data sets of Ray get the numbers that tables get."""

from __future__ import annotations

import polars as pl
import pytest

from chainrule.batches import sample_batches
from chainrule.distributed import impute, sample, score

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")


def to_polars(dataset):
    import ray

    return pl.concat([pl.from_arrow(part) for part in ray.get(dataset.to_arrow_refs()) if part.num_rows])


def test_scores_are_those_of_the_table(cluster, model, data, rows):
    import ray.data

    question = {"n_orders": 2, "return_spread": True}
    rows = rows.sort("x")
    scored = to_polars(score(ray.data.read_parquet(str(data)).repartition(3), model, **question)).sort("x")
    expected, spread = model.score_samples(rows, **question)
    assert scored.select(rows.columns).equals(rows)
    assert scored["log_likelihood"].to_list() == expected.tolist()
    assert scored["spread"].to_list() == spread.tolist()


def test_completed_rows_keep_what_was_there(cluster, model, rows):
    import ray.data

    named = rows.head(600).with_columns(id=pl.int_range(600))
    dataset = ray.data.from_arrow([named.slice(start, 200).to_arrow() for start in (0, 200, 400)])
    completed = [to_polars(impute(dataset, model, random_state=seed)).sort("id") for seed in (1, 1, 2)]
    assert completed[0].equals(completed[1])
    assert not completed[0].equals(completed[2])
    assert completed[0]["y"].null_count() == 0
    known = named["y"].is_not_null()
    assert completed[0].filter(known).equals(named.filter(known))


def test_draws_are_those_of_batches(cluster, model):
    drawn = to_polars(sample(70_000, model, random_state=3))
    expected = pl.concat(sample_batches(model, 70_000, random_state=3))
    assert drawn.sort(drawn.columns).equals(expected.sort(drawn.columns))
