"""Check the GPU kernels against their references, then time them: ``python -m benchmarks.gpu [--runs N]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from benchmarks.timing import Timing, in_turn
from benchmarks.works import made, nade, rows
from chainrule.conditionals import Conditionals, make_family
from chainrule.conditioners import Conditioner, InputEncoding, MADEConditioner, NADEConditioner
from chainrule.kernels.activations import ACTIVATIONS
from chainrule.kernels.backends import runs_triton
from chainrule.kernels.nade import nade_outputs, nade_outputs_reference
from chainrule.masks import even_degrees
from chainrule.model import AutoregressiveModel
from chainrule.orders import random_orders
from chainrule.samplers import gpu, sequential
from chainrule.supports import Binary, Grid, Levels, Reals

_CUDA = torch.device("cuda")
_MIXED = [
    make_family("bernoulli", Binary(), 10),
    make_family("categorical", Levels(7), 10),
    make_family("discretized-logistics", Grid(16), 10),
    make_family("gaussian", Reals(), 10),
] * 20


def main() -> None:
    """Print the errors, a table of medians and ratios, and the memory that a gradient of NADE takes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="turns per measurement")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("benchmarks.gpu: no CUDA device here; run it on a machine that has one")
    if not runs_triton(_CUDA):
        sys.exit("benchmarks.gpu: Triton is not installed, or this CUDA device is too old for it")
    # The references are to compute in float32, too, not in the shorter TF32.
    torch.backends.cuda.matmul.allow_tf32 = False
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    for work, error, most in errors():
        print(f"{work:<68} {error:>10.1e}  {'ok' if error <= most else f'WRONG: more than {most:.0e}'}")
    print(f"{'work':<68} {'ours, ms':>10} {'other, ms':>11} {'ratio':>8}  against")
    for timing in (*nade_gradients(arguments.runs), *sampling(arguments.runs)):
        figures = f"{timing.ours * 1e3:>10.2f} {timing.other * 1e3:>11.2f} {timing.ratio:>8.2f}"
        print(f"{timing.work:<68} {figures}  {timing.other_name}", flush=True)
    for n_variables in (392, 784, 1568):
        ours, other = (peak_memory(nade_step(f, 128, n_variables, 500)) for f in (by_kernel, reference))
        print(
            f"NADE {n_variables}-500, batch 128, peak of a gradient: {ours:.0f} MB, reference {other:.0f} MB"
        )


def by_kernel(*arguments: Tensor | str) -> Tensor:
    """Return NADE's outputs (n, D, 1) by the kernel, as the reference takes its arguments."""
    *tensors, output_weight, activation = arguments
    starts = tuple(range(len(output_weight) + 1))
    return nade_outputs(*tensors, output_weight.flatten(0, 1), starts, activation)[:, :, None]


def reference(*arguments: Tensor | str) -> Tensor:
    """Return NADE's outputs (n, D, 1) by the reference."""
    *tensors, activation = arguments
    return nade_outputs_reference(*tensors, ACTIVATIONS[activation])


def nade_arguments(n: int, n_variables: int, hidden_size: int, dtype: torch.dtype) -> list[Tensor]:
    """Return binary data, an order and random weights."""
    generator = torch.Generator(_CUDA).manual_seed(0)

    def normal(*shape: int) -> Tensor:
        # The same numbers in every precision.
        return torch.randn(shape, generator=generator, device=_CUDA, dtype=torch.float64).to(dtype)

    return [
        torch.arange(n_variables, device=_CUDA).expand(n, -1),
        rows(n, n_variables).to(_CUDA, dtype),
        torch.randperm(n_variables, generator=generator, device=_CUDA),
        normal(n_variables, hidden_size) / n_variables**0.5,
        normal(n, hidden_size),
        normal(n_variables, 1, hidden_size) / hidden_size**0.5,
    ]


def nade_step(
    function: Callable[..., Tensor],
    n: int,
    n_variables: int,
    hidden_size: int,
    dtype: torch.dtype = torch.float32,
) -> Callable[[], list[Tensor]]:
    """Return a call that computes outputs, and gradients of weight, start and output_weight."""
    *data, weight, start, output_weight = nade_arguments(n, n_variables, hidden_size, dtype)
    learned = [a.requires_grad_() for a in (weight, start, output_weight)]

    def step() -> list[Tensor]:
        outputs = function(*data, *learned, "sigmoid")
        gradients = torch.autograd.grad(outputs.square().sum(), learned)
        torch.cuda.synchronize()
        return [outputs.detach(), *gradients]

    return step


