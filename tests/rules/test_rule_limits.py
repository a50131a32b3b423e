"""Masses and draws of one column between limits, where a family reaches them and where it hardly does."""

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid

from chainrule.conditionals import make_family
from chainrule.rules.axes import Domain, LineAxis
from chainrule.schema.types.continuous import Continuous
from chainrule.schema.types.count import Count


def axis_and_params(kind, params):
    """The axis of a column whose family has one component, and its params."""
    column = {
        "real": Continuous("x", location=3.0, scale=2.0),
        "rounded": Continuous("x", dtype="int64", location=3.0, scale=2.0),
        "count": Count("x", dtype="int64"),
    }[kind]
    family = make_family(column.families(100)[0], column.support, 1)
    return LineAxis(column, family), params


@pytest.mark.parametrize("location", [-60.0, 0.0, 60.0])
@pytest.mark.parametrize(("low", "high"), [(-np.inf, 2.0), (-1.0, np.inf), (2.5, 4.0), (-np.inf, np.inf)])
def test_limits_that_a_family_hardly_reaches_leave_a_distribution(location, low, high):
    axis, params = axis_and_params("real", [location, 0.0])
    line = np.linspace(-90, 90, 36_001)
    density = within(axis, params, line, low, high)
    assert abs(trapezoid(density, line) - 1) < 0.01
    numbers = axis.variable.decode(line)
    assert (density[(numbers < low - 1e-3) | (numbers > high + 1e-3)] == 0).all()
    drawn = draws_within(axis, params, low, high, 20_000)
    numbers = axis.variable.decode(drawn)
    assert (numbers >= low).all() and (numbers <= high).all()
    reached = np.append(0.0, np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(line)))
    assert abs(np.sort(np.interp(drawn, line, reached)) - np.linspace(0, 1, len(drawn))).max() < 0.02


def test_numbers_that_are_rounded_to_whole_ones_have_all_that_is_rounded_into_the_limits():
    axis, params = axis_and_params("rounded", [0.3, 0.0])
    line = np.linspace(-4, 4, 20_001)
    density = within(axis, params, line, 2.0, 4.0)
    assert abs(trapezoid(density, line) - 1) < 0.01
    numbers, counts = np.unique(
        axis.variable.decode(draws_within(axis, params, 2.0, 4.0, 9000)), return_counts=True
    )
    assert numbers.tolist() == [2, 3, 4] and counts.min() > 2000


def test_draws_lie_between_limits_that_single_precision_hardly_tells_apart():
    axis, params = axis_and_params("real", [0.0, 0.0])
    for low in np.linspace(0.1, 0.9, 50):
        numbers = axis.variable.decode(draws_within(axis, params, low, low + 1e-6, 200))
        assert (numbers >= low).all() and (numbers <= low + 1e-6).all()


@pytest.mark.parametrize("low", [0.0, 3.0, 5000.0])
@pytest.mark.parametrize("width", [np.inf, 5.0])
def test_counts_from_a_limit_on_sum_to_one(low, width):
    axis, params = axis_and_params("count", [-3.0, 1.0, 1.0])
    counts = np.arange(low, low + 200)
    p = within(axis, params, counts, low, low + width)
    np.testing.assert_allclose(p.sum(), 1.0, atol=1e-5)
    assert (p[counts > low + width] == 0).all()
    drawn = draws_within(axis, params, low, low + width, 20_000)
    shares = np.bincount((drawn - low).astype(int), minlength=200) / len(drawn)
    assert abs(shares - p).max() < 0.02


def within(axis, params, codes, low, high):
    """The probabilities or densities of codes between limits."""
    params = torch.tensor([params]).expand(len(codes), -1)
    family, domain = axis._line.family, Domain(np.full(len(codes), low), np.full(len(codes), high))
    plain = family.log_prob(torch.from_numpy(codes)[:, None], params.double()[:, None])[:, 0].numpy()
    return np.exp(axis.log_prob(plain, codes, domain, params, np.full(len(codes), 1e-9)))


def draws_within(axis, params, low, high, n):
    """Codes between limits."""
    domain, uniforms = Domain(np.full(n, low), np.full(n, high)), np.random.default_rng(0).random(n)
    return axis.draw(domain, torch.tensor([params]).expand(n, -1), uniforms)
