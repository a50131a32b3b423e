"""A family and a network of one's own, each in one file: what every model promises, on random ones."""

from __future__ import annotations

import importlib
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from chainrule import MADE, NADE, OrderlessNADE, load, registry
from chainrule.conditionals import FAMILIES, Conditionals, make_family
from chainrule.model import AutoregressiveModel
from chainrule.orders import random_orders
from chainrule.samplers import sequential
from chainrule.supports import Reals
from strategies import (
    NETWORKS,
    SMOOTH,
    Spec,
    all_rows,
    build,
    encoding_of,
    families,
    random_context,
    random_rows,
    repeated,
)  # fmt: skip
from test_model import strictly_before

SEEDS = st.integers(0, 10**6)
EXAMPLES = Path(__file__).parents[1] / "examples"
MODULES = ("student_t_family", "transformer_conditioner")


@pytest.fixture(scope="module", autouse=True)
def examples():
    """Import the examples as a user does, and forget what they registered."""
    tables = FAMILIES, registry.MODELS, registry.CLASSES
    before = [dict(table) for table in tables]
    sys.path.insert(0, str(EXAMPLES))
    try:
        yield {name: importlib.import_module(name) for name in MODULES}
    finally:
        sys.path.remove(str(EXAMPLES))
        for name in MODULES:
            del sys.modules[name]
        for table, entries in zip(tables, before, strict=True):
            table.clear()
            table.update(entries)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------- mixtures of Student-t


def student_t(n_components, seed, n=1, scale=1.5):
    family = make_family("student-t", Reals(), n_components)
    params = scale * torch.randn(n, 1, family.n_parameters, generator=generator(seed), dtype=torch.float64)
    return family, params


@given(SEEDS, st.integers(1, 4))
@settings(max_examples=15)
def test_the_density_is_the_derivative_of_the_distribution_function_and_integrates_to_one(seed, n_components):
    family, params = student_t(n_components, seed, n=5)
    x = torch.linspace(-4, 4, 5, dtype=torch.float64)[:, None]
    step = 1e-5
    slope = (family.cdf(x + step, params) - family.cdf(x - step, params)) / (2 * step)
    torch.testing.assert_close(slope, family.log_prob(x, params).exp(), rtol=1e-5, atol=1e-9)
    ends = torch.full((5, 1), 1e12, dtype=torch.float64)
    mass = family.cdf(ends, params) - family.cdf(-ends, params)
    torch.testing.assert_close(mass, torch.ones_like(mass), rtol=1e-9, atol=0)


def test_one_component_is_a_student_t():
    family = make_family("student-t", Reals(), 1)
    params = torch.tensor([[[0.0, 0.4, -0.3, 1.2]]], dtype=torch.float64)
    _, location, scale, freedom = (float(each) for each in family.components(params))
    x = torch.linspace(-9, 9, 19, dtype=torch.float64)
    expected = stats.t.logpdf(x, freedom, location, scale)
    got = family.log_prob(x[:, None], params.expand(19, -1, -1)).flatten()
    np.testing.assert_allclose(got, expected, rtol=1e-10)


@given(SEEDS, st.integers(1, 4))
@settings(max_examples=15)
def test_draws_follow_the_distribution_function(seed, n_components):
    family, params = student_t(n_components, seed)
    uniforms = torch.rand(4000, 1, family.n_uniforms, generator=generator(seed), dtype=torch.float64)
    drawn = family.sample(params.expand(4000, -1, -1), uniforms)
    below = family.cdf(drawn, params.expand(4000, -1, -1))
    assert stats.kstest(below.flatten(), "uniform").pvalue > 1e-5


@pytest.mark.parametrize("u", [0.0, 1 - torch.finfo(torch.float32).eps / 2])
def test_draws_and_gradients_stay_finite(u):
    family, params = student_t(3, 0, scale=4.0)
    params = params.float().requires_grad_()
    assert family.sample(params, torch.full((1, 1, 3), u)).isfinite().all()
    for value in (-1e6, 0.0, 1e6):
        (gradient,) = torch.autograd.grad(family.log_prob(torch.full((1, 1), value), params).sum(), params)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("point_masses", [(), (0.5,)])
