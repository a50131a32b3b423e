"""The fit loop: what it learns, when it stops, and that an interrupted fit loses nothing."""

from __future__ import annotations

import copy
import inspect
import io
import itertools
import math
import sys
from typing import get_type_hints

import numpy as np
import pytest
import torch
from sklearn.base import clone
from trainers import InterruptAt, Listener, assert_same_fit, each_spec, trainer

from chainrule import MADE, NADE, OrderlessNADE, inference, load
from chainrule.cli.fitting import fit as fit_command
from chainrule.conditioners import Conditioner
from chainrule.errors import FitInterrupted, ParameterError, StorageError
from chainrule.estimators.autoregressive import AutoregressiveEstimator
from chainrule.estimators.shared_arguments import SharedArguments
from chainrule.training import (
    Callback,
    EarlyStopping,
    Epoch,
    FitProgress,
    History,
    Plan,
    Rows,
    Step,
    evaluation_batch,
    mean_nll,
    validation_nll,
)
from chainrule.training.adamw import AdamW
from chainrule.training.checkpoint import fit_identity
from chainrule.training.options import TRAINING_OPTIONS, TrainingArguments
from strategies import Spec, build, random_rows

# ---------------------------------------------------------------- stopping


def fake_validation(monkeypatch, values):
    """Let the validation NLL of each epoch be the given one."""
    left = iter(values)
    monkeypatch.setattr("chainrule.training.validation.mean_nll", lambda model, rows, group: next(left))


def test_patience_ends_the_fit_and_the_best_epoch_is_kept(monkeypatch):
    fake_validation(monkeypatch, [5.0, 4.0, 4.5, 4.2, 4.1, 3.0])
    kept = []
    listener = Listener(lambda epoch: kept.append(copy.deepcopy(fit.averaged.state_dict())))
    fit = trainer("made", patience=3, max_epochs=10, callbacks=[listener])
    fit.run()
    assert fit.history.epochs == 5
    assert fit.history.best_epoch == 2
    for key, weight in fit.model.state_dict().items():
        assert torch.equal(weight, kept[1][key])


def test_the_learning_rate_drops_while_nothing_improves(monkeypatch):
    fake_validation(monkeypatch, [1.0] + [2.0] * 9)
    rates = []
    listener = Listener(lambda epoch: rates.append(fit.learning_rate()))
    fit = trainer("made", patience=9, max_epochs=20, learning_rate=0.01, callbacks=[listener])
    fit.run()
    expected = [0.01] * 3 + [0.003] * 3 + [0.0009] * 3 + [0.00027]
    assert rates == pytest.approx(expected)


def test_the_learning_rate_falls_along_a_cosine_to_nothing(monkeypatch):
    fake_validation(monkeypatch, [1.0] + [2.0] * 9)
    rates = []
    listener = Listener(lambda epoch: rates.append(fit.learning_rate()))
    fit = trainer(
        "made", patience=20, max_epochs=4, learning_rate=0.01, schedule="cosine", callbacks=[listener]
    )
    fit.run()
    assert rates == pytest.approx([0.01 * share for share in (0.5 + 0.125**0.5, 0.5, 0.5 - 0.125**0.5, 0)])
    fit = trainer("made", max_epochs=4, learning_rate=0.01, schedule="cosine")
    assert fit.learning_rate() < 0.01 * 0.1  # it rises first


def test_a_fit_that_stopped_gaining_cools_down_before_it_ends(monkeypatch):
    fake_validation(monkeypatch, [1.0] + [2.0] * 30)
    rates = []
    listener = Listener(lambda epoch: rates.append(fit.learning_rate()))
    fit = trainer("made", patience=10, max_epochs=30, schedule="cosine", callbacks=[listener])
    fit.run()
    # Patience ends after 11 epochs, of which a fifth is 11 steps: three epochs of five.
    assert fit.history.epochs == 14
    assert rates[10] > 0.5 * 0.01
    assert rates[10] > rates[11] > rates[12] > 0 == rates[13]


