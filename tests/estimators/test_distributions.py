"""Distributions of one column: both sides of a value, runs of codes, one quantile per row, single answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from chainrule import Ensemble, OrderlessNADE
from chainrule.conditionals import Bernoulli, Categorical, MixtureOfGaussians, PointMasses
from chainrule.errors import DataError, KindError, ParameterError
from chainrule.estimators.conditional_distribution import ConditionalDistribution
from chainrule.schema import Schema


def distribution(kind):
    """Return two rows' distributions of a column of that kind, with params drawn at random."""
    rng = np.random.default_rng(0)
    columns = {
        "ordinal": rng.integers(3, 9, 400),
        "continuous": rng.normal(50, 10, 400),
        "masses": np.where(rng.random(400) < 0.4, 0.0, rng.normal(50, 10, 400)),
    }
    kinds = {"x": "ordinal"} if kind == "ordinal" else None
    (variable,) = Schema.infer(pd.DataFrame({"x": columns[kind]}), kinds).variables
    family = Categorical(6) if kind == "ordinal" else MixtureOfGaussians(2)
    if kind == "masses":
        family = PointMasses.beside(family, variable.support.point_masses)
        assert len(variable.support.point_masses) == 1
    params = torch.randn(3, 2, family.n_parameters, generator=torch.Generator().manual_seed(1))
    return ConditionalDistribution(variable, family, params)


def test_an_interval_is_the_probability_of_an_ordinal_value():
    found = distribution("ordinal")
    below, reached = found.interval(np.array([5, 3]))
    np.testing.assert_allclose(below, [found.probabilities[0, :2].sum(), 0.0], atol=1e-12)
    np.testing.assert_allclose(reached, [found.probabilities[0, :3].sum(), found.probabilities[1, 0]])


def test_an_interval_has_width_only_at_point_masses():
    found = distribution("masses")
    below, reached = found.interval([0.0, 40.0])
    assert reached[0] - below[0] == pytest.approx(np.exp(found.log_prob([0.0, 40.0])[0]), rel=1e-6)
    assert reached[1] - below[1] < 1e-9
    np.testing.assert_allclose(reached, found.cdf([0.0, 40.0]))
    continuous = distribution("continuous")
    below, reached = continuous.interval(45.0)
    np.testing.assert_allclose(below, reached, atol=1e-9)


@pytest.mark.parametrize("kind", ["ordinal", "continuous", "masses"])
def test_runs_of_codes_have_the_probabilities_between_their_ends(kind):
    found = distribution(kind)
    edges = np.array([0.0, 0.5, 2.0])
    runs = found.cell_probabilities(edges)
    assert runs.shape == (2, 4)
    np.testing.assert_allclose(runs.sum(axis=1), 1.0)
    reached = [found.cdf(found.variable.numbers(np.array([edge]))) for edge in edges]
    np.testing.assert_allclose(runs[:, :-1].cumsum(axis=1).T, reached, atol=1e-6)


@pytest.mark.parametrize("kind", ["ordinal", "continuous", "masses"])
def test_quantiles_may_differ_from_row_to_row(kind):
    found = distribution(kind)
    both = found.quantile([0.2, 0.7])
    assert both.tolist() == [found.quantile(0.2)[0], found.quantile(0.7)[1]]
    for wrong in (0, 1.5, [0.5, np.nan], "half"):
        with pytest.raises(ParameterError, match="between 0 and 1"):
            found.quantile(wrong)
    with pytest.raises(DataError, match="one for each of the 2 rows"):
        found.quantile([0.1, 0.2, 0.3])


def test_names_have_no_interval():
    (variable,) = Schema.infer(np.array([["no"], ["yes"]])).variables
    with pytest.raises(KindError, match="distribution function"):
        ConditionalDistribution(variable, Bernoulli(), torch.zeros(1, 1, 1)).interval("no")


def test_single_answers_make_the_mean_and_the_spread():
    found = distribution("ordinal")
    each = np.stack([answer.probabilities for answer in found.answers()])
    assert each.shape == (3, 2, 6)
    np.testing.assert_allclose(each.mean(axis=0), found.probabilities)
    np.testing.assert_allclose(each.std(axis=0, ddof=1), found.spread())


# ---------------------------------------------------------------- the spread of filled cells


