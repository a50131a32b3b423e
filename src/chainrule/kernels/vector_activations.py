"""The activations of hidden units, and of their derivatives, on vectors inside compiled code."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numba import njit

from chainrule.kernels.vectors import exp, load, maximum, minimum, splat, store, where_positive

__all__ = ["INLINE", "activate", "advance", "pass_through"]

INLINE: dict[str, Any] = {"nogil": True, "error_model": "numpy", "forceinline": True}
Array: TypeAlias = "np.ndarray[Any, Any]"


@njit(**INLINE)
def _single_precision_tanh(x: Any) -> Any:  # pragma: no cover
    """Return tanh(4 x), right to 1.3e-7: a Pade approximant, its angle doubled twice.

    Unlike a library's tanh it consists of vector instructions.
    """
    x = minimum(maximum(x, splat(-2.3, x)), splat(2.3, x))
    s = x * x
    p = x * (135135.0 + s * (17325.0 + s * (378.0 + s)))
    q = 135135.0 + s * (62370.0 + s * (3150.0 + s * 28.0))
    sine, cosine = 2.0 * p * q, q * q + p * p
    return 2.0 * sine * cosine / (cosine * cosine + sine * sine)


@njit(nogil=True, error_model="numpy")
def _sigmoid(z: Any) -> Any:  # pragma: no cover
    return 1.0 / (1.0 + exp(0.0 - z))


@njit(**INLINE)
def activate(z: Any, activation: int) -> Any:  # pragma: no cover
    """Return the activations of a vector. Codes from 3 on are the single-precision forms."""
    if activation == 0:
        return maximum(z, splat(0.0, z))
    if activation == 1:
        return _sigmoid(z)
    if activation == 2:
        return 2.0 * _sigmoid(2.0 * z) - 1.0
    if activation == 3:
        return 0.5 + 0.5 * _single_precision_tanh(0.125 * z)
    return _single_precision_tanh(0.25 * z)


@njit(**INLINE)
def pass_through(h: Any, upstream: Any, activation: int) -> Any:  # pragma: no cover
    """Return ``upstream * act'(z)``; act' is written in h = act(z)."""
    if activation == 0:
        return where_positive(h, upstream)
    if activation == 1 or activation == 3:
        return upstream * (h - h * h)
    return upstream * (1.0 - h * h)


@njit(**INLINE)
def advance(
    pre: Array, at: int, factor: Any, weight: Array, w: int, activation: int
) -> Any:  # pragma: no cover
    """Add ``factor * weight[w:]`` to the state at a flat position and return the new activations."""
    state = load(pre, at) + factor * load(weight, w)
    store(pre, at, state)
    return activate(state, activation)
