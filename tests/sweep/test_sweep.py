"""Sweeps: what is tried, what is chosen, and that nothing is lost or done twice."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import chainrule
from chainrule import MADE, load
from chainrule.cli import run
from chainrule.datasets import Dataset
from chainrule.errors import CheckpointWarning, DataError, MissingPackageError, ParameterError
from chainrule.metrics.statistics import paired_difference

pytest.importorskip("optuna", reason="Optuna is not installed")

from chainrule.sweep import Choices, Fit, Space, SweepResult, Trial, parse_grid, sweep
from chainrule.sweep.fitting import Fitter
from chainrule.sweep.page import verdict
from chainrule.sweep.storage import embedded, open_study, quiet

GRID = {"hidden_sizes": [(4,), (8, 8)], "activation": ["relu", "tanh"]}


def make_dataset():
    """Binary rows in which the later columns repeat the first with some noise."""
    rng = np.random.default_rng(0)
    first = rng.random((500, 1)) < 0.5
    rows = (rng.random((500, 6)) < np.where(first, 0.9, 0.1)).astype(np.uint8)
    return Dataset("bits", rows[:300], rows[300:400], rows[400:])


# Programs of their own, which get a run folder: one that is killed in its second trial, and one whose two
# workers have long fits.
KILLED = """
import os, signal, sys
from test_sweep import GRID, make_dataset
from chainrule.sweep import sweep
from chainrule.sweep.fitting import Fitter

fit_setting, begun = Fitter.fit, []

def dying(self, *arguments):
    begun.append(arguments)
    if len(begun) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return fit_setting(self, *arguments)

Fitter.fit = dying
sweep(make_dataset(), "made", grid=GRID, max_epochs=4, out=sys.argv[1])
"""
ENDLESS = """
import sys
from test_sweep import GRID, make_dataset
from chainrule.sweep import sweep