def test_a_fit_that_cools_down_resumes_where_it_was(monkeypatch, tmp_path):
    def run(callbacks=(), checkpoint=None):
        fake_validation(monkeypatch, [1.0] + [2.0] * 30)
        options = {"patience": 10, "max_epochs": 30, "schedule": "cosine"}
        fit = trainer("made", callbacks=callbacks, **options)
        return fit, fit.run(checkpoint)

    whole, _ = run()
    with pytest.raises(FitInterrupted):
        run([InterruptAt(13)], tmp_path / "state.pt")
    monkeypatch.undo()
    monkeypatch.setattr("chainrule.training.validation.mean_nll", lambda model, rows, group: 2.0)
    again = trainer("made", patience=10, max_epochs=30, schedule="cosine")
    again.run(tmp_path / "state.pt")
    assert again.history.train == whole.history.train


def test_a_budget_of_time_ends_a_fit_in_the_middle_of_an_epoch(monkeypatch):
    now = itertools.count()
    monkeypatch.setattr("chainrule.training.loop.working_time", lambda: float(next(now)))
    fit = trainer("made", max_epochs=10_000, max_time=100.0, schedule="cosine")
    fit.run()
    assert fit.progress() >= 1 and fit.step < 100
    assert fit.learning_rate() == pytest.approx(0, abs=1e-6)


def test_a_cosine_needs_no_validation_rows():
    fit = trainer("made", valid=False, max_epochs=3, schedule="cosine")
    fit.run()
    assert fit.learning_rate() == pytest.approx(0, abs=1e-12)


def test_a_cosine_goes_on_only_towards_the_same_last_epoch(tmp_path):
    checkpoint = tmp_path / "state.pt"
    trainer("made", max_epochs=2, schedule="cosine").run(checkpoint)
    with pytest.raises(StorageError, match="other rows, settings or options, or another seed"):
        trainer("made", max_epochs=3, schedule="cosine").run(checkpoint)


def test_without_validation_rows_all_epochs_run_and_the_last_weights_stay():
    fit = trainer("made", valid=False, max_epochs=4)
    history = fit.run()
    assert (history.epochs, history.best_epoch, history.valid) == (4, 4, [])
    for key, weight in fit.model.state_dict().items():
        assert torch.equal(weight, fit.averaged.state_dict()[key])


def test_what_falls_by_less_than_the_tolerance_counts_as_no_improvement():
    stopping = EarlyStopping(patience=3, tolerance=0.1)
    course = [5.0, 4.95, 4.89, 4.8, 4.7, 4.69]
    seen = [(stopping.update(nll), stopping.epochs_without_improvement, stopping.best_nll) for nll in course]
    assert seen == [
        (False, 0, 5.0),
        (False, 1, 5.0),
        (False, 0, 4.89),
        (False, 1, 4.89),
        (False, 0, 4.7),
        (False, 1, 4.7),
    ]
    assert [stopping.update(nll) for nll in (4.7, math.nan, 0.0)] == [False, True, False]


def test_the_tolerance_is_in_nats_per_variable(monkeypatch):
    for tolerance, epochs in ((0.099, 10), (0.101, 2)):
        fake_validation(monkeypatch, [10.0 - 0.5 * epoch for epoch in range(10)])
        fit = trainer("made", patience=1, max_epochs=10, tolerance=tolerance)
        assert fit.run().epochs == epochs, "five variables, and half a nat less in each epoch"


def test_the_best_weights_are_kept_even_where_progress_is_small(monkeypatch):
    fake_validation(monkeypatch, [1.0, 0.99, 0.98, 0.985])
    fit = trainer("made", patience=3, max_epochs=10, tolerance=1.0)
    assert (fit.run().epochs, fit.history.best_epoch) == (4, 3)


# ---------------------------------------------------------------- callbacks


class Counting(Callback):
    def __init__(self, last=None):
        self.steps, self.epochs, self.last = [], [], last

    def on_step(self, step):
        self.steps.append(step)

    def on_epoch(self, epoch):
        self.epochs.append(epoch.number)
        return epoch.number == self.last


def test_callbacks_hear_of_each_step_and_epoch_and_change_nothing():
    alone = trainer("made")
    alone.run()
    counting = Counting()
    fit = trainer("made", callbacks=[Counting(), counting])
    fit.run()
    assert_same_fit(fit, alone)
    assert [step.number for step in counting.steps] == [*range(1, 31)]
    assert [step.nll for step in counting.steps] == fit.batch_nll
    assert counting.epochs == [1, 2, 3, 4, 5, 6]


