"""What the library logs, as lines on standard error."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from chainrule.cli.output import say

__all__ = ["notes_on_standard_error"]


class _Note(logging.Handler):
    """Says each record as a line, above a progress bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"note: {record.getMessage()}")


@contextmanager
def notes_on_standard_error() -> Iterator[None]:
    """Say what the library has to tell during a command: it is logged, which users of Python do not see."""
    logger, handler = logging.getLogger("chainrule"), _Note(logging.INFO)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
