"""Columns with outliers: the others keep their place, and models of them are as good as without."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from chainrule import NADE, OrderlessNADE
from chainrule.schema import Schema


def prices(n, seed=3):
    rng = np.random.default_rng(seed)
    group = rng.choice(list("abc"), n)
    price = np.select([group == "a", group == "b"], [300.0, 350.0], 420.0) + rng.normal(0, 15, n)
    return pl.DataFrame({"group": group, "price": price.round(2), "size": price / 50 + rng.normal(size=n)})


def with_outlier(frame, value):
    return frame.with_columns(price=pl.Series([value, *frame["price"][1:]]))


@pytest.mark.parametrize("n", [300, 20_000])
@pytest.mark.parametrize("value", [99_000.0, -1e9, 1e15])
def test_one_outlier_leaves_the_others_their_scores(n, value):
    frame = prices(n)
    with pytest.warns(UserWarning, match="'price'.*far from"):
        schema = Schema.infer(with_outlier(frame, value))
    column = schema.variables[1]
    rows = schema.encode(with_outlier(frame, value))
    codes = rows[:, 1]
    assert 0.5 < codes[1:].std() < 2
    scores = np.interp(codes, column.knot_codes, column.knot_scores)
    assert np.abs(scores[1:]).max() < 4.5 and abs(scores[0]) < 5.1
    assert len(np.unique(codes[1:])) > 0.99 * len(np.unique(frame["price"][1:]))
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema
    np.testing.assert_allclose(schema.decode(rows[:1])["price"].to_numpy(), [value], rtol=1e-6)


@pytest.mark.parametrize("estimator", [NADE, OrderlessNADE])
@pytest.mark.filterwarnings("ignore:column 'price'")
def test_one_outlier_spoils_no_model(estimator):
    """By mean and standard deviation it costs the other rows 2 to 4 nats each; see docs/decisions.md."""
    frame, held_out = prices(300), prices(1000, seed=4)
    clean = estimator(random_state=0).fit(frame).score(held_out)
    model = estimator(random_state=0).fit(with_outlier(frame, 99_000.0))
    assert model.score(held_out) > clean - 0.6
    drawn = model.sample(1000, random_state=0)["price"].to_numpy()
    assert 250 < np.quantile(drawn, 0.05) < 310 and 400 < np.quantile(drawn, 0.95) < 480


def test_columns_without_outliers_are_as_they_were():
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {"normal": rng.normal(size=3000), "uniform": rng.random(3000), "skew": rng.gamma(2, 1, 3000)}
    )
    for column in Schema.infer(frame).variables:
        values = frame[column.name].to_numpy()
        assert column.knots == column.knot_scores == ()
        assert (column.location, column.scale) == (pytest.approx(values.mean()), pytest.approx(values.std()))


def test_values_that_are_nearly_all_the_same_have_no_middle():
    values = np.append(np.full(900, 0.5), np.random.default_rng(0).normal(size=20))
    (column,) = Schema.infer(pl.DataFrame({"x": values})).variables
    assert np.isfinite(column.scale) and column.scale > 0
