"""The fit loop: it reads from top to bottom in `Trainer.run`."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chainrule.errors import FitInterrupted
from chainrule.kernels.clock import working_time
from chainrule.kernels.threads import at_most_threads
from chainrule.model import AutoregressiveModel
from chainrule.training.adamw import AdamW
from chainrule.training.best_weights import BestWeights
from chainrule.training.callbacks import Callback, Epoch, Plan, Step
from chainrule.training.checkpoint import EpochSoFar, KeptState, fit_identity
from chainrule.training.early_stopping import EarlyStopping
from chainrule.training.history import History
from chainrule.training.interruptions import Interruptions
from chainrule.training.options import TrainingOptions
from chainrule.training.parallel import Group, add_gradients, current_group
from chainrule.training.recipes import Recipe, recipe_for
from chainrule.training.rows import Rows, TrainingRows
from chainrule.training.schedule import SCHEDULES, Cooling
from chainrule.training.validation import validation_nlls

__all__ = ["Trainer"]

# The first steps compile and fill caches; the time that a fit takes is told from those after them.
_UNTIMED_STEPS, _TIMED_STEPS = 3, 10
# Longer gradients of the mean NLL per row are shortened to this norm.
_MAX_GRADIENT_NORM = 100.0


class Trainer:
    """Fits a model by maximum likelihood.

    The weights that count are an exponential moving average of those that AdamW visits (Polyak & Juditsky
    1992): it is validated, kept when best, and is what `run` leaves in the model.

    Parameters
    ----------
    model : AutoregressiveModel
    train : Rows or StoredRows
    valid : Rows or None
        Without validation rows the fit runs to its end and keeps the last weights.
    options : TrainingOptions
        What they leave open is the network's recipe; see `recipe_for`.
    generator : torch.Generator
        On the CPU; orders the rows. Dropout draws from a generator of its own on the model's device.
    resample_every : int
        Optimiser steps between two members of an ensemble over orders and masks, by default 1.
    callbacks : sequence of Callback
        Told of each step and each epoch, in this order; by default none.
    began : float, optional
        When the fit began, by `working_time`: its budget of time is counted from there. By default now.
    parameters : str
        What else a checkpoint must agree on to be taken up, beside options, network, rows and seed.
    """

    recipe: Recipe
    group: Group
    device: torch.device
    dropout_generator: torch.Generator
    averaged: AutoregressiveModel
    optimizer: AdamW
    early_stopping: EarlyStopping
    history: History
    best: BestWeights
    kept: KeptState
    interruptions: Interruptions
    step: int
    steps_per_epoch: int
    n_steps: int
    began: float
    validation_seconds: float
    agreed_seconds: float
    n_timed: int
    timed_from: float
    average_every: int

    def __init__(
        self,
        model: AutoregressiveModel,
        train: TrainingRows,
        valid: Rows | None,
        options: TrainingOptions,
        generator: torch.Generator,
        *,
        resample_every: int = 1,
        callbacks: Sequence[Callback] = (),
        began: float | None = None,
        parameters: str = "",
    ) -> None:
        self.model = model
        self.train = train
        self.valid = valid
        self.recipe = recipe_for(model.conditioner, len(train), options)
        self.generator = generator
        self.resample_every = resample_every
        self.callbacks = callbacks
        self.parameters = parameters
        self.group = current_group()
        self.device = train.device
        self.dropout_generator = torch.Generator(self.device)
        self.dropout_generator.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
        self.averaged = copy.deepcopy(model)
        # Looking for them in all modules would cost a tenth of a small network's step.
        self.weights: list[Tensor] = [*model.parameters()]
        self.averaged_weights: list[Tensor] = [*self.averaged.parameters()]
        decayed = {id(p) for p in model.conditioner.decayed_parameters()}
        self.optimizer = AdamW(
            self.weights,
            [id(weight) in decayed for weight in self.weights],
            weight_decay=self.recipe.weight_decay,
            epsilon=self.recipe.epsilon,
        )
        self.early_stopping = EarlyStopping(self.recipe.patience, self.recipe.tolerance * train.n_variables)
        # In nats of codes.
        self.history = History()
        # Of every step so far; beside the history, because saved models should not carry as much.
        self.batch_nll: list[float] = []
        self.best = BestWeights(model, 0 if valid is None else len(valid), self.recipe.keeps_by_column)
        self.step = 0
        self.epoch: EpochSoFar | None = None
        self.kept = KeptState(self, None)
        self.interruptions = Interruptions()
        self.steps_per_epoch = math.ceil(len(train) / self.recipe.batch_size)
        self.n_steps = self.recipe.max_epochs * self.steps_per_epoch
        self.began = working_time() if began is None else began
        self.validation_seconds = self.agreed_seconds = 0.0
        self.n_timed, self.timed_from = 0, 0.0
        self.cooling: Cooling | None = None
        # Averaging touches every weight; once in a while does as well as at every step.
        self.average_every = max(1, min(10, self.steps_per_epoch // 10))

    # ---------------------------------------------------------------- the loop

    def run(self, checkpoint: Path | None = None) -> History:
        """Fit until validation stops improving or the budget is used up; leave the best weights in the model.

        Parameters
        ----------
        checkpoint : Path, optional
            A file that receives the state of the fit after its first epoch, every minute and at its end. If
            it exists, the fit goes on from there, and equals one that was not broken off bit by bit. Of the
            processes of a group the first one reads and writes it.

        Returns
        -------
        History
            In nats of codes.

        Raises
        ------
        FitInterrupted
            On Ctrl-C. The best weights so far are in the model.
        GroupError
            If another process of the group has ended.
        StorageError
            If the checkpoint is damaged, or belongs to another fit.
        """
        self.kept = KeptState(self, checkpoint if self.group.is_first else None)
        self.kept.take_up()
        self.agree_on_time()
        self.model.conditioner.generator = self.dropout_generator
        try:
            # Without a file for it nobody minds a state that is not whole.
            whole = nullcontext() if checkpoint is None else self.interruptions
            with whole, at_most_threads(self.recipe.max_threads):
                self.run_epochs()
            self.kept.write()
        except KeyboardInterrupt:
            if self.interruptions.is_whole:
                self.kept.write()
            self.history = replace(self.history, interrupted=True)
            raise FitInterrupted(f"stopped after {self.history.epochs} epochs") from None
        except FloatingPointError:
            self.kept.forget()
            raise
        finally:
            self.model.conditioner.generator = None
            self.restore_best_weights()
        return self.history

    def run_epochs(self) -> None:
        """Train and validate, epoch after epoch, until the fit is over."""
        is_ended = self.epoch is None and self.is_finished()
        while not is_ended:
            train_nll = self.train_epoch()
            valid_nlls = self.validate()
            with self.interruptions.held():
                self.end_epoch(train_nll, valid_nlls)
            is_ended = self.tell_of_epoch() or self.is_finished()
            self.kept.write_if_due()

    def train_epoch(self) -> float:
        """Take a step on every batch of the rows in random order, within the budget; return their mean NLL.

        Raises
        ------
        FloatingPointError
            If the NLL is no finite number any more.
        """
        self.model.train()
        if self.epoch is None:
            self.epoch = EpochSoFar(self.generator.get_state())
        self.generator.set_state(self.epoch.drawn_from)
        for batch in self.train.shuffled(self.recipe.batch_size, self.generator, self.epoch.n_batches):
            with self.interruptions.held():
                nll = self.train_step(batch)
                self.epoch.add(nll, len(batch))
                self.batch_nll.append(nll)
            if self.recipe.max_time is not None:
                self.agree_on_time()
            self.tell_of_step(nll)
            if self.is_out_of_time():
                break
            self.kept.write_if_due()
        mean = self.epoch.nll / self.epoch.n_rows
        if not math.isfinite(mean):
            raise FloatingPointError(
                f"the training NLL became {mean} in epoch {self.history.epochs + 1}; "
                "try a smaller learning_rate"
            )
        return mean

    def end_epoch(self, train_nll: float, valid_nlls: Tensor | None) -> None:
        """Write down what an epoch has reached, and keep its weights if they are the best so far."""
        valid_nll = None if valid_nlls is None else float(valid_nlls.sum())
        is_best = valid_nll is None or valid_nll < self.history.best_nll
        self.best.update(self.averaged, valid_nlls)
        if valid_nll is not None:
            self.early_stopping.update(valid_nll)
        self.history = self.history.with_epoch(train_nll, valid_nll, is_best, self.seconds())
        self.epoch = None

    def train_step(self, batch: Rows) -> float:
        """Take one optimiser step on a batch and return its mean NLL before the step, in nats."""
        member = (self.step // self.resample_every) % self.model.n_members
        self.optimizer.zero_grad()
        if self.group.size > 1:
            loss = add_gradients(self, batch, member)
        else:
            loss = -self.model.training_log_prob(batch.codes, member, batch.context).sum() / len(batch)
            loss.backward()
        clip_grad_norm_(self.weights, _MAX_GRADIENT_NORM)
        self.optimizer.step(self.learning_rate())
        self.step += 1
        if self.step % self.average_every == 0:
            self.average_weights()
        return float(loss.detach())

    def validate(self) -> Tensor | None:
        """Return the validation NLL of the averaged weights in nats, None without validation rows.

        It comes in the parts that `validation_nlls` tells apart.
        """
        if self.valid is None:
            return None
        start = working_time()
        nlls = validation_nlls(self.averaged, self.valid, self.group)
        self.validation_seconds = self.group.first(working_time() - start)
        self.agree_on_time()
        return nlls

    # ---------------------------------------------------------------- its parts

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree on to be taken up."""
        return fit_identity(self)

    def seconds(self) -> float:
        """Return how long the fit has taken so far; in a group, what the processes have agreed on last."""
        return self.agreed_seconds if self.group.size > 1 else working_time() - self.began

    def agree_on_time(self) -> None:
        """Take over the clock of the first process: no two may decide differently about what comes next."""
        if self.group.size > 1:
            self.agreed_seconds = self.group.first(working_time() - self.began)

    def progress(self) -> float:
        """Return the share of the fit that is over: of its steps, or of its time, whichever is more."""
        share = self.step / self.n_steps
        if self.recipe.max_time is None:
            return share
        # The last weights are still to be validated.
        return max(share, (self.seconds() + self.validation_seconds) / self.recipe.max_time)

    def is_out_of_time(self) -> bool:
        """Return whether there is a budget of time and it is used up."""
        return self.recipe.max_time is not None and self.progress() >= 1

    def is_finished(self) -> bool:
        """Return whether the steps or the time are used up, or patience with the validation NLL is.

        Along a cosine, patience that is used up does not end the fit at its height: it cools down first.
        """
        if self.recipe.schedule == "cosine":
            if self.early_stopping.is_over and self.cooling is None:
                self.cool_down()
            return self.progress() >= 1
        return self.progress() >= 1 or self.early_stopping.is_over

    def cool_down(self) -> None:
        """Let the learning rate fall to nothing soon: within a fifth of the steps so far, or an epoch."""
        n_steps = max(self.steps_per_epoch, self.step // 5)
        self.cooling = Cooling(self.step, min(self.n_steps - self.step, n_steps), self.learning_rate())
        self.n_steps = self.step + self.cooling.n_steps

    @torch.no_grad()
    def average_weights(self) -> None:
        """Move the averaged weights towards the current ones; the average spans about one epoch."""
        span = min(max(self.steps_per_epoch, 50), 0.1 * self.step + 1)
        share = min(1.0, self.average_every / span)
        torch._foreach_lerp_(self.averaged_weights, self.weights, share)

    def learning_rate(self) -> float:
        """Return the learning rate of the next step."""
        if self.cooling is not None:
            return self.cooling.rate(self.step)
        return SCHEDULES[self.recipe.schedule](self.recipe, self.progress(), self.early_stopping)

    def restore_best_weights(self) -> None:
        """Put the best weights so far into the model."""
        self.model.load_state_dict(self.best.weights or self.averaged.state_dict())
        self.model.eval()

    def history_of_rows(self) -> History:
        """Return the history in the units of the data."""
        valid = 0.0 if self.valid is None else self.valid.log_abs_det_jacobian
        return self.history.in_units_of_rows(self.train.log_abs_det_jacobian, valid)

    def tell_of_step(self, nll: float) -> None:
        """Tell all callbacks of the last step, and early in the fit how long it will take."""
        for callback in self.callbacks:
            callback.on_step(Step(self.step, nll, self.progress()))
        self.n_timed += 1
        if self.n_timed == _UNTIMED_STEPS:
            self.timed_from = working_time()
        elif self.n_timed == _UNTIMED_STEPS + _TIMED_STEPS:
            self.tell_of_plan((working_time() - self.timed_from) / _TIMED_STEPS)

    def tell_of_plan(self, seconds_per_step: float) -> None:
        """Tell all callbacks how long the fit will take, from how long a step takes."""
        seconds = self.seconds() + seconds_per_step * (self.n_steps - self.step)
        if self.recipe.max_time is not None:
            seconds = min(seconds, self.recipe.max_time)
        for callback in self.callbacks:
            callback.on_plan(Plan(seconds, self.recipe.max_epochs, self.steps_per_epoch))

    def tell_of_epoch(self) -> bool:
        """Tell all callbacks of the last epoch, and return whether one of them ends the fit.

        In a group those of the first process decide.
        """
        epoch = Epoch.last_of(self.history_of_rows(), min(self.progress(), 1.0))
        return self.group.first(any([callback.on_epoch(epoch) is True for callback in self.callbacks]))


@torch.no_grad()
def clip_grad_norm_(weights: Iterable[Tensor], max_norm: float) -> None:
    """Bound the norm of the gradient; other than PyTorch's own, most steps need only look at it."""
    gradients = [p.grad for p in weights if p.grad is not None]
    norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))))
    if norm > max_norm:
        torch._foreach_mul_(gradients, max_norm / norm)
