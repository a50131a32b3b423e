"""What tells drawn rows from real ones, and what models give away of the rows that they learned from."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from chainrule import Mixture
from chainrule.datasets import Dataset
from chainrule.experiments.compare import compare
from chainrule.experiments.synthetic import membership_of_training_rows
from chainrule.metrics.cells import few_cells
from chainrule.metrics.fidelity import FidelityEvaluator
from chainrule.metrics.information import information_similarity, normalised_information
from chainrule.metrics.membership import membership_test, true_positives
from chainrule.metrics.neighbours import nearer_to_training
from chainrule.metrics.two_sample import two_sample_test
from chainrule.report.comparison_page import render_report
from chainrule.report.privacy_blocks import privacy_blocks
from chainrule.schema import Binary, Categorical, Continuous, Schema

BITS = (Binary("a", levels=(0, 1)), Binary("b", levels=(0, 1)), Binary("c", levels=(0, 1)))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# ---------------------------------------------------------------- C2ST


def test_trees_tell_rows_apart_that_differ_only_together(rng):
    real = rng.integers(0, 2, size=(2000, 3)).astype(float)
    drawn = rng.integers(0, 2, size=(2000, 3)).astype(float)
    drawn[:, 1] = drawn[:, 0]
    found = two_sample_test(BITS, real, drawn)
    # a = b in half of the real rows and in all drawn ones.
    assert found.auc.value == pytest.approx(0.75, abs=0.03)
    assert found.score.mean == pytest.approx(2 - 2 * found.auc.value)
    assert found.score.standard_error == pytest.approx(2 * found.auc.standard_error)
    assert sorted(found.giveaways()) in ([0, 1], [0, 1, 2])
    assert found.importances[:2].min() > 0.1 > 0.03 > abs(found.importances[2])


def test_rows_of_one_distribution_cannot_be_told_apart(rng):
    variables = (Categorical("level", levels=tuple("abcd")), Continuous("number"))
    rows = np.stack([rng.integers(0, 4, size=3000), rng.normal(size=3000)], axis=1)
    rows[rng.random(3000) < 0.1, 1] = np.nan
    found = two_sample_test(variables, rows[:1500], rows[1500:])
    assert abs(found.auc.value - 0.5) < 4 * found.auc.standard_error < 0.06
    assert found.score.mean <= 1
    again = two_sample_test(variables, rows[:1500], rows[1500:])
    assert again.auc.value == found.auc.value
    np.testing.assert_array_equal(again.importances, found.importances)


def test_rare_ones_of_very_many_levels_count_as_one(rng):
    variables = (Categorical("name", levels=tuple(range(400))),)
    shares = np.where(np.arange(400) < 254, 8.0, 1.0)

    def names():
        return rng.choice(400, size=3000, p=shares / shares.sum()).astype(float)[:, None]

    real, drawn = names(), names()
    drawn[drawn >= 254] = 399  # one rare level in place of all of them: trees cannot see it
    unseen = two_sample_test(variables, real, drawn).auc
    assert abs(unseen.value - 0.5) < 4 * unseen.standard_error
    drawn[drawn < 40] = 399
    assert two_sample_test(variables, real, drawn).auc.value > 0.55


def test_few_rows_tell_nothing():
    found = two_sample_test(BITS, np.zeros((4, 3)), np.ones((9, 3)))
    assert np.isnan(found.auc.value) and not found.giveaways()


# ---------------------------------------------------------------- mutual information


def test_information_is_that_of_the_table_of_two_columns(rng):
    a = rng.integers(0, 2, size=20_000)
    b = np.where(rng.random(20_000) < 0.9, a, 1 - a)
    frame = pl.DataFrame({"a": a, "b": b, "alone": rng.normal(size=20_000)})
    schema = Schema.infer(frame)
    codes = schema.encode(frame)
    cells = [few_cells(variable, codes[:, d], 20) for d, variable in enumerate(schema.variables)]
    found = normalised_information(schema, codes, range(3), cells)
    expected = 1 + (0.9 * np.log(0.9) + 0.1 * np.log(0.1)) / np.log(2)
    assert found[0, 1] == found[1, 0] == pytest.approx(expected, abs=0.02)
    assert np.abs(found[2, :2]).max() < 0.002
    assert information_similarity(found, found) == 1
    none = found * np.eye(3)
    assert information_similarity(found, none) == 0
    assert np.isnan(information_similarity(none, none))


# ---------------------------------------------------------------- neighbours and membership


def test_copies_of_training_rows_are_nearer_to_them_and_new_rows_are_not(rng):
    variables = (Continuous("x"), Continuous("y"), Categorical("z", levels=tuple("abc")))
    rows = np.concatenate([rng.normal(size=(900, 2)), rng.integers(0, 3, size=(900, 1))], axis=1)
    train, held_out, new = rows[:300], rows[300:600], rows[600:]
    assert nearer_to_training(variables, train, train, held_out).mean == 1
    assert nearer_to_training(variables, held_out, train, held_out).mean == 0
    fair = nearer_to_training(variables, new, train, held_out)
    assert abs(fair.mean - 0.5) < 4 * fair.standard_error
    swapped = nearer_to_training(variables, new, held_out, train)
    assert swapped.mean == pytest.approx(1 - fair.mean)


def test_the_test_of_membership_is_that_of_a_threshold(rng):
    train, held_out = rng.normal(0.7, 1, size=3000), rng.normal(size=2000)
    found = membership_test(train, held_out)
    truth = np.repeat([1, 0], [3000, 2000])
    assert found.auc.value == pytest.approx(roc_auc_score(truth, np.concatenate([train, held_out])))
    # P(N(0.7, 1) > 2.326) = 0.052
    assert abs(found.true_positives.mean - 0.052) < 3 * found.true_positives.standard_error < 0.05
    same = membership_test(rng.permutation(held_out), held_out)
    assert same.auc.value == 0.5 and same.true_positives.mean == pytest.approx(0.01)


def test_equal_log_likelihoods_tell_nothing():
    assert true_positives(np.zeros(50), np.zeros(30), 0.01) == pytest.approx(0.01)
    assert membership_test(np.zeros(50), np.zeros(30)).auc.value == 0.5


def test_a_model_that_knows_its_rows_by_heart_is_found(rng):
    """A mixture of as many components as rows has a peak at each of them."""
    rows = rng.integers(0, 2, size=(300, 30))
    train, test = rows[:150], rows[150:]
    by_heart = Mixture(n_components=120, smoothing=1e-3, random_state=0).fit(train, X_val=train)
    plain = Mixture(n_components=1, random_state=0).fit(train, X_val=train)
    found, none = (
        membership_of_training_rows(model, train, model.score_samples(test)) for model in (by_heart, plain)
    )
    assert found.auc.value > 0.9 and found.true_positives.mean > 0.5
    assert none.auc.value < found.auc.value - 0.15


# ---------------------------------------------------------------- in the report


@pytest.fixture(scope="module")
def compared():
    rng = np.random.default_rng(1)
    colour = rng.integers(0, 3, size=500)
    frame = pl.DataFrame(
        {"height": 3.0 * colour + rng.normal(size=500), "colour": np.array(list("rgb"))[colour]}
    )
    return compare(
        Dataset("people", frame[:300], frame[300:400], frame[400:]), models=["independent", "mixture"]
    )


def test_a_comparison_has_likeness_and_membership(compared):
    document = json.loads(json.dumps(compared.to_dict(), allow_nan=False))
    real, models = document["synthetic"]["real"], document["synthetic"]["models"]
    independent, mixture = models.values()
    # Independent columns: colour no longer goes with height.
    assert independent["c2st"] < 0.7 < mixture["c2st"] + 0.2
    assert independent["information_similarity"] < 0.3 < real["information_similarity"]
    assert independent["c2st_importances"].keys() == {"height", "colour"}
    for figures in (real, independent, mixture):
        assert 0 <= figures["nearer_to_training"] <= 1 and figures["nearer_to_training_standard_error"] < 0.1
    for result in document["results"]:
        assert 0.3 < result["membership"]["auc"] < 0.7
        assert 0 <= result["membership"]["true_positives"] < 0.2


def test_the_report_says_what_gives_rows_away_and_what_models_give_away(compared):
    page = render_report(compared)
    assert "likeness (C2ST) of" in page and "given away by" in page and "wNMI" in page
    privacy = page.split('id="privacy"')[1].split("</section>")[0]
    assert "membership AUC" in privacy and "nearer to training" in privacy and "exact matches" in privacy


def test_the_report_names_the_models_that_tell_training_rows(compared):
    by_chance = membership_test(np.arange(400.0), np.arange(400.0))
    by_heart = membership_test(np.arange(400.0), np.arange(400.0) - 300)
    first, *others = (replace(result, membership=by_chance) for result in compared.results)
    (none,) = privacy_blocks(replace(compared, results=[first, *others]))
    assert "By none of these models can they be told" in none.text
    (told,) = privacy_blocks(replace(compared, results=[replace(first, membership=by_heart), *others]))
    assert f"by more than two standard errors, by {first.model}: " in told.text


def test_real_rows_are_no_nearer_to_training_rows(rng):
    rows = rng.normal(size=(1200, 3))
    real = FidelityEvaluator(Schema.infer(rows[:600]), rows[:600], rows[600:], target=None).real
    assert abs(real.nearer_to_training.mean - 0.5) < 4 * real.nearer_to_training.standard_error
