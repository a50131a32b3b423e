"""How the kernels of the CPU are compiled: each when it is first called, once for each machine."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from numba import njit
from numba.core import event

from chainrule.kernels.clock import COMPILATION

__all__ = ["COMPILE", "kept_kernels", "wake_compiler"]

COMPILE: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
"""Options of `numba.njit` for kernels that are called from Python."""

_LOGGER = logging.getLogger(__name__)
_PACKAGE = __name__.rpartition(".")[0]


@njit(**COMPILE)
def _no_work() -> None:  # pragma: no cover
    """Stand for all kernels of this folder: where they are kept, and that Numba is ready for them."""


class _Compilations(event.Listener):
    """Stops the clock of budgets while kernels are compiled, and logs the first one that was not kept."""

    def __init__(self) -> None:
        self._is_told = False

    def on_start(self, event: event.Event) -> None:
        COMPILATION.begin()
        kernel = event.data["dispatcher"]
        if self._is_told or not kernel.py_func.__module__.startswith(_PACKAGE):
            return
        self._is_told = True
        _LOGGER.info(
            "kernels are compiled, which takes some seconds the first time; they are kept in %s",
            kernel.stats.cache_path,
        )

    def on_end(self, event: event.Event) -> None:
        COMPILATION.end()


event.register("numba:compile", _Compilations())


def kept_kernels() -> tuple[Path, int]:
    """Return the folder in which compiled kernels are kept, and how many of them there are."""
    folder = Path(_no_work.stats.cache_path)
    return folder, len({index.name.partition("-")[0] for index in folder.glob("*.nbi")})


def wake_compiler() -> None:
    """Have Numba set itself up, which takes a second of the first kernel that a process calls."""
    _no_work()
