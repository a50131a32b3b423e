"""The state of a fit in a file, from which the fit goes on as if it had never stopped."""

from __future__ import annotations

import io
import pickle
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from chainrule.errors import StorageError
from chainrule.storage import write_bytes
from chainrule.training.history import History
from chainrule.training.options import TRAINING_OPTIONS
from chainrule.training.schedule import Cooling

if TYPE_CHECKING:
    from chainrule.training.loop import Trainer

__all__ = ["fit_identity", "load_checkpoint", "save_checkpoint"]


def fit_identity(trainer: Trainer) -> dict[str, Any]:
    """Return the identity of a fit that can go on: options, network and rows, but not how long to fit.

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
    tensors = [t for part in rows for t in (part.codes, part.context) if t is not None]
    return {
        **options,
        "resample_every": trainer.resample_every,
        "network": type(trainer.model.conditioner).__name__,
        "settings": trainer.model.conditioner.settings(),
        "shapes": [list(t.shape) for t in tensors],
        "sums": [float(t.sum(dtype=torch.float64)) for t in tensors],
    }


def save_checkpoint(trainer: Trainer, path: Path) -> None:
    """Write the whole state of a fit into a file."""
    buffer = io.BytesIO()
    torch.save(_state(trainer), buffer)
    content = buffer.getvalue()
    write_bytes(path, sha256(content).digest() + content)


def _state(trainer: Trainer) -> dict[str, Any]:
    return {
        "identity": fit_identity(trainer),
        "model": trainer.model.state_dict(),
        "averaged": trainer.averaged.state_dict(),
        "best_weights": trainer.best_weights,
        "optimizer": trainer.optimizer.state_dict(),
        "generator": trainer.generator.get_state(),
        "dropout_generator": trainer.dropout_generator.get_state(),
        "history": trainer.history.to_dict(),
        "batch_nll": trainer.batch_nll,
        "early_stopping": trainer.early_stopping.state_dict(),
        "step": trainer.step,
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
    if state["identity"] != fit_identity(trainer):
        raise StorageError(
            f"the checkpoint {path} belongs to a fit with other rows, settings or options; "
            "delete it to start anew"
        )
    try:
        trainer.model.load_state_dict(state["model"])
    except RuntimeError as error:
        raise StorageError(
            f"the checkpoint {path} belongs to a model of another shape; delete it to start anew"
        ) from error
    trainer.averaged.load_state_dict(state["averaged"])
    trainer.best_weights = state["best_weights"]
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.generator.set_state(state["generator"].cpu())
    trainer.dropout_generator.set_state(state["dropout_generator"].cpu())
    trainer.history = History(**state["history"])
    trainer.batch_nll = state["batch_nll"]
    trainer.early_stopping.load_state_dict(state["early_stopping"])
    trainer.step = state["step"]
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
