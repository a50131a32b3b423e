"""Any question of the joint, as users put it to fitted models: score_samples, sample, impute, conditional."""

from __future__ import annotations

import itertools
import math
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp
from sklearn.base import clone

from chainrule import GMM, MADE, NADE, Ensemble, OrderlessNADE, load
from chainrule.conditioners import ColumnNetworks
from chainrule.errors import DataError, KindError, ParameterError, QueryError

QUICK = {
    "max_epochs": 4,
    "n_components": 2,
    "learning_rate": 0.02,
    "validation_fraction": 0,
    "random_state": 0,
}


def any_order(**parameters):
    parameters = QUICK | parameters
    return [
        OrderlessNADE((12,), **parameters),
        OrderlessNADE((12,), network="shared", dropout=0.0, **parameters),
    ]


each = pytest.mark.parametrize("estimator", any_order(), ids=["OrderlessNADE", "MADE"])


def people(n=300, seed=0):
    """A table with every kind of column; each depends on the one before it."""
    rng = np.random.default_rng(seed)
    sex = rng.random(n) < 0.4
    colour = (sex + rng.integers(0, 2, n)) % 3
    count = (colour + rng.integers(0, 2, n)).clip(0, 3)
    return pd.DataFrame(
        {
            "sex": np.where(sex, "female", "male"),
            "height": 170.0 - 12 * sex + 3 * count + rng.normal(0, 4, n),
            "colour": np.array(["red", "green", "blue"])[colour],
            "count": count,
        }
    )


COLUMNS = ("sex", "colour", "count")
COUNTED = {"count": "ordinal"}
CELLS = pd.DataFrame(
    list(itertools.product(["female", "male"], ["blue", "green", "red"], range(4))), columns=COLUMNS
)


def subsets(names):
    return [list(s) for size in range(len(names) + 1) for s in itertools.combinations(names, size)]


def closed(model):
    """Let a fitted model keep no probability for levels never seen: all that can be is in the table."""
    schema = model.schema_
    known = tuple(replace(each, reserved=0.0) if each.reserved else each for each in schema.variables)
    for member in getattr(model, "members_", [model]):
        member._set_schema(replace(schema, variables=known), member.context_schema_)
    model._set_schema(replace(schema, variables=known), model.context_schema_)
    return model


def holes_in(frame, share=0.3, seed=0):
    return frame.mask(np.random.default_rng(seed).random(frame.shape) < share)


@pytest.fixture(scope="module", params=any_order(kinds=COUNTED), ids=["OrderlessNADE", "MADE"])
def mixed(request):
    """A fitted model of a table with every kind of column."""
    return closed(request.param.fit(people()))


@pytest.fixture(scope="module", params=any_order(n_orderings=2, kinds=COUNTED), ids=["OrderlessNADE", "MADE"])
def discrete(request):
    """A fitted model of the discrete columns, averaged over two orders unless a call says otherwise."""
    return closed(request.param.fit(people()[list(COLUMNS)]))


@contextmanager
def in_order(model, order):
    """Let a fitted model answer in an order of ours."""
    orders = model.model_.conditioner.orders
    before = orders.clone()
    orders[0] = torch.tensor(order)
    yield
    orders.copy_(before)


def chi_square(counts, expected):
    common = expected >= 5
    counts = np.append(counts[common], counts[~common].sum() + 1e-9)
    expected = np.append(expected[common], expected[~common].sum() + 1e-9)
    return stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue


# ---------------------------------------------------------------- p(these | those): discrete tables


def test_answers_equal_brute_force_over_all_completions(discrete):
    base = discrete.model_.conditioner.orders[0].tolist()
    for given, of in itertools.product(subsets(COLUMNS), repeat=2):
        if not of or set(given) & set(of):
            continue
        answers = discrete.score_samples(CELLS, given=given, of=of, n_orders=1)
        # The joint of the order that the answer uses: what is given first, then what is asked for.
        group = {d: 0 if COLUMNS[d] in given else 1 if COLUMNS[d] in of else 2 for d in base}
        with in_order(discrete, sorted(base, key=group.__getitem__)):
            joint = np.exp(discrete.score_samples(CELLS, n_orders=1))
        together = CELLS.assign(p=joint).groupby(given + of).p.transform("sum")
        alone = CELLS.assign(p=joint).groupby(given).p.transform("sum") if given else joint.sum()
        np.testing.assert_allclose(np.exp(answers), together / alone, rtol=2e-5)


@pytest.mark.parametrize("n_orders", [None, 1, 5])
def test_answers_sum_to_one_whatever_is_given(discrete, n_orders):
    for given, of in itertools.product(subsets(COLUMNS), repeat=2):
        if not of or set(given) & set(of):
            continue
        cells = CELLS.drop_duplicates(given + of)
        p = np.exp(discrete.score_samples(cells, given=given, of=of, n_orders=n_orders))
        totals = cells.assign(p=p).groupby(given).p.sum() if given else p.sum()
        np.testing.assert_allclose(totals, 1, atol=2e-6)


def test_columns_by_name_number_and_one_alone_are_the_same(discrete):
    expected = discrete.score_samples(CELLS, given=["colour"], of=["sex", "count"])
    for given, of in [("colour", [0, 2]), (1, ("sex", "count")), (["colour"], None), ([np.int64(1)], [2, 0])]:
        np.testing.assert_array_equal(discrete.score_samples(CELLS, given=given, of=of), expected)


def test_the_chain_rule_holds_along_the_order(mixed):
    """p(a) p(b | a) p(c | a, b) p(d | a, b, c) is the joint, where a, b, c, d come as in the order."""
    X = people(20, seed=1)
    order = mixed.model_.conditioner.orders[0].tolist()
    parts = [mixed.score_samples(X, given=order[:r], of=order[r]) for r in range(4)]
    np.testing.assert_allclose(sum(parts), mixed.score_samples(X), rtol=1e-5)


def test_nothing_given_and_all_asked_for_is_the_plain_score(mixed):
    X = people(20, seed=1)
    plain = mixed.score_samples(X)
    for question in ({"given": []}, {"of": list(X.columns)}, {"given": (), "of": range(4), "n_orders": 1}):
        np.testing.assert_allclose(mixed.score_samples(X, **question), plain, rtol=1e-6)


# ---------------------------------------------------------------- orders


def test_answers_of_several_orders_are_the_mean_of_their_probabilities(discrete):
    orders = [np.random.default_rng(k).permutation(3).tolist() for k in range(2)]
    alone = []
    for order in orders:
        with in_order(discrete, order):
            alone.append(discrete.score_samples(CELLS, given="sex", n_orders=1))
    with in_order(discrete, orders[0]):
        discrete.model_.conditioner.orders[1] = torch.tensor(orders[1])
        both, spread = discrete.score_samples(CELLS, given="sex", return_spread=True)
    np.testing.assert_allclose(both, logsumexp(alone, axis=0) - np.log(2), rtol=1e-6)
    np.testing.assert_allclose(spread, np.std(alone, axis=0, ddof=1), atol=1e-6)


