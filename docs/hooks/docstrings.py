"""Docstrings as Python has them: those of networks' estimators are completed when they are imported."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

from griffe import Class, Docstring, Extension


class RuntimeDocstrings(Extension):
    """Take the docstrings of classes that `spell_out` completes."""

    def on_class(self, *, cls: Class, **kwargs: Any) -> None:
        """Replace the docstring of an estimator of a network."""
        if cls.docstring is None or "**shared" not in cls.docstring.value:
            return
        found = getattr(import_module(cls.module.path), cls.name)
        cls.docstring = Docstring(inspect.getdoc(found) or "", parent=cls)