def test_a_callback_ends_a_fit_and_all_others_still_hear_of_the_epoch(tmp_path):
    counting = Counting()
    fit = trainer("made", callbacks=[Counting(last=3), counting])
    assert fit.run(tmp_path / "checkpoint").epochs == 3
    assert counting.epochs == [1, 2, 3]
    assert not fit.history.interrupted
    resumed, whole = trainer("made"), trainer("made")
    resumed.run(tmp_path / "checkpoint")
    whole.run()
    assert_same_fit(resumed, whole)


def test_estimators_take_callbacks_for_one_fit():
    X = np.random.default_rng(0).integers(0, 2, (100, 5))
    counting = Counting(last=2)
    model = MADE((4,), max_epochs=5, random_state=0).fit(X, callbacks=[counting])
    assert model.history_.epochs == 2
    model.fit(X)
    assert counting.epochs == [1, 2]
    assert model.history_.epochs == 5


def test_a_callback_hears_of_each_epoch_and_is_no_parameter(tmp_path):
    X = np.random.default_rng(0).normal(100.0, 30.0, (100, 3))
    model = MADE((4,), max_epochs=3, random_state=0)
    heard = []
    model.fit(X, callbacks=[Listener(heard.append)])
    assert [epoch.train for epoch in heard] == model.history_.train
    assert [epoch.valid for epoch in heard] == model.history_.valid
    assert "callbacks" not in model.get_params()
    assert "_callbacks" not in vars(model)
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").history_ == model.history_


# ---------------------------------------------------------------- epochs


def test_epochs_are_reported_as_they_end():
    seen = []
    history = trainer("made", max_epochs=4, callbacks=[Listener(seen.append)]).run()
    assert [epoch.number for epoch in seen] == [1, 2, 3, 4]
    assert [epoch.train for epoch in seen] == history.train
    assert [epoch.valid for epoch in seen] == history.valid
    assert [epoch.number for epoch in seen if epoch.is_best][-1] == history.best_epoch
    assert all(epoch.seconds_left >= 0 for epoch in seen)
    assert seen[-1].seconds_left == 0


def test_a_fit_that_diverges_says_so():
    fit = trainer("made")
    with torch.no_grad():
        next(fit.model.parameters()).fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="training NLL became nan in epoch 1; try a smaller"):
        fit.run()


# ---------------------------------------------------------------- learning


def test_training_lowers_the_nll():
    generator = torch.Generator().manual_seed(0)
    first = torch.randint(2, (400, 1), generator=generator).float()
    fit = trainer("made", dropout=0.0, max_epochs=40, valid=False)
    fit.train = Rows(first.expand(-1, 5).contiguous())
    history = fit.run()
    assert history.train[-1] < 1.0 < history.train[0]
    assert mean_nll(fit.model, fit.train) == pytest.approx(math.log(2), abs=0.1)


