"""Single values and levels: as plain Python objects, and as messages show them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np

from chainrule.errors import DataError

__all__ = ["Unit", "did_you_mean", "plain_level", "quoted", "shortened"]

Unit = Literal["", "days", "seconds"]
"""What the numbers of a column of dates count, from the start of 1970 on; "" for other columns."""

MAX_LETTERS = 40  # of a level in a description


def shortened(level: Any) -> str:
    """Return a level as a description shows it, cut where it is long."""
    shown = repr(level)
    return shown if len(shown) <= MAX_LETTERS else f"{shown[: MAX_LETTERS - 3]}..."


def quoted(values: Sequence[Any], most: int = 5) -> str:
    """List values in a message, the first few of them.

    >>> quoted(["a", "b", "c"], most=2)
    "'a', 'b' and 1 more"
    """
    shown = ", ".join(repr(value) for value in values[:most])
    return f"{shown} and {len(values) - most} more" if len(values) > most else shown


def plain_level(value: Any, name: str) -> Any:
    """Return a level as a plain Python str, bool, int or float, which JSON can hold."""
    plain = value.item() if isinstance(value, np.generic) else value
    if not isinstance(plain, (str, bool, int, float)):
        raise DataError(
            f"column {name!r} holds values of type {type(plain).__name__}, "
            "which cannot be levels: convert the column to numbers or text"
        )
    return plain


def did_you_mean(name: Any, names: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the one that was probably meant, if any.

    >>> did_you_mean("hight", ["width", "height"])
    "; did you mean 'height'?"
    """
    close = difflib.get_close_matches(str(name), list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
