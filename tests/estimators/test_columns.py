"""Log-likelihoods column by column: what sums to a row's, and how surprising each cell is."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from chainrule import GMM, MADE, NADE, Ensemble, Independent, Mixture, OrderlessNADE
from chainrule.estimators.reasons import find_reasons
from chainrule.estimators.surprisal import mean_of_members

TINY = {"hidden_sizes": (8,), "max_epochs": 3, "random_state": 0}
MIXTURES = [Independent(), Mixture(n_components=3, random_state=0)]
FREE = [
    OrderlessNADE(network="shared", **TINY),
    OrderlessNADE(**TINY),
    Ensemble(OrderlessNADE(**TINY), n_members=2, random_state=0),
]
FIXED = [
    NADE(8, max_epochs=3, random_state=0),
    MADE(ordering="random", **TINY),
    MADE(n_orderings=3, **TINY),
    Ensemble(MADE(**TINY), n_members=2, random_state=0),
]
ALL = [*MIXTURES, Ensemble(Mixture(2), n_members=2, random_state=0), *FREE, *FIXED]


def name_of(estimator):
    return str(estimator).split("(")[0]


def each(estimators):
    return pytest.mark.parametrize("estimator", estimators, ids=name_of)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    return pd.DataFrame(
        {
            "size": 1000 * x,
            "colour": rng.choice(["blue", "red", "white"], 200),
            "large": (x > 0) ^ (rng.random(200) < 0.1),
            "count": rng.integers(0, 30, 200),
        }
    )


@pytest.fixture(scope="module")
def bits():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 2, 300)
    return np.stack([first, first ^ (rng.random(300) < 0.1), rng.integers(0, 2, 300)], axis=1)


def in_order_of_columns(model):
    """Let a model of any order score whole rows under the order of the columns, too."""
    for member in getattr(model, "members_", [model]):
        if member.is_any_order:
            orders = member.model_.conditioner.orders
            orders.copy_(orders.sort().values)
    return model


def every_row():
    return np.array(list(itertools.product([0, 1], repeat=3)))


# ---------------------------------------------------------------- what sums to the row's


@each(ALL)
def test_the_columns_sum_to_the_row(estimator, table):
    model = in_order_of_columns(clone(estimator).fit(table))
    scores = model.score_columns(table)
    assert scores.shape == (200, 4)
    np.testing.assert_allclose(scores.sum(axis=1), model.score_samples(table), atol=1e-4)


@each([MIXTURES[1], *FREE[:2], *FIXED[:2]])
def test_each_column_is_given_those_before_it(estimator, bits):
    model = in_order_of_columns(clone(estimator).fit(bits))
    rows = every_row()
    joint = model.score_samples(rows)
    order = model.column_order()
    for position, d in enumerate(order):
        before, upto = order[:position], order[: position + 1]
        for row, scores in zip(rows, model.score_columns(rows), strict=True):
            numerator = logsumexp(joint[(rows[:, upto] == row[upto]).all(axis=1)])
            denominator = logsumexp(joint[(rows[:, before] == row[before]).all(axis=1)])
            assert scores[d] == pytest.approx(numerator - denominator, abs=1e-4)


def test_the_order_of_columns(bits):
    assert MADE(**TINY).fit(bits).column_order().tolist() == [0, 1, 2]
    assert NADE(8, max_epochs=1, ordering=[2, 0, 1]).fit(bits).column_order().tolist() == [2, 0, 1]
    assert OrderlessNADE(network="shared", **TINY).fit(bits).column_order().tolist() == [0, 1, 2]
    assert Independent().fit(bits).column_order().tolist() == [0, 1, 2]
    same = Ensemble(NADE(8, max_epochs=1, ordering=[2, 0, 1]), n_members=2).fit(bits)
    assert same.column_order().tolist() == [2, 0, 1]
    assert MADE(n_orderings=5, **TINY).fit(np.tile(bits, (1, 3))).column_order() is None
    several = Ensemble(MADE(**TINY), n_members=4, random_state=0).fit(np.tile(bits, (1, 3)))
    assert several.column_order() is None
    with pytest.raises(NotFittedError):
        NADE().column_order()


def test_the_mean_of_members_splits_their_mean():
    rng = np.random.default_rng(0)
    scores = -rng.exponential(size=(3, 20, 4))
    scores[:, :5, 1] = np.nan
    split = mean_of_members(scores)
    whole = logsumexp(np.nansum(scores, axis=2), axis=0) - np.log(3)
    np.testing.assert_allclose(np.nansum(split, axis=1), whole)
    np.testing.assert_array_equal(np.isnan(split), np.isnan(scores[0]))
    np.testing.assert_allclose(mean_of_members(scores[:1]), scores[0])
    np.testing.assert_allclose(mean_of_members(np.stack([scores[0]] * 2)), scores[0])
    scores[0, 7] = -np.inf  # a member for which a row is impossible does not count
    assert np.isfinite(mean_of_members(scores)[7]).all()


@each(MIXTURES + FREE)
def test_missing_values_are_left_out(estimator, table):
    model = clone(estimator).fit(table)
    holes = table.astype({"colour": object, "large": object})
    holes.loc[::3, "colour"] = None
    holes.loc[1::3, "size"] = np.nan
    missing = holes.isna().to_numpy()
    for scores in (model.score_columns(holes), model.surprisal(holes)):
        np.testing.assert_array_equal(np.isnan(scores), missing)


# ---------------------------------------------------------------- surprise


@each([*MIXTURES, Ensemble(Mixture(2), n_members=2, random_state=0)])
def test_surprise_is_exact_given_all_others(estimator, bits):
    model = clone(estimator).fit(bits)
    assert model.surprisal_given == "others"
    rows = every_row()
    joint, surprise = model.score_samples(rows), model.surprisal(rows)
    for d in range(3):
        flipped = rows.copy()
        flipped[:, d] ^= 1
        others = np.logaddexp(joint, model.score_samples(flipped))
        np.testing.assert_allclose(surprise[:, d], others - joint, atol=1e-9)


@each(FREE)
def test_models_of_any_order_answer_by_questions(estimator, table):
    model = clone(estimator).fit(table)
    assert model.surprisal_given == "others"
    surprise = model.surprisal(table)
    for d, name in enumerate(table.columns):
        others = [other for other in table.columns if other != name]
        np.testing.assert_allclose(
            surprise[:, d], -model.score_samples(table, of=name, given=others), atol=1e-4
        )


@each(FIXED)
def test_models_of_fixed_order_know_only_what_comes_before(estimator, table):
    model = clone(estimator).fit(table)
    assert model.surprisal_given == "before"
    np.testing.assert_array_equal(model.surprisal(table), -model.score_columns(table))


@pytest.mark.parametrize("pca", [None, 2])
def test_surprise_of_gaussians(pca):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 3)) * [1.0, 10.0, 0.1] + 5
    model = GMM(n_components=2, pca=pca, random_state=0).fit(X)
    assert model.surprisal_given == "others"
    np.testing.assert_allclose(model.score_columns(X).sum(axis=1), model.score_samples(X), atol=1e-6)
    row = X[:1]
    surprise = model.surprisal(row)[0]
    for d in range(3):
        spread = X[:, d].std()
        grid = np.linspace(X[:, d].mean() - 12 * spread, X[:, d].mean() + 12 * spread, 20_001)
        rows = np.repeat(row, len(grid), axis=0)
        rows[:, d] = grid
        density = np.exp(model.score_samples(rows))
        integral = density.sum() * (grid[1] - grid[0])
        assert surprise[d] == pytest.approx(np.log(integral) - model.score_samples(row)[0], abs=1e-3)
        # What is expected is the mean of this very density.
        codes, _ = model.encode_rows(row)
        mean, probability = model.surprisals().expected(codes, None, d)
        assert mean[0] == pytest.approx((density * grid).sum() / density.sum(), abs=1e-3 * spread)
        assert np.isnan(probability[0])


def test_gaussians_of_discrete_columns_split_their_bound(bits):
    X = np.hstack([bits, np.zeros((300, 1), dtype=int), np.arange(300)[:, None] % 7])
    model = GMM(n_components=2, random_state=0).fit(X)
    scores = model.score_columns(X)
    np.testing.assert_allclose(scores.sum(axis=1), model.score_samples(X), atol=1e-6)
    assert np.isfinite(model.surprisal(X)).all()


def test_context_is_part_of_what_is_given(bits):
    model = NADE(8, max_epochs=3, random_state=0).fit(bits[:, 1:], context=bits[:, 0])
    scores = model.score_columns(bits[:, 1:], context=bits[:, 0])
    np.testing.assert_allclose(
        scores.sum(axis=1), model.score_samples(bits[:, 1:], context=bits[:, 0]), atol=1e-5
    )
    assert not np.allclose(scores, model.score_columns(bits[:, 1:], context=1 - bits[:, 0]))


# ---------------------------------------------------------------- what was to be expected


@each([*MIXTURES, Ensemble(Mixture(2), n_members=2, random_state=0)])
def test_what_mixtures_expect(estimator, table):
    model = clone(estimator)
    if isinstance(model, Mixture):
        model.set_params(smoothing=0.5)  # what is chosen on so few rows may blur the components
    model.fit(table)
    codes, _ = model.encode_rows(table[:20])
    levels, probabilities = model.surprisals().expected(codes, None, 1)
    rows = pd.concat([table[:20].assign(colour=colour) for colour in ("blue", "red", "white")])
    each_level = np.exp(-model.surprisal(rows)[:, 1]).reshape(3, 20)
    each_level /= each_level.sum(axis=0)  # the rest is reserved for colours never seen
    np.testing.assert_allclose(probabilities, each_level.max(axis=0), atol=1e-9)
    assert levels.tolist() == [("blue", "red", "white")[i] for i in each_level.argmax(axis=0)]
    # The mean of a real number, by draws: near that of the large, or of the small ones.
    numbers, nothing = model.surprisals().expected(codes, None, 0)
    assert np.isnan(nothing).all()
    assert np.abs(numbers).max() < 2000
    if isinstance(estimator, Mixture):
        large = table["large"][:20].to_numpy()
        assert numbers[large].mean() > 300 > -300 > numbers[~large].mean()


@each([FREE[0], FIXED[0]])
def test_what_networks_expect(estimator, table):
    model = clone(estimator).fit(table)
    codes, _ = model.encode_rows(table[:20])
    level, probability = model.surprisals().expected(codes, None, 1)
    number, nothing = model.surprisals().expected(codes, None, 3)
    if model.surprisal_given == "others":
        colour, count = model.conditional(table[:20], "colour"), model.conditional(table[:20], "count")
    else:
        known = table[:20].astype(object)
        colour = model.conditional(known.assign(colour=None, large=None, count=None), "colour")
        count = model.conditional(known.assign(count=None), "count")
    assert level.tolist() == colour.mode().tolist()
    np.testing.assert_allclose(probability, colour.probabilities.max(axis=1))
    np.testing.assert_allclose(number, count.mean())
    assert np.isnan(nothing).all()


@each([MIXTURES[1], FREE[1]])
def test_the_reasons_of_a_planted_row(estimator, bits):
    rng = np.random.default_rng(0)
    twice = np.tile(bits, (3, 1))
    frame = pd.DataFrame(twice, columns=["a", "b", "c"]).assign(z=rng.normal(size=900) * 1e-3)
    slow = {"max_epochs": 60} if name_of(estimator) == "OrderlessNADE" else {}
    model = clone(estimator).set_params(**slow).fit(frame)
    usual = model.surprisal(frame).mean(axis=0)
    planted = pd.DataFrame({"a": [1, 1], "b": [1, 1], "c": [0, 1], "z": [0.02, 0.0]})
    far, plain = find_reasons(model, planted, usual, n_reasons=2)
    assert model.reasons(planted, compared_with=frame, n_reasons=2) == [far, plain]
    alike, _ = model.reasons(planted.iloc[[0, 0]])
    assert alike == []  # nothing surprises more than is usual among rows that are all the same
    assert far[0].column == "z"
    assert far[0].probability is None  # it has a density
    assert abs(far[0].expected) < 0.002
    assert far[0].surprisal > far[0].usual_surprisal + 5
    assert "z" not in [reason.column for reason in plain]
    for reason in [*far, *plain]:
        assert reason.surprisal > reason.usual_surprisal
        if reason.column != "z":
            assert reason.probability == pytest.approx(np.exp(-reason.surprisal))
            assert reason.expected in (0, 1)
            assert 0.5 <= reason.expected_probability <= 1


def test_several_fixed_orders_expect_nothing_but_are_surprised(table):
    model = MADE(n_orderings=3, **TINY).fit(table)
    reasons = find_reasons(model, table[:5], np.full(4, -100.0), n_reasons=2)
    assert all(len(found) == 2 for found in reasons)
    assert all(reason.expected is None for found in reasons for reason in found)
