"""How far something is, the same for fits, searches and sweeps: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["Progressing"]

# Where there is no terminal, a line is written this often, in seconds.
_LINE_EVERY = 10.0


class Progressing:
    """Shows on standard error how far something is, a text about it, and the time left; a context manager.

    On a terminal that is a bar; elsewhere, a log for example, a line every ten seconds.

    Parameters
    ----------
    label : str
        What is going on.
    total : float, default=1
        How much there is to do.
    unit : str, optional
        What is counted, in the singular; without it only the share that is done is shown.
    visible : bool
        False shows nothing; by default True.
    """

    def __init__(
        self, label: str, total: float = 1.0, *, unit: str | None = None, visible: bool = True
    ) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._on_terminal = visible and sys.stderr.isatty()
        self._writes_lines = visible and not self._on_terminal
        count = "{task.percentage:>3.0f} %" if unit is None else unit + " {task.completed}/{task.total}"
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn(count),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            disable=not self._on_terminal,
        )
        self._task = self._bar.add_task(label, total=total, text="")
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        self._last_line = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._on_terminal:  # before rich 15, one that is disabled ends with an empty line
            self._bar.stop()

    def update(self, done: float, text: str) -> None:
        """Move on to `done` and show another text."""
        self._bar.update(self._task, completed=done, text=text)
        if self._writes_lines and time.monotonic() - self._last_line >= _LINE_EVERY:
            self._last_line = time.monotonic()
            count = (
                f"{done / self._total:.0%}" if self._unit is None else f"{self._unit} {done}/{self._total}"
            )
            self.say(f"{count}  {text}".rstrip())

    def say(self, text: str) -> None:
        """Write a line now, above the bar where there is one."""
        if self._on_terminal:
            self._bar.console.print(f"{self._label}: {text}", highlight=False, soft_wrap=True)
        elif self._writes_lines:
            print(f"{self._label}: {text}", file=sys.stderr, flush=True)
