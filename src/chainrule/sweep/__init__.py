"""Sweeps: many settings of one model, chosen by the validation rows."""

from __future__ import annotations

from chainrule.sweep.parameters import Choices, Range
from chainrule.sweep.records import Effect, Fit, SweepResult, Trial
from chainrule.sweep.run import sweep
from chainrule.sweep.space import Space, parse_grid

__all__ = ["Choices", "Effect", "Fit", "Range", "Space", "SweepResult", "Trial", "parse_grid", "sweep"]
