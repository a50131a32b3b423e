"""Divide rows into training, validation and test rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.datasets.core import Parts
from chainrule.errors import DataError

__all__ = ["complete_parts", "hashed_parts", "split_rows", "take_rows"]

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


def hashed_parts(numbers: NDArray[np.uint64], random_state: int) -> NDArray[np.int8]:
    """Return the part of each row of a file too large to shuffle: 0 to train on, 1 to validate, 2 to test.

    The part follows from the number of the row in the file alone, by the generator SplitMix64 (Steele, Lea
    and Flood, 2014), so that it can be told of any row without the others.

    Examples
    --------
    >>> np.bincount(hashed_parts(np.arange(10_000, dtype=np.uint64), 0)).tolist()
    [8012, 982, 1006]
    """
    with np.errstate(over="ignore"):
        z = numbers + np.uint64(1 + random_state) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    tenth = (z >> np.uint64(32)) * np.uint64(10) >> np.uint64(32)
    return np.where(tenth < 8, 0, tenth - np.uint64(7)).astype(np.int8)


def take_rows(rows: Any, numbers: Rows) -> Any:
    """Return some rows of an array or a polars DataFrame."""
    return rows[numbers]


def complete_parts(parts: Parts, random_state: int) -> tuple[Any, Any, Any, str]:
    """Return train, valid, test and a sentence on the split; what the source does not give is split off."""
    train, valid, test = parts.train, parts.valid, parts.test
    if valid is not None and test is not None:
        return train, valid, test, "Training, validation and test rows as given by the source."
    drawn = f"10 % of its training rows, drawn with seed {random_state}, for"
    if test is not None:
        train, valid = _split_off(train, random_state)
        return train, valid, test, f"Test rows as given by the source; {drawn} validation."
    if valid is not None:
        train, test = _split_off(train, random_state)
        return train, valid, test, f"Validation rows as given by the source; {drawn} testing."
    train, valid, test = (take_rows(train, rows) for rows in split_rows(len(train), random_state))
    split = f"Rows shuffled with seed {random_state}, split 80/10/10 into training, validation and test rows."
    return train, valid, test, split


def _split_off(rows: Any, random_state: int) -> tuple[Any, Any]:
    """Return the rows without a random tenth, and that tenth."""
    if len(rows) < _MIN_ROWS:
        raise DataError(
            f"{len(rows)} training row(s) are too few to split some off: at least {_MIN_ROWS} are needed"
        )
    numbers = np.random.default_rng(random_state).permutation(len(rows))
    n_held = max(1, round(0.1 * len(rows)))
    return take_rows(rows, numbers[n_held:]), take_rows(rows, numbers[:n_held])
