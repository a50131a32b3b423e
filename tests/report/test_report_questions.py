"""The report's part on questions: completions, one column given all others, averages over orders."""

from __future__ import annotations

import base64
import re

import numpy as np
import polars as pl
import pytest

from chainrule import MADE, Independent, OrderlessNADE, inference
from chainrule.estimators.ensemble import Ensemble
from chainrule.report import completions, order_curves, query_blocks
from chainrule.report.comparison import Comparison, ModelResult
from chainrule.report.comparison_page import render_report
from chainrule.report.numbers import number
from chainrule.report.order_curves import averages
from chainrule.report.query_costs import answers_any_query, pass_cost, scoring_cost
from chainrule.report.style import drawing, figure

COLOURS = {"any": "#0072B2", "other": "#D55E00"}


def orderless(X, **parameters):
    """Return a model fitted without validation rows: their estimate takes long where they are few."""
    settings = {"hidden_sizes": (8,), "network": "shared", "max_epochs": 3, "random_state": 0}
    settings["validation_fraction"] = 0.0
    return OrderlessNADE(**settings | parameters).fit(X)


def compared(rows, image_shape=None, train_rows=None, **estimators):
    """Return a comparison of fitted estimators on the rows that they were fitted to."""
    results = [
        ModelResult(name, model, model.score_samples(rows), 1.0, 1.0, None, model.n_parameters_, rows[:5])
        for name, model in estimators.items()
    ]
    schema = results[0].estimator.schema_
    return Comparison(
        dataset="some-data", description="", split="Split", n_train=len(rows), n_valid=9, n_test=len(rows),
        n_variables=schema.n_variables, kinds=schema.describe(), discrete=schema.is_discrete,
        image_shape=image_shape, entropy=None, random_state=0, results=results,
        train_rows=rows[:50] if train_rows is None else train_rows, test_rows=rows, seconds=1.0,
    )  # fmt: skip


def blocks_of(comparison):
    with drawing():
        return {block.title: block for block in query_blocks.query_blocks(comparison, COLOURS)}


def svg(picture):
    return base64.b64decode(picture.source.split(",", 1)[1]).decode()


def copies(n=120, d=5):
    """Return bits of which columns 1 and 3 are the same and all others are noise."""
    X = np.random.default_rng(0).integers(0, 2, (n, d))
    X[:, 3] = X[:, 1]
    return X


def mixed(n=150):
    noise = np.random.default_rng(1)
    group = noise.integers(0, 9, n)
    return pl.DataFrame(
        {
            "group": [f"level {g}" for g in group],
            "sum": group + noise.integers(0, 3, n),
            "size": 2.0 * group + noise.normal(0, 0.1, n),
            "flag": group > 4,
        }
    )


@pytest.fixture(scope="module")
def bits():
    X = copies()
    return X, orderless(X, hidden_sizes=(16,), max_epochs=60)


@pytest.fixture(scope="module")
def table():
    rows = mixed()
    return rows, orderless(rows)


# ---------------------------------------------------------------- averages


def test_averages_are_those_of_all_sets_that_follow_each_other():
    scores = np.random.default_rng(0).normal(-5, 1, (4, 30))
    found = averages(scores)
    assert found.sizes == [1, 2, 4]
    p = np.exp(scores)
    pairs = -(np.log(p[:2].mean(0)) + np.log(p[2:].mean(0))) / 2
    expected = [-scores.mean(0), pairs, -np.log(p.mean(0))]
    for loss, level, gain in zip(expected, found.levels, found.gains, strict=True):
        difference = loss - expected[0]
        assert level.mean == pytest.approx(loss.mean())
        assert level.standard_error == pytest.approx(loss.std(ddof=1) / 30**0.5)
        assert gain.mean == pytest.approx(difference.mean())
        assert gain.standard_error == pytest.approx(difference.std(ddof=1) / 30**0.5)
    means = [level.mean for level in found.levels]
    assert means == sorted(means, reverse=True)
    assert found.spread == pytest.approx(scores.std(0, ddof=1).mean())


def test_a_number_of_parts_that_is_no_power_of_two_ends_the_curve():
    scores = np.random.default_rng(0).normal(-5, 1, (5, 7))
    found = averages(scores)
    assert found.sizes == [1, 2, 4, 5]
    assert found.levels[-1].mean == pytest.approx(-np.log(np.exp(scores).mean(0)).mean())


