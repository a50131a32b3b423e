"""When a fit ends because the validation NLL does not fall any more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["EarlyStopping"]


@dataclass
class EarlyStopping:
    """Counts the epochs since the validation NLL last fell noticeably.

    Parameters
    ----------
    patience : int
        How many epochs without improvement end a fit.
    tolerance : float
        Nats per row by which the NLL must fall to count as an improvement.

    Attributes
    ----------
    best_nll : float
        The NLL of the last improvement.
    epochs_without_improvement : int
    n_plateaus : int
        How often a third of the patience went by without improvement.

    Examples
    --------
    >>> stopping = EarlyStopping(patience=2, tolerance=0.1)
    >>> [stopping.update(nll) for nll in (5.0, 4.0, 3.95, 3.92)]
    [False, False, False, True]
    """

    patience: int
    tolerance: float
    best_nll: float = math.inf
    epochs_without_improvement: int = 0
    n_plateaus: int = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint; the patience of the fit that goes on may be another."""
        return {name: value for name, value in vars(self).items() if name not in ("patience", "tolerance")}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        vars(self).update(state)

    def update(self, nll: float) -> bool:
        """Take in the validation NLL of an epoch, and return whether patience is used up."""
        if nll < self.best_nll - self.tolerance:
            self.best_nll, self.epochs_without_improvement = nll, 0
        else:
            self.epochs_without_improvement += 1
            self.n_plateaus += self.epochs_without_improvement % max(1, self.patience // 3) == 0
        return self.is_over

    @property
    def is_over(self) -> bool:
        """Whether patience is used up."""
        return self.epochs_without_improvement >= self.patience
