"""One test for each defect that was seen in other implementations, and proof that each test can fail.

Where it is cheap, the same check runs on a variant that was broken on purpose.
"""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from chainrule import MADE, NADE
from chainrule.conditioners import MADEConditioner
from chainrule.errors import QueryError
from chainrule.estimators.base import DensityEstimator
from chainrule.masks import dependencies, even_degrees, input_mask, output_mask
from chainrule.orders import rank_of
from strategies import Spec, all_rows, build, random_context, random_rows, randomize

NETWORKS = pytest.mark.parametrize("family", ["nade", "made"])
ESTIMATORS = pytest.mark.parametrize(
    "estimator", [NADE(8, max_epochs=2), MADE((8,), max_epochs=2)], ids=["NADE", "MADE"]
)


def bits(n=200, n_variables=4, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.random((n, n_variables)) < rng.random(n_variables)).astype(np.uint8)


# ---------------------------------------------------------------- 1


def moved_by_context(model, spec):
    """Return which variables' params the context moves, bool (D,), for the first member."""
    x, context = random_rows(spec, 4), random_context(spec, 4)
    jacobian = torch.autograd.functional.jacobian(lambda c: model.conditioner(x, 0, c).sum(0), context)
    outputs = (jacobian != 0).flatten(1).any(1)
    owner = model.conditionals.output_variable
    return torch.stack([outputs[owner == d].any() for d in range(spec.n_variables)])


@NETWORKS
def test_1_context_reaches_the_first_conditional(family):
    """Defect 1: no hidden unit has degree 0, so the first conditional ignores the context."""
    spec = Spec(family, hidden=(5,), n_context=2, natural=True)
    assert moved_by_context(build(spec), spec).all()


def test_1_notices_a_made_without_units_of_degree_zero():
    spec = Spec(hidden=(5,), n_context=2, natural=True)
    model = build(spec)
    model.conditioner.get_buffer("degrees_0").copy_(even_degrees(5, 3, lowest=1)[None])
    model.conditioner.fix_masks()
    model.conditioner.output_context = None
    assert moved_by_context(model, spec).tolist() == [False, True, True]


# ---------------------------------------------------------------- 2

ENSEMBLE = Spec(hidden=(6,), n_orderings=2, n_masks=4, drawn_degrees=True, seed=3)


@pytest.mark.parametrize("spec", [ENSEMBLE, Spec("nade", n_orderings=4)], ids=["made", "nade"])
def test_2_an_ensemble_averages_probabilities(spec):
    """Defect 2: averaged logits are no distribution; their sum over all rows is not 1."""
    model = build(spec, scale=3.0)
    with torch.no_grad():
        assert float(model.log_prob(all_rows(spec)).exp().sum()) == pytest.approx(1, abs=1e-12)


def test_2_notices_averaged_logits():
    """Two orders; under each, the first variable is 1 and the second is not."""
    spec = Spec("nade", ("binary",) * 2, (2,) * 2, hidden=(1,), n_orderings=2)
    model, rows = build(spec), all_rows(spec)
    conditioner = model.conditioner
    with torch.no_grad():
        conditioner.orders.copy_(torch.tensor([[0, 1], [1, 0]]))
        values = {"weight": 9.0, "bias": 0.0, "output_bias": 40.0, "output_weight": -80.0}
        for name, value in values.items():
            conditioner.get_parameter(name).fill_(value)
        assert float(model.log_prob(rows).exp().sum()) == pytest.approx(1, abs=1e-12)
        logits = torch.stack([conditioner(rows, k) for k in (0, 1)]).mean(0)
        broken = model.conditionals.log_prob(rows, logits).sum(1).exp().sum()
    assert float(broken) == pytest.approx(1.25, abs=1e-3)


# ---------------------------------------------------------------- 3


def test_3_the_loss_is_on_the_scale_of_logits():
    """Defect 3: a sigmoid's output in a loss that expects logits; no probability leaves [1/2, 0.73]."""
    spec = Spec("nade", natural=True)
    model, x = build(spec, scale=4.0), all_rows(Spec("nade"))
    with torch.no_grad():
        probability = model.conditioner(x).sigmoid()
        expected = torch.where(x == 1, probability, 1 - probability).log()
        torch.testing.assert_close(model.log_conditionals(x), expected)
        broken = -F.binary_cross_entropy_with_logits(probability, x, reduction="none")
    assert not torch.allclose(broken, expected, atol=0.1)


