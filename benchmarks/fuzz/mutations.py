"""Seeded mutations of valid inputs, where no coverage leads."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.fuzz.readers import Target

__all__ = ["cases"]

_MOST_CHANGES = 6
_LONGEST = 2**16


def cases(target: Target, n: int, seed: int) -> Iterator[bytes]:
    """Yield a target's seeds, and mutations of them, n in all: the same for the same seed."""
    rng = np.random.default_rng(seed)
    yield from target.seeds[:n]
    for _ in range(n - len(target.seeds)):
        case = bytearray(target.seeds[rng.integers(len(target.seeds))])
        for _ in range(rng.integers(1, _MOST_CHANGES)):
            case = _changed(case, target, rng)
        yield bytes(case[:_LONGEST])


def _changed(case: bytearray, target: Target, rng: np.random.Generator) -> bytearray:
    """Return a case with one change: of a bit, a byte, a run, a token, or its end."""
    if not case:
        return bytearray(rng.bytes(8))
    at = int(rng.integers(len(case)))
    to = min(len(case), at + int(rng.integers(1, 17)))
    way = rng.integers(8)
    if way == 0:
        case[at] ^= 1 << int(rng.integers(8))
    elif way == 1:
        case[at] = int(rng.integers(256))
    elif way == 2:
        del case[at:to]
    elif way == 3:
        case[at:at] = case[at:to] * int(rng.integers(1, 40))
    elif way == 4:
        del case[at:]
    elif way == 5 and target.tokens:
        case[at:at] = target.tokens[rng.integers(len(target.tokens))]
    elif way == 6 and target.tokens:
        token = target.tokens[rng.integers(len(target.tokens))]
        case[at : at + len(token)] = token
    else:
        other = target.seeds[rng.integers(len(target.seeds))]
        start = int(rng.integers(len(other)))
        case[at:to] = other[start : start + int(rng.integers(1, 65))]
    return case