def test_more_orders_begin_with_the_same_ones(discrete):
    """So that a mean over 4 orders is one over 3 of them, and one more."""
    answers = [np.exp(discrete.score_samples(CELLS, n_orders=k)) * k for k in (1, 2, 3, 4)]
    for fewer, more in itertools.pairwise(answers):
        assert (more > fewer).all()
    same = discrete.score_samples(CELLS, n_orders=2)
    np.testing.assert_allclose(same, discrete.score_samples(CELLS), rtol=1e-12)


def test_orders_that_cannot_differ_have_no_spread(discrete):
    """One variable given all others: an orderless NADE sees the same; a MADE does not."""
    _, spread = discrete.score_samples(CELLS, given=["sex", "colour"], n_orders=6, return_spread=True)
    if isinstance(discrete, OrderlessNADE):
        assert spread.max() < 1e-6
    _, spread = discrete.score_samples(CELLS, n_orders=6, return_spread=True)
    assert spread.shape == (24,)
    assert (spread > 1e-4).all()


@each
def test_one_column_alone_has_no_spread(estimator):
    X = people()[["height"]]
    model = estimator.fit(X)
    _, spread = model.score_samples(X, n_orders=3, return_spread=True)
    assert spread.max() < 1e-12


# ---------------------------------------------------------------- densities


def test_densities_in_the_units_of_the_user_integrate_to_one(mixed):
    grid = np.linspace(60, 280, 3001)
    X = people(1, seed=1)
    rows = X.loc[[0] * len(grid)].assign(height=grid)
    for given in ([], ["count"], ["sex", "colour", "count"]):
        density = np.exp(mixed.score_samples(rows, given=given, of="height"))
        assert np.trapezoid(density, grid) == pytest.approx(1, abs=1e-3)
    density = np.exp(mixed.conditional(rows, "height", n_orders=2).log_prob(grid))
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=1e-3)
    # What is given adds no density of its own: p(sex | height) sums to one.
    both = pd.concat([X.assign(sex=sex) for sex in ("male", "female")])
    assert np.exp(mixed.score_samples(both, given="height", of="sex")).sum() == pytest.approx(1, abs=1e-6)


@each
def test_a_joint_density_of_two_columns_integrates_to_one(estimator):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2)) * [0.1, 50] + [3, 1000]
    model = estimator.fit(X)
    axes = [np.linspace(mean - 6 * sd, mean + 6 * sd, 301) for mean, sd in ((3, 0.1), (1000, 50))]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    density = np.exp(model.score_samples(grid.reshape(-1, 2), n_orders=2)).reshape(301, 301)
    assert np.trapezoid(np.trapezoid(density, axes[1]), axes[0]) == pytest.approx(1, abs=5e-3)


# ---------------------------------------------------------------- conditional distributions


@pytest.mark.parametrize("n_orders", [None, 4])
@pytest.mark.parametrize("column", COLUMNS)
def test_probabilities_are_those_of_the_same_question(mixed, column, n_orders):
    X = people(15, seed=2)
    others = [name for name in X if name != column]
    found = mixed.conditional(X, column, n_orders=n_orders)
    assert len(found) == 15
    np.testing.assert_allclose(found.probabilities.sum(1), 1, atol=1e-7)
    for k, level in enumerate(found.levels):
        scores = mixed.score_samples(X.assign(**{column: level}), given=others, n_orders=n_orders)
        np.testing.assert_allclose(np.log(found.probabilities[:, k]), scores, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.log_prob(level), np.log(found.probabilities[:, k]), rtol=1e-12)
    own = [found.levels.index(value) for value in X[column]]
    np.testing.assert_allclose(
        found.log_prob(X[column]), np.log(found.probabilities[np.arange(15), own]), rtol=1e-12
    )
    np.testing.assert_array_equal(found.mode(), np.array(found.levels)[found.probabilities.argmax(1)])


def test_mean_cdf_and_quantile_of_an_ordinal_column_follow_from_its_probabilities(mixed):
    found = mixed.conditional(people(10, seed=2), "count", n_orders=3)
    cumulative = found.probabilities.cumsum(1)
    np.testing.assert_allclose(found.mean(), found.probabilities @ np.arange(4), rtol=1e-9)
    for level in range(4):
        np.testing.assert_allclose(found.cdf(level), cumulative[:, level], atol=1e-9)
        np.testing.assert_allclose(found.cdf(level + 0.5), cumulative[:, level], atol=1e-9)
    assert not found.cdf(-1).any()
    for q in (0.01, 0.3, 0.5, 0.99):
        np.testing.assert_array_equal(found.quantile(q), (cumulative < q).sum(1))


def test_log_prob_cdf_quantile_mean_and_mode_of_a_continuous_column_agree(mixed):
    X = people(6, seed=2)
    found = mixed.conditional(X, "height", n_orders=3)
    np.testing.assert_allclose(
        found.log_prob(X.height),
        mixed.score_samples(X, given=list(COLUMNS), of="height", n_orders=3),
        rtol=1e-4,
        atol=1e-5,
    )
    grid = np.linspace(100, 240, 5601)  # with 150, 165 and 180 among them
    density = np.exp([found.log_prob(value) for value in grid])
    np.testing.assert_allclose(found.mean(), np.trapezoid(density * grid[:, None], grid, axis=0), atol=0.02)
    for value in (150.0, 165.0, 180.0):
        below = grid <= value
        np.testing.assert_allclose(
            found.cdf(value), np.trapezoid(density[below], grid[below], axis=0), atol=1e-4
        )
    for q in (1e-6, 0.1, 0.5, 0.9):
        np.testing.assert_allclose(found.cdf(found.quantile(q)), q, rtol=1e-6)
    # The mode is that of the mixture's components under which the density is highest.
    assert (np.exp(found.log_prob(found.mode())) > 0.8 * density.max(0)).all()


def test_what_is_known_is_a_mapping_or_rows_and_the_column_itself_does_not_count(mixed):
    X = people(1, seed=2)
    of_mapping = mixed.conditional({"sex": X.sex[0], "count": int(X["count"][0])}, "colour")
    of_rows = mixed.conditional(X.assign(height=np.nan), "colour")
    without = mixed.conditional(X.assign(height=np.nan, colour=None), "colour")
    np.testing.assert_array_equal(of_mapping.probabilities, of_rows.probabilities)
    np.testing.assert_array_equal(of_mapping.probabilities, without.probabilities)
    margin = mixed.conditional({}, "colour")
    np.testing.assert_allclose(
        margin.log_prob("red"), mixed.score_samples(X.assign(colour="red"), of="colour"), rtol=1e-5
    )


