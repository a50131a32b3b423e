"""Every family of the table keeps its promises, whatever it is: what a new one must pass."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import numpy as np
import pytest
import torch
from scipy import stats

from chainrule import conditionals
from chainrule.conditionals import (
    FAMILIES,
    Conditional,
    Conditionals,
    InflatedLevels,
    InputFeatures,
    NormalScores,
    PointMasses,
    Tempered,
    families_of,
    make_family,
)
from chainrule.conditioners import InputEncoding, MADEConditioner
from chainrule.masks import even_degrees
from chainrule.model import AutoregressiveModel
from chainrule.samplers import sequential
from chainrule.supports import Binary, Counts, Grid, Levels, Reals

WRAPPERS = {InflatedLevels, NormalScores, PointMasses, Tempered}  # families around others
KNOTS = (-3.0, -1.0, -0.5, 0.0, 0.125, 2.0, 4.0)
SUPPORTS = [
    Binary(), Levels(1), Levels(4), Grid(1), Grid(5), Grid(7, (0, 4)), Counts(),
    Reals(), Reals((0.25, -1.0)), Reals((), KNOTS), Reals((0.25, -1.0), KNOTS),
]  # fmt: skip
CASES = [(name, support) for support in SUPPORTS for name in families_of(support)]
each_case = pytest.mark.parametrize(("name", "support"), CASES, ids=lambda each: str(each))
# Levels are summed one by one.
UNBOUNDED = [(name, support) for name, support in CASES if isinstance(support, Reals | Counts)]
each_unbounded_case = pytest.mark.parametrize(("name", "support"), UNBOUNDED, ids=lambda each: str(each))
N = 3000


def case(name, support, n=1, seed=0):
    """Return a family, random params (n, 1, P) and uniforms (N, 1, U)."""
    family = make_family(name, support, 2)
    generator = torch.Generator().manual_seed(seed)
    params = torch.randn(n, 1, family.n_parameters, generator=generator, dtype=torch.float64)
    return family, params, torch.rand(N, 1, family.n_uniforms, generator=generator, dtype=torch.float64)


def draws(family, params, uniforms):
    return family.sample(params.expand(len(uniforms), -1, -1), uniforms)


def test_every_family_can_model_something_and_bears_its_name():
    assert {name for name, _ in CASES} == set(FAMILIES)
    for name, family in FAMILIES.items():
        assert family.name == name
        assert family.supports


def test_every_family_of_the_library_is_in_the_table():
    for module in pkgutil.iter_modules(conditionals.__path__, "chainrule.conditionals."):
        held = vars(importlib.import_module(module.name)).values()
        own = [each for each in held if getattr(each, "__module__", "") == module.name]
        families = [each for each in own if isinstance(each, type) and issubclass(each, Conditional)]
        concrete = {each for each in families if not inspect.isabstract(each)} - WRAPPERS
        assert concrete <= set(FAMILIES.values()), f"{module.name}: not in FAMILIES"


@each_case
def test_draws_are_codes_of_the_support(name, support):
    family, params, uniforms = case(name, support)
    drawn = draws(family, params, uniforms)
    assert drawn.shape == (N, 1)
    assert drawn.dtype == params.dtype
    if support.is_discrete:
        assert torch.equal(drawn, drawn.round())
        assert (drawn >= 0).all()
        assert (drawn < getattr(support, "n_codes", np.inf)).all()
    assert family.log_prob(drawn, params.expand(N, -1, -1)).isfinite().all()


@each_case
def test_draws_follow_the_distribution_function(name, support):
    """P(X < x) + v P(X = x) of draws, v uniform, is uniform, with point masses and on a grid, too."""
    family, params, uniforms = case(name, support, seed=1)
    drawn, many = draws(family, params, uniforms), params.expand(N, -1, -1)
    at = family.cdf(drawn, many)
    below = family.cdf(drawn - 1e-9, many)
    mix = torch.rand(at.shape, generator=torch.Generator().manual_seed(2), dtype=at.dtype)
    assert stats.kstest((below + mix * (at - below)).flatten(), "uniform").pvalue > 1e-4


@each_case
def test_probabilities_are_the_steps_and_the_slope_of_the_distribution_function(name, support):
    family, params, uniforms = case(name, support, seed=3)
    x = draws(family, params, uniforms)[:50]
    many = params.expand(len(x), -1, -1)
    step = 1e-5
    rise = family.cdf(x + step, many) - family.cdf(x - step, many)
    probability = family.log_prob(x, many).exp()
    masses = torch.tensor(getattr(support, "point_masses", ()), dtype=x.dtype)
    in_density = ~(x[..., None] == masses).any(-1) & (not support.is_discrete)
    expected = torch.where(in_density, rise / (2 * step), rise)
    torch.testing.assert_close(probability, expected, rtol=1e-4, atol=1e-4)


@each_case
def test_mean_and_mode(name, support):
    family, params, uniforms = case(name, support, seed=4)
    drawn, many = draws(family, params, uniforms), params.expand(N, -1, -1)
    error = max(float(drawn.std()) / N**0.5, 1e-9)
    assert float(drawn.mean()) == pytest.approx(float(family.mean(params)), abs=6 * error)
    mode = family.mode(params)
    assert family.log_prob(mode, params).isfinite().all()
    if support.is_discrete:
        assert (family.log_prob(mode, params) >= family.log_prob(drawn, many).max() - 1e-9).all()


@each_unbounded_case
def test_parts_of_the_mean_are_sums_over_the_distribution_function(name, support):
    family, params, uniforms = case(name, support, seed=5)
    x = draws(family, params, uniforms)[:20]
    grid = torch.linspace(-40.0005, 59.9995, 100_001, dtype=torch.float64)[:, None]
    rise = family.cdf(grid, params.expand(len(grid), -1, -1)).diff(dim=0)
    sums = torch.cat([torch.zeros(1, 1), ((grid[1:] + grid[:-1]) / 2 * rise).cumsum(0)])
    at = torch.searchsorted(grid[:, 0].contiguous(), x[:, 0])
    many = params.expand(len(x), -1, -1)
    torch.testing.assert_close(family.partial_mean(grid[at], many), sums[at], rtol=0, atol=5e-4)
    torch.testing.assert_close(Conditional.partial_mean(family, grid[at], many), sums[at], rtol=0, atol=0.02)
    everything = family.partial_mean(torch.full((1, 1), 1e4, dtype=torch.float64), params)
    torch.testing.assert_close(everything, family.mean(params), rtol=0, atol=1e-6)
    heights = family.log_prob(family.peaks(params).movedim(-1, 0), params)
    assert (
        isinstance(family, PointMasses) or heights.max() >= family.log_prob(family.mode(params), params).max()
    )


@each_case
def test_training_starts_from_the_marginals(name, support):
    """Rows are more probable under params that fit them than under random ones, constant columns included."""
    family, params, uniforms = case(name, support, seed=5)
    x = draws(family, params, uniforms)
    fitted = family.marginal_params(x)
    assert fitted.shape == (1, family.n_parameters)
    other = case(name, support, seed=6)[1]
    at_start = family.log_prob(x, fitted.expand(N, -1, -1)).mean()
    assert at_start >= family.log_prob(x, other.expand(N, -1, -1)).mean() - 1e-9
    assert family.marginal_params(torch.ones(9, 1) * float(x[0])).isfinite().all()


@each_case
def test_variables_are_evaluated_together_and_alone_alike(name, support):
    family, _, uniforms = case(name, support)
    conditionals = Conditionals(
        [family, make_family("bernoulli", Binary(), 2), make_family(name, support, 2)]
    )
    assert len(conditionals.groups) == 2 - (name == "bernoulli")
    outputs = torch.randn(6, conditionals.n_outputs, generator=torch.Generator().manual_seed(1)).double()
    bounds = list(zip(conditionals.starts[:-1], conditionals.starts[1:], strict=True))
    x = torch.cat(
        [
            conditionals.of_variable(d).sample(outputs[:, None, a:b], uniforms[:6, :, :1].expand(-1, -1, 3))
            for d, (a, b) in enumerate(bounds)
        ],
        dim=1,
    )
    together = conditionals.log_prob(x, outputs)
    for d, (a, b) in enumerate(bounds):
        alone = conditionals.of_variable(d).log_prob(x[:, d, None], outputs[:, None, a:b]).squeeze(1)
        torch.testing.assert_close(together[:, d], alone)


@each_case
@torch.no_grad()
def test_every_sampler_that_serves_it_draws_the_same(name, support):
    """A family that names a compiled one is drawn as its own `sample` says; all others by the reference."""
    row = [make_family(name, support, 2) for _ in range(3)]
    conditionals = Conditionals(row)
    encoding = InputEncoding([family.input_features("onehot") for family in row])
    generator = torch.Generator().manual_seed(0)
    network = MADEConditioner(
        encoding, conditionals.starts, torch.tensor([[2, 0, 1]]), [even_degrees(6, 3)[None]],
        activation="tanh", generator=generator,
    )  # fmt: skip
    model = AutoregressiveModel(network, conditionals).double()
    network.set_output_bias(torch.randn(conditionals.n_outputs, generator=generator).double())
    uniforms = model.uniforms(37, generator)
    expected = sequential.sample(network, conditionals, 0, uniforms)
    torch.testing.assert_close(model.sample_member(0, uniforms), expected, rtol=1e-7, atol=1e-9)


@each_case
@pytest.mark.parametrize("encoding", ["onehot", "scaled", "raw"])
def test_its_features_tell_codes_apart(name, support, encoding):
    family, params, uniforms = case(name, support, seed=7)
    features = family.input_features(encoding)
    assert isinstance(features, InputFeatures)
    x = draws(family, params, uniforms)
    seen = InputEncoding([features]).double()(x)
    assert seen.shape == (N, features.width)
    assert len(seen.unique(dim=0)) == len(x.unique())


def test_scores_of_a_column_of_a_wide_array_bring_no_warning(recwarn):
    """Torch warns of strides once per process, on the screen of whoever happens to be there."""
    family = make_family("gaussian", Reals((), KNOTS), 2)
    column = torch.randn(5, 3)[:, 1:2]
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        family.log_prob(column, torch.zeros(5, 1, family.n_parameters))
    finally:
        torch.set_warn_always(always)
    assert not list(recwarn)
