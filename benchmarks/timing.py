"""Timing two things in turn, so that a noisy machine is noisy for both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Timing", "in_turn"]


@dataclass(frozen=True)
class Timing:
    """Median seconds of ours and of the other, and how many times faster ours is."""

    work: str
    ours: float
    other: float
    other_name: str
    runs: int

    @property
    def ratio(self) -> float:
        """The other's median over ours."""
        return self.other / self.ours


def in_turn(
    work: str,
    ours: Callable[[], object],
    other: Callable[[], object],
    *,
    other_name: str = "textbook",
    runs: int = 5,
    repeat: int = 1,
) -> Timing:
    """Run A B A B ... and return the medians; each is run once before to compile and warm up.

    Ours, being short, is run `repeat` times per turn.
    """
    ours()
    other()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        start = time.perf_counter()
        for _ in range(repeat):
            ours()
        times[0].append((time.perf_counter() - start) / repeat)
        start = time.perf_counter()
        other()
        times[1].append(time.perf_counter() - start)
    return Timing(work, statistics.median(times[0]), statistics.median(times[1]), other_name, runs)
