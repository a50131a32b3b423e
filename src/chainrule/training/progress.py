"""What a fit says of itself: how long it will take, how far it is, what it has reached."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from chainrule.progress import Progressing
from chainrule.training.callbacks import Callback, Epoch, Plan, Step

__all__ = ["FitProgress", "duration"]


def duration(seconds: float) -> str:
    """Return a time in words.

    >>> duration(0.4), duration(12.3), duration(150), duration(8000)
    ('a second', '12 s', '2.5 min', '2.2 h')
    """
    if seconds < 1.5:
        return "a second"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.2g} min" if seconds < 5400 else f"{seconds / 3600:.2g} h"


class FitProgress(Callback):
    """Shows training and validation nats of the last epoch, and the best one so far; a context manager.

    Parameters
    ----------
    label : str
        What is fitted.
    visible : bool
    """

    def __init__(self, label: str, *, visible: bool) -> None:
        self._progress = Progressing(label, visible=visible)
        self._text = self._best = ""

    def __enter__(self) -> Self:
        self._progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.__exit__(kind, error, trace)

    def on_plan(self, plan: Plan) -> None:
        """Say how long the fit will take."""
        self._progress.say(f"about {duration(plan.seconds)}")

    def on_step(self, step: Step) -> None:
        """Move on."""
        self._progress.update(min(step.progress, 1.0), self._text)

    def on_epoch(self, epoch: Epoch) -> None:
        """Show what the epoch reached."""
        self._text = f"epoch {epoch.number}  train {epoch.train:.3f}"
        if epoch.valid is not None:
            if epoch.is_best:
                self._best = f"best {epoch.valid:.3f} in epoch {epoch.number}"
            self._text += f"  valid {epoch.valid:.3f} nats  {self._best}"
