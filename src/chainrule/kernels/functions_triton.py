"""Elementwise functions that the GPU kernels share, in operations that every GPU and the interpreter know."""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["activated", "slope", "softplus"]


@triton.jit
def _sigmoid(z: tl.tensor) -> tl.tensor:
    return 1.0 / (1.0 + tl.exp(-z))


@triton.jit
def activated(z: tl.tensor, ACTIVATION: tl.constexpr) -> tl.tensor:
    """Return the activations of z; codes as in `sampling_cpu.SAMPLER_ACTIVATIONS`.

    Comparisons are written such that what is not a number stays so.
    """
    if ACTIVATION == 0:
        h = tl.where(z < 0, z * 0.0, z)
    elif ACTIVATION == 1:
        h = _sigmoid(z)
    elif ACTIVATION == 2:
        h = 2.0 * _sigmoid(2.0 * z) - 1.0
    elif ACTIVATION == 3:
        h = tl.where(z < 0, 0.01 * z, z)
    elif ACTIVATION == 4:
        h = tl.where(z < 0, tl.exp(z) - 1.0, z)
    elif ACTIVATION == 5:
        h = z * _sigmoid(z)
    else:
        h = 0.5 * z * (1.0 + tl.math.erf(z * 0.7071067811865476))
    return h


@triton.jit
def slope(h: tl.tensor, ACTIVATION: tl.constexpr) -> tl.tensor:
    """Return the derivative of relu, sigmoid or tanh, written in the activation h."""
    if ACTIVATION == 0:
        d = tl.where(h > 0, h * 0.0 + 1.0, h * 0.0)
    elif ACTIVATION == 1:
        d = h - h * h
    else:
        d = 1.0 - h * h
    return d


@triton.jit
def softplus(x: tl.tensor) -> tl.tensor:
    """Return log(1 + exp(x)); the quotient makes up for what 1 + e rounds off."""
    e = tl.exp(tl.minimum(x, 20.0))
    one_more = 1.0 + e
    rounded = one_more - 1.0
    log1p = tl.where(rounded == 0, e, tl.log(one_more) * (e / tl.where(rounded == 0, 1.0, rounded)))
    return tl.where(x > 20, x, log1p)
