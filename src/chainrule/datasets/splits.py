"""Divide rows into training, validation and test rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.datasets.core import Parts
from chainrule.errors import DataError

__all__ = ["complete_parts", "split_rows", "take_rows"]

Rows = NDArray[np.intp]

_MIN_ROWS = 4  # two to train on, one each to validate and to test


def split_rows(n_rows: int, random_state: int) -> tuple[Rows, Rows, Rows]:
    """Return the row numbers of a shuffled split 80/10/10.

    Examples
    --------
    >>> [len(rows) for rows in split_rows(1797, random_state=0)]
    [1437, 180, 180]
    """
    if n_rows < _MIN_ROWS:
        raise DataError(
            f"{n_rows} row(s) cannot be split into training, validation and test rows: "
            f"at least {_MIN_ROWS} are needed"
        )
    rows = np.random.default_rng(random_state).permutation(n_rows)
    n_held = max(1, round(0.1 * n_rows))
    return rows[2 * n_held :], rows[:n_held], rows[n_held : 2 * n_held]


def take_rows(rows: Any, numbers: Rows) -> Any:
    """Return some rows of an array or a polars DataFrame."""
    return rows[numbers]


def complete_parts(parts: Parts, random_state: int) -> tuple[Any, Any, Any, str]:
    """Return train, valid, test and a sentence on the split; what the source does not give is split off."""
    if parts.test is not None and parts.valid is not None:
        return (
            parts.train,
            parts.valid,
            parts.test,
            "Training, validation and test rows as given by the source.",
        )
    if parts.test is not None:
        train, valid = _split_off(parts.train, random_state)
        return (
            train,
            valid,
            parts.test,
            (
                "Test rows as given by the source; 10 % of its training rows, drawn with seed "
                f"{random_state}, for validation."
            ),
        )
    if parts.valid is not None:
        train, test = _split_off(parts.train, random_state)
        return (
            train,
            parts.valid,
            test,
            (
                "Validation rows as given by the source; 10 % of its training rows, drawn with seed "
                f"{random_state}, for testing."
            ),
        )
    chosen = split_rows(len(parts.train), random_state)
    train, valid, test = (take_rows(parts.train, numbers) for numbers in chosen)
    return (
        train,
        valid,
        test,
        (
            f"Rows shuffled with seed {random_state} and split 80/10/10 into training, validation and test rows."
        ),
    )


def _split_off(rows: Any, random_state: int) -> tuple[Any, Any]:
    """Return the rows without a random tenth, and that tenth."""
    if len(rows) < _MIN_ROWS:
        raise DataError(
            f"{len(rows)} training row(s) are too few to split some off: at least {_MIN_ROWS} are needed"
        )
    numbers = np.random.default_rng(random_state).permutation(len(rows))
    n_held = max(1, round(0.1 * len(rows)))
    return take_rows(rows, numbers[n_held:]), take_rows(rows, numbers[:n_held])
