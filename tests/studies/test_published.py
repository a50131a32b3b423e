"""The study `published`: what its quick version claims, its recipe, its mixtures, and what may go wrong."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from chainrule import MADE, NADE, OrderlessNADE
from chainrule.cli import run
from chainrule.errors import DataError
from chainrule.experiments.study import StudyRun, run_study
from chainrule.image_shape import ImageShape
from chainrule_studies.published import fits as fits_module
from chainrule_studies.published import run as study
from chainrule_studies.published import search as search_module
from chainrule_studies.published.committee import chain, mixture, weights
from chainrule_studies.published.fits import Fits, log_conditionals
from chainrule_studies.published.plan import chosen_sets, parse_duration, published, shares
from chainrule_studies.published.rows import Fold, SetRows, few_columns, load_rows, order_of
from chainrule_studies.published.search import search
from chainrule_studies.published.settings import Setting, neighbours, starting_settings

# ---------------------------------------------------------------- mixtures and averaged conditionals


def all_rows(n_columns):
    return ((np.arange(2**n_columns)[:, None] >> np.arange(n_columns)) & 1).astype(np.uint8)


@pytest.fixture(scope="module")
def networks():
    rows = np.random.default_rng(0).integers(0, 2, (300, 5))
    rows[:, 3] = rows[:, 0] ^ rows[:, 1]
    common = {"max_epochs": 4, "random_state": 0, "kinds": "binary"}
    order = order_of(1, 5, 0).tolist()
    fixed = [NADE(8, ordering=order, **common), MADE((8,), ordering=order, **common)]
    return [model.fit(rows) for model in (*fixed, OrderlessNADE((8,), **common))]


def test_a_chain_of_averaged_conditionals_sums_to_one(networks):
    order = order_of(1, 5, 0)
    cells = np.stack([log_conditionals(model, all_rows(5), order) for model in networks])
    assert cells.dtype == np.float32 and cells.shape == (3, 32, 5)
    for one, model in zip(cells[:2], networks[:2], strict=True):
        np.testing.assert_allclose(one.sum(axis=1), model.score_samples(all_rows(5)), atol=1e-5)
    for share in (np.array([1.0, 0.0, 0.0]), np.array([0.2, 0.3, 0.5])):
        assert np.exp(chain(cells, share)).sum() == pytest.approx(1, abs=1e-5)
    any_order = log_conditionals(networks[2], all_rows(5), order_of(2, 5, 0))
    both = np.stack([chain(cells, np.full(3, 1 / 3)), any_order.sum(axis=1, dtype=np.float64)])
    assert np.exp(mixture(both, np.array([0.4, 0.6]))).sum() == pytest.approx(1, abs=1e-5)


def test_a_chain_with_convolutions_sums_to_one_in_each_scan(tmp_path):
    draw = np.random.default_rng(0)
    X = draw.integers(0, 2, (200, 9))
    X[:, 5] = X[:, 1] ^ X[:, 2]
    rows = SetRows("images", (Fold((X[:150], X[150:]), X),), "binary", "", ImageShape(3, 3))
    fits = Fits(StudyRun(tmp_path, quick=True), rows)
    settings = [Setting("pixel-cnn", 6, 1, 0.01, 0.0, 8e-3, 2), Setting("nade", 8, 1, 0.02, 0.0, 2e-2, 2)]
    for number in (0, 5):
        each = [fits.fit(setting, 100.0, order=number) for setting in settings]
        cells = np.stack([fits.cells(fit, all_rows(9), number) for fit in each])
        sums = np.exp(cells.sum(axis=2, dtype=np.float64)).sum(axis=1)
        np.testing.assert_allclose(sums, 1, atol=1e-5)
        assert np.exp(chain(cells, np.array([0.5, 0.5]))).sum() == pytest.approx(1, abs=1e-5)


def test_cells_are_in_units_of_the_data():
    rows = 5 + 3 * np.random.default_rng(0).normal(size=(200, 2))
    model = NADE(8, max_epochs=2, random_state=0).fit(rows)
    cells = log_conditionals(model, rows, np.arange(2))
    np.testing.assert_allclose(cells.sum(axis=1), model.score_samples(rows), atol=1e-4)


def test_weights_are_where_the_likelihood_is_highest():
    generator = np.random.default_rng(0)
    log_probs = np.log(generator.dirichlet(np.ones(4), size=3))[:, generator.integers(0, 4, 500)]
    found = weights(log_probs, prior_rows=0.0)
    assert found.sum() == pytest.approx(1)
    best = mixture(log_probs, found).mean()
    for _ in range(200):
        other = 0.9 * found + 0.1 * generator.dirichlet(np.ones(3))
        assert mixture(log_probs, other).mean() <= best + 1e-5
    few = weights(log_probs[:, :3])
    assert abs(few - 1 / 3).max() < abs(weights(log_probs[:, :3], prior_rows=0.0) - 1 / 3).max()


def test_a_model_that_excludes_a_row_leaves_weights_finite():
    log_probs = np.log([[0.5] * 50, [0.25] * 49 + [1e-300]])
    log_probs[1, -1] = -np.inf
    found = weights(log_probs)
    assert found[0] > 0.8 and np.isfinite(found).all()
    assert weights(np.stack([log_probs[0], log_probs[0]])) == pytest.approx([0.5, 0.5])


# ---------------------------------------------------------------- the plan, the rows


def test_the_time_is_shared_out_whole():
    plan = shares(list(published()), 18_000)
    assert sum(plan.values()) == pytest.approx(18_000)
    assert plan["parkinsons"] > plan["binarized-mnist"] > plan["nltcs"]
    assert min(plan.values()) > 100
    assert len(plan) == 26 and [len(chosen_sets(group)) for group in ("made", "twenty", "rnade")] == [
        7,
        13,
        5,
    ]


def test_gaps_are_positive_where_we_are_ahead():
    known = published()
    assert known["uci-adult"].gap(-13.0) == pytest.approx(0.12)
    assert known["red-wine"].gap(-9.0) == pytest.approx(-0.24)


@pytest.mark.parametrize("text", ["", "h", "-2h", "2 days", "0s"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(DataError, match="2h"):
        parse_duration(text)


def test_columns_are_those_that_papers_keep():
    generator = np.random.default_rng(0)
    real = generator.normal(size=(200, 3))
    table = np.column_stack(
        [real, real[:, 0] + 1e-3 * real[:, 1], generator.integers(0, 500, 200), real[:, 2].round()]
    )
    np.testing.assert_array_equal(few_columns(table), table[:, 1:4])


def test_parts_are_held_out_in_turn():
    parts = tuple(np.full((2, 1), k) for k in range(3))
    fold = Fold(parts, np.zeros((1, 1)))
    for held in (0, 1, -1, 5):
        train, valid = fold.split(held)
        assert set(valid.ravel()) == {held % 3} and set(train.ravel()) == {0, 1, 2} - {held % 3}


# ---------------------------------------------------------------- the search


class Known(Fits):
    """Fits whose outcome is a formula, and whose time is a second each."""

    def __init__(self, n_columns=5, kinds="binary", image=None):
        fold = Fold((np.zeros((3, n_columns)),) * 2, np.zeros((3, n_columns)))
        super().__init__(None, SetRows("known", (fold,), kinds, "", image))

    def fit(self, setting, max_time, **where):
        self.seconds += 1
        kind = {"nade": 0.0, "made": 0.5, "orderless": -9.0, "pixel-cnn": 5.0}[setting.kind]
        away = abs(np.log(setting.weight_decay / 0.9)) + abs(np.log(setting.units / 1000))
        return fits_module.Fit("key", kind - float(away) - setting.dropout, 1.0, 1)


def test_a_search_finds_what_is_best_and_says_what_it_tried():
    found = search(Known(), seconds=200)
    assert list(found.best) == ["made", "nade", "orderless"]
    best = found.best["made"].setting
    assert best.weight_decay == pytest.approx(0.9) and best.units == 1000 and best.dropout < 0.06
    settings = [trial.setting for trial in found.trials if trial.step not in ("start", "halving")]
    assert len(settings) == len(set(settings))
    assert all(json.dumps(trial.to_dict()) for trial in found.trials)


def test_networks_of_convolutions_are_tried_on_images_alone():
    assert "pixel-cnn" not in search(Known(), seconds=40).best
    found = search(Known(36, image=ImageShape(6, 6)), seconds=40)
    assert next(iter(found.best)) == "pixel-cnn" and len(found.best) == 4


def test_orders_of_images_are_their_scans():
    rows = Known(16 * 18, image=ImageShape(16, 18)).rows
    cells, columns = rows.image.in_cells(2)
    assert rows.n_orders == 4
    for number, scan in enumerate(columns[cells.scans()].numpy()):
        np.testing.assert_array_equal(rows.order(number, random_state=0), scan)
    others = Known().rows
    assert others.n_orders is None
    np.testing.assert_array_equal(others.order(3, random_state=0), order_of(3, 5, 0))


def test_a_search_ends_with_its_time_and_gives_the_leading_kinds_more():
    fits = Known()
    found = search(fits, seconds=24)
    assert 24 <= fits.seconds <= 25
    steps = [trial.setting.kind for trial in found.trials if trial.step not in ("start", "halving")]
    assert steps.count("made") + steps.count("nade") > 2 * steps.count("orderless") > 0


def test_a_fit_that_still_gains_is_given_more_epochs_first():
    class Gaining(Known):
        def fit(self, setting, max_time, **where):
            self.seconds += 1
            return fits_module.Fit("key", float(np.log(setting.epochs)), 1.0, 1, setting.epochs < 300)

    trials = search(Gaining(), seconds=60).trials
    made = [
        trial for trial in trials if trial.setting.kind == "made" and trial.step not in ("start", "halving")
    ]
    assert [trial.setting.epochs for trial in made[:3]] == [120, 240, 480] and made[3].setting.epochs <= 960


def test_no_setting_is_made_for_a_set():
    for n_columns, is_discrete in ((10, False), (20, True), (500, True)):
        for setting in starting_settings(1000, n_columns, are_images=is_discrete):
            assert setting.estimator("natural", kinds="binary", max_time=1.0, random_state=0).get_params()
            steps = dict(neighbours(setting, is_discrete))
            assert ("family spline" in steps) == (not is_discrete)
            assert all(isinstance(other, Setting) for other in steps.values())


# ---------------------------------------------------------------- the quick version


def little_rows(name, quick=False):
    """Return rows of a set that need no file: pairs of columns that go together."""
    draw = np.random.default_rng(len(name))
    if name == "red-wine":
        rows = draw.normal(size=(240, 3))
        rows[:, 1] += rows[:, 0]
        parts = np.split(rows, 6)
        folds = tuple(Fold(tuple(parts[k + 1 :] + parts[:k]), parts[k]) for k in range(2))
        return SetRows(name, folds, "continuous", "Folds.")
    rows = draw.integers(0, 2, (500, 6))
    rows[:, 3:] = rows[:, :3] ^ (draw.random((500, 3)) < 0.1)
    return SetRows(name, (Fold((rows[:300], rows[300:400]), rows[400:]),), "binary", "As given.")


BUDGET = {"budget": "9000s"}


def untimed(fit):
    """Return a fit without the clock, which says that it took long: few of them end a search."""

    def fit_and_tell(self, key, setting, max_time, *where):
        return {**fit(self, key, setting, 1e12, *where), "seconds": 200.0}

    return fit_and_tell


def little_settings(*facts):
    return [structs.replace(each, units=16, epochs=12) for each in starting_settings(*facts)]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "published"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "load_rows", little_rows)
        patch.setattr(search_module, "starting_settings", little_settings)
        patch.setattr(Fits, "_fit", untimed(Fits._fit))
        result = run_study("published", folder, quick=True, options=BUDGET)
    return folder, result.results


def test_every_set_has_both_models_and_their_gaps(done):
    _, results = done
    assert results["failed"] == {} and set(results["sets"]) == {"uci-mushrooms", "nltcs", "red-wine"}
    for each in results["sets"].values():
        for model in (each["single"], each["ensemble"]):
            sign = -1 if each["published"]["measure"] == "nll" else 1
            assert model["gap"] == pytest.approx(model["test"] - sign * each["published"]["best"])
        assert np.sum(each["ensemble"]["weights"]) == pytest.approx(1)
        assert np.shape(each["ensemble"]["weights"]) == (
            each["ensemble"]["n_orders"],
            1 + len(each["ensemble"]["members"]),
        )
        assert each["ensemble"]["n_orders"] == len(each["ensemble"]["valid_by_orders"]) >= 1


def test_models_learn_what_goes_together(done):
    _, results = done
    independent = 6 * np.log(0.5)
    for name in ("uci-mushrooms", "nltcs"):
        each = results["sets"][name]
        assert each["ensemble"]["test"] > independent + 0.3
        assert each["ensemble"]["test"] > each["single"]["test"] - 0.1


def test_the_report_has_each_set_and_the_cost(done):
    folder, results = done
    page = (folder / "report.html").read_text()
    for name in results["sets"]:
        assert page.count(f">{name}<") >= 2
    assert "What the search cost" in page and results["verdict"][0] in page


def test_only_models_that_are_used_are_kept(done):
    folder, results = done
    kept = list((folder / "models").iterdir())
    assert 0 < len(kept) < sum(each["n_fits"] for each in results["sets"].values())


def test_what_is_done_is_not_done_again(done, monkeypatch):
    folder, results = done

    def refuse(*_, **__):
        raise AssertionError("a fit was done again")

    monkeypatch.setattr(study, "load_rows", little_rows)
    monkeypatch.setattr(search_module, "starting_settings", little_settings)
    monkeypatch.setattr(Fits, "_fit", refuse)
    monkeypatch.setattr(Fits, "cells", refuse)
    again = run_study("published", folder, quick=True, options=BUDGET).results
    assert again["sets"] == results["sets"]


def test_a_run_that_was_broken_off_goes_on_to_the_same_end(tmp_path, monkeypatch):
    """Broken off in some of the first fits: what comes out is what comes out of one that was not."""
    real, counted = untimed(Fits._fit), []
    monkeypatch.setattr(search_module, "starting_settings", little_settings)

    def breaking(self, *facts):
        counted.append(facts)
        if len(counted) in (2, 5, 9):
            raise KeyboardInterrupt
        return real(self, *facts)

    monkeypatch.setattr(study, "load_rows", little_rows)
    monkeypatch.setattr(Fits, "_fit", breaking)
    options = {"only": "nltcs", "budget": "3000s"}
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            run_study("published", tmp_path / "broken", quick=True, options=options)
    broken = run_study("published", tmp_path / "broken", quick=True, options=options).results["sets"]["nltcs"]
    counted.extend([None] * 20)
    whole = run_study("published", tmp_path / "whole", quick=True, options=options).results["sets"]["nltcs"]
    # The clock has a share in each learning rate, of less than single precision tells apart.
    for one, other in zip(broken["search"]["trials"], whole["search"]["trials"], strict=True):
        assert one.pop("valid") == pytest.approx(other.pop("valid"), abs=1e-4)
        assert one == other
    for model in ("single", "ensemble"):
        assert broken[model]["test"] == pytest.approx(whole[model]["test"], abs=1e-3)


def test_a_set_that_fails_is_reported_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(search_module, "starting_settings", little_settings)

    def some(name, quick=False):
        if name == "nltcs":
            raise DataError("nltcs is nowhere")
        rows = little_rows(name)
        return replace(rows, folds=rows.folds[:1])

    monkeypatch.setattr(study, "load_rows", some)
    arguments = ["--only", "nltcs,housing", "--budget", "2s", "--quick", "--out", str(tmp_path / "run")]
    assert run(["experiment", "published", *arguments]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["failed"] == {"nltcs": "DataError: nltcs is nowhere"} and list(results["sets"]) == [
        "housing"
    ]
    assert "Failed: nltcs" in capsys.readouterr().out.replace("\n", " ")
    assert "nltcs is nowhere" in (tmp_path / "run" / "report.html").read_text()


def test_sets_share_out_processes_and_one_that_is_killed_is_reported(monkeypatch):
    def fate(run, name, seconds):
        if name == "ad":
            os.kill(os.getpid(), 9)
        return {"name": name, "seconds": seconds}

    monkeypatch.setattr(study, "_done", fate)
    plan = {"ad": 3.0, "dna": 2.0, "kdd": 1.0}
    assert study._measure_in_processes(None, plan, ["dna", "kdd"], 2) == {
        name: {"name": name, "seconds": plan[name]} for name in ("dna", "kdd")
    }
    done = study._measure_in_processes(None, plan, list(plan), 2)
    assert "killed" in done["ad"]["failed"]
    assert done["dna"]["seconds"] == 2.0 and done["kdd"]["seconds"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "expected"), [(["--only", "atlantis"], "nltcs"), (["--budget", "soon"], "2h")]
)
def test_bad_options_are_one_line(arguments, expected, tmp_path, capsys):
    assert run(["experiment", "published", *arguments, "--out", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and expected in line
    assert not (tmp_path / "run").exists()


def test_a_fit_of_another_seed_is_another_fit(tmp_path):
    rows, setting = little_rows("nltcs"), little_settings(300, 6, False)[0]
    keys = {
        Fits(StudyRun(tmp_path, quick=True, random_state=seed), rows).fit(setting, 60.0).key
        for seed in (0, 1, 0)
    }
    assert len(keys) == 2 == len(list((tmp_path / "models").iterdir()))


# ---------------------------------------------------------------- the files

DATA = Path(os.environ.get("CHAINRULE_DATA", ""))
need_files = pytest.mark.skipif(
    not (DATA / "uci_continuous" / "housing.data").is_file(), reason="needs uci_continuous in CHAINRULE_DATA"
)


@need_files
@pytest.mark.parametrize("name", ["red-wine", "white-wine", "parkinsons", "ionosphere", "housing"])
def test_folds_have_the_columns_of_the_papers_and_share_no_row_twice(name):
    rows, known = load_rows(name), published()[name]
    assert (len(rows.folds), rows.n_columns, rows.n_train) == (10, known.columns, known.rows)
    n_rows = sum(len(fold.test) for fold in rows.folds)
    for fold in rows.folds:
        train, _ = fold.split(-1)
        assert sum(map(len, fold.parts)) + len(fold.test) == n_rows
        np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(train.std(axis=0), 1, atol=1e-4)


@need_files
@pytest.mark.parametrize("name", ["uci-nips", "nltcs"])
def test_given_parts_have_the_rows_that_the_plan_counts(name):
    rows, known = load_rows(name), published()[name]
    assert (rows.n_train, rows.n_columns, len(rows.folds)) == (known.rows, known.columns, 1)
    assert len(load_rows(name, quick=True).folds[0].test) == 500
