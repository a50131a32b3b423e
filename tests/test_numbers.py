"""Numbers that cannot lie: sums of one, precisions and threads that agree, and hard values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from benchmarks.sums import fitted, of_fitted, of_network
from hypothesis import given, settings

from chainrule import GMM, MADE, NADE, Ensemble, Independent, Mixture, OrderlessNADE
from chainrule.errors import ChainruleError, DataError
from strategies import DISCRETE, specs

SMALL = {"max_epochs": 2, "random_state": 0}
MODELS = {
    "nade": NADE(4, **SMALL),
    "made of Laplaces": MADE((4, 4), mixture="laplace", **SMALL),
    "column networks": OrderlessNADE((4,), mixture="logistic", **SMALL),
    "shared network": OrderlessNADE((4,), network="shared", **SMALL),
    "ensemble": Ensemble(MADE((4,), **SMALL), 2, random_state=0),
    "independent": Independent(),
    "mixture": Mixture(2, random_state=0),
    "gmm": GMM(2, random_state=0),
}
RNG = np.random.default_rng(0)
X, NOISE = RNG.normal(size=(2, 120))


def with_one(value):
    """Return numbers, one of which is the value."""
    return np.where(np.arange(len(X)) == 5, value, X)


HARD_COLUMNS = {
    "one 1e300": with_one(1e300),
    "one 1e150": with_one(1e150),
    "one 1e30": with_one(1e30),
    "one denormal": with_one(5e-324),
    "all 1e300": X * 1e300,
    "all 1e100": X * 1e100,
    "all 1e-160": X * 1e-160,
    "all denormal": X * 1e-315,
    "far from zero": X + 1e17,
    "constant": np.full(len(X), 3.5),
    "constant 1e300": np.full(len(X), 1e300),
    "wide integers": RNG.integers(-(2**62), 2**62, len(X)),
}


@given(specs(DISCRETE, max_variables=5, max_levels=4))
@settings(max_examples=120)
def test_networks_sum_to_one_in_each_precision_and_by_any_number_of_threads(spec):
    differences = of_network(spec)
    assert differences["sums"] < 1e-12
    assert differences["precision"] < 1e-4
    assert differences.get("threads", 0.0) < 1e-4


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(4))
def test_fitted_models_sum_to_one(part):
    for number in range(part, 40, 4):
        model = fitted(np.random.default_rng([1, number]))
        assert all(difference < 1e-6 for difference in of_fitted(model).values()), model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("column", HARD_COLUMNS)
def test_hard_columns_give_finite_numbers_or_one_clear_line(column, name):
    rows = pd.DataFrame({"x": HARD_COLUMNS[column], "y": NOISE, "b": X > 0})
    try:
        model = MODELS[name].fit(rows)
    except ChainruleError as error:
        assert "column 'x'" in str(error) and "\n" not in str(error)
        assert column in ("one 1e300", "all 1e300", "all denormal", "all 1e-160") or name == "gmm"
        return
    assert np.isfinite(model.score_samples(rows)).all()
    drawn = model.sample(5, random_state=0)
    assert np.isfinite(drawn[["x", "y"]].to_numpy(dtype=float)).all()
    if model.supports_missing:
        nothing = rows.head(2).astype(object)
        nothing.iloc[0] = None
        assert model.score_samples(nothing)[0] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_far_values_are_less_probable_the_farther_or_refused(name):
    rows = pd.DataFrame({"x": X, "y": NOISE})
    model = MODELS[name].fit(rows)
    far = rows.head(9).assign(x=[0.0, 5e-324, 1e2, 1e4, 1e6, 1e9, 1e12, 1e15, 1e18], y=0.0)
    scores = model.score_samples(far)
    assert np.isfinite(scores).all()
    assert (np.diff(scores[2:]) < 0).all() and scores[0] == pytest.approx(scores[1])
    for value in (1e40, -1e300, 1e38):
        try:
            scores = model.score_samples(far.assign(x=value))
        except DataError as error:
            assert "row 1" in str(error) and "'x'" in str(error)
        else:
            assert np.isfinite(scores).all() and (scores < -1e30).all()
