"""Convolutions of maps whose channels come last, so that a layer for each pixel is a matrix product."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["convolved", "has_bfloat16", "trained_in_bfloat16", "undrawn_convolution"]

# Steps of smaller networks gain nothing by bfloat16.
_MANY_ACTIVATIONS = 2000


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


def has_bfloat16(device: torch.device) -> bool:
    """Return whether products of bfloat16 numbers are quick there: instructions or tensor cores for them."""
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def trained_in_bfloat16(x: Tensor, n_activations: int) -> torch.autocast:
    """Return the context of a training step on codes x: in bfloat16 where the processor does so faster.

    Parameters
    ----------
    x : Tensor (n, D)
    n_activations : int
        Of one layer, for one row.
    """
    is_faster = n_activations >= _MANY_ACTIVATIONS and x.dtype == torch.float32 and has_bfloat16(x.device)
    return torch.autocast(x.device.type, torch.bfloat16, enabled=is_faster)
