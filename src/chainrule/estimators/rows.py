"""Rows on their way into estimators, and where their random numbers come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np

from chainrule.errors import DataError

__all__ = [
    "CodedRows",
    "as_columns",
    "make_generator",
    "split_rows",
    "take",
    "take_of_both",
    "with_index_of",
    "with_missing_filled",
]


def make_generator(random_state: Any) -> np.random.Generator:
    """Return a NumPy generator from None, a seed, a `Generator` or scikit-learn's `RandomState`."""
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(np.iinfo(np.int32).max))
    return np.random.default_rng(random_state)


@dataclass(frozen=True)
class CodedRows:
    """Rows as models see them.

    Attributes
    ----------
    codes : ndarray of shape (n, D), float32
        As `Schema.coarse` gives them; NaN where a value is missing.
    context : ndarray of shape (n, C) or None
        Codes of the side information.
    log_det : float
        What the mean log-likelihood of the rows lies above that of their codes, in nats.
    files : tuple of Path
        Where all rows lie, if they are more than memory holds; `codes` are a random sample of them then. Each
        file holds a random share of the rows, as float32 codes.
    """

    codes: np.ndarray
    context: np.ndarray | None
    log_det: float
    files: tuple[Path, ...] = ()

    def some(self, rows: np.ndarray) -> CodedRows:
        """Return some of the rows, by their numbers, in memory; `log_det` remains that of all."""
        return CodedRows(self.codes[rows], take(self.context, rows), self.log_det)

    def joined(self, other: CodedRows) -> CodedRows:
        """Return these rows and others behind them."""
        n, n_other = len(self.codes), len(other.codes)
        contexts = [each.context for each in (self, other) if each.context is not None]
        return CodedRows(
            np.concatenate([self.codes, other.codes]),
            np.concatenate(contexts) if contexts else None,
            (n * self.log_det + n_other * other.log_det) / (n + n_other),
            self.files,
        )


def split_rows(n_rows: int, fraction: float, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the rows for training, and of a share of them for validation."""
    if not 0 <= fraction < 1:
        raise DataError(f"validation_fraction must be in [0, 1), got {fraction}")
    n_val = min(int(np.ceil(fraction * n_rows)), n_rows - 1)
    rows = generator.permutation(n_rows)
    return np.sort(rows[n_val:]), np.sort(rows[:n_val])


def take(array: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    """Return some rows of an array; None of None."""
    return None if array is None else array[rows]


def take_of_both(parts: tuple[np.ndarray | None, np.ndarray | None], rows: np.ndarray) -> Any:
    """Return rows, by their numbers from the first of two arrays on to the second; None of None."""
    first, second = parts
    if first is None or second is None:
        return None
    behind = rows >= len(first)
    return np.concatenate([first[rows[~behind]], second[rows[behind] - len(first)]])


def as_columns(context: Any) -> Any:
    """Return a one-dimensional context as a single column."""
    if isinstance(context, list | tuple):
        context = np.asarray(context)
    if isinstance(context, np.ndarray) and context.ndim == 1:
        return context[:, None]
    return context


def with_missing_filled(codes: np.ndarray) -> np.ndarray:
    """Return codes (n, D) whose missing ones take the values that the column has, in turn."""
    filled = np.array(codes, dtype=np.float32, order="C")
    missing = np.isnan(filled)
    for d in np.flatnonzero(missing.any(axis=0)):
        observed = filled[~missing[:, d], d]
        filled[missing[:, d], d] = np.resize(observed, missing[:, d].sum()) if len(observed) else 0.0
    return filled


def with_index_of(rows: Any, made: Any) -> Any:
    """Return the table that was made of rows, one for each, with their index where both are of pandas."""
    index, own = (_index_of(each) for each in (rows, made))
    if index is not None and own is not None:
        made.index = index
    return made


def _index_of(rows: Any) -> Any:
    """Return the index of a table of pandas; None of other rows."""
    table = nw.from_native(rows, eager_only=True, pass_through=True)
    return nw.maybe_get_index(table) if isinstance(table, nw.DataFrame) else None
