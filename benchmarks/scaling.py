"""How cost grows with the number of variables, hidden units, rows and orders: slopes of log-log fits.

A slope of 1 is cost in proportion, 2 is quadratic. Small sizes are bound by what each call costs however
small it is, so that the slope over the largest two stands beside that over all.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from benchmarks.models import binary_rows, made, nade, trainer
from benchmarks.timing import seconds_of
from chainrule.model import AutoregressiveModel
from chainrule.training import Rows

__all__ = ["Slope", "scaling"]

# A call shorter than this is repeated within its turn.
_SHORTEST = 0.01


@dataclass(frozen=True)
class Size:
    """Of which size model and work are, where they do not vary."""

    D: int = 784
    H: int = 500
    n: int = 100
    orders: int = 1

    def __str__(self) -> str:
        return f"{self.D}-{self.H}, n {self.n}, {self.orders} order"


# Along which quantity, and over which sizes; those of n are multiples of the work's own number of rows.
_ALONG: dict[str, tuple[float, ...]] = {
    "D": (128, 256, 512, 1024, 2048),
    "H": (128, 256, 512, 1024, 2048),
    "n": (0.25, 0.5, 1, 2, 4),
    "orders": (1, 2, 4, 8),
}


@dataclass(frozen=True)
class Slope:
    """Median seconds of one kind of work at several sizes along one quantity, the others as in `base`."""

    work: str
    base: Size
    along: str
    sizes: list[int]
    seconds: list[float]

    heading = f"{'work':<26} {'around':<24} {'along':<7} {'slope':>6} {'last':>6}  points: size (ms)"

    @property
    def slope(self) -> float:
        """The least-squares slope of log seconds over log size."""
        return _slope(self.sizes, self.seconds)

    @property
    def last_slope(self) -> float:
        """The slope between the two largest sizes."""
        return _slope(self.sizes[-2:], self.seconds[-2:])

    def line(self) -> str:
        """Return the row of the table."""
        points = ", ".join(f"{n} ({s * 1e3:.3g})" for n, s in zip(self.sizes, self.seconds, strict=True))
        slopes = f"{self.slope:>6.2f} {self.last_slope:>6.2f}"
        return f"{self.work:<26} {self.base!s:<24} {self.along:<7} {slopes}  {points}"

    def to_dict(self) -> dict[str, Any]:
        """Return the points and both slopes."""
        return {**asdict(self), "slope": self.slope, "last_slope": self.last_slope}


def scaling(runs: int) -> Iterator[Slope]:
    """Yield the slopes of training, scoring and sampling of MADE and NADE."""
    for family, model in (("MADE", _made), ("NADE", _nade)):
        for work, (n, prepare) in _WORKS.items():
            base = Size(n=n)
            for along in _ALONG:
                sizes = _sizes(base, along)
                calls = [prepare(model(size), size.n) for size in sizes]
                values = [getattr(size, along) for size in sizes]
                yield Slope(f"{family} {work}", base, along, values, _medians(calls, runs))


def _made(size: Size) -> AutoregressiveModel:
    return made(size.D, (size.H,), n_orders=size.orders)


def _nade(size: Size) -> AutoregressiveModel:
    return nade(size.D, size.H, n_orders=size.orders)


def _sizes(base: Size, along: str) -> list[Size]:
    factor = base.n if along == "n" else 1
    return [replace(base, **{along: int(factor * value)}) for value in _ALONG[along]]


def _training_step(model: AutoregressiveModel, n: int) -> Callable[[], object]:
    x = binary_rows(n, model.conditionals.n_variables)
    fit, batch = trainer(model, x), Rows(x)
    return lambda: fit.train_step(batch)


def _log_prob(model: AutoregressiveModel, n: int) -> Callable[[], object]:
    x = binary_rows(n, model.conditionals.n_variables)
    return torch.no_grad()(lambda: model.log_prob(x))


def _sample(model: AutoregressiveModel, n: int) -> Callable[[], object]:
    generator = torch.Generator().manual_seed(0)
    return lambda: model.sample(n, generator)


_WORKS: dict[str, tuple[int, Callable[[AutoregressiveModel, int], Callable[[], object]]]] = {
    "training step, batch n": (100, _training_step),
    "log_prob of n rows": (400, _log_prob),
    "n samples": (100, _sample),
}


def _medians(calls: list[Callable[[], object]], runs: int) -> list[float]:
    """Return the median seconds of each call, all of them measured in turn."""
    for call in calls:
        call()
    repeats = [max(1, math.ceil(_SHORTEST / seconds_of(call))) for call in calls]
    turns = [[seconds_of(*pair) for pair in zip(calls, repeats, strict=True)] for _ in range(runs)]
    return [statistics.median(times) for times in zip(*turns, strict=True)]


def _slope(sizes: list[int], seconds: list[float]) -> float:
    x, y = ([math.log(value) for value in values] for values in (sizes, seconds))
    return statistics.linear_regression(x, y).slope
