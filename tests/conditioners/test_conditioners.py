"""Encodings, and what NADE and MADE promise beyond the model's invariants."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.conditionals import Conditionals
from chainrule.conditioners import Conditioner, MADEConditioner, NADEConditioner
from chainrule.kernels.activations import ACTIVATIONS
from chainrule.orders import natural_order
from strategies import Spec, build, degrees_of, encoding_of, families, random_context, random_rows, specs

pytestmark = pytest.mark.arithmetic


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------- encodings


def test_each_kind_has_its_features():
    kinds, n_levels = ("binary", "categorical", "ordinal", "continuous"), (2, 3, 5, None)
    x = torch.tensor([[1.0, 2.0, 4.0, 0.7], [0.0, 0.0, 1.0, -3.0]])
    onehot = [[1, 0, 0, 1, 1, 0.7], [0, 1, 0, 0, -0.5, -3]]
    scaled = [[1, 1, 1, 0.7], [0, -1, -0.5, -3]]
    expected = {"onehot": onehot, "scaled": scaled, "raw": x.tolist()}
    for encoding, features in expected.items():
        torch.testing.assert_close(
            encoding_of(families(kinds, n_levels), encoding)(x), torch.tensor(features)
        )


@given(specs(max_variables=6, max_levels=5))
def test_features_of_one_variable_are_its_columns(spec):
    encoding = encoding_of(families(spec.kinds, spec.n_levels), spec.encoding).double()
    x = random_rows(spec, 4)
    features = encoding(x)
    for d in range(spec.n_variables):
        columns = features[:, encoding.starts[d] : encoding.starts[d + 1]]
        torch.testing.assert_close(encoding.of_variable(d, x[:, d]), columns)
        assert (encoding.feature_variable[encoding.starts[d] : encoding.starts[d + 1]] == d).all()


@given(specs(max_variables=6, max_levels=5))
def test_rows_and_values_are_the_sparse_form_of_the_features(spec):
    encoding = encoding_of(families(spec.kinds, spec.n_levels), spec.encoding).double()
    x = random_rows(spec, 4)
    row, value = encoding.rows_and_values(x)
    dense = torch.zeros(4, encoding.n_features, dtype=torch.float64).scatter_(1, row, value)
    torch.testing.assert_close(encoding(x), dense)


# ---------------------------------------------------------------- NADE


def test_nade_has_the_parameters_of_the_paper():
    """2DH + H + D for binary data."""
    n_variables, hidden = 7, 5
    spec = Spec("nade", ("binary",) * n_variables, (2,) * n_variables, hidden=(hidden,))
    assert build(spec).conditioner.n_free_parameters() == 2 * n_variables * hidden + hidden + n_variables


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_nade_is_the_formula_of_the_paper(activation):
    """h_d = act(b + W[:, <d] x_<d), logit_d = c_d + V_d h_d, in loops, for a random order."""
    spec = Spec("nade", ("binary",) * 5, (2,) * 5, activation=activation, seed=2)
    model = build(spec)
    net, x = model.conditioner, random_rows(spec, 3)
    order = net.order(0).tolist()
    with torch.no_grad():
        outputs = net(x)
        for r, d in enumerate(order):
            z = net.bias + x[:, order[:r]] @ net.weight[order[:r]]
            h = ACTIVATIONS[activation](z)
            torch.testing.assert_close(outputs[:, d], h @ net.output_weight[d] + net.output_bias[d])


# ---------------------------------------------------------------- MADE


@given(specs(networks=["made"], max_variables=5))
@settings(max_examples=40)
def test_made_is_a_masked_network(spec):
    """A plain network with masks multiplied in, residual sums and context, layer by layer."""
    model = build(spec)
    net = model.conditioner
    assert isinstance(net, MADEConditioner)
    x, context = random_rows(spec, 3), random_context(spec, 3)
    act = ACTIVATIONS[spec.activation]
    with torch.no_grad():
        for k in range(net.n_members):
            # Masked once more: whatever a mask forbids must not matter.
            weights = [w * mask for (w, _), mask in zip(net.effective(k), net.masks(k), strict=True)]
            biases = [bias for _, bias in net.effective(k)]
            features = h = net.encoding(x)
            z = None
            for number in range(len(spec.hidden)):
                new = h @ weights[number].T + biases[number]
                if number == 0 and context is not None:
                    new = new + context @ net.first_context.weight.T
                if spec.residual and number:
                    new = new + z
                z, h = new, act(new)
            outputs = h @ weights[len(spec.hidden)].T + biases[len(spec.hidden)]
            if spec.direct:
                outputs = outputs + features @ weights[-1].T
            if context is not None:
                outputs = outputs + context @ net.output_context.weight.T
            torch.testing.assert_close(net(x, k, context), outputs)


@given(specs(networks=["made"], max_variables=5, max_members=1))
@settings(max_examples=30)
def test_free_parameters_are_those_that_move_the_outputs(spec):
    """Counted by their gradients; units that see nothing but constants still count."""
    model = build(spec)
    net = model.conditioner
    x, context = random_rows(spec, 8), random_context(spec, 8)
    outputs = net(x, 0, context)
    total = (outputs * torch.randn(outputs.shape, generator=generator(), dtype=outputs.dtype)).sum()
    gradients = torch.autograd.grad(total, list(net.parameters()))
    moved = sum(int((gradient != 0).sum()) for gradient in gradients)
    assert moved <= net.n_free_parameters()
    allowed = sum(int(mask.sum()) for mask in net.masks(0))
    others = sum(p.numel() for name, p in net.named_parameters() if not name.endswith("packed"))
    assert net.n_free_parameters() == allowed + others


@given(st.integers(1, 6), st.integers(1, 6), st.booleans(), st.integers(0, 99))
def test_members_pair_orders_with_masks(n_orderings, n_masks, drawn, seed):
    spec = Spec(n_orderings=n_orderings, n_masks=n_masks, drawn_degrees=drawn, seed=seed)
    net = build(spec).conditioner
    assert net.n_members == max(n_orderings, n_masks)
    for k in range(net.n_members):
        assert torch.equal(net.order(k), net.orders[k % n_orderings])
        assert torch.equal(net.degrees_of(k)[0], net.get_buffer("degrees_0")[k % n_masks])


def test_initial_outputs_are_the_given_bias_before_training():
    """Training starts near the margins: the spread around the bias is small."""
    spec = Spec(kinds=("binary",) * 30, n_levels=(2,) * 30, hidden=(50, 50))
    row = families(spec.kinds, spec.n_levels)
    conditionals, encoding = Conditionals(row), encoding_of(row)
    orders = natural_order(30)[None]
    common = {"activation": "relu", "generator": generator()}
    nets: list[Conditioner] = [
        NADEConditioner(encoding, conditionals.starts, orders, 50, **common),
        MADEConditioner(encoding, conditionals.starts, orders, degrees_of(spec, generator()), **common),
    ]
    bias = torch.linspace(-3, 3, 30)
    x = random_rows(spec, 200, dtype=torch.float32)
    for net in nets:
        net.set_output_bias(bias)
        with torch.no_grad():
            assert float((net(x) - bias).std()) < 0.3


def test_hidden_units_start_with_the_spread_that_their_layer_needs():
    """Each unit's weights are scaled by its own number of inputs, not by the layer's width."""
    spec = Spec(kinds=("continuous",) * 200, n_levels=(None,) * 200, hidden=(400,))
    row = families(spec.kinds, spec.n_levels, 1)
    conditionals, encoding = Conditionals(row), encoding_of(row)
    net = MADEConditioner(
        encoding,
        conditionals.starts,
        natural_order(200)[None],
        degrees_of(spec, generator()),
        activation="tanh",
        generator=generator(),
    )
    x = random_rows(spec, 500, dtype=torch.float32)
    with torch.no_grad():
        spread = net.hidden[0](x).std(0)
    assert spread[:50].mean() == pytest.approx(1, abs=0.15)
    assert spread[-50:].mean() == pytest.approx(1, abs=0.15)


def test_dropout_acts_in_training_only_and_keeps_the_order():
    spec = Spec(hidden=(30, 30), kinds=("continuous",) * 4, n_levels=(None,) * 4, natural=True)
    model = build(spec, dropout=0.5)
    x = random_rows(spec, 2)
    with torch.no_grad():
        assert torch.equal(model.conditioner(x), model.conditioner(x))
        model.train()
        model.conditioner.generator = generator()
        noisy = [model.conditioner(x) for _ in range(2)]
        assert not torch.equal(*noisy)
    jacobian = torch.autograd.functional.jacobian(lambda x: model.conditioner(x).sum(0), x)
    reached = (jacobian != 0).any(1).view(4, -1, 4).any(1)
    assert not reached.triu().any()


@pytest.mark.parametrize("dropout", [-0.1, 1.0, 1.5])
def test_a_wrong_share_of_dropout_is_refused(dropout):
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\)"):
        build(Spec(), dropout=dropout)


def test_wrong_choices_are_named():
    with pytest.raises(ValueError, match="activation must be one of sigmoid, tanh, .* got 'swish'"):
        build(Spec(activation="swish"))
    with pytest.raises(ValueError, match=r"residual layers need equal hidden_sizes, got \(3, 4\)"):
        build(Spec(hidden=(3, 4), residual=True))


# ---------------------------------------------------------------- the sequential pass


@pytest.mark.parametrize("residual", [False, True])
def test_each_hidden_unit_is_evaluated_once_in_a_sequential_pass(residual, monkeypatch):
    """The work of a sample is that of about one forward pass."""
    spec = Spec(kinds=("binary",) * 6, n_levels=(2,) * 6, hidden=(7, 7), residual=residual, natural=True)
    net = build(spec).conditioner
    evaluated = []
    monkeypatch.setattr(net, "activate", lambda z: evaluated.append(z.shape[1]) or torch.tanh(z))
    state = net.init_state(3)
    for d in range(6):
        state.next_params(d)
        state.update(d, torch.ones(3, dtype=torch.float64))
    assert sum(evaluated) == 14


@pytest.mark.parametrize("family", ["nade", "made"])
def test_a_sequential_pass_ends_with_the_last_variable(family):
    net = build(Spec(family, natural=True)).conditioner
    state = net.init_state(1)
    for d in range(3):
        state.next_params(d)
        state.update(d, torch.zeros(1, dtype=torch.float64))
    with pytest.raises(ValueError, match="not the next one"):
        state.next_params(0)


@pytest.mark.parametrize("family", ["nade", "made"])
def test_two_sequential_passes_do_not_disturb_each_other(family):
    spec = Spec(family, natural=True, hidden=(5,), n_orderings=2)
    net = build(spec).conditioner
    x = random_rows(spec, 2)
    alone = net.init_state(2, 0)
    expected = []
    for d in net.order(0).tolist():
        expected.append(alone.next_params(d))
        alone.update(d, x[:, d])
    first, second = net.init_state(2, 0), net.init_state(2, 1)
    for r, (d, e) in enumerate(zip(net.order(0).tolist(), net.order(1).tolist(), strict=True)):
        assert torch.equal(first.next_params(d), expected[r])
        second.next_params(e)
        second.update(e, 1 - x[:, e])
        first.update(d, x[:, d])
