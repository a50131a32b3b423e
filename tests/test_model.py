"""The invariants of the autoregressive model, over random configurations."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from chainrule.conditioners import MADEConditioner
from chainrule.kernels.activations import ACTIVATIONS
from chainrule.masks import dependencies
from chainrule.orders import rank_of
from chainrule.samplers import sequential
from strategies import (
    DENSE,
    DISCRETE,
    KINDS,
    Spec,
    all_rows,
    build,
    random_context,
    random_rows,
    repeated,
    specs,
)

# ---------------------------------------------------------------- 1: probabilities sum to one


@given(specs(DISCRETE, max_variables=5, max_levels=4))
@settings(max_examples=80)
def test_discrete_models_sum_to_one(spec):
    model = build(spec)
    rows = all_rows(spec)
    with torch.no_grad():
        total = model.log_prob(rows, repeated(random_context(spec, 1), len(rows))).exp().sum()
    assert float(total) == pytest.approx(1, abs=1e-12)


@given(specs(["binary"], max_variables=10, activations=("relu", "sigmoid", "tanh", "leaky_relu")))
@settings(max_examples=40)
def test_binary_models_of_up_to_ten_variables_sum_to_one(spec):
    model = build(spec, scale=3.0)
    rows = all_rows(spec)
    for member in range(model.n_members):
        with torch.no_grad():
            one = model.log_prob_of_member(rows, member, repeated(random_context(spec, 1), len(rows)))
        assert float(one.exp().sum()) == pytest.approx(1, abs=1e-12)


@torch.no_grad()
def integral(model, spec, n_points=20_001):
    """Integrate the density over its one or two variables; x = t / (1 - t^2) covers the line."""
    context = random_context(spec, 1)
    axes = []
    for levels, point_masses in zip(
        spec.n_levels, spec.point_masses or ((),) * spec.n_variables, strict=True
    ):
        if levels is None:
            t = torch.linspace(-1, 1, n_points + 2, dtype=torch.float64)[1:-1]
            x, weight = t / (1 - t**2), (1 + t**2) / (1 - t**2) ** 2 * (t[1] - t[0])
            # A point_mass has a probability, which counts once.
            point_masses = torch.tensor(point_masses, dtype=torch.float64)
            axes.append((torch.cat([x, point_masses]), torch.cat([weight, torch.ones_like(point_masses)])))
        else:
            axes.append((torch.arange(levels).double(), torch.ones(levels, dtype=torch.float64)))
    rows = torch.cartesian_prod(*(x for x, _ in axes)).view(-1, len(axes))
    weights = torch.cartesian_prod(*(w for _, w in axes)).view(-1, len(axes)).prod(1)
    total = 0.0
    for part, weight in zip(rows.split(200_000), weights.split(200_000), strict=True):
        total += float((model.log_prob(part, repeated(context, len(part))).exp() * weight).sum())
    return total


@given(specs(["continuous"], max_variables=1, networks=DENSE))
@settings(max_examples=40)
def test_one_continuous_variable_integrates_to_one(spec):
    assert integral(build(spec, scale=0.5), spec) == pytest.approx(1, abs=1e-3)


TWO = st.sampled_from(
    [(a, b) for a in KINDS for b in KINDS if "continuous" in (a, b) and (a, b) != ("continuous",) * 2]
)


@given(specs(["continuous"], max_variables=1, networks=DENSE), TWO)
@settings(max_examples=25)
def test_one_continuous_beside_one_discrete_variable_integrates_to_one(spec, kinds):
    levels = {"binary": 2, "categorical": 3, "ordinal": 4, "continuous": None}
    point_masses = tuple(spec.point_masses[0] if kind == "continuous" else () for kind in kinds)
    changed = {"kinds": kinds, "n_levels": tuple(levels[k] for k in kinds), "point_masses": point_masses}
    spec = Spec(**{**vars(spec), **changed})
    assert integral(build(spec, scale=0.5), spec) == pytest.approx(1, abs=2e-3)


@given(
    specs(
        ["continuous"],
        max_variables=1,
        activations=("sigmoid", "tanh"),
        networks=DENSE,
        direct=False,
        max_members=2,
    )
)
@settings(max_examples=8)
def test_two_continuous_variables_integrate_to_one(spec):
    """Bounded activations and no direct connections keep the scales wide enough for the grid."""
    changed = {"kinds": ("continuous",) * 2, "n_levels": (None, None), "point_masses": spec.point_masses * 2}
    spec = Spec(**{**vars(spec), **changed})
    assert integral(build(spec, scale=0.5), spec, n_points=401) == pytest.approx(1, abs=2e-3)


# ---------------------------------------------------------------- 2: dependencies follow the order


def reached(model, spec, member):
    """Return by autograd which variable moves the params of which, bool (D, D), row = predicted."""
    x, context = random_rows(spec, 3), random_context(spec, 3)
    jacobian = torch.autograd.functional.jacobian(lambda x: model.conditioner(x, member, context).sum(0), x)
    moved = (jacobian != 0).any(1)
    conditionals = model.conditionals
    return torch.stack([moved[conditionals.output_variable == d].any(0) for d in range(spec.n_variables)])


def strictly_before(order):
    """Return which variable precedes which, bool (D, D), row = the later one; from the order alone."""
    before = torch.zeros(len(order), len(order), dtype=torch.bool)
    for position, d in enumerate(order):
        before[d, list(order[:position])] = True
    return before


UNENCODED = specs(("binary", "continuous"), max_variables=5, point_masses=[()])


@given(UNENCODED)
@settings(max_examples=80)
def test_jacobian_equals_the_strict_order(spec):
    model = build(spec)
    for member in range(model.n_members):
        expected = strictly_before(model.conditioner.order(member).tolist())
        if spec.network.startswith("made") and not spec.direct:
            # Narrow layers may lose dependencies, never add one; which ones is known.
            kept = dependencies(
                rank_of(model.conditioner.order(member)), model.conditioner.degrees_of(member), False
            )
            assert not (kept & ~expected).any()
            expected = kept
        assert torch.equal(reached(model, spec, member), expected)


@given(
    specs(
        ("binary", "continuous"),
        max_variables=5,
        networks=["made"],
        direct=True,
        point_masses=[()],
    )
)
@settings(max_examples=20)
def test_direct_connections_keep_every_dependency_of_narrow_layers(spec):
    model = build(Spec(**{**vars(spec), "hidden": (1,)}))
    order = model.conditioner.order(0).tolist()
    assert model.conditioner.lost_dependencies() == 0
    assert torch.equal(reached(model, spec, 0), strictly_before(order))


@given(specs(max_variables=4, max_levels=4))
@settings(max_examples=60)
def test_changing_a_value_moves_later_conditionals_only(spec):
    """Every encoding and kind, through the forward pass that scoring uses."""
    model = build(spec)
    context = random_context(spec, 6)
    for member in range(model.n_members):
        expected = strictly_before(model.conditioner.order(member).tolist())
        for d in range(spec.n_variables):
            if spec.n_levels[d] == 1:
                continue
            x = random_rows(spec, 6)
            changed = x.clone()
            levels = spec.n_levels[d]
            changed[:, d] = x[:, d] + 1 if levels is None else (x[:, d] + 1) % levels
            with torch.no_grad():
                moved = model.conditioner(x, member, context) != model.conditioner(changed, member, context)
            for other in range(spec.n_variables):
                columns = moved[:, model.conditionals.output_variable == other]
                if not expected[other, d]:
                    assert not columns.any()
                elif not spec.network.startswith("made") or spec.direct:
                    assert columns.any()


@given(specs(max_variables=4, context=True))
@settings(max_examples=60)
def test_context_reaches_every_conditional(spec):
    model = build(spec)
    x, context = random_rows(spec, 3), random_context(spec, 3)
    for member in range(model.n_members):
        jacobian = torch.autograd.functional.jacobian(
            lambda c, k=member: model.conditioner(x, k, c).sum(0), context
        )
        assert (jacobian != 0).any(1).all()


# ---------------------------------------------------------------- 3: step by step = all at once


@given(specs(max_variables=6, max_levels=4, activations=("relu", "leaky_relu", "tanh", "sigmoid", "silu")))
@settings(max_examples=80)
def test_params_step_by_step_equal_those_of_one_pass(spec):
    model = build(spec)
    x, context = random_rows(spec, 5), random_context(spec, 5)
    starts = model.conditionals.starts
    with torch.no_grad():
        for member in range(model.n_members):
            outputs = model.conditioner(x, member, context)
            state = model.conditioner.init_state(5, member, context)
            for d in model.conditioner.order(member).tolist():
                params = state.next_params(d)
                torch.testing.assert_close(
                    params, outputs[:, starts[d] : starts[d + 1]], rtol=1e-9, atol=1e-10
                )
                state.update(d, x[:, d])


def sample_by_full_passes(model, member, uniforms, context):
    """Draw one variable after the other, each from a pass of the whole network."""
    rows = torch.zeros(uniforms.shape[:2], dtype=uniforms.dtype)
    starts = model.conditionals.starts
    for d in model.conditioner.order(member).tolist():
        params = model.conditioner(rows, member, context)[:, starts[d] : starts[d + 1]]
        rows[:, d] = model.conditionals.sample_variable(d, params, uniforms[:, d])
    return rows


@given(specs(max_variables=6, max_levels=4, activations=tuple(ACTIVATIONS)))
@settings(max_examples=80)
@torch.no_grad()
def test_samples_equal_those_of_full_passes_under_shared_uniforms(spec):
    """The compiled sampler takes up to 32 rows at a time: 37 rows make 20 and 17."""
    model = build(spec)
    context = random_context(spec, 37)
    shape = (37, spec.n_variables, model.conditionals.n_uniforms)
    uniforms = torch.rand(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    discrete = [kind != "continuous" for kind in spec.kinds]
    for member in range(model.n_members):
        expected = sample_by_full_passes(model, member, uniforms, context)
        for samples in (
            model.sample_member(member, uniforms, context),
            sequential.sample(model.conditioner, model.conditionals, member, uniforms, context),
        ):
            assert torch.equal(samples[:, discrete], expected[:, discrete])
            torch.testing.assert_close(samples, expected, rtol=1e-7, atol=1e-9)


@torch.no_grad()
def test_the_compiled_sampler_follows_changed_weights():
    model = build(Spec(hidden=(5,), seed=1))
    uniforms = torch.rand(40, model.conditionals.n_variables, 1, dtype=torch.float64)
    before = model.sample_member(0, uniforms)
    model.conditioner.output.bias.add_(100)
    after = model.sample_member(0, uniforms)
    assert not torch.equal(before, after)
    assert torch.equal(after, sequential.sample(model.conditioner, model.conditionals, 0, uniforms))


def test_a_sequential_pass_refuses_a_variable_out_of_turn():
    for family in ("nade", "made"):
        conditioner = build(Spec(network=family, natural=True)).conditioner
        state = conditioner.init_state(2)
        with pytest.raises(ValueError, match="variable 1 is not the next one"):
            state.next_params(1)


# ---------------------------------------------------------------- 4: sampler and density agree

SAMPLED = [
    Spec(network="nade", seed=1),
    Spec(network="nade", n_orderings=3, seed=2),
    Spec(hidden=(5, 5), residual=True, seed=3),
    Spec(hidden=(3, 2), direct=True, n_orderings=2, n_masks=4, drawn_degrees=True, seed=4),
    Spec(kinds=("categorical", "ordinal", "binary"), n_levels=(3, 4, 2), n_context=1, seed=5),
    Spec(network="nade", kinds=("ordinal", "categorical"), n_levels=(5, 4), n_orderings=2, seed=6),
    Spec(kinds=("binary",) * 5, n_levels=(2,) * 5, hidden=(6,), n_masks=3, drawn_degrees=True, seed=7),
]


def chi_square_p_value(model, spec, samples, context):
    """Return the p-value of the sampled cells under the model's probabilities, rare cells pooled."""
    cells = all_rows(spec)
    with torch.no_grad():
        probabilities = model.log_prob(cells, repeated(context, len(cells))).exp().numpy()
    shape = tuple(k or 0 for k in spec.n_levels)
    index = np.ravel_multi_index(samples.long().numpy().T, shape)
    counts = np.bincount(index, minlength=len(cells))
    expected = probabilities * len(samples)
    rare = expected < 5
    if rare.any():
        counts = np.append(counts[~rare], counts[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
    return stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue


@pytest.mark.parametrize("spec", SAMPLED, ids=str)
def test_sampled_cells_follow_the_probabilities(spec):
    model = build(spec, scale=2.0)
    context = random_context(spec, 1)
    n = 20_000
    samples = model.sample(n, torch.Generator().manual_seed(0), repeated(context, n))
    assert chi_square_p_value(model, spec, samples, context) > 1e-4


def test_the_cell_test_notices_another_distribution():
    spec = SAMPLED[1]
    samples = build(spec, scale=2.0).sample(20_000, torch.Generator().manual_seed(0))
    other = build(Spec(**{**vars(spec), "seed": 99}), scale=2.0)
    assert chi_square_p_value(other, spec, samples, None) < 1e-12


@pytest.mark.parametrize("mixture", ["gaussian", "logistic", "laplace"])
@pytest.mark.parametrize("family", ["nade", "made"])
def test_sampled_continuous_values_follow_the_density(family, mixture):
    """Each value's distribution function given the earlier ones is uniform."""
    kinds = ("continuous", "binary", "continuous")
    spec = Spec(family, kinds, (None, 2, None), n_components=3, mixture=mixture, n_context=1, seed=11)
    model = build(spec, scale=2.0)
    n = 5000
    context = random_context(spec, n)
    samples = model.sample(n, torch.Generator().manual_seed(1), context)
    with torch.no_grad():
        outputs = model.conditioner(samples, 0, context)
    starts = model.conditionals.starts
    for d in (0, 2):
        params = outputs[:, None, starts[d] : starts[d + 1]]
        below = model.conditionals.of_variable(d).cdf(samples[:, d, None], params).squeeze(1)
        assert stats.kstest(below.numpy(), "uniform").pvalue > 1e-4


def test_one_dimensional_ensemble_follows_its_density():
    spec = Spec("nade", ("continuous",), (None,), n_orderings=2, n_components=3, seed=12)
    model = build(spec, scale=2.0)
    samples = model.sample(5000, torch.Generator().manual_seed(1)).squeeze(1)
    grid = torch.linspace(-60, 60, 240_001, dtype=torch.float64)
    with torch.no_grad():
        density = model.log_prob(grid[:, None]).exp()
    cumulative = torch.cumulative_trapezoid(density, grid).numpy()
    assert cumulative[-1] == pytest.approx(1, abs=1e-4)
    result = stats.kstest(samples.numpy(), lambda x: np.interp(x, grid[1:].numpy(), cumulative))
    assert result.pvalue > 1e-4


# ---------------------------------------------------------------- numbers, dtypes, state


@given(specs(max_variables=4))
@settings(max_examples=30)
def test_log_prob_is_the_log_mean_probability_of_the_members(spec):
    model = build(spec, scale=0.5)
    x, context = random_rows(spec, 4), random_context(spec, 4)
    with torch.no_grad():
        members = [
            sum(model.log_conditionals(x, k, context)[:, d] for d in range(spec.n_variables)).exp()
            for k in range(model.n_members)
        ]
        expected = torch.stack(members).mean(0).log()
        torch.testing.assert_close(model.log_prob(x, context), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("family", ["nade", "made"])
def test_log_prob_sums_in_double_precision(family):
    n_variables = 3000
    spec = Spec(family, ("binary",) * n_variables, (2,) * n_variables, hidden=(2,))
    model = build(spec, dtype=torch.float32, scale=1e-3)
    x = random_rows(spec, 2, dtype=torch.float32)
    with torch.no_grad():
        scores = model.log_prob(x)
        expected = model.log_conditionals(x).double().sum(1)
    assert scores.dtype == torch.float64
    torch.testing.assert_close(scores, expected, rtol=1e-14, atol=0)


@given(specs(max_variables=4))
@settings(max_examples=30)
def test_float32_agrees_with_float64(spec):
    exact, single = build(spec, scale=0.5), build(spec, scale=0.5).float()
    x, context = random_rows(spec, 8), random_context(spec, 8)
    with torch.no_grad():
        expected = exact.log_prob(x, context)
        got = single.log_prob(x.float(), None if context is None else context.float())
    torch.testing.assert_close(got, expected, rtol=2e-3, atol=2e-3)


@given(specs(max_variables=4), st.integers(0, 10**6))
@settings(max_examples=40)
def test_state_dict_brings_orders_and_masks_along(spec, other_seed):
    """A model built from another seed has other orders and masks, until the state is loaded."""
    model = build(spec)
    other = build(Spec(**{**vars(spec), "seed": other_seed}))
    other.load_state_dict(model.state_dict())
    x, context = random_rows(spec, 6), random_context(spec, 6)
    with torch.no_grad():
        assert torch.equal(other.log_prob(x, context), model.log_prob(x, context))
    seeds = [torch.Generator().manual_seed(5) for _ in range(2)]
    assert torch.equal(other.sample(6, seeds[0], context), model.sample(6, seeds[1], context))
    for k in range(model.n_members):
        assert torch.equal(other.conditioner.order(k), model.conditioner.order(k))


@pytest.mark.parametrize("spec", SAMPLED, ids=str)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_score_and_sample_alike(spec, copied):
    model = build(spec)
    model.sample(2, torch.Generator(), random_context(spec, 2))
    other = copied(model)
    x, context = random_rows(spec, 6), random_context(spec, 6)
    with torch.no_grad():
        assert torch.equal(other.log_prob(x, context), model.log_prob(x, context))
    seeds = [torch.Generator().manual_seed(5) for _ in range(2)]
    assert torch.equal(other.sample(6, seeds[0], context), model.sample(6, seeds[1], context))


def test_samples_repeat_under_the_same_generator_and_differ_under_another():
    model = build(SAMPLED[3])
    draws = [model.sample(50, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_every_member_is_drawn_equally_often():
    """Each of two members puts all mass on a row of its own: whoever comes first is 1, the other 0."""
    model = build(Spec("nade", ("binary",) * 2, (2,) * 2, hidden=(1,), n_orderings=2))
    conditioner = model.conditioner
    with torch.no_grad():
        conditioner.orders.copy_(torch.tensor([[0, 1], [1, 0]]))
        conditioner.weight.fill_(9.0)
        conditioner.bias.zero_()
        conditioner.output_bias.fill_(40.0)
        conditioner.output_weight.fill_(-80.0)
        expected = torch.tensor([math.log(0.5), math.log(0.5)], dtype=torch.float64)
        assert torch.allclose(model.log_prob(torch.eye(2, dtype=torch.float64)), expected)
    samples = model.sample(2000, torch.Generator().manual_seed(0))
    assert torch.equal(samples.sum(1), torch.ones(2000, dtype=torch.float64))
    assert stats.binomtest(int(samples[:, 0].sum()), 2000).pvalue > 1e-4


def test_masks_of_a_fixed_member_are_in_the_weights_and_stay_there():
    model = build(Spec(hidden=(5, 4), direct=True, kinds=("binary",) * 4, n_levels=(2,) * 4))
    conditioner = model.conditioner
    assert isinstance(conditioner, MADEConditioner)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    rows = random_rows(Spec(kinds=("binary",) * 4, n_levels=(2,) * 4), 20)
    for _ in range(5):
        optimizer.zero_grad()
        (-model.log_prob(rows).mean()).backward()
        optimizer.step()
    for (weight, _), mask in zip(conditioner.effective(0), conditioner.masks(0), strict=True):
        assert not weight[~mask].any()
        assert weight[mask].all()
