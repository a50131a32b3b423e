"""Ctrl-C waits until the state of a fit is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Interruptions"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruptions:
    """Lets no signal break off a piece of work: what handles the signal is called right after it.

    A context manager; only within it signals are held up. They reach the main thread alone, and only a
    handler in Python, such as that of Ctrl-C, can raise an exception in the middle of something.

    Attributes
    ----------
    is_whole : bool
        Whether the last piece of work came to its end.
    """

    is_whole: bool

    def __init__(self) -> None:
        self.is_whole = True
        self._is_held = False
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._pending: list[tuple[int, FrameType | None]] = []

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            handlers = {number: signal.getsignal(number) for number in _SIGNALS}
            self._handlers = {number: each for number, each in handlers.items() if callable(each)}
            for number in self._handlers:
                signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold signals up until the piece of work within is done."""
        self._is_held, self.is_whole = True, False
        try:
            yield
            self.is_whole = True
        finally:
            self._is_held = False
            while self._pending:
                number, frame = self._pending.pop()
                self._handlers[number](number, frame)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._is_held:
            self._pending.append((number, frame))
        else:
            self._handlers[number](number, frame)