@ESTIMATORS
def test_3_a_certain_bit_becomes_nearly_certain(estimator):
    """Half the rows are 0000, half 1111: the best score is -log 2, the defect cannot pass 4 log 0.73."""
    X = np.repeat(np.array([[0], [1]] * 300), 4, axis=1)
    model = type(estimator)(16, max_epochs=60, learning_rate=0.02, random_state=0) if isinstance(
        estimator, NADE
    ) else MADE((16,), max_epochs=60, learning_rate=0.02, random_state=0)  # fmt: skip
    assert model.fit(X).score(X) > -np.log(2) - 0.1


# ---------------------------------------------------------------- 4


def forward_through_all_members(model, x):
    for _ in range(10):
        for k in range(model.n_members):
            model.log_prob_of_member(x, k)


def test_4_changing_masks_leave_the_weights_alone():
    """Defect 4: masks written into the weights while they change; 0.1 % survive ten forwards."""
    model = build(ENSEMBLE)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    forward_through_all_members(model, all_rows(ENSEMBLE))
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())


def test_4_notices_masks_that_are_written_in():
    model = build(ENSEMBLE)
    for k in range(model.n_members):
        for layer, mask in zip(model.conditioner.layers, model.conditioner.masks(k), strict=True):
            layer.weight.data.mul_(mask)
    assert float((model.conditioner.layers[0].weight != 0).double().mean()) < 0.5


def test_4_weights_of_changing_masks_all_start_away_from_zero():
    """Those that the first mask forbids belong to another one."""
    estimator = MADE((20,), n_masks=8, n_orderings=4, max_epochs=1, learning_rate=1e-12, random_state=0)
    conditioner = estimator.fit(bits(n_variables=6)).model_.conditioner
    for layer in conditioner.layers[:2]:
        assert layer.weight.all()


def test_4_weights_that_some_mask_allows_survive_training():
    X = bits(n_variables=6)
    estimator = MADE((20,), n_masks=8, n_orderings=4, max_epochs=3, batch_size=10, random_state=0)
    model = estimator.fit(X).model_
    layers, members = model.conditioner.layers, range(model.n_members)
    for number, layer in enumerate(layers):
        allowed = torch.stack([model.conditioner.masks(k)[number] for k in members]).any(0)
        assert layer.weight[allowed].all()


# ---------------------------------------------------------------- 5


@NETWORKS
@pytest.mark.parametrize("mixture", ["gaussian", "laplace"])
def test_5_the_sampler_has_the_scales_of_the_density(family, mixture):
    """Defect 5: a sampler that clips a scale, or conditions on a value before it was drawn."""
    spec = Spec(family, ("continuous",) * 3, (None,) * 3, n_components=1, mixture=mixture, seed=5)
    model = build(spec)
    starts = model.conditionals.starts
    bias = model.conditioner.output_bias if family == "nade" else model.conditioner.output.bias
    with torch.no_grad():
        for d, raw_scale in enumerate((-100.0, -4.0, 6.0)):
            bias[starts[d] + 1] = raw_scale
        rows = model.sample(4000, torch.Generator().manual_seed(0))
        outputs = model.conditioner(rows)
        for d in range(3):
            params = outputs[:, None, starts[d] : starts[d + 1]]
            family_of_d = model.conditionals.of_variable(d)
            below = family_of_d.cdf(rows[:, d, None], params).flatten().numpy()
            assert stats.kstest(below, "uniform").pvalue > 1e-4
            # A sampler that keeps its scale above 0.5 is found out where the density's scale is smaller.
            _, location, scale = (part[:, 0, 0] for part in family_of_d.components(params))
            clipped = location + scale.clamp(min=0.5) * (rows[:, d] - location) / scale
            below = family_of_d.cdf(clipped[:, None], params).flatten().numpy()
            if float(scale.max()) < 0.4:
                assert stats.kstest(below, "uniform").pvalue < 1e-6


# ---------------------------------------------------------------- 6

CYCLE = [1, 2, 0]  # variable 1 first, then 2, then 0; its inverse is another permutation


def made_dependencies(rank):
    degrees = even_degrees(4, 3)
    return (output_mask(degrees, rank).float() @ input_mask(rank, degrees).float() > 0).int().tolist()


EXPECTED = [[0, 1, 1], [0, 0, 0], [0, 1, 0]]  # row: the predicted variable