def test_the_last_figure_over_orders_is_that_of_score_samples(bits):
    X, model = bits
    block = blocks_of(compared(X, any=model))["Averaging over orders"]
    nats, spread = model.score_samples(X, n_orders=16, return_spread=True)
    cells = block.table.rows
    assert [row[0] for row in cells] == ["1", "2", "4", "8", "16"]
    assert cells[-1][1].startswith(number(-nats.mean(), 3))
    assert f"by {number(spread.mean(), 2)} nats" in block.pictures[0].caption
    assert "normalised" in block.text and "may differ" in block.text


def test_log_likelihoods_of_continuous_columns_are_in_the_users_units():
    X = np.random.default_rng(0).normal(size=(60, 2)) * 1000
    model = orderless(X)
    block = blocks_of(compared(X, any=model))["Averaging over orders"]
    nll = -model.score_samples(X, n_orders=16).mean()
    assert nll > 10
    assert block.table.rows[-1][1].startswith(number(nll, 1))


def test_the_last_figure_over_members_is_that_of_the_ensemble():
    X = copies()
    model = Ensemble(MADE(hidden_sizes=(8,), max_epochs=2), n_members=3, random_state=0).fit(X)
    found = blocks_of(compared(X, any=model))
    assert list(found) == ["Averaging over members"]
    cells = found["Averaging over members"].table.rows
    assert [row[0] for row in cells] == ["1", "2", "3"]
    assert cells[-1][1].startswith(number(-model.score(X), 3))


def test_costly_models_get_fewer_rows_then_fewer_orders_then_are_left_out(bits, monkeypatch):
    X, model = bits
    cost = scoring_cost(model, 50)
    assert order_curves._affordable(model, 2000) == (16, 500)
    monkeypatch.setattr(order_curves, "_MAX_COST", 16.01 * cost)
    assert order_curves._affordable(model, 2000) == (16, 50)
    monkeypatch.setattr(order_curves, "_MAX_COST", 4.01 * scoring_cost(model, 40))
    assert order_curves._affordable(model, 40) == (4, 40)
    monkeypatch.setattr(order_curves, "_MAX_COST", 1.5 * cost)
    assert order_curves._affordable(model, 2000) is None
    block = blocks_of(compared(X, any=model))["Averaging over orders"]
    assert "would take long here: any." in block.text
    assert not block.pictures and block.table is None


def test_the_cost_of_a_pass_grows_with_layers_and_variables(bits):
    X, model = bits
    deep = orderless(X, hidden_sizes=(100, 100), max_epochs=1)
    one_pass = OrderlessNADE(hidden_sizes=(8, 8), max_epochs=1, random_state=0).fit(X)
    assert scoring_cost(deep, 500) - scoring_cost(model, 500) > 500 * X.shape[1] * 10_000
    assert scoring_cost(one_pass, 500) < scoring_cost(deep, 500) == pass_cost(deep, 500)


def test_a_model_that_finds_rows_impossible_gets_no_curve(bits, monkeypatch):
    X, model = bits
    scores = np.full((2, 9), -np.inf)
    monkeypatch.setattr(order_curves, "_order_scores", lambda estimator, rows: scores)
    block = blocks_of(compared(X, any=model))["Averaging over orders"]
    assert "probability zero: any." in block.text and not block.pictures


# ---------------------------------------------------------------- completions


def test_completions_keep_the_upper_half_and_draw_the_lower_in_one_pass(monkeypatch):
    X = np.random.default_rng(0).integers(0, 2, (40, 20))
    model = orderless(X)
    grids, passes = [], []
    grid, draw = completions.image_grid, inference.sample_conditional
    monkeypatch.setattr(
        completions, "image_grid", lambda images, *a, **k: grids.append((images, *a)) or grid(images, *a, **k)
    )
    monkeypatch.setattr(inference, "sample_conditional", lambda *a: passes.append(1) or draw(*a))
    block = blocks_of(compared(X, (5, 4), any=model))["Completions"]
    ((images, shape, n_columns, _),) = grids
    assert shape == (5, 4) and n_columns == 7
    images = images.reshape(6, 7, 5, 4)
    real, given, drawn = images[:, 0], images[:, 1], images[:, 2:]
    assert all((image.ravel() == X).all(1).any() for image in real)
    assert np.array_equal(given[:, :2], real[:, :2]) and np.isnan(given[:, 2:]).all()
    assert (drawn[:, :, :2] == real[:, None, :2]).all()
    assert all(len(np.unique(row[:, 2:].reshape(5, -1), axis=0)) > 1 for row in drawn)
    assert len(passes) == 1
    assert block.pictures[0].title == "any"


