"""Dropout that draws from an explicit generator, so that global random state stays untouched."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["dropout"]


def dropout(h: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    """Return h with about `share` of its entries set to zero and the others scaled up to match.

    Sixteen random bits decide each entry, four entries to one draw of 64 bits; the scale belongs to the
    share after rounding to 1/65536.
    """
    threshold = round(share * 2**16)
    words = torch.empty((h.numel() + 3) // 4, dtype=torch.int64, device=h.device)
    words.random_(-(2**63), None, generator=generator)
    bits = words.view(torch.int16)[: h.numel()].view(h.shape)
    kept = bits >= threshold - 2**15
    return h * kept * (2**16 / (2**16 - threshold))
