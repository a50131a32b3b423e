"""Symbols on a line, coded digit by digit: each narrows the range that a distribution function leaves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from chainrule.compression.coders import ANY, SymbolCoder

__all__ = ["LARGEST_SYMBOL", "RADIX", "code_on_line", "n_digits_of"]

Floats = NDArray[np.float64]
Symbols = NDArray[np.int64]

LARGEST_SYMBOL = 2**61
"""Symbols on a line lie between this and its negative, so that no sum of them overflows."""

RADIX = 16
"""How many cells a digit tells apart."""
# A share of all mass that is spread evenly over each cell of a digit: far out, where differences of a
# distribution function are nothing but rounding, symbols are about equally probable.
_EVENLY = 1e-13


def code_on_line(
    coder: SymbolCoder,
    reached: Callable[[Symbols], Floats],
    low: Symbols,
    high: Symbols,
    wanted: Symbols,
) -> Symbols:
    """Return coded symbols (n,), each in a range of its own.

    Parameters
    ----------
    coder : SymbolCoder
    reached : callable
        From symbols (n, B) to the mass of all symbols of the row that lie below, (n, B); any constant may be
        added to it.
    low, high : ndarray of int64, shape (n,)
        The least and the greatest symbol of each row.
    wanted : ndarray of int64, shape (n,)
        The symbols to write, or `ANY`.
    """
    start = low.copy()
    widest = int((high - low).max(initial=0)) + 1
    n_digits = n_digits_of(widest)
    for digit in range(n_digits):
        size = RADIX ** (n_digits - 1 - digit)
        n_cells = min(RADIX, -(-widest // size))
        bounds = np.minimum(start[:, None] + size * np.arange(n_cells + 1), high[:, None] + 1)
        masses = np.diff(reached(bounds), axis=1).clip(0.0) + np.diff(bounds, axis=1) * (_EVENLY / size)
        cells = coder.code(masses, np.where(wanted == ANY, -1, (wanted - start) // size))
        start = np.minimum(start + size * cells, high)
        widest = size
    return start


def n_digits_of(n_symbols: int) -> int:
    """Return how many digits tell so many symbols apart.

    >>> n_digits_of(1), n_digits_of(16), n_digits_of(17)
    (0, 1, 2)
    """
    n_digits = 0
    while RADIX**n_digits < n_symbols:
        n_digits += 1
    return n_digits