@pytest.mark.parametrize("shape", [(1, 6), (6, 1), (2, 3), (1, 1)])
def test_images_of_any_shape_have_completions(shape):
    X = np.random.default_rng(0).random((30, shape[0] * shape[1]))
    assert blocks_of(compared(X, shape, any=orderless(X)))["Completions"].pictures


def test_completions_that_would_take_long_are_left_out_with_a_sentence(monkeypatch):
    X = np.random.default_rng(0).integers(0, 2, (30, 4))
    monkeypatch.setattr(query_blocks, "_MAX_COST", 0)
    block = blocks_of(compared(X, (2, 2), any=orderless(X)))["Completions"]
    assert "4 variables would take long here: any." in block.text
    assert not block.pictures


# ---------------------------------------------------------------- one column given all others


def test_the_columns_that_depend_on_others_are_found(bits):
    X, model = bits
    assert completions.most_predictable_columns(model, X, 2) == [1, 3]


def test_bars_are_the_probabilities_and_the_dot_is_the_truth(bits):
    X, model = bits
    with drawing():
        _, axes = figure(3, 3, nrows=4, squeeze=False)
        distribution = model.conditional(X[:4], 1)
        variable = model.schema_.variables[1]
        completions._level_bars(axes[:, 0], variable, distribution, X[:4, 1], X[:, 1], "#000000")
    for axis, row, expected in zip(axes[:, 0], X, distribution.probabilities, strict=False):
        np.testing.assert_allclose([bar.get_width() for bar in axis.patches], expected)
        *shares, dot = axis.lines
        assert [line.get_xdata()[0] for line in shares] == pytest.approx([1 - X[:, 1].mean(), X[:, 1].mean()])
        assert dot.get_ydata()[0] == row[1]


def test_many_levels_share_a_bar_and_the_true_ones_keep_theirs():
    probabilities = np.full((2, 12), 1 / 12)
    probabilities[:, :4] += 0.01
    assert completions._levels_to_show(probabilities, np.array([11.0, np.nan])) == [0, 1, 2, 3, 11]
    assert completions._levels_to_show(probabilities[:, :6], np.array([5.0, 0.0])) == [0, 1, 2, 3, 4, 5]


def test_a_narrow_density_is_drawn_whole():
    noise = np.random.default_rng(0)
    X = np.c_[noise.normal(0, 1, 300), noise.normal(0, 1e-3, 300)]
    X[0, 1] = 1.0
    model = orderless(X, n_components=3)
    distribution = model.conditional(X[1:3], 1)
    codes = model.schema_.encode(X)
    with drawing():
        _, axes = figure(3, 3, nrows=2, squeeze=False)
        variable = model.schema_.variables[1]
        completions._densities(axes[:, 0], variable, distribution, codes[1:3, 1], codes[:, 1], "#000000")
    for axis in axes[:, 0]:
        x, y = axis.lines[0].get_data()
        assert np.trapezoid(y, x) == pytest.approx(1, abs=0.03)


def test_a_table_of_all_kinds_is_drawn_with_its_names(table, recwarn):
    rows, model = table
    block = blocks_of(compared(rows, any=model))["One column given all others"]
    drawn = svg(block.pictures[0])
    assert set(model.schema_.kinds) == {"binary", "categorical", "ordinal", "continuous"}
    shown = [name for name in rows.columns if f">{name}</text>" in drawn]
    assert len(shown) >= 2
    assert all(name in block.pictures[0].alt for name in shown)
    assert ">test row 1</text>" in drawn
    assert not list(recwarn)


