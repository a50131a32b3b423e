"""How much a file may unpack to: a small file must not fill the memory."""

from __future__ import annotations

import re
from pathlib import Path

from chainrule.errors import DataError

__all__ = ["MOST_UNPACKED", "check_unpacked", "half_of_free_memory", "most_unpacked"]

MOST_UNPACKED = 2**34
"""Bytes that a packed file may unpack to where memory is plenty; otherwise half of what is free."""

_MEMORY = Path("/proc/meminfo")


def half_of_free_memory() -> int | None:
    """Return half of the bytes of memory that are free, or None where that cannot be told."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB$", _MEMORY.read_text(), re.MULTILINE)
    except OSError:  # not Linux
        found = None
    return None if found is None else int(found[1]) * 1024 // 2


def most_unpacked() -> int:
    """Return how many bytes a packed file may unpack to now."""
    half = half_of_free_memory()
    return MOST_UNPACKED if half is None else min(MOST_UNPACKED, half)


def check_unpacked(n_bytes: int, path: Path) -> None:
    """Refuse a file that unpacks to more than `most_unpacked` bytes.

    Raises
    ------
    DataError
        Stating the limit.
    """
    most = most_unpacked()
    if n_bytes > most:
        raise DataError(
            f"{path} unpacks to more than {most / 2**30:.3g} GiB, as much as is read (16 GiB, or half of the "
            "memory that is free): give fewer rows, or a csv or npy file that is not packed"
        )