def test_the_spread_of_a_conditional_distribution(mixed):
    X = people(5, seed=2)
    for column in ("colour", "height"):
        assert not mixed.conditional(X, column).spread().any()
        several = mixed.conditional(X, column, n_orders=8).spread()
        assert several.shape == ((5, 3) if column == "colour" else (5,))
        if isinstance(mixed, OrderlessNADE):
            assert several.max() < 1e-9
        else:
            assert several.max() > 1e-4


def test_what_a_kind_lacks_is_refused(mixed):
    known = {"sex": "male"}
    for call in ("mean", "quantile", "cdf"):
        arguments = {"mean": (), "quantile": (0.5,), "cdf": (1,)}[call]
        with pytest.raises(KindError, match="'colour' is categorical and has no .*ask for mode"):
            getattr(mixed.conditional(known, "colour"), call)(*arguments)
    with pytest.raises(KindError, match="'height' is continuous and has no levels; ask for log_prob"):
        _ = mixed.conditional(known, "height").probabilities


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("colour", "rde", "'colour' has no level 'rde'.*did you mean 'red'"),
        ("colour", [["red"], ["red"]], r"one, or one for each of the 2 rows, got shape \(2, 1\)"),
        ("count", 4, "'count' cannot be 4: its values range from 0 to 3"),
        ("height", "tall", "'height' must be numbers, got 'tall'"),
        ("height", np.nan, "'height' must be numbers, got nan"),
        ("height", [1.0, 2.0, 3.0], r"for each of the 2 rows, got shape \(3,\)"),
    ],
)
def test_values_that_a_distribution_cannot_take(mixed, column, values, message):
    with pytest.raises(DataError, match=message):
        mixed.conditional(people(2), column).log_prob(values)


@pytest.mark.parametrize("q", [0, 1, -0.5, math.nan, "half"])
def test_quantiles_that_are_none(mixed, q):
    with pytest.raises(ParameterError, match="q must be a number between 0 and 1"):
        mixed.conditional(people(2), "height").quantile(q)


# ---------------------------------------------------------------- samples given some values


@pytest.mark.parametrize("given", [{}, {"colour": "green"}, {"count": 3, "sex": "female"}])
@pytest.mark.parametrize("n_orders", [1, 3])
def test_samples_follow_the_probabilities_given_the_same(discrete, given, n_orders):
    samples = discrete.sample(4000, given=given, n_orders=n_orders, random_state=1)
    for name, value in given.items():
        assert (samples[name] == value).all()
    cells = CELLS[(CELLS[list(given)] == pd.Series(given, dtype=object)).all(axis=1)]
    expected = np.exp(discrete.score_samples(cells, given=list(given), n_orders=n_orders)) * 4000
    counts = samples.value_counts().reindex(pd.MultiIndex.from_frame(cells), fill_value=0).to_numpy()
    assert counts.sum() == 4000
    assert chi_square(counts, expected) > 1e-4


@pytest.mark.parametrize("n_orders", [None, 3])
def test_samples_of_one_column_follow_its_conditional_distribution(mixed, n_orders):
    row = people(1, seed=3)
    for column in ("height", "count", "colour"):
        known = row.drop(columns=column).iloc[0].to_dict()
        drawn = mixed.sample(3000, given=known, n_orders=n_orders, random_state=2)[column]
        found = mixed.conditional(row, column, n_orders=n_orders)
        if column == "height":
            assert stats.kstest(drawn, cdf_of(found)).pvalue > 1e-4
            assert drawn.mean() == pytest.approx(found.mean()[0], abs=4 * drawn.std() / math.sqrt(3000))
            assert (drawn < found.quantile(0.25)[0]).mean() == pytest.approx(0.25, abs=0.035)
        else:
            counts = drawn.value_counts().reindex(list(found.levels), fill_value=0).to_numpy()
            assert chi_square(counts, 3000 * found.probabilities[0]) > 1e-4


def cdf_of(found):
    return np.vectorize(lambda value: found.cdf(value)[0])


def test_a_condition_that_never_occurs_is_met_by_every_sample(discrete):
    """There is no blue man with 0 of them among the training rows: rejection would never end."""
    samples = discrete.sample(50, given={"sex": "male", "colour": "blue", "count": "0"}, random_state=0)
    assert (samples == ["male", "blue", 0]).all(axis=None)


def test_completions_of_a_row_stand_after_those_of_the_row_before(mixed):
    rows = holes_in(people(4, seed=5), 0.5)
    assert rows.isna().any(axis=None)
    drawn = mixed.sample(3, given=rows, random_state=0)
    repeated = rows.loc[np.repeat(rows.index, 3)].reset_index(drop=True)
    assert len(drawn) == 12
    assert not drawn.isna().any(axis=None)
    assert (repeated.isna() | (drawn == repeated)).all(axis=None)
    assert drawn.height.nunique() > rows.height.notna().sum()


def test_samples_repeat_with_a_seed_and_differ_without(mixed):
    def draw(**seed):
        return mixed.sample(20, given={"sex": "male"}, **seed).height.tolist()

    assert draw(random_state=3) == draw(random_state=3)
    assert draw(random_state=np.random.default_rng(3)) == draw(random_state=np.random.default_rng(3))
    assert draw(random_state=3) != draw(random_state=4)
    assert draw() != draw()


# ---------------------------------------------------------------- missing values


def test_rows_with_missing_values_score_as_the_rest_of_them(mixed):
    X = people(30, seed=7)
    holes = holes_in(X, 0.4)
    scores = mixed.score_samples(holes)
    for row in range(30):
        there = holes.columns[holes.loc[row].notna()].tolist()
        expected = mixed.score_samples(X.loc[[row]], of=there)[0] if there else 0.0
        assert scores[row] == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_missing_values_are_summed_over(discrete):
    """In the order that places them last, which is the one used, that is exact."""
    base = discrete.model_.conditioner.orders[0].tolist()
    for missing in subsets(COLUMNS):
        order = sorted(base, key=lambda d: COLUMNS[d] in missing)  # noqa: B023
        with in_order(discrete, order):
            joint = np.exp(discrete.score_samples(CELLS, n_orders=1))
        kept = [name for name in COLUMNS if name not in missing]
        sums = CELLS.assign(p=joint).groupby(kept).p.transform("sum") if kept else joint.sum()
        holes = CELLS.astype(object).assign(**dict.fromkeys(missing))
        scores = discrete.score_samples(holes, n_orders=1)
        np.testing.assert_allclose(scores, np.log(np.broadcast_to(sums, 24)), rtol=2e-5, atol=1e-6)


def test_missing_values_of_given_columns_are_not_given_and_of_asked_ones_not_asked(mixed):
    X = people(1, seed=8)
    without = mixed.score_samples(X.assign(height=np.nan), given=["height", "sex"], of="colour")
    np.testing.assert_allclose(without, mixed.score_samples(X, given="sex", of="colour"), rtol=1e-6)
    without = mixed.score_samples(X.assign(height=np.nan), given="sex", of=["colour", "height"])
    np.testing.assert_allclose(without, mixed.score_samples(X, given="sex", of="colour"), rtol=1e-6)