@pytest.fixture(scope="module")
def filled():
    """An ensemble, rows with holes, and what each member would fill in."""
    rng = np.random.default_rng(0)
    flag = rng.random(200) < 0.5
    X = pd.DataFrame(
        {
            "name": np.where(flag, "yes", "no"),
            "size": 5.0 * flag + rng.normal(0, 1, 200),
            "wide": (400 * flag + rng.lognormal(6, 1, 200)).astype(int),
        }
    )
    network = OrderlessNADE((8,), max_epochs=3, learning_rate=0.02, validation_fraction=0)
    model = Ensemble(network, n_members=3, random_state=0, validation_fraction=0).fit(X)
    holes = X[:30].mask(rng.random((30, 3)) < 0.4)
    return model, holes


@pytest.mark.parametrize("how", ["mean", "mode"])
def test_the_spread_of_filled_cells_is_that_of_the_members(filled, how):
    model, holes = filled
    table, spread = model.impute(holes, how=how, return_spread=True)
    pd.testing.assert_frame_equal(table, model.impute(holes, how=how))
    np.testing.assert_array_equal(np.isnan(spread), ~holes.isna().to_numpy())
    for d, column in enumerate(holes):
        rows = np.flatnonzero(holes[column].isna())
        each = [member.conditional(holes, column) for member in model.members_]
        if column == "name":
            level = [each[0].levels.index(value) for value in table[column]]
            answers = [one.probabilities[np.arange(len(level)), level] for one in each]
        else:
            answers = [one.mean() for one in each]
        expected = np.std(answers, axis=0, ddof=1)[rows]
        np.testing.assert_allclose(spread[rows, d], expected, rtol=1e-4, atol=1e-7)
        assert (spread[rows, d] > 0).all()


def test_one_answer_has_no_spread_and_draws_refuse_it(filled):
    model, holes = filled
    _, spread = model.members_[0].impute(holes, how="mean", return_spread=True)
    assert set(spread[holes.isna().to_numpy()]) == {0.0}
    with pytest.raises(ParameterError, match="n_draws"):
        model.impute(holes, return_spread=True)


# ---------------------------------------------------------------- dates


@pytest.fixture(scope="module", params=[60, 60_000], ids=["few days", "bins of days"])
def dated(request):
    """Return rows of a day and a moment that stand for a letter each, and a model of them."""
    rng = np.random.default_rng(0)
    letter = rng.integers(0, 2, 400)
    day = np.datetime64("2020-01-01") + letter * request.param // 2 + rng.integers(0, request.param // 2, 400)
    moment = day.astype("datetime64[s]") + rng.integers(0, 86_400, 400)
    rows = pd.DataFrame({"letter": np.array(["a", "b"])[letter], "day": day, "moment": moment})
    rows["day"] = rows["day"].dt.date
    model = OrderlessNADE(hidden_sizes=(16,), max_epochs=10, random_state=0).fit(rows)
    return rows, model


@pytest.mark.parametrize("column", ["day", "moment"])
def test_distributions_of_dates_speak_of_dates(dated, column):
    rows, model = dated
    found = model.conditional(rows[:5], column)
    numbers = found.as_numbers()
    unit = np.timedelta64(1, "D" if column == "day" else "s")
    for ask in (lambda d: d.mean(), lambda d: d.mode(), lambda d: d.quantile(0.3)):
        dates = ask(found)
        assert dates.dtype.kind == "M"
        of_numbers = ask(numbers)
        since = (dates - np.datetime64("1970-01-01")) / unit
        np.testing.assert_allclose(since, of_numbers, atol=0.5)
    known = pd.to_datetime(rows[column][:5]).to_numpy()
    counted = (known - np.datetime64("1970-01-01")) / unit
    np.testing.assert_allclose(found.cdf(known), numbers.cdf(counted))
    np.testing.assert_allclose(found.cdf("2020-01-09"), found.cdf(np.datetime64("2020-01-09")))
    np.testing.assert_allclose(found.log_prob(rows[column][:5].tolist()), numbers.log_prob(counted))
    with pytest.raises(DataError, match="must be dates, got 'soon'"):
        found.cdf("soon")


def test_levels_of_dates_are_dates_in_the_order_of_their_probabilities(dated):
    rows, model = dated
    found = model.conditional(rows[:2], "day")
    assert len(found.levels) == found.probabilities.shape[1]
    best = found.levels[found.probabilities[0].argmax()]
    for date in (best, found.mode()[0]):
        assert date in found.levels
        assert np.exp(found.log_prob(date)[0]) == pytest.approx(found.probabilities[0].max())
