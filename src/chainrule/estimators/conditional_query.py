"""A conditional query on codes: what of rows is observed, and what is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

__all__ = ["ADVICE", "ConditionalQuery"]

ADVICE = "OrderlessNADE answers any question: fit one"
"""Where a query finds no answer."""


@dataclass(frozen=True, eq=False)
class ConditionalQuery:
    """Codes of rows, what of them is observed and what is asked for: p(query | observed).

    Parameters
    ----------
    codes : ndarray (n, D)
        NaN where missing.
    observed, query : ndarray, bool (n, D)
    context : ndarray (n, C), optional
    """

    codes: np.ndarray
    observed: np.ndarray
    query: np.ndarray
    context: np.ndarray | None = None

    @classmethod
    def of_missing(cls, codes: np.ndarray, context: np.ndarray | None = None) -> ConditionalQuery:
        """Return the query for what is missing in rows given what is not."""
        observed = ~np.isnan(codes)
        return cls(codes, observed, ~observed, context)

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, index: slice | np.ndarray) -> ConditionalQuery:
        """Return the query about some of the rows."""
        context = None if self.context is None else self.context[index]
        return ConditionalQuery(self.codes[index], self.observed[index], self.query[index], context)

    def batches(self, size: int) -> Iterator[ConditionalQuery]:
        """Yield the query about `size` rows at a time."""
        for start in range(0, len(self), size):
            yield self.take(slice(start, start + size))
