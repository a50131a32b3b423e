"""Rows as a network sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Rows"]


@dataclass(frozen=True)
class Rows:
    """Codes (n, D) and the context features (n, C) that belong to them.

    `log_abs_det_jacobian` is the mean over all of them of log p(row) - log p(codes), in nats; parts of them
    do not carry it.
    """

    codes: Tensor
    context: Tensor | None = None
    log_abs_det_jacobian: float = 0.0

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, index: Tensor | slice) -> Rows:
        """Return some of the rows."""
        return Rows(self.codes[index], None if self.context is None else self.context[index])

    def batches(self, size: int) -> Iterator[Rows]:
        """Yield the rows in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.take(slice(start, start + size))
