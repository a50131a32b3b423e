"""How the learning rate falls in the course of a fit: one pure function per schedule."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chainrule.training.early_stopping import EarlyStopping
    from chainrule.training.recipes import Recipe

__all__ = ["SCHEDULES", "Cooling", "cosine", "plateau"]

_PLATEAU_FACTOR = 0.3


def plateau(recipe: Recipe, progress: float, stopping: EarlyStopping) -> float:
    """Return 0.3 times the rate after each third of `patience` without progress, else the rate."""
    return recipe.learning_rate * _PLATEAU_FACTOR**stopping.n_plateaus


def cosine(recipe: Recipe, progress: float, stopping: EarlyStopping) -> float:
    """Return the rate on a line up to the first one, and from there on half a cosine to nothing."""
    rise = min(1.0, (progress + 1e-3) / recipe.warm_up)
    return recipe.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


@dataclass(frozen=True)
class Cooling:
    """The end of a fit that has stopped gaining: half a cosine from the rate of a step to nothing."""

    from_step: int
    n_steps: int
    from_rate: float

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        share = (step - self.from_step) / max(self.n_steps, 1)
        return self.from_rate * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


SCHEDULES: dict[str, Callable[[Recipe, float, EarlyStopping], float]] = {
    "cosine": cosine,
    "plateau": plateau,
}
"""By name: from the recipe, the share of the fit that is over, and the early stopping so far to the learning
rate of the next step."""
