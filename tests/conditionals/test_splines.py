"""Rational-quadratic splines: what holds of them beside what holds of every family."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import MADE, OrderlessNADE, load
from chainrule.conditionals import RationalQuadraticSpline
from chainrule.conditionals.splines import BOUND

SEEDS = st.integers(0, 10**6)
each_size = pytest.mark.parametrize("n_components", [1, 2, 9])


def spline(n_components, n=1, seed=0, spread=2.0):
    """Return a spline and random params (n, 1, P), some of them far from the start of a fit."""
    family = RationalQuadraticSpline(n_components)
    generator = torch.Generator().manual_seed(seed)
    return family, spread * torch.randn(n, 1, family.n_parameters, generator=generator, dtype=torch.float64)


@given(SEEDS, st.integers(1, 12))
@settings(max_examples=25)
def test_it_integrates_to_one(seed, n_components):
    """Between knots and quantiles, however narrow a spike is: nodes of Gauss and Legendre in each part."""
    family, params = spline(n_components, seed=seed)
    u = torch.linspace(1e-4, 1 - 1e-4, 1001, dtype=torch.float64)[:, None]
    location, scale, knots = family.split(params)
    places = (location[..., None] + scale[..., None] * knots.left).reshape(-1, 1)
    edges = torch.cat([family.quantile(u, params.expand(len(u), -1, -1)), places]).sort(dim=0).values
    nodes, weights = (torch.from_numpy(each) for each in np.polynomial.legendre.leggauss(16))
    width = edges.diff(dim=0)
    x = edges[:-1] + width * (nodes + 1) / 2
    density = family.log_prob(x, params.expand(*x.shape, -1)).exp()
    total = (density @ (weights / 2) * width[:, 0]).sum()
    assert float(total) == pytest.approx(1, abs=1.5e-3)


@given(SEEDS, st.integers(1, 12))
@settings(max_examples=25)
def test_quantiles_are_the_inverse_of_the_distribution_function(seed, n_components):
    family, params = spline(n_components, seed=seed)
    u = torch.linspace(1e-4, 1 - 1e-4, 501, dtype=torch.float64)[:, None]
    many = params.expand(len(u), -1, -1)
    x = family.quantile(u, many)
    assert (x.diff(dim=0) > 0).all()
    torch.testing.assert_close(family.cdf(x, many), u, rtol=0, atol=1e-9)


@each_size
def test_the_density_is_the_slope_of_the_distribution_function(n_components):
    family, params = spline(n_components, n=400, seed=3)
    x = torch.randn(400, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 4
    x.requires_grad_()
    (slope,) = torch.autograd.grad(family.cdf(x, params).sum(), x)
    torch.testing.assert_close(slope, family.log_prob(x, params).exp().detach(), rtol=1e-7, atol=1e-12)


def test_it_starts_as_a_logistic_density_and_ends_as_one():
    family = RationalQuadraticSpline(5)
    params = torch.zeros(1, 1, family.n_parameters, dtype=torch.float64)
    scale = math.log(2) + family.min_scale
    x = torch.linspace(-9, 9, 181, dtype=torch.float64)[:, None]
    expected = torch.sigmoid(x / scale)
    torch.testing.assert_close(family.cdf(x, params.expand(181, -1, -1)), expected, rtol=0, atol=1e-12)
    bent = spline(5, seed=1)[1]
    location, scale, _ = (
        each.reshape(-1)[0] if torch.is_tensor(each) else each for each in family.split(bent)
    )
    for z in (-3 * BOUND, -BOUND, BOUND, 2 * BOUND):
        at = (location + scale * z).reshape(1, 1)
        assert float(family.cdf(at, bent)) == pytest.approx(
            float(torch.tensor(z).double().sigmoid()), rel=1e-9
        )


@each_size
def test_values_and_gradients_stay_finite_far_away_and_when_narrow(n_components):
    family = RationalQuadraticSpline(n_components)
    for size in (0.0, 30.0, -30.0, 1e3):
        params = torch.full((1, 1, family.n_parameters), size)
        params[..., ::2] = -size
        params.requires_grad_()
        for value in (-1e4, -6.0, 0.0, 6.0, 1e4):
            log_prob = family.log_prob(torch.full((1, 1), value), params)
            (gradient,) = torch.autograd.grad(log_prob.sum(), params)
            assert log_prob.isfinite().all() and gradient.isfinite().all(), (size, value)
        for u in (0.0, 0.5, 1 - 2**-24):
            assert family.sample(params, torch.full((1, 1, 1), u)).isfinite().all()


@each_size
@pytest.mark.parametrize("draw", ["normal", "exponential", "rounded", "student"])
def test_it_starts_close_to_the_marginal(n_components, draw):
    generator = np.random.default_rng(0)
    columns = {
        "normal": generator.normal(3, 0.2, 4000),
        "exponential": generator.exponential(size=4000),
        "rounded": generator.normal(size=4000).round(1),
        "student": generator.standard_t(2, 4000),
    }
    x = torch.from_numpy(columns[draw])[:, None]
    family = RationalQuadraticSpline(n_components)
    params = family.marginal_params(x)
    assert params.shape == (1, family.n_parameters) and params.isfinite().all()
    cdf = family.cdf(x.sort(dim=0).values, params.expand(4000, -1, -1)).flatten().numpy()
    distance = np.abs(cdf - (np.arange(4000) + 0.5) / 4000).max()
    assert distance < {1: 0.5, 2: 0.5, 9: 0.12}[n_components]


def test_a_network_learns_two_humps_that_depend_on_what_comes_before(tmp_path):
    generator = np.random.default_rng(0)
    x = generator.normal(size=3000)
    y = np.where(generator.random(3000) < 0.5, x, -x) * 2 + 0.3 * generator.normal(size=3000)
    rows = np.stack([x, y], axis=1)
    common = {"kinds": "continuous", "max_epochs": 40, "random_state": 0}
    model = MADE((32, 32), mixture="spline", n_components=12, **common).fit(
        rows[:2000], X_val=rows[2000:2500]
    )
    truth = -0.5 * (x**2 + np.log(2 * np.pi)) + np.logaddexp(
        -0.5 * ((y - 2 * x) / 0.3) ** 2, -0.5 * ((y + 2 * x) / 0.3) ** 2
    )
    truth -= np.log(2 * 0.3) + 0.5 * np.log(2 * np.pi)
    assert model.score(rows[2500:]) > truth[2500:].mean() - 0.3
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(
        load(tmp_path / "model").score_samples(rows[:9]), model.score_samples(rows[:9])
    )
    drawn = model.sample(4000, random_state=0)
    assert np.abs(np.corrcoef(drawn[:, 0] ** 2, drawn[:, 1] ** 2)[0, 1]) > 0.6
    assert model.families_ == ("spline", "spline")


def test_events_holes_and_point_masses_are_answered():
    generator = np.random.default_rng(1)
    x = np.where(generator.random(1500) < 0.3, 0.0, generator.exponential(size=1500))
    rows = pl.DataFrame({"a": x, "b": x + generator.normal(size=1500)})
    model = OrderlessNADE((16,), mixture="spline", n_components=6, max_epochs=20, random_state=0).fit(rows)
    assert model.schema_.variables[0].point_masses == (0.0,)
    assert model.families_ == ("spline", "spline")
    filled = model.impute(pl.DataFrame({"a": [None, 0.0], "b": [1.0, None]}, strict=False))
    assert filled.null_count().row(0) == (0, 0)
    answer = model.probability("a = 0 or a > 1")
    real = ((x == 0) | (x > 1)).mean()
    assert answer.value == pytest.approx(real, abs=0.08)
    both = model.probability("a <= 1 and b > 0").value + model.probability("a > 1 and b > 0").value
    assert both == pytest.approx(model.probability("b > 0").value, abs=0.02)
