"""Triton kernels against their references: on a GPU where there is one, else in Triton's interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_kernels import nade_arguments, results

from chainrule.kernels import backends
from chainrule.kernels.activations import ACTIVATIONS
from chainrule.kernels.nade import is_compiled, nade_outputs, nade_outputs_reference
from chainrule.kernels.plans import VECTOR_ACTIVATIONS
from chainrule.samplers import sequential
from strategies import KINDS, Spec, build, random_context, specs

if find_spec("triton") is None:
    pytest.skip("Triton is not installed: no GPU kernel can run", allow_module_level=True)

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
needs_gpu = pytest.mark.skipif(DEVICE.type == "cpu", reason="no CUDA device: kernels run interpreted")
HERE = Path(__file__).parent


def interpret(patch: pytest.MonkeyPatch) -> None:
    """Let Triton run on the CPU; it asks while it is imported and at each call."""
    if DEVICE.type == "cpu":
        patch.setenv("TRITON_INTERPRET", "1")


with pytest.MonkeyPatch.context() as environment:
    interpret(environment)
    from chainrule.kernels import nade_triton, sampling_triton
    from chainrule.samplers import gpu


@pytest.fixture(scope="module", autouse=True)
def interpreted():
    with pytest.MonkeyPatch.context() as patch:
        interpret(patch)
        yield


def triton_nade(*arguments):
    """Return the outputs of the GPU kernel, back on the CPU."""
    *tensors, activation = arguments
    return nade_triton.TritonNADE.apply(*(a.to(DEVICE) for a in tensors), activation).cpu()


def assert_equals_reference(arguments, activation, tolerance):
    got = results(triton_nade, arguments, activation)
    expected = results(nade_outputs_reference, arguments, ACTIVATIONS[activation])
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


# ---------------------------------------------------------------- NADE, likelihood and gradients

SHAPES = {
    "n": st.integers(1, 9),
    "width": st.sampled_from([1, 3, 64, 65, 130]),
    "n_params": st.integers(1, 3),
    # More than 16 variables, so that segments between saved states are longer than one position.
    "levels": st.one_of(
        st.lists(st.sampled_from([1, 1, 2, 4]), min_size=1, max_size=4),
        st.lists(st.sampled_from([1, 1, 2, 4]), min_size=17, max_size=20),
    ),
    "seed": st.integers(0, 10**6),
}


@pytest.mark.parametrize("activation", sorted(VECTOR_ACTIVATIONS))
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-4)])
@given(st.data())
@settings(max_examples=6)
def test_nade_equals_its_reference(activation, dtype, tolerance, data):
    arguments = nade_arguments(*(data.draw(strategy) for strategy in SHAPES.values()), dtype)
    assert_equals_reference(arguments, activation, tolerance)


@pytest.mark.parametrize("n_programs", [1, 2, 3])
def test_programs_share_the_hidden_units_and_change_nothing(n_programs, monkeypatch):
    """One program passes over several blocks of units where rows are many."""
    monkeypatch.setattr(nade_triton, "_N_PROGRAMS", n_programs)
    arguments = nade_arguments(5, 200, 2, [1, 2, 3], seed=5)
    assert_equals_reference(arguments, "tanh", 1e-9)


@pytest.mark.parametrize("activation", sorted(VECTOR_ACTIVATIONS))
@pytest.mark.parametrize("levels", [[1], [2, 1, 3]])
def test_gradients_of_nade(activation, levels):
    row, value, order, *learned = nade_arguments(2, 3, 2, levels, seed=4)
    learned = [a.requires_grad_() for a in learned]
    # Atomic sums may come out in another order each time.
    assert torch.autograd.gradcheck(
        lambda w, a, v: triton_nade(row, value, order, w, a, v, activation), learned, nondet_tol=1e-9
    )


def test_rounding_does_not_drift_over_many_positions():
    arguments = nade_arguments(4, 16, 1, [1] * 400, seed=6, dtype=torch.float32)
    got = results(triton_nade, arguments, "sigmoid")
    exact = [a.double() if a.is_floating_point() else a for a in arguments]
    expected = results(nade_outputs_reference, exact, torch.sigmoid)
    for a, b in zip(got, expected, strict=True):
        assert (a.double() - b).abs().max() / b.abs().max() < 1e-5


@pytest.mark.parametrize("activation", sorted(VECTOR_ACTIVATIONS))
def test_single_precision_activations_are_accurate_and_bounded_everywhere(activation):
    z = torch.linspace(-40, 40, 401)[:, None]
    nothing = (torch.zeros(401, 1, dtype=torch.long), torch.zeros(401, 1), torch.zeros(1, dtype=torch.long))
    got = triton_nade(*nothing, torch.zeros(1, 1), z, torch.ones(1, 1, 1), activation).flatten()
    expected = ACTIVATIONS[activation](z.double()).flatten()
    assert float((got.double() - expected).abs().max()) < 1e-6


@pytest.mark.parametrize("activation", sorted(VECTOR_ACTIVATIONS))
def test_not_a_number_is_not_hidden(activation):
    arguments = nade_arguments(2, 3, 1, [1, 1], seed=7)
    arguments[4][0] = torch.nan
    outputs = triton_nade(*arguments, activation)
    assert outputs[0].isnan().all()
    assert not outputs[1].isnan().any()


def test_nothing_sees_the_last_variable():
    row, value, order, *learned = nade_arguments(3, 5, 2, [1, 1, 1], seed=8)
    value[:, order[-1]] = torch.nan
    assert all(a.isfinite().all() for a in results(triton_nade, (row, value, order, *learned), "tanh"))


def test_backward_twice_gives_the_same_gradients():
    arguments = nade_arguments(3, 5, 2, [1, 2, 1], seed=8)
    learned = [a.clone().requires_grad_() for a in arguments[3:]]
    total = triton_nade(*arguments[:3], *learned, "tanh").sum()
    first = torch.autograd.grad(total, learned, retain_graph=True)
    for a, b in zip(first, torch.autograd.grad(total, learned), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


# ---------------------------------------------------------------- sampling


@torch.no_grad()
def assert_samples_equal_the_reference(model, n, context, uniforms=None):
    """Draw by the GPU kernel and step by step from the same uniforms."""
    if uniforms is None:
        shape = (n, model.conditionals.n_variables, model.conditionals.n_uniforms)
        uniforms = torch.rand(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    row = range(model.conditionals.n_variables)
    discrete = [model.conditionals.of_variable(d).compiled_family != "mixture" for d in row]
    for member in range(model.n_members):
        expected = sequential.sample(model.cpu().conditioner, model.conditionals, member, uniforms, context)
        there = None if context is None else context.to(DEVICE)
        rows = gpu.sample(
            model.to(DEVICE).conditioner, model.conditionals, member, uniforms.to(DEVICE), there
        ).cpu()
        assert torch.equal(rows[:, discrete], expected[:, discrete])
        torch.testing.assert_close(rows, expected, rtol=1e-7, atol=1e-9)


@given(
    specs(
        KINDS,
        max_variables=5,
        max_levels=4,
        activations=tuple(ACTIVATIONS),
        max_members=2,
        networks=("nade", "made"),
        point_masses=[()],
        mixtures=("gaussian", "logistic", "laplace"),
    )
)
@settings(max_examples=30)
def test_samples_equal_sequential_ones_under_shared_uniforms(spec):
    assert_samples_equal_the_reference(build(spec), 3, random_context(spec, 3))


MIXED = {"kinds": (*KINDS, "binary"), "n_levels": (2, 3, 5, None, 2), "n_context": 1}


@pytest.mark.filterwarnings("ignore:overflow encountered in exp")
@pytest.mark.parametrize("mixture", ["gaussian", "logistic", "laplace"])
@pytest.mark.parametrize("family", ["nade", "made"])
def test_scales_of_any_size_are_those_of_the_conditional(family, mixture):
    """Wide weights make raw scales from far below zero to far above the threshold of softplus."""
    spec = Spec(network=family, hidden=(6,), mixture=mixture, **MIXED)
    assert_samples_equal_the_reference(build(spec, scale=30), 12, random_context(spec, 12))


@pytest.mark.parametrize("uniform", [0.0, 1.0])
def test_the_lowest_and_the_highest_uniform_number_choose_levels_that_exist(uniform):
    model = build(Spec(network="nade", kinds=("categorical",) * 3, n_levels=(3, 4, 5), hidden=(4,)))
    assert_samples_equal_the_reference(model, 2, None, torch.full((2, 3, 1), uniform, dtype=torch.float64))


@pytest.mark.parametrize("n_rows", [2, 4])
@pytest.mark.parametrize("family", ["nade", "made"])
def test_rows_that_share_a_program_are_drawn_alike(family, n_rows, monkeypatch):
    monkeypatch.setattr(sampling_triton, "_rows_per_program", lambda n: n_rows)
    spec = Spec(network=family, hidden=(6, 6), residual=True, direct=True, **MIXED)
    assert_samples_equal_the_reference(build(spec), 7, random_context(spec, 7))


@pytest.mark.parametrize(
    "spec",
    [
        Spec(network="nade", hidden=(300,)),
        Spec(hidden=(300,)),
        Spec(hidden=(140, 150), direct=True),
        Spec(hidden=(140, 140, 140), residual=True),
        Spec(kinds=("binary",) * 140, n_levels=(2,) * 140, hidden=(3,), direct=True),
        Spec(kinds=("categorical",) * 2, n_levels=(70, 3), hidden=(4,), direct=True),
    ],
    ids=lambda spec: f"{spec.network}-{spec.n_variables}-{spec.hidden}",
)
def test_more_units_variables_or_levels_than_a_block_holds(spec, monkeypatch):
    monkeypatch.setattr(sampling_triton, "_MAX_UNITS", 128)
    assert_samples_equal_the_reference(build(spec), 2, None)


# ---------------------------------------------------------------- who runs where


def test_no_kernel_for_a_gpu_without_triton(monkeypatch):
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    assert not backends.runs_triton.__wrapped__(torch.device("cuda"))
    assert not backends.runs_triton(torch.device("cpu"))


@needs_gpu
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_the_front_door_takes_the_kernel_on_a_gpu(activation):
    assert is_compiled(activation, DEVICE) == (activation in VECTOR_ACTIVATIONS)
    arguments = nade_arguments(4, 6, 2, [1, 3, 1, 2], seed=1)
    learned = [a.to(DEVICE).requires_grad_() for a in (*arguments[3:5], arguments[5].flatten(0, 1))]
    outputs = nade_outputs(*(a.to(DEVICE) for a in arguments[:3]), *learned, (0, 2, 4, 6, 8), activation)
    node, names = outputs.grad_fn, []
    while node is not None:
        names.append(type(node).__name__)
        node = node.next_functions[0][0] if node.next_functions else None
    assert any("TritonNADE" in name for name in names) == is_compiled(activation, DEVICE)
    expected = nade_outputs_reference(*arguments, ACTIVATIONS[activation]).flatten(1)
    torch.testing.assert_close(outputs.cpu(), expected)


@needs_gpu
@pytest.mark.parametrize("family", ["nade", "made"])
@torch.no_grad()
def test_a_model_on_a_gpu_samples_in_one_launch(family, monkeypatch):
    model = build(Spec(network=family, hidden=(6,), **MIXED)).to(DEVICE)
    assert model.conditioner.has_compiled_sampler()
    monkeypatch.setattr(sequential, "sample", None)
    context = torch.zeros(5, 1, dtype=torch.float64, device=DEVICE)
    rows = model.sample(5, torch.Generator(DEVICE).manual_seed(0), context)
    assert rows.shape == (5, 5)
    assert rows.isfinite().all()


def run(code_or_file, **environment):
    """Run Python in a process where Triton is not interpreted."""
    kept = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    path = os.pathsep.join([str(HERE.parents[1] / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *code_or_file],
        env={**kept, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_importing_models_does_not_import_triton():
    imported = (
        "import sys, torch; before = 'triton' in sys.modules; import chainrule.model, chainrule.training"
    )
    assert run(["-c", f"{imported}; print(before, 'triton' in sys.modules)"]).split() == ["False", "False"]


def test_every_kernel_compiles_for_a_gpu(tmp_path):
    """What the interpreter lets pass, the compiler need not: it compiles for a GPU that need not be there."""
    compiled = run([str(HERE / "compile_kernels.py")], TRITON_CACHE_DIR=str(tmp_path)).split()
    assert set(compiled) == {"nade_forward", "nade_backward", "sample_nade", "sample_made"}
