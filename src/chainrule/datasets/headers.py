"""Whether the first line of a text file names its columns or is data itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["holds_data", "is_number"]

Fields = Sequence[str]


def holds_data(first: Fields, following: Sequence[Fields], missing: Sequence[str]) -> bool:
    """Return whether the first line of a table is data, judged by the lines that follow.

    It is data if it holds numbers only, or no text over a column of numbers and either a number with a
    fractional part, or text of which at least half stands again in the same column below.

    Examples
    --------
    >>> holds_data(["M", "0.455", "15"], [["F", "0.53", "9"]], ())
    True
    >>> holds_data(["country", "1990", "2000"], [["A", "1", "2"]], ())
    False
    """
    absent = {"", *missing}
    present = [number for number, field in enumerate(first) if field not in absent]
    text = [number for number in present if not is_number(first[number])]
    if not present:
        return False
    if not text:
        # An empty cell before whole numbers is how tables with numbered rows and columns begin.
        return "" not in first or not all(first[number].isdecimal() for number in present)
    below = {number: _column(following, number, absent) for number in text}
    if any(cells and all(map(is_number, cells)) for cells in below.values()):
        return False
    if any(_has_fraction(first[number]) for number in present):
        return True
    n_again = sum(first[number] in below[number] for number in text)
    return 2 * n_again >= len(text)


def _column(lines: Sequence[Fields], number: int, absent: set[str]) -> set[str]:
    """Return the distinct cells of a column that hold something."""
    return {fields[number] for fields in lines if number < len(fields)} - absent


def is_number(text: str) -> bool:
    """Whether a text spells a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _has_fraction(text: str) -> bool:
    return is_number(text) and math.isfinite(float(text)) and not text.isdecimal() and "." in text
