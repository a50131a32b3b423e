"""Trials of a sweep are tasks of a cluster; what is found and kept is the same."""

from __future__ import annotations

import json
import os
import signal

import pytest

from chainrule.cli import run
from chainrule.datasets import load_dataset

pytest.importorskip("optuna", reason="Optuna is not installed")

from chainrule.errors import ParameterError
from chainrule.sweep import run as run_module
from chainrule.sweep import sweep

GRID = {"hidden_sizes": [(4,), (8,)], "activation": ["relu", "tanh"]}


@pytest.fixture(scope="module")
def complete(rows, tmp_path_factory):
    """Return a file of rows without missing cells."""
    path = tmp_path_factory.mktemp("complete") / "rows.parquet"
    rows.select("x", "n").write_parquet(path)
    return path


@pytest.fixture(scope="module")
def dataset(complete):
    return load_dataset(complete)


@pytest.fixture(scope="module")
def alone(dataset):
    return found(sweep(dataset, "made", grid=GRID, max_epochs=2))


def found(result):
    """Return what is known of each setting, but for times."""
    return {
        str(trial.parameters): (trial.state, trial.valid_log_likelihood, trial.valid_nll)
        for trial in result.trials
    }


def killed_once(fitter, marker):
    """Return a fitter that kills its own process in its second fit, the first time."""

    class Killed(fitter):  # within a function it is pickled as it is: workers do not find the tests
        def fit(self, *arguments):
            if any(self.folder.glob("fits/*.npy")) and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().fit(*arguments)

    return Killed


def test_trials_are_tasks(cluster, dataset, alone, tmp_path):
    result = sweep(dataset, "made", grid=GRID, max_epochs=2, out=tmp_path, engine=cluster)
    assert len(result.complete()) == 4
    assert found(result) == alone


def test_the_trial_of_a_killed_worker_is_done_anew(cluster, dataset, alone, tmp_path, monkeypatch):
    marker = tmp_path / "killed"
    monkeypatch.setattr(run_module, "Fitter", killed_once(run_module.Fitter, marker))
    result = sweep(dataset, "made", grid=GRID, max_epochs=2, out=tmp_path / "run", engine=cluster)
    assert marker.exists()
    assert found(result) == alone


def test_the_command_goes_on_with_a_cluster_as_without(cluster, complete, tmp_path):
    command = ["sweep", str(complete), "--model", "mixture", "--sampler", "random"]
    command += ["--grid", "n_components=1,2,3,4,5,6"]
    on_ray = ["--engine", "ray"]
    runs = {"alone": [["--trials", "4"]], "shared": [["--trials", "2", *on_ray], ["--trials", "4", *on_ray]]}
    results = []
    for name, steps in runs.items():
        for options in steps:
            assert run([*command, *options, "--out", str(tmp_path / name)]) == 0
        results.append(json.loads((tmp_path / name / "results.json").read_text()))
    one, other = ([str(trial["parameters"]) for trial in each["trials"]] for each in results)
    assert len(one) == 4
    assert sorted(one) == sorted(other)
    for key in ("parameters", "valid_log_likelihood", "test_log_likelihood"):
        assert results[0]["best"][key] == results[1]["best"][key]


def test_an_engine_does_without_workers(cluster, dataset, complete, capsys):
    with pytest.raises(ParameterError, match="2 workers have nothing to do"):
        sweep(dataset, "made", grid=GRID, workers=2, engine=cluster)
    command = ["sweep", str(complete), "--grid", "hidden_sizes=4", "--engine", "ray", "--workers", "2"]
    assert run(command) == 2
    assert "leave it out with --engine" in capsys.readouterr().err
    assert run(["sweep", str(complete), "--grid", "hidden_sizes=4", "--address", "127.0.0.1:1"]) == 2
    assert "goes with --engine ray" in capsys.readouterr().err