grid = {**GRID, "patience": [1_000_000]}
sweep(make_dataset(), "made", grid=grid, max_epochs=1_000_000, out=sys.argv[1], workers=2)
"""
PATHS = [str(Path(chainrule.__file__).parents[1]), str(Path(__file__).parent)]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(PATHS)}


@pytest.fixture(scope="module")
def dataset():
    return make_dataset()


@pytest.fixture(scope="module")
def found(dataset, tmp_path_factory):
    """The result of a small grid, in one process."""
    return sweep(dataset, "made", grid=GRID, max_epochs=4, out=tmp_path_factory.mktemp("sweep"))


@pytest.fixture
def fits(monkeypatch):
    """The settings and seeds of the fits that are really done, in order."""
    done = []
    fit_setting = Fitter.fit

    def counting(self, setting, seed, best, on_epoch):
        done.append((dict(setting), seed))
        return fit_setting(self, setting, seed, best, on_epoch)

    monkeypatch.setattr(Fitter, "fit", counting)
    return done


def likelihoods(result):
    """Return the validation log-likelihood of each setting."""
    return {str(trial.parameters): trial.valid_log_likelihood for trial in result.trials}


def names(folder):
    return {entry.name for entry in folder.iterdir()}


class TestGrid:
    def test_every_setting_is_tried_once(self, found):
        assert sorted(map(str, (trial.parameters for trial in found.trials))) == sorted(
            str({"hidden_sizes": sizes, "activation": activation})
            for sizes in GRID["hidden_sizes"]
            for activation in GRID["activation"]
        )
        assert {trial.state for trial in found.trials} == {"complete"}

    def test_a_trial_equals_a_fit_of_its_own(self, found, dataset):
        trial = found.trials[-1]
        model = MADE(**trial.parameters, max_epochs=4, random_state=0).fit(dataset.train, X_val=dataset.valid)
        assert trial.valid_log_likelihood == model.score(dataset.valid)
        assert list(trial.valid_nll.values()) == pytest.approx(model.history_.valid, rel=1e-5)

    def test_the_saved_model_is_the_best_one(self, found, dataset):
        assert found.best.valid_log_likelihood == max(likelihoods(found).values())
        model = load(found.path)
        assert model.hidden_sizes == found.best.parameters["hidden_sizes"]
        assert model.activation == found.best.parameters["activation"]
        assert model.score(dataset.valid) == found.best.valid_log_likelihood
        assert model.score(dataset.test) == found.test_log_likelihood
        assert model.checkpoint is None

    def test_the_lead_is_the_paired_difference_over_validation_rows(self, found, dataset):
        first, second = (
            MADE(**trial.parameters, max_epochs=4, random_state=0)
            .fit(dataset.train, X_val=dataset.valid)
            .score_samples(dataset.valid)
            for trial in found.complete()[:2]
        )
        gap = paired_difference(first, second)
        assert (found.lead, found.lead_error) == pytest.approx((gap.mean, gap.standard_error))

    def test_the_choice_does_not_look_at_the_test_rows(self, dataset):
        rng = np.random.default_rng(1)
        turned = Dataset("turned", dataset.train, dataset.valid, rng.integers(0, 2, (100, 6)))
        result = sweep(turned, "mixture", grid={"n_components": [1, 4]})
        assert result.best.parameters == {"n_components": 4}
        # Independent columns have the higher likelihood there, as the noise is not like the training rows.
        one = sweep(turned, "mixture", grid={"n_components": [1]})
        assert one.test_log_likelihood > result.test_log_likelihood

    def test_workers_find_the_same(self, found, dataset, tmp_path, capfd):
        result = sweep(dataset, "made", grid=GRID, max_epochs=4, out=tmp_path, workers=2)
        assert likelihoods(result) == likelihoods(found)
        assert result.test_log_likelihood == found.test_log_likelihood
        assert capfd.readouterr() == ("", "")

    def test_a_trial_that_another_worker_finished_is_let_go(self, found, dataset, tmp_path, monkeypatch):
        import optuna

        optimize, calls = optuna.Study.optimize, []

        def too_late(study, *arguments, **options):
            calls.append(len(calls))
            if len(calls) == 2:
                raise optuna.exceptions.UpdateFinishedTrialError
            optimize(study, *arguments, **options)

        monkeypatch.setattr(optuna.Study, "optimize", too_late)
        result = sweep(dataset, "made", grid=GRID, max_epochs=4, out=tmp_path)
        assert likelihoods(result) == likelihoods(found)
        assert len(calls) == len(result.trials) + 1

    def test_the_folder_holds_results_and_a_report(self, found):
        folder = found.path.parent
        assert names(folder) >= {"sweep.db", "fits", "model", "results.json", "report.html"}
        results = json.loads((folder / "results.json").read_text())
        assert results == json.loads(json.dumps(found.to_dict()))
        assert results["best"]["number"] == found.best.number
        page = (folder / "report.html").read_text()
        assert page.count("data:image/svg+xml;base64,") >= 4
        assert not re.search(r"(src|href)=\"(?!data:)", page)
        for name, values in {"activation": ["relu", "tanh"], "hidden_sizes": ["4", "8x8"]}.items():
            assert [effect.value for effect in found.effects() if effect.parameter == name] == values

    def test_only_the_best_model_is_kept(self, found):
        assert len([entry for entry in (found.path.parent / "fits").iterdir() if entry.is_dir()]) == 1
        assert not names(found.path.parent / "checkpoints")

    def test_seeds_are_averaged(self, dataset):
        result = sweep(dataset, "made", grid={"hidden_sizes": [(4,)]}, seeds=3, random_state=5, max_epochs=2)
        scores = [
            MADE((4,), max_epochs=2, random_state=seed)
            .fit(dataset.train, X_val=dataset.valid)
            .score(dataset.valid)
            for seed in (5, 6, 7)
        ]
        assert [fit.valid_log_likelihood for fit in result.best.fits] == scores
        assert result.best.valid_log_likelihood == pytest.approx(np.mean(scores))
        assert result.best.standard_error == pytest.approx(np.std(scores, ddof=1) / np.sqrt(3))

    def test_a_setting_that_cannot_be_fitted_is_told_and_left_out(self, dataset, tmp_path):
        grid = {"residual": [True], "hidden_sizes": [(4, 8), (8, 8)]}
        result = sweep(dataset, "made", grid=grid, max_epochs=2, out=tmp_path)
        assert [trial.state for trial in result.trials] == ["failed", "complete"]
        assert result.best.parameters["hidden_sizes"] == (8, 8)
        assert result.trials[0].reason in " ".join(verdict(result))

    def test_all_settings_failing_is_an_error_with_the_reason(self, dataset):
        with pytest.raises(DataError, match="none of the 1 settings could be fitted: .*equal hidden_sizes"):
            sweep(dataset, "made", grid={"residual": [True], "hidden_sizes": [(4, 8)]}, max_epochs=1)


class TestGoingOn:
    def test_a_finished_sweep_fits_nothing_again(self, found, dataset, fits):
        again = sweep(dataset, "made", grid=GRID, max_epochs=4, out=found.path.parent)
        assert not fits
        assert again.to_dict() == found.to_dict()

    def test_after_an_interruption_between_epochs(self, found, dataset, tmp_path, monkeypatch, fits):
        add_epoch = Fitter.fit
        epochs = []

        def interrupting(self, setting, seed, best, on_epoch):
            def tell(epoch, nll):
                epochs.append(epoch)
                if len(epochs) == 7:  # the third epoch of the second trial
                    raise KeyboardInterrupt
                on_epoch(epoch, nll)

            return add_epoch(self, setting, seed, best, tell)

        with monkeypatch.context() as patch:
            patch.setattr(Fitter, "fit", interrupting)
            with pytest.raises(KeyboardInterrupt):
                sweep(dataset, "made", grid=GRID, max_epochs=4, out=tmp_path)
        assert len(fits) == 2
        assert len(names(tmp_path / "checkpoints")) == 1
        result = sweep(dataset, "made", grid=GRID, max_epochs=4, out=tmp_path)
        assert len(fits) == 5  # the second one went on
        assert likelihoods(result) == likelihoods(found)
        assert result.test_log_likelihood == found.test_log_likelihood

    def test_the_trial_of_a_killed_process_is_done_anew(self, found, dataset, tmp_path, monkeypatch, fits):
        killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=ENVIRONMENT, timeout=120)
        assert killed.returncode == -signal.SIGKILL
        result = sweep(dataset, "made", grid=GRID, max_epochs=4, out=tmp_path)  # waits for no sign of life
        assert likelihoods(result) == likelihoods(found)
        assert len(result.trials) == 4
        assert len(fits) == 3  # The first trial was complete; the second was killed.

    @pytest.mark.filterwarnings("ignore:Heartbeat of storage")  # Here a trial is asked for by hand.
    def test_a_trial_that_was_taken_without_a_sign_of_life_is_done_anew(
        self, found, dataset, tmp_path, monkeypatch
    ):
        with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
            patch.setattr(Fitter, "fit", interrupt)
            sweep(dataset, "made", grid=GRID, max_epochs=4, out=tmp_path)
        with quiet():
            taken = open_study(embedded(tmp_path), "bits-made").ask()
        monkeypatch.setattr("chainrule.sweep.storage._GRACE", 2)
        result = sweep(dataset, "made", grid=GRID, max_epochs=4, out=tmp_path)
        assert likelihoods(result) == likelihoods(found)
        assert taken.number not in {trial.number for trial in result.trials}

    def test_ctrl_c_stops_all_workers_and_nothing_is_lost(self, tmp_path):
        command = [sys.executable, "-c", ENDLESS, str(tmp_path)]
        with open(tmp_path / "said", "w") as said:
            run = subprocess.Popen(command, env=ENVIRONMENT, stderr=said, start_new_session=True)
        try:
            wait_until(lambda: len([*tmp_path.glob("checkpoints/*.pt")]) == 2, run)
            os.killpg(run.pid, signal.SIGINT)  # As a terminal does: also to the workers.
            run.wait(timeout=60)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
        lines = (tmp_path / "said").read_text().splitlines()
        assert lines[0].startswith("Traceback") and lines[-1] == "KeyboardInterrupt"
        with quiet():
            states = [trial.state.name for trial in open_study(embedded(tmp_path), "bits-made").trials]
        assert sorted(states) == ["FAIL", "FAIL", "WAITING", "WAITING"]

    @pytest.mark.parametrize(
        "other", [{"max_epochs": 3}, {"seeds": 2}, {"prune": True}, {"grid": {"hidden_sizes": [(4,)]}}]
    )
    def test_other_settings_are_refused(self, found, dataset, other):
        with pytest.raises(DataError, match=r"begun with other settings \((max_epochs|seeds|prune|space)\)"):
            sweep(dataset, "made", **({"grid": GRID, "max_epochs": 4, "out": found.path.parent} | other))

    def test_other_rows_are_refused(self, found, dataset):
        other = Dataset("bits", dataset.train[::-1], dataset.valid, dataset.test)
        with pytest.raises(DataError, match=r"other settings \(rows\)"):
            sweep(other, "made", grid=GRID, max_epochs=4, out=found.path.parent)

    def test_another_folder_shares_the_storage(self, found, dataset, tmp_path, fits):
        result = sweep(
            dataset, "made", grid=GRID, max_epochs=4, out=tmp_path, storage=embedded(found.path.parent)
        )
        assert not fits
        assert result.path.parent == tmp_path
        # Fitted again, as the other folder has the model.
        assert load(result.path).score(dataset.test) == found.test_log_likelihood


class TestSearch:
    def test_more_trials_go_on_with_the_first_ones(self, dataset, tmp_path, fits):
        space = {"hidden_sizes": [(2,), (4,), (8,), (16,)], "learning_rate": [0.001, 0.002, 0.005, 0.01]}
        first = sweep(dataset, "made", grid=space, n_trials=4, max_epochs=2, out=tmp_path)
        assert len(first.trials) == 4
        more = sweep(dataset, "made", grid=space, n_trials=6, max_epochs=2, out=tmp_path)
        assert len(more.trials) == 6
        assert [t.parameters for t in more.trials[:4]] == [t.parameters for t in first.trials]
        assert len(fits) == len({str(fit) for fit in fits})

    def test_workers_do_not_overshoot(self, dataset, tmp_path):
        result = sweep(dataset, "nade", n_trials=3, sampler="random", max_epochs=1, workers=2, out=tmp_path)
        assert len(result.trials) == 3
        assert len({str(trial.parameters) for trial in result.trials}) == 3
        assert set(result.best.parameters) >= {"hidden_size", "learning_rate", "activation"}

    def test_machines_draw_different_settings(self, dataset, tmp_path):
        drawn = []
        for machine in ("one", "two"):
            storage = f"sqlite:///{tmp_path}/{machine}.db"
            result = sweep(dataset, "made", n_trials=1, max_epochs=1, storage=storage, sampler="random")
            drawn.append(result.best.parameters)
        assert drawn[0] != drawn[1]

    def test_hopeless_trials_are_pruned(self, dataset):
        grid = {"learning_rate": [0.01, 0.02, 0.005, 0.011, 0.012, 1e-9], "hidden_sizes": [(8,)]}
        result = sweep(dataset, "made", grid=grid, max_epochs=8, prune=True)
        assert [trial.state for trial in result.trials] == ["complete"] * 5 + ["pruned"]
        assert max(result.trials[-1].valid_nll) < 8
        assert np.isnan(result.trials[-1].valid_log_likelihood)

    def test_a_grid_does_not_prune_by_itself(self, dataset):
        grid = {"learning_rate": [0.01, 0.02, 0.005, 0.011, 0.012, 1e-9], "hidden_sizes": [(8,)]}
        result = sweep(dataset, "made", grid=grid, max_epochs=3)
        assert {trial.state for trial in result.trials} == {"complete"}

    def test_mixtures_of_conditionals_are_searched_where_there_are_any(self):
        rng = np.random.default_rng(0)
        rows = rng.normal(size=(120, 2))
        continuous = Dataset("normal", rows[:80], rows[80:100], rows[100:])
        result = sweep(continuous, "made", n_trials=1, max_epochs=1)
        assert "n_components" in result.best.parameters


class TestEffects:
    def result(self, scores):
        """Return a grid of two parameters with the given log-likelihoods, {(a, b): [one per seed]}."""
        trials = [
            Trial(number, {"a": a, "b": b}, "complete", [fit(s, ll) for s, ll in enumerate(per_seed)], {})
            for number, ((a, b), per_seed) in enumerate(scores.items())
        ]
        space = Space({"a": Choices((1, 2)), "b": Choices((1, 2, 3))})
        return SweepResult("d", "MADE", "grid", space, [0], 1, 1, 1, 1, trials, 0, 0, 0, 0, 0, {}, None)

    def test_means_over_the_other_parameter(self):
        result = self.result({(a, b): [-(10 * a + b)] for a in (1, 2) for b in (1, 2, 3)})
        means = {(e.parameter, e.value): e.nll for e in result.effects()}
        assert means == {("a", "1"): 12, ("a", "2"): 22, ("b", "1"): 16, ("b", "2"): 17, ("b", "3"): 18}
        # What the one parameter does is the same under each value of the other.
        assert all(e.standard_error == pytest.approx(0, abs=1e-12) for e in result.effects())

    def test_bars_are_those_of_the_differences(self):
        rng = np.random.default_rng(0)
        noise = rng.normal(size=(2, 3))
        result = self.result({(a, b): [-(100 * b) + noise[a - 1, b - 1]] for a in (1, 2) for b in (1, 2, 3)})
        effects = [e for e in result.effects() if e.parameter == "a"]
        gaps = noise[1] - noise[0]
        # With two values, bars of both together are that of the paired difference.
        combined = np.hypot(effects[0].standard_error, effects[1].standard_error)
        assert combined == pytest.approx(np.std(gaps, ddof=1) / np.sqrt(3))

    def test_a_grid_with_gaps_takes_plain_standard_errors(self):
        result = self.result({(1, 1): [-1.0], (1, 2): [-3.0], (2, 1): [-2.0]})
        first, second = (e for e in result.effects() if e.parameter == "a")
        assert (first.nll, first.standard_error) == (2, pytest.approx(1))
        assert second.standard_error == 0.5  # of the single fit, over the validation rows


class TestBadInput:
    @pytest.mark.parametrize(
        ("word", "message"),
        [
            ("hidden_sizes", "expected NAME=VALUE,VALUE"),
            ("=3", "expected NAME=VALUE,VALUE"),
            ("hidden_sizes=", "whole numbers of at least 1 joined by x"),
            ("hidden_sizes=100,", "whole numbers of at least 1 joined by x"),
            ("hidden_sizes=0", "whole numbers of at least 1 joined by x"),
            ("hidden_sizes=100*2", "whole numbers of at least 1 joined by x"),
            ("hidden_size=100", "has no parameter 'hidden_size'; choose from hidden_sizes"),
            ("random_state=1,2", "has no parameter 'random_state'"),
            ("dropout=a", "dropout=a: expected a number"),
            ("dropout=nan", "dropout=nan: expected a number"),
            ("batch_size=1.5", "batch_size=1.5: expected a whole number"),
            ("residual=maybe", "residual=maybe: expected true or false or none"),
        ],
    )
    def test_a_word_that_cannot_be_read(self, word, message):
        with pytest.raises(ParameterError, match=re.escape(message)):
            parse_grid("made", [word])

    def test_words_are_read_by_the_type_of_their_parameter(self):
        words = ["hidden_sizes=500,500x250", "dropout=0,1e-1", "batch_size=50", "residual=none,true"]
        assert parse_grid("made", words) == {
            "hidden_sizes": [(500,), (500, 250)],
            "dropout": [0.0, 0.1],
            "batch_size": [50],
            "residual": [None, True],
        }

    def test_a_parameter_that_is_given_twice(self):
        with pytest.raises(ParameterError, match="dropout is given twice"):
            parse_grid("made", ["dropout=0", "dropout=0.1"])

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({}, "nothing to sweep"),
            ({"grid": {}}, "the grid is empty"),
            ({"grid": {"dropout": []}}, "dropout needs a list of values"),
            ({"grid": {"activation": "relu"}}, "activation needs a list of values"),
            (
                {"grid": {"hidden_sizes": [(500,), [500]]}},
                "the value 500 twice in the grid; layers are joined by x",
            ),
            ({"grid": {"activation": ["foo"]}}, "'activation' parameter of MADE"),
            ({"grid": {"units": [1]}}, "has no parameter 'units'"),
            ({"grid": GRID, "sampler": "tpe"}, "needs a number of trials"),
            ({"n_trials": 2, "sampler": "best"}, "no sampler 'best'; choose from tpe, random"),
            ({"n_trials": 0}, "n_trials must be a whole number of at least 1"),
            ({"n_trials": 1, "workers": 0}, "workers must be a whole number of at least 1"),
            ({"model": "gru", "n_trials": 2}, "no model 'gru'; choose from independent"),
            ({"model": "independent", "n_trials": 2}, "nothing to search"),
            ({"grid": {"batch_size": range(1, 200), "patience": range(1, 200)}}, "39,601 settings"),
        ],
    )
    def test_arguments_that_do_not_make_a_sweep(self, dataset, arguments, message):
        with pytest.raises(ParameterError, match=re.escape(message)):
            sweep(dataset, **arguments)

    @pytest.mark.parametrize("address", ["foo://u:secret@h/x", "runs/sweep.db", "sqlite://"])
    def test_an_address_that_is_no_storage(self, dataset, address):
        with pytest.raises(DataError, match="is no storage; expected sqlite:///PATH") as caught:
            sweep(dataset, n_trials=1, storage=address)
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize(
        ("address", "driver"),
        [("postgresql://u:secret@h/x", "psycopg"), ("mysql+pymysql://u:secret@h/x", "pymysql")],
    )
    def test_a_missing_driver(self, dataset, monkeypatch, address, driver):
        monkeypatch.setitem(sys.modules, driver, None)
        with pytest.raises(MissingPackageError, match=f"needs the driver {driver}.*pip install") as caught:
            sweep(dataset, n_trials=1, storage=address)
        assert "secret" not in str(caught.value)

    def test_a_storage_that_does_not_open(self, dataset, tmp_path):
        with pytest.raises(DataError, match="cannot be opened: unable to open database file"):
            sweep(dataset, n_trials=1, storage=f"sqlite:///{tmp_path}/nowhere/sweep.db")


class TestCommand:
    @pytest.fixture
    def file(self, dataset, tmp_path):
        path = tmp_path / "bits.npz"
        np.savez(path, train=dataset.train, valid=dataset.valid, test=dataset.test)
        return str(path)

    def test_a_grid_of_several_words(self, file, tmp_path, capfd):
        out = tmp_path / "run"
        words = ["--grid", "hidden_sizes=4,8x8", "activation=relu,tanh", "--max-epochs", "4"]
        assert run(["sweep", file, *words, "--out", str(out), "--json", "-"]) == 0
        printed, said = capfd.readouterr()
        assert json.loads(printed) == json.loads((out / "results.json").read_text())
        assert len(json.loads(printed)["trials"]) == 4
        assert "8x8" in said and "nats" in said

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "nothing to sweep: give --grid NAME=VALUES, or --trials N"),
            (["--sampler", "tpe", "--grid", "dropout=0"], "--sampler tpe needs --trials N"),
            (["activation=relu"], "parameters of a grid come after --grid"),
            (["--grid", "x=1"], "has no parameter 'x'"),
            (["--grid", "dropout=2"], "must be a float in the range"),
            (["--trials", "0"], "--trials"),
            (["--model", "gru", "--trials", "1"], "--model"),
        ],
    )
    def test_bad_input_gets_one_line(self, file, tmp_path, capfd, arguments, message):
        out = tmp_path / "run"
        assert run(["sweep", file, *arguments, "--out", str(out)]) == 2
        printed, said = capfd.readouterr()
        assert printed == "" and message in said
        assert said.count("\n") == 1
        assert not out.exists()

    def test_optuna_missing(self, file, tmp_path, capfd, monkeypatch):
        monkeypatch.setitem(sys.modules, "optuna", None)
        assert run(["sweep", file, "--trials", "1", "--out", str(tmp_path / "run")]) == 2
        said = capfd.readouterr().err
        assert said.count("\n") == 1
        assert "needs Optuna" in said and "pip install" in said

    def test_a_folder_with_other_files(self, file, tmp_path, capfd):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "notes.txt").write_text("mine")
        assert run(["sweep", file, "--trials", "1", "--out", str(tmp_path / "run")]) == 2
        assert "it holds other files (notes.txt)" in capfd.readouterr().err

    def test_an_interruption_says_how_to_go_on(self, file, tmp_path, capfd, monkeypatch):
        monkeypatch.setattr(Fitter, "fit", interrupt)
        assert run(["sweep", file, "--grid", "dropout=0,0.1", "--out", str(tmp_path / "run")]) == 130
        said = capfd.readouterr().err
        assert said.count("\n") == 1
        assert f"the same command with --out {tmp_path / 'run'} goes on" in said


def fit(seed, log_likelihood):
    return Fit(seed, log_likelihood, 0.5, log_likelihood, 1, 1, 1.0)


def interrupt(*_, **__):
    raise KeyboardInterrupt


def wait_until(condition, process, seconds=120):
    """Wait until something is so; not if the process that is to bring it about has ended."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.1)


def test_a_state_that_cannot_be_kept_is_told_but_no_part_of_the_results(dataset, tmp_path, monkeypatch):
    def no_room(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("chainrule.training.checkpoint.write_bytes", no_room)
    with pytest.warns(CheckpointWarning, match="could not be kept"):
        found = sweep(dataset, "made", grid={"hidden_sizes": [(4,)]}, max_epochs=2, out=tmp_path)
    assert [fit.warnings for trial in found.trials for fit in trial.fits] == [[]]
