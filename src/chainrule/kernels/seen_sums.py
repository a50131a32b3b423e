"""The hot loop of column networks: the first layer of D networks, each a sum over what it may see."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.kernels.backends import has_numba

__all__ = ["is_compiled", "seen_sums", "seen_sums_reference"]


def seen_sums_reference(
    row: Tensor, value: Tensor, flag: Tensor, n_seen: Tensor, weight: Tensor, start: Tensor
) -> Tensor:
    """Return the sums by gathering every weight, memory O(n T D H).

    Parameters
    ----------
    row, value : Tensor, (n, D)
        In each row's own order, the r-th variable adds ``value[:, r] * weight[t, row[:, r]]`` to target t ...
    flag : Tensor, int64 (n, D)
        ... and ``weight[t, flag[:, r]]``, but for a flag of -1, which adds nothing.
    n_seen : Tensor, int64 (n, T)
        How many variables of a row's order each target sees: the first ones.
    weight : Tensor, (T, F, H)
    start : Tensor, (T, 1 or n, H)
        The sums over nothing.

    Returns
    -------
    Tensor, (T, n, H)
    """
    position = torch.arange(row.shape[1], device=row.device)
    sees = (position < n_seen.T[:, :, None]).to(weight.dtype)
    numbers = torch.einsum("tnr,nr,tnrh->tnh", sees, value, weight[:, row])
    flags = (flag >= 0).to(weight.dtype)
    return start + numbers + torch.einsum("tnr,nr,tnrh->tnh", sees, flags, weight[:, flag.clamp(min=0)])


def is_compiled(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether a compiled kernel serves this device and precision."""
    return device.type == "cpu" and has_numba() and dtype in (torch.float32, torch.float64)


def seen_sums(
    row: Tensor, value: Tensor, flag: Tensor, n_seen: Tensor, weight: Tensor, start: Tensor
) -> Tensor:
    """Return the sums by the fastest way there is; see `seen_sums_reference`.

    Gradients flow to `weight` and `start`; the compiled kernel is for values that need none.
    """
    arguments = (row, value, flag, n_seen, weight, start)
    if value.requires_grad or not is_compiled(weight.device, weight.dtype):
        return seen_sums_reference(*arguments)
    from chainrule.kernels.seen_sums_cpu import CompiledSeenSums

    sums: Tensor = CompiledSeenSums.apply(*arguments)
    return sums
