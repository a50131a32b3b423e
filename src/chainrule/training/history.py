"""The learning curve of a fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

__all__ = ["History", "still_gains"]

# As the learning rate falls to nothing, the last epoch is the best one as a rule. That says something only if
# the last tenth of the epochs brought so much of what all of them did.
_SHARE = 0.02


def still_gains(valid: Sequence[float]) -> bool:
    """Whether a fit ended while its validation NLL was still falling, so that more epochs would help.

    >>> still_gains([3.0, 2.0, 1.5, 1.2]), still_gains([3.0, 2.0, 1.5, 1.499])
    (True, False)
    """
    if len(valid) < 2 or min(valid) != valid[-1]:
        return False
    before = valid[-1 - max(len(valid) // 10, 1)]
    return before - valid[-1] > _SHARE * (valid[0] - valid[-1])


@dataclass(frozen=True)
class History:
    """The learning curve of a fit: mean negative log-likelihoods per row in nats, one per epoch.

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
        """The number of completed epochs."""
        return len(self.train)

    @property
    def best_nll(self) -> float:
        """The lowest validation NLL, infinite before the first one."""
        return self.valid[self.best_epoch - 1] if self.best_epoch and self.valid else math.inf

    def with_epoch(self, train: float, valid: float | None, is_best: bool, seconds: float) -> History:
        """Return the history with one epoch more; `seconds` are those of all epochs together."""
        return replace(
            self,
            train=[*self.train, train],
            valid=self.valid if valid is None else [*self.valid, valid],
            best_epoch=self.epochs + 1 if is_best else self.best_epoch,
            seconds=seconds,
        )

    def in_units_of_rows(self, train: float, valid: float) -> History:
        """Return the history of rows instead of codes, given the mean log-determinants of the two sets."""
        return replace(
            self, train=[nll - train for nll in self.train], valid=[nll - valid for nll in self.valid]
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe description."""
        return asdict(self)
