"""A fit that is broken off goes on as if nothing had happened, and from nothing that is not its own."""

from __future__ import annotations

import copy
import dataclasses
import io
import math
import signal
from hashlib import sha256

import numpy as np
import pytest
import torch
from trainers import SPECS, InterruptAt, assert_same_fit, each_spec, rows, trainer

from chainrule import MADE, NADE, PixelCNN
from chainrule.errors import CheckpointWarning, FitInterrupted, ParameterError, StorageError
from chainrule.training import Callback, mean_nll
from chainrule.training.checkpoint import save_checkpoint

# ---------------------------------------------------------------- resuming


@each_spec
@pytest.mark.parametrize("epoch", [1, 2, 5])
def test_an_interrupted_fit_that_resumes_equals_one_that_was_not(name, epoch, tmp_path):
    whole = trainer(name)
    whole.run()
    checkpoint = tmp_path / "checkpoint"
    with pytest.raises(FitInterrupted, match=f"stopped after {epoch} epochs"):
        trainer(name, callbacks=[InterruptAt(epoch)]).run(checkpoint)
    resumed = trainer(name)
    resumed.run(checkpoint)
    assert_same_fit(resumed, whole)
    assert not resumed.history.interrupted


class InterruptAtStep(Callback):
    """Is a Ctrl-C right after an optimiser step."""

    def __init__(self, number):
        self.number = number

    def on_step(self, step):
        if step.number == self.number:
            raise KeyboardInterrupt


@each_spec
@pytest.mark.parametrize("step", [1, 12, 15])
def test_a_fit_resumes_in_the_middle_of_an_epoch(name, step, tmp_path, monkeypatch):
    whole = trainer(name)
    whole.run()
    with pytest.raises(FitInterrupted, match=f"stopped after {(step - 1) // 5} epochs"):
        trainer(name, callbacks=[InterruptAtStep(step)]).run(tmp_path / "checkpoint")
    resumed = trainer(name)
    taken = []
    train_step = resumed.train_step
    monkeypatch.setattr(resumed, "train_step", lambda batch: taken.append(len(batch)) or train_step(batch))
    resumed.run(tmp_path / "checkpoint")
    assert len(taken) == len(whole.batch_nll) - step, "steps were taken twice"
    assert resumed.batch_nll == whole.batch_nll
    assert_same_fit(resumed, whole)


@each_spec
def test_a_step_that_was_broken_off_is_taken_again(name, tmp_path, monkeypatch):
    """No handler of signals does that, as they wait for the end of a step; but whoever raises it himself."""
    whole = trainer(name)
    whole.run()
    stopped = trainer(name)
    clip = "chainrule.training.loop.clip_grad_norm_"

    def fail_at_step(weights, norm):
        if stopped.step == 12:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(FitInterrupted, match="stopped after 2 epochs"):
        patch.setattr(clip, fail_at_step)
        stopped.run(tmp_path / "checkpoint")
    resumed = trainer(name)
    resumed.run(tmp_path / "checkpoint")
    assert_same_fit(resumed, whole)


