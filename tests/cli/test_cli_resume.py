"""Commands that were broken off go on: nothing that was done is lost, nothing is done twice."""

from __future__ import annotations

import errno
import json
import os

import numpy as np
import polars as pl
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
    """Return a function that lets Ctrl-C come right after an optimiser step, counted from 1; 0 is never."""
    tell_of_step, taken = Trainer.tell_of_step, []

    def counted(trainer, nll):
        taken.append(trainer.step)
        if len(taken) == at[0]:
            raise KeyboardInterrupt
        return tell_of_step(trainer, nll)

    def set_it(number):
        taken.clear()
        at[0] = number
        return taken

    at = [0]
    monkeypatch.setattr(Trainer, "tell_of_step", counted)
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
    assert len(taken) == n_steps - n_steps // 2
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


# ---------------------------------------------------------------- compare

COMPARED = "independent,made,orderless-nade"


def comparison(table, out, *more):
    return ["compare", str(table), "--models", COMPARED, "--max-epochs", "3", "--out", str(out), *more]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "table.csv"
    rng = np.random.default_rng(0)
    colour = rng.choice(["blue", "green", "red"], 150)
    pl.DataFrame({"colour": colour, "height": rng.normal(size=150) + (colour == "red")}).write_csv(path)
    return path


@pytest.fixture(scope="module")
def whole(table, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    assert run(comparison(table, out)) == 0
    return out


def without_times(value):
    """Return results without what a clock says."""
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if "seconds" not in key}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def results(folder):
    return without_times(json.loads((folder / "results.json").read_text()))


def assert_same_run(folder, whole):
    assert names(folder) == names(whole) == ["explore.html", "models", "report.html", "results.json"]
    assert results(folder) == results(whole)
    for path in whole.glob("models/*/model.safetensors"):
        assert (folder / path.relative_to(whole)).read_bytes() == path.read_bytes()


def steps_of_all(folder):
    models = [load(folder / "models" / name) for name in ("made", "orderless-nade")]
    return sum(4 * each.history_.epochs for model in models for each in getattr(model, "members_", [model]))


@pytest.mark.parametrize("at", [5, 22, 40])
def test_a_resumed_comparison_equals_a_whole_one(at, table, whole, break_off, tmp_path, capsys):
    n_steps = steps_of_all(whole)
    break_off(at)
    out = tmp_path / "parts"
    assert run(comparison(table, out)) == 130
    said = " ".join(capsys.readouterr().err.split())
    assert f"the same command with --out {out} --resume goes on" in said
    assert run(comparison(table, out)) == 2
    assert "--resume" in capsys.readouterr().err
    taken = break_off(0)
    assert run(comparison(table, out, "--seed", "1", "--resume")) == 2
    assert "other settings (random_state, rows)" in capsys.readouterr().err
    assert not taken
    assert run(comparison(table, out, "--resume")) == 0
    assert len(taken) == n_steps - at
    assert_same_run(out, whole)


def test_models_that_are_done_are_not_fitted_again(table, whole, tmp_path, monkeypatch):
    """Not even where only the report was still missing."""
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("chainrule.experiments.compare.write_report", interrupt)
        assert run(comparison(table, out)) == 130
    with monkeypatch.context() as patch:
        patch.setattr("chainrule.experiments.compare._fit", fail)
        assert run(comparison(table, out, "--resume")) == 0
    assert_same_run(out, whole)


def test_a_model_that_was_damaged_meanwhile_is_fitted_again(table, whole, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("chainrule.experiments.compare.write_report", interrupt)
        assert run(comparison(table, out)) == 130
    (out / "models" / "made" / "model.safetensors").write_bytes(b"")
    assert run(comparison(table, out, "--resume")) == 0
    assert_same_run(out, whole)


def test_a_comparison_to_go_on_with_needs_its_folder(table, capsys):
    assert run(["compare", str(table), "--resume"]) == 2
    assert "--resume needs --out" in capsys.readouterr().err


def test_where_there_is_nothing_to_go_on_with_a_comparison_begins_anew(table, whole, tmp_path, capsys):
    assert run(comparison(table, tmp_path / "run", "--resume")) == 0
    assert "nothing to go on with" in capsys.readouterr().err
    assert_same_run(tmp_path / "run", whole)


def interrupt(*_, **__):
    raise KeyboardInterrupt


def fail(*_, **__):
    raise AssertionError("a model that is done was fitted again")


# ---------------------------------------------------------------- a full disk


def test_a_disk_that_fills_up_at_any_moment_loses_nothing(bits, tmp_path, monkeypatch, capsys):
    whole = tmp_path / "whole"
    assert run(arguments(bits, whole)) == 0
    fsync, codes = os.fsync, []
    for number in range(20):
        out, synced = tmp_path / str(number), []
        assert run(arguments(bits, out, "--seed", "1", "--max-epochs", "1")) == 0
        earlier = (out / "model.safetensors").read_bytes()

        def fail_late(descriptor, number=number, synced=synced):
            synced.append(descriptor)
            if len(synced) > number:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fsync(descriptor)

        capsys.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail_late)
            codes.append(run(arguments(bits, out)))
        if codes[-1] == 2:
            assert (out / "model.safetensors").read_bytes() == earlier
            assert load(out).random_state == 1
            errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
            assert len(errors) == 1 and "No space left on device" in errors[0]
            assert run(arguments(bits, out, "--resume")) == 0
        assert names(out) == ["model.json", "model.safetensors"]
        assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
        if len(synced) <= number:
            break
    assert codes == sorted(codes, reverse=True) and set(codes) == {0, 2}