@NETWORKS
def test_6_order_and_rank_are_not_confused(family):
    """Defect 6: order and rank confused; right for the natural order and for swaps, not for a cycle."""
    spec = Spec(family, hidden=(4,), kinds=("continuous",) * 3, n_levels=(None,) * 3)
    model = build(spec)
    model.conditioner.orders.copy_(torch.tensor([CYCLE]))
    randomize(model, torch.Generator().manual_seed(0))
    x = random_rows(spec, 4)
    jacobian = torch.autograd.functional.jacobian(lambda x: model.conditioner(x).sum(0), x)
    reached = (jacobian != 0).any(1).view(3, -1, 3).any(1)
    assert reached.int().tolist() == EXPECTED


def test_6_notices_masks_made_from_the_order():
    assert made_dependencies(rank_of(torch.tensor(CYCLE))) == EXPECTED
    assert made_dependencies(torch.tensor(CYCLE)) != EXPECTED


# ---------------------------------------------------------------- 7


def plain_tensors(module):
    """Return names of tensors that are neither parameters nor buffers, which `.to` would leave behind."""
    return [
        f"{name}.{key}"
        for name, part in module.named_modules()
        for key, value in vars(part).items()
        if isinstance(value, torch.Tensor)
        or (isinstance(value, list | tuple) and any(isinstance(item, torch.Tensor) for item in value))
    ]


@NETWORKS
def test_7_masks_move_and_are_saved_with_the_model(family):
    """Defect 7: masks that are no buffers are lost by `.to()` and `state_dict`."""
    spec = Spec(family, hidden=(4,), n_orderings=3, n_masks=3, drawn_degrees=True, direct=True, seed=1)
    model = build(spec)
    other = build(Spec(**{**vars(spec), "seed": 2}))
    rows = all_rows(spec)
    with torch.no_grad():
        assert not torch.allclose(other.log_prob(rows), model.log_prob(rows))
        other.load_state_dict(model.state_dict())
        assert torch.equal(other.log_prob(rows), model.log_prob(rows))
        single = model.float().log_prob(rows.float())
    torch.testing.assert_close(single, other.log_prob(rows).detach(), rtol=1e-4, atol=1e-4)
    assert plain_tensors(model) == []
    model.to("meta")
    assert {t.device.type for t in [*model.parameters(), *model.buffers()]} == {"meta"}


def test_7_notices_a_mask_that_is_no_buffer():
    layer = torch.nn.Linear(2, 2)
    layer.mask = torch.ones(2, 2)
    assert plain_tensors(layer) == [".mask"]


def test_7_a_single_order_comes_with_its_masks():
    """One fixed mask is written into the weights; loading another order's state must change it."""
    spec = Spec(hidden=(4,), direct=True, kinds=("binary",) * 5, n_levels=(2,) * 5, seed=1)
    model, other = build(spec), build(Spec(**{**vars(spec), "seed": 2}))
    other.load_state_dict(model.state_dict())
    for layer, expected in zip(other.conditioner.layers, model.conditioner.layers, strict=True):
        assert torch.equal(layer.prefix, expected.prefix)
    x = random_rows(spec, 5)
    assert torch.equal(other.log_prob(x), model.log_prob(x))


# ---------------------------------------------------------------- 8


@NETWORKS
def test_8_samples_are_ancestral(family):
    """Defect 8: "samples" that are one pass over a given row. Here each variable copies the one before."""
    spec = Spec(family, ("binary",) * 4, (2,) * 4, hidden=(8,), natural=True)
    estimator = (NADE(16) if family == "nade" else MADE((16,), dropout=0.0)).set_params(
        max_epochs=60, learning_rate=0.02, random_state=0
    )
    X = np.repeat(np.array([[0], [1]] * 300), 4, axis=1)
    model = estimator.fit(X)
    samples = model.sample(400, random_state=1)
    copies = (samples == samples[:, :1]).all(1).mean()
    assert copies > 0.9
    assert 0.35 < samples[:, 0].mean() < 0.65
    # One pass over rows of coin flips, drawn from all at once, copies nothing.
    flips = torch.randint(2, (400, spec.n_variables), generator=torch.Generator().manual_seed(0)).float()
    with torch.no_grad():
        one_pass = torch.bernoulli(
            model.model_.conditioner(flips).sigmoid(), generator=torch.Generator().manual_seed(1)
        )
    assert float((one_pass == one_pass[:, :1]).all(1).double().mean()) < 0.5


def test_8_the_sampler_takes_no_rows():
    assert "X" not in inspect.signature(DensityEstimator.sample).parameters


# ---------------------------------------------------------------- 9


