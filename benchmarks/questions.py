"""Draws given something rare against draws given something common, and given nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.models import SHARE_OF_ONES, any_order
from benchmarks.timing import TIMES_THE_COST, Goal, Timing, in_turn
from chainrule import inference
from chainrule.model import AutoregressiveModel

__all__ = ["questions"]

_N_VARIABLES = 784
_N_SAMPLES = 100
# So many ones have a probability of about one in a million, as many zeros one of about a third.
_N_GIVEN = 7
_GOAL = Goal(1.2, 1.0, TIMES_THE_COST)


def questions(runs: int) -> Iterator[Timing]:
    """Yield the timings of conditional samples."""
    for name, model in any_order(_N_VARIABLES, (500, 500)).items():
        rare = _drawing(model, 1.0)
        probability = SHARE_OF_ONES**_N_GIVEN
        work = f"{name}: {_N_SAMPLES} samples given what has probability {probability:.0e}"
        for other, value in (("given what is common", 0.0), ("given nothing", None)):
            yield in_turn(work, rare, _drawing(model, value), other_name=other, goal=_GOAL, runs=runs)


def _drawing(model: AutoregressiveModel, value: float | None) -> Callable[[], Tensor]:
    """Return what draws samples in which the first variables have a value, or are drawn like the others."""
    generator = torch.Generator().manual_seed(0)
    if value is None:
        return lambda: model.sample(_N_SAMPLES, generator)
    rows = torch.full((_N_SAMPLES, _N_VARIABLES), value)
    given = torch.zeros(rows.shape, dtype=torch.bool)
    given[:, :_N_GIVEN] = True
    order = model.conditioner.order(0)
    return lambda: inference.sample_conditional(
        model, rows, given, order, model.uniforms(_N_SAMPLES, generator)
    )
