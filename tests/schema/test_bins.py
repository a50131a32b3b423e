"""Wide ordinals and point masses: from a table's columns to exact probabilities, under every model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.base import clone

from chainrule import GMM, MADE, NADE, Ensemble, Independent, Mixture, OrderlessNADE, load
from chainrule.baselines.parts import Parts
from chainrule.errors import DataError, KindError
from chainrule.schema import LevelBins, Schema
from chainrule.supports import Grid
from chainrule.training import Callback

K = 3000
SMALL = {"max_epochs": 2, "random_state": 0}


def spiky(n: int, seed: int = 0) -> np.ndarray:
    """Return levels of which most are 0, some 2999, and the rest long-tailed."""
    rng = np.random.default_rng(seed)
    tail = np.clip(np.exp(rng.normal(5, 1, n)), 1, K - 2).round()
    choice = rng.random(n)
    return np.select([choice < 0.6, choice < 0.7], [0.0, K - 1.0], tail)


def table(n: int, seed: int = 0) -> pd.DataFrame:
    """Return a binary column, an integer of a wide range and a number with point masses that depend on it."""
    rng = np.random.default_rng(seed)
    group = rng.random(n) < 0.4
    gain = np.where(rng.random(n) < 0.3 + 0.5 * group, 0, rng.integers(1, 400, n) * np.where(group, 2, 1))
    rain = np.where(rng.random(n) < 0.2 + 0.4 * group, 0.0, rng.gamma(2.0, 3.0, n))
    rain[rng.random(n) < 0.1] = 7.3
    frame = pd.DataFrame({"group": group, "gain": gain, "rain": rain})
    frame.loc[:1, "gain"] = [0, K - 1]
    return frame


# ------------------------------------------------------------------ bins


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from(["spiky", "even", "distinct", "few", "none"]),
    n=st.integers(1, 400),
    seed=st.integers(0, 2**16),
)
def test_levels_within_a_bin_sum_to_one(kind: str, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns = {
        "spiky": spiky(n, seed),
        "even": rng.integers(K, size=n).astype(float),
        "distinct": np.arange(n) * 5.0,
        "few": rng.choice([3.0, 4.0, 2999.0], n),
        "none": np.full(n, np.nan),
    }
    bins = LevelBins.fit(columns[kind], K)
    assert bins.starts[0] == 0 and bins.starts[-1] == K and (np.diff(bins.starts) > 0).all()
    levels = np.arange(K)
    probabilities = np.exp(bins.log_prob_within(levels))
    assert probabilities.min() > 0
    number = bins.bin_of(levels)
    np.testing.assert_allclose(np.bincount(number, probabilities), 1.0)
    # What follows from the probabilities: distribution function, mean and mode.
    for b in range(bins.n_bins):
        mine = slice(bins.starts[b], bins.starts[b + 1])
        np.testing.assert_allclose(bins.cdf_within(levels[mine]), probabilities[mine].cumsum())
        assert bins.means[b] == pytest.approx(probabilities[mine] @ levels[mine])
        assert probabilities[bins.modes[b]] == pytest.approx(probabilities[mine].max())


def test_bins_hold_about_equally_many_rows_and_heavy_levels_have_their_own() -> None:
    x = np.concatenate([np.zeros(5000), np.random.default_rng(0).integers(1, K, 5000)])
    bins = LevelBins.fit(x, K)
    counts = np.bincount(bins.bin_of(x))
    assert bins.starts[:2].tolist() == [0, 1] and counts[0] == 5000
    assert 30 <= counts[1:].min() and counts[1:].max() < 60
    # Levels that hardly come twice say little by themselves; those that always come back say much.
    assert bins.discount > 0.2
    assert LevelBins.fit(np.repeat(np.arange(0, K, 7.0), 20), K).discount == 0
    assert LevelBins.fit(np.arange(0.0, K, 7), K).discount == 1


def test_drawn_levels_follow_the_probabilities_of_their_bin() -> None:
    x = spiky(2000)
    bins = LevelBins.fit(x, K)
    number = bins.bin_of(x)
    share = np.bincount(number, minlength=bins.n_bins) / len(x)
    drawn = bins.draw(np.random.default_rng(1).choice(bins.n_bins, 30_000, p=share), np.random.default_rng(0))
    levels = np.arange(K)
    expected = share[bins.bin_of(levels)] * np.exp(bins.log_prob_within(levels)) * len(drawn)
    counts, often = np.bincount(drawn, minlength=K), expected >= 5
    counts, expected = (np.append(v[often], v[~often].sum()) for v in (counts, expected))
    assert stats.chisquare(counts, expected).pvalue > 1e-4


def test_columns_go_to_bins_and_back() -> None:
    frame = table(400)
    schema = Schema.infer(frame)
    codes = schema.encode(frame)
    codes[5, 1] = np.nan
    assert schema.coarse(codes) is codes and schema.supports[1] == Grid(K)
    schema = schema.with_rows(codes)
    bins = schema.variables[1].bins
    assert [each.is_refined for each in schema.variables] == [False, True, False]
    assert schema.supports[1] == Grid(bins.n_bins, bins.inflated) and schema.n_codes[1] == K
    coarse = schema.coarse(codes)
    assert coarse.dtype == codes.dtype and np.isnan(coarse[5, 1])
    np.testing.assert_array_equal(coarse[:, [0, 2]], codes[:, [0, 2]])
    observed = np.delete(coarse, 5, axis=0)
    again = schema.refine(observed, np.random.default_rng(0))
    np.testing.assert_array_equal(schema.coarse(again), observed)
    stored = Schema.from_dict(json.loads(json.dumps(schema.to_dict())))
    cells = schema.log_abs_det_jacobian_of_cells(codes)
    np.testing.assert_array_equal(stored.log_abs_det_jacobian_of_cells(codes), cells)
    assert cells[5, 1] == 0 and (np.delete(cells[:, 1], 5) < 0).any()


def test_point_masses_go_to_parts_and_back() -> None:
    frame = table(400)
    schema = Schema.infer(frame)
    assert schema.variables[2].point_masses == (0.0, 7.3)
    codes = schema.encode(frame)
    codes[5, 2] = np.nan
    parts = Parts(schema.supports)
    assert parts.layout.n_levels.tolist() == [2, K, 3, np.inf]
    split = parts.split(codes)
    assert np.isnan(split[5, 2:]).all()
    rain = frame.rain.drop(5)
    np.testing.assert_array_equal(np.delete(split[:, 2], 5), np.select([rain == 0, rain == 7.3], [1, 2]))
    np.testing.assert_array_equal(np.isnan(np.delete(split[:, 3], 5)), np.isin(rain, [0, 7.3]))
    np.testing.assert_array_equal(np.delete(parts.join(np.nan_to_num(split)), 5, 0), np.delete(codes, 5, 0))


# ------------------------------------------------------------------ models

MODELS = [
    Independent(),
    Mixture(2, random_state=0),
    NADE(hidden_size=4, **SMALL),
    MADE(hidden_sizes=(8,), n_orderings=2, **SMALL),
    OrderlessNADE(hidden_sizes=(8,), network="shared", **SMALL),
    OrderlessNADE(hidden_sizes=(8,), **SMALL),
    Ensemble(MADE(hidden_sizes=(8,), **SMALL), n_members=2, random_state=0),
]
each_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
ANY_ORDER = OrderlessNADE(hidden_sizes=(16,), **SMALL)


@each_model
def test_all_rows_with_a_wide_ordinal_make_one(model) -> None:
    model.fit(table(300)[["group", "gain"]])
    rows = [pd.DataFrame({"group": group, "gain": np.arange(K)}) for group in (False, True)]
    assert np.exp(model.score_samples(pd.concat(rows))).sum() == pytest.approx(1, abs=1e-5)


@each_model
def test_all_rows_with_a_number_with_point_masses_make_one(model) -> None:
    model.fit(table(300)[["group", "rain"]])
    x, total = np.linspace(-80, 100, 10_001) + 1e-4, 0.0
    for group in (False, True):
        scores = np.exp(model.score_samples(pd.DataFrame({"group": group, "rain": [0.0, 7.3, *x]})))
        total += scores[:2].sum() + np.trapezoid(scores[2:], x)
    assert total == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("model", [Mixture(2, random_state=0), MODELS[4], ANY_ORDER], ids=str)
def test_marginals_of_wide_ordinals_and_point_masses_make_one(model) -> None:
    frame = table(300)
    model.fit(frame)
    gain = pd.DataFrame({"group": None, "gain": np.arange(K), "rain": np.nan})
    assert np.exp(model.score_samples(gain)).sum() == pytest.approx(1, abs=1e-6)
    x = np.linspace(-80, 100, 20_001) + 1e-4
    rain = pd.DataFrame({"group": None, "gain": np.nan, "rain": [0.0, 7.3, *x]})
    scores = np.exp(model.score_samples(rain))
    assert scores[:2].sum() + np.trapezoid(scores[2:], x) == pytest.approx(1, abs=1e-3)
    assert scores[:2].sum() > 0.2


@each_model
def test_samples_of_wide_ordinals_and_point_masses_are_values_that_the_table_has(model) -> None:
    frame = table(500)
    if "max_epochs" in model.get_params():  # after two, frequencies still swing
        model = clone(model).set_params(max_epochs=20)
    drawn = model.fit(frame).sample(2000, random_state=0)
    assert drawn.gain.dtype == frame.gain.dtype
    assert drawn.gain.between(0, K - 1).all()
    for name, value in (("gain", 0), ("rain", 0.0), ("rain", 7.3)):
        chance = (frame[name] == value).mean()
        assert (drawn[name] == value).mean() == pytest.approx(chance, abs=0.12)


@each_model
def test_models_of_wide_ordinals_and_point_masses_are_saved(model, tmp_path: Path) -> None:
    frame = table(300)
    model.fit(frame).save(tmp_path / "model")
    again = load(tmp_path / "model")
    np.testing.assert_array_equal(again.score_samples(frame), model.score_samples(frame))
    pd.testing.assert_frame_equal(again.sample(20, random_state=1), model.sample(20, random_state=1))


def test_gmm_refuses_point_masses_and_says_what_to_do() -> None:
    frame = table(400)
    with pytest.raises(KindError, match="no point masses, such as those of column 'rain' at 0.0, 7.3"):
        GMM().fit(frame)
    assert np.isfinite(GMM(1, kinds={"rain": "continuous"}).fit(frame).score_samples(frame)).all()


# ------------------------------------------------------------------ questions


@pytest.fixture(scope="module")
def fitted():
    return OrderlessNADE(hidden_sizes=(16,), max_epochs=10, random_state=0).fit(table(600))


def test_the_distribution_of_a_wide_ordinal_is_that_of_its_levels(fitted) -> None:
    known = pd.DataFrame({"group": [True, False], "gain": [None, None], "rain": [0.0, 5.0]})
    found = fitted.conditional(known, "gain")
    probabilities = found.probabilities
    np.testing.assert_allclose(probabilities.sum(1), 1)
    levels = np.arange(K)
    assert found.levels == range(K)
    np.testing.assert_allclose(found.mean(), probabilities @ levels)
    np.testing.assert_array_equal(found.mode(), probabilities.argmax(1))
    for value in (0, 17, K - 1):
        np.testing.assert_allclose(found.log_prob(value), np.log(probabilities[:, value]))
        np.testing.assert_allclose(found.cdf(value), probabilities[:, : value + 1].sum(1))
    np.testing.assert_array_equal(found.cdf(-1), 0)
    np.testing.assert_allclose(found.cdf(K + 5.5), 1)
    for q in (0.05, 0.5, 0.9, 0.999):
        np.testing.assert_array_equal(found.quantile(q), (probabilities.cumsum(1) < q - 1e-12).sum(1))
    whole = known.assign(gain=[17, 17])
    scores = fitted.score_samples(whole, given=["group", "rain"], of="gain")
    np.testing.assert_allclose(scores, found.log_prob(17), atol=1e-5)


def test_the_distribution_of_a_number_with_point_masses_has_jumps(fitted) -> None:
    known = pd.DataFrame({"group": [True, False], "gain": [0, 100], "rain": [np.nan, np.nan]})
    found = fitted.conditional(known, "rain")
    mass = np.exp(found.log_prob(0.0))
    np.testing.assert_allclose(found.cdf(0.0) - found.cdf(-1e-4), mass, atol=1e-3)
    below = found.cdf(-1e-4)
    for share in (0.1, 0.9):
        for row in range(2):
            quantile = found.quantile(float(below[row] + share * mass[row]))[row]
            assert quantile == 0.0
    np.testing.assert_allclose(found.cdf(found.quantile(0.97)), 0.97, atol=1e-6)
    scores = fitted.score_samples(known.assign(rain=[0.0, 7.3]), given=["group", "gain"], of="rain")
    np.testing.assert_allclose(scores, found.log_prob([0.0, 7.3]), atol=1e-5)
    drawn = fitted.sample(4000, given={"group": True, "gain": 0}, random_state=0)
    np.testing.assert_allclose((drawn.rain == 0).mean(), mass[0], atol=0.03)
    assert (drawn.gain == 0).all() and drawn.group.all()
    np.testing.assert_allclose(drawn.rain.mean(), found.mean()[0], atol=0.6)


@pytest.mark.parametrize("how", ["sample", "mode", "mean"])
def test_imputed_wide_ordinals_and_number_with_point_massess_fit_the_table(fitted, how: str) -> None:
    frame = table(60, seed=3)
    holes = frame.astype({"gain": float}).mask(np.random.default_rng(0).random(frame.shape) < 0.4)
    full = fitted.impute(holes, how=how, random_state=0)
    assert not full.isna().any().any()
    there = holes.notna()
    assert (full.gain[there.gain] == holes.gain[there.gain]).all()
    assert (full.rain[there.rain] == holes.rain[there.rain]).all()
    assert full.gain.between(0, K - 1).all() and (full.gain % 1 == 0).all()
    if how == "mode":
        assert full.gain[~there.gain].isin([0]).any()


def test_probabilities_of_too_many_levels_are_refused(fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chainrule.estimators.binned_distribution._MAX_PROBABILITIES", 5000)
    found = fitted.conditional(table(2).assign(gain=None), "gain")
    with pytest.raises(DataError, match="'gain' has 3000 levels.*for 2 rows: ask for mean"):
        _ = found.probabilities
    assert found.mean().shape == (2,)


@pytest.mark.parametrize(
    "model", [NADE(8), MADE((8,)), OrderlessNADE((8,), network="shared")], ids=["nade", "made", "shared"]
)
def test_the_course_of_a_fit_is_in_the_units_of_the_data(model):
    rng = np.random.default_rng(0)
    n = 300
    price = np.where(rng.random(n) < 0.4, 0.0, rng.normal(5000, 900, n).round(2))  # a point mass, and a scale
    wide = rng.integers(0, 4000, n)  # in bins
    frame = pd.DataFrame({"price": price, "wide": wide, "town": rng.choice(["a", "b", "c"], n)})
    if model.is_any_order:
        frame["price"] = frame["price"].mask(rng.random(n) < 0.2)
    train, valid = frame[:200], frame[200:]
    model.set_params(max_epochs=3, random_state=0)
    heard = []

    class Hearing(Callback):
        def on_epoch(self, epoch):
            heard.append(epoch)

    model.fit(train, X_val=valid, callbacks=[Hearing()])
    assert model.schema_.variables[0].point_masses and model.schema_.variables[1].bins is not None
    # Of any order it is an estimate from some orders, the score is that of one.
    spread = 0.1 if model.is_any_order else 1e-3
    assert min(model.history_.valid) == pytest.approx(-model.score(valid), abs=spread)
    assert [epoch.valid for epoch in heard] == model.history_.valid
    assert [epoch.train for epoch in heard] == model.history_.train
    # What a step counts differs from the whole only by how the weights moved in its epoch.
    assert model.history_.train[-1] == pytest.approx(-model.score(train), abs=1.0)


def uneven(n: int) -> pd.DataFrame:
    """Return weekly hours, of which nearly half are exactly 40, and a group that has other hours."""
    rng = np.random.default_rng(0)
    group = rng.random(n) < 0.5
    hours = np.clip(rng.normal(np.where(group, 30, 45), 8, n).round(), 1, 98)
    return pd.DataFrame({"group": group, "hours": np.where(rng.random(n) < 0.45, 40, hours).astype(int)})


@pytest.mark.parametrize("n", [400, 12_000])
@pytest.mark.parametrize("model", [NADE(16), OrderlessNADE((16,), network="shared"), OrderlessNADE((16,))])
def test_levels_get_a_probability_each_where_rows_are_plenty(model, n, tmp_path):
    rows = uneven(n)
    model.set_params(max_epochs=2, random_state=0).fit(rows)
    n_levels = model.schema_.variables[1].n_codes
    has_logits = 100 * n_levels <= 0.9 * n
    assert model.families_ == ("bernoulli", "categorical" if has_logits else "discretized-logistics")
    assert has_logits == (n == 12_000)
    model.save(tmp_path)
    again = load(tmp_path)
    np.testing.assert_array_equal(again.score_samples(rows[:50]), model.score_samples(rows[:50]))
    hours = model.conditional(rows[:20].assign(hours=[None] * 20), "hours")
    assert hours.probabilities.sum(axis=1) == pytest.approx(np.ones(20))
    levels = np.asarray(hours.levels)
    assert hours.mean() == pytest.approx(hours.probabilities @ levels)
    assert (hours.cdf(levels[-1]) == pytest.approx(1)) and (hours.quantile(0.5) <= hours.quantile(0.9)).all()


def test_a_heavy_level_is_not_lost():
    rows = uneven(12_000)
    model = OrderlessNADE((32,), max_epochs=10, random_state=0).fit(rows)
    histogram = Independent().fit(rows)
    hours = model.conditional(rows[:200].assign(hours=[None] * 200), "hours")
    assert hours.probabilities[:, 40 - hours.levels[0]] == pytest.approx(0.47, abs=0.06)
    assert model.score(rows) > histogram.score(rows)
