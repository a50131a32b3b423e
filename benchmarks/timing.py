"""Timing two things in turn, so that a noisy machine is noisy for both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["FASTER", "SECONDS", "TIMES_THE_COST", "Goal", "Timing", "in_turn", "seconds_of"]

# What a goal is about: how many times faster ours is (more is better), how many times the other's cost ours
# has, or the seconds of ours alone (less is better for both).
FASTER = "times faster"
TIMES_THE_COST = "times the cost"
SECONDS = "seconds"

# Turns end early when they have taken this many seconds: some samplers of others take many per call.
_LONGEST = 30.0


@dataclass(frozen=True)
class Goal:
    """What a row must reach at least, and what it aims at."""

    at_least: float
    aim: float
    measure: str = FASTER

    def reached(self, value: float) -> str:
        """Return which of the two a value reaches: "aim", "at least" or "missed"."""
        sign = 1 if self.measure == FASTER else -1
        if sign * value >= sign * self.aim:
            return "aim"
        return "at least" if sign * value >= sign * self.at_least else "missed"


@dataclass(frozen=True)
class Timing:
    """Seconds of ours and of the other, turn by turn."""

    work: str
    ours_turns: list[float]
    other_turns: list[float]
    other_name: str
    goal: Goal | None = None

    heading = (
        f"{'work':<66} {'ours, ms':>11} {'other, ms':>11} {'result':>10} {'at least':>8} {'aim':>6} "
        f"{'reached':<8}  against"
    )

    @property
    def ours(self) -> float:
        """Median seconds of ours."""
        return statistics.median(self.ours_turns)

    @property
    def other(self) -> float:
        """Median seconds of the other."""
        return statistics.median(self.other_turns)

    @property
    def ratio(self) -> float:
        """The other's median over ours: how many times faster ours is."""
        return self.other / self.ours

    @property
    def measure(self) -> str:
        """What the result counts."""
        return FASTER if self.goal is None else self.goal.measure

    @property
    def result(self) -> float:
        """The figure to hold against the goal."""
        return {FASTER: self.ratio, TIMES_THE_COST: 1 / self.ratio, SECONDS: self.ours}[self.measure]

    @property
    def reached(self) -> str:
        """Which goal was reached; empty where there is none."""
        return "" if self.goal is None else self.goal.reached(self.result)

    def line(self) -> str:
        """Return the row of the table; goals that are upper bounds are marked as such."""
        unit = {FASTER: "x", TIMES_THE_COST: "x cost", SECONDS: "s"}[self.measure]
        bound = "" if self.measure == FASTER else "<="
        goals = ("", "") if self.goal is None else (f"{bound}{self.goal.at_least:g}", f"{self.goal.aim:g}")
        result = f"{self.result:.3g} {unit}"
        return (
            f"{self.work:<66} {self.ours * 1e3:>11.2f} {self.other * 1e3:>11.2f} {result:>10} "
            f"{goals[0]:>8} {goals[1]:>6} {self.reached:<8}  {self.other_name}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the medians, the result, the goal, and every turn."""
        goal = {"at_least": None, "aim": None} if self.goal is None else asdict(self.goal)
        return {
            "work": self.work,
            "ours": self.ours,
            "other": self.other,
            "other_name": self.other_name,
            "ratio": self.ratio,
            "result": self.result,
            **goal,
            "measure": self.measure,
            "reached": self.reached,
            "runs": len(self.ours_turns),
            "ours_turns": self.ours_turns,
            "other_turns": self.other_turns,
        }


def seconds_of(work: Callable[[], object], repeat: int = 1) -> float:
    """Return the mean seconds of `repeat` calls."""
    start = time.perf_counter()
    for _ in range(repeat):
        work()
    return (time.perf_counter() - start) / repeat


def in_turn(
    work: str,
    ours: Callable[[], object],
    other: Callable[[], object],
    *,
    other_name: str = "textbook",
    goal: Goal | None = None,
    runs: int = 5,
    repeat: int = 1,
) -> Timing:
    """Run A B A B ... and return all turns; each is run once before to compile and warm up.

    Ours, being short, is run `repeat` times per turn.
    """
    ours()
    other()
    turns = []
    start = time.perf_counter()
    while len(turns) < runs and time.perf_counter() - start < _LONGEST:
        turns.append((seconds_of(ours, repeat), seconds_of(other)))
    ours_turns, other_turns = zip(*turns, strict=True)
    return Timing(work, list(ours_turns), list(other_turns), other_name, goal)