@ESTIMATORS
@pytest.mark.parametrize("kind", ["binary", "categorical", "ordinal", "continuous"])
def test_9_a_single_variable_works(estimator, kind):
    """Defect 9: crashes at D = 1."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 1)) if kind == "continuous" else rng.integers(0, 2, (60, 1))
    model = estimator.set_params(kinds=kind, random_state=0).fit(X)
    assert np.isfinite(model.score_samples(X)).all()
    assert model.sample(5, random_state=0).shape == (5, 1)


@NETWORKS
def test_9_narrow_layers_keep_every_dependency(family):
    """Defect 9: layers narrower than D lose dependencies silently."""
    n_variables = 7
    spec = Spec(family, ("continuous",) * n_variables, (None,) * n_variables, hidden=(2, 1), direct=True)
    model = build(spec)
    x = random_rows(spec, 3)
    jacobian = torch.autograd.functional.jacobian(lambda x: model.conditioner(x).sum(0), x)
    reached = (jacobian != 0).any(1).view(n_variables, -1, n_variables).any(1)
    rank = rank_of(model.conditioner.order(0))
    assert torch.equal(reached, rank[:, None] > rank[None, :])


def test_9_dependencies_without_a_path_are_reported():
    X = bits(n_variables=5)
    with pytest.warns(UserWarning, match="of the 10 dependencies between variables have no path") as caught:
        model = MADE((2,), direct_connections=False, max_epochs=1, random_state=0).fit(X)
    conditioner = model.model_.conditioner
    assert isinstance(conditioner, MADEConditioner)
    kept = int(dependencies(rank_of(conditioner.order(0)), conditioner.degrees_of(0), direct=False).sum())
    assert str(caught[0].message).startswith(f"{10 - kept} of the 10")


# ---------------------------------------------------------------- 10


@NETWORKS
def test_10_a_value_cannot_be_clamped_out_of_order(family):
    """Defect 10: clamping values that do not come first in the order: wrong, and silent."""
    conditioner = build(Spec(family, natural=True)).conditioner
    state = conditioner.init_state(1)
    for not_yet in (1, 2):
        with pytest.raises(ValueError, match="not the next one"):
            state.next_params(not_yet)


@ESTIMATORS
def test_10_a_query_that_is_not_answered_is_refused(estimator):
    model = estimator.set_params(kinds=None, random_state=0).fit(bits())
    with pytest.raises(QueryError, match="'x1' comes before 'x3'"):
        model.sample(3, given={2: 1})


# ---------------------------------------------------------------- 11


@ESTIMATORS
@pytest.mark.parametrize("with_context", [False, True])
def test_11_global_random_state_stays_untouched(estimator, with_context, tmp_path):
    """Defect 11: global random state reseeded, or used up, by fitting, scoring, sampling or loading."""
    X = bits()
    context = np.random.default_rng(1).normal(size=(len(X), 2)) if with_context else None
    if isinstance(estimator, MADE):
        estimator.set_params(dropout=0.3, n_masks=2, n_orderings=2)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    model = estimator.set_params(kinds=None, random_state=None).fit(X, context=context)
    model.score(X, context=context)
    model.sample(len(X), context=context)
    model.sample(len(X), context=context, random_state=3)
    model.save(tmp_path / "model")
    type(model).restore(*_read(tmp_path / "model"))
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


def _read(folder):
    from chainrule.storage import read_folder

    return read_folder(folder)


@NETWORKS
@pytest.mark.parametrize("n_members", [1, 3])
def test_11_scoring_makes_no_tensors_on_the_cpu(family, n_members):
    """Defect 11: CPU tensors made on the fly. On the meta device, mixing devices is an error too."""
    spec = Spec(
        family,
        ("binary", "categorical", "ordinal", "continuous"),
        (2, 3, 4, None),
        hidden=(4, 4),
        residual=True,
        direct=True,
        n_context=1,
        n_orderings=n_members,
    )
    model = build(spec).to("meta").train()
    x, context = random_rows(spec, 2).to("meta"), random_context(spec, 2).to("meta")
    scores = model.log_prob(x, context)
    assert scores.device.type == "meta"
    with pytest.raises(RuntimeError):
        model.log_prob(x, context.to("cpu"))
        model.log_prob(x.to("cpu"), context)


@ESTIMATORS
@pytest.mark.parametrize("training", [False, True])
def test_11_no_call_flips_the_mode(estimator, training):
    """Defect 11: scoring or sampling switches between training and evaluation mode."""
    model = estimator.set_params(kinds=None, random_state=0).fit(bits())
    assert not model.model_.training
    model.model_.train(training)
    model.score(bits())
    model.sample(3)
    assert {part.training for part in model.model_.modules()} == {training}
