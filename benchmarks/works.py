"""Sampling, training, scoring and start-up against the textbook, with the goals of each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial

import torch

from benchmarks.models import binary_rows, made, nade, trainer
from benchmarks.textbook import TextbookMADE, TextbookNADE, train_step
from benchmarks.timing import SECONDS, TIMES_THE_COST, Goal, Timing, in_turn
from chainrule.conditionals.mixtures import LocationScaleMixture, MixtureOfGaussians
from chainrule.training import Rows

__all__ = ["sampling", "scoring", "start_up", "training"]

_TRAINING_GOAL = Goal(2, 3)


def sampling(runs: int) -> Iterator[Timing]:
    """Yield the timings of samplers: against D passes, and against one pass over as many rows."""
    yield _against_d_passes((500,), 1, Goal(50, 200), runs)
    yield _against_d_passes((500,), 100, Goal(200, 500), runs)
    yield _against_d_passes((512, 512, 512), 100, Goal(100, 300), runs)
    yield _against_log_prob(784, 1000, Goal(8, 2, TIMES_THE_COST), runs)
    yield _against_log_prob(33_600, 16, Goal(2, 0.3, SECONDS), runs)


def _against_d_passes(sizes: tuple[int, ...], n: int, goal: Goal, runs: int) -> Timing:
    model, textbook = made(784, sizes), TextbookMADE(784, sizes)
    generator = torch.Generator().manual_seed(0)
    return in_turn(
        f"MADE {_name(784, sizes)}: {n} sample{'s' if n > 1 else ''}",
        lambda: model.sample(n, generator),
        lambda: textbook.sample(n),
        other_name="textbook, D passes",
        goal=goal,
        runs=runs,
        repeat=10,
    )


def _against_log_prob(n_variables: int, n: int, goal: Goal, runs: int) -> Timing:
    model, x = made(n_variables, (500,)), binary_rows(n, n_variables)
    generator = torch.Generator().manual_seed(0)
    return in_turn(
        f"MADE {_name(n_variables, (500,))}: {n} samples",
        lambda: model.sample(n, generator),
        torch.no_grad()(lambda: model.log_prob(x)),
        other_name=f"one log_prob of {n} rows",
        goal=goal,
        runs=runs,
    )


def training(runs: int) -> Iterator[Timing]:
    """Yield the timings of training steps, each with the optimiser of its kind."""
    for sizes in ((500,), (500, 500), (2000, 2000)):
        yield _made_step(sizes, runs)
    yield _nade_step(runs)
    yield _mixtures(runs)


def _made_step(sizes: tuple[int, ...], runs: int) -> Timing:
    x = binary_rows(100, 784)
    batch = Rows(x)
    ours, textbook = trainer(made(784, sizes), x), TextbookMADE(784, sizes)
    adam = torch.optim.Adam(textbook.parameters())
    return in_turn(
        f"MADE {_name(784, sizes)}: training step, batch 100",
        lambda: ours.train_step(batch),
        lambda: train_step(textbook, adam, x),
        goal=_TRAINING_GOAL,
        runs=4 * runs,
        repeat=5,
    )


def _nade_step(runs: int) -> Timing:
    x = binary_rows(128, 784)
    batch = Rows(x)
    ours, loop = trainer(nade(784, 500), x), TextbookNADE(784, 500)
    adam = torch.optim.Adam(loop.parameters())
    return in_turn(
        "NADE 784-500: training step, batch 128",
        lambda: ours.train_step(batch),
        lambda: train_step(loop, adam, x),
        other_name="textbook, loop over d",
        goal=Goal(10, 30),
        runs=runs,
        repeat=5,
    )


def _mixtures(runs: int) -> Timing:
    family, generator = MixtureOfGaussians(10), torch.Generator().manual_seed(0)
    x, params = torch.randn(256, 10, generator=generator), torch.randn(256, 10, 30, generator=generator)
    params.requires_grad_()

    def gradient(log_prob: Callable[..., torch.Tensor]) -> None:
        params.grad = None
        log_prob(x, params).sum().backward()

    return in_turn(
        "ten Gaussians for each of 256 x 10 numbers: log p and gradient",
        lambda: gradient(family.log_prob),
        lambda: gradient(partial(LocationScaleMixture.log_prob, family)),
        other_name="the formula, by PyTorch",
        runs=runs,
        repeat=20,
    )


def scoring(runs: int) -> Iterator[Timing]:
    """Yield the timing of `log_prob` against dense matrix products of the same shapes and nothing else."""
    model, x = made(784, (500,)), binary_rows(4096, 784)
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(shape, generator=generator) for shape in ((784, 500), (500, 784)))
    yield in_turn(
        f"MADE {_name(784, (500,))}: log_prob of 4096 rows",
        torch.no_grad()(lambda: model.log_prob(x)),
        lambda: x @ first @ second,
        other_name="its bare matrix products",
        goal=Goal(0.7, 0.9),
        runs=4 * runs,
    )


def start_up(runs: int) -> Iterator[Timing]:
    """Yield the time that the command line takes to answer, and that the import of the library takes."""
    # What the console script runs: the module alone, without a search for the script on the path.
    ask = "import sys; from chainrule.cli import main; sys.argv = ['chainrule', '--help']; sys.exit(main())"
    yield in_turn(
        "chainrule --help",
        lambda: _python(ask),
        lambda: _python("import torch"),
        other_name="import torch",
        goal=Goal(0.5, 0.2, SECONDS),
        runs=runs,
    )
    yield in_turn(
        "import chainrule",
        lambda: _python("import chainrule"),
        lambda: _python("pass"),
        other_name="python without an import",
        goal=Goal(0.3, 0.1, SECONDS),
        runs=runs,
    )


def _python(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def _name(n_variables: int, sizes: tuple[int, ...]) -> str:
    return "-".join(map(str, (n_variables, *sizes, n_variables)))
