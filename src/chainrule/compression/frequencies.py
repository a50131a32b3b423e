"""Probabilities as fixed-point numbers: what a range coder counts with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["PRECISION", "weights_of"]

Floats = NDArray[np.float64]

PRECISION = 24
"""Frequencies of a symbol's levels sum to 2 to this power."""

# Less mass than this is none: one over it would not be a number.
_NOTHING = 1e-200


def weights_of(masses: Floats) -> Floats:
    """Return whole numbers (n, K), of which each is one less than a frequency, from masses (n, K).

    Frequencies are 1 at least, so that nothing is uncodable, and those of a row sum to ``2**PRECISION``. They
    come of float64 multiplications, rounding down and sums alone. A row without any mass is spread evenly.

    Parameters
    ----------
    masses : ndarray of shape (n, K)
        Not negative; rows need not sum to one.

    Raises
    ------
    FloatingPointError
        If a mass is not finite.

    Examples
    --------
    >>> weights_of(np.array([[0.25, 0.75]])) + 1
    array([[ 4194304., 12582912.]])
    >>> (weights_of(np.array([[1.0, 0.0, 0.0]])) + 1).tolist()
    [[16777214.0, 1.0, 1.0]]
    """
    masses = np.ascontiguousarray(masses, dtype=np.float64)  # coders read memory as it is, row after row
    n_levels = masses.shape[1]
    total = masses.sum(axis=1)
    if not np.isfinite(total).all():
        raise FloatingPointError("the model's probabilities are not finite: its weights are out of range")
    empty = total < _NOTHING
    if empty.any():
        masses = np.where(empty[:, None], 1.0, masses)
        total = np.where(empty, float(n_levels), total)
    n_free = float(2**PRECISION - n_levels)
    weights: Floats = np.floor(masses * (n_free / total)[:, None])
    rows = np.arange(len(weights))
    # What rounding down leaves over goes where it matters least.
    weights[rows, masses.argmax(axis=1)] += n_free - weights.sum(axis=1)
    return weights