@pytest.mark.parametrize("place", ["train_step", "validate", "end_epoch"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_fit_where_its_state_is_whole(number, place, tmp_path, monkeypatch):
    whole = trainer("made")
    whole.run()
    stopped = trainer("made")
    work, calls = getattr(stopped, place), []

    def signalled(*arguments):
        calls.append(place)
        if len(calls) == 3:
            signal.raise_signal(number)
        return work(*arguments)

    monkeypatch.setattr(stopped, place, signalled)
    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(FitInterrupted):
            stopped.run(tmp_path / "checkpoint")
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    assert stopped.step == (3 if place == "train_step" else 15)
    resumed = trainer("made")
    resumed.run(tmp_path / "checkpoint")
    assert_same_fit(resumed, whole)


def test_the_state_of_any_moment_can_be_taken_up(tmp_path, monkeypatch):
    """Killed without warning, a fit goes on from the last state that it wrote."""
    monkeypatch.setattr("chainrule.training.checkpoint._EVERY", 0.0)
    monkeypatch.setattr("chainrule.training.checkpoint._COSTS_BETWEEN", 0)
    states = []

    def keep(trainer, path):
        save_checkpoint(trainer, path)
        states.append(path.read_bytes())

    monkeypatch.setattr("chainrule.training.checkpoint.save_checkpoint", keep)
    path = tmp_path / "checkpoint"
    whole = trainer("made ensemble, context", dropout=0.2, schedule="cosine")
    whole.run(path)
    written = list(states)
    # After each of 6 x 5 steps and each epoch, and at the end.
    assert len(written) == 37
    for state in written:
        path.write_bytes(state)
        resumed = trainer("made ensemble, context", dropout=0.2, schedule="cosine")
        resumed.run(path)
        assert_same_fit(resumed, whole)


def test_states_are_written_after_the_first_epoch_every_minute_and_at_the_end(tmp_path, monkeypatch):
    clock, written = [0.0], []

    def save(fit, path):
        written.append((fit.step, fit.epoch is None))
        clock[0] += cost

    class Tick(Callback):
        def on_step(self, step):
            clock[0] += 10.0

    monkeypatch.setattr("chainrule.training.checkpoint.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr("chainrule.training.checkpoint.save_checkpoint", save)
    cost = 0.1
    trainer("made", callbacks=[Tick()]).run(tmp_path / "checkpoint")
    assert written == [(5, True), (12, False), (19, False), (26, False), (30, True)]
    written.clear()
    cost = 3.0  # then it may be written every 150 s
    trainer("made", callbacks=[Tick()]).run(tmp_path / "checkpoint")
    assert written == [(5, True), (21, False), (30, True)]


def test_a_state_that_cannot_be_kept_is_a_warning(tmp_path, monkeypatch):
    whole = trainer("made")
    whole.run()
    fit = trainer("made")

    def no_room(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("chainrule.training.checkpoint.write_bytes", no_room)
    with pytest.warns(CheckpointWarning, match="could not be kept in .*No space left"):
        fit.run(tmp_path / "checkpoint")
    assert_same_fit(fit, whole)


def test_a_fit_that_diverged_leaves_no_state(tmp_path):
    path = tmp_path / "checkpoint"
    trainer("made", max_epochs=2).run(path)
    diverging = trainer("made")
    diverging.train_step = lambda batch: math.nan
    with pytest.raises(FloatingPointError, match="smaller learning_rate"):
        diverging.run(path)
    assert not path.exists()


def test_time_that_was_spent_counts(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint"
    stopped = trainer("made", max_time=1e6, callbacks=[InterruptAtStep(7)])
    stopped.began -= 1000.0
    with pytest.raises(FitInterrupted):
        stopped.run(path)
    resumed = trainer("made", max_time=1e6, callbacks=[InterruptAtStep(8)])
    with pytest.raises(FitInterrupted):
        resumed.run(path)
    assert 1000 < resumed.seconds() < 1100


def test_a_fit_resumes_twice_and_without_validation_rows(tmp_path):
    whole = trainer("made", valid=False)
    whole.run()
    for epoch in (2, 4):
        with pytest.raises(FitInterrupted):
            trainer("made", valid=False, callbacks=[InterruptAt(epoch)]).run(tmp_path / "checkpoint")
    resumed = trainer("made", valid=False)
    resumed.run(tmp_path / "checkpoint")
    assert_same_fit(resumed, whole)


def test_a_finished_fit_can_be_given_more_epochs(tmp_path):
    whole = trainer("made", max_epochs=6)
    whole.run()
    trainer("made", max_epochs=3).run(tmp_path / "checkpoint")
    longer = trainer("made", max_epochs=6)
    longer.run(tmp_path / "checkpoint")
    assert_same_fit(longer, whole)


def test_a_finished_fit_that_is_taken_up_again_changes_nothing(tmp_path):
    done = trainer("made")
    done.run(tmp_path / "checkpoint")
    again = trainer("made")
    again.run(tmp_path / "checkpoint")
    assert_same_fit(again, done)


def test_seeds_matter():
    """The comparison above is of fits that would differ under another seed."""
    a, b = trainer("made", seed=0), trainer("made", seed=1)
    a.run()
    b.run()
    assert a.history.train != b.history.train


def test_an_interrupted_fit_leaves_the_best_weights_so_far():
    fit = trainer("nade", learning_rate=0.3, max_epochs=30, patience=30, callbacks=[InterruptAt(25)])
    with pytest.raises(FitInterrupted):
        fit.run()
    assert fit.history.interrupted
    assert fit.history.epochs == 25
    assert not fit.model.training
    best = min(fit.history.valid)
    assert fit.history.valid[fit.history.best_epoch - 1] == best
    assert mean_nll(fit.model, fit.valid) == pytest.approx(best, abs=1e-9)
    assert fit.history.best_epoch < 25, "the last weights are the best: the test shows nothing"


def test_an_interrupt_before_the_first_epoch_ends_leaves_a_usable_model(monkeypatch):
    fit = trainer("nade")
    monkeypatch.setattr(fit, "train_step", lambda batch: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(FitInterrupted, match="stopped after 0 epochs"):
        fit.run()
    assert math.isfinite(mean_nll(fit.model, fit.valid))
    assert fit.history.best_epoch == 0


@pytest.mark.parametrize(
    "estimator",
    [
        NADE(6, n_orderings=2),
        MADE((6, 6), dropout=0.5),
        MADE((6,), dropout=0.5, n_masks=3, n_orderings=2, ordering="random"),
        PixelCNN(4, n_layers=1, dropout=0.5, ordering="random", n_orderings=2),
    ],
    ids=["NADE", "MADE", "ensemble", "PixelCNN"],
)
def test_an_interrupted_estimator_resumes_bit_by_bit(estimator, tmp_path):
    X = np.random.default_rng(0).integers(0, 2, (100, 5))
    estimator.set_params(max_epochs=6, batch_size=20, random_state=3, checkpoint=None, verbose=False)
    whole = copy.deepcopy(estimator).fit(X)

    stopped = copy.deepcopy(estimator).set_params(checkpoint=tmp_path / "state", verbose=True)
    with pytest.raises(FitInterrupted):
        stopped.fit(X, callbacks=[InterruptAt(4)])
    assert stopped.history_.interrupted
    assert np.isfinite(stopped.score(X))
    resumed = copy.deepcopy(estimator).set_params(checkpoint=tmp_path / "state").fit(X)
    assert resumed.history_.valid == whole.history_.valid
    np.testing.assert_array_equal(resumed.score_samples(X), whole.score_samples(X))
    np.testing.assert_array_equal(resumed.sample(20, random_state=1), whole.sample(20, random_state=1))


# ---------------------------------------------------------------- damaged and foreign checkpoints


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "checkpoint"
    trainer("made", max_epochs=2).run(path)
    return path


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 16
    path.write_bytes(bytes(content))


def write_state(state, path):
    """Write what passes as undamaged."""
    torch.save(state, path)
    content = path.read_bytes()
    path.write_bytes(sha256(content).digest() + content)


class Payload:
    """What a malicious pickle holds: a call to make on loading."""

    def __reduce__(self):
        return (print, ("code from a checkpoint ran",))


DAMAGES = {
    "truncated": truncate,
    "altered": flip_a_bit,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not a checkpoint"),
    "a list": lambda path: write_state([1, 2], path),
    "a tensor": lambda path: write_state(torch.ones(3), path),
    "another dictionary": lambda path: write_state({"weights": torch.ones(3)}, path),
    "with code": lambda path: write_state({"identity": Payload()}, path),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_checkpoint_is_refused_with_advice(name, checkpoint, capsys):
    DAMAGES[name](checkpoint)
    with pytest.raises(StorageError, match="delete it to start anew") as caught:
        trainer("made").run(checkpoint)
    assert str(checkpoint) in str(caught.value)
    assert "code from a checkpoint ran" not in capsys.readouterr().out


def test_parts_missing_from_a_checkpoint_are_noticed(checkpoint):
    state = torch.load(io.BytesIO(checkpoint.read_bytes()[32:]), weights_only=True)
    for part in set(state):
        write_state({key: value for key, value in state.items() if key != part}, checkpoint)
        with pytest.raises(StorageError, match="delete it to start anew"):
            trainer("made").run(checkpoint)


@pytest.mark.parametrize(
    "option",
    [
        {"learning_rate": 0.02},
        {"batch_size": 17},
        {"weight_decay": 0.5},
        {"tolerance": 0.5},
        {"schedule": "cosine"},
        {"resample_every": 2},
    ],
)
def test_a_checkpoint_of_other_options_is_refused(option, checkpoint):
    with pytest.raises(StorageError, match="other rows, settings or options, or another seed"):
        trainer("made", **option).run(checkpoint)


def test_a_checkpoint_of_other_rows_is_refused(checkpoint):
    other = trainer("made")
    other.train = rows(SPECS["made"], 70, 5)
    with pytest.raises(StorageError, match="other rows, settings or options, or another seed"):
        other.run(checkpoint)


@pytest.mark.parametrize("other", [{"name": "nade"}, {"name": "made", "dropout": 0.1}])
def test_a_checkpoint_of_another_network_is_refused(other, checkpoint):
    with pytest.raises(StorageError, match="other rows, settings or options, or another seed"):
        trainer(**other).run(checkpoint)


def test_a_checkpoint_of_a_model_of_another_shape_is_refused(checkpoint, monkeypatch):
    monkeypatch.setitem(SPECS, "made", dataclasses.replace(SPECS["made"], hidden=(8, 9)))
    with pytest.raises(StorageError, match="model of another shape"):
        trainer("made").run(checkpoint)


def test_a_checkpoint_without_a_seed_is_refused_before_the_fit(tmp_path):
    with pytest.raises(ParameterError, match="needs a random_state"):
        MADE(checkpoint=tmp_path / "state").fit(np.eye(20))
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("other", [{"random_state": 1}, {"mixture": "laplace"}, {"encoding": "scaled"}])
def test_a_checkpoint_of_other_parameters_is_refused(other, tmp_path):
    given = {"max_epochs": 1, "random_state": 0, "checkpoint": tmp_path / "state"}
    X = np.random.default_rng(0).normal(size=(40, 3))
    MADE((4,), **given).fit(X[:30], X_val=X[30:])
    with pytest.raises(StorageError, match="or another seed"):
        MADE((4,), **given | other).fit(X[:30], X_val=X[30:])
