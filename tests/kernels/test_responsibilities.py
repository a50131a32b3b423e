"""The compiled E step equals its formula in double precision, for any shapes and number of threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.kernels.responsibilities import to_responsibilities
from chainrule.kernels.threads import at_most_threads


def random_step(n, n_components, n_levels, n_numbers, seed):
    """Return the arguments of a step: some levels are missing, and some numbers far from zero."""
    rng = np.random.default_rng(seed)
    n_slots = sum(n_levels)
    starts = np.cumsum([0, *n_levels])[:-1]
    slots = np.array([[rng.integers(n) for n in n_levels] for _ in range(n)]).reshape(n, -1) + starts
    slots[rng.random(slots.shape) < 0.2] = n_slots
    joint = rng.normal(-5, 3, (n, n_components))
    numbers = rng.normal(0, 30, (n, n_numbers))
    log_levels = np.log(rng.dirichlet(np.ones(max(n_components, 2)), n_slots)[:, :n_components])
    return joint, numbers, rng.normal(0, 1, (n_numbers, n_components)), slots.astype(np.int32), log_levels


STEPS = given(
    n=st.integers(1, 70),
    n_components=st.sampled_from([1, 2, 31, 32, 33, 100]),
    n_levels=st.lists(st.integers(1, 7), max_size=4),
    n_numbers=st.integers(0, 4),
    seed=st.integers(0, 2**16),
)


@settings(max_examples=60, deadline=None)
@STEPS
def test_compiled_step_equals_the_formula(n, n_components, n_levels, n_numbers, seed):
    joint, *others = random_step(n, n_components, n_levels, n_numbers, seed)
    single = joint.astype(np.float32)
    expected = to_responsibilities(joint, *others)
    found = to_responsibilities(single, *others)
    np.testing.assert_allclose(joint.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(single.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(single, joint, rtol=2e-4, atol=1e-6)
    assert found[0] == pytest.approx(expected[0], rel=1e-5, abs=1e-4 * n)
    for mine, its in zip(found[1:], expected[1:], strict=True):
        assert mine.shape == its.shape
        np.testing.assert_allclose(mine, its, rtol=5e-4, atol=1e-4 * max(1, np.abs(others[0]).sum()))


def test_formula_is_bayes_rule():
    joint = np.log(np.array([[0.3, 0.7]]))
    levels = np.log(np.array([[0.9, 0.2], [0.1, 0.8]]))
    numbers, of_numbers = np.array([[2.0]]), np.array([[0.0, 1.0]])
    total, number_sums, level_sums = to_responsibilities(
        joint, numbers, of_numbers, np.array([[1]], np.int32), levels
    )
    both = np.array([0.3 * 0.1, 0.7 * 0.8 * np.exp(2.0)])
    assert total == pytest.approx(np.log(both.sum()))
    np.testing.assert_allclose(joint[0], both / both.sum())
    np.testing.assert_allclose(number_sums[0], 2 * joint[0])
    np.testing.assert_allclose(level_sums, [[0, 0], joint[0]])


def test_the_result_does_not_depend_on_the_number_of_threads():
    joint, *others = random_step(5000, 40, [3, 9], 3, seed=0)
    results = []
    for n_threads in (1, 2):
        single = joint.astype(np.float32)
        with at_most_threads(n_threads):
            results.append((single, *to_responsibilities(single, *others)))
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


def test_small_sums_survive_beside_large_ones():
    """Constants of narrow Gaussians far from zero cancel against their squares only in double precision."""
    mean, variance = np.array([300.0, 301.0]), np.array([1e-2, 1e-2])
    x = np.array([[300.02], [300.9]])
    numbers = np.hstack([np.ones_like(x), x, x**2])
    of_numbers = np.stack([-0.5 * mean**2 / variance, mean / variance, -0.5 / variance])
    shares = np.zeros((2, 2), np.float32)
    to_responsibilities(shares, numbers, of_numbers, np.zeros((2, 0), np.int32), np.zeros((0, 2)))
    exact = torch.softmax(torch.tensor(-0.5 * (x - mean) ** 2 / variance), dim=1).numpy()
    np.testing.assert_allclose(shares, exact, atol=1e-4)
