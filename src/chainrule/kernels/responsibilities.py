"""The hot loop of mixtures of products: the E step, responsibilities and what they count, in one pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

__all__ = ["to_responsibilities"]

Array = np.ndarray[Any, Any]


def to_responsibilities(
    joint: Array, numbers: Array, of_numbers: Array, slots: Array, log_levels: Array
) -> tuple[float, Array, Array]:
    """Turn log p(component, part of a row) into p(component | row), in place.

    Single precision is served by compiled code, where there is Numba.

    Parameters
    ----------
    joint : ndarray (n, K)
        Log p of the component and of the variables that have neither numbers nor slots, in nats; the
        responsibilities afterwards.
    numbers : ndarray of float64 (n, F)
        Features that count by how large they are.
    of_numbers : ndarray of float64 (F, K)
        Nats that a feature of 1 adds in each component.
    slots : ndarray of int32 (n, C)
        Where the level of each variable that has slots stands in `log_levels`; n_slots where it is missing.
    log_levels : ndarray (n_slots, K)
        Log-probability of each level of these variables in each component, in nats.

    Returns
    -------
    total : float
        Log-likelihood of all rows, in nats.
    sums_of_numbers : ndarray (F, K)
        Sums of the features over the rows, each row counted by its responsibilities.
    sums_of_levels : ndarray (n_slots, K)
        How often each level occurs, counted likewise.
    """
    of_missing = np.zeros((1, joint.shape[1]), joint.dtype)
    table = np.concatenate([log_levels.astype(joint.dtype, copy=False), of_missing])
    e_step = _compiled_or_not() if joint.dtype == np.float32 else _by_formula
    total, sums_of_numbers, sums_of_levels = e_step(joint, numbers, of_numbers, slots, table)
    return total, sums_of_numbers, sums_of_levels[:-1]


def _compiled_or_not() -> Callable[..., tuple[float, Array, Array]]:
    # Neither PyTorch nor Numba is loaded where rows are few.
    from chainrule.kernels.backends import has_numba

    if not has_numba():
        return _by_formula
    from chainrule.kernels.responsibilities_cpu import compiled_responsibilities

    return compiled_responsibilities


def _by_formula(
    joint: Array, numbers: Array, of_numbers: Array, slots: Array, table: Array
) -> tuple[float, Array, Array]:
    bounds = np.arange(len(slots) + 1) * slots.shape[1]
    ones = np.ones(slots.size, joint.dtype)
    one_hot = sparse.csr_array((ones, slots.ravel(), bounds), shape=(len(slots), len(table)))
    joint += numbers @ of_numbers + one_hot @ table
    highest = joint.max(axis=1, keepdims=True)
    joint -= highest
    np.exp(joint, out=joint)
    norm = joint.sum(axis=1, keepdims=True)
    joint /= norm
    total = float((highest + np.log(norm)).sum(dtype=np.float64))
    return total, numbers.T @ joint, one_hot.T @ joint
