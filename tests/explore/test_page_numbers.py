"""The page's answers are those of Python: values exactly, ranges and sets within their error."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from tests.explore.pages import TOLERANCE, column_of, mixed_table

from chainrule import Ensemble, OrderlessNADE


def questions(rows, n, seed):
    """Yield conditions, a column that is asked for, and one of its values, from random rows and columns."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        row = rows.row(int(rng.integers(len(rows))), named=True)
        *given, of = rng.permutation(rows.columns)[: rng.integers(1, rows.width + 1)].tolist()
        yield {name: row[name] for name in given}, of, row[of]


def conditional(model, rows, given, of):
    """Return Python's answer: the distribution of one column given values of others, of one row or more."""
    cases = given if isinstance(given, list) else [given]
    known = pl.DataFrame(
        [pl.Series(name, [case.get(name) for case in cases], dtype=rows[name].dtype) for name in rows.columns]
    )
    if model.schema_.container == "numpy":
        known = known.cast(pl.Float64).to_numpy()
        of = rows.columns.index(of)
    return model.conditional(known, of).as_numbers()


def number(value):
    if isinstance(value, dt.datetime):
        return (value - dt.datetime(1970, 1, 1)).total_seconds()
    return (value - dt.date(1970, 1, 1)).days if isinstance(value, dt.date) else value


def difference(model, rows, page, given, of, value):
    """Return by how much probabilities differ between the page and Python."""
    variable, expected = column_of(model, of), conditional(model, rows, given, of)
    if variable.levels is not None and variable.bins is None:
        found = page.ask(given=given, of=of)["probabilities"]
        assert set(found) == {str(level) for level in variable.levels}
        each = [found[str(level)] for level in variable.levels]
        return np.abs(np.array(each) - expected.probabilities[0]).max()
    found = page.ask(given=given, of=of, at=[value])["cdf"][0]
    return abs(found - expected.cdf(number(value))[0])


def rows_of(model, request):
    """Return rows of a model's columns as a polars table."""
    if model is request.getfixturevalue("mixed"):
        return mixed_table()
    rows = model.sample(50, random_state=0)
    return rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(rows, schema=list(model.schema_.names))


@pytest.mark.parametrize(("name", "n", "seed"), [("mixed", 120, 0), ("binary", 50, 1), ("hostile", 30, 2)])
def test_200_random_questions_have_the_answers_of_python(request, open_page, name, n, seed):
    model = request.getfixturevalue(name)
    rows, page = rows_of(model, request), open_page(model)
    worst = max(difference(model, rows, page, *question) for question in questions(rows, n, seed))
    assert worst < TOLERANCE


def test_an_ensemble_averages_the_answers_of_its_members(request, open_page, hostile):
    rows = rows_of(hostile, request)
    network = OrderlessNADE(hidden_sizes=(8,), max_epochs=2, mixture="laplace")
    model = Ensemble(network, n_members=2, random_state=0).fit(rows)
    page = open_page(model)
    assert max(difference(model, rows, page, *question) for question in questions(rows, 5, 0)) < TOLERANCE


@pytest.mark.parametrize(
    ("activation", "network", "sizes"),
    [
        ("gelu", "shared", (8, 6)),
        ("silu", "columns", (8,)),
        ("elu", "shared", (8, 8)),
        ("tanh", "columns", (6, 6)),
    ],
)
def test_every_shape_of_network_is_computed(request, open_page, hostile, activation, network, sizes):
    rows = rows_of(hostile, request)
    arguments = {"activation": activation, "network": network, "hidden_sizes": sizes}
    model = OrderlessNADE(max_epochs=2, random_state=0, encoding="scaled", **arguments).fit(rows)
    page = open_page(model)
    assert max(difference(model, rows, page, *question) for question in questions(rows, 4, 0)) < TOLERANCE


def test_log_p_of_values_is_the_sum_of_log_conditionals(open_page, mixed):
    rows, page = mixed_table(), open_page(mixed)
    given, expected = {}, 0.0
    for name, value in {"town": "Vik", "rain": 0.0, "income": 0, "weight": 71.5, "visits": 3}.items():
        variable = column_of(mixed, name)
        share = variable.seen_log_det if variable.is_discrete and variable.bins is None else 0.0
        expected += conditional(mixed, rows, given, name).log_prob(value)[0] + share
        given[name] = value
    assert page.ask(given=given, of="plan")["log_probability"] == pytest.approx(expected, abs=5e-3)


def test_quantiles_and_means_are_those_of_python(open_page, mixed):
    rows, page = mixed_table(), open_page(mixed)
    for of in ("rooms", "visits", "rain", "weight", "income", "joined", "called"):
        answer = page.ask(given={"plan": "large"}, of=of)
        expected = conditional(mixed, rows, {"plan": "large"}, of)
        spread = expected.quantile(0.95)[0] - expected.quantile(0.05)[0]
        found = [answer["mean"], *answer["quantiles"].values()]
        wanted = [expected.mean()[0], *(expected.quantile(q)[0] for q in (0.05, 0.25, 0.5, 0.75, 0.95))]
        assert np.abs(np.subtract(found, wanted)).max() <= max(0.005 * spread, 1e-9), of


# ---------------------------------------------------------------- ranges and sets


def mixture_over(model, rows, of, cases):
    """Return P(of | event), exactly: over conditions with weights, the mean of what Python says."""
    weights = np.array([weight for _, weight in cases])
    each = conditional(model, rows, [given for given, _ in cases], of).probabilities
    return weights @ each / weights.sum(), weights.sum()


