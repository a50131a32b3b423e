"""A saved model from a stranger is refused in one line, or gives numbers; `benchmarks.mutations` has more."""

from __future__ import annotations

import resource

import pytest
from benchmarks.mutations import MAX_MEGABYTES, case, models, outcome_of

N_CASES, N_PARTS = 300, 6


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """Return small models of every class, after each has been loaded once."""
    folder = tmp_path_factory.mktemp("models")
    found = models(folder)
    for name, files in found.items():
        assert outcome_of(files, folder / "case")[0] == "scores", name
    return found


@pytest.mark.parametrize("part", range(N_PARTS))
def test_mutated_models_are_refused_in_one_line_or_give_finite_numbers(part, known, tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = set()
    for number in range(part, N_CASES, N_PARTS):
        name, done, files = case(known, 0, number)
        outcome, message = outcome_of(files, tmp_path / "case")
        assert outcome in ("refused", "scores"), (number, name, done, outcome, message)
        found.add(outcome)
    assert found == {"refused", "scores"}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1024 * MAX_MEGABYTES


def test_a_case_is_always_the_same(known):
    assert case(known, 3, 5) == case(known, 3, 5)
    assert case(known, 3, 5) != case(known, 3, 6)
