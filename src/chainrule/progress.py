"""The progress bar of a fit."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from chainrule.training import Epoch

__all__ = ["FitProgress"]


class FitProgress:
    """Shows epoch, training and validation nats and the time left, on standard error.

    Use as a context manager; call it with each `Epoch`.
    """

    def __init__(self, label: str, max_epochs: int) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("epoch {task.completed}/{task.total}"),
            TextColumn("{task.fields[nats]}"),
            TimeRemainingColumn(compact=True),
        )
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._task = self._progress.add_task(label, total=max_epochs, nats="")
        self._best = ""

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, epoch: Epoch) -> None:
        """Move the bar on by one epoch."""
        nats = f"train {epoch.train:.3f}"
        if epoch.valid is not None:
            if epoch.is_best:
                self._best = f"best {epoch.valid:.3f} in epoch {epoch.number}"
            nats += f"  valid {epoch.valid:.3f} nats  {self._best}"
        self._progress.update(self._task, completed=epoch.number, nats=nats)
