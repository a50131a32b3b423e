"""Facts without which a timing means little."""

from __future__ import annotations

import datetime
import os
import platform
from pathlib import Path
from typing import Any

import numba
import torch

__all__ = ["metadata"]


def metadata() -> dict[str, Any]:
    """Return what the figures depend on, JSON-safe."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        # Of all processes, over the last minute: parallel code that shares its cores with others is slowed
        # down out of all proportion, the textbook's many short operations most of all.
        "load": round(os.getloadavg()[0], 2),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numba": numba.__version__,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _cpu_name() -> str:
    """Return the processor's name: Linux tells it, other systems at least its family."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
