"""How a column's values are written: digits behind the point, few numbers, and those that come again."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule import NADE, Independent
from chainrule.errors import StorageError
from chainrule.schema import LevelBins, Schema
from chainrule.schema.types.summary import decimals_of


@given(decimals=st.integers(0, 6), seed=st.integers(0, 2**16))
def test_digits_behind_the_point_are_found(decimals, seed):
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(50, 20, size=60), decimals)
    values[0] = np.round(values[0]) + 10.0**-decimals  # one that needs them all
    assert decimals_of(values) == decimals
    assert decimals_of(values.astype(np.float32)) in range(decimals + 1)
    assert decimals_of(np.append(values, 1 / 3)) is None


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_drawn_numbers_have_as_many_digits_as_those_of_the_table(dtype):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"length": np.round(rng.normal(0.5, 0.1, 300), 3).astype(dtype)})
    frame["free"] = rng.normal(size=300).astype(dtype)
    drawn = Independent(random_state=0).fit(frame).sample(200, random_state=1)
    assert drawn["length"].dtype == dtype
    rounded = np.round(drawn["length"].astype("float64"), 3).astype(dtype)
    np.testing.assert_array_equal(drawn["length"], rounded)
    assert decimals_of(drawn["free"].to_numpy()) is None


def test_digits_are_stored_and_older_models_have_none():
    frame = pl.DataFrame({"x": [0.25, 0.5, 1.75, 2.0] * 20, "y": np.arange(80) / 8})
    schema = Schema.infer(frame)
    again = Schema.from_dict(json.loads(json.dumps(schema.to_dict())))
    assert again == schema and again.variables[1].decimals == 3
    old = schema.to_dict()
    for run in old["variables"]:
        run.pop("decimals", None)
    assert Schema.from_dict(old).variables[1].decimals is None


def test_a_few_numbers_are_levels_if_each_comes_again_and_again():
    often = np.repeat([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [900, 20, 20, 20, 20, 20])
    rarely = np.append(often[:-1], 0.9)
    found = Schema.infer(pl.DataFrame({"often": often, "rarely": rarely}))
    assert found.kinds == ("categorical", "continuous")


def test_numbers_that_a_few_in_a_thousand_rows_have_are_point_masses():
    rng = np.random.default_rng(0)
    values = rng.gamma(2.0, 3.0, 4000)
    values[:40], values[40:49] = 7.25, 9.5
    (variable,) = Schema.infer(pl.DataFrame({"x": values})).variables
    assert variable.point_masses == (7.25,)  # of 9 rows nothing is told


def test_quantiles_of_real_numbers_are_known_in_tables_of_many_rows():
    rng = np.random.default_rng(0)
    values = rng.gamma(0.5, 9.0, 25_000)
    values[:3750] = 0.0
    (variable,) = Schema.infer(pl.DataFrame({"x": values})).variables
    others = values[values > 0]
    assert len(variable.knots) == 85 and variable.point_masses == (0.0,)
    assert variable.knots[42] == pytest.approx(np.median(others))
    assert 0 < variable.knots[0] and variable.knots[-1] < others.max()
    few = Schema.infer(pl.DataFrame({"x": rng.normal(size=4000)})).variables[0]
    declared = Schema.infer(pl.DataFrame({"x": values}), {"x": "continuous"}).variables[0]
    of_array = Schema.infer(values[:, None]).variables[0]
    assert few.knots == declared.knots == of_array.knots == ()


def test_knots_that_do_not_rise_are_refused():
    rng = np.random.default_rng(0)
    schema = Schema.infer(pl.DataFrame({"x": rng.normal(size=13_000)}))
    stored = json.loads(json.dumps(schema.to_dict()))
    assert Schema.from_dict(stored) == schema
    scores = [0.0] * len(schema.variables[0].knots)
    for key, value in (("knot_scores", scores), ("knot_scores", [0.0, 1.0])):
        with pytest.raises(StorageError, match="scores of its knots do not rise"):
            Schema.from_dict({**stored, "variables": [{**stored["variables"][0], key: value}]})
    stored["variables"][0]["knots"][3] = 9e9
    with pytest.raises(StorageError, match="knots do not rise"):
        Schema.from_dict(stored)


def test_a_long_tail_is_drawn_as_it_is():
    """Of an exponential of a normal number a mixture on the line itself draws values below zero."""
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"group": rng.random(20_000) < 0.5, "pay": np.exp(rng.normal(0, 2, 20_000))})
    model = NADE(16, max_epochs=10, random_state=0).fit(frame)
    drawn = model.sample(3000, random_state=1)["pay"].to_numpy()
    assert (drawn < 0).mean() < 0.005
    quantiles = np.quantile(drawn, [0.1, 0.5, 0.9])
    np.testing.assert_allclose(np.log(quantiles), [-2.56, 0, 2.56], atol=0.4)
    assert model.conditional({"group": True}, "pay").mean()[0] > 1


def test_heavy_levels_of_wide_integers_stand_out():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 5000, 6000).astype(float)
    x[:1500], x[1500:1700] = 0, 1234
    bins = LevelBins.fit(x, 5000)
    starts = bins.starts[list(bins.inflated)].tolist()
    assert starts == [0, 1234] and (bins.starts[np.array(bins.inflated) + 1] - starts == 1).all()
    stored = json.loads(json.dumps(bins.to_dict()))
    assert LevelBins.from_dict(stored).inflated == bins.inflated
    del stored["inflated"]
    assert LevelBins.from_dict(stored).inflated == ()


def test_heavy_values_of_few_integers_stand_out_in_a_table_and_not_in_an_array():
    rng = np.random.default_rng(0)
    hours = np.clip(rng.normal(40, 12, 2000).round(), 1, 99).astype(int)
    hours[:700], hours[700:800] = 40, 60
    (variable,) = Schema.infer(pl.DataFrame({"hours": hours})).variables
    assert {40, 60} <= set(variable.inflated) and len(variable.inflated) <= 4
    assert variable.support.inflated == tuple(value - variable.low for value in variable.inflated)
    again = Schema.from_dict(json.loads(json.dumps(Schema.infer(pl.DataFrame({"hours": hours})).to_dict())))
    assert again.variables == (variable,)
    array = np.stack([hours, rng.integers(0, 99, 2000)], axis=1)
    assert [each.inflated for each in Schema.infer(array).variables] == [(), ()]


def test_even_integers_do_not_stand_out():
    even = np.random.default_rng(0).integers(0, 60, 3000)
    assert Schema.infer(pl.DataFrame({"x": even})).variables[0].inflated == ()


def test_a_network_keeps_the_share_of_a_heavy_level_of_wide_integers():
    rng = np.random.default_rng(0)
    group = rng.random(3000) < 0.5
    paid = np.where(rng.random(3000) < 0.2 + 0.6 * group, 1000, rng.integers(0, 9000, 3000))
    frame = pl.DataFrame({"group": group, "paid": paid})
    model = NADE(16, max_epochs=20, random_state=0).fit(frame)
    assert "discretized-logistics" in model.families_
    drawn = model.sample(4000, random_state=1)
    for of_group, share in ((False, 0.2), (True, 0.8)):
        rows = drawn.filter(pl.col("group") == of_group)
        assert (rows["paid"] == 1000).mean() == pytest.approx(share, abs=0.05)
        assert rows["paid"].n_unique() > 300