def errors() -> Iterator[tuple[str, float, float]]:
    """Yield what is checked, its greatest relative error, and how great it may be."""
    exact = nade_step(reference, 130, 784, 500, torch.float64)()
    for dtype, most in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
        got = nade_step(by_kernel, 130, 784, 500, dtype)()
        parts = zip(("outputs", "weight", "start", "output_weight"), got, exact, strict=True)
        for part, a, b in parts:
            error = float((a.double() - b).abs().max() / b.abs().max())
            yield f"NADE 784-500, {dtype}: {part}", error, most
    for name, model in mixed_models():
        for n in (5, 1000, 3000):
            error = sampling_error(model, n)
            yield f"{name}, mixed kinds, {n} samples, float64: share of wrong rows", error, 0


def mixed_models() -> Iterator[tuple[str, AutoregressiveModel]]:
    """Yield models of all kinds of variables in a random order, their weights drawn wide."""
    generator = torch.Generator().manual_seed(0)
    conditionals = Conditionals(_MIXED)
    n_variables = conditionals.n_variables
    common = (
        InputEncoding([family.input_features("onehot") for family in _MIXED]),
        conditionals.starts,
        random_orders(n_variables, 1, generator),
    )
    degrees = [even_degrees(300, n_variables)[None]] * 3
    conditioners: dict[str, Conditioner] = {
        "NADE": NADEConditioner(*common, 300, generator=generator),
        "MADE, one layer": MADEConditioner(*common, degrees[:1], direct=False, generator=generator),
        "MADE, three residual layers, direct": MADEConditioner(
            *common, degrees, residual=True, direct=True, generator=generator
        ),
    }
    for name, conditioner in conditioners.items():
        with torch.no_grad():
            for weight in conditioner.parameters():
                weight.normal_(generator=generator).mul_(weight.shape[-1] ** -0.5)
            if isinstance(conditioner, MADEConditioner):
                conditioner.fix_masks()
        yield name, AutoregressiveModel(conditioner, conditionals).double().to(_CUDA).eval()


@torch.no_grad()
def sampling_error(model: AutoregressiveModel, n: int) -> float:
    """Return the share of rows that differ from those drawn step by step from the same uniforms."""
    uniforms = uniforms_of(model, n, torch.float64)
    parts = model.conditioner, model.conditionals
    got, expected = gpu.sample(*parts, 0, uniforms), sequential.sample(*parts, 0, uniforms)
    return 1 - float(torch.isclose(got, expected, rtol=1e-6, atol=1e-8).all(1).double().mean())


def uniforms_of(model: AutoregressiveModel, n: int, dtype: torch.dtype) -> Tensor:
    """Return the random numbers of n rows."""
    shape = (n, model.conditionals.n_variables, model.conditionals.n_uniforms)
    return torch.rand(shape, generator=torch.Generator(_CUDA).manual_seed(1), device=_CUDA, dtype=dtype)


def nade_gradients(runs: int) -> Iterator[Timing]:
    """Time outputs and gradients of NADE against the reference, which keeps every hidden state."""
    for n in (16, 128, 1024):
        yield in_turn(
            f"NADE 784-500: outputs and gradients, batch {n}",
            nade_step(by_kernel, n, 784, 500),
            nade_step(reference, n, 784, 500),
            other_name="reference",
            runs=runs,
            repeat=5,
        )


def sampling(runs: int) -> Iterator[Timing]:
    """Time the sampler of one launch against the reference, of many launches."""
    for name, model, counts in (
        ("NADE 784-500", nade(784, 500), (1, 100, 1000, 10_000)),
        ("MADE 784-500-784", made(784, (500,)), (1, 100, 1000, 10_000)),
        ("MADE 784-512-512-512-784", made(784, (512, 512, 512)), (100,)),
        ("MADE 784-2000-2000-784", made(784, (2000, 2000)), (100,)),
    ):
        model.to(_CUDA)
        parts = model.conditioner, model.conditionals
        for n in counts:
            uniforms = uniforms_of(model, n, torch.float32)
            yield in_turn(
                f"{name}: {n} samples",
                waited_for(partial(gpu.sample, *parts), uniforms),
                waited_for(partial(sequential.sample, *parts), uniforms),
                other_name="reference",
                runs=runs,
                repeat=5,
            )


def waited_for(sample: Callable[[int, Tensor], Tensor], uniforms: Tensor) -> Callable[[], None]:
    """Return a call that draws rows and waits until they are there."""

    @torch.no_grad()
    def run() -> None:
        sample(0, uniforms)
        torch.cuda.synchronize()

    return run


def peak_memory(step: Callable[[], object]) -> float:
    """Return how many MB a call allocates at most beyond what is there before it."""
    step()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    return (torch.cuda.max_memory_allocated() - before) / 1e6


if __name__ == "__main__":
    main()
