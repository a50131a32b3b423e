"""Whether the GPU kernels can run; Triton itself is imported only where a tensor on a GPU comes in."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import torch

__all__ = ["runs_triton"]

# Volta: the oldest generation of NVIDIA's that Triton compiles for.
_LEAST_CAPABILITY = (7, 0)


@cache
def runs_triton(device: torch.device) -> bool:
    """Return whether Triton kernels run on this device: a GPU, with Triton, which torch for CUDA brings."""
    if device.type != "cuda" or find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability(device) >= _LEAST_CAPABILITY
