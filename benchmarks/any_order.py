"""Binarized MNIST, one network for all orders: test NLL by the number of orders averaged.

The settings were chosen on validation rows. Matrix products are in half precision, in the fit and in the
scores, where the processor has them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.tables import Row, Skipped
from chainrule import OrderlessNADE, load
from chainrule.datasets import Dataset, load_dataset
from chainrule.errors import DataError
from chainrule.report.order_curves import averages
from chainrule.training import Callback, Epoch

__all__ = ["AveragedOrders", "any_order", "compare_orders", "fitted"]

_N_ORDERS = 128
_EPOCHS = 500
# Rows that are scored at a time under all orders; the scores are kept after each such part.
_PART = 500


@dataclass(frozen=True)
class AveragedOrders:
    """NLL in nats of the mean over so many orders, and seconds of one thread for one of them on all rows."""

    orders: int
    nll: float
    standard_error: float
    n_rows: int
    fit_seconds: float
    seconds: float

    heading = f"{'orders':>7} {'test NLL':>18} {'rows':>7} {'fit, s':>8} {'score, s':>9}"

    def line(self) -> str:
        """Return the row as a line of its table."""
        return (
            f"{self.orders:>7} {f'{self.nll:.3f} +- {self.standard_error:.3f}':>18} {self.n_rows:>7} "
            f"{self.fit_seconds:>8.0f} {self.seconds:>9.0f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all of it."""
        return asdict(self)


def any_order(checkpoint: Path | None = None) -> Iterator[Row]:
    """Yield the NLL of test rows for 1, 2, 4, ... and 128 orders.

    Parameters
    ----------
    checkpoint : Path, optional
        A folder for the fit and the scores, which go on from there if they were interrupted.
    """
    if checkpoint is None:
        yield Skipped("binarized MNIST", "it takes more than an hour: --checkpoint DIR names a folder for it")
        return
    try:
        dataset = load_dataset("binarized-mnist")
    except DataError as error:
        yield Skipped("binarized MNIST", f"no data: {error}")
        return
    yield from compare_orders(dataset, checkpoint)


def compare_orders(
    dataset: Dataset, folder: Path, epochs: int = _EPOCHS, n_orders: int = _N_ORDERS
) -> Iterator[AveragedOrders]:
    """Yield the NLL of the test rows under averages of more and more orders, fitting the model first."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        model = fitted(dataset, folder, epochs)
        scores, seconds = _scores(model, dataset.test, folder, n_orders)
    finally:
        torch.set_float32_matmul_precision(before)
    curve = averages(scores)
    for size, level in zip(curve.sizes, curve.levels, strict=True):
        yield AveragedOrders(
            size, level.mean, level.standard_error, curve.n_rows, model.history_.seconds, size * seconds
        )


class _PrintEpochs(Callback):
    def on_epoch(self, epoch: Epoch) -> None:
        print(f"  epoch {epoch.number}: {epoch.valid:.2f} nats", flush=True)


def fitted(dataset: Dataset, folder: Path, epochs: int) -> OrderlessNADE:
    """Return the model that the folder holds, or fit it and save it there."""
    if (folder / "model.json").exists():
        model: OrderlessNADE = load(folder)
        return model
    folder.mkdir(parents=True, exist_ok=True)
    model = OrderlessNADE(
        (500, 500),
        activation="tanh",
        learning_rate=5e-3,
        schedule="cosine",
        weight_decay=1e-3,
        batch_size=1000,
        max_epochs=epochs,
        patience=epochs,
        checkpoint=folder / "state.pt",
        random_state=0,
    )
    model.fit(dataset.train, X_val=dataset.valid, callbacks=[_PrintEpochs()])
    print(f"  {model.history_.epochs} epochs in {model.history_.seconds:.0f} s", flush=True)
    model.save(folder)
    return model


def _scores(model: OrderlessNADE, rows: np.ndarray, folder: Path, n_orders: int) -> tuple[np.ndarray, float]:
    """Return log p of all rows under each order, (K, n), and the seconds that one order took."""
    kept = folder / f"scores-{n_orders}-orders.npz"
    scores, seconds = np.empty((n_orders, 0)), 0.0
    if kept.exists():
        with np.load(kept) as state:
            scores, seconds = state["scores"], float(state["seconds"])
    while (done := scores.shape[1]) < len(rows):
        start = time.perf_counter()
        part = model.order_scores(rows[done : done + _PART], n_orders=n_orders)
        scores = np.concatenate([scores, part], axis=1)
        seconds += time.perf_counter() - start
        np.savez(kept, scores=scores, seconds=seconds)
        nll = -(np.logaddexp.reduce(scores, axis=0) - math.log(n_orders)).mean()
        print(f"  {scores.shape[1]} rows: {nll:.2f} nats with {n_orders} orders", flush=True)
    return scores, seconds / n_orders
