"""Rows that are images as pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.report.style import Picture, pixel_picture

__all__ = ["image_grid", "single_images"]

_MAX_PIXELS = 200_000
_MAX_SIDE = 8


def image_grid(
    shades: np.ndarray,
    shape: tuple[int, ...],
    n_columns: int | None,
    alt: str,
    *,
    width: int = 340,
    **words: Any,
) -> Picture:
    """Return images in lines, with thin gaps between them.

    Parameters
    ----------
    shades : ndarray (n, D)
        From 0, black, to 1, white; a pixel that is NaN lets the page show through.
    shape : tuple of int
        Height and width of an image, and 3 of one in colour.
    n_columns : int or None
        Images in a line; None: the first images in a square, at most eight by eight.
    alt : str
    width : int
        Of the picture, in CSS pixels; default: 340.
    **words
        Further words of the `Picture`.
    """
    height, breadth = shape[:2]
    if n_columns is None:
        side = int(np.clip(math.sqrt(_MAX_PIXELS / (height * breadth)), 2, _MAX_SIDE))
        n_columns = min(side, max(1, math.ceil(math.sqrt(len(shades)))))
        shades = shades[: n_columns**2]
    gap = max(1, round(min(height, breadth) / 12))
    n_lines = math.ceil(len(shades) / n_columns)
    size = n_lines * (height + gap) + gap, n_columns * (breadth + gap) + gap
    grid = np.full((*size, *shape[2:]), 0.5)
    for place, image in enumerate(shades):
        top = gap + place // n_columns * (height + gap)
        left = gap + place % n_columns * (breadth + gap)
        grid[top : top + height, left : left + breadth] = np.reshape(image, shape)
    return pixel_picture(grid, alt, max(1, math.ceil(width / grid.shape[1])), width=width, **words)


def single_images(
    shades: np.ndarray, shape: tuple[int, ...], alts: Sequence[str], labels: Sequence[str]
) -> list[Picture]:
    """Return each row of `shades` (n, D) as a picture of its own, labelled by its title."""
    return [
        pixel_picture(row.reshape(shape), alt, max(1, 168 // max(shape[:2])), title=label, width=84)
        for row, alt, label in zip(shades, alts, labels, strict=True)
    ]
