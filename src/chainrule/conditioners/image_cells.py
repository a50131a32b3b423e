"""Where in maps of an image the numbers of variables stand."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from chainrule.image_shape import ImageShape

__all__ = ["ImageCells"]

# Sides of at least so many pixels have two in a cell.
_LONG = 16


class ImageCells(nn.Module):
    """The maps of an image that hold a few numbers of each variable.

    A place of a map is a cell of the image: a pixel, or 2 x 2 of them where sides are long. Channels of the
    maps are the variables of a cell, each with as many numbers as the widest variable has; of a narrower one
    and beyond the image's edge they are zeros.

    Parameters
    ----------
    shape : ImageShape
    widths : sequence of int, length D
        Numbers of each variable.
    """

    rows: list[int]
    columns: list[int]

    slots: Tensor

    def __init__(self, shape: ImageShape, widths: Sequence[int]) -> None:
        super().__init__()
        self.shape = shape
        down, across = (2 if side >= _LONG else 1 for side in (shape.height, shape.width))
        self.size: tuple[int, int] = -(-shape.height // down), -(-shape.width // across)
        self.n_channels: int = down * across * shape.channels * max(widths)
        variables = torch.arange(shape.n_variables)
        pixel, channel = variables // shape.channels, variables % shape.channels
        row, column = pixel // shape.width, pixel % shape.width
        self.rows, self.columns = (row // down).tolist(), (column // across).tolist()
        within = (row % down * across + column % across) * shape.channels + channel
        self.first_channels: list[int] = (within * max(widths)).tolist()
        first = (row // down * self.size[1] + column // across) * self.n_channels + within * max(widths)
        slots = [first[d] + torch.arange(width) for d, width in enumerate(widths)]
        self.register_buffer("slots", torch.cat(slots), persistent=False)
        self.starts: list[int] = [0, *torch.tensor(widths).cumsum(0).tolist()]

    def spread(self, numbers: Tensor) -> Tensor:
        """Return the numbers of all cells (n, K) from those of the variables, one after the other."""
        cells = numbers.new_zeros(len(numbers), self.size[0] * self.size[1] * self.n_channels)
        return cells.index_copy(1, self.slots, numbers)

    def replaced(self, cells: Tensor, d: int, numbers: Tensor, rows: Tensor | None) -> Tensor:
        """Return the numbers of all cells, with others of variable d in all rows or those of a mask."""
        slots = self.slots[self.starts[d] : self.starts[d + 1]]
        if rows is not None:
            numbers = torch.where(rows[:, None], numbers, cells[:, slots])
        return cells.index_copy(1, slots, numbers)

    def to_maps(self, cells: Tensor) -> Tensor:
        """Return the numbers of all cells (n, K) as maps (n, channels, height, width), channels last."""
        return cells.view(len(cells), *self.size, self.n_channels).permute(0, 3, 1, 2)

    def from_maps(self, maps: Tensor) -> Tensor:
        """Return the numbers of the variables, one after the other, from maps."""
        return maps.permute(0, 2, 3, 1).reshape(len(maps), -1).index_select(1, self.slots)
