"""Binarized MNIST, one order: seconds to the validation NLL that textbook code reaches in its schedule.

The textbook: one hidden layer of 500 units, one fixed natural order, batches of 100, Adam with a learning
rate of 1e-3 and weight decay of 1e-4, steps ten times smaller every 45 epochs, 100 epochs. Ours: a `MADE` of
500 hidden units and natural order, all else as it comes. Both train on the training rows and are evaluated
on all validation rows after each epoch; evaluation counts, loading the data and building the networks do
not. Test rows are not touched.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.tables import Row, Skipped
from benchmarks.textbook import TextbookMADE, train_step
from benchmarks.timing import Goal
from chainrule import MADE
from chainrule.datasets import Dataset, load_dataset
from chainrule.errors import DataError

__all__ = ["Curve", "Race", "mnist", "ours", "textbook"]

_EPOCHS = 100
_HIDDEN_SIZE = 500
_BATCH = 100
_PRINT_EVERY = 5
_GOAL = Goal(5, 20)


@dataclass(frozen=True)
class Curve:
    """Validation NLL in nats after each epoch, and the seconds of the fit up to there."""

    nll: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        """The lowest NLL."""
        return min(self.nll)

    @property
    def seconds_to_best(self) -> float:
        """The seconds up to it."""
        return self.seconds[self.nll.index(self.best)]

    def add(self, nll: float, seconds: float) -> None:
        """Take in an epoch and now and then tell of it."""
        self.nll.append(nll)
        self.seconds.append(seconds)
        if len(self.nll) % _PRINT_EVERY == 1:
            print(f"  epoch {len(self.nll)}: {nll:.2f} nats after {seconds:.1f} s", flush=True)


@dataclass(frozen=True)
class Race:
    """Both curves; ours ends where it meets the textbook's best, or where it gives up."""

    textbook: Curve
    ours: Curve

    heading = ""

    @property
    def met(self) -> bool:
        """Whether ours got there."""
        return self.ours.best <= self.textbook.best

    @property
    def ratio(self) -> float:
        """The textbook's whole schedule over our seconds; 0 if ours did not get there."""
        return self.textbook.seconds[-1] / self.ours.seconds[-1] if self.met else 0.0

    @property
    def ratio_to_best(self) -> float:
        """The same with the textbook's clock stopped at its best epoch, which it cannot know beforehand."""
        return self.textbook.seconds_to_best / self.ours.seconds[-1] if self.met else 0.0

    def line(self) -> str:
        """Return both courses and the ratios as a few lines."""
        textbook, ours = self.textbook, self.ours
        met = "met" if self.met else f"not met, {ours.best:.2f} nats"
        epoch = textbook.nll.index(textbook.best) + 1
        return (
            f"textbook: {len(textbook.nll)} epochs in {textbook.seconds[-1]:.1f} s; "
            f"best {textbook.best:.2f} nats in epoch {epoch} after {textbook.seconds_to_best:.1f} s\n"
            f"ours: {met} after {len(ours.nll)} epochs, {ours.seconds[-1]:.1f} s\n"
            f"{self.ratio:.1f} times faster than the schedule "
            f"(at least {_GOAL.at_least:g}, aim {_GOAL.aim:g}: {_GOAL.reached(self.ratio)}), "
            f"{self.ratio_to_best:.1f} times faster than its best epoch"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the curves, the ratios and the goal."""
        return {
            **asdict(self),
            "ratio": self.ratio,
            "ratio_to_best": self.ratio_to_best,
            **asdict(_GOAL),
            "reached": _GOAL.reached(self.ratio),
        }


def mnist(checkpoint: Path | None = None, epochs: int = _EPOCHS) -> Iterator[Row]:
    """Yield the race.

    Parameters
    ----------
    checkpoint : Path, optional
        A folder for the textbook's fit, which goes on from there if it was interrupted. A fit that is
        complete is not run again, so use it only with one on the same machine.
    epochs : int
        Of the textbook's schedule.
    """
    try:
        dataset = load_dataset("binarized-mnist")
    except DataError as error:
        yield Skipped("binarized MNIST", f"no data: {error}")
        return
    with tempfile.TemporaryDirectory() as folder:
        print("textbook", flush=True)
        other = textbook(dataset, checkpoint or Path(folder), epochs)
        print(f"ours, until {other.best:.2f} nats", flush=True)
        yield Race(other, ours(dataset, other.best, Path(folder)))


def textbook(dataset: Dataset, folder: Path, epochs: int) -> Curve:
    """Return the curve of the textbook's schedule, its state kept in the folder after each epoch."""
    train, valid = (torch.as_tensor(rows, dtype=torch.float32) for rows in (dataset.train, dataset.valid))
    torch.manual_seed(0)
    model = TextbookMADE(train.shape[1], (_HIDDEN_SIZE,))
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.StepLR(adam, step_size=45, gamma=0.1)
    parts = {"model": model, "adam": adam, "schedule": schedule}
    curve = _resume(folder, parts)
    while len(curve.nll) < epochs:
        start = time.perf_counter()
        for index in torch.randperm(len(train)).split(_BATCH):
            train_step(model, adam, train[index])
        schedule.step()
        nll = _nll(model, valid)
        spent = curve.seconds[-1] if curve.seconds else 0.0
        curve.add(nll, spent + time.perf_counter() - start)
        _keep(folder, parts, curve)
    return curve


@torch.no_grad()
def _nll(model: TextbookMADE, valid: Tensor) -> float:
    # In pieces that stay in the cache, as a careful author would: 1000 rows.
    return -sum(float(model.log_prob(rows).sum()) for rows in valid.split(1000)) / len(valid)


def _resume(folder: Path, parts: dict[str, Any]) -> Curve:
    """Set the parts to the state that the folder holds, if it does, and return the curve up to there."""
    state_file = folder / "textbook.pt"
    if not state_file.exists():
        return Curve()
    state = torch.load(state_file, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    torch.set_rng_state(state["random"])
    return Curve(**state["curve"])


def _keep(folder: Path, parts: dict[str, Any], curve: Curve) -> None:
    """Write the state, whole or not at all, and beside it the curve for readers."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: part.state_dict() for name, part in parts.items()}
    new = folder / "textbook.pt.new"
    torch.save({**state, "random": torch.get_rng_state(), "curve": asdict(curve)}, new)
    os.replace(new, folder / "textbook.pt")
    (folder / "textbook.json").write_text(json.dumps(asdict(curve)) + "\n", encoding="utf-8")


def ours(dataset: Dataset, target: float, folder: Path) -> Curve:
    """Return our curve up to the first epoch with an NLL of at most the target, or to the end of the fit.

    Each turn asks for one more epoch and goes on from the checkpoint, which equals a fit in one go; the
    seconds are those that the fit counts itself, without building and checkpoints.
    """
    curve = Curve()
    estimator = MADE(hidden_sizes=(_HIDDEN_SIZE,), checkpoint=folder / "ours.pt", random_state=0)
    most = estimator.max_epochs
    for epoch in range(1, most + 1):
        estimator.set_params(max_epochs=epoch).fit(dataset.train, X_val=dataset.valid)
        history = estimator.history_
        if history.epochs < epoch:  # Patience is at its end.
            break
        curve.add(history.valid[-1], history.seconds)
        if curve.nll[-1] <= target:
            break
    return curve
