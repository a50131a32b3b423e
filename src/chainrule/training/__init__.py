"""Fitting a model: options, the loop, schedule, early stopping, checkpoints, history, callbacks."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chainrule.training.callbacks import Callback, Epoch, Plan, Step
    from chainrule.training.early_stopping import EarlyStopping
    from chainrule.training.history import History
    from chainrule.training.loop import Trainer
    from chainrule.training.options import TrainingOptions
    from chainrule.training.progress import FitProgress
    from chainrule.training.recipes import Recipe, recipe_for
    from chainrule.training.rows import Rows, StoredRows
    from chainrule.training.validation import evaluation_batch, mean_nll, validation_nll

__all__ = [
    "Callback",
    "EarlyStopping",
    "Epoch",
    "FitProgress",
    "History",
    "Plan",
    "Recipe",
    "Rows",
    "Step",
    "StoredRows",
    "Trainer",
    "TrainingOptions",
    "evaluation_batch",
    "mean_nll",
    "recipe_for",
    "validation_nll",
]

# Each module is imported when one of its names is first used: the command line reads options without PyTorch.
_HOME = {
    "Callback": "callbacks",
    "EarlyStopping": "early_stopping",
    "Epoch": "callbacks",
    "FitProgress": "progress",
    "History": "history",
    "Plan": "callbacks",
    "Recipe": "recipes",
    "Rows": "rows",
    "StoredRows": "rows",
    "Step": "callbacks",
    "Trainer": "loop",
    "TrainingOptions": "options",
    "evaluation_batch": "validation",
    "mean_nll": "validation",
    "recipe_for": "recipes",
    "validation_nll": "validation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'chainrule.training' has no attribute {name!r}")
    return getattr(import_module(f"chainrule.training.{_HOME[name]}"), name)
