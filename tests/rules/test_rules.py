"""Rules between columns: log p sums to 1 over the rows that keep them, and no draw breaks one."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.integrate import trapezoid
from tests.rules.tables import (
    CITIES,
    DISCRETE,
    KINDS,
    all_rows,
    columns_of,
    keeps,
    random_model,
    reserved,
    training_rows,
)

from chainrule import OrderlessNADE, load
from chainrule.cli import run
from chainrule.errors import DataError, ParameterError, QueryError

pytestmark = pytest.mark.filterwarnings("ignore:the best epoch", "ignore:.*ordinal")


@pytest.mark.parametrize("network", ["columns", "shared"])
@pytest.mark.parametrize("rules", DISCRETE, ids=" & ".join)
def test_log_p_sums_to_one_over_the_rows_that_keep_the_rules(rules, network):
    columns = columns_of(rules)
    train = training_rows(columns, rules)
    model, rows = random_model(train, rules, network), all_rows(columns, train)
    kept = keeps(rows, rules)
    assert 0 < kept.sum() < len(rows)
    scores = model.order_scores(rows, n_orders=5) - reserved(model)
    assert np.isneginf(scores[:, ~kept]).all() and np.isfinite(scores[:, kept]).all()
    np.testing.assert_allclose(np.exp(scores).sum(1), 1.0, atol=1e-5)
    np.testing.assert_allclose(np.exp(model.score_samples(rows) - reserved(model)).sum(), 1.0, atol=1e-5)


@pytest.mark.parametrize("rules", DISCRETE, ids=" & ".join)
def test_draws_follow_log_p_and_imputations_keep_the_rules(rules):
    columns = columns_of(rules)
    train = training_rows(columns, rules)
    model = random_model(train, rules)
    drawn = model.sample(4000, random_state=1)
    assert keeps(drawn, rules).all()
    rows = all_rows(columns, train)
    expected = 4000 * np.exp(model.score_samples(rows) - reserved(model))
    counts = drawn.group_by(columns).len()
    seen = rows.join(counts, on=columns, how="left", maintain_order="left")["len"].fill_null(0).to_numpy()
    often = expected > 5
    statistic = ((seen - expected)[often] ** 2 / expected[often]).sum()
    assert statistic < often.sum() + 6 * np.sqrt(2 * often.sum())
    rng = np.random.default_rng(2)
    hidden = {name: pl.Series(rng.random(len(drawn)) < 0.5) for name in columns}
    holes = drawn.with_columns(
        pl.when(hidden[name]).then(None).otherwise(pl.col(name)).alias(name) for name in columns
    )
    assert keeps(model.impute(holes, random_state=2), rules).all()
    assert keeps(model.sample(1, given=holes[:50], random_state=3), rules).all()


def test_a_hundred_thousand_draws_break_none_of_several_rules():
    rng = np.random.default_rng(0)
    n = 400
    signup, net, tax = rng.integers(0, 2000, n), rng.gamma(2.0, 50.0, n), rng.gamma(2.0, 9.0, n)
    state, city, _ = zip(*(CITIES[i] for i in rng.integers(0, len(CITIES), n)), strict=True)
    dates = np.datetime64("2020-01-01") + signup.astype("timedelta64[D]")
    frame = pl.DataFrame(
        {
            "signup": dates,
            "churn": dates + rng.geometric(0.01, n).astype("timedelta64[D]"),
            "state": state,
            "city": city,
            "net": net,
            "tax": np.where(rng.random(n) < 0.3, 0.0, tax),
            "visits": rng.poisson(2, n),
        }
    )
    frame = frame.with_columns(
        total=pl.col("net") + pl.col("tax") - 0.5, bought=pl.col("visits") - rng.integers(0, 2, n)
    ).with_columns(pl.col("bought").clip(0))
    rules = ["signup < churn", "state, city IN observed", "total = net + tax - 0.5", "bought <= visits"]
    kinds = {"visits": "count", "bought": "count"}
    model = random_model(frame, rules, kinds=kinds, n_orderings=2, n_components=3)
    drawn = model.sample(100_000, random_state=0)
    assert (drawn["signup"] < drawn["churn"]).all()
    assert (drawn["bought"] <= drawn["visits"]).all()
    assert set(drawn.select("state", "city").rows()) <= {each[:2] for each in CITIES}
    off = (drawn["total"] - drawn["net"] - drawn["tax"] + 0.5).abs().max()
    assert off < 1e-4 * frame["total"].std()
    # What is drawn is no stranger to the scores, and what is observed decides what is drawn.
    assert np.isfinite(model.score_samples(drawn[:500])).all()
    holes = drawn[:500].with_columns(churn=None, city=None, total=None, bought=None)
    filled = model.impute(holes, random_state=1)
    assert (filled["signup"] < filled["churn"]).all() and (filled["bought"] <= filled["visits"]).all()
    assert set(filled.select("state", "city").rows()) <= {each[:2] for each in CITIES}


@pytest.mark.parametrize("mass", [False, True], ids=["density", "point mass"])
def test_bounds_on_real_numbers_integrate_to_one(mass):
    rng = np.random.default_rng(1)
    low = rng.normal(10.0, 2.0, 300)
    high = np.where(mass & (rng.random(300) < 0.3), 40.0, low + rng.exponential(1.0, 300))
    frame = pl.DataFrame({"low": low, "high": high})
    model = random_model(frame, ["low <= high"], kinds={"low": "continuous"}, n_components=3)
    line = np.linspace(-100, 200, 30_001)
    for value in (9.0, 10.5, 25.0):
        above = pl.DataFrame({"low": np.full(len(line), value), "high": line})
        below = pl.DataFrame({"low": line, "high": np.full(len(line), value)})
        for rows, name in ((above, "high"), (below, "low")):
            given = {"low": "high", "high": "low"}[name]
            density = np.exp(model.score_samples(rows, of=name, given=given))
            at_mass = np.isclose(line, 40.0) if mass and name == "high" else np.zeros(len(line), bool)
            total = trapezoid(np.where(at_mass, 0.0, density), line) + density[at_mass].sum()
            assert abs(total - 1) < 0.02
            broken = (rows["low"] > rows["high"] + 1e-4).to_numpy()
            assert (density[broken] == 0).all()


def test_a_number_that_follows_from_others_has_probability_one():
    rng = np.random.default_rng(2)
    frame = pl.DataFrame({"a": rng.normal(0, 3, 200), "b": rng.normal(5, 1, 200)})
    frame = frame.with_columns(c=pl.col("a") - pl.col("b"))
    model = random_model(frame, ["c = a - b"], n_orderings=4, kinds={"a": "continuous"})
    np.testing.assert_allclose(model.score_samples(frame, of="c", given=["a", "b"]), 0.0, atol=1e-6)
    # Of two columns that make up a third in an equation, the density is that of the one that comes first.
    ranks = model.model_.conditioner.orders[0].tolist()
    first = "b" if ranks.index(1) < ranks.index(2) else "c"
    both = model.score_samples(frame, of=["b", "c"], given="a", n_orders=1)
    np.testing.assert_allclose(both, model.score_samples(frame, of=first, given="a", n_orders=1), atol=1e-5)
    wrong = frame.with_columns(pl.col("c") + 0.01)
    assert np.isneginf(model.score_samples(wrong)).all()


def test_the_parts_of_a_row_make_up_the_whole_under_one_order():
    rules = ["size <= first", "state, city, size IN observed"]
    columns = columns_of(rules)
    train = training_rows(columns, rules)
    model = random_model(train, rules, n_orderings=1)
    order = [columns[d] for d in model.model_.conditioner.orders[0].tolist()]
    rows = all_rows(columns, train)
    rows = rows.filter(pl.Series(keeps(rows, rules)))
    parts = [model.score_samples(rows, of=name, given=order[:i] or None) for i, name in enumerate(order)]
    np.testing.assert_allclose(np.sum(parts, axis=0), model.score_samples(rows), atol=1e-5)
    p = np.exp(model.score_samples(rows.unique(order[0]), of=order[0]))
    np.testing.assert_allclose(p.sum(), 1.0, atol=0.02)  # but for the share of levels never seen


def test_rules_act_where_all_of_their_columns_are_there():
    rules = ["second > first"]
    model = random_model(training_rows(["first", "second"], rules), rules)
    free = random_model(training_rows(["first", "second"], rules), None)
    holes = pl.DataFrame({"first": [4, None, 1], "second": [None, 0, None]})
    np.testing.assert_allclose(model.score_samples(holes), free.score_samples(holes), atol=1e-6)


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("first <= second", {"first": 4, "second": 2}),
        ("second > first", {"first": 3, "second": 3}),
        ("total = net + tax", {"total": 5, "net": 0}),
    ],
)
def test_training_rows_that_break_a_rule_are_named(rule, change):
    columns = columns_of([rule])
    rows = training_rows(columns, [rule])
    is_bad = pl.Series(np.isin(np.arange(len(rows)), [6, 11]))
    broken = rows.with_columns(
        pl.when(is_bad).then(value).otherwise(pl.col(name)).alias(name) for name, value in change.items()
    )
    with pytest.raises(DataError) as caught:
        random_model(broken, [rule])
    message = str(caught.value)
    assert f"2 rows of the training rows break the rule {rule!r}, first row 7" in message
    assert "\n" not in message
    model = random_model(rows, [rule])
    with pytest.raises(DataError, match="2 rows of the new rows break the rule"):
        model.partial_fit(broken)


@pytest.mark.parametrize("rules", [DISCRETE[0], DISCRETE[5], DISCRETE[8]], ids=" & ".join)
def test_a_saved_model_keeps_its_rules(tmp_path, rules):
    columns = columns_of(rules)
    train = training_rows(columns, rules)
    model, rows = random_model(train, rules), all_rows(columns, train)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    np.testing.assert_allclose(loaded.score_samples(rows), model.score_samples(rows), atol=1e-6)
    assert loaded.sample(200, random_state=0).equals(model.sample(200, random_state=0))
    metadata = json.loads((tmp_path / "model" / "model.json").read_text())
    assert metadata["parameters"]["rules"] == rules


def test_wide_days_have_no_bins_where_a_rule_compares_them():
    days = pd.date_range("2000-01-01", periods=600)
    frame = pd.DataFrame({"start": days, "end": days + pd.Timedelta(days=30), "other": days})
    model = random_model(frame, ["start <= end"])
    assert [variable.bins is None for variable in model.schema_.variables] == [True, True, False]
    drawn = model.sample(2000, random_state=0)
    assert (drawn["start"] <= drawn["end"]).all()
    assert np.isfinite(model.score_samples(drawn)).all()


def test_what_is_given_may_not_break_a_rule():
    rules = ["second > first"]
    model = random_model(training_rows(["first", "second"], rules), rules)
    with pytest.raises(
        DataError, match="1 row of what is given breaks the rule 'second > first', first row 1"
    ):
        model.sample(given={"first": 4, "second": 2})
    rows = training_rows(["size", "first"], [])
    model = random_model(
        rows.filter(pl.col("size") < pl.col("first")), ["size < first"], kinds={"size": "ordinal"}
    )
    assert (model.sample(50, given={"size": 2}, random_state=0)["first"] > 2).all()


def test_what_the_page_cannot_do_is_refused():
    rules = ["second > first"]
    rows = training_rows(["first", "second"], rules)
    with pytest.raises(QueryError, match="the page knows of no rules"):
        random_model(rows, rules).explore("page.html")
    with pytest.raises(ParameterError, match="'rules' parameter"):
        OrderlessNADE(rules="second > first").fit(rows)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (["first <= secnd"], "there is no column 'secnd'; did you mean 'second'? (at 'secnd', letter 10)"),
        (["first <= state"], "column 'state' are names without an order (at 'state', letter 10)"),
        (["total = net + state"], "column 'state' are names, not numbers (at 'state', letter 15)"),
        (["total = net + second"], "column 'second' has levels with gaps"),
        (["first <= "], "this is no condition that can be read"),
        (["first <= 3"], "an inequality stands between two columns"),
        (["first <= first"], "a rule names each column once (at 'first', letter 10)"),
        (["total = net * tax"], "sums and differences of columns and numbers (at 'net * tax', letter 9)"),
        (["total = __import__('os')"], "sums and differences"),
        (["first + 1"], "a rule is 'signup <= churn'"),
        (["state, IN observed"], "a condition is missing (at 'IN observed', letter 7)"),
        (["state IN observed"], "about two columns or more"),
        (["total = 1e9+9+ net"], "this is no number"),
        (["0 @IN observed"], "about two columns or more"),
        (["state, height IN observed"], "column 'height' is continuous and has no list of levels"),
        (["total = net + height"], "are ordinal of whole numbers and continuous of real numbers in"),
        (["total = net + 0.5"], "whole numbers do not add up to 0.5"),
        (["first < second", "second <= first"], "'first < second' and 'second <= first' lead in a circle"),
        (["total = net + tax", "net <= total"], "tie the same columns together more than once"),
        (["'first"], "a quote is not closed"),
        ([3], "a rule is text"),
    ],
)  # fmt: skip
def test_a_bad_rule_gets_one_line_that_names_the_place(rules, message):
    columns = ["first", "second", "net", "tax", "total", "state"]
    rows = (
        all_rows(columns)
        .sample(200, seed=0)
        .with_columns(height=pl.Series(np.random.default_rng(0).normal(size=200)))
    )
    with pytest.raises(QueryError) as caught:
        OrderlessNADE(rules=rules, kinds={n: k for n, k in KINDS.items() if n in columns}).fit(rows)
    assert message.replace("?", "") in str(caught.value).replace("?", "")
    assert "\n" not in str(caught.value)


# Declared continuous, a column has no point masses, and its code of 0.1 is rounded.
@pytest.mark.parametrize(
    ("rule", "kinds"),
    [("low <= high", {}), ("low < high", {}), ("low <= high", {"low": "continuous"})],
)
def test_a_point_mass_at_a_limit_counts_where_the_limit_is_included(rule, kinds):
    rng = np.random.default_rng(1)
    n, is_mass = 400, rng.random(400) < 0.3
    low = np.where(is_mass, 0.1, rng.normal(-4.0, 1.0, n))
    high = np.where(~is_mass & (rng.random(n) < 0.4), 0.1, 1.0 + rng.exponential(2.0, n))
    frame = pl.DataFrame({"low": low, "high": high})
    model = random_model(frame, [rule], kinds=kinds, n_components=2)
    assert [variable.point_masses for variable in model.schema_.variables] == [
        () if kinds else (0.1,),
        (0.1,),
    ]
    # A number as near to the point mass as single precision tells is taken for it.
    line = np.append(np.linspace(0.1, 80, 20_001), 0.1)
    line[0] += 1e-3
    rows = pl.DataFrame({"low": np.full(len(line), 0.1), "high": line})
    density = np.exp(model.score_samples(rows, of="high", given="low"))
    assert (density[-1] > 0) == (rule == "low <= high")
    assert abs(trapezoid(density[:-1], line[:-1]) + density[-1] - 1) < 0.02
    drawn = model.sample(2000, given={"low": 0.1}, random_state=0)["high"].to_numpy()
    assert abs((drawn == 0.1).mean() - density[-1]) < 0.05


def test_real_numbers_beside_whole_ones_are_rounded_to_where_rules_hold():
    rng = np.random.default_rng(3)
    low = rng.normal(2.0, 1.0, 300)
    frame = pl.DataFrame({"low": low, "whole": np.ceil(low).astype(int) + rng.integers(0, 4, 300)})
    frame = frame.with_columns(high=pl.col("whole") + rng.exponential(1.0, 300))
    for kind in ("ordinal", "count"):
        kinds = {"whole": kind, "low": "continuous", "high": "continuous"}
        rows = frame.filter(pl.col("whole") >= 0)
        model = random_model(rows, ["low < whole", "whole <= high"], kinds=kinds, n_orderings=6)
        drawn = model.sample(5000, random_state=0)
        assert ((drawn["low"] < drawn["whole"]) & (drawn["whole"] <= drawn["high"])).all()
        assert np.isfinite(model.score_samples(drawn)).all()
        whole = np.arange(2, 6)
        given = pl.DataFrame({"low": np.full(4, 1.0), "whole": whole, "high": np.full(4, 5.0)})
        p = np.exp(model.score_samples(given, of="whole", given=["low", "high"]))
        np.testing.assert_allclose(p.sum(), 1.0, atol=1e-5)


def test_the_command_fits_with_rules(tmp_path, capsys):
    rows = training_rows(["first", "second"], ["second > first"])
    rows.write_csv(tmp_path / "rows.csv")
    options = ["fit", str(tmp_path / "rows.csv"), "--out", str(tmp_path / "model"), "--max-epochs", "1"]
    options += ["--kind", "first=ordinal", "--kind", "second=ordinal"]
    rule = ["--rule", "second > first"]
    assert run([*options, "--model", "nade", *rule]) == 2
    assert "--model nade has no option --rule" in capsys.readouterr().err
    assert run([*options, "--model", "orderless-nade", "--rule", "second > frst"]) == 2
    assert "there is no column 'frst'; did you mean 'first'?" in capsys.readouterr().err
    assert run([*options, "--model", "orderless-nade", *rule]) == 0
    drawn = load(tmp_path / "model").sample(500, random_state=0)
    assert (drawn["second"] > drawn["first"]).all()
