"""How the learning rate falls in the course of a fit: one pure function per schedule."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chainrule.training.early_stopping import EarlyStopping
    from chainrule.training.options import TrainingOptions

__all__ = ["SCHEDULES", "cosine", "plateau"]

_PLATEAU_FACTOR = 0.3


def plateau(rate: float, options: TrainingOptions, epochs: int, stopping: EarlyStopping) -> float:
    """Return 0.3 times the rate after each third of `patience` without progress, else the rate."""
    idle = stopping.epochs_without_improvement
    return _PLATEAU_FACTOR * rate if idle and idle % max(1, options.patience // 3) == 0 else rate


def cosine(rate: float, options: TrainingOptions, epochs: int, stopping: EarlyStopping) -> float:
    """Return the rate on half a cosine from the first one to nothing at `max_epochs`."""
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * (epochs / options.max_epochs)))


SCHEDULES: dict[str, Callable[[float, TrainingOptions, int, EarlyStopping], float]] = {
    "plateau": plateau,
    "cosine": cosine,
}
"""By name: from the last learning rate, the options, the number of epochs done and the early stopping so far
to the learning rate of the epoch to come."""
