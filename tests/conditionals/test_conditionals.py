"""The one-dimensional families: normalised, sampled as they say, stable, and grouped over a row."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from chainrule import supports
from chainrule.conditionals import (
    FAMILIES,
    Bernoulli,
    Categorical,
    Conditionals,
    DiscretizedLogistics,
    LocationScaleMixture,
    MixtureOfGaussians,
    MixtureOfLaplaces,
    MixtureOfLogistics,
    PointMasses,
    make_family,
)
from chainrule.conditionals.point_masses import padded_codes
from strategies import KINDS, MIXTURES, families

pytestmark = pytest.mark.arithmetic

SEEDS = st.integers(0, 10**6)


def random_params(family, n, seed=0, scale=1.5):
    """Return params (n, 1, P) in float64."""
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, 1, family.n_parameters, generator=generator, dtype=torch.float64)


def discrete_families():
    return [
        (Bernoulli(), 2),
        (Categorical(1), 1),
        (Categorical(5), 5),
        *((DiscretizedLogistics(3, torch.tensor([k])), k) for k in (1, 2, 3, 7, 256)),
    ]


def name(value):
    return type(value).__name__ if isinstance(value, torch.nn.Module) else str(value)


each_discrete = pytest.mark.parametrize(("family", "n_levels"), discrete_families(), ids=name)
each_mixture = pytest.mark.parametrize(
    "mixture", sorted(name for name in MIXTURES if issubclass(FAMILIES[name], LocationScaleMixture))
)


def level_probabilities(family, params, n_levels):
    """Return exp(log_prob) of each level, (n, K)."""
    each = [
        family.log_prob(torch.full(params.shape[:2], float(k)).to(params), params) for k in range(n_levels)
    ]
    return torch.cat(each, dim=1).exp()


# ---------------------------------------------------------------- discrete families


@each_discrete
@given(SEEDS, st.sampled_from([0.1, 1.5, 8.0]))
@settings(max_examples=20)
def test_levels_sum_to_one(family, n_levels, seed, scale):
    probabilities = level_probabilities(family, random_params(family, 6, seed, scale), n_levels)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(6, dtype=torch.float64), rtol=1e-11, atol=0)


@each_discrete
def test_cdf_mean_and_mode_follow_from_the_probabilities(family, n_levels):
    params = random_params(family, 8)
    probabilities = level_probabilities(family, params, n_levels)
    levels = torch.arange(n_levels, dtype=torch.float64)
    for k in range(n_levels):
        cdf = family.cdf(torch.full((8, 1), float(k), dtype=torch.float64), params).squeeze(1)
        torch.testing.assert_close(cdf, probabilities[:, : k + 1].sum(1))
    torch.testing.assert_close(family.mean(params).squeeze(1), probabilities @ levels)
    assert torch.equal(family.mode(params).squeeze(1), probabilities.argmax(1).double())


@each_discrete
def test_nothing_lies_below_the_lowest_level(family, n_levels):
    params = random_params(family, 4)
    assert not family.cdf(torch.full((4, 1), -1.0, dtype=torch.float64), params).any()
    top = family.cdf(torch.full((4, 1), n_levels + 0.5, dtype=torch.float64), params)
    torch.testing.assert_close(top, torch.ones_like(top))


@each_discrete
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_drawn_levels_follow_the_probabilities(family, n_levels, dtype):
    params = random_params(family, 1, seed=5).to(dtype)
    n = 20_000
    generator = torch.Generator().manual_seed(0)
    uniforms = torch.rand(n, 1, family.n_uniforms, generator=generator, dtype=dtype)
    drawn = family.sample(params.expand(n, -1, -1), uniforms).squeeze(1)
    assert drawn.dtype == dtype
    counts = np.bincount(drawn.long().numpy(), minlength=n_levels)
    assert len(counts) == n_levels
    expected = level_probabilities(family, params.double(), n_levels)[0].numpy() * n
    rare = expected < 5
    counts = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], max(expected[rare].sum(), 1e-9))
    assert stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-4


@each_discrete
def test_extreme_uniforms_stay_on_the_levels(family, n_levels):
    params = random_params(family, 5, scale=6.0).float()
    almost_one = 1 - torch.finfo(torch.float32).eps / 2
    for u in (0.0, almost_one):
        drawn = family.sample(params, torch.full((5, 1, family.n_uniforms), u))
        assert drawn.isfinite().all()
        assert (drawn >= 0).all()
        assert (drawn <= n_levels - 1).all()


def test_bernoulli_is_the_log_of_the_sigmoid():
    logits = torch.tensor([-3.0, 0.0, 2.0], dtype=torch.float64)[:, None, None]
    one = Bernoulli().log_prob(torch.ones(3, 1, dtype=torch.float64), logits).flatten()
    torch.testing.assert_close(one, torch.sigmoid(logits).log().flatten())


@pytest.mark.parametrize("logit", [-1e4, -100.0, 100.0, 1e4])
def test_extreme_logits_stay_finite_and_exact(logit):
    params = torch.tensor([[[logit]]])
    value = float(Bernoulli().log_prob(torch.ones(1, 1), params))
    assert value == pytest.approx(min(logit, 0.0), abs=1e-6)


def test_a_category_ruled_out_gets_no_probability_and_no_gradient():
    logits = torch.tensor([[[0.3, -torch.inf, 1.0]]], dtype=torch.float64, requires_grad=True)
    family = Categorical(3)
    assert float(family.log_prob(torch.ones(1, 1), logits.detach())) == -math.inf
    family.log_prob(torch.zeros(1, 1), logits).sum().backward()
    assert logits.grad.isfinite().all()
    uniforms = torch.linspace(0, 1 - 1e-12, 1001, dtype=torch.float64)[:, None, None]
    assert not (family.sample(logits.detach().expand(1001, -1, -1), uniforms) == 1).any()


@pytest.mark.parametrize("n_levels", [2, 5, 256])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_discretised_logistics_stay_finite_far_away_and_when_narrow(n_levels, dtype):
    """Location far outside, scales at both extremes: log-probabilities and gradients are finite numbers."""
    family = DiscretizedLogistics(1, torch.tensor([n_levels]))
    cases = [[0.0, location, raw] for location in (-50.0, 0.01, 50.0) for raw in (-100.0, 0.0, 100.0)]
    params = torch.tensor(cases, dtype=dtype)[:, None].requires_grad_()
    for k in {0, 1, n_levels - 1}:
        log_prob = family.log_prob(torch.full((len(cases), 1), float(k), dtype=dtype), params)
        (gradient,) = torch.autograd.grad(log_prob.sum(), params)
        assert log_prob.isfinite().all()
        assert (log_prob <= 0).all()
        assert gradient.isfinite().all()


def test_discretised_logistics_take_differences_of_the_distribution_function():
    """One component, against the plain formula with open tails."""
    n_levels, location, raw = 6, 0.2, -0.5
    family = DiscretizedLogistics(1, torch.tensor([n_levels]))
    params = torch.tensor([[[location, raw]]], dtype=torch.float64)
    scale = math.log1p(math.exp(raw)) + 0.05 / (n_levels - 1)
    edges = [(2 * k - 1) / (n_levels - 1) - 1 for k in range(1, n_levels)]
    below = [0.0, *(1 / (1 + math.exp(-(edge - location) / scale)) for edge in edges), 1.0]
    expected = torch.tensor(below, dtype=torch.float64).diff()
    torch.testing.assert_close(level_probabilities(family, params, n_levels)[0], expected)


def test_level_probabilities_of_variables_with_different_numbers_of_levels():
    family = DiscretizedLogistics(2, torch.tensor([3, 5]))
    params = torch.randn(4, 2, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    probabilities = family.level_probabilities(params, 5)
    assert probabilities.shape == (4, 2, 5)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(4, 2, dtype=torch.float64))
    assert not probabilities[:, 0, 3:].any()


# ---------------------------------------------------------------- point masses


def with_masses(mixture="gaussian", point_masses=((-0.4, 1.5),), n_components=3):
    return PointMasses(FAMILIES[mixture](n_components), padded_codes(point_masses))


@each_mixture
@given(SEEDS, st.sampled_from([1, 3]))
@settings(max_examples=10)
def test_masses_of_point_masses_and_the_density_elsewhere_make_one(mixture, seed, n_components):
    family = with_masses(mixture, n_components=n_components)
    params = random_params(family, 1, seed, scale=0.7)
    t = torch.linspace(-1, 1, 40_001, dtype=torch.float64)[1:-1, None]
    x, weight = t / (1 - t**2), (1 + t**2) / (1 - t**2) ** 2 * (t[1] - t[0])
    density = float((family.log_prob(x, params).exp() * weight).sum())
    masses = family.log_prob(torch.tensor([[-0.4], [1.5]], dtype=torch.float64), params).exp()
    parts = params[0, 0, :3].softmax(-1)
    torch.testing.assert_close(masses.flatten(), parts[1:])
    assert density == pytest.approx(float(parts[0]), abs=1e-4)


@each_mixture
@given(SEEDS)
@settings(max_examples=10)
def test_draws_fall_on_point_masses_and_elsewhere_as_the_distribution_says(mixture, seed):
    family = with_masses(mixture)
    params = random_params(family, 1, seed).expand(6000, -1, -1)
    uniforms = torch.rand(6000, 1, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    drawn = family.sample(params, uniforms)
    chances = params[0, 0, :3].softmax(-1).numpy()
    on = [int((drawn == code).sum()) for code in (-0.4, 1.5)]
    counts = np.array([6000 - sum(on), *on])
    few = chances * 6000 < 5
    if few.sum() < 2:
        assert stats.chisquare(counts, chances * 6000).pvalue > 1e-5
    rest = drawn[~family.is_point_mass(drawn).any(-1)]
    mixture_params = params[:1, :, 3:].expand(len(rest), -1, -1)
    below = family.density.cdf(rest[:, None], mixture_params).flatten()
    assert stats.kstest(below, "uniform").pvalue > 1e-5
    # The mean of the draws, and the distribution function just before and at a point_mass.
    error = float(drawn.std()) / 6000**0.5
    assert float(drawn.mean()) == pytest.approx(float(family.mean(params)[0, 0]), abs=5 * error)
    at, before = (
        family.cdf(torch.full((1, 1), x, dtype=torch.float64), params[:1]) for x in (1.5, 1.5 - 1e-12)
    )
    assert float(at - before) == pytest.approx(chances[2], abs=1e-9)


def test_the_mode_is_a_point_mass_where_no_other_part_is_more_probable():
    family = with_masses(n_components=1)
    params = torch.tensor(
        [[[0.0, 1.0, 0.5, 7.0, 0.0]], [[2.0, 1.0, 0.5, 7.0, 0.0]], [[0.0, 1.0, 1.5, 7.0, 0.0]]]
    )
    assert family.mode(params).flatten().tolist() == pytest.approx([-0.4, 7.0, 1.5])


def test_variables_with_different_numbers_of_point_masses_share_a_group():
    point_masses = [(0.5,), (), (-1.0, 0.25, 2.0)]
    conditionals = Conditionals(families(["continuous"] * 3, [None] * 3, 2, point_masses=point_masses))
    assert torch.tensor(conditionals.starts).diff().tolist() == [8, 6, 10]
    outputs = torch.randn(6, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    outputs.requires_grad_()
    x = torch.tensor([[0.5, 0.1, -1.0], [0.1, 0.5, 0.25], [0.2, 0.3, 2.0], [1, 2, 0.5]] * 2)[:6].double()
    log_prob = conditionals.log_prob(x, outputs)
    (gradient,) = torch.autograd.grad(log_prob.sum(), outputs)
    assert gradient.isfinite().all()
    for d in range(3):
        params = outputs[:, None, conditionals.starts[d] : conditionals.starts[d + 1]]
        alone = conditionals.of_variable(d).log_prob(x[:, d, None], params).squeeze(1)
        torch.testing.assert_close(log_prob[:, d], alone)


def test_point_masses_start_from_their_frequencies():
    rng = np.random.default_rng(0)
    x = np.where(rng.random(1000) < 0.3, 0.5, rng.normal(size=1000))
    conditionals = Conditionals(
        families(["continuous"] * 2, [None] * 2, 5, point_masses=[(0.5,), (0.5, 3.0)])
    )
    codes = torch.from_numpy(np.stack([x, np.full(1000, 3.0)], 1)).float()
    outputs = conditionals.marginal_params(codes)
    assert outputs.isfinite().all()
    masses = conditionals.log_prob(torch.tensor([[0.5, 3.0]]), outputs[None]).exp().flatten()
    assert masses.tolist() == pytest.approx([(x == 0.5).mean(), 1.0], abs=0.002)


# ---------------------------------------------------------------- mixtures


@each_mixture
def test_density_is_the_derivative_of_the_distribution_function(mixture):
    family = FAMILIES[mixture](3)
    params = random_params(family, 5)
    x = torch.linspace(-4, 4, 5, dtype=torch.float64)[:, None].requires_grad_()
    (slope,) = torch.autograd.grad(family.cdf(x, params).sum(), x)
    torch.testing.assert_close(slope, family.log_prob(x, params).exp().detach(), rtol=1e-8, atol=1e-10)
    far = torch.full((5, 1), 1e4, dtype=torch.float64)
    assert torch.allclose(family.cdf(far, params), torch.ones_like(far))
    assert torch.allclose(family.cdf(-far, params), torch.zeros_like(far), atol=1e-12)


@pytest.mark.parametrize(
    ("family", "reference"),
    [
        (MixtureOfGaussians, stats.norm),
        (MixtureOfLogistics, stats.logistic),
        (MixtureOfLaplaces, stats.laplace),
    ],
)
def test_components_are_what_their_names_say(family, reference):
    x = np.linspace(-30, 30, 61)
    u = np.linspace(0.001, 0.999, 41)
    z = torch.from_numpy(x)
    np.testing.assert_allclose(family.standard_log_density(z), reference.logpdf(x), rtol=1e-12)
    np.testing.assert_allclose(family.standard_cdf(z), reference.cdf(x), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(
        family.standard_quantile(torch.from_numpy(u)), reference.ppf(u), rtol=1e-9, atol=1e-12
    )


@each_mixture
@given(SEEDS, st.sampled_from([1, 4]))
@settings(max_examples=10)
def test_draws_follow_the_distribution_function(mixture, seed, n_components):
    family = FAMILIES[mixture](n_components)
    params = random_params(family, 1, seed)
    uniforms = torch.rand(4000, 1, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    drawn = family.sample(params.expand(4000, -1, -1), uniforms)
    below = family.cdf(drawn, params.expand(4000, -1, -1)).flatten().numpy()
    assert stats.kstest(below, "uniform").pvalue > 1e-5


@each_mixture
@pytest.mark.parametrize("raw_scale", [-200.0, -20.0, 20.0])
def test_density_and_sampler_share_the_scale_where_it_is_smallest(mixture, raw_scale):
    """A scale clipped in one of the two only would show as draws in the wrong places."""
    family = FAMILIES[mixture](1)
    params = torch.tensor([[[0.3, raw_scale]]], dtype=torch.float64).expand(4000, -1, -1)
    uniforms = torch.rand(4000, 1, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = family.sample(params, uniforms)
    scale = math.log1p(math.exp(raw_scale)) + family.min_scale
    assert stats.kstest(((drawn - 0.3) / scale).flatten().numpy(), family_cdf(family)).pvalue > 1e-4
    assert stats.kstest(family.cdf(drawn, params).flatten().numpy(), "uniform").pvalue > 1e-4
    peak = float(family.log_prob(torch.full((1, 1), 0.3, dtype=torch.float64), params[:1]))
    assert peak == pytest.approx(float(family.standard_log_density(torch.zeros(()))) - math.log(scale))


def family_cdf(family):
    return lambda z: family.standard_cdf(torch.from_numpy(z)).numpy()


@each_mixture
def test_mixtures_stay_finite_far_away_and_when_narrow(mixture):
    family = FAMILIES[mixture](2)
    params = torch.tensor([[[0.0, -5.0, 1e3, -1e3, -100.0, 3.0]]]).requires_grad_()
    for value in (-1e4, 0.0, 1e4):
        log_prob = family.log_prob(torch.full((1, 1), value), params)
        (gradient,) = torch.autograd.grad(log_prob.sum(), params)
        assert log_prob.isfinite().all()
        assert gradient.isfinite().all()


@each_mixture
def test_draws_are_finite_at_the_ends_of_the_unit_interval(mixture):
    family = FAMILIES[mixture](2)
    for dtype in (torch.float32, torch.float64):
        params = random_params(family, 1).to(dtype)
        for u in (0.0, 1 - torch.finfo(dtype).eps / 2):
            assert family.sample(params, torch.full((1, 1, 2), u, dtype=dtype)).isfinite().all()


@each_mixture
def test_mean_of_a_mixture_is_that_of_its_draws(mixture):
    family = FAMILIES[mixture](3)
    params = random_params(family, 1).expand(40_000, -1, -1)
    uniforms = torch.rand(40_000, 1, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = family.sample(params, uniforms).flatten()
    error = float(drawn.std()) / 200
    assert float(drawn.mean()) == pytest.approx(float(family.mean(params)[0, 0]), abs=5 * error)


@each_mixture
def test_mode_of_a_mixture_is_its_densest_location(mixture):
    family = FAMILIES[mixture](3)
    params = random_params(family, 6)
    mode = family.mode(params)
    locations = family.components(params)[1]
    assert ((mode[..., None] == locations).sum(-1) == 1).all()
    for m in range(3):
        assert (family.log_prob(mode, params) >= family.log_prob(locations[..., m], params)).all()


# ---------------------------------------------------------------- a whole row


@st.composite
def rows(draw):
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6))
    levels = {"binary": st.just(2), "continuous": st.none()}
    return kinds, [draw(levels.get(kind, st.integers(1, 5))) for kind in kinds], draw(SEEDS)


@given(rows(), st.sampled_from(sorted(MIXTURES)))
def test_grouped_variables_equal_each_variable_alone(row, mixture):
    kinds, n_levels, seed = row
    conditionals = Conditionals(families(kinds, n_levels, 2, mixture))
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(4, conditionals.n_outputs, generator=generator, dtype=torch.float64)
    x = torch.stack(
        [torch.randn(4, generator=generator) if k is None else torch.randint(k, (4,), generator=generator)
         for k in n_levels], dim=1,
    ).double()  # fmt: skip
    log_prob = conditionals.log_prob(x, outputs)
    assert log_prob.shape == (4, len(kinds))
    for d in range(len(kinds)):
        params = outputs[:, None, conditionals.starts[d] : conditionals.starts[d + 1]]
        alone = conditionals.of_variable(d).log_prob(x[:, d, None], params).squeeze(1)
        torch.testing.assert_close(log_prob[:, d], alone)


@given(rows())
def test_each_output_belongs_to_one_variable(row):
    kinds, n_levels, _ = row
    conditionals = Conditionals(families(kinds, n_levels, 2))
    widths = {"binary": 1, "ordinal": 6, "continuous": 6}
    expected = [
        d
        for d, kind in enumerate(kinds)
        for _ in range(n_levels[d] if kind == "categorical" else widths[kind])
    ]
    assert conditionals.output_variable.tolist() == expected
    assert conditionals.n_outputs == len(expected)


@given(rows())
@settings(max_examples=40)
def test_marginal_params_start_from_the_margins(row):
    """Discrete variables: smoothed frequencies; others: about the mean of the column."""
    kinds, n_levels, seed = row
    generator = torch.Generator().manual_seed(seed)
    x = torch.stack(
        [
            3 + 2 * torch.randn(400, generator=generator)
            if k is None
            else torch.randint(k, (400,), generator=generator).float()
            for k in n_levels
        ],
        dim=1,
    )
    conditionals = Conditionals(families(kinds, n_levels, 4))
    outputs = conditionals.marginal_params(x)
    assert outputs.shape == (conditionals.n_outputs,)
    assert outputs.isfinite().all()
    for d, kind in enumerate(kinds):
        params = outputs[None, None, conditionals.starts[d] : conditionals.starts[d + 1]]
        family = conditionals.of_variable(d)
        if kind in ("binary", "categorical"):
            count = torch.bincount(x[:, d].long(), minlength=n_levels[d])
            frequency = (count + 0.5) / (400 + 0.5 * n_levels[d])
            got = level_probabilities(family, params, n_levels[d])[0]
            torch.testing.assert_close(got, frequency, rtol=1e-4, atol=1e-5)
        elif kind == "continuous":
            assert float(family.mean(params)) == pytest.approx(float(x[:, d].mean()), abs=0.3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_column_gives_finite_marginal_params(kind):
    conditionals = Conditionals(families([kind], [None if kind == "continuous" else 3]))
    assert conditionals.marginal_params(torch.ones(5, 1)).isfinite().all()


def test_wrong_choices_are_named():
    with pytest.raises(ValueError, match="there is no family 'cauchy' of Reals; there are gaussian, "):
        make_family("cauchy", supports.Reals(), 2)
    with pytest.raises(ValueError, match="n_components must be at least 1, got 0"):
        make_family("gaussian", supports.Reals(), 0)
