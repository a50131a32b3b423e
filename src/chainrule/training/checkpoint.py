"""The state of a fit in a file, from which the fit goes on as if it had never stopped."""

from __future__ import annotations

import io
import pickle
import time
import warnings
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from chainrule.errors import CheckpointWarning, GroupError, StorageError
from chainrule.storage import write_bytes
from chainrule.training.history import History
from chainrule.training.options import TRAINING_OPTIONS
from chainrule.training.schedule import Cooling

if TYPE_CHECKING:
    from chainrule.training.loop import Trainer

__all__ = ["EpochSoFar", "KeptState", "fit_identity", "load_checkpoint", "save_checkpoint"]

_EVERY = 60.0  # seconds between two states at least
_COSTS_BETWEEN = 50  # ... and so many times what it took to write the last one: two per cent of the fit


@dataclass
class EpochSoFar:
    """What an epoch has done; the rest of it follows from where its permutation of the rows was drawn.

    Attributes
    ----------
    drawn_from : Tensor
        The state of the generator before the permutation.
    n_batches, n_rows : int
        How many were taken.
    nll : float
        Their sum over rows, in nats.
    """

    drawn_from: Tensor
    n_batches: int = 0
    n_rows: int = 0
    nll: float = 0.0

    def add(self, nll: float, n_rows: int) -> None:
        """Take in the mean NLL of the next batch."""
        self.n_batches += 1
        self.n_rows += n_rows
        self.nll += nll * n_rows


