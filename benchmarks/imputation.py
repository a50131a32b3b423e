"""Hidden pixels of held-out images: log-loss of an any-order model against what people use for filling in.

Each method gives every hidden pixel a probability of being ink from the pixels of its image that are there.
The methods learn from complete training images. Point predictions of the others are moved off 0 and 1, by the
distance that is best on validation images; test images are looked at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer

from benchmarks.tables import Row, Skipped
from chainrule import Ensemble, OrderlessNADE, load
from chainrule.datasets import Dataset, load_dataset
from chainrule.errors import DataError
from chainrule.metrics.statistics import paired_difference, summarize

__all__ = [
    "HOLES",
    "Imputed",
    "compare_imputers",
    "imputation",
    "of_digits",
    "pixel_log_loss",
    "probabilities_of",
]

_SEED = 0
_SET_OFF = (1e-3, 3e-3, 0.01, 0.02, 0.05, 0.1)
# KNNImputer and IterativeImputer take hours on whole MNIST: they learn from so many of its images, and all
# methods are held against each other on so many.
_MAX_LEARNED = {"k nearest neighbours": 20_000, "IterativeImputer": 5_000}
_MAX_SCORED = 500
# Where there are fewer images, each is scored under several draws of its holes; errors are over images.
_MIN_HOLES = 700
_N_COMPLETIONS = 32

Array = np.ndarray


@dataclass(frozen=True)
class Imputed:
    """Log-loss of one method's hidden pixels, nats per pixel with its standard error over images."""

    data: str
    holes: str
    method: str
    log_loss: float
    standard_error: float
    ahead: float
    ahead_error: float
    learn_seconds: float
    seconds: float

    heading = (
        f"{'data':<16} {'holes':<8} {'method':<22} {'log-loss, nats per hidden pixel':>32} "
        f"{'any-order model ahead by':>26} {'learn, s':>9} {'answer, s':>9}"
    )

    def line(self) -> str:
        """Return the row as a line of its table."""
        return (
            f"{self.data:<16} {self.holes:<8} {self.method:<22} "
            f"{f'{self.log_loss:.4f} +- {self.standard_error:.4f}':>32} "
            f"{f'{self.ahead:.4f} +- {self.ahead_error:.4f}':>26} {self.learn_seconds:>9.1f} "
            f"{self.seconds:>9.1f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all of it."""
        return asdict(self)


def half_of_the_pixels(shape: tuple[int, int], n: int, draw: np.random.Generator) -> Array:
    """Return which pixels are hidden, bool (n, D): each with probability 1/2."""
    return draw.random((n, shape[0] * shape[1])) < 0.5


def a_block(shape: tuple[int, int], n: int, draw: np.random.Generator) -> Array:
    """Return which pixels are hidden, bool (n, D): a block of half the height and width, anywhere."""
    height, width = shape[0] // 2, shape[1] // 2
    top = draw.integers(shape[0] - height + 1, size=n)[:, None, None]
    left = draw.integers(shape[1] - width + 1, size=n)[:, None, None]
    row, column = np.arange(shape[0])[:, None], np.arange(shape[1])
    inside = (row >= top) & (row < top + height) & (column >= left) & (column < left + width)
    return inside.reshape(n, -1)


HOLES: dict[str, Callable[[tuple[int, int], int, np.random.Generator], Array]] = {
    "half": half_of_the_pixels,
    "block": a_block,
}


def imputation(checkpoint: Path | None = None) -> Iterator[Row]:
    """Yield the log-losses on digits, and on binarized MNIST.

    Parameters
    ----------
    checkpoint : Path, optional
        A folder with a saved any-order model of binarized MNIST; without one, MNIST is left out.
    """
    digits = load_dataset("digits", random_state=_SEED)
    yield from compare_imputers("digits", digits, of_digits(5))
    if checkpoint is None:
        yield Skipped("binarized MNIST", "no fitted model: --checkpoint DIR names one")
        return
    try:
        yield from compare_imputers("binarized-mnist", load_dataset("binarized-mnist"), load(checkpoint))
    except DataError as error:
        yield Skipped("binarized MNIST", f"no data: {error}")


def of_digits(n_members: int) -> Ensemble:
    """Return an unfitted ensemble for digits, with settings that are good on validation rows."""
    member = OrderlessNADE((200, 200), batch_size=50, weight_decay=0.1, max_epochs=150)
    return Ensemble(member, n_members, random_state=_SEED)


def compare_imputers(name: str, dataset: Dataset, estimator: Any) -> Iterator[Imputed]:
    """Yield the log-losses of all methods for each kind of holes, the any-order model's first."""
    start = time.perf_counter()
    if not hasattr(estimator, "schema_"):
        estimator.fit(dataset.train, X_val=dataset.valid)
    fit_before = estimator.history_ and estimator.history_.seconds
    learned = fit_before or time.perf_counter() - start
    others = dict(_others(dataset.train))
    shape = dataset.image_shape
    for holes, hide in HOLES.items():
        draw = np.random.default_rng(_SEED)
        valid, test = (_repeated(rows[:_MAX_SCORED]) for rows in (dataset.valid, dataset.test))
        n_images = min(len(dataset.test), _MAX_SCORED)
        hidden_valid, hidden = hide(shape, len(valid), draw), hide(shape, len(test), draw)
        start = time.perf_counter()
        ours = _per_image(pixel_log_loss(test, probabilities_of(estimator, test, hidden), hidden), n_images)
        yield _row(name, holes, _title(estimator), ours, ours, learned, time.perf_counter() - start)
        for method, (predict, seconds) in others.items():
            predicted = predict(np.where(hidden_valid, np.nan, valid))
            off = min(_SET_OFF, key=lambda e, p=predicted: _clipped_loss(valid, p, hidden_valid, e).mean())
            start = time.perf_counter()
            predicted = predict(np.where(hidden, np.nan, test))
            spent = time.perf_counter() - start
            theirs = _per_image(_clipped_loss(test, predicted, hidden, off), n_images)
            yield _row(name, holes, method, theirs, ours, seconds, spent)


def _title(estimator: Any) -> str:
    if isinstance(estimator, Ensemble):
        return f"{estimator.n_members} {type(estimator.estimator).__name__}s"
    return type(estimator).__name__


def _repeated(rows: Array) -> Array:
    repeated: Array = np.tile(rows.astype(np.float64), (-(-_MIN_HOLES // len(rows)), 1))
    return repeated


def _per_image(losses: Array, n_images: int) -> Array:
    """Return the mean loss of each image over its holes."""
    means: Array = losses.reshape(-1, n_images).mean(axis=0)
    return means


def probabilities_of(estimator: Any, rows: Array, hidden: Array) -> Array:
    """Return p(pixel is ink | the pixels of its image that are there), (n, D), 0.5 where it is not hidden.

    One network's is averaged over completions, an ensemble's over its members.
    """
    if isinstance(estimator, OrderlessNADE):
        return np.where(hidden, _mean_over_completions(estimator, rows, hidden), 0.5)
    holes = np.where(hidden, np.nan, rows)
    probabilities = np.full(rows.shape, 0.5)
    for d, numbers, distribution in estimator.conditionals(holes):
        probabilities[numbers, d] = distribution.probabilities[:, 1]
    return probabilities


@torch.no_grad()
def _mean_over_completions(estimator: OrderlessNADE, rows: Array, hidden: Array) -> Array:
    """Return the mean of each hidden pixel's probability given what is there and the pixels drawn before it.

    That is p(pixel | what is there) in the joint of each order, estimated from draws. Asked for at once, the
    pixels in the middle of a block are given too little to go by.
    """
    network = estimator.model_.conditioner
    known, x = torch.from_numpy(~hidden), torch.from_numpy(np.where(hidden, 0, rows)).float()
    generator = torch.Generator().manual_seed(_SEED)
    total = torch.zeros_like(x)
    for _ in range(_N_COMPLETIONS):
        order = torch.randperm(x.shape[1], generator=generator)
        state = network.init_state_from(x, known, order)
        for d in order[torch.from_numpy(hidden.any(0))[order]].tolist():
            ink = state.next_params(d)[:, 0].sigmoid()
            total[:, d] += ink
            drawn = (torch.rand(len(x), generator=generator) < ink).to(x.dtype)
            state.update(d, drawn, ~known[:, d])
    mean: Array = (total / _N_COMPLETIONS).double().clamp(1e-6, 1 - 1e-6).numpy()
    return mean


def pixel_log_loss(rows: Array, probabilities: Array, hidden: Array) -> Array:
    """Return the mean log-loss of each image's hidden pixels in nats, (n,)."""
    right = np.where(rows == 1, probabilities, 1 - probabilities)
    loss: Array = -(np.log(np.where(hidden, right, 1.0))).sum(axis=1) / hidden.sum(axis=1)
    return loss


def _clipped_loss(rows: Array, predicted: Array, hidden: Array, off: float) -> Array:
    return pixel_log_loss(rows, np.clip(predicted, off, 1 - off), hidden)


def _others(train: Array) -> Iterator[tuple[str, tuple[Callable[[Array], Array], float]]]:
    """Yield each method's predictions for images with holes (NaN), and the seconds it took to learn."""
    draw = np.random.default_rng(_SEED)
    frequency = train.mean(axis=0)
    yield "pixel frequencies", (lambda holes: np.broadcast_to(frequency, holes.shape), 0.0)
    imputers = {
        "k nearest neighbours": KNNImputer(n_neighbors=20, weights="distance", keep_empty_features=True),
        "IterativeImputer": IterativeImputer(
            n_nearest_features=50, max_iter=3, random_state=_SEED, keep_empty_features=True
        ),
    }
    for name, imputer in imputers.items():
        rows = train[draw.permutation(len(train))[: _MAX_LEARNED[name]]].astype(np.float64)
        start = time.perf_counter()
        # It learns to predict a pixel only where training rows lack it.
        missing = draw.random(rows.shape) < 0.5 if name == "IterativeImputer" else np.zeros(rows.shape, bool)
        imputer.fit(np.where(missing, np.nan, rows))
        yield name, (imputer.transform, time.perf_counter() - start)


def _row(
    data: str, holes: str, method: str, loss: Array, ours: Array, learned: float, seconds: float
) -> Imputed:
    summary, ahead = summarize(loss), paired_difference(loss, ours)
    return Imputed(
        data, holes, method, summary.mean, summary.standard_error, ahead.mean, ahead.standard_error, learned,
        seconds,
    )  # fmt: skip
