"""Which compilers there are; they are imported only where a kernel of theirs is called."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import torch

__all__ = ["has_numba", "is_recorded", "runs_compiled", "runs_triton"]

# Volta: the oldest generation of NVIDIA's that Triton compiles for.
_MIN_CAPABILITY = (7, 0)


def is_recorded() -> bool:
    """Return whether operations are recorded for an export: they must all be PyTorch's own then."""
    return torch.jit.is_tracing()  # type: ignore[attr-defined]


def has_numba() -> bool:
    """Return whether there is Numba, which compiles the kernels of the CPU, and they may be called."""
    return _is_numba_installed() and not is_recorded()


@cache
def _is_numba_installed() -> bool:
    return find_spec("numba") is not None


@cache
def runs_triton(device: torch.device) -> bool:
    """Return whether Triton kernels run on this device: a GPU, with Triton, which torch for CUDA brings."""
    if device.type != "cuda" or find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability(device) >= _MIN_CAPABILITY


def runs_compiled(device: torch.device) -> bool:
    """Return whether there are compiled kernels for this device."""
    return has_numba() if device.type == "cpu" else runs_triton(device)
