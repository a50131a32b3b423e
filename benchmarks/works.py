"""The pieces of work that are timed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.textbook import TextbookMADE, TextbookNADE, train_step
from benchmarks.timing import Timing, in_turn
from chainrule.conditionals import Conditionals
from chainrule.conditioners import InputEncoding, MADEConditioner, NADEConditioner
from chainrule.masks import even_degrees
from chainrule.model import AutoregressiveModel
from chainrule.orders import natural_order
from chainrule.training import Rows, Trainer, TrainingOptions

__all__ = ["made", "nade", "works"]

# About the share of ink in MNIST.
_SHARE_OF_ONES = 0.13


def made(n_variables: int, hidden_sizes: tuple[int, ...]) -> AutoregressiveModel:
    """Return a MADE of binary variables without direct connections, as the textbook has it."""
    kinds, levels = ["binary"] * n_variables, [2] * n_variables
    conditionals = Conditionals(kinds, levels)
    conditioner = MADEConditioner(
        InputEncoding(kinds, levels),
        conditionals.starts,
        natural_order(n_variables)[None],
        [even_degrees(size, n_variables)[None] for size in hidden_sizes],
        direct=False,
        generator=torch.Generator().manual_seed(0),
    )
    return _with_sparse_margins(AutoregressiveModel(conditioner, conditionals))


def nade(n_variables: int, hidden_size: int) -> AutoregressiveModel:
    """Return a NADE of binary variables with sigmoid units."""
    kinds, levels = ["binary"] * n_variables, [2] * n_variables
    conditionals = Conditionals(kinds, levels)
    conditioner = NADEConditioner(
        InputEncoding(kinds, levels),
        conditionals.starts,
        natural_order(n_variables)[None],
        hidden_size,
        activation="sigmoid",
        generator=torch.Generator().manual_seed(0),
    )
    return _with_sparse_margins(AutoregressiveModel(conditioner, conditionals))


def _with_sparse_margins(model: AutoregressiveModel) -> AutoregressiveModel:
    odds = torch.tensor(_SHARE_OF_ONES / (1 - _SHARE_OF_ONES))
    model.conditioner.set_output_bias(odds.log().expand(model.conditioner.n_outputs))
    return model.eval()


def rows(n: int, n_variables: int) -> Tensor:
    """Return random rows with as many ones as handwritten digits have."""
    return (torch.rand(n, n_variables, generator=torch.Generator().manual_seed(1)) < _SHARE_OF_ONES).float()


def works(runs: int) -> Iterator[Timing]:
    """Yield the timings one after the other."""
    yield from _sampling(runs)
    yield from _training(runs)
    yield _scoring(runs)
    yield _start_up()


def _sampling(runs: int) -> Iterator[Timing]:
    generator = torch.Generator().manual_seed(0)
    for sizes, counts in (((500,), (1, 100)), ((512, 512, 512), (100,))):
        ours, other = made(784, sizes), TextbookMADE(784, sizes)
        for n in counts:
            name = f"MADE 784-{'-'.join(map(str, sizes))}-784: {n} samples"
            yield in_turn(
                name,
                lambda ours=ours, n=n: ours.sample(n, generator),
                lambda other=other, n=n: other.sample(n),
                runs=runs,
                repeat=10,
            )
    model = made(784, (500,))
    x = rows(1000, 784)
    with torch.no_grad():
        yield in_turn(
            "MADE 784-500-784: 1000 samples against one log_prob of 1000 rows",
            lambda: model.sample(1000, generator),
            lambda: model.log_prob(x),
            other_name="log_prob",
            runs=runs,
        )
    wide = made(33_600, (500,))
    x = rows(16, 33_600)
    with torch.no_grad():
        yield in_turn(
            "MADE 33600-500-33600: 16 samples against one log_prob of 16 rows",
            lambda: wide.sample(16, generator),
            lambda: wide.log_prob(x),
            other_name="log_prob",
            runs=runs,
        )


def _training(runs: int) -> Iterator[Timing]:
    batch = Rows(rows(100, 784))
    for sizes in ((500,), (500, 500), (2000, 2000)):
        trainer = _trainer(made(784, sizes), batch.codes)
        other = TextbookMADE(784, sizes)
        adam = torch.optim.Adam(other.parameters())
        yield in_turn(
            f"MADE 784-{'-'.join(map(str, sizes))}-784: training step, batch 100",
            lambda trainer=trainer: trainer.train_step(batch),
            lambda other=other, adam=adam: train_step(other, adam, batch.codes),
            runs=4 * runs,
            repeat=5,
        )
    x = rows(128, 784)
    trainer = _trainer(nade(784, 500), x)
    loop = TextbookNADE(784, 500)
    adam = torch.optim.Adam(loop.parameters())
    yield in_turn(
        "NADE 784-500: training step, batch 128",
        lambda: trainer.train_step(Rows(x)),
        lambda: train_step(loop, adam, x),
        other_name="loop",
        runs=runs,
        repeat=5,
    )


def _trainer(model: AutoregressiveModel, x: Tensor) -> Trainer:
    # Rows enough for an epoch of many steps: how often weights are averaged depends on it.
    many = x.repeat(100, 1)
    trainer = Trainer(model, Rows(many), None, TrainingOptions(), torch.Generator().manual_seed(0))
    model.train()
    return trainer


def _scoring(runs: int) -> Timing:
    model, x = made(784, (500,)), rows(4096, 784)
    first, second = (weight.detach() for weight, _ in model.conditioner.effective(0))

    def products() -> Tensor:
        return x @ first.T @ second.T

    with torch.no_grad():
        return in_turn(
            "MADE 784-500-784: log_prob of 4096 rows against its matrix products",
            lambda: model.log_prob(x),
            products,
            other_name="products",
            runs=4 * runs,
        )


def _start_up() -> Timing:
    def run(code: list[str]) -> None:
        subprocess.run([sys.executable, *code], check=True, stdout=subprocess.DEVNULL)

    start = time.perf_counter()
    run(["-c", "import sys; from chainrule.cli import main; sys.argv[1:] = ['--help']; main()"])
    help_seconds = time.perf_counter() - start
    start = time.perf_counter()
    run(["-c", "import torch"])
    return Timing("chainrule --help", help_seconds, time.perf_counter() - start, "import torch", 1)
