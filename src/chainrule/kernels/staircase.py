"""Products with staircase matrices: each row holds weights up to some column, later rows no fewer.

The masks of one member of a MADE are staircases once features and outputs stand in the member's order and
hidden units in that of their degrees. Half of such a matrix is zero. Cut into blocks of rows, each as wide
as its longest row, it needs little more than the other half, in memory and in products::

    rows     columns                    packed, one block after the other
      0     | x . . . . . . . |
      1     | x x . . . . . . |         | x . x x |  block of rows 0, 1: kept up to `width` = 2,
            |-----            |                      all its rows reach `full` = 1
      2     | x x x x . . . . |         | x x x x . . x x x x x x |  block of rows 2, 3: `width` = 6,
      3     | x x x x x x . . |                      between `full` = 4 and 6 lie its stairs
            |-------------    |
             x may differ from zero; . is zero, stored only within a block's stairs
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["Block", "StaircaseProduct", "blocks_of", "staircase_product_reference"]

# Libraries multiply blocks of this many rows, or of multiples, about as fast per number as large matrices,
# but not those of, say, 125 rows. Many blocks gain little over a few, and each costs calls.
_ROWS_PER_BLOCK = 256
_MAX_BLOCKS = 8


@dataclass(frozen=True)
class Block:
    """Rows ``first:last`` of a matrix, of which columns ``:width`` are kept, packed from `start` on.

    All its rows reach column `full`; between `full` and `width` lies a part of the stairs.
    """

    first: int
    last: int
    full: int
    width: int
    start: int

    # Looked up in every step of a fit, and therefore made once.
    @cached_property
    def rows(self) -> slice:
        """The rows of the matrix."""
        return slice(self.first, self.last)

    @cached_property
    def columns(self) -> slice:
        """The columns that are kept."""
        return slice(self.width)

    @cached_property
    def stairs(self) -> tuple[slice, slice]:
        """The part of the block in which rows end."""
        return slice(None), slice(self.full, self.width)

    @cached_property
    def size(self) -> int:
        """How many numbers are kept."""
        return (self.last - self.first) * self.width

    def of(self, packed: Tensor) -> Tensor:
        """Return the block of a packed matrix as a view, (last - first, width)."""
        return packed.as_strided((self.last - self.first, self.width), (self.width, 1), self.start)


def blocks_of(prefix: list[int]) -> list[Block]:
    """Return the blocks of a matrix whose row i holds ``prefix[i]`` weights, the numbers ascending."""
    edges = _edges(len(prefix))
    blocks: list[Block] = []
    for first, last in zip(edges[:-1], edges[1:], strict=True):
        start = blocks[-1].start + blocks[-1].size if blocks else 0
        blocks.append(Block(first, last, prefix[first], prefix[last - 1], start))
    return blocks


def _edges(n_rows: int) -> list[int]:
    """Return where blocks of rows begin and end; what is left over goes to the first one, the narrowest."""
    size = _ROWS_PER_BLOCK * -(-n_rows // (_ROWS_PER_BLOCK * _MAX_BLOCKS))
    edges = list(range(n_rows, 0, -size))
    if len(edges) > 1 and edges[-1] < size // 2:
        edges.pop()
    return [0, *reversed(edges)]


def staircase_product_reference(
    x: Tensor, packed: Tensor, bias: Tensor | None, blocks: list[Block]
) -> Tensor:
    """Return ``x W^T + bias`` (n, n_rows) for x (n, n_columns) and the packed blocks of W."""
    product = torch.cat([x[:, block.columns] @ block.of(packed).T for block in blocks], dim=1)
    return product if bias is None else product + bias


class StaircaseProduct(torch.autograd.Function):
    """`staircase_product_reference`, and gradients that stay within the stairs.

    `stairs` holds for each block which weights between its columns `full` and `width` there are.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, packed: Tensor, bias: Tensor | None, blocks: list[Block], stairs: list[Tensor]
    ) -> Tensor:
        """Return the product, (n, n_rows)."""
        product = x.new_empty(len(x), blocks[-1].last)
        for block in blocks:
            part, weight = x[:, block.columns], block.of(packed)
            if bias is None:
                torch.mm(part, weight.T, out=product[:, block.rows])
            else:
                torch.addmm(bias[block.rows], part, weight.T, out=product[:, block.rows])
        ctx.save_for_backward(x, packed)
        ctx.blocks, ctx.stairs = blocks, stairs
        return product

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, of the packed weights and of the bias."""
        x, packed = ctx.saved_tensors
        gradient = gradients[0]
        needs_x, needs_packed, needs_bias = ctx.needs_input_grad[:3]
        return (
            _gradient_of_x(gradient, packed, ctx.blocks, x.shape[1]) if needs_x else None,
            _gradient_of_weights(gradient, x, packed, ctx.blocks, ctx.stairs) if needs_packed else None,
            gradient.sum(0) if needs_bias else None,
            None,
            None,
        )


def _gradient_of_x(gradient: Tensor, packed: Tensor, blocks: list[Block], n_columns: int) -> Tensor:
    d_x = gradient.new_empty(len(gradient), n_columns)
    widest = blocks[-1]
    torch.mm(gradient[:, widest.rows], widest.of(packed), out=d_x[:, widest.columns])
    if widest.width < n_columns:
        d_x[:, widest.width :] = 0
    for block in blocks[:-1]:
        d_x[:, block.columns].addmm_(gradient[:, block.rows], block.of(packed))
    return d_x


def _gradient_of_weights(
    gradient: Tensor, x: Tensor, packed: Tensor, blocks: list[Block], stairs: list[Tensor]
) -> Tensor:
    d_packed = torch.empty_like(packed)
    for block, stair in zip(blocks, stairs, strict=True):
        d_block = block.of(d_packed)
        torch.mm(gradient[:, block.rows].T, x[:, block.columns], out=d_block)
        d_block[block.stairs].mul_(stair)
    return d_packed