def test_every_network_draws_it_by_the_reference_sampler(network, point_masses, monkeypatch):
    """Sequential = parallel, sampler = density; the compiled sampler is not even asked."""
    kinds, n_levels = ("continuous", "binary", "continuous"), (None, 2, None)
    spec = Spec(network, kinds, n_levels, mixture="student-t", point_masses=(point_masses, (), ()), seed=3)
    model = build(spec)
    monkeypatch.setattr("chainrule.samplers.cpu.sample", None)
    n = 3000
    samples = model.sample(n, generator())
    starts = model.conditionals.starts
    with torch.no_grad():
        outputs = model.conditioner(samples)
        state = model.conditioner.init_state(n)
        for d in model.conditioner.order(0).tolist():
            params = state.next_params(d)
            torch.testing.assert_close(params, outputs[:, starts[d] : starts[d + 1]], rtol=1e-8, atol=1e-9)
            state.update(d, samples[:, d])
        d = 2
        params = outputs[:, None, starts[d] : starts[d + 1]]
        below = model.conditionals.of_variable(d).cdf(samples[:, d, None], params).squeeze(1)
    assert stats.kstest(below.numpy(), "uniform").pvalue > 1e-4


def test_variables_of_the_family_are_evaluated_together():
    row = [make_family("student-t", Reals(), 2) for _ in range(3)]
    assert len(Conditionals(row).groups) == 1


@pytest.mark.parametrize("estimator", [NADE(4), MADE((4,)), OrderlessNADE((4,))])
def test_estimators_fit_save_and_load_it(estimator, tmp_path):
    X = generator_rows(standard_t=2.0)
    estimator.set_params(mixture="student-t", n_components=2, max_epochs=3, random_state=0)
    model = estimator.fit(X[:150])
    assert model.families_ == ("student-t",) * 2
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert np.array_equal(again.score_samples(X), model.score_samples(X))
    assert np.array_equal(again.sample(5, random_state=1), model.sample(5, random_state=1))


def generator_rows(standard_t):
    return np.random.default_rng(0).standard_t(standard_t, size=(200, 2)).cumsum(axis=1)


def test_heavy_tails_are_its_strength():
    """One component each, so that a Gaussian cannot build tails from several."""
    X = np.random.default_rng(1).standard_t(2.0, size=(1200, 2))
    scores = {
        name: MADE((8,), mixture=name, n_components=1, max_epochs=40, random_state=0)
        .fit(X[:900]).score_samples(X[900:]).mean()
        for name in ("gaussian", "student-t")
    }  # fmt: skip
    assert scores["student-t"] > scores["gaussian"] + 0.1


# ---------------------------------------------------------------- a causal Transformer


def transformer(spec):
    """Return a model with random weights in double precision."""
    network = importlib.import_module("transformer_conditioner").TransformerConditioner
    row = families(spec.kinds, spec.n_levels, spec.n_components, spec.mixture, spec.point_masses)
    conditionals, encoding = Conditionals(row), encoding_of(row, spec.encoding)
    orders = random_orders(spec.n_variables, spec.n_orderings, generator(spec.seed))
    conditioner = network(
        encoding, conditionals.starts, orders, 4 * len(spec.hidden), n_layers=len(spec.hidden),
        n_context=spec.n_context, generator=generator(spec.seed),
    )  # fmt: skip
    model = AutoregressiveModel(conditioner, conditionals).double()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norms" not in name:
                weight.normal_(generator=generator(spec.seed + weight.numel())).mul_(0.7)
    return model.eval()


MIXED = Spec(
    kinds=("binary", "categorical", "ordinal", "continuous", "continuous"), n_levels=(2, 3, 4, None, None),
    point_masses=((), (), (), (), (0.5,)), hidden=(2, 2), n_context=1, n_orderings=2, seed=1,
)  # fmt: skip
DISCRETE = Spec(kinds=("binary", "categorical", "ordinal", "binary"), n_levels=(2, 3, 4, 2), n_orderings=3)
assert MIXED.activation in SMOOTH
each_spec = pytest.mark.parametrize(
    "spec",
    [MIXED, DISCRETE, replace(MIXED, encoding="raw"), Spec(kinds=("binary",), n_levels=(2,))],
    ids=str,
)