def test_a_row_of_which_nothing_is_there(mixed):
    X = people(3).astype(object)
    X.loc[1] = None
    assert mixed.score_samples(X)[1] == 0
    assert mixed.score_samples(X, given="sex")[1] == 0
    # Its completion is a plain sample.
    drawn = mixed.sample(2000, given=X.loc[[1]], random_state=0)
    expected = mixed.conditional({}, "colour")
    counts = drawn.colour.value_counts().reindex(list(expected.levels), fill_value=0).to_numpy()
    # The order of this model does not draw the colour first: its margin differs a little from that answer.
    plain = mixed.sample(2000, random_state=1).colour.value_counts().reindex(list(expected.levels))
    assert stats.chi2_contingency([counts, plain]).pvalue > 1e-4


@each
@pytest.mark.parametrize("container", ["pandas", "polars", "numpy"])
def test_a_column_of_which_nothing_is_there_is_kept_as_missing(estimator, container):
    X = people(20)[["height", "count", "colour"]].assign(height=np.nan)
    if container == "numpy":
        X = X[["height", "count"]].to_numpy()
    elif container == "polars":
        X = pl.from_pandas(X)
    with pytest.warns(UserWarning, match="without any value"):
        drawn = estimator.fit(X).sample(4, random_state=0)
    first = drawn[:, 0] if container == "numpy" else drawn["height"].to_numpy()
    assert np.isnan(first.astype(float)).all()


@pytest.fixture(scope="module")
def truth():
    """A random table over 3 bits and a column of 3 levels, and rows drawn from it."""
    rng = np.random.default_rng(5)
    cells = np.array(list(itertools.product([0, 1], [0, 1], [0, 1], [0, 1, 2])))
    probabilities = rng.dirichlet(np.full(len(cells), 0.5))
    train, valid = (cells[rng.choice(len(cells), n, p=probabilities)].astype(float) for n in (4000, 1000))
    return cells.astype(float), probabilities, train, valid


@pytest.mark.parametrize("name", ["OrderlessNADE", "MADE"])
def test_a_fit_to_rows_with_holes_comes_close_to_that_of_whole_rows(truth, name):
    cells, probabilities, train, valid = truth
    options = {
        "learning_rate": 0.05,
        "weight_decay": 0.0,
        "max_epochs": 20,
        "batch_size": 200,
        "random_state": 0,
    }
    kinds = dict.fromkeys(range(3), "binary") | {3: "categorical"}
    if name == "MADE":
        options |= {"learning_rate": 0.02, "max_epochs": 40}
        estimator = OrderlessNADE((128,), network="shared", dropout=0.0, kinds=kinds, **options)
    else:
        estimator = OrderlessNADE((48,), kinds=kinds, **options)

    def gap(X, X_val):
        scores = closed(estimator.fit(X, X_val=X_val)).score_samples(cells, n_orders=12)
        assert np.exp(scores).sum() == pytest.approx(1, abs=1e-5)
        return probabilities @ (np.log(probabilities) - scores)

    rng = np.random.default_rng(6)
    holes, holes_val = (np.where(rng.random(X.shape) < 0.3, np.nan, X) for X in (train, valid))
    margins = np.log([[(train[:, d] == cell[d]).mean() for d in range(4)] for cell in cells]).sum(1)
    independent = probabilities @ (np.log(probabilities) - margins)
    whole, with_holes = gap(train, valid), gap(holes, holes_val)
    assert independent > 0.3
    assert 0 < whole < 0.08
    assert 0 < with_holes < 0.12


# ---------------------------------------------------------------- imputation


def test_imputed_cells_of_one_kind_follow_their_conditional_distribution(mixed):
    X = people(8, seed=9)
    holes = X.assign(colour=X.colour.where(X.index % 2 == 0), height=X.height.where(X.index % 4 != 1))
    alone = holes[holes.colour.isna() ^ holes.height.isna()]
    most = mixed.impute(alone, how="mode")
    expected = mixed.impute(alone, how="mean")
    for row in alone.index:
        column = "colour" if pd.isna(alone.colour[row]) else "height"
        found = mixed.conditional(alone.loc[[row]], column)
        assert most.loc[row, column] == pytest.approx(found.mode()[0], rel=1e-6)
        wanted = found.mode()[0] if column == "colour" else found.mean()[0]
        assert expected.loc[row, column] == pytest.approx(wanted, rel=1e-6)


def test_the_mean_of_an_ordinal_cell_is_a_level(mixed):
    X = people(6, seed=9).assign(count=np.nan)
    filled = mixed.impute(X, how="mean")["count"]
    assert filled.dtype == np.int64
    np.testing.assert_array_equal(filled, np.rint(mixed.conditional(X, "count").mean()))


def test_draws_of_several_missing_cells_are_joint(discrete):
    X = pd.DataFrame({"sex": ["female"] * 3000, "colour": None, "count": np.nan})
    filled = discrete.impute(X, n_orders=1, random_state=0)
    cells = CELLS[CELLS.sex == "female"]
    expected = 3000 * np.exp(discrete.score_samples(cells, given="sex", n_orders=1))
    counts = filled.value_counts().reindex(pd.MultiIndex.from_frame(cells), fill_value=0).to_numpy()
    assert chi_square(counts, expected) > 1e-4
    # Not so the modes, one for each cell alone.
    alone = discrete.impute(X[:1], how="mode", n_orders=1)
    assert alone.colour[0] == discrete.conditional(X[:1], "colour", n_orders=1).mode()[0]


def test_multiple_imputation(mixed):
    holes = holes_in(people(40, seed=10))
    tables = mixed.impute(holes, n_draws=3, random_state=0)
    assert len(tables) == 3
    again = mixed.impute(holes, n_draws=3, random_state=0)
    for table, same in zip(tables, again, strict=True):
        pd.testing.assert_frame_equal(table, same)
    heights = np.array([table.height for table in tables])
    missing = holes.height.isna().to_numpy()
    assert (heights[:, missing].std(0) > 0).all()
    assert (heights[:, ~missing] == holes.height[~missing].to_numpy()).all()
    pd.testing.assert_frame_equal(mixed.impute(holes, random_state=0), tables[0])
    assert not mixed.impute(holes, random_state=1).equals(tables[0])
    assert isinstance(mixed.impute(holes, n_draws=1), list)


@pytest.mark.parametrize("how", ["sample", "mode", "mean"])
def test_known_cells_and_whole_rows_come_back_as_they_are(mixed, how):
    X = people(12, seed=11)
    pd.testing.assert_frame_equal(mixed.impute(X, how=how), X)
    holes = holes_in(X)
    filled = mixed.impute(holes, how=how)
    assert not filled.isna().any(axis=None)
    assert (filled.dtypes == X.dtypes).all()
    assert (holes.isna() | (filled == X)).all(axis=None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"how": "median"}, 'one of "sample", "mode" and "mean", got \'median\''),
        ({"how": "mean", "n_draws": 2}, 'n_draws goes with how="sample"'),
        ({"n_draws": 0}, "whole number from 1 on, got 0"),
        ({"n_draws": 1.5}, "whole number from 1 on, got 1.5"),
        ({"n_orders": 0}, "n_orders must be a whole number of at least 1, got 0"),
    ],
)
def test_ways_to_impute_that_are_none(mixed, arguments, message):
    with pytest.raises(ParameterError, match=message):
        mixed.impute(people(3), **arguments)


