"""The progress bar on a terminal, the same for fits, searches and sweeps."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["ProgressBar"]


class ProgressBar:
    """Shows on standard error how far something is, a text about it, and the time left; a context manager.

    Parameters
    ----------
    label : str
        What is going on.
    unit : str
        What is counted, in the singular.
    total : int
    visible : bool
        False shows nothing; by default True.
    """

    def __init__(self, label: str, unit: str, total: int, *, visible: bool = True) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn(unit + " {task.completed}/{task.total}"),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(compact=True),
        )
        self._progress = Progress(*columns, console=Console(stderr=True), disable=not visible)
        self._task = self._progress.add_task(label, total=total, text="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, n_done: int, text: str) -> None:
        """Move the bar to `n_done` and show another text."""
        self._progress.update(self._task, completed=n_done, text=text)