def level_cases(model, rows, name, values, given=None):
    variable, known = column_of(model, name), given or {}
    distribution = conditional(model, rows, known, name)
    if variable.is_numeric and variable.levels is not None:
        first = variable.levels[0]
        each = distribution.probabilities[0]
        return [({**known, name: v}, float(each[v - first])) for v in values]
    return [({**known, name: v}, float(np.exp(distribution.log_prob(v)[0]))) for v in values]


def interval_cases(model, rows, name, low, high, given=None, n=200):
    """Return the middles of an interval's cells, with their probabilities."""
    edges = np.linspace(low, high, n + 1)
    distribution = conditional(model, rows, given or {}, name)
    masses = np.diff([distribution.cdf(edge)[0] for edge in edges])
    middles = (edges[:-1] + edges[1:]) / 2
    return [({**(given or {}), name: float(v)}, float(m)) for v, m in zip(middles, masses, strict=True)]


def test_sets_and_ranges_of_levels_are_exact(open_page, mixed):
    rows, page = mixed_table(), open_page(mixed)
    towns = level_cases(mixed, rows, "town", ["Oslo", "Vik"])
    cases = [
        (given, weight * p)
        for town, weight in towns
        for given, p in level_cases(mixed, rows, "rooms", range(3, 7), town)
    ]
    expected, total = mixture_over(mixed, rows, "plan", cases)
    given = {"town": {"levels": ["Oslo", "Vik"]}, "rooms": {"range": [3, 6]}}
    answer = page.ask(given=given, of="plan")
    assert answer["method"] == "exact"
    found = [answer["probabilities"][level] for level in column_of(mixed, "plan").levels]
    assert np.abs(np.array(found) - expected).max() < TOLERANCE
    # Each of the two columns keeps a share for levels never seen, which is no part of Python's probability.
    assert answer["log_probability"] == pytest.approx(np.log(total), abs=5e-3)


def test_a_range_that_cuts_bins_is_exact(open_page, mixed):
    rows, page = mixed_table(), open_page(mixed)
    cases = level_cases(mixed, rows, "income", range(1000, 2201))
    expected, total = mixture_over(mixed, rows, "plan", cases)
    answer = page.ask(given={"income": {"range": [1000, 2200]}}, of="plan")
    found = [answer["probabilities"][level] for level in column_of(mixed, "plan").levels]
    assert np.abs(np.array(found) - expected).max() < TOLERANCE
    assert answer["log_probability"] == pytest.approx(np.log(total), abs=5e-3)


def test_ranges_of_numbers_agree_within_the_error_of_sampling(open_page, mixed):
    rows, page = mixed_table(), open_page(mixed)
    cases = [
        (given, weight * p)
        for number, weight in interval_cases(mixed, rows, "weight", 60.0, 75.0, n=24)
        for given, p in level_cases(mixed, rows, "visits", range(2, 5), number)
    ]
    expected, total = mixture_over(mixed, rows, "plan", cases)
    given = {"weight": {"range": [60, 75]}, "visits": {"range": [2, 4]}}
    answer = page.ask(given=given, of="plan")
    assert answer["method"] == "sampling"
    found = [answer["probabilities"][level] for level in column_of(mixed, "plan").levels]
    error = np.sqrt(expected * (1 - expected) / answer["n_effective"])
    assert (np.abs(np.array(found) - expected) < 3 * error).all()
    assert answer["log_probability"] == pytest.approx(np.log(total), abs=0.05)


def test_a_column_with_a_range_stays_within_it(open_page, mixed):
    page = open_page(mixed)
    for name, low, high in (("rain", 1.0, 2.5), ("income", 1000, 2000), ("visits", 2, 5), ("rooms", 3, 5)):
        given = {name: {"range": [low, high]}, "weight": {"range": [60, None]}}
        at = [low - 1, low, high, high + 1, high + 2]
        below, first, *all_of_it = page.ask(given=given, of=name, at=at)["cdf"]
        assert below == 0
        assert 0 <= first < 0.7
        assert all_of_it == pytest.approx([1, 1, 1], abs=1e-6)
        answer = page.ask(given=given, of=name)
        assert low <= answer["quantiles"]["0.05"] <= answer["mean"] <= answer["quantiles"]["0.95"] <= high


def test_a_range_alone_cuts_the_distribution_and_leaves_its_shape(open_page, mixed):
    rows, page = mixed_table(), open_page(mixed)
    for name, low, high in (
        ("visits", 2, 5),
        ("rain", 0.0, 2.5),
        ("weight", 90.0, 95.0),
        ("income", 990, 2200),
    ):
        expected = conditional(mixed, rows, {}, name)
        at = np.linspace(low, high, 4)
        before = expected.cdf(low - (1 if column_of(mixed, name).is_discrete else 1e-6))[0]
        wanted = [expected.cdf(value)[0] - before for value in at]
        answer = page.ask(given={name: {"range": [low, high]}}, of=name, at=at.tolist())
        assert answer["cdf"] == pytest.approx(np.array(wanted) / wanted[-1], abs=2 * TOLERANCE), name


def test_what_the_model_rules_out_is_said(open_page, mixed):
    page = open_page(mixed)
    page.run("chainrule.set({ weight: { range: [100000, 200000] }, town: 'Vik' })")
    page.wait("document.getElementById('status').textContent.includes('no probability')")
    with pytest.raises(RuntimeError, match="no probability"):
        page.ask(given={"weight": {"range": [100_000, 200_000]}}, of="plan")
