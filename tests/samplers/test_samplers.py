"""The choice of a sampler, and what is left where there is no compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from chainrule import inference
from chainrule.conditionals import Conditionals, MixtureOfGaussians
from chainrule.model import AutoregressiveModel
from chainrule.samplers import choice, draw_rows, sequential
from strategies import NETWORKS, Spec, build, random_rows

HERE = Path(__file__).parent
MIXED = {
    "kinds": ("binary", "categorical", "ordinal", "continuous"),
    "n_levels": (2, 3, 5, None),
    "hidden": (4, 4),
    "n_orderings": 2,
}


class Shifted(MixtureOfGaussians):
    """Gaussians whose draws all lie on one side: a family that inherits and samples in its own way."""

    name = "shifted"

    def sample(self, params, uniforms):
        """Return draws that no compiled sampler would make."""
        return super().sample(params, uniforms).abs() + 100


def uniforms_for(model, n, seed=0):
    return model.uniforms(n, torch.Generator().manual_seed(seed))


def refuse(*arguments):
    raise AssertionError("this sampler does not know the model")


@pytest.mark.parametrize("network", NETWORKS)
def test_a_family_that_names_no_compiled_one_is_drawn_by_the_reference(network, monkeypatch):
    """Not even where its class derives from one that does."""
    assert MixtureOfGaussians.compiled_family == "mixture"
    assert Shifted.compiled_family is None
    model = build(Spec(network=network, kinds=("continuous",) * 3, n_levels=(None,) * 3))
    model = AutoregressiveModel(model.conditioner, Conditionals([Shifted(2)] * 3))
    monkeypatch.setattr("chainrule.samplers.cpu.sample", refuse)
    assert (model.sample(20, torch.Generator().manual_seed(0)) >= 100).all()
    assert (inference.sample_conditional(
        model, torch.zeros(5, 3).double(), torch.zeros(5, 3, dtype=torch.bool),
        model.conditioner.order(0) if model.conditioner.is_any_order else 0, uniforms_for(model, 5),
    ) >= 100).all()  # fmt: skip


@pytest.mark.parametrize("network", ["nade", "made"])
def test_a_compiled_sampler_is_taken_where_there_is_one(network, monkeypatch):
    model = build(Spec(network=network, **MIXED))
    expected = draw_rows(model.conditioner, model.conditionals, 1, uniforms_for(model, 9))
    monkeypatch.setattr(sequential, "sample", refuse)
    got = draw_rows(model.conditioner, model.conditionals, 1, uniforms_for(model, 9))
    assert torch.equal(got, expected)


def test_rows_that_observe_other_variables_are_drawn_by_the_reference(monkeypatch):
    model = build(Spec(network="columns", **MIXED))
    x, order = random_rows(Spec(**MIXED), 6), torch.tensor([2, 0, 3, 1])
    observed = torch.zeros(6, 4, dtype=torch.bool)
    observed[::2, 1] = True
    monkeypatch.setattr("chainrule.samplers.cpu.sample", refuse)
    drawn = inference.sample_conditional(model, x, observed, order, uniforms_for(model, 6))
    assert torch.equal(drawn[observed], x[observed])


def test_only_networks_of_any_order_take_an_order():
    model = build(Spec(network="nade", **MIXED))
    uniforms = uniforms_for(model, 2)
    with pytest.raises(TypeError, match="NADEConditioner serves fixed orders only"):
        sequential.sample(model.conditioner, model.conditionals, torch.arange(4), uniforms)


def test_a_query_that_a_fixed_order_cannot_answer_names_the_two_variables():
    """Observed variables must lead the order, and so must they with those of the query."""
    model = build(Spec(network="nade", natural=True, **MIXED))
    x, nothing = random_rows(Spec(**MIXED), 2), torch.zeros(2, 4, dtype=torch.bool)
    late = nothing.clone()
    late[1, 2] = True
    for call in (
        lambda: inference.log_prob(model, x, late, nothing, 0),
        lambda: inference.log_prob(model, x, nothing, late, 0),
        lambda: inference.conditional_params(model, x, nothing, late, 0),
        lambda: inference.sample_conditional(model, x, late, 0, uniforms_for(model, 2)),
    ):
        with pytest.raises(inference.LateVariableError) as caught:
            call()
        assert (caught.value.late, caught.value.missing) == (2, 0)


def test_the_choice_asks_for_the_features_too():
    """Point masses have features of their own, which compiled samplers do not know."""
    model = build(Spec(kinds=("continuous",), n_levels=(None,), point_masses=((0.5,),)))
    assert not choice._is_compiled(model.conditioner, model.conditionals)


# ---------------------------------------------------------------- without a compiler


def scores_and_draws(network):
    """Return log-probabilities, a gradient, and rows drawn freely and given a variable."""
    spec = Spec(network=network, **MIXED)
    model, x = build(spec), random_rows(spec, 5)
    log_prob = model.log_prob(x)
    log_prob.sum().backward()
    gradient = next(model.conditioner.parameters()).grad
    observed = torch.zeros(5, 4, dtype=torch.bool)
    order = model.conditioner.order(0) if model.conditioner.is_any_order else 0
    observed[:, model.conditioner.order(0)[0]] = True
    given = inference.sample_conditional(model, x, observed, order, uniforms_for(model, 5))
    return [log_prob.detach(), gradient, model.sample(5, torch.Generator().manual_seed(0)), given]


def test_models_score_train_and_sample_without_numba(tmp_path):
    program = (
        "import sys; sys.modules['numba'] = sys.modules['llvmlite'] = None\n"
        "import torch; from strategies import NETWORKS; from test_samplers import scores_and_draws\n"
        "torch.save([scores_and_draws(network) for network in NETWORKS], sys.argv[1])"
    )
    path = os.pathsep.join(
        [str(HERE.parents[1] / "src"), str(HERE.parent), str(HERE), os.environ.get("PYTHONPATH", "")]
    )
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "results.pt")],
        env={**os.environ, "PYTHONPATH": path},
        check=True,
    )
    without = torch.load(tmp_path / "results.pt")
    for network, results in zip(NETWORKS, without, strict=True):
        for got, expected in zip(results, scores_and_draws(network), strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-7, atol=1e-9)
