"""Convolutions of maps whose channels come last, so that a layer for each pixel is a matrix product."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["convolved", "undrawn_convolution"]


def undrawn_convolution(
    n_in: int, n_out: int, size: tuple[int, int], place: torch.device, *, bias: bool = True
) -> nn.Conv2d:
    """Return a convolution of kernels (height, width), without padding, its weights still to be drawn."""
    layer: nn.Conv2d = nn.utils.skip_init(nn.Conv2d, n_in, n_out, size, bias=bias, device=place)
    return layer


def convolved(layer: nn.Conv2d, maps: Tensor) -> Tensor:
    """Return the convolution of maps (n, height, width, channels), which come padded."""
    convolution: Tensor = layer(maps.permute(0, 3, 1, 2))
    return convolution.permute(0, 2, 3, 1)
