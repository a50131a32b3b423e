"""Commands that were broken off go on: nothing that was done is lost, nothing is done twice."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import load
from chainrule.cli import run
from chainrule.training import Trainer


@pytest.fixture(scope="module")
def bits(tmp_path_factory):
    """Return a file of 200 rows of six bits that depend on each other."""
    path = tmp_path_factory.mktemp("data") / "bits.npy"
    rng = np.random.default_rng(0)
    chance = np.where(rng.random((200, 1)) < 0.5, 0.9, 0.1)
    np.save(path, (rng.random((200, 6)) < chance).astype(np.uint8))
    return path


@pytest.fixture
def break_off(monkeypatch):
    """Return a function that lets Ctrl-C come right before an optimiser step, counted from 1."""
    step, taken = Trainer.train_step, []

    def counted(trainer, batch):
        taken.append(trainer)
        if len(taken) == at[0]:
            raise KeyboardInterrupt
        return step(trainer, batch)

    def set_it(number):
        taken.clear()
        at[0] = number
        return taken

    at = [0]
    monkeypatch.setattr(Trainer, "train_step", counted)
    return set_it


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def arguments(bits, out, *more):
    options = ["--max-epochs", "5", "--hidden-sizes", "8", *more]
    return ["fit", str(bits), "--model", "made", "--out", str(out), *options]


def test_a_resumed_fit_equals_one_that_was_not_broken_off(bits, break_off, tmp_path, capsys):
    whole, out = tmp_path / "whole", tmp_path / "parts"
    taken = break_off(0)
    assert run(arguments(bits, whole)) == 0
    n_steps = len(taken)
    break_off(n_steps // 2)
    assert run(arguments(bits, out)) == 130
    assert "the best weights so far are saved in" in capsys.readouterr().err
    assert names(out) == ["checkpoint.pt", "model.json", "model.safetensors"]
    assert np.isfinite(load(out).score(np.load(bits)))
    taken = break_off(0)
    assert run(arguments(bits, out, "--resume")) == 0
    assert f"going on from {out / 'checkpoint.pt'}" in " ".join(capsys.readouterr().err.split())
    assert len(taken) < n_steps
    assert names(out) == names(whole) == ["model.json", "model.safetensors"]
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert load(out).history_.valid == load(whole).history_.valid
    assert load(out).get_params() == load(whole).get_params()


def test_what_was_broken_off_is_not_lost_by_mistake(bits, break_off, tmp_path, capsys):
    break_off(9)
    assert run(arguments(bits, tmp_path)) == 130
    state = (tmp_path / "checkpoint.pt").read_bytes()
    capsys.readouterr()
    assert run(arguments(bits, tmp_path)) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1 and "--resume" in said and "checkpoint.pt" in said
    assert (tmp_path / "checkpoint.pt").read_bytes() == state


def test_a_state_of_another_fit_is_refused(bits, break_off, tmp_path, capsys):
    break_off(9)
    assert run(arguments(bits, tmp_path)) == 130
    break_off(0)
    for other in (["--seed", "1"], ["--batch-size", "7"], ["--mixture", "laplace"]):
        capsys.readouterr()
        assert run(arguments(bits, tmp_path, "--resume", *other)) == 2
        assert "belongs to a fit with other rows, settings or options" in capsys.readouterr().err
    assert (tmp_path / "checkpoint.pt").exists()


@pytest.mark.parametrize("model", ["made", "mixture-of-bernoullis"])
def test_where_there_is_nothing_to_go_on_with_a_fit_begins_anew(model, bits, tmp_path, capsys):
    options = ["--model", model, "--out", str(tmp_path), "--resume"]
    assert run(["fit", str(bits), *options]) == 0
    assert "nothing to go on with" in capsys.readouterr().err
    assert names(tmp_path) == ["model.json", "model.safetensors"]


def test_files_that_were_being_written_do_not_make_a_folder_foreign(bits, tmp_path):
    out = tmp_path / "model"
    out.mkdir()
    (out / "model.json.partial").write_text("{")
    assert run(arguments(bits, out, "--max-epochs", "1")) == 0
