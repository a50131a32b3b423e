"""The fit loop: batches, optimiser, averaged weights, early stopping, checkpoints, progress."""

from __future__ import annotations

import copy
import io
import math
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chainrule.errors import FitInterrupted, StorageError
from chainrule.model import AutoregressiveModel
from chainrule.storage import write_bytes

__all__ = ["Epoch", "History", "Rows", "Trainer", "TrainingOptions", "mean_nll"]

# Numbers of float32 that one batch of an evaluation may spread over its widest layer: 64 MiB.
_EVALUATION_NUMBERS = 2**24
# AdamW's epsilon. Common values near 0 give weights of rare features steps as long as those of frequent
# ones, which overfits sparse data; with this one the steps of small gradients shrink with them.
_EPS = 1e-2
# How many rows with a random observed mask an estimate of the validation NLL takes at least.
_VALIDATION_MASKS = 10_000
# The parts of a checkpoint.
_STATE = {
    "options", "model", "averaged", "best_weights", "optimizer", "generator", "dropout_generator", "history",
    "batch_nll", "best_nll", "noticed_nll", "stale", "step",
}  # fmt: skip


@dataclass(frozen=True)
class TrainingOptions:
    """How to fit.

    Attributes
    ----------
    learning_rate, weight_decay : float
        Of AdamW.
    batch_size, max_epochs : int
    patience : int
        Epochs without progress in the validation NLL after which to stop.
    schedule : {"plateau", "cosine"}
        How the learning rate falls: to 0.3 times its value after each third of `patience` without progress,
        or along half a cosine to nothing at `max_epochs`.
    tolerance : float
        Nats per variable by which the validation NLL must fall to count as progress.
    resample_every : int
        Optimiser steps between two members of an ensemble over orders and masks.
    gradient_norm : float
        Longer gradients of the mean NLL per row are shortened to this norm.
    """

    learning_rate: float = 5e-3
    weight_decay: float = 2e-2
    batch_size: int = 100
    max_epochs: int = 200
    patience: int = 15
    schedule: str = "plateau"
    tolerance: float = 1e-4
    resample_every: int = 1
    gradient_norm: float = 100.0


@dataclass(frozen=True)
class Rows:
    """Codes (n, D) and the context features (n, C) that belong to them."""

    codes: Tensor
    context: Tensor | None = None

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, index: Tensor | slice) -> Rows:
        """Return some of the rows."""
        return Rows(self.codes[index], None if self.context is None else self.context[index])

    def batches(self, size: int) -> Iterator[Rows]:
        """Yield the rows in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.take(slice(start, start + size))


@dataclass(frozen=True)
class Epoch:
    """What one epoch ended with; NLLs are means per row in nats, `valid` is None without validation rows."""

    number: int
    train: float
    valid: float | None
    is_best: bool
    seconds_left: float


@dataclass(frozen=True)
class History:
    """The course of a fit: mean negative log-likelihoods per row in nats, one per epoch.

    A trainer counts those of codes; the `history_` of a fitted estimator is in the units of the data.
    `best_epoch` counts from 1 and names the epoch whose weights were kept.
    """

    train: list[float] = field(default_factory=list)
    valid: list[float] = field(default_factory=list)
    best_epoch: int = 0
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def epochs(self) -> int:
        """How many epochs were completed."""
        return len(self.train)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe description."""
        return asdict(self)


