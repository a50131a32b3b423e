"""Rows that are images: which variable is which pixel, and in which scans pixels come one after the other.

A row has its image line by line, from the top left pixel on, and of each pixel its channels:
variable ``(row * width + column) * channels + channel``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from numbers import Integral
from typing import Self

import torch
from torch import Tensor

from chainrule.errors import ParameterError

__all__ = ["ImageShape"]

# Sides of at least so many pixels are read by cells of so many.
_LONG, _CELL = 16, 2


@dataclass(frozen=True)
class ImageShape:
    """Height, width and channels of the image that a row is.

    Parameters
    ----------
    height, width : int
    channels : int, default=1
        Variables of a pixel, such as 3 of red, green and blue.

    Examples
    --------
    >>> ImageShape(2, 3).variable(1, 0), ImageShape(2, 3, 3).variable(1, 0, 2)
    (3, 11)
    """

    height: int
    width: int
    channels: int = 1

    @classmethod
    def of(cls, image_shape: Sequence[int] | None, n_variables: int) -> Self:
        """Return the shape of images of so many variables.

        Parameters
        ----------
        image_shape : sequence of int, or None
            (height, width) or (height, width, channels). None: a square of one channel if there is one of so
            many pixels, else one line.
        n_variables : int

        Raises
        ------
        ParameterError
            If it is no such shape, or images of it have another number of variables.

        Examples
        --------
        >>> ImageShape.of(None, 784), ImageShape.of(None, 6), ImageShape.of((2, 1, 3), 6)
        (ImageShape(height=28, width=28, channels=1),
         ImageShape(height=1, width=6, channels=1),
         ImageShape(height=2, width=1, channels=3))
        """
        if image_shape is None:
            side = isqrt(n_variables)
            return cls(side, side) if side * side == n_variables else cls(1, n_variables)
        sizes = list(image_shape)
        if len(sizes) not in (2, 3) or not all(isinstance(size, Integral) and size >= 1 for size in sizes):
            raise ParameterError(
                "image_shape must be (height, width) or (height, width, channels), whole numbers of at least "
                f"1, got {image_shape!r}"
            )
        shape = cls(*map(int, sizes))
        if shape.n_variables != n_variables:
            raise ParameterError(
                f"images of shape {tuple(sizes)} have {shape.n_variables} values, but the rows have "
                f"{n_variables} columns: give an image_shape of that product"
            )
        return shape

    @property
    def n_variables(self) -> int:
        """Number of variables, D."""
        return self.height * self.width * self.channels

    @property
    def n_pixels(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    @property
    def n_scans(self) -> int:
        """Number of scans that differ: 8 of a square, 4 of another rectangle, 2 of a line."""
        if self.height == self.width:
            return 8 if self.height > 1 else 1
        return 4 if min(self.height, self.width) > 1 else 2

    def variable(self, row: int, column: int, channel: int = 0) -> int:
        """Return the number of a variable."""
        return (row * self.width + column) * self.channels + channel

    def to_grid(self, features: Tensor) -> Tensor:
        """Return maps (n, channels * F, height, width) of the features (n, D * F) of variables.

        In memory, channels come last.
        """
        return features.reshape(len(features), self.height, self.width, -1).permute(0, 3, 1, 2)

    def from_grid(self, maps: Tensor) -> Tensor:
        """Return the features (n, D * F) of maps (n, channels * F, height, width)."""
        return maps.permute(0, 2, 3, 1).reshape(len(maps), -1)

    @property
    def cell_size(self) -> int:
        """Sides of the cells by which it is read: 2 of larger images whose sides are even, else 1."""
        sides = self.height, self.width
        return _CELL if min(sides) >= _LONG and not any(side % _CELL for side in sides) else 1

    def in_cells(self, size: int) -> tuple[Self, Tensor]:
        """Return the image of cells of `size` x `size` pixels, whose variables are a cell's channels.

        With it comes the number of each of its variables here, (D,).

        Raises
        ------
        ParameterError
            If cells would reach beyond the image.

        Examples
        --------
        >>> ImageShape(2, 4).in_cells(2)
        (ImageShape(height=1, width=2, channels=4), tensor([0, 1, 4, 5, 2, 3, 6, 7]))
        """
        if self.height % size or self.width % size:
            raise ParameterError(
                f"images of {self.height} x {self.width} pixels have no whole number of cells of {size} x "
                f"{size}: give a cell_size that divides both"
            )
        down, across = self.height // size, self.width // size
        image = torch.arange(self.n_variables).view(down, size, across, size, self.channels)
        cells = type(self)(down, across, size * size * self.channels)
        return cells, image.transpose(1, 2).flatten()

    def scans(self) -> Tensor:
        """Return the orders (n_scans, D) in which the image is read, from each corner along rows or columns.

        The first is the order of the variables: along rows from the top left. The channels of a pixel always
        come in their order. Images that are no squares are read along rows alone: along columns they would
        have another height and width.

        Examples
        --------
        >>> ImageShape(2, 2).scans()[:4]
        tensor([[0, 1, 2, 3],
                [3, 2, 1, 0],
                [0, 2, 1, 3],
                [3, 1, 2, 0]])
        """
        image = torch.arange(self.n_variables).view(self.height, self.width, self.channels)
        along = [image, image.transpose(0, 1)] if self.height == self.width else [image]
        ends: tuple[tuple[tuple[int, ...], ...], ...] = (((), (0, 1)), ((1,), (0,)))
        scans = [lines.flip(axes).flatten() for pair in ends for lines in along for axes in pair]
        return torch.stack(scans[: self.n_scans])
