"""The study two-gaussians: its known truth, and what its quick version claims."""

from __future__ import annotations

import math

import numpy as np
import pytest

from chainrule.datasets.synthetic import TwinGaussians
from chainrule.experiments.study import run_study
from chainrule_studies.two_gaussians.known_truth import ConditionalGrid, KnownRows

# ---------------------------------------------------------------- a known truth


@pytest.mark.parametrize("n_variables", [1, 2, 8])
def test_twin_gaussians_know_their_entropy(n_variables):
    truth = TwinGaussians(n_variables, shift=0.5, scale=0.5)
    nats = truth.log_density(truth.sample(200_000, np.random.default_rng(0)))
    assert -nats.mean() == pytest.approx(truth.entropy(), abs=4 * nats.std() / math.sqrt(len(nats)))


def test_conditionals_of_twin_gaussians_are_densities():
    truth = TwinGaussians(3, shift=1.0, scale=0.4)
    grid = ConditionalGrid(truth, np.array([[0.0, 0.0], [1.0, 0.8], [-0.3, 0.1]]))
    assert np.trapezoid(grid.true, grid.points, axis=1) == pytest.approx(1, abs=1e-6)
    # Undecided by the two others, the third is on either side equally often.
    assert grid.true[0] == pytest.approx(grid.true[0, ::-1])


class Scores:
    """A distribution that scores rows as a model does."""

    def __init__(self, truth):
        self.truth = truth

    def score_samples(self, rows):
        return self.truth.log_density(rows)


def test_conditional_errors_are_total_variation():
    truth = TwinGaussians(2, shift=2.0, scale=0.5)
    grid = ConditionalGrid(truth, np.array([[-2.0], [0.0], [2.0]]))
    assert grid.errors(grid.learned(Scores(truth))) == pytest.approx(0, abs=1e-6)
    # Where rows are, the conditional is one Gaussian: wider by half against the truth.
    wide = TwinGaussians(2, shift=2.0, scale=0.75)
    at = math.sqrt(2 * math.log(1.5) / (1 / 0.25 - 1 / 0.5625))
    expected = math.erf(at / 0.5 / math.sqrt(2)) - math.erf(at / 0.75 / math.sqrt(2))
    assert grid.errors(grid.learned(Scores(wide)))[[0, 2]] == pytest.approx(expected, abs=2e-3)


def test_rows_of_a_known_truth_share_nothing():
    rows = KnownRows.draw(TwinGaussians(2, 2.0, 0.5), 100, 50, 3)
    assert (len(rows.train), len(rows.valid), len(rows.test)) == (80, 20, 50)
    together = np.concatenate([rows.train, rows.valid, rows.test])
    assert len(np.unique(together, axis=0)) == 150
    assert rows.loss("test") == pytest.approx(-rows.truth.log_density(rows.test).mean())


# ---------------------------------------------------------------- the quick version


@pytest.fixture(scope="module")
def two_gaussians(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two-gaussians")
    return run_study("two-gaussians", folder, quick=True).results


def test_networks_come_close_to_the_two_gaussians(two_gaussians):
    assert two_gaussians["entropy"] == pytest.approx(2.1447, abs=1e-4)
    assert two_gaussians["n_train"] + two_gaussians["n_valid"] == 1000
    models = {model["model"]: model for model in two_gaussians["models"]}
    for name, most in (("GMM", 0.03), ("NADE", 0.1), ("MADE", 0.1)):
        gap, error = models[name]["gap_to_truth"], models[name]["gap_standard_error"]
        assert -2 * error < gap < most
        where_rows_are = [0, 1, 3, 4]
        assert max(models[name]["conditional_errors"][i] for i in where_rows_are) < 0.2
    # Two full Gaussians are the true form, and start from what the networks have to find out.
    assert models["GMM"]["gap_to_truth"] < min(models[name]["gap_to_truth"] for name in ("NADE", "MADE"))
    assert models["GMM"]["n_parameters"] == 11


def test_settings_are_chosen_on_validation_rows(two_gaussians):
    for model in two_gaussians["models"]:
        best = max(model["candidates"], key=lambda candidate: candidate["valid"])
        assert best["settings"] == model["settings"]
        assert best["valid"] == model["valid_log_likelihood"]


def test_settings_of_a_made_do_what_the_study_says(two_gaussians):
    groups = two_gaussians["settings"]
    assert {"layers", "size", "nade-size", "activation", "masking"} == groups.keys()
    outcomes = [outcome for group in groups.values() for outcome in group]
    for outcome in outcomes:
        # Nothing is better than the truth on rows that it has not seen, and rows seen are no worse.
        assert outcome["test"]["mean"] > -2 * outcome["test"]["standard_error"]
        if "one at a time" not in outcome["setting"]:
            assert outcome["train"]["mean"] < outcome["test"]["mean"]
    masking = {outcome["setting"]: outcome["test"]["mean"] for outcome in groups["masking"]}
    averaged = masking["4 masks, each step, averaged"]
    assert averaged < masking["4 masks, each step, one at a time"]
