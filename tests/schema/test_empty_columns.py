"""Columns without any value: every model takes them, none pays for them, and they come back empty."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from chainrule import GMM, MADE, NADE, Ensemble, Independent, Mixture, OrderlessNADE, load
from chainrule.datasets import Dataset
from chainrule.errors import DataError
from chainrule.schema import Schema

SMALL = {"max_epochs": 2, "random_state": 0}
RNG = np.random.default_rng(0)
TABLE = pl.DataFrame(
    {
        "size": RNG.normal(5, 2, 120),
        "town": RNG.choice(["Oslo", "Rome"], 120),
        "age": RNG.integers(0, 90, 120),
    }
)
MODELS = {
    "nade": NADE(4, **SMALL),
    "made": MADE((4,), **SMALL),
    "column networks": OrderlessNADE((4,), **SMALL),
    "shared network": OrderlessNADE((4,), network="shared", **SMALL),
    "ensemble": Ensemble(MADE((4,), **SMALL), 2, random_state=0),
    "independent": Independent(),
    "mixture": Mixture(2, random_state=0),
}
EMPTY = pytest.mark.filterwarnings("ignore:without any value")


def with_empty(frame: pl.DataFrame, dtype=pl.String) -> pl.DataFrame:
    return frame.insert_column(1, pl.Series("notes", [None] * len(frame), dtype=dtype))


@EMPTY
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_every_model_takes_an_empty_column_and_gives_it_probability_one(model, tmp_path):
    rows = with_empty(TABLE.clone())
    model.fit(rows)
    assert np.isfinite(model.score_samples(rows)).all()
    if not isinstance(model, Ensemble):  # whose columns share what its members differ in
        np.testing.assert_allclose(model.score_columns(rows)[:, 1], 0, atol=1e-6)
    drawn = model.sample(5, random_state=0)
    assert drawn.columns == rows.columns and drawn["notes"].null_count() == 5
    model.save(tmp_path)
    np.testing.assert_array_equal(load(tmp_path).score_samples(rows), model.score_samples(rows))


@EMPTY
def test_log_likelihoods_are_the_same_with_it_and_without():
    without = Independent().fit(TABLE).score_samples(TABLE)
    rows = with_empty(TABLE.clone())
    np.testing.assert_allclose(Independent().fit(rows).score_samples(rows), without, rtol=1e-12)


@EMPTY
@pytest.mark.parametrize(
    "model", [MADE((4,), **SMALL), NADE(4, **SMALL), GMM(1), OrderlessNADE((4,), **SMALL)]
)
def test_an_array_may_have_an_empty_column(model):
    rows = np.column_stack([RNG.normal(size=(80, 2)), np.full(80, np.nan)])
    with pytest.warns(UserWarning, match="without any value: column 'x3'"):
        model.fit(rows)
    assert np.isfinite(model.score_samples(rows)).all()
    drawn = model.sample(4, random_state=0)
    assert np.isnan(drawn[:, 2]).all() and np.isfinite(drawn[:, :2]).all()


@EMPTY
def test_questions_pass_over_it():
    rows = with_empty(TABLE.clone())
    model = OrderlessNADE((4,), **SMALL).fit(rows)
    assert model.probability("town = 'Oslo'", "notes IS NULL").value == pytest.approx(
        model.probability("town = 'Oslo'").value
    )
    holes = rows.with_columns(pl.when(pl.int_range(120) < 9).then(None).otherwise(pl.col("age")).alias("age"))
    filled = model.impute(holes, random_state=0)
    assert filled["age"].null_count() == 0 and filled["notes"].null_count() == 120
    with pytest.raises(DataError, match="'notes' cannot be 'x': it was empty in the training rows"):
        model.sample(3, given={"notes": "x"})


@EMPTY
def test_values_that_come_later_are_passed_over_with_a_warning():
    rows = with_empty(TABLE.clone())
    model = MADE((4,), **SMALL).fit(rows)
    later = rows.with_columns(notes=pl.Series(["new"] * 3 + [None] * 117))
    with pytest.warns(
        UserWarning, match="'notes' was empty in the training rows: its 3 values are passed over"
    ):
        scores = model.score_samples(later)
    np.testing.assert_array_equal(scores, model.score_samples(rows))


@EMPTY
@pytest.mark.parametrize(
    "empty",
    [
        pl.DataFrame({"a": [1, 2, 5], "it": pl.Series([None] * 3, dtype=dtype)})
        for dtype in (pl.Null, pl.String, pl.Int64, pl.Float32, pl.Boolean, pl.Date, pl.Datetime("us"),
                      pl.Datetime("ms", "UTC"), pl.Categorical, pl.Enum(["x", "y"]))
    ] + [
        pd.DataFrame({"a": [1, 2, 5], "it": pd.Series([None] * 3, dtype=dtype)})
        for dtype in ("object", "float64", "Int64", "boolean", "string", "category", "datetime64[ns]")
    ] + [
        pa.table({"a": [1, 2, 5], "it": pa.array([None] * 3, dtype)})
        for dtype in (pa.null(), pa.string(), pa.int32(), pa.float64(), pa.bool_(), pa.date32(),
                      pa.timestamp("us"))
    ] + [np.array([[1, None], [2, None], [5, None]], dtype=object)],
)  # fmt: skip
def test_it_comes_back_as_it_was(empty):
    schema = Schema.infer(empty, {"a" if hasattr(empty, "columns") else 0: "ordinal"})
    assert schema.kinds[1] == "empty"
    again = Schema.from_dict(json.loads(json.dumps(schema.to_dict())))
    back = again.decode(again.encode(empty))
    if isinstance(empty, pl.DataFrame):
        assert back["it"].null_count() == 3 and type(back["it"].dtype) is type(empty["it"].dtype)
    elif isinstance(empty, pd.DataFrame):
        assert back["it"].isna().all() and str(back["it"].dtype) == str(empty["it"].dtype)
    elif isinstance(empty, pa.Table):
        assert back["it"].null_count == 3 and back["it"].type == empty["it"].type
    else:
        assert [row[1] for row in back] == [None] * 3


def test_only_columns_with_values_can_be_declared_and_not_as_empty():
    rows = with_empty(TABLE.clone())
    with pytest.warns(UserWarning, match="without any value"):
        assert Schema.infer(rows, {"notes": "continuous"}).kinds[1] == "empty"
    with pytest.raises(DataError, match="'age' was declared empty but holds"):
        Schema.infer(TABLE, {"age": "empty"})


def test_what_is_missing_in_part_is_still_refused_by_models_of_one_order():
    rows = with_empty(TABLE.clone()).with_columns(age=pl.Series([None] + [1] * 119))
    with pytest.raises(DataError, match="'age' holds a missing value"):
        MADE((4,), **SMALL).fit(rows)


def test_a_set_lacks_nothing_where_only_empty_columns_do():
    rows = with_empty(TABLE.clone())
    assert not Dataset("it", rows, rows, rows).has_missing
    holes = rows.with_columns(age=pl.Series([None] + [1] * 119))
    assert Dataset("it", rows, rows, holes).has_missing
