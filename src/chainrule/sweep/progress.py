"""The progress bar of a sweep."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["SweepProgress"]


class SweepProgress:
    """Shows how many trials are done, the best validation NLL so far and the time left, on standard error."""

    def __init__(self, label: str, n_trials: int, visible: bool) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("trial {task.completed}/{task.total}"),
            TextColumn("{task.fields[nats]}"),
            TimeRemainingColumn(compact=True),
        )
        self._progress = Progress(*columns, console=Console(stderr=True), disable=not visible)
        self._task = self._progress.add_task(label, total=n_trials, nats="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, n_done: int, best: float | None) -> None:
        """Move the bar to `n_done` finished trials; `best` is a mean NLL in nats per validation row."""
        nats = "" if best is None else f"best {best:.3f} nats on the validation rows"
        self._progress.update(self._task, completed=n_done, nats=nats)
