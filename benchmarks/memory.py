"""Peak memory of a NADE training step, each measured in a process of its own.

The state that a trainer holds before its first step (weights, averaged weights) is not counted; gradients
and the optimiser's two moments are, as they come with the step: three times the weights in any
implementation. What is more is the step's own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.models import binary_rows, nade, trainer
from benchmarks.tables import Row, Skipped
from benchmarks.textbook import TextbookNADE, train_step
from chainrule.training import Rows

__all__ = ["Growth", "Memory", "memory"]

_SIZES = (784, 1568, 3136)
_HIDDEN_SIZE = 500
_BATCH = 128
_MIB = 2**20
# The step grows with the weights if it takes at most this many bytes more per byte of weights: gradients,
# moments, and as much again. Hidden states of a whole batch (batch x D x H) would take batch / 2.
_PER_WEIGHT = 8.0


@dataclass(frozen=True)
class Memory:
    """Bytes that a training step takes beyond what was there before it."""

    n_variables: int
    weights: int
    ours: int
    other: int
    states: int

    heading = (
        f"{f'NADE D-{_HIDDEN_SIZE}, training step, batch {_BATCH}: peak memory, MiB':<66} "
        f"{'weights':>9} {'ours':>9} {'loop':>9} {'batch x D x H':>14}"
    )

    def line(self) -> str:
        """Return the row of the table in MiB."""
        figures = (self.weights / _MIB, self.ours / _MIB, self.other / _MIB)
        return (
            f"{f'D = {self.n_variables}':<66} {' '.join(f'{f:>9.1f}' for f in figures)} "
            f"{self.states / _MIB:>14.1f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the bytes."""
        return asdict(self)


@dataclass(frozen=True)
class Growth:
    """Bytes that a step takes more for each byte of weights more, from the smallest D to the largest."""

    ours: float
    other: float
    states: float

    heading = ""

    @property
    def reached(self) -> str:
        """Whether the step grows with the weights alone."""
        return "at least" if self.ours <= _PER_WEIGHT else "missed"

    def line(self) -> str:
        """Return the row of the table."""
        work = f"bytes more per byte of weights more, at most {_PER_WEIGHT:g}: {self.reached}"
        return f"{work:<66} {1:>9.1f} {self.ours:>9.1f} {self.other:>9.1f} {self.states:>14.1f}"

    def to_dict(self) -> dict[str, Any]:
        """Return the slopes and the goal."""
        return {**asdict(self), "at_most": _PER_WEIGHT, "reached": self.reached}


def memory() -> Iterator[Row]:
    """Yield the memory of a step as D doubles, and how it grows."""
    if not Path("/proc/self/clear_refs").exists():
        yield Skipped("memory", "the peak of a single step can only be read where Linux's /proc is")
        return
    rows = [_measure(n_variables) for n_variables in _SIZES]
    yield from rows
    first, last = rows[0], rows[-1]
    more = last.weights - first.weights
    yield Growth(
        (last.ours - first.ours) / more,
        (last.other - first.other) / more,
        (last.states - first.states) / more,
    )


def _measure(n_variables: int) -> Memory:
    ours, other = (_peak_elsewhere(which, n_variables) for which in ("ours", "loop"))
    n_weights = (2 * n_variables + 1) * _HIDDEN_SIZE + n_variables
    states = _BATCH * n_variables * _HIDDEN_SIZE
    return Memory(n_variables, 4 * n_weights, ours, other, 4 * states)


def _peak_elsewhere(which: str, n_variables: int) -> int:
    command = [sys.executable, "-m", "benchmarks.memory", which, str(n_variables)]
    root = Path(__file__).parent.parent
    # glibc then hands freed tensors back at once. As it comes, it keeps what it cannot fit the next one into:
    # the peak of the loop varied from one to three times what the loop holds, from run to run.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=root, env=environment, text=True)
    return int(done.stdout)


def _peak_of_step(which: str, n_variables: int) -> int:
    """Return how many bytes a step takes beyond those resident before it."""
    # A step of a small model first: it loads compiled code and starts threads, which is not the step's.
    _step_of(which, 16)()
    step = _step_of(which, n_variables)
    before = _resident("VmRSS")
    # 5 sets the mark of the highest use back to the current one (proc(5)). Unlike ru_maxrss, this mark
    # knows nothing of the parent process and of what was freed before.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    step()
    return _resident("VmHWM") - before


def _step_of(which: str, n_variables: int) -> Callable[[], float]:
    x = binary_rows(_BATCH, n_variables)
    if which == "ours":
        ours, batch = trainer(nade(n_variables, _HIDDEN_SIZE), x), Rows(x)
        return lambda: ours.train_step(batch)
    loop = TextbookNADE(n_variables, _HIDDEN_SIZE)
    adam = torch.optim.Adam(loop.parameters())
    return lambda: train_step(loop, adam, x)


def _resident(name: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(re.search(rf"{name}:\s+(\d+) kB", status)[1])


if __name__ == "__main__":
    print(_peak_of_step(sys.argv[1], int(sys.argv[2])))
