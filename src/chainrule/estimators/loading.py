"""Loading a saved estimator of any class."""

from __future__ import annotations

import reprlib
from importlib import import_module
from pathlib import Path
from typing import Any

from chainrule.errors import StorageError
from chainrule.estimators.base import DensityEstimator
from chainrule.registry import CLASSES
from chainrule.storage import read_folder

__all__ = ["find_class", "load"]

# Letters of what is wrong with a folder; a file may have names of any length.
_MAX_REASON = 500


def load(path: str | Path) -> DensityEstimator:
    """Return the estimator that was saved into the folder `path`.

    Raises
    ------
    StorageError
        If the folder is no saved model, or is truncated, altered, or written by a newer version.
    """
    metadata, arrays = read_folder(path)
    try:
        estimator_class = find_class(metadata.get("class"))
    except StorageError as error:
        raise StorageError(f"{path} holds {error}") from None
    try:
        return estimator_class.restore(metadata, arrays)
    except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        reason = reason if len(reason) <= _MAX_REASON else f"{reason[:_MAX_REASON]}..."
        raise StorageError(f"{path} was altered and cannot be restored: {reason}") from error


def find_class(name: Any) -> type[DensityEstimator]:
    """Return the estimator class that a saved model names.

    Raises
    ------
    StorageError
        If it is none of this library's.
    """
    if not isinstance(name, str) or name not in CLASSES:
        known = ", ".join(CLASSES)
        raise StorageError(f"a model of the unknown class {reprlib.repr(name)}; known: {known}")
    estimator_class: type[DensityEstimator] = getattr(import_module(CLASSES[name]), name)
    return estimator_class
