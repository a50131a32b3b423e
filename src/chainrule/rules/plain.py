"""What stands in for a model with next to nothing within limits: even between two, falling off from one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_MASS", "plain_cdf", "plain_draw", "plain_log_prob", "plain_mean"]

Floats = NDArray[np.float64]

LEAST_MASS = 1e-9
"""What rules leave of a conditional is not scaled up from less: differences of float64 tell no more."""


def plain_log_prob(codes: Floats, first: Floats, last: Floats, is_discrete: bool) -> Floats:
    """Return log p of codes between two limits, one of which may be infinite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if is_discrete:
            falling = -np.log(2.0) * (codes - first + 1)
            return np.where(np.isinf(last), falling, -np.log(last - first + 1))
        falling = -np.where(np.isinf(last), codes - first, last - codes)
        return np.where(np.isinf(last) | np.isinf(first), falling, -np.log(last - first))


def plain_cdf(codes: Floats, first: Floats, last: Floats, is_discrete: bool) -> Floats:
    """Return the distribution function of `plain_log_prob` at codes between the limits."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if is_discrete:
            passed = np.floor(codes) - first + 1
            return np.where(np.isinf(last), 1 - 0.5**passed, passed / (last - first + 1))
        falling = np.where(np.isinf(last), -np.expm1(first - codes), np.exp(codes - last))
        even = (codes - first) / (last - first)
        return np.where(np.isinf(last) | np.isinf(first), falling, even)


def plain_mean(first: Floats, last: Floats, is_discrete: bool) -> Floats:
    """Return the mean of `plain_log_prob`."""
    with np.errstate(invalid="ignore"):
        one_sided = np.where(np.isinf(last), first + 1, last - 1)
        is_open = np.isinf(last) | (np.isinf(first) & (not is_discrete))
        return np.where(is_open, one_sided, (first + last) / 2)


def plain_draw(first: Floats, last: Floats, uniforms: Floats, is_discrete: bool) -> Floats:
    """Return codes of the distribution of `plain_log_prob`."""
    with np.errstate(invalid="ignore", over="ignore"):
        if is_discrete:
            falling = first + np.floor(-np.log1p(-uniforms) / np.log(2.0))
            even = first + np.floor(uniforms * (last - first + 1))
            return np.where(np.isinf(last), falling, np.minimum(even, last))
        falling = np.where(np.isinf(last), first - np.log1p(-uniforms), last + np.log1p(-uniforms))
        even = first + uniforms * (last - first)
        return np.where(np.isinf(last) | np.isinf(first), falling, even)