def every_kind(n):
    """Return a table of a column of each kind of which codes could tell less than its values."""
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "age": rng.integers(20, 90, n),
            "account": rng.integers(0, 2**40, n),
            "visits": rng.poisson(3, n),
            "height": rng.normal(size=n),
            "word": rng.choice(list("abc"), n),
            "rooms": rng.integers(1, 4, n),
            "price": [f"${value:.2f}" for value in 100 * rng.lognormal(size=n)],
        }
    )


@pytest.fixture(scope="module")
def of_every_kind():
    with pytest.warns(UserWarning, match="'price' is text that spells numbers"):
        return OrderlessNADE(max_epochs=1, kinds={"visits": "count"}, random_state=0).fit(every_kind(300))


STRANGE = {
    "age": [120, -5, 30, None],
    "account": [2**41 + 12345, 77, 123456789, None],
    "visits": [4, 5000, None, 0],
    "height": [None, 1e3, 0.1234567890123, 1.0],
    "word": ["a", "never seen", "b", "new"],
    "rooms": [7, None, 2, 3],
    "price": ["$1,234.50", None, "$7", "$0.10"],
}


@pytest.mark.parametrize("container", [pl.DataFrame, lambda cells: pl.DataFrame(cells).to_pandas()])
@pytest.mark.parametrize("how", ["sample", "mode", "mean"])
def test_what_is_there_comes_back_as_it_is(of_every_kind, container, how):
    with pytest.warns(UserWarning, match=r"'word' \(2\), 'rooms' \(1\); they stay as they are, and nothing"):
        filled = of_every_kind.impute(container(STRANGE), how=how, random_state=0)
    for name, cells in STRANGE.items():
        for there, cell in zip(cells, filled[name].to_list(), strict=True):
            assert cell is not None and (there is None or cell == there), name


def test_nothing_is_concluded_from_a_level_never_seen(of_every_kind):
    rows = every_kind(6).with_columns(age=None)
    unseen = rows.with_columns(word=pl.lit("never seen"))
    with pytest.warns(UserWarning, match="never|lack"):
        filled, spread = of_every_kind.impute(unseen, how="mean", return_spread=True)
    without = of_every_kind.impute(rows.with_columns(word=None), how="mean")
    assert filled["age"].to_list() == without["age"].to_list()
    assert np.isnan(spread[:, 1:]).all() and (spread[:, 0] >= 0).all()


def test_numbers_that_are_given_come_back_as_they_are(of_every_kind):
    drawn = of_every_kind.sample(3, given={"account": 123456789, "price": "$5.25"}, random_state=0)
    assert drawn["account"].to_list() == [123456789] * 3
    assert drawn["price"].to_list() == ["$5.25"] * 3


@pytest.mark.parametrize("how", ["sample", "mean"])
def test_imputed_rows_keep_their_index(mixed, how):
    holes = holes_in(people(12, seed=11)).set_index(pd.Index(list("lkjihgfedcba"), name="who"))
    filled = mixed.impute(holes, how=how, random_state=0)
    pd.testing.assert_index_equal(filled.index, holes.index)
    (again,) = mixed.impute(holes, n_draws=1, random_state=0)
    pd.testing.assert_index_equal(again.index, holes.index)
    assert isinstance(mixed.impute(pl.from_pandas(holes), random_state=0), pd.DataFrame)


def test_truth_values_pass_for_0_and_1():
    rows = pl.DataFrame({"bit": [0, 1] * 20, "x": np.arange(40.0)})
    model = OrderlessNADE(max_epochs=1, random_state=0).fit(rows)
    filled = model.impute(pl.DataFrame({"bit": [True, False], "x": [None, 1.0]}), random_state=0)
    assert filled["bit"].to_list() == [1, 0]


def test_whole_numbers_cannot_hold_a_level_that_is_none():
    X = np.random.default_rng(0).integers(0, 3, (60, 2))
    model = OrderlessNADE(max_epochs=1, kinds="categorical", random_state=0).fit(X)
    with pytest.raises(DataError, match="'x1' holds whole numbers only where the model was fitted, int64"):
        with pytest.warns(UserWarning, match="never|lack"):
            model.impute([[0.5, np.nan]])


# ---------------------------------------------------------------- containers


@each
def test_polars_tables_come_back_as_they_were(estimator):
    X = pl.from_pandas(people()).with_columns(
        pl.col("count").cast(pl.Int16), pl.col("height").cast(pl.Float32)
    )
    model = estimator.fit(X.with_columns(pl.when(pl.col("count") > 0).then("height").alias("height")))
    holes = X[:6].with_columns(pl.lit(None, pl.Int16).alias("count"))
    for filled in (model.impute(holes, how="mode"), model.sample(given=holes), model.impute(holes)):
        assert filled.schema == X.schema
        assert filled.drop("count").equals(X[:6].drop("count"))
        assert filled["count"].null_count() == 0
    assert model.sample(3, given={"count": 2})["count"].to_list() == [2, 2, 2]
    assert model.conditional(holes, "count").levels == (0, 1, 2, 3)


@each
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_of_floats_come_back_as_they_were(estimator, dtype):
    X = people()[["height", "count"]].to_numpy(dtype)
    X[::3, 0] = np.nan
    model = estimator.fit(X)
    holes = X[:9].copy()
    holes[1::2, 1] = np.nan
    for filled in (model.impute(holes), model.impute(holes, how="mean"), model.sample(given=holes)):
        assert filled.dtype == dtype
        assert not np.isnan(filled).any()
        known = ~np.isnan(holes)
        np.testing.assert_array_equal(filled[known], holes[known])
    assert model.sample(2, given={"x2": 3}, random_state=0)[:, 1].tolist() == [3, 3]
    assert model.sample(2, given={0: 171.3}, random_state=0)[0, 0] == X.dtype.type(171.3)


@each
def test_holes_in_a_table_that_was_trained_on_whole_integers(estimator):
    X = np.random.default_rng(0).integers(0, 3, (100, 3)).astype(np.uint8)
    model = estimator.fit(X)
    filled = model.impute([[0, np.nan, 2], [1, 1, None]], random_state=0)
    assert filled.dtype == np.uint8
    assert filled[0, [0, 2]].tolist() == [0, 2]
    assert filled[1, :2].tolist() == [1, 1]


