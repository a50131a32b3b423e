"""The progress bar of a fit."""

from __future__ import annotations

from chainrule.progress import ProgressBar
from chainrule.training.callbacks import Callback, Epoch

__all__ = ["FitProgress"]


class FitProgress(Callback):
    """Moves a progress bar on: training and validation nats of the last epoch, and the best one so far."""

    def __init__(self, bar: ProgressBar) -> None:
        self._bar = bar
        self._best = ""

    def on_epoch(self, epoch: Epoch) -> None:
        """Move the bar on by one epoch."""
        nats = f"train {epoch.train:.3f}"
        if epoch.valid is not None:
            if epoch.is_best:
                self._best = f"best {epoch.valid:.3f} in epoch {epoch.number}"
            nats += f"  valid {epoch.valid:.3f} nats  {self._best}"
        self._bar.update(epoch.number, nats)