@each_spec
def test_members_take_turns_and_each_step_trains_one(name, monkeypatch):
    fit = trainer(name, max_epochs=2, resample_every=2)
    seen = []
    inner = fit.model.training_log_prob
    monkeypatch.setattr(
        fit.model, "training_log_prob", lambda x, member=0, c=None: seen.append(member) or inner(x, member, c)
    )
    fit.run_epochs()
    assert seen == [step // 2 % fit.model.n_members for step in range(10)]


def test_weight_decay_spares_biases(monkeypatch):
    """Without gradients in the way, matrices shrink by the decay of each step and biases stay."""
    fit = trainer("made", weight_decay=0.5)
    before = copy.deepcopy(fit.model.state_dict())
    for weight in fit.weights:
        weight.grad = torch.zeros_like(weight)
    fit.optimizer.step(0.1)
    for name, weight in fit.model.named_parameters():
        share = 1.0 if name.endswith("bias") else 1 - 0.1 * 0.5
        torch.testing.assert_close(weight.detach(), share * before[name])


def test_the_optimizer_is_pytorchs_adamw():
    weights = [torch.randn(4, 3).requires_grad_(), torch.randn(3).requires_grad_()]
    theirs = [weight.detach().clone().requires_grad_() for weight in weights]
    ours = AdamW(weights, [True, False], weight_decay=0.1, epsilon=1e-3)
    groups = [{"params": theirs[:1], "weight_decay": 0.1}, {"params": theirs[1:], "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=0.05, eps=1e-3)
    for step in range(5):
        for mine, other in zip(weights, theirs, strict=True):
            other.grad = torch.randn(other.shape, generator=torch.Generator().manual_seed(step))
            mine.grad = other.grad.clone()
        ours.step(0.05)
        reference.step()
        torch.testing.assert_close(weights, theirs)


@each_spec
def test_what_decays_are_the_parameters_that_are_no_biases(name):
    conditioner = trainer(name).model.conditioner
    decayed = {id(p) for p in conditioner.decayed_parameters()}
    assert {n for n, p in conditioner.named_parameters() if id(p) not in decayed} == {
        n for n, _ in conditioner.named_parameters() if n.endswith("bias")
    }


@pytest.mark.parametrize("method", ["settings", "activations_per_row", "decayed_parameters"])
def test_a_conditioner_must_state_what_has_no_safe_default(method):
    assert method in Conditioner.__abstractmethods__


def test_a_fit_draws_from_its_own_generators_alone():
    state = torch.get_rng_state()
    trainer("made ensemble, context").run()
    assert torch.equal(torch.get_rng_state(), state)


@each_spec
def test_evaluation_in_batches_equals_one_of_all_rows(name, monkeypatch):
    fit = trainer(name)
    with torch.no_grad():
        expected = -float(fit.model.log_prob(fit.valid.codes, fit.valid.context).mean())
    for size in (1, 7, 30, 1000):
        monkeypatch.setattr("chainrule.training.validation.evaluation_batch", lambda model, size=size: size)
        assert mean_nll(fit.model, fit.valid) == pytest.approx(expected, rel=1e-6)


def test_evaluation_batches_shrink_with_the_widest_layer():
    narrow = build(Spec(hidden=(4,)))
    wide = build(Spec(hidden=(100_000,)))
    assert evaluation_batch(narrow) == 4096
    assert 1 <= evaluation_batch(wide) < 200


# ---------------------------------------------------------------- history and progress


def test_history_counts_epochs_and_becomes_json():
    history = History(train=[3.0, 2.0], valid=[3.5, 2.5], best_epoch=2, seconds=1.5)
    assert history.epochs == 2
    assert History(**history.to_dict()) == history


class Terminal(io.StringIO):
    """A stream that takes itself for a terminal."""

    def isatty(self):
        return True


def tell(progress):
    """Tell of a fit that lasts two epochs."""
    with progress:
        progress.on_plan(Plan(12.3, 2, 5))
        progress.on_epoch(Epoch(1, 4.25, 4.5, True, 2.0))
        progress.on_step(Step(10, 4.25, 0.5))
        progress.on_epoch(Epoch(2, 4.125, None, False, 1.0))
        progress.on_step(Step(20, 4.125, 1.0))


def test_progress_is_a_bar_on_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    tell(FitProgress("MADE", visible=True))
    shown = sys.stderr.getvalue()
    assert "MADE: about 12 s" in shown
    assert "100 %" in shown
    assert "train 4.125" in shown


def test_progress_is_lines_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr("chainrule.progress._LINE_EVERY", 0.0)
    tell(FitProgress("MADE", visible=True))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "MADE: about 12 s",
        "MADE: 50%  epoch 1  train 4.250  valid 4.500 nats  best 4.500 in epoch 1",
        "MADE: 100%  epoch 2  train 4.125",
    ]


def test_hidden_progress_says_nothing(capsys, monkeypatch):
    monkeypatch.setattr("chainrule.progress._LINE_EVERY", 0.0)
    tell(FitProgress("MADE", visible=False))
    assert capsys.readouterr() == ("", "")


# ---------------------------------------------------------------- validation by Monte Carlo


def test_a_validation_estimate_repeats_and_comes_close_to_the_mean_of_all_orders():
    spec = Spec(network="orderless", kinds=("binary",) * 4, n_levels=(2,) * 4, hidden=(6,), seed=4)
    model = build(spec, dtype=torch.float32)
    rows = Rows(random_rows(spec, 50, dtype=torch.float32))
    estimate = validation_nll(model, rows)
    assert estimate == validation_nll(model, rows)
    every = torch.ones_like(rows.codes, dtype=torch.bool)
    with torch.no_grad():
        exact = -torch.stack(
            [
                inference.log_prob(model, rows.codes, ~every, every, torch.tensor(order)).mean()
                for order in itertools.permutations(range(4))
            ]
        ).mean()
    assert estimate == pytest.approx(float(exact), abs=0.05)
    assert model.conditioner.generator is None


# ---------------------------------------------------------------- a training option reaches everywhere

ESTIMATORS = (NADE, MADE, OrderlessNADE)
each_option = pytest.mark.parametrize("name", TRAINING_OPTIONS)
# A value other than the default, and one that is out of range.
VALUES = {
    "learning_rate": (0.03, 0.0),
    "weight_decay": (0.3, -1.0),
    "batch_size": (33, 0),
    "max_epochs": (7, 0),
    "max_time": (1e6, 0.0),
    "patience": (3, 0),
    "tolerance": (0.1, -1.0),
    "schedule": ("plateau", "stairs"),
}


@each_option
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_training_option_is_a_checked_and_documented_constructor_argument(estimator, name):
    option = TRAINING_OPTIONS[name]
    assert name in inspect.signature(estimator).parameters
    assert f"\n    {name} : " in estimator.__doc__
    assert option.help
    another, wrong = VALUES[name]
    assert clone(estimator(**{name: another})).get_params()[name] == another
    assert getattr(estimator(**{name: another})._options(), name) == another
    assert name in estimator._parameter_constraints
    with pytest.raises(ParameterError, match=name):
        estimator(**{name: wrong}).fit(np.zeros((10, 2)))


@each_option
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_default_of_a_training_option_is_declared_once(estimator, name):
    assert getattr(estimator()._options(), name) == TRAINING_OPTIONS[name].default


@each_option
def test_a_training_option_is_an_option_of_the_fit_command(name):
    assert name in inspect.signature(fit_command).parameters


@each_option
def test_a_checkpoint_belongs_to_the_options_that_are_no_durations(name):
    option = TRAINING_OPTIONS[name]
    another, _ = VALUES[name]
    given = {"learning_rate": None, "batch_size": None, "schedule": "plateau", "max_epochs": 6}
    if name == "schedule":
        given["schedule"] = "cosine"
    same = fit_identity(trainer("made", **given)) == fit_identity(trainer("made", **given | {name: another}))
    assert same == option.is_duration


def test_a_learning_rate_that_falls_to_the_last_epoch_belongs_to_that_epoch():
    six, seven = (trainer("made", max_epochs=n, schedule="cosine") for n in (6, 7))
    assert fit_identity(six) != fit_identity(seven)


def test_type_checkers_know_the_training_options():
    assert list(get_type_hints(TrainingArguments)) == list(TRAINING_OPTIONS)


def test_type_checkers_know_what_all_networks_take():
    base = inspect.signature(AutoregressiveEstimator).parameters.values()
    shared = [each.name for each in base if each.kind is each.KEYWORD_ONLY]
    assert get_type_hints(SharedArguments).keys() == {*shared, *TRAINING_OPTIONS}


def test_a_network_of_ones_own_takes_what_all_networks_take():
    class Narrow(NADE):
        def __init__(self, *, width: int = 3, **shared):
            self.width = width
            super().__init__(width, **shared)

    model = clone(Narrow(width=2, kinds="binary", max_epochs=4, ordering="random"))
    assert (model.width, model.kinds, model.max_epochs, model.ordering) == (2, "binary", 4, "random")
    assert model.get_params().keys() == {*NADE().get_params(), "width"} - {"hidden_size"}


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_unknown_option_is_an_error_of_the_constructor(estimator):
    with pytest.raises(TypeError, match="argument 'learning_rat'; did you mean 'learning_rate'"):
        estimator(learning_rat=0.1)
