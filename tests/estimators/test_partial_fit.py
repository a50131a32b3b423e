"""`partial_fit`: going on with a fitted model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from chainrule import MADE, NADE, OrderlessNADE
from chainrule.errors import DataError

MODELS = [
    NADE(8, random_state=0),
    MADE((16,), random_state=0),
    OrderlessNADE((16,), random_state=0),
    OrderlessNADE((16,), network="shared", random_state=0),
]
each_model = pytest.mark.parametrize("model", MODELS, ids=["nade", "made", "columns", "shared"])


def rows(n, seed, share=0.5):
    """Return rows whose second column mostly repeats the first."""
    rng = np.random.default_rng(seed)
    first = rng.random(n) < share
    second = np.where(rng.random(n) < 0.1, ~first, first)
    return pd.DataFrame({"a": first, "b": second, "town": rng.choice(["x", "y"], n)})


@each_model
def test_more_rows_make_a_better_model(model):
    few, many, test = rows(40, 0), rows(3000, 1), rows(2000, 2)
    model = model.set_params(max_epochs=3).fit(few)
    before, schema = model.score(test), model.schema_
    assert model.partial_fit(many) is model
    assert model.score(test) > before + 0.02
    assert model.schema_ is schema


@each_model
def test_weights_stay_where_none_are_better(model):
    train, test = rows(2000, 0), rows(500, 1)
    model.set_params(max_epochs=20).fit(train)
    scores = model.score_samples(test)
    model.set_params(learning_rate=3.0, max_epochs=1).partial_fit(test)  # far too large a rate: it diverges
    np.testing.assert_array_equal(model.score_samples(test), scores)
    model.set_params(learning_rate=None)


def test_a_model_that_is_not_fitted_is_fitted():
    train, test = rows(300, 0), rows(50, 1)
    ours, theirs = (NADE(8, max_epochs=2, random_state=0) for _ in range(2))
    ours.partial_fit(train)
    theirs.fit(train)
    np.testing.assert_array_equal(ours.score_samples(test), theirs.score_samples(test))


def test_rows_with_levels_never_seen_are_left_out():
    train, strange = rows(300, 0), rows(60, 1)
    strange["town"] = "z"
    model = NADE(8, max_epochs=2, random_state=0).fit(train)
    with pytest.warns(UserWarning, match="town"):
        model.partial_fit(pd.concat([rows(60, 2), strange]))
    with pytest.warns(UserWarning, match="town"), pytest.raises(DataError, match="every row has a level"):
        model.partial_fit(strange)


def test_other_columns_are_refused():
    model = NADE(8, max_epochs=1).fit(rows(100, 0))
    with pytest.raises(DataError, match="town"):
        model.partial_fit(rows(100, 1)[["a", "b"]])


def test_a_budget_of_time_holds_for_going_on_too():
    model = OrderlessNADE((16,), max_epochs=2, random_state=0).fit(rows(500, 0))
    model.set_params(max_epochs=100_000, max_time=0.5, patience=100_000).partial_fit(rows(500, 1))
    assert model.history_.epochs < 100_000
