"""Products for scoring, so that a row's log p does not depend on the rows beside it, to the last bit.

Matrix products take other kernels for a few rows than for many, and narrow ones another where a row lies
otherwise in memory: a row's outputs then differ in their last bits, and its log p by some 1e-7. Measured for
float32 and float64 products of 23 to 500 shapes each, by one and two threads, with AVX-512, AVX2 and SSE:
those of 1 to 11 rows differed from those of 4096, and those with 2 to 11 outputs wherever the length of a row
was no multiple of four. Those of every multiple of 16 rows up to 4096, and of 12 outputs or more, agreed bit
for bit, wherever a row stood. Element-wise operations end in scalar code where numbers do not fill two
vectors: 32. So scoring evaluates networks on multiples of 32 rows, filled up with copies of the last one, and
with 16 outputs at least, filled up with zeros.

MKL's products for AVX2 on Intel processors are others: they take six rows at a time and the last ones
otherwise, and few rows of many outputs in a way of their own. There, 32 and 48 rows differed, multiples of 96
agreed (195 shapes, one thread, Sapphire Rapids). So blocks have 96 rows where a trial finds that 32 would not
do.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["MIN_OUTPUTS", "ScoringLinear", "batches_of_whole_blocks", "block_rows", "filled_up", "linear"]

MIN_OUTPUTS = 16
_BLOCKS = (32, 96)
_TRIED_OUTPUTS = (16, 33, 100, 300)


@cache
def block_rows() -> int:
    """Return how many rows scoring evaluates at a time, or a multiple of them: 32 or 96.

    >>> block_rows() in (32, 96)
    True
    """
    small, large = _BLOCKS
    return small if all(_products_agree(small, n_outputs) for n_outputs in _TRIED_OUTPUTS) else large


@torch.no_grad()
def _products_agree(n: int, n_outputs: int) -> bool:
    """Return whether n rows have the same products as among others, wherever they stand."""
    numbers = torch.linspace(-1.0, 1.0, 33).sin()
    weight = torch.linspace(-3.0, 2.0, 33 * n_outputs).cos().view(n_outputs, 33)
    products = F.linear(numbers.expand(8 * n, 33).contiguous(), weight)
    alone = F.linear(numbers.expand(n, 33).contiguous(), weight)
    return bool((products == products[0]).all() and (alone == products[0]).all())


def filled_up(n: int) -> np.ndarray:
    """Return the numbers of n rows, the last one repeated until they are whole blocks.

    >>> filled_up(3)[:5], len(filled_up(3)) == block_rows(), len(filled_up(192))
    (array([0, 1, 2, 2, 2]), True, 192)
    """
    block = block_rows()
    return np.minimum(np.arange(-(-n // block) * block), n - 1)


def batches_of_whole_blocks(n: int, size: int) -> Iterator[tuple[slice, slice | np.ndarray]]:
    """Yield which of n rows are the next batch, `size` at a time, and what to evaluate for them.

    The latter is whole blocks of rows that begin with the batch; a size that is none is rounded up to them.

    >>> [batch for batch, _ in batches_of_whole_blocks(200, 90)]
    [slice(0, 96, None), slice(96, 192, None), slice(192, 200, None)]
    """
    block = block_rows()
    size = -(-size // block) * block
    for start in range(0, n, size):
        batch = slice(start, min(start + size, n))
        count = batch.stop - start
        yield batch, start + filled_up(count) if count % block else batch


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x W^T + b, (..., n_out); where no gradient is wanted, narrow ones as wide as rows need.

    Training takes the fastest product: its batches are what they are.
    """
    lacking = MIN_OUTPUTS - len(weight)
    if lacking <= 0 or torch.is_grad_enabled():
        return F.linear(x, weight, bias)
    bias = None if bias is None else F.pad(bias, (0, lacking))
    return F.linear(x, F.pad(weight, (0, 0, 0, lacking)), bias)[..., : len(weight)]


class ScoringLinear(nn.Linear):
    """A linear layer whose outputs for a row depend on no row beside it where no gradient is wanted."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x W^T + b, (..., n_out)."""
        return linear(x, self.weight, self.bias)
