"""Damaged input of every reader: rows, or one line; `python -m benchmarks.fuzz` has a longer campaign."""

from __future__ import annotations

import pytest
from benchmarks.fuzz.mutations import cases
from benchmarks.fuzz.readers import TARGETS, check

CASES = 10_000 // len(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_a_damaged_input_is_read_or_refused_in_a_line(name):
    target = TARGETS[name]
    assert all(check(target, seed) for seed in target.seeds)
    taken = sum(check(target, case) for case in cases(target, CASES, seed=0))
    assert taken >= len(target.seeds)  # and some of the damaged ones are taken, too