@each
def test_levels_of_single_precision_are_found_by_their_python_numbers(estimator):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.choice([0.1, 0.2, 0.7], 100), rng.normal(size=100)]).astype(np.float32)
    model = clone(estimator).set_params(kinds={0: "categorical"}).fit(X)
    assert (model.sample(3, given={0: 0.1})[:, 0] == np.float32(0.1)).all()
    found = model.conditional({1: 0.5}, 0)
    assert found.log_prob(0.7) == found.log_prob(np.float32(0.7))
    np.testing.assert_allclose(found.log_prob(0.7), np.log(found.probabilities[:, 2]), rtol=1e-6)


@each
def test_levels_of_several_types_keep_them(estimator):
    X = np.array([[1, "a"], ["one", "b"]] * 30, dtype=object)
    model = clone(estimator).set_params(kinds={0: "categorical"}).fit(X)
    modes = model.conditional([[None, "a"], [None, "b"]], 0).mode().tolist()
    assert set(modes) <= {1, "one"}
    assert model.sample(1, given={0: 1})[0, 0] == 1


@each
def test_a_constant_column_is_filled_with_its_value(estimator):
    X = people()[["sex", "height"]].assign(count=5, group="a")
    model = closed(estimator.fit(X))
    holes = X[:4].assign(count=np.nan, group=None, height=[np.nan, 1, 2, 3])
    for how in ("sample", "mode", "mean"):
        filled = model.impute(holes, how=how)
        assert (filled["count"] == 5).all()
        assert (filled.group == "a").all()
    np.testing.assert_allclose(model.score_samples(X[:3], of=["count", "group"]), 0, atol=1e-6)
    assert (model.conditional(holes, "count").probabilities == 1).all()
    # Declared ordinal, it is a range of one level.
    model = clone(estimator).set_params(kinds={"count": "ordinal"}).fit(X)
    assert (model.conditional(holes, "count").probabilities == 1).all()
    assert (model.conditional(holes, "count").quantile(0.5) == 5).all()
    assert (model.impute(holes, how="mean")["count"] == 5).all()


@each
@pytest.mark.parametrize("column", ["height", "sex", "count"])
def test_a_table_of_one_column(estimator, column):
    X = people()[[column]]
    model = closed(estimator.fit(X))
    value = X[column][0]
    assert model.sample(2, given={column: value})[column].tolist() == [value] * 2
    filled = model.impute(X[:2].assign(**{column: None}), random_state=0)
    assert not filled.isna().any(axis=None)
    np.testing.assert_allclose(
        model.conditional({}, column).log_prob(value), model.score_samples(X[:1]), rtol=1e-5
    )
    with pytest.raises(DataError, match="nothing is asked for"):
        model.score_samples(X, given=column)


# ---------------------------------------------------------------- context


@pytest.fixture(
    scope="module", params=any_order(max_epochs=40, learning_rate=0.1), ids=["OrderlessNADE", "MADE"]
)
def placed(request):
    """A model of two bits that equal the context, most of the time."""
    rng = np.random.default_rng(0)
    context = rng.integers(0, 2, 600)
    X = np.where(rng.random((600, 2)) < 0.05, 1 - context[:, None], context[:, None])
    return request.param.fit(X, context=context)


def test_every_question_sees_the_context(placed):
    X = np.array([[1, 1], [1, 1]])
    scores = placed.score_samples(X, context=[0, 1], of=0)
    assert scores[1] - scores[0] > 1
    p = placed.conditional(X, 0, context=[0, 1]).probabilities[:, 1]
    np.testing.assert_allclose(np.log(p), placed.score_samples(X, context=[0, 1], given=1), rtol=1e-4)
    holes = np.array([[np.nan, np.nan]] * 2)
    assert placed.impute(holes, how="mode", context=[0, 1]).tolist() == [[0, 0], [1, 1]]
    # One context for all samples; one for each sample; one for each row that is completed.
    assert placed.sample(200, given={0: 1}, context=[1], random_state=0)[:, 1].mean() > 0.8
    each = placed.sample(200, given={}, context=[0, 1] * 100, random_state=0)
    blocks = placed.sample(100, given=holes, context=[0, 1], random_state=0)
    assert each[::2].mean() < 0.2 < 0.8 < each[1::2].mean()
    assert blocks[:100].mean() < 0.2 < 0.8 < blocks[100:].mean()


def test_a_context_of_the_wrong_length_or_none(placed):
    with pytest.raises(DataError, match="expects a context"):
        placed.score_samples([[0, 1]], of=0)
    with pytest.raises(DataError, match="context has 3 rows, expected 5"):
        placed.sample(5, given={0: 1}, context=[0, 1, 1])
    with pytest.raises(DataError, match="context has 3 rows, expected 2"):
        placed.sample(5, given=[[0, np.nan]] * 2, context=[0, 1, 1])
    with pytest.raises(DataError, match="context has 2 rows, expected 1"):
        placed.conditional({0: 1}, 1, context=[0, 1])


# ---------------------------------------------------------------- storage


def test_a_model_gives_the_same_answers_after_it_was_saved(mixed, tmp_path):
    mixed.save(tmp_path / "model")
    again = load(tmp_path / "model")
    X = holes_in(people(10, seed=12))
    for ask in (
        lambda model: model.score_samples(X, given="sex", n_orders=3, return_spread=True),
        lambda model: model.conditional(X, "height", n_orders=2).quantile(0.3),
        lambda model: model.sample(2, given=X, n_orders=2, random_state=0).to_numpy().tolist(),
        lambda model: model.impute(X, how="mean").to_numpy().tolist(),
    ):
        np.testing.assert_array_equal(ask(mixed), ask(again))


# ---------------------------------------------------------------- models of fixed order


FIXED_ORDER = ["colour", "sex", "height", "count"]
FIXED = [
    NADE(8, ordering=[2, 0, 1, 3], kinds=COUNTED, **QUICK),
    MADE((8,), ordering=np.array([2, 0, 1, 3]), dropout=0.0, kinds=COUNTED, **QUICK),
]


@pytest.fixture(scope="module", params=FIXED, ids=["NADE", "MADE"])
def fixed(request):
    return closed(request.param.fit(people()))


def test_a_fixed_order_answers_about_its_leading_columns(fixed):
    """What leads the order is given, what follows it is asked for: by brute force over the joint."""
    X = people(8, seed=13)
    grid = np.linspace(80, 260, 1501)
    for row in range(2):
        cells = [
            X.loc[[row] * len(grid)].assign(sex=sex, count=count, height=grid)
            for sex, count in itertools.product(["female", "male"], range(4))
        ]
        joint = np.exp(fixed.score_samples(pd.concat(cells))).reshape(2, 4, len(grid))
        total = np.trapezoid(joint.sum(1), grid)
        of_colour = fixed.score_samples(X.loc[[row]], of="colour")
        assert np.exp(of_colour)[0] == pytest.approx(total.sum(), rel=1e-3)
        sex = fixed.score_samples(X.loc[[row]], given="colour", of="sex")
        own = ["female", "male"].index(X.sex[row])
        assert np.exp(sex)[0] == pytest.approx(total[own] / total.sum(), rel=1e-3)
        both = fixed.score_samples(X.loc[[row]], given=["colour", "sex"])
        joint_score = fixed.score_samples(X.loc[[row]])
        assert both[0] == pytest.approx((joint_score - of_colour - sex)[0], rel=1e-4)


