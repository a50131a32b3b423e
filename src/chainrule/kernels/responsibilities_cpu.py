"""The E step of mixtures of products on the CPU, in single precision.

The lanes of a vector are components. A row's numbers stay in a cache next to the processor from the first sum
to the last::

    joint                    (n, K)            row 0: its K components | row 1: ..
    row                      (W,)              those of one row, and W - K that are nowhere
    table, level_sums        (n_slots + 1, W)  slot 0: its components, padded likewise | slot 1: ..
    of_numbers, number_sums  (F, K)            feature 0: its components, double precision | feature 1: ..

W is a multiple of the lanes. Squares and what they take back are added in double precision before the rest.

Each part of the rows has sums of its own, which are added in their order: the result does not depend on the
number of threads.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numba import njit

from chainrule.kernels.compiling import COMPILE
from chainrule.kernels.plans import LANES
from chainrule.kernels.threads import run_ranges
from chainrule.kernels.vector_activations import INLINE
from chainrule.kernels.vectors import exp, load, maximum, splat, store

__all__ = ["compiled_responsibilities"]

Array: TypeAlias = "np.ndarray[Any, Any]"

_PARTS = 4
# Far below any log p, and nothing beside it when it is added to others.
_NOWHERE = -1e30


@njit(**INLINE)
def _all_lanes(vector: Any, lanes: Array) -> tuple[float, float]:  # pragma: no cover
    """Return the largest of the lanes and their sum; `lanes` (LANES,) is overwritten."""
    store(lanes, 0, vector)
    highest, total = lanes[0], 0.0
    for lane in lanes:
        highest = max(highest, lane)
        total += lane
    return highest, total


@njit(**COMPILE)
def _e_step(
    joint: Array,
    numbers: Array,
    of_numbers: Array,
    slots: Array,
    table: Array,
    number_sums: Array,
    level_sums: Array,
    start: int,
    stop: int,
) -> float:  # pragma: no cover
    """Take rows from `start` to `stop`; return their log-likelihood. Their features are added to the sums."""
    n_components, width, n_numbers = joint.shape[1], table.shape[1], numbers.shape[1]
    row, lanes = np.full(width, _NOWHERE, joint.dtype), np.empty(LANES, joint.dtype)
    precise = np.empty(n_components)
    total = 0.0
    for i in range(start, stop):
        precise[:] = joint[i]
        for f in range(n_numbers):
            for k in range(n_components):
                precise[k] += numbers[i, f] * of_numbers[f, k]
        row[:n_components] = precise
        most = splat(_NOWHERE, load(row, 0))
        for k in range(0, width, LANES):
            state = load(row, k)
            for slot in slots[i]:
                state = state + load(table, slot * width + k)
            store(row, k, state)
            most = maximum(most, state)
        highest = _all_lanes(most, lanes)[0]
        shares = splat(0.0, most)
        for k in range(0, width, LANES):
            share = exp(load(row, k) - highest)
            store(row, k, share)
            shares = shares + share
        norm = _all_lanes(shares, lanes)[1]
        for k in range(0, width, LANES):
            share = load(row, k) / norm
            store(row, k, share)
            for slot in slots[i]:
                store(level_sums, slot * width + k, load(level_sums, slot * width + k) + share)
        for f in range(n_numbers):
            for k in range(n_components):
                number_sums[f, k] += numbers[i, f] * row[k]
        joint[i] = row[:n_components]
        row[n_components:] = _NOWHERE
        total += highest + np.log(norm)
    return total


def compiled_responsibilities(
    joint: Array, numbers: Array, of_numbers: Array, slots: Array, table: Array
) -> tuple[float, Array, Array]:
    """Return what `to_responsibilities` returns, with the row of what is missing."""
    n, n_components = joint.shape
    width = -(-n_components // LANES) * LANES
    padded = np.zeros((len(table), width), joint.dtype)
    padded[:, :n_components] = table
    bounds = np.linspace(0, n, _PARTS + 1).astype(int)
    number_sums = np.zeros((_PARTS, *of_numbers.shape))
    level_sums = np.zeros((_PARTS, *padded.shape), joint.dtype)
    totals = np.zeros(_PARTS)

    def work(first: int, last: int) -> None:
        for part in range(first, last):
            totals[part] = _e_step(
                joint,
                numbers,
                of_numbers,
                slots,
                padded,
                number_sums[part],
                level_sums[part],
                bounds[part],
                bounds[part + 1],
            )

    run_ranges(work, _PARTS, 1)
    of_levels = level_sums.sum(axis=0, dtype=np.float64)[:, :n_components]
    return float(totals.sum()), number_sums.sum(axis=0), of_levels
