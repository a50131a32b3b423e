"""Workers of a cluster fit together, and go on when one of them dies."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest

from chainrule import MADE, load
from chainrule.cli import run
from chainrule.distributed import fit_by_workers
from chainrule.errors import DataError

# Processes of one machine find each other by the loopback.
pytestmark = pytest.mark.usefixtures("loopback")


@pytest.fixture
def loopback(monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")


def test_a_killed_worker_changes_no_weight(cluster, rows, tmp_path):
    table, marker = rows["x", "n"], tmp_path / "killed"

    def fit_in(folder, dies):
        def fit():  # within a function it is pickled as it is: workers do not find the tests
            from chainrule.training import Callback
            from chainrule.training.parallel import current_group

            class Die(Callback):
                def on_epoch(self, epoch):
                    is_time = dies and epoch.number == 3 and not current_group().is_first
                    if is_time and not marker.exists():
                        marker.touch()
                        os.kill(os.getpid(), signal.SIGKILL)

            model = MADE((8,), max_epochs=5, dropout=0.1, random_state=0, checkpoint=folder / "checkpoint.pt")
            model.fit(table, callbacks=[Die()])
            return current_group().size, [weight.numpy() for weight in model.model_.state_dict().values()]

        folder.mkdir()
        return fit_by_workers(fit, 2, folder, folder / "checkpoint.pt")

    n_workers, weights = fit_in(tmp_path / "broken", True)
    assert n_workers == 2
    assert marker.exists()
    _, whole = fit_in(tmp_path / "whole", False)
    assert all(np.array_equal(one, other) for one, other in zip(weights, whole, strict=True))


def test_the_command_fits_with_workers(cluster, data, tmp_path):
    command = ["fit", str(data), "--model", "orderless-nade", "--hidden-sizes", "16", "--max-epochs", "2"]
    assert run([*command, "--out", str(tmp_path / "alone"), "--json", str(tmp_path / "alone.json")]) == 0
    alone = json.loads((tmp_path / "alone.json").read_text())
    command += ["--engine", "ray", "--workers", "2"]
    assert run([*command, "--out", str(tmp_path / "shared"), "--json", str(tmp_path / "shared.json")]) == 0
    shared = json.loads((tmp_path / "shared.json").read_text())
    assert shared.keys() == alone.keys()
    assert shared["valid_log_likelihood"] == pytest.approx(alone["valid_log_likelihood"], abs=1e-3)
    assert {path.name for path in (tmp_path / "shared").iterdir()} == {"model.json", "model.safetensors"}
    assert load(tmp_path / "shared").history_.epochs == 2


def test_errors_of_a_worker_are_raised_here(cluster, tmp_path):
    def fit():
        raise DataError("these rows are no good")

    with pytest.raises(DataError, match="these rows are no good"):
        fit_by_workers(fit, 1, tmp_path, tmp_path / "checkpoint.pt")
    with pytest.raises(DataError, match="the cluster has 2 processors"):
        fit_by_workers(fit, 3, tmp_path, tmp_path / "checkpoint.pt")


def test_engine_and_workers_go_together(data, tmp_path, capsys):
    command = ["fit", str(data), "--model", "made", "--out", str(tmp_path / "model")]
    assert run([*command, "--engine", "ray"]) == 2
    assert "needs --workers N" in capsys.readouterr().err
    assert run([*command, "--workers", "2"]) == 2
    assert "goes with --engine ray" in capsys.readouterr().err