class KeptState:
    """The file that keeps the state of a fit, and when it is written.

    The first time is the end of the first epoch: it shows early whether the file can be written, and how long
    that takes.

    Parameters
    ----------
    trainer : Trainer
    path : Path or None
        Without it nothing is kept.
    """

    def __init__(self, trainer: Trainer, path: Path | None) -> None:
        self._trainer = trainer
        self._path = path
        self._since, self._cost = time.perf_counter(), 0.0

    def take_up(self) -> None:
        """Go on from the file, if it is there; all processes of a group then are where the first one is."""
        if self._path is not None and self._path.exists():
            load_checkpoint(self._trainer, self._path)
        if self._trainer.group.size > 1:
            _share_state(self._trainer)

    def write_if_due(self) -> None:
        """Write the state of now, unless that was done a short while ago."""
        is_first = not self._cost and self._trainer.epoch is None
        if is_first or time.perf_counter() - self._since > max(_EVERY, _COSTS_BETWEEN * self._cost):
            self.write()

    def write(self) -> None:
        """Write the state of now; where there is no room for it, warn, as the fit itself can go on."""
        if self._path is None:
            return
        start = time.perf_counter()
        try:
            save_checkpoint(self._trainer, self._path)
        except OSError as error:
            warnings.warn(
                f"the state of the fit could not be kept in {self._path} ({error.strerror}); the fit goes on",
                CheckpointWarning,
                stacklevel=2,
            )
        self._since = time.perf_counter()
        self._cost = self._since - start

    def forget(self) -> None:
        """Delete the file: the fit leads nowhere."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def fit_identity(trainer: Trainer) -> dict[str, Any]:
    """Return the identity of a fit that can go on: options, network, rows and seed, but not how long to fit.

    A learning rate that falls to nothing at the last epoch depends on how long, though.
    """
    options = {
        name: getattr(trainer.recipe, name)
        for name, option in TRAINING_OPTIONS.items()
        if not option.is_duration
    }
    if trainer.recipe.schedule == "cosine":
        options["max_epochs"] = trainer.recipe.max_epochs
    rows = [trainer.train, *([] if trainer.valid is None else [trainer.valid])]
    return {
        **options,
        "resample_every": trainer.resample_every,
        "network": type(trainer.model.conditioner).__name__,
        "settings": trainer.model.conditioner.settings(),
        "shapes": [[len(part), part.n_variables] for part in rows],
        "rows": [part.digest() for part in rows],
        "seed": trainer.dropout_generator.initial_seed(),
        "parameters": trainer.parameters,
    }


def save_checkpoint(trainer: Trainer, path: Path) -> None:
    """Write the whole state of a fit into a file."""
    content = _content(trainer)
    write_bytes(path, sha256(content).digest() + content)


def _content(trainer: Trainer) -> bytes:
    buffer = io.BytesIO()
    torch.save(_state(trainer), buffer)
    return buffer.getvalue()


def _share_state(trainer: Trainer) -> None:
    """Take over the state of the first process of a group.

    Raises
    ------
    GroupError
        If this process does not fit the same rows by the same options and seed.
    """
    content = trainer.group.by_first(lambda: _content(trainer))
    if trainer.group.is_first:
        return
    state = torch.load(io.BytesIO(content), map_location=trainer.device, weights_only=True)
    if state["identity"] != trainer.identity:
        raise GroupError(
            f"process {trainer.group.rank} of the fit has other rows, settings or options than the first, or "
            "another seed; give all of them the same data and one random_state"
        )
    _take_over(trainer, state)


def _state(trainer: Trainer) -> dict[str, Any]:
    return {
        "identity": trainer.identity,
        "model": trainer.model.state_dict(),
        "averaged": trainer.averaged.state_dict(),
        "best_weights": trainer.best.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "generator": trainer.generator.get_state(),
        "dropout_generator": trainer.dropout_generator.get_state(),
        "history": trainer.history.to_dict(),
        "batch_nll": trainer.batch_nll,
        "early_stopping": trainer.early_stopping.state_dict(),
        "step": trainer.step,
        "epoch": None if trainer.epoch is None else vars(trainer.epoch),
        "seconds": trainer.seconds(),
        "cooling": None if trainer.cooling is None else asdict(trainer.cooling),
    }


def load_checkpoint(trainer: Trainer, path: Path) -> None:
    """Take up a fit where `save_checkpoint` left it.

    Raises
    ------
    StorageError
        If the file is damaged, or belongs to a model of another shape or to other options.
    """
    state = _read_state(path, trainer.device)
    if state.keys() != _state(trainer).keys():
        raise StorageError(f"{path} is not the checkpoint of a fit; delete it to start anew")
    if state["identity"] != trainer.identity:
        raise StorageError(
            f"the checkpoint {path} belongs to a fit with other rows, settings or options, or another seed; "
            "delete it to start anew"
        )
    try:
        _take_over(trainer, state)
    except RuntimeError as error:
        raise StorageError(
            f"the checkpoint {path} belongs to a model of another shape; delete it to start anew"
        ) from error


def _take_over(trainer: Trainer, state: dict[str, Any]) -> None:
    trainer.model.load_state_dict(state["model"])
    trainer.averaged.load_state_dict(state["averaged"])
    trainer.best.load_state_dict(state["best_weights"])
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.generator.set_state(state["generator"].cpu())
    trainer.dropout_generator.set_state(state["dropout_generator"].cpu())
    trainer.history = History(**state["history"])
    trainer.batch_nll = state["batch_nll"]
    trainer.early_stopping.load_state_dict(state["early_stopping"])
    trainer.step = state["step"]
    if state["epoch"] is not None:
        trainer.epoch = EpochSoFar(**state["epoch"])
        trainer.epoch.drawn_from = trainer.epoch.drawn_from.cpu()
    trainer.began -= state["seconds"]
    if state["cooling"] is not None:
        trainer.cooling = Cooling(**state["cooling"])
        trainer.n_steps = trainer.cooling.from_step + trainer.cooling.n_steps


def _read_state(path: Path, device: torch.device) -> dict[str, Any]:
    """Return the state that `save_checkpoint` wrote; only tensors and plain values are read, never code."""
    whole = path.read_bytes()
    digest, content = whole[:32], whole[32:]
    if digest != sha256(content).digest():
        raise StorageError(f"the checkpoint {path} is damaged; delete it to start anew")
    try:
        state = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        raise StorageError(f"{path} is not the checkpoint of a fit; delete it to start anew") from error
    return state if isinstance(state, dict) else {}
