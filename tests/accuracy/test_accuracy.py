"""Fitted models are accurate: their answers are near those of distributions that are known exactly."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats
from truths import (
    DiscreteTruth,
    GaussianTruth,
    MixedTruth,
    Truth,
    calibration_error,
    density_error,
    entropy_gap,
    exclusive_ors,
    gaussian,
    largest_error,
    mixed,
    parity,
    random_network,
    rare_levels,
    rare_rows,
)

from chainrule import MADE, NADE, Ensemble, Independent, OrderlessNADE
from chainrule.schema import Schema

TRUTHS: dict[str, Truth] = {
    "exclusive-ors": exclusive_ors(),
    "parity": parity(),
    "network of 5": random_network(5, seed=0),
    "network of 6": random_network(6, seed=1),
    "network of 7": random_network(7, seed=2),
    "rare levels": rare_levels(),
    "gaussian": gaussian(),
    "mixed": mixed(),
}
DISCRETE = [name for name, truth in TRUTHS.items() if isinstance(truth, DiscreteTruth)]


class Tolerances(NamedTuple):
    """What a model fitted to so many rows may be off by at most; None where there is no such question."""

    n_rows: int
    gap: float  # nats per row
    error: float | None = None  # of a probability
    density: float | None = None  # nats
    calibration: float | None = None  # of a probability
    rare: float | None = None  # of the probability of what a rare level decides


# Where rows are few for the table, random rows ask about evidence that was seen a few times only. The largest
# error is then luck rather than a fault, and may be as large as that of a table of counts of the same rows.
TOLERANCES = {
    "exclusive-ors": Tolerances(20_000, gap=0.005, error=0.02, calibration=0.01),
    "parity": Tolerances(5_000, gap=0.01, error=0.1, calibration=0.02),
    "network of 5": Tolerances(5_000, gap=0.03, error=0.2, calibration=0.03),
    "network of 6": Tolerances(5_000, gap=0.08, error=0.3, calibration=0.03),
    "network of 7": Tolerances(5_000, gap=0.1, error=0.3, calibration=0.03),
    "rare levels": Tolerances(5_000, gap=0.02, error=0.3, calibration=0.02, rare=0.25),
    "gaussian": Tolerances(5_000, gap=0.08, density=0.3),
    "mixed": Tolerances(5_000, gap=0.02, error=0.3, density=0.1, calibration=0.02),
}

each_truth = pytest.mark.parametrize("name", TRUTHS)
each_discrete = pytest.mark.parametrize("name", DISCRETE)


class Known:
    """A truth, or a wrong one, in the place of a fitted model; `excess` nats too sure of every answer."""

    def __init__(self, truth: Truth, excess: float = 0.0) -> None:
        self.truth, self.excess = truth, excess

    def score_samples(self, X, *, of=None, given=(), n_orders=None):
        return self.truth.log_prob(X, of, given) + self.excess


# ---------------------------------------------------------------- fitted models


def any_order_models(kinds):
    one = OrderlessNADE(random_state=0, kinds=kinds)
    return {"OrderlessNADE": one, "Ensemble": Ensemble(one, n_members=2, random_state=0)}


def fixed_order_models(kinds):
    return {"NADE": NADE(random_state=0, kinds=kinds), "MADE": MADE(random_state=0, kinds=kinds)}


@each_truth
@pytest.mark.parametrize("model", any_order_models(None))
def test_a_model_of_any_order_with_default_settings_is_near_the_truth(name, model):
    truth, bounds = TRUTHS[name], TOLERANCES[name]
    rng = np.random.default_rng(1)
    rows = truth.draw(bounds.n_rows, rng)
    fitted = any_order_models(truth.kinds)[model].fit(rows)
    if isinstance(truth, DiscreteTruth):
        by_counts = largest_error(counts(truth, rows), truth, np.random.default_rng(2), 60)
        bounds = bounds._replace(error=max(bounds.error, _COUNTS * by_counts))
    found = measured(fitted, truth, bounds, np.random.default_rng(2))
    assert found["gap"] > -0.005, f"better than the truth, so not normalised: {found}"
    too_far = {key: value for key, value in found.items() if value > getattr(bounds, key)}
    assert not too_far, f"{found} against {bounds}"


# A smooth model pools rare evidence with what is like it, which a table of counts does not: it may be further
# off at the one question where they differ most.
_COUNTS = 2.0


def counts(truth, rows):
    """Return the table of counts of rows, half a row added to every cell, in the place of a fitted model."""
    cells = np.full(truth.joint.shape, 0.5)
    np.add.at(cells, tuple(truth.codes(rows, name) for name in truth.columns), 1)
    return Known(DiscreteTruth(truth.levels, cells / cells.sum(), truth.kinds))


def test_a_table_of_counts_of_many_rows_is_the_truth():
    truth = TRUTHS["exclusive-ors"]
    rng = np.random.default_rng(0)
    assert largest_error(counts(truth, truth.draw(3_000_000, rng)), truth, rng, 60) < 0.01


def measured(model, truth, bounds, rng, n_questions=60):
    """Return what there is a bound for."""
    X_test = truth.draw(10_000, rng)
    found = {"gap": entropy_gap(model, truth, X_test)}
    if bounds.error is not None:
        found["error"] = largest_error(model, truth, rng, n_questions)
    if bounds.density is not None:
        found["density"] = density_error(model, truth, rng, n_questions)
    if bounds.calibration is not None:
        found["calibration"] = calibration_error(model, truth, X_test)
    if bounds.rare is not None:
        found["rare"] = error_of_the_alarm(model, truth)
    return found


def error_of_the_alarm(model, truth):
    """Return the largest error of p(alarm) given a rare fault, alone and with all other columns."""
    rows = rare_rows(truth, "fault", below=0.02)
    return max(
        np.abs(np.exp(model.score_samples(rows, of=["alarm"], given=given)) - 1).max()
        for given in (["fault"], ["season", "fault", "shift"])
    )


@each_truth
@pytest.mark.parametrize("model", fixed_order_models(None))
def test_a_model_of_fixed_order_with_default_settings_is_near_the_truth(name, model):
    truth, bounds = TRUTHS[name], TOLERANCES[name]
    rng = np.random.default_rng(1)
    fitted = fixed_order_models(truth.kinds)[model].fit(truth.draw(bounds.n_rows, rng))
    assert -0.005 < entropy_gap(fitted, truth, truth.draw(10_000, rng)) < bounds.gap


@pytest.mark.parametrize("name", ["exclusive-ors", "rare levels", "gaussian", "mixed"])
def test_a_hasty_fit_can_be_measured_and_beats_independent_columns(name):
    truth, bounds = TRUTHS[name], TOLERANCES[name]
    rng = np.random.default_rng(1)
    X = truth.draw(3_000, rng)
    hasty = OrderlessNADE((64,), max_epochs=5, random_state=0, kinds=truth.kinds).fit(X)
    independent = Independent(kinds=truth.kinds).fit(X)
    found = measured(hasty, truth, bounds, rng, n_questions=5)
    assert all(np.isfinite(value) for value in found.values())
    assert found["gap"] < entropy_gap(independent, truth, truth.draw(10_000, rng))


def test_every_truth_has_its_bounds():
    assert set(TOLERANCES) == set(TRUTHS)
    for name, truth in TRUTHS.items():
        bounds = TOLERANCES[name]
        assert (bounds.error is not None) == bool(truth.levels)
        assert (bounds.density is not None) == bool(truth.continuous)
        assert (bounds.calibration is not None) == bool(truth.binary)


# ---------------------------------------------------------------- what is measured


@each_truth
def test_the_truth_itself_is_off_by_nothing(name):
    truth, bounds = TRUTHS[name], TOLERANCES[name]
    found = measured(Known(truth), truth, bounds, np.random.default_rng(0))
    assert found == pytest.approx(dict.fromkeys(found, 0), abs=1e-12)


def all_questions(columns):
    """Yield all pairs of S and T."""
    for roles in itertools.product(range(3), repeat=len(columns)):
        of, given = (
            [c for c, role in zip(columns, roles, strict=True) if role == wanted] for wanted in (0, 1)
        )
        if of:
            yield of, given


@pytest.mark.parametrize("make", [exclusive_ors, parity])
def test_enough_random_questions_find_the_largest_error(make):
    truth, wrong = make(0.1), make(0.2)
    rows = truth.cells(truth.columns)
    largest = max(
        np.abs(np.exp(truth.log_prob(rows, *question)) - np.exp(wrong.log_prob(rows, *question))).max()
        for question in all_questions(truth.columns)
    )
    found = largest_error(Known(wrong), truth, np.random.default_rng(0), 1000, n_rows=50)
    assert found == pytest.approx(largest, abs=1e-12)
    assert largest >= 0.1 - 1e-12


def test_the_entropy_gap_is_the_divergence():
    truth, wrong = exclusive_ors(0.1), exclusive_ors(0.2)
    exact = 2 * (0.1 * np.log(0.1 / 0.2) + 0.9 * np.log(0.9 / 0.8))
    gap = entropy_gap(Known(wrong), truth, truth.draw(100_000, np.random.default_rng(0)))
    # The difference of a row is one of three numbers, whose standard deviation is about 0.3.
    assert gap == pytest.approx(exact, abs=5 * 0.35 / 100_000**0.5)


def test_the_calibration_error_is_how_much_too_unsure_a_model_is():
    truth, wrong = exclusive_ors(0.1), exclusive_ors(0.2)
    rows = truth.draw(1000, np.random.default_rng(0))
    # Given the others, a and d are off by 0.1 in every row, and the other two by no more.
    assert calibration_error(Known(wrong), truth, rows) == pytest.approx(0.1, abs=1e-12)


@pytest.mark.parametrize("name", ["gaussian", "mixed"])
def test_answers_that_are_too_sure_are_off_by_as_many_nats(name):
    truth, rng = TRUTHS[name], np.random.default_rng(0)
    assert density_error(Known(truth, 0.3), truth, rng, 10) == pytest.approx(0.3)
    assert entropy_gap(Known(truth, 0.3), truth, truth.draw(100, rng)) == pytest.approx(-0.3)


def test_rare_rows_are_the_possible_ones_with_a_rare_level():
    rows = rare_rows(TRUTHS["rare levels"], "fault", below=0.02)
    assert set(rows["fault"]) == {"leak", "fire"} and set(rows["alarm"]) == {"yes"}
    assert len(rows) == 2 * 4 * 3
    assert set(rare_rows(TRUTHS["rare levels"], "fault", below=0.005)["fault"]) == {"fire"}


# ---------------------------------------------------------------- the truths: draws


def n_sigmas(share, probability, n):
    """Return by how many standard errors shares of n draws differ from their probabilities."""
    # One draw more than expected says nothing, however improbable its level.
    error = np.sqrt(probability * (1 - probability) / n) + 1 / n
    return (np.abs(share - probability) / error).max()


@each_truth
def test_draws_have_the_columns_and_kinds_that_the_truth_says(name):
    truth = TRUTHS[name]
    drawn = truth.draw(2000, np.random.default_rng(0))
    assert tuple(drawn.columns) == truth.columns and len(drawn) == 2000
    variables = Schema.infer(drawn, truth.kinds).variables
    for variable in variables:
        assert (variable.kind == "continuous") == (variable.name in truth.continuous)
        assert (variable.kind == "binary") == (variable.name in truth.binary)
        assert (variable.kind == "ordinal") == (variable.name in truth.kinds)
        if variable.name in truth.levels:
            assert set(variable.levels) == set(truth.levels[variable.name])


@each_truth
def test_draws_repeat_with_the_seed(name):
    first, again, other = (TRUTHS[name].draw(50, np.random.default_rng(seed)) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)


@each_truth
def test_draws_have_the_probabilities_of_pairs_of_discrete_columns(name):
    truth, n = TRUTHS[name], 100_000
    drawn = truth.draw(n, np.random.default_rng(0))
    names = list(truth.levels)
    for columns in [*itertools.combinations(names, 1), *itertools.combinations(names, 2)]:
        cells = truth.cells(columns)
        keys = list(cells.itertuples(index=False, name=None))
        counts = drawn.groupby(list(columns), observed=True).size()
        counts.index = [key if isinstance(key, tuple) else (key,) for key in counts.index]
        share = counts.reindex(keys, fill_value=0).to_numpy() / n
        assert n_sigmas(share, np.exp(truth.log_prob(cells, columns)), n) < 5


@each_discrete
def test_draws_have_the_probabilities_of_whole_rows(name):
    truth, n = TRUTHS[name], 100_000
    drawn = truth.draw(n, np.random.default_rng(0))
    position = np.ravel_multi_index([truth.codes(drawn, c) for c in truth.columns], truth.joint.shape)
    share = np.bincount(position, minlength=truth.joint.size) / n
    assert n_sigmas(share, truth.joint.ravel(), n) < 6


CONTINUOUS_QUESTIONS = [
    (name, column, given)
    for name in ("gaussian", "mixed")
    for column in TRUTHS[name].continuous
    for others in [[c for c in TRUTHS[name].columns if c != column]]
    for given in ([], others[:1], others[1:], others)
]


def on_grid(truth, rows, column, given, n_points=801):
    """Return points (m,), and the density of a continuous column there given others of each row, (n, m)."""
    draws = truth.draw(20_000, np.random.default_rng(5))[column]
    # Steps that are even in the scale where the column is normal.
    low, high = draws.min() - 1.5 * np.ptp(draws), draws.max() + 1.5 * np.ptp(draws)
    points = np.linspace(low, high, n_points)
    if column in getattr(truth, "exponentiated", ()):
        logs = np.log(draws)
        points = np.exp(np.linspace(logs.min() - np.ptp(logs), logs.max() + np.ptp(logs), n_points))
    repeated = rows[list(truth.columns)].loc[rows.index.repeat(n_points)].reset_index(drop=True)
    repeated[column] = np.tile(points, len(rows))
    return points, np.exp(truth.log_prob(repeated, [column], given)).reshape(len(rows), n_points)


@pytest.mark.parametrize(("name", "column", "given"), CONTINUOUS_QUESTIONS)
def test_densities_integrate_to_one_and_draws_follow_them(name, column, given):
    truth = TRUTHS[name]
    drawn = truth.draw(500, np.random.default_rng(3))
    points, density = on_grid(truth, drawn, column, given)
    below = integrate.cumulative_trapezoid(density, points, axis=1, initial=0)
    np.testing.assert_allclose(below[:, -1], 1, atol=1e-3)
    # Where each drawn value stands in its distribution given the others: uniform if both are right.
    ranks = [np.interp(x, points, cdf) for x, cdf in zip(drawn[column], below, strict=True)]
    assert stats.kstest(ranks, "uniform").pvalue > 1e-3


# ---------------------------------------------------------------- the truths: probabilities


@each_discrete
def test_probabilities_of_each_question_sum_to_one(name):
    truth, rng = TRUTHS[name], np.random.default_rng(0)
    drawn = truth.draw(3, rng)
    questions = list(all_questions(truth.columns))
    for q in rng.permutation(len(questions))[:40]:
        of, given = questions[q]
        cells = truth.cells(of)
        for row in range(len(drawn)):
            evidence = {column: drawn[column].iloc[row] for column in given}
            assert np.exp(truth.log_prob(cells.assign(**evidence), of, given)).sum() == pytest.approx(1)


@each_discrete
def test_questions_agree_with_sums_over_all_rows(name):
    truth, rng = TRUTHS[name], np.random.default_rng(0)
    cells = truth.cells(truth.columns)
    weights = truth.joint.ravel()
    questions = list(all_questions(truth.columns))
    for q in rng.permutation(len(questions))[:20]:
        of, given = questions[q]
        row = truth.draw(1, rng)
        has_evidence = (cells[given] == row[given].iloc[0]).all(axis=1)
        has_both = has_evidence & (cells[of] == row[of].iloc[0]).all(axis=1)
        expected = weights[has_both].sum() / weights[has_evidence].sum()
        assert np.exp(truth.log_prob(row, of, given)) == pytest.approx(expected)


@each_truth
def test_the_entropy_is_the_mean_of_minus_log_p(name):
    truth, n = TRUTHS[name], 100_000
    nll = -truth.log_prob(truth.draw(n, np.random.default_rng(0)))
    assert nll.mean() == pytest.approx(truth.entropy, abs=4 * nll.std() / n**0.5)


@each_truth
def test_only_columns_of_the_question_are_looked_at(name):
    truth, rng = TRUTHS[name], np.random.default_rng(0)
    rows = truth.draw(5, rng)
    first, second, *_ = truth.columns
    np.testing.assert_array_equal(
        truth.log_prob(rows[[second, first]], [first], [second]), truth.log_prob(rows, [first], [second])
    )
    np.testing.assert_allclose(truth.log_marginal(rows, []), 0, atol=1e-12)
    with pytest.raises(ValueError, match="both given and asked for"):
        truth.log_prob(rows, [first], [first])


def test_exclusive_ors_by_hand():
    truth = exclusive_ors(0.1)

    def p(of, given, **values):
        return float(np.exp(truth.log_prob(pd.DataFrame([values]), of, given))[0])

    assert p("b", "a", a=1, b=0) == pytest.approx(0.1)
    assert p("d", "bc", b=1, c=1, d=1) == pytest.approx(0.9)
    assert p("d", "ac", a=1, c=1, d=1) == pytest.approx(0.9 * 0.9 + 0.1 * 0.1)
    assert p("d", "", d=1) == pytest.approx(0.25 * 0.9 + 0.75 * 0.1)
    assert p("ac", "", a=1, c=0) == pytest.approx(0.25)
    assert truth.entropy == pytest.approx(2 * np.log(2) - 2 * (0.1 * np.log(0.1) + 0.9 * np.log(0.9)))


def test_three_columns_of_the_parity_are_independent_and_four_are_not():
    truth = parity(0.1)
    cells = truth.cells(truth.columns)
    for three in itertools.combinations(truth.columns, 3):
        np.testing.assert_allclose(np.exp(truth.log_prob(cells, three)), 1 / 8)
    is_flipped = cells["d"] != cells["a"] ^ cells["b"] ^ cells["c"]
    for column in truth.columns:
        others = [name for name in truth.columns if name != column]
        np.testing.assert_allclose(
            np.exp(truth.log_prob(cells, [column], others)), np.where(is_flipped, 0.1, 0.9)
        )


def test_rare_levels_by_hand():
    truth = TRUTHS["rare levels"]
    rows = pd.DataFrame({"fault": ["leak", "fire", "fire"], "alarm": ["yes", "yes", "no"]})
    np.testing.assert_allclose(np.exp(truth.log_prob(rows, ["fault"])), [0.01, 0.002, 0.002])
    np.testing.assert_array_equal(np.exp(truth.log_prob(rows, ["alarm"], ["fault"])), [1, 1, 0])
    rows = rows.assign(shift="night")
    impossible = truth.log_prob(rows, ["shift"], ["alarm", "fault"])
    np.testing.assert_allclose(np.exp(impossible), [0.2, 0.9, np.nan])


@pytest.mark.parametrize("n_variables", [5, 6, 7])
def test_random_networks_have_every_kind_and_no_rare_level(n_variables):
    for seed in range(5):
        truth = random_network(n_variables, seed)
        kinds = {name.split("_")[0] for name in truth.columns}
        assert kinds == {"binary", "categorical", "ordinal"} and len(truth.columns) == n_variables
        assert all(2 <= len(levels) <= 5 for levels in truth.levels.values())
        # The least share of a level that its table leaves it, whatever its parents are.
        for column in truth.columns:
            cells = truth.cells([column])
            assert truth.log_prob(cells, [column]).min() > np.log(0.1 / 5)


def test_networks_of_different_seeds_differ_and_those_of_one_seed_do_not():
    np.testing.assert_array_equal(random_network(5, 0).joint, random_network(5, 0).joint)
    assert random_network(5, 0).entropy != random_network(5, 1).entropy


def test_a_network_is_no_table_of_independent_columns():
    for name in DISCRETE[2:5]:
        truth = TRUTHS[name]
        marginal = sum(
            -(np.exp(log_p) * log_p).sum()
            for column in truth.columns
            for log_p in [truth.log_prob(truth.cells([column]), [column])]
        )
        assert marginal - truth.entropy > 0.1


def test_tables_that_are_no_distribution_are_refused():
    levels = {"a": np.array([0, 1])}
    with pytest.raises(ValueError, match="sum to"):
        DiscreteTruth(levels, np.array([0.5, 0.6]))
    with pytest.raises(ValueError, match="shape"):
        DiscreteTruth(levels, np.full(3, 1 / 3))


def test_a_value_that_is_no_level_is_refused():
    with pytest.raises(ValueError, match="none of"):
        exclusive_ors().log_prob(pd.DataFrame({"a": [2]}), ["a"])


def test_gaussian_conditionals_are_those_of_the_schur_complement():
    truth: GaussianTruth = TRUTHS["gaussian"]
    rows = truth.draw(20, np.random.default_rng(0))
    normal = rows.assign(w=np.log(rows["w"])).to_numpy()
    for of, given in [([0], [1, 2, 3]), ([2], [0, 3]), ([2, 0], [1]), ([1, 3], [2])]:
        gain = truth.covariance[np.ix_(of, given)] @ np.linalg.inv(truth.covariance[np.ix_(given, given)])
        means = truth.mean[of] + (normal[:, given] - truth.mean[given]) @ gain.T
        covariance = truth.covariance[np.ix_(of, of)] - gain @ truth.covariance[np.ix_(given, of)]
        density = stats.multivariate_normal(cov=covariance)
        expected = density.logpdf(normal[:, of] - means) - (np.log(rows["w"]) if 2 in of else 0)
        names = np.array(truth.columns)
        np.testing.assert_allclose(truth.log_prob(rows, names[of], names[given]), expected)


def test_the_exponentiated_column_is_log_normal():
    truth: GaussianTruth = TRUTHS["gaussian"]
    rows = pd.DataFrame({"w": [0.5, 1.0, 3.0, 9.0]})
    expected = stats.lognorm(s=truth.covariance[2, 2] ** 0.5, scale=np.exp(truth.mean[2]))
    np.testing.assert_allclose(truth.log_prob(rows, ["w"]), expected.logpdf(rows["w"]))
    alone = GaussianTruth(["w"], truth.mean[2:3], truth.covariance[2:3, 2:3], ["w"])
    assert alone.entropy == pytest.approx(expected.entropy())


def test_mixed_conditionals_by_bayes_rule():
    truth: MixedTruth = TRUTHS["mixed"]
    rows = truth.draw(20, np.random.default_rng(0))
    site = truth.codes(rows, "site")
    densities = truth.weights * stats.norm.pdf(
        rows["level"].to_numpy()[:, None], truth.means, truth.deviations
    )
    posterior = densities[np.arange(20), site] / densities.sum(axis=1)
    np.testing.assert_allclose(np.exp(truth.log_prob(rows, ["site"], ["level"])), posterior)
    # Given the number, the alarm tells nothing more of the site.
    np.testing.assert_allclose(np.exp(truth.log_prob(rows, ["site"], ["level", "alarm"])), posterior)
    logit = truth.slope * (rows["level"] - truth.threshold)
    yes = 1 / (1 + np.exp(-logit))
    expected = np.where(rows["alarm"] == "yes", yes, 1 - yes)
    np.testing.assert_allclose(np.exp(truth.log_prob(rows, ["alarm"], ["level"])), expected)
    np.testing.assert_allclose(np.exp(truth.log_prob(rows, ["alarm"], ["site", "level"])), expected)


@pytest.mark.parametrize("k", range(3))
def test_mixed_probabilities_of_the_alarm_are_integrals(k):
    truth: MixedTruth = TRUTHS["mixed"]

    def integrand(x):
        curve = 1 / (1 + np.exp(-truth.slope * (x - truth.threshold)))
        return curve * stats.norm.pdf(x, truth.means[k], truth.deviations[k])

    exact, _ = integrate.quad(integrand, truth.means[k] - 12, truth.means[k] + 12)
    row = pd.DataFrame({"site": truth.levels["site"][[k]], "alarm": ["yes"]})
    assert np.exp(truth.log_prob(row, ["alarm"], ["site"])) == pytest.approx(exact)
    both = truth.log_prob(row, ["site", "alarm"])
    assert np.exp(both) == pytest.approx(exact * truth.weights[k])


def test_mixed_draws_follow_the_logistic_curve():
    truth, n = TRUTHS["mixed"], 100_000
    drawn = truth.draw(n, np.random.default_rng(0))
    yes = np.exp(truth.log_prob(drawn.assign(alarm="yes"), ["alarm"], ["level"]))
    residual = (drawn["alarm"] == "yes").to_numpy() - yes
    for low, high in itertools.pairwise([-np.inf, -1, 0, 0.5, 1, 2, np.inf]):
        within = drawn["level"].between(low, high).to_numpy()
        error = np.sqrt((yes * (1 - yes))[within].sum()) + 1
        assert abs(residual[within].sum()) < 5 * error
