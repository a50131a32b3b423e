"""Rows with levels that the training rows lack: what the rest of such a row is worth."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from chainrule.schema import UNSEEN, Schema

__all__ = ["Scorer", "score_summed_over_unseen", "warn_of_unseen"]

# So many combinations of levels are summed over at most; of more, so many are drawn.
_MAX_COMBINATIONS = 4096
_ROWS_AT_ONCE = 2**16

Scorer = Callable[[np.ndarray, np.ndarray | None], np.ndarray]


_SCORED = "each is scored with the share of probability that is reserved for such levels"


def warn_of_unseen(codes: np.ndarray, schema: Schema, consequence: str = _SCORED) -> None:
    """Say in which columns there are levels never seen, and how many, and what follows."""
    counts = (codes == UNSEEN).sum(axis=0)
    if not counts.any():
        return
    listed = ", ".join(f"{schema.names[d]!r} ({counts[d]})" for d in np.flatnonzero(counts))
    warnings.warn(
        f"{int(counts.sum())} cells hold a level that the training rows lack: {listed}; {consequence}",
        stacklevel=2,
    )


def score_summed_over_unseen(
    score: Scorer, codes: np.ndarray, context: np.ndarray | None, n_codes: Sequence[float]
) -> np.ndarray:
    """Return log p of what is seen of each row, (n,): the sum over all levels that the unseen could have.

    So rows keep a probability that is exact and sums to one, under a model of any order or of a fixed one.
    Of rows with very many combinations, some are drawn in place of the sum, always the same ones.

    Parameters
    ----------
    score : callable
        From codes and context to nats per row.
    codes : ndarray of shape (n, D)
        With the code `UNSEEN` in some places.
    context : ndarray of shape (n, C) or None
    n_codes : sequence of float, length D
        Number of codes of each variable.

    Examples
    --------
    >>> table = np.log([[0.1, 0.2], [0.3, 0.4]])
    >>> rows = np.array([[1, 1], [1, UNSEEN]])
    >>> np.exp(score_summed_over_unseen(lambda x, _: table[*x.T.astype(int)], rows, None, [2, 2]))
    array([0.4, 0.7])
    """
    unseen = codes == UNSEEN
    scores = np.empty(len(codes))
    for pattern in np.unique(unseen, axis=0):
        rows = np.flatnonzero((unseen == pattern).all(axis=1))
        columns = np.flatnonzero(pattern)
        levels, log_weight = _combinations([int(n_codes[d]) for d in columns.tolist()])
        step = max(1, _ROWS_AT_ONCE // len(levels))
        for start in range(0, len(rows), step):
            chosen = rows[start : start + step]
            filled = np.repeat(codes[chosen], len(levels), axis=0)
            filled[:, columns] = np.tile(levels, (len(chosen), 1))
            beside = None if context is None else np.repeat(context[chosen], len(levels), axis=0)
            each = score(filled, beside).reshape(len(chosen), len(levels))
            scores[chosen] = np.logaddexp.reduce(each, axis=1) + log_weight
    return scores


def _combinations(n_levels: Sequence[int]) -> tuple[np.ndarray, float]:
    """Return combinations of levels, (m, C), and the log of how many each stands for."""
    total = math.prod(n_levels)
    if total <= _MAX_COMBINATIONS:
        return np.indices(n_levels).reshape(len(n_levels), total).T, 0.0
    drawn = np.random.default_rng(0).integers(n_levels, size=(_MAX_COMBINATIONS, len(n_levels)))
    return drawn, math.log(total) - math.log(_MAX_COMBINATIONS)