@pytest.mark.parametrize("column", range(4))
def test_rows_with_holes_are_drawn_without_a_dot(table, column):
    rows, model = table
    codes = model.schema_.encode(rows)
    hidden = rows[:2].with_columns(pl.lit(None, rows.dtypes[column]).alias(rows.columns[column]))
    with drawing():
        full = completions.conditional_bars(model, rows[:2], [0, 1], [column], codes, "#123456", "alt")
        holes = completions.conditional_bars(model, hidden, [0, 1], [column], codes, "#123456", "alt")
    assert svg(full).count("<use") > svg(holes).count("<use")


def test_shown_rows_differ():
    codes = np.repeat([[0.0, 1.0], [1.0, 1.0]], 50, axis=0)
    chosen = query_blocks._different_rows(codes, np.arange(100) * 2)
    assert chosen == [0, 100]


# ---------------------------------------------------------------- the page


def test_only_models_that_answer_any_question_are_asked(bits):
    X, model = bits
    fixed = MADE(hidden_sizes=(8,), max_epochs=1, random_state=0).fit(X)
    assert answers_any_query(model) and not answers_any_query(fixed)
    assert answers_any_query(OrderlessNADE((8,), network="shared", max_epochs=1, random_state=0).fit(X))
    assert "Questions to the models" not in render_report(compared(X, any=fixed, other=Independent().fit(X)))
    page = render_report(compared(X, any=model, other=fixed))
    assert "Questions to the models" in page
    section = page[page.index('id="questions"') :]
    section = section[: section.index("</section>")]
    assert "One column given all others" in section and "Averaging over orders" in section
    assert len(re.findall("<img", section)) == 2
    assert not re.search(r"\b(nan|inf|None)\b", re.sub(r"base64,[\w+/=]+", "", section))


def test_a_model_with_a_context_is_not_asked():
    X = copies()
    model = OrderlessNADE(hidden_sizes=(8,), max_epochs=1, validation_fraction=0.0).fit(X, context=X[:, :1])
    assert not answers_any_query(model)


@pytest.mark.parametrize("n", [1, 2])
def test_few_test_rows_are_enough(bits, n):
    X, model = bits
    found = blocks_of(compared(X[:n], train_rows=X, any=model))
    assert found["One column given all others"].pictures and found["Averaging over orders"].pictures
    assert "nan" not in str(found["Averaging over orders"].table)


def test_one_column_alone_has_no_others_and_one_order():
    X = np.random.default_rng(0).integers(0, 2, (60, 1))
    assert blocks_of(compared(X, any=orderless(X))) == {}


def test_the_page_is_the_same_each_time(table):
    rows, model = table
    comparison = compared(rows, any=model)
    assert render_report(comparison) == render_report(comparison)


# ---------------------------------------------------------------- levels that training rows lack


def with_levels_never_seen(every):
    """Return rows of which each `every`-th has a group that the model has never seen, and the model."""
    rows, seen = mixed(), pl.int_range(pl.len()) % every == 0
    return rows.with_columns(pl.when(seen).then(pl.lit("new")).otherwise("group").alias("group")), orderless(
        rows
    )


def test_nothing_is_asked_given_a_level_that_was_never_seen():
    rows, model = with_levels_never_seen(2)
    with pytest.warns(UserWarning, match="'group'"):
        comparison = compared(rows, train_rows=mixed(), any=model)
    (picture,) = blocks_of(comparison)["One column given all others"].pictures
    shown = [int(row) for row in re.findall(r"test row (\d+)", svg(picture))]
    assert shown and all(rows["group"][row - 1] != "new" for row in shown)


def test_a_report_of_rows_that_all_have_unseen_levels_asks_nothing():
    rows, model = with_levels_never_seen(1)
    with pytest.warns(UserWarning, match="'group'"):
        comparison = compared(rows, train_rows=mixed(), any=model)
        text = render_report(comparison)
    assert "One column given all others" not in text
    assert "The most and the least probable test rows" in text


def test_images_with_pixels_never_seen_are_shown():
    train = np.random.default_rng(0).choice([0.0, 3.0, 7.0], (60, 6))
    model, test = orderless(train, kinds="categorical"), train.copy()
    test[:, 0] = 5.0
    with pytest.warns(UserWarning):
        assert "Completions" in render_report(compared(test, (2, 3), train_rows=train, any=model))
