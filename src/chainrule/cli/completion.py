"""What a shell offers for an argument that has been begun."""

from __future__ import annotations

import glob
import os

__all__ = ["complete_data", "complete_model"]


def complete_data(incomplete: str) -> list[str]:
    """Return the named data sets and the paths that begin with what was typed."""
    from chainrule.datasets import dataset_names

    names = [info.name for info in dataset_names() if info.name.startswith(incomplete)]
    return [*names, *_paths(incomplete)]


def complete_model(incomplete: str) -> list[str]:
    """Return the saved models that begin with what was typed, and the folders in which there may be some."""
    from chainrule.storage import is_saved_model

    folders = [path for path in _paths(incomplete) if path.endswith(os.sep)]
    return [path.rstrip(os.sep) if is_saved_model(path) else path for path in folders]


def _paths(incomplete: str) -> list[str]:
    """Return the paths that begin so, those of folders with a slash at their end."""
    found = sorted(glob.glob(f"{glob.escape(incomplete)}*"))
    return [os.path.join(path, "") if os.path.isdir(path) else path for path in found]
