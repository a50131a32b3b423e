"""Which cells are missing, coded column after column before the rows are.

Columns are often missing together, so each is coded given one other that precedes it: the one that tells most
about it (a tree of such pairs fits best of all; Chow and Liu 1968).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from chainrule.compression.coders import SymbolCoder
from chainrule.errors import StorageError

__all__ = ["MissingColumn", "code_missing", "describe_missing"]

Truth = NDArray[np.bool_]
Count = Annotated[int, Meta(ge=0)]


class MissingColumn(Struct, array_like=True, forbid_unknown_fields=True):
    """How often a column's cells are missing where those of another are there, and where they are missing."""

    column: Count
    given: Annotated[int, Meta(ge=-1)]
    """The other column, which comes before; -1: none."""
    beside_present: Count
    beside_missing: Count


def describe_missing(missing: Truth) -> list[MissingColumn]:
    """Return what is to be known of missing cells, bool (n, D), beforehand: of columns that have some."""
    columns = np.flatnonzero(missing.any(axis=0))
    chosen = missing[:, columns].astype(np.float64)
    together, counts = chosen.T @ chosen, chosen.sum(axis=0)
    described = []
    for i, column in enumerate(columns.tolist()):
        bits = [_bits(together[i, j], counts[i], counts[j], len(missing)) for j in range(i)]
        alone = _bits(0.0, counts[i], 0.0, len(missing))
        best = int(np.argmin(bits)) if bits and min(bits) < alone else -1
        both = int(together[i, best]) if best >= 0 else 0
        given = int(columns[best]) if best >= 0 else -1
        described.append(MissingColumn(column, given, int(counts[i]) - both, both))
    return described


def _bits(both: float, count: float, count_given: float, n: int) -> float:
    """Return how many bits a column takes, given another."""
    return _entropy(both, count_given) + _entropy(count - both, n - count_given)


def _entropy(part: float, whole: float) -> float:
    shares = np.array([part, whole - part])
    shares = shares[shares > 0]
    return float(-(shares * np.log2(shares / whole)).sum()) if len(shares) else 0.0


def code_missing(coder: SymbolCoder, described: Sequence[MissingColumn], missing: Truth) -> Truth:
    """Return which cells are missing, bool (n, D), as it is coded.

    Parameters
    ----------
    coder : SymbolCoder
    described : sequence of MissingColumn
    missing : ndarray of bool, shape (n, D)
        What is to be written; a decoder passes over it.

    Raises
    ------
    StorageError
        If the counts are none of so many rows.
    """
    coded, known = np.zeros_like(missing), {-1: np.zeros(len(missing), dtype=bool)}
    for each in described:
        if each.column >= missing.shape[1] or each.given not in known or each.column in known:
            raise StorageError(
                "the compressed rows were altered: their missing cells are none of the columns"
            )
        given = known[each.given]
        ways = np.array([len(given) - given.sum(), given.sum()])
        absent = np.array([each.beside_present, each.beside_missing])
        if (absent > ways).any():
            raise StorageError("the compressed rows were altered: more cells are missing than there are rows")
        masses = np.stack([ways - absent, absent], axis=1).astype(np.float64)[given.astype(np.intp)]
        known[each.column] = coder.code(masses, missing[:, each.column].astype(np.int64)) == 1
        coded[:, each.column] = known[each.column]
    return coded
