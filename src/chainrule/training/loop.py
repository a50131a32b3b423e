"""The fit loop: it reads from top to bottom in `Trainer.run`."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chainrule.errors import FitInterrupted
from chainrule.model import AutoregressiveModel
from chainrule.training.callbacks import Callback, Epoch, Step
from chainrule.training.checkpoint import load_checkpoint, save_checkpoint
from chainrule.training.early_stopping import EarlyStopping
from chainrule.training.history import History
from chainrule.training.options import TrainingOptions
from chainrule.training.rows import Rows
from chainrule.training.schedule import SCHEDULES
from chainrule.training.validation import validation_nll

__all__ = ["Trainer"]

# AdamW's epsilon. Common values near 0 give weights of rare features steps as long as those of frequent
# ones, which overfits sparse data; with this one the steps of small gradients shrink with them.
_EPS = 1e-2
# Longer gradients of the mean NLL per row are shortened to this norm.
_MAX_GRADIENT_NORM = 100.0


class Trainer:
    """Fits a model by maximum likelihood.

    The weights that count are an exponential moving average of those that AdamW visits (Polyak & Juditsky
    1992): it is validated, kept when best, and is what `run` leaves in the model.

    Parameters
    ----------
    model : AutoregressiveModel
    train : Rows
    valid : Rows or None
        Without validation rows the fit runs for `max_epochs` and keeps the last weights.
    options : TrainingOptions
    generator : torch.Generator
        On the CPU; orders the rows. Dropout draws from a generator of its own on the model's device.
    resample_every : int
        Optimiser steps between two members of an ensemble over orders and masks, by default 1.
    callbacks : sequence of Callback
        Told of each step and each epoch, in this order; by default none.
    """

    def __init__(
        self,
        model: AutoregressiveModel,
        train: Rows,
        valid: Rows | None,
        options: TrainingOptions,
        generator: torch.Generator,
        *,
        resample_every: int = 1,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.model = model
        self.train = train
        self.valid = valid
        self.options = options
        self.generator = generator
        self.resample_every = resample_every
        self.callbacks = callbacks
        self.device = train.codes.device
        self.dropout_generator = torch.Generator(self.device)
        self.dropout_generator.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
        self.averaged = copy.deepcopy(model)
        # Looking for them in all modules would cost a tenth of a small network's step.
        self.weights: list[Tensor] = [*model.parameters()]
        self.averaged_weights: list[Tensor] = [*self.averaged.parameters()]
        self.optimizer = torch.optim.AdamW(
            self._parameter_groups(),
            lr=options.learning_rate,
            eps=_EPS,
            fused=self.device.type in ("cpu", "cuda"),
        )
        self.early_stopping = EarlyStopping(options.patience, options.tolerance * train.codes.shape[1])
        # In nats of codes.
        self.history = History()
        # Of every step so far; beside the history, because saved models should not carry as much.
        self.batch_nll: list[float] = []
        self.best_weights: dict[str, Tensor] = {}
        self.step = 0
        self.steps_per_epoch = math.ceil(len(train) / options.batch_size)
        # Averaging touches every weight; once in a while does as well as at every step.
        self.average_every = max(1, min(10, self.steps_per_epoch // 10))

    # ---------------------------------------------------------------- the loop

    def run(self, checkpoint: Path | None = None) -> History:
        """Fit until validation stops improving or `max_epochs` are over; leave the best weights in the model.

        Parameters
        ----------
        checkpoint : Path, optional
            A file that receives the state after every epoch; if it exists, the fit goes on from there.

        Returns
        -------
        History
            In nats of codes.

        Raises
        ------
        FitInterrupted
            On Ctrl-C. The best weights so far are in the model.
        StorageError
            If the checkpoint is damaged, or belongs to another fit.
        """
        if checkpoint is not None and checkpoint.exists():
            load_checkpoint(self, checkpoint)
        began = time.perf_counter() - self.history.seconds
        self.model.conditioner.generator = self.dropout_generator
        is_ended = self.is_finished()
        try:
            while not is_ended:
                train_nll = self.train_epoch()
                valid_nll = None if self.valid is None else validation_nll(self.averaged, self.valid)
                is_best = valid_nll is None or valid_nll < self.history.best_nll
                if is_best:
                    self.keep_weights()
                if valid_nll is not None:
                    self.early_stopping.update(valid_nll)
                self.history = self.history.with_epoch(
                    train_nll, valid_nll, is_best, time.perf_counter() - began
                )
                self.adapt_learning_rate()
                is_ended = self.tell_of_epoch() or self.is_finished()
                if checkpoint is not None:
                    save_checkpoint(self, checkpoint)
        except KeyboardInterrupt:
            self.history = replace(self.history, interrupted=True)
            raise FitInterrupted(f"stopped after {self.history.epochs} epochs") from None
        finally:
            self.model.conditioner.generator = None
            self.restore_best_weights()
        return self.history

    def train_epoch(self) -> float:
        """Take a step on every batch of the rows in random order; return their mean NLL in nats.

        Raises
        ------
        FloatingPointError
            If the NLL is no finite number any more.
        """
        self.model.train()
        total = 0.0
        rows = torch.randperm(len(self.train), generator=self.generator).to(self.device)
        for index in rows.split(self.options.batch_size):
            nll = self.train_step(self.train.take(index))
            self.batch_nll.append(nll)
            for callback in self.callbacks:
                callback.on_step(Step(self.step, nll))
            total += nll * len(index)
        if not math.isfinite(total):
            raise FloatingPointError(
                f"the training NLL became {total / len(self.train)} in epoch {self.history.epochs + 1}; "
                "try a smaller learning_rate"
            )
        return total / len(self.train)

    def train_step(self, batch: Rows) -> float:
        """Take one optimiser step on a batch and return its mean NLL before the step, in nats."""
        member = (self.step // self.resample_every) % self.model.n_members
        self.optimizer.zero_grad(set_to_none=True)
        loss = -self.model.training_log_prob(batch.codes, member, batch.context).sum() / len(batch)
        loss.backward()
        clip_grad_norm_(self.weights, _MAX_GRADIENT_NORM)
        self.optimizer.step()
        self.step += 1
        if self.step % self.average_every == 0:
            self.average_weights()
        return float(loss.detach())

    # ---------------------------------------------------------------- its parts

    def is_finished(self) -> bool:
        """Return whether the epochs are used up, or patience with the validation NLL is."""
        return self.history.epochs >= self.options.max_epochs or self.early_stopping.is_over

    @torch.no_grad()
    def average_weights(self) -> None:
        """Move the averaged weights towards the current ones; the average spans about one epoch."""
        span = min(max(self.steps_per_epoch, 50), 0.1 * self.step + 1)
        share = min(1.0, self.average_every / span)
        torch._foreach_lerp_(self.averaged_weights, self.weights, share)

    def adapt_learning_rate(self) -> None:
        """Set the learning rate of the epoch to come."""
        schedule = SCHEDULES[self.options.schedule]
        groups = self.optimizer.param_groups
        rate = schedule(groups[0]["lr"], self.options, self.history.epochs, self.early_stopping)
        for group in groups:
            group["lr"] = rate

    def keep_weights(self) -> None:
        """Keep the averaged weights as the best so far."""
        self.best_weights = {name: t.detach().clone() for name, t in self.averaged.state_dict().items()}

    def restore_best_weights(self) -> None:
        """Put the best weights so far into the model."""
        self.model.load_state_dict(self.best_weights or self.averaged.state_dict())
        self.model.eval()

    def history_of_rows(self) -> History:
        """Return the history in the units of the data."""
        valid = 0.0 if self.valid is None else self.valid.log_abs_det_jacobian
        return self.history.in_units_of_rows(self.train.log_abs_det_jacobian, valid)

    def tell_of_epoch(self) -> bool:
        """Tell all callbacks of the last epoch, and return whether one of them ends the fit."""
        epoch = Epoch.last_of(self.history_of_rows(), self.options.max_epochs)
        return any([callback.on_epoch(epoch) is True for callback in self.callbacks])

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Return all parameters in two groups: those that decay, and the rest."""
        decayed = {id(p) for p in self.model.conditioner.decayed_parameters()}
        return [
            {
                "params": [p for p in self.weights if (id(p) in decayed) == decays],
                "weight_decay": self.options.weight_decay if decays else 0.0,
            }
            for decays in (True, False)
        ]


@torch.no_grad()
def clip_grad_norm_(weights: Iterable[Tensor], max_norm: float) -> None:
    """Bound the norm of the gradient; other than PyTorch's own, most steps need only look at it."""
    gradients = [p.grad for p in weights if p.grad is not None]
    norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))))
    if norm > max_norm:
        torch._foreach_mul_(gradients, max_norm / norm)