def test_a_fixed_order_completes_what_follows_its_leading_columns(fixed):
    samples = fixed.sample(2000, given={"colour": "red", "sex": "male"}, random_state=0)
    assert (samples.colour == "red").all()
    found = fixed.conditional({"colour": "red", "sex": "male"}, "height")
    assert stats.kstest(samples.height, cdf_of(found)).pvalue > 1e-4
    X = people(5, seed=14)
    holes = X.assign(count=np.nan, height=[np.nan, *X.height[1:]])
    filled = fixed.impute(holes, random_state=0)
    assert (filled[["colour", "sex"]] == X[["colour", "sex"]]).all(axis=None)
    assert (filled.height[1:] == X.height[1:]).all()
    expected = np.rint(fixed.conditional(X.assign(count=np.nan), "count").mean())
    np.testing.assert_array_equal(fixed.impute(X.assign(count=np.nan), how="mean")["count"], expected)


ADVICE = "OrderlessNADE answers any question"


@pytest.mark.parametrize(
    ("ask", "columns"),
    [
        (lambda model, X: model.score_samples(X, of="sex"), ("colour", "sex")),
        (lambda model, X: model.score_samples(X, given="height"), ("colour", "height")),
        (lambda model, X: model.score_samples(X, given=["colour"], of="count"), ("sex", "count")),
        (lambda model, X: model.sample(3, given={"count": 1}), ("colour", "count")),
        (lambda model, X: model.sample(given=X.assign(sex=None)), ("sex", "height")),
        (lambda model, X: model.impute(X.assign(colour=None)), ("colour", "sex")),
        (lambda model, X: model.impute(X.assign(sex=None), how="mode"), ("sex", "height")),
        (
            lambda model, X: model.impute(X.assign(count=np.nan, height=np.nan), how="mean"),
            ("height", "count"),
        ),
        (lambda model, X: model.conditional(X, "height"), ("height", "count")),
        (lambda model, X: model.conditional({}, "sex"), ("colour", "sex")),
    ],
)
def test_a_fixed_order_refuses_the_rest_and_names_the_columns(fixed, ask, columns):
    first, late = columns
    with pytest.raises(QueryError, match=f"'{first}' comes before '{late}'.*{ADVICE}"):
        ask(fixed, people(5))


def test_a_fixed_order_has_no_other_orders_to_average(fixed):
    for ask in (fixed.score_samples, fixed.impute):
        with pytest.raises(QueryError, match=f"n_orders is for models of any order.*{ADVICE}"):
            ask(people(5), n_orders=4)


def test_a_fixed_order_refuses_rows_with_holes_and_says_what_takes_them(fixed):
    with pytest.raises(DataError, match=r"missing value.*OrderlessNADE"):
        fixed.score_samples(people(5).assign(height=np.nan))


def test_members_of_several_fixed_orders_all_have_to_know():
    model = MADE((8,), ordering=[0, 1, 2, 3], n_orderings=3, **QUICK).fit(people())
    with pytest.raises(QueryError, match="comes before"):
        model.score_samples(people(3), of="sex")
    scores, spread = model.score_samples(people(3), return_spread=True)
    np.testing.assert_allclose(scores, model.score_samples(people(3)), rtol=1e-6)
    assert (spread > 0).all()


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("question", "error", "message"),
    [
        ({"of": "hight"}, DataError, "no column 'hight'; did you mean 'height'"),
        ({"given": ["sex", 7]}, DataError, "no column 7"),
        ({"given": [0, "sex"]}, DataError, "'sex' is given more than once"),
        ({"of": ["sex", "sex"]}, DataError, "'sex' is given more than once"),
        ({"given": ["sex", "count"], "of": ["sex"]}, DataError, "both given and asked for: 'sex'"),
        ({"given": ["sex", "height", "colour", "count"]}, DataError, "nothing is asked for"),
        ({"of": []}, DataError, "nothing is asked for"),
        ({"n_orders": 0}, ParameterError, "at least 1, got 0"),
        ({"n_orders": 2.5}, ParameterError, "at least 1, got 2.5"),
        ({"n_orders": "many"}, ParameterError, "at least 1, got 'many'"),
        ({"return_spread": True}, ParameterError, "spread over orders needs n_orders of at least 2"),
        ({"return_spread": True, "n_orders": 1}, ParameterError, "needs n_orders of at least 2"),
    ],
)
def test_questions_that_cannot_be_asked(mixed, question, error, message):
    with pytest.raises(error, match=message):
        mixed.score_samples(people(3), **question)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"gender": "male"}, "no column 'gender'"),
        ({"sex": "mail"}, "'sex' has no level 'mail'; .*did you mean 'male'"),
        ({"count": 9}, "'count' cannot be 9: its values range from 0 to 3"),
        ({"count": 1.5}, "'count' is ordinal and takes integers"),
        ({"height": math.inf}, "'height' is continuous and takes finite numbers"),
        ({"sex": None}, "'sex' is given without a value"),
        (people(3).rename(columns={"sex": "gender"}), "lacks the column.s. 'sex' and has 'gender' instead"),
        (people(3)[["sex"]], "it lacks 'height', 'colour', 'count'"),
        (people(3).assign(sex="mail"), "'sex' holds 'mail' in row 1: an unseen level"),
        (["sex"], "as a mapping from columns to values, or as rows with missing values, not as .'sex'."),
    ],
)
def test_what_cannot_be_given(mixed, given, message):
    with pytest.raises(DataError, match=message):
        mixed.sample(2, given=given)
    with pytest.raises(DataError, match=message):
        mixed.conditional(given, "count")


def test_a_name_alone_gives_nothing(mixed):
    with pytest.raises(DataError, match="'sex' has no level True"):  # as text, it is a condition
        mixed.sample(2, given="sex")
    with pytest.raises(DataError, match="as a mapping from columns to values, .* not as 'sex'"):
        mixed.conditional("sex", "count")


@pytest.mark.parametrize("n_samples", [0, -1, 1.5, "two"])
def test_numbers_of_samples_that_are_none(mixed, n_samples):
    with pytest.raises(ParameterError, match="n_samples must be a whole number of at least 1"):
        mixed.sample(n_samples, given={"sex": "male"})


def test_everything_given_comes_back(mixed):
    X = people(4)
    pd.testing.assert_frame_equal(mixed.sample(given=X), X)
    row = X.loc[0].to_dict()
    pd.testing.assert_frame_equal(mixed.sample(2, given=row), X.loc[[0, 0]].reset_index(drop=True))