def evaluation_batch(model: AutoregressiveModel) -> int:
    """Return how many rows to evaluate at a time so that memory stays bounded."""
    return max(1, min(4096, _EVALUATION_NUMBERS // model.conditioner.activations_per_row()))


@torch.no_grad()
def mean_nll(model: AutoregressiveModel, rows: Rows) -> float:
    """Return the mean negative log-likelihood of the rows in nats, evaluated in batches."""
    model.eval()
    batches = rows.batches(evaluation_batch(model))
    return -sum(float(model.log_prob(batch.codes, batch.context).sum()) for batch in batches) / len(rows)


@torch.no_grad()
def validation_nll(model: AutoregressiveModel, rows: Rows) -> float:
    """Return the NLL in nats by which a fit is steered: `mean_nll`, or an estimate of it.

    The estimate is from random observed masks, the same ones at each call; few rows are seen several times,
    so that its noise stays small.
    """
    if not model.conditioner.validates_by_monte_carlo:
        return mean_nll(model, rows)
    model.eval()
    model.conditioner.generator = torch.Generator(rows.codes.device).manual_seed(0)
    n_masks, total = len(rows) * math.ceil(_VALIDATION_MASKS / len(rows)), 0.0
    for index in (torch.arange(n_masks, device=rows.codes.device) % len(rows)).split(evaluation_batch(model)):
        batch = rows.take(index)
        total += float(model.training_log_prob(batch.codes, context=batch.context).sum(dtype=torch.float64))
    model.conditioner.generator = None
    return -total / n_masks


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
    """

    def __init__(
        self,
        model: AutoregressiveModel,
        train: Rows,
        valid: Rows | None,
        options: TrainingOptions,
        generator: torch.Generator,
    ) -> None:
        self.model = model
        self.train = train
        self.valid = valid
        self.options = options
        self.generator = generator
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
        self.history = History()
        # Of every step so far; beside the history, because saved models should not carry as much.
        self.batch_nll: list[float] = []
        self.best_nll = math.inf
        self.noticed_nll = math.inf
        self.best_weights: dict[str, Tensor] = {}
        self.stale = 0
        self.step = 0
        self.steps_per_epoch = math.ceil(len(train) / options.batch_size)
        # Averaging touches every weight; once in a while does as well as at every step.
        self.average_every = max(1, min(10, self.steps_per_epoch // 10))

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Return all parameters in two groups: those that decay, and the rest."""
        decayed = {id(p) for p in self.model.conditioner.decayed_parameters()}
        return [
            {
                "params": [p for p in self.weights if id(p) in decayed],
                "weight_decay": self.options.weight_decay,
            },
            {"params": [p for p in self.weights if id(p) not in decayed], "weight_decay": 0.0},
        ]

    def run(self, on_epoch: Callable[[Epoch], None] | None = None, checkpoint: Path | None = None) -> History:
        """Fit until validation stops improving or `max_epochs` are over; leave the best weights in the model.

        Parameters
        ----------
        on_epoch : callable, optional
            Told of each epoch.
        checkpoint : Path, optional
            A file that receives the state after every epoch; if it exists, the fit goes on from there.

        Raises
        ------
        FitInterrupted
            On Ctrl-C. The best weights so far are in the model.
        """
        if checkpoint is not None and checkpoint.exists():
            self.load_checkpoint(checkpoint)
        spent, began = self.history.seconds, time.perf_counter()
        self.model.conditioner.generator = self.dropout_generator
        try:
            while not self.is_finished():
                self._run_epoch()
                self.history = replace(self.history, seconds=spent + time.perf_counter() - began)
                if on_epoch is not None:
                    on_epoch(self._last_epoch())
                if checkpoint is not None:
                    self.save_checkpoint(checkpoint)
        except KeyboardInterrupt:
            self.history = replace(self.history, interrupted=True)
            raise FitInterrupted(f"stopped after {self.history.epochs} epochs") from None
        finally:
            self.model.conditioner.generator = None
            self._restore_best()
        return self.history

    def is_finished(self) -> bool:
        """Return whether the epochs are used up, or patience with the validation NLL is."""
        return self.history.epochs >= self.options.max_epochs or self.stale >= self.options.patience

    def _run_epoch(self) -> None:
        nll = self._train_epoch()
        if not math.isfinite(nll):
            raise FloatingPointError(
                f"the training NLL became {nll} in epoch {self.history.epochs + 1}; "
                "try a smaller learning_rate"
            )
        self.history = replace(self.history, train=[*self.history.train, nll])
        if self.valid is None:
            self._keep_weights()
        else:
            self._validate(self.valid)
        self._adapt_learning_rate()

    def _validate(self, rows: Rows) -> None:
        """Keep the weights if they are the best so far, and count epochs without noticeable progress."""
        valid = validation_nll(self.averaged, rows)
        self.history = replace(self.history, valid=[*self.history.valid, valid])
        if valid < self.best_nll:
            self.best_nll = valid
            self._keep_weights()
        if valid < self.noticed_nll - self.options.tolerance * rows.codes.shape[1]:
            self.noticed_nll, self.stale = valid, 0
        else:
            self.stale += 1

    def _train_epoch(self) -> float:
        self.model.train()
        total = 0.0
        rows = torch.randperm(len(self.train), generator=self.generator).to(self.device)
        for index in rows.split(self.options.batch_size):
            nll = self.train_step(self.train.take(index))
            self.batch_nll.append(nll)
            total += nll * len(index)
        return total / len(self.train)

    def train_step(self, batch: Rows) -> float:
        """Take one optimiser step on a batch and return its mean NLL before the step, in nats."""
        member = (self.step // self.options.resample_every) % self.model.n_members
        self.optimizer.zero_grad(set_to_none=True)
        loss = -self.model.training_log_prob(batch.codes, member, batch.context).sum() / len(batch)
        loss.backward()
        self._shorten_gradient()
        self.optimizer.step()
        self.step += 1
        if self.step % self.average_every == 0:
            self._average_weights()
        return float(loss.detach())

    @torch.no_grad()
    def _shorten_gradient(self) -> None:
        """Bound the norm of the gradient; most steps need only look at it."""
        gradients = [p.grad for p in self.weights if p.grad is not None]
        norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))))
        if norm > self.options.gradient_norm:
            torch._foreach_mul_(gradients, self.options.gradient_norm / norm)

    @torch.no_grad()
    def _average_weights(self) -> None:
        """Move the averaged weights towards the current ones; the average spans about one epoch."""
        span = min(max(self.steps_per_epoch, 50), 0.1 * self.step + 1)
        share = min(1.0, self.average_every / span)
        torch._foreach_lerp_(self.averaged_weights, self.weights, share)

    def _adapt_learning_rate(self) -> None:
        options = self.options
        if options.schedule == "cosine":
            share = self.history.epochs / options.max_epochs
            self._set_learning_rate(options.learning_rate * 0.5 * (1 + math.cos(math.pi * share)))
        elif self.stale and self.stale % max(1, options.patience // 3) == 0:
            self._set_learning_rate(0.3 * self.optimizer.param_groups[0]["lr"])

    def _set_learning_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _keep_weights(self) -> None:
        self.best_weights = {name: t.detach().clone() for name, t in self.averaged.state_dict().items()}
        self.history = replace(self.history, best_epoch=self.history.epochs)

    def _restore_best(self) -> None:
        self.model.load_state_dict(self.best_weights or self.averaged.state_dict())
        self.model.eval()

    def _last_epoch(self) -> Epoch:
        history = self.history
        left = (self.options.max_epochs - history.epochs) * history.seconds / history.epochs
        valid = history.valid[-1] if history.valid else None
        return Epoch(
            history.epochs, history.train[-1], valid, history.best_epoch == history.epochs, max(left, 0.0)
        )

    def _identity(self) -> dict[str, Any]:
        """Return what must be the same for a fit to go on: options and rows, but not how long to fit.

        A learning rate that falls to nothing at the last epoch depends on how long, though.
        """
        how_long = ("patience",) if self.options.schedule == "cosine" else ("max_epochs", "patience")
        options = {k: v for k, v in asdict(self.options).items() if k not in how_long}
        rows = [self.train, *([] if self.valid is None else [self.valid])]
        tensors = [t for part in rows for t in (part.codes, part.context) if t is not None]
        return {
            **options,
            "network": type(self.model.conditioner).__name__,
            "settings": self.model.conditioner.settings(),
            "shapes": [list(t.shape) for t in tensors],
            "sums": [float(t.sum(dtype=torch.float64)) for t in tensors],
        }

    def save_checkpoint(self, path: Path) -> None:
        """Write the whole state of the fit into a file."""
        buffer = io.BytesIO()
        torch.save(
            {
                "options": self._identity(),
                "model": self.model.state_dict(),
                "averaged": self.averaged.state_dict(),
                "best_weights": self.best_weights,
                "optimizer": self.optimizer.state_dict(),
                "generator": self.generator.get_state(),
                "dropout_generator": self.dropout_generator.get_state(),
                "history": self.history.to_dict(),
                "batch_nll": self.batch_nll,
                "best_nll": self.best_nll,
                "noticed_nll": self.noticed_nll,
                "stale": self.stale,
                "step": self.step,
            },
            buffer,
        )
        content = buffer.getvalue()
        write_bytes(path, sha256(content).digest() + content)

    def load_checkpoint(self, path: Path) -> None:
        """Take up a fit where `save_checkpoint` left it.

        Raises
        ------
        StorageError
            If the file is damaged, or belongs to a model of another shape or to other options.
        """
        state = _read_state(path, self.device)
        if state["options"] != self._identity():
            raise StorageError(
                f"the checkpoint {path} belongs to a fit with other rows, settings or options; "
                "delete it to start anew"
            )
        try:
            self.model.load_state_dict(state["model"])
        except RuntimeError as error:
            raise StorageError(
                f"the checkpoint {path} belongs to a model of another shape; delete it to start anew"
            ) from error
        self.averaged.load_state_dict(state["averaged"])
        self.best_weights = state["best_weights"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"].cpu())
        self.dropout_generator.set_state(state["dropout_generator"].cpu())
        self.history = History(**state["history"])
        self.batch_nll = state["batch_nll"]
        self.best_nll, self.noticed_nll = state["best_nll"], state["noticed_nll"]
        self.stale, self.step = state["stale"], state["step"]


def _read_state(path: Path, device: torch.device) -> dict[str, Any]:
    """Return what `save_checkpoint` wrote; only tensors and plain values are read, never code."""
    whole = path.read_bytes()
    digest, content = whole[:32], whole[32:]
    if digest != sha256(content).digest():
        raise StorageError(f"the checkpoint {path} is damaged; delete it to start anew")
    try:
        state = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        raise StorageError(f"{path} is not the checkpoint of a fit; delete it to start anew") from error
    if not isinstance(state, dict) or set(state) != _STATE:
        raise StorageError(f"{path} is not the checkpoint of a fit; delete it to start anew")
    return state
