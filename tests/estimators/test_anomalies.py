"""Anomalies: predict, offset_ and contamination."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_outlier_detector
from sklearn.exceptions import NotFittedError

from chainrule import GMM, MADE, NADE, Ensemble, Independent, Mixture, OrderlessNADE, load
from chainrule.errors import FitInterrupted, ParameterError
from chainrule.estimators.anomalies import offset_of, rows_for_offset
from chainrule.training import Callback

TINY = {"hidden_sizes": (8,), "max_epochs": 2, "random_state": 0}
ESTIMATORS = [
    Independent(),
    Mixture(n_components=2, random_state=0),
    GMM(n_components=2, random_state=0),
    NADE(hidden_size=8, max_epochs=2, random_state=0),
    MADE(**TINY),
    OrderlessNADE(**TINY),
    Ensemble(MADE(**TINY), n_members=2, random_state=0),
]


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(300, 2)) * [1.0, 100.0]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_predict_follows_from_score_and_offset(estimator, X):
    model = clone(estimator).set_params(contamination=0.1).fit(X)
    scores = model.score_samples(X)
    np.testing.assert_array_equal(model.decision_function(X), scores - model.offset_)
    np.testing.assert_array_equal(model.predict(X), np.where(scores >= model.offset_, 1, -1))
    # Of 30 validation rows a tenth are too few to trust: the share is that of all rows of the fit.
    assert (model.predict(X) == -1).sum() == 30
    assert not is_outlier_detector(model)  # it stays a density estimator


def test_enough_validation_rows_have_the_last_word(X):
    rows = np.random.default_rng(1).normal(size=(1000, 2))
    model = NADE(hidden_size=8, max_epochs=2, contamination=0.1, random_state=0).fit(rows, X_val=X)
    assert (model.predict(X) == -1).sum() == 30
    assert (model.predict(rows) == -1).sum() != 100


def test_auto_is_the_lowest_hundredth_of_at_most_2000_rows():
    rows = np.random.default_rng(0).normal(size=(20_000, 1))
    model = Independent().fit(rows)
    assert (model.predict(rows) == -1).mean() == pytest.approx(0.01, abs=0.005)
    chosen = rows_for_offset("auto", 20_000, 0, 1)
    assert len(chosen) == len(set(chosen)) == 2000
    assert (model.score_samples(rows[chosen]) < model.offset_).sum() == 20


@pytest.mark.parametrize(
    ("contamination", "n_train", "n_val", "first", "length"),
    [
        ("auto", 900, 100, 0, 1000),  # one validation row in a hundred: too few
        ("auto", 9000, 1999, 0, 2000),
        ("auto", 9000, 2000, 9000, 2000),
        ("auto", 90_000, 30_000, 90_000, 2000),
        (0.1, 900, 100, 0, 1000),
        (0.2, 900, 100, 900, 100),
        (0.5, 100_000, 10_000, 100_000, 10_000),
        (0.1, 100_000, 0, 0, 100_000),
    ],
)
def test_rows_that_make_the_offset(contamination, n_train, n_val, first, length):
    rows = rows_for_offset(contamination, n_train, n_val, n_variables=100)
    assert len(rows) == length
    assert rows.min() >= first
    assert rows.max() < n_train + n_val
    assert (np.diff(rows) > 0).all()


def test_wide_rows_are_fewer():
    assert len(rows_for_offset("auto", 10_000, 5000, 200)) == 1000
    assert len(rows_for_offset("auto", 10_000, 5000, 10_000)) == 500
    assert len(rows_for_offset(0.1, 10_000, 5000, 10_000)) == 5000


def test_the_offset_has_the_share_below_and_no_value_near():
    scores = np.random.default_rng(0).normal(size=300)
    for share in (0.01, 0.1, 0.25, 0.5):
        offset = offset_of(share, scores)
        below = np.sort(scores[scores < offset])
        above = np.sort(scores[scores > offset])
        assert len(below) == pytest.approx(share * 300, abs=1)
        assert offset == pytest.approx((below[-1] + above[0]) / 2)


def test_equal_rows_lie_on_one_side_of_the_offset():
    rounded = -5 + np.linspace(-1e-7, 1e-7, 8)
    assert offset_of(0.5, np.array([-9.0, *rounded, -1.0])) == pytest.approx(-7)
    assert offset_of(0.5, rounded) == pytest.approx(-5)
    assert (rounded > offset_of(0.5, rounded)).all()  # none of them is an anomaly among the others


def test_rows_of_probability_zero_leave_the_offset_finite():
    offset = offset_of(0.5, np.array([-np.inf, -np.inf, -np.inf, -1.0]))
    assert np.isfinite(offset)
    assert offset < -1e299


def test_planted_anomalies_are_found():
    rng = np.random.default_rng(0)
    x = rng.normal(size=2000)
    frame = pd.DataFrame({"x": x, "y": np.where(x > 0, "plus", "minus")})
    planted = rng.choice(2000, 100, replace=False)
    frame.loc[planted, "y"] = frame.loc[planted, "y"].map({"plus": "minus", "minus": "plus"})
    found = Mixture(n_components=10, contamination=0.05, random_state=0).fit_predict(frame)
    assert (found[planted] == -1).mean() > 0.6  # by chance 0.05
    assert (found == -1).mean() == pytest.approx(0.05, abs=0.01)


def test_the_offset_is_saved_and_lost_by_older_models(tmp_path, X):
    model = Independent(contamination=0.2).fit(X)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.offset_ == model.offset_
    assert loaded.contamination == 0.2
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    path = tmp_path / "model" / "model.json"
    metadata = json.loads(path.read_text())
    del metadata["offset"], metadata["parameters"]["contamination"]
    path.write_text(json.dumps(metadata))
    old = load(tmp_path / "model")
    assert old.contamination == "auto"
    with pytest.raises(NotFittedError, match="this Independent has no offset_"):
        old.predict(X)
    old.offset_ = model.offset_
    np.testing.assert_array_equal(old.predict(X), model.predict(X))


def test_members_of_an_ensemble_are_told_to_be_fitted(X):
    ensemble = Ensemble(Independent(), n_members=2, random_state=0).fit(X)
    with pytest.raises(NotFittedError, match="members of an ensemble"):
        ensemble.members_[0].predict(X)


def test_rows_with_missing_values_are_judged_by_what_is_there(X):
    model = OrderlessNADE(network="shared", contamination=0.1, **TINY).fit(X)
    holes = X.copy()
    holes[:, 1] = np.nan
    np.testing.assert_array_equal(
        model.decision_function(holes), model.score_samples(X, of=[0]) - model.offset_
    )


def test_context_goes_with_rows(X):
    context = np.repeat([0.0, 1.0], 150)
    model = NADE(hidden_size=8, max_epochs=2, contamination=0.1, random_state=0).fit(X, context=context)
    assert (model.predict(X, context) == -1).sum() == 30


def test_an_interrupted_fit_does_not_keep_the_offset_of_an_earlier_one(X):
    model = NADE(hidden_size=8, max_epochs=5, random_state=0).fit(X)

    class Interrupt(Callback):
        def on_epoch(self, epoch):
            raise KeyboardInterrupt

    with pytest.raises(FitInterrupted):
        model.fit(X + 5, callbacks=[Interrupt()])
    assert not hasattr(model, "offset_")


@pytest.mark.parametrize("contamination", [0.0, 0.6, -0.1, "much", None])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_contamination_out_of_range(estimator, contamination, X):
    with pytest.raises(ParameterError, match="contamination"):
        clone(estimator).set_params(contamination=contamination).fit(X)
