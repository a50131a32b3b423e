"""A clock for budgets of time, which stands still while kernels are compiled; it needs no Numba."""

from __future__ import annotations

import time

__all__ = ["COMPILATION", "working_time"]


class Compilation:
    """How long kernels have been compiled in this process, those that they call among them."""

    def __init__(self) -> None:
        self._depth = 0
        self._began = 0.0
        self._seconds = 0.0

    def begin(self) -> None:
        """Take note that a kernel begins to be compiled."""
        if self._depth == 0:
            self._began = time.perf_counter()
        self._depth += 1

    def end(self) -> None:
        """Take note that it is compiled."""
        self._depth -= 1
        if self._depth == 0:
            self._seconds += time.perf_counter() - self._began

    def seconds(self, now: float) -> float:
        """Return how long it has taken in all by the time `now`, of `time.perf_counter`."""
        return self._seconds + (now - self._began if self._depth else 0.0)


COMPILATION = Compilation()
"""What Numba tells of the compilation of kernels."""


def working_time() -> float:
    """Return the seconds of a clock like `time.perf_counter` that stands still while kernels are compiled.

    That happens once on a machine, and would take up most of a short budget there.
    """
    now = time.perf_counter()
    return now - COMPILATION.seconds(now)
