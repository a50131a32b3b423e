"""Rows as a network sees them: in memory, or on disk where they are more than it holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

__all__ = ["Rows", "StoredRows", "TrainingRows"]


class TrainingRows(Protocol):
    """What a fit needs of its training rows."""

    @property
    def log_abs_det_jacobian(self) -> float:
        """The mean over all rows of log p(row) - log p(codes), in nats."""

    @property
    def n_variables(self) -> int:
        """Number of variables, D."""

    @property
    def device(self) -> torch.device:
        """Where the batches are."""

    def __len__(self) -> int: ...

    def shuffled(self, size: int, generator: torch.Generator, n_taken: int = 0) -> Iterator[Rows]:
        """Yield all rows in random order, `size` at a time, but for the first `n_taken` batches."""

    def digest(self) -> str:
        """Return a checksum of all rows."""


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

    @property
    def n_variables(self) -> int:
        """Number of variables, D."""
        return self.codes.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the codes are."""
        return self.codes.device

    def take(self, index: Tensor | slice) -> Rows:
        """Return some of the rows."""
        return Rows(self.codes[index], None if self.context is None else self.context[index])

    def batches(self, size: int) -> Iterator[Rows]:
        """Yield the rows in order, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.take(slice(start, start + size))

    def shuffled(self, size: int, generator: torch.Generator, n_taken: int = 0) -> Iterator[Rows]:
        """Yield all rows in random order, `size` at a time, but for the first `n_taken` batches."""
        order = torch.randperm(len(self), generator=generator).to(self.device)
        for index in order.split(size)[n_taken:]:
            yield self.take(index)

    def digest(self) -> str:
        """Return a checksum of all rows."""
        checksum = sha256()
        for tensor in (self.codes, self.context):
            if tensor is not None:
                checksum.update(tensor.cpu().contiguous().numpy().reshape(-1).data)
        return checksum.hexdigest()


class StoredRows:
    """Rows whose codes lie in files, of which one at a time is in memory.

    Each file holds a random share of all rows, so that rows in random order are the files in random order,
    each in random order by itself.

    Parameters
    ----------
    files : sequence of Path
        Float32 codes, row after row, D of each.
    n_variables : int
        D.
    log_abs_det_jacobian : float
        As of `Rows`.
    device : torch.device
        Where the batches are wanted.
    """

    def __init__(
        self, files: Sequence[Path], n_variables: int, log_abs_det_jacobian: float, device: torch.device
    ) -> None:
        self.log_abs_det_jacobian = log_abs_det_jacobian
        self.n_variables = n_variables
        self.device = device
        self._files = files
        self._n_rows = [path.stat().st_size // (4 * n_variables) for path in files]

    def __len__(self) -> int:
        return sum(self._n_rows)

    def shuffled(self, size: int, generator: torch.Generator, n_taken: int = 0) -> Iterator[Rows]:
        """Yield all rows in random order, `size` at a time, but for the first `n_taken` batches."""
        n_skipped = n_taken * size
        rest = torch.empty(0, self.n_variables)
        for number in torch.randperm(len(self._files), generator=generator).tolist():
            n_rows = self._n_rows[number]
            order = torch.randperm(n_rows, generator=generator)
            if n_skipped >= n_rows:
                n_skipped -= n_rows
                continue
            codes, order = self._read(number), order[n_skipped:]
            n_skipped = 0
            n_first = min(size - len(rest), len(order)) if len(rest) else 0
            if n_first:
                rest = torch.cat([rest, codes[order[:n_first]]])
                if len(rest) < size:
                    continue
                yield Rows(rest.to(self.device))
            n_whole = (len(order) - n_first) // size * size
            for start in range(n_first, n_first + n_whole, size):
                yield Rows(codes[order[start : start + size]].to(self.device))
            rest = codes[order[n_first + n_whole :]]
            del codes
        if len(rest):
            yield Rows(rest.to(self.device))

    def digest(self) -> str:
        """Return a checksum of all rows."""
        checksum = sha256()
        for number in range(len(self._files)):
            checksum.update(self._read(number).numpy().data)
        return checksum.hexdigest()

    def _read(self, number: int) -> Tensor:
        return torch.from_numpy(np.fromfile(self._files[number], np.float32).reshape(-1, self.n_variables))