@pytest.mark.parametrize("n_context", [0, 2])
@torch.no_grad()
def test_probabilities_sum_to_one(n_context):
    spec = replace(DISCRETE, n_context=n_context)
    rows = all_rows(spec)
    scores = transformer(spec).log_prob(rows, repeated(random_context(spec, 1), len(rows)))
    assert float(scores.exp().sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("n_orderings", [1, 3])
def test_jacobian_equals_the_strict_order(n_orderings):
    spec = Spec(kinds=("binary", "continuous") * 3, n_levels=(2, None) * 3, n_orderings=n_orderings, seed=2)
    model = transformer(spec)
    x = random_rows(spec, 4)
    for member in range(model.n_members):
        jacobian = torch.autograd.functional.jacobian(lambda x, k=member: model.conditioner(x, k).sum(0), x)
        by_output = (jacobian != 0).any(1)
        found = torch.stack(
            [by_output[model.conditionals.output_variable == d].any(0) for d in range(spec.n_variables)]
        )
        assert torch.equal(found, strictly_before(model.conditioner.order(member).tolist()))


def test_context_reaches_every_conditional():
    model = transformer(MIXED)
    x, context = random_rows(MIXED, 3), random_context(MIXED, 3)
    jacobian = torch.autograd.functional.jacobian(lambda c: model.conditioner(x, 1, c).sum(0), context)
    assert (jacobian != 0).any(1).all()


@each_spec
@torch.no_grad()
def test_the_sequential_pass_equals_the_parallel_one(spec):
    model = transformer(spec)
    x, context = random_rows(spec, 5), random_context(spec, 5)
    starts = model.conditionals.starts
    for member in range(model.n_members):
        outputs = model.conditioner(x, member, context)
        state = model.conditioner.init_state(5, member, context)
        for d in model.conditioner.order(member).tolist():
            params = state.next_params(d)
            torch.testing.assert_close(params, outputs[:, starts[d] : starts[d + 1]], rtol=1e-9, atol=1e-10)
            state.update(d, x[:, d])
    with pytest.raises(ValueError, match="not the next one"):
        state.next_params(0)


@each_spec
@torch.no_grad()
def test_samples_equal_those_of_full_passes_under_shared_uniforms(spec):
    model = transformer(spec)
    context = random_context(spec, 9)
    uniforms = model.uniforms(9, generator())
    drawn = model.sample_member(0, uniforms, context)
    expected, starts = torch.zeros_like(drawn), model.conditionals.starts
    for d in model.conditioner.order(0).tolist():
        params = model.conditioner(expected, 0, context)[:, starts[d] : starts[d + 1]]
        expected[:, d] = model.conditionals.sample_variable(d, params, uniforms[:, d])
    torch.testing.assert_close(drawn, expected, rtol=1e-7, atol=1e-9)
    reference = sequential.sample(model.conditioner, model.conditionals, 0, uniforms, context)
    assert torch.equal(drawn, reference)


def test_sampled_cells_follow_the_probabilities():
    model, cells = transformer(DISCRETE), all_rows(DISCRETE)
    n = 20_000
    samples = model.sample(n, generator())
    with torch.no_grad():
        expected = model.log_prob(cells).exp().numpy() * n
    index = np.ravel_multi_index(samples.long().numpy().T, DISCRETE.n_levels)
    counts, rare = np.bincount(index, minlength=len(cells)), expected < 5
    if rare.any():
        counts = np.append(counts[~rare], counts[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
    assert stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-4


def test_its_estimator_learns_samples_saves_and_loads(examples, tmp_path):
    first = np.random.default_rng(0).integers(0, 2, (900, 3))
    X = np.concatenate([first, first ^ first[:, ::-1]], axis=1)
    estimator = examples["transformer_conditioner"].Transformer(
        16, n_heads=2, n_layers=1, max_epochs=25, random_state=0
    )
    model = estimator.fit(X[:700])
    entropy = 3 * math.log(2)
    assert -entropy - 0.3 < model.score_samples(X[700:]).mean() < -entropy + 0.05
    drawn = model.sample(200, random_state=0)
    assert (drawn[:, 3:] == drawn[:, :3] ^ drawn[:, 2::-1]).mean() > 0.9
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert np.array_equal(again.score_samples(X), model.score_samples(X))
    assert np.array_equal(again.sample(5, random_state=1), model.sample(5, random_state=1))