@pytest.mark.parametrize("column", [["sex", "count"], "hight", 4, None])
def test_columns_that_have_no_distribution(mixed, column):
    with pytest.raises(DataError, match="there is no column"):
        mixed.conditional(people(2), column)


@pytest.mark.parametrize("model", [NADE, MADE])
def test_no_order_of_a_chain_is_any(model):
    with pytest.raises(ParameterError, match="'ordering' parameter of .*MADE|NADE must be"):
        model(8 if model is NADE else (8,), ordering="any", **QUICK).fit(people(20))


# ---------------------------------------------------------------- numerical failure


@each
def test_numbers_out_of_range_are_no_missing_values(estimator):
    model = estimator.fit(people())
    with torch.no_grad():
        for name, weight in model.model_.conditioner.named_parameters():
            if name.startswith("output"):
                weight.fill_(torch.nan)
    holes = people(3).assign(height=np.nan)
    for ask in (
        lambda: model.sample(3, random_state=0),
        lambda: model.sample(3, given={"sex": "male"}, random_state=0),
        lambda: model.impute(holes),
        lambda: model.impute(holes, how="mean"),
    ):
        with pytest.raises(FloatingPointError, match="nan of column 'height'"):
            ask()


# ---------------------------------------------------------------- batches


def test_rows_are_answered_in_batches_that_fit_into_memory(mixed, monkeypatch):
    holes = holes_in(people(30, seed=18))

    def ask():
        found = mixed.conditional(holes, "count", n_orders=3)
        return mixed.score_samples(holes, given="sex", n_orders=3), found.probabilities

    whole = ask()
    monkeypatch.setattr("chainrule.estimators.query_engines.evaluation_batch", lambda model: 7)
    for together, in_parts in zip(whole, ask(), strict=True):
        np.testing.assert_allclose(in_parts, together, rtol=1e-5, atol=1e-7)
    filled = mixed.impute(holes, n_orders=3, random_state=0)
    assert (holes.isna() | (filled == holes)).all(axis=None)


# ---------------------------------------------------------------- ensembles


@pytest.fixture(scope="module", params=any_order(), ids=["OrderlessNADE", "MADE"])
def ensemble(request):
    return closed(Ensemble(request.param, 2, random_state=0, validation_fraction=0).fit(people()))


@pytest.mark.parametrize("n_orders", [None, 2])
def test_an_ensemble_answers_with_the_mean_of_its_members(ensemble, n_orders):
    X = people(10, seed=15)
    question = {"given": "sex", "of": ["colour", "height"], "n_orders": n_orders}
    alone = [member.score_samples(X, **question) for member in ensemble.members_]
    scores, spread = ensemble.score_samples(X, **question, return_spread=True)
    np.testing.assert_allclose(scores, logsumexp(alone, axis=0) - np.log(2), rtol=1e-9)
    assert (spread > 0).all()
    found = ensemble.conditional(X, "colour", n_orders=n_orders)
    each = [member.conditional(X, "colour", n_orders=n_orders) for member in ensemble.members_]
    np.testing.assert_allclose(
        found.probabilities, np.mean([one.probabilities for one in each], 0), rtol=1e-9
    )


def test_an_ensemble_draws_by_one_of_its_members(ensemble):
    known = people(1, seed=16).drop(columns="colour").iloc[0].to_dict()
    drawn = ensemble.sample(4000, given=known, random_state=0).colour
    found = ensemble.conditional(known, "colour")
    counts = drawn.value_counts().reindex(list(found.levels), fill_value=0).to_numpy()
    assert chi_square(counts, 4000 * found.probabilities[0]) > 1e-4
    holes = holes_in(people(10, seed=16))
    filled = ensemble.impute(holes, random_state=0)
    assert (holes.isna() | (filled == holes)).all(axis=None)
    pd.testing.assert_frame_equal(ensemble.impute(holes, random_state=0), filled)


def test_an_ensemble_refuses_what_its_members_cannot_answer():
    X = people()[["height"]].assign(width=people(seed=1).height)
    model = Ensemble(GMM(1), 2, random_state=0).fit(X)
    for ask in (
        lambda: model.score_samples(X, of="width"),
        lambda: model.sample(2, given={"height": 170}),
        lambda: model.impute(X),
        lambda: model.conditional(X, "width"),
    ):
        with pytest.raises(QueryError, match=f"members of class GMM answer no questions.*{ADVICE}"):
            ask()
    assert len(model.sample(2)) == 2
    fixed = Ensemble(NADE(4, ordering=[1, 0], **QUICK), 2, random_state=0).fit(X)
    assert np.isfinite(fixed.score_samples(X, given="width")).all()
    with pytest.raises(QueryError, match="'width' comes before 'height'"):
        fixed.score_samples(X, given="height")


# ---------------------------------------------------------------- latent codes


def test_latent_codes_of_what_is_there(mixed):
    X = people(6, seed=17)
    holes = X.assign(height=np.nan)
    codes = mixed.embed(holes)
    assert np.isfinite(codes).all()
    assert (codes != mixed.embed(X)).any()
    # The output layer makes of them the conditional distribution of what is missing.
    network = mixed.model_.conditioner
    columns = slice(network.starts[1], network.starts[2])
    if isinstance(network, ColumnNetworks):
        own = torch.from_numpy(codes).unflatten(1, (network.n_variables, -1))[:, 1]
        outputs = (own @ network.output[columns].T + network.output_bias[columns]).detach()
    else:
        outputs = network.output(torch.from_numpy(codes)).detach()[:, columns]
    family = mixed.model_.conditionals.of_variable(1)
    means = family.mean(outputs[:, None]).squeeze(1).double().numpy()
    variable = mixed.schema_.variables[1]
    expected = mixed.conditional(holes, "height").mean()
    np.testing.assert_allclose(means * variable.scale + variable.location, expected, rtol=1e-6)


# ---------------------------------------------------------------- all missing cells at once


@pytest.mark.parametrize("network", ["orderless", "made"])
def test_distributions_of_all_holes_are_those_asked_for_one_by_one(network):
    draw = np.random.default_rng(5)
    X = np.column_stack([draw.integers(0, 2, 80), draw.normal(size=80), draw.normal(size=80)])
    kinds = {0: "binary"}
    if network == "orderless":
        model = OrderlessNADE((8,), max_epochs=2, kinds=kinds, random_state=0).fit(X)
    else:
        model = OrderlessNADE(
            (8,), network="shared", n_orderings=3, max_epochs=2, kinds=kinds, random_state=0
        ).fit(X)
    holes = np.where(draw.random((9, 3)) < 0.5, np.nan, X[:9])
    seen = 0
    for column, rows, distribution in model.conditionals(holes):
        alone = model.conditional(holes[rows], column)
        assert np.isnan(holes[rows, column]).all()
        np.testing.assert_allclose(distribution.log_prob(1.0), alone.log_prob(1.0), rtol=1e-6)
        seen += len(rows)
    assert seen == np.isnan(holes).sum()
