"""Small trainers, and what is checked of the fits of several test files."""

from __future__ import annotations

import pytest
import torch

from chainrule.training import Callback, Rows, Trainer, TrainingOptions
from strategies import Spec, build, random_context, random_rows

SPECS = {
    "nade": Spec("nade", ("binary",) * 5, (2,) * 5),
    "nade orders": Spec("nade", ("binary",) * 5, (2,) * 5, n_orderings=3, activation="silu"),
    "made": Spec(kinds=("binary",) * 5, n_levels=(2,) * 5, hidden=(8, 8), direct=True),
    "made ensemble, context": Spec(
        kinds=("categorical", "continuous", "ordinal", "binary"),
        n_levels=(3, None, 4, 2),
        hidden=(8, 8),
        residual=True,
        n_orderings=2,
        n_masks=3,
        n_context=2,
    ),
    "column networks": Spec("columns", ("binary",) * 5, (2,) * 5, hidden=(8, 8), residual=True),
    "orderless nade": Spec("orderless", ("binary",) * 5, (2,) * 5, hidden=(8, 8), residual=True),
}
each_spec = pytest.mark.parametrize("name", SPECS)


def rows(spec, n, seed):
    single = {"dtype": torch.float32}
    context = random_context(spec, n, seed, **single)
    return Rows(random_rows(spec, n, seed, **single), context)


def trainer(name, valid=True, dropout=0.4, seed=0, callbacks=(), resample_every=1, **options):
    """Return a trainer of a small float32 model on random rows; `options` change those of the fit."""
    spec = SPECS[name]
    model = build(spec, dtype=torch.float32, scale=0.5, dropout=dropout)
    # Steps of a plateau do not depend on the last epoch: a fit can go on beyond it.
    options = {"batch_size": 16, "max_epochs": 6, "learning_rate": 0.01, "schedule": "plateau"} | options
    return Trainer(
        model,
        rows(spec, 70, 1),
        rows(spec, 30, 2) if valid else None,
        TrainingOptions(**options),
        torch.Generator().manual_seed(seed),
        resample_every=resample_every,
        callbacks=callbacks,
    )


class Listener(Callback):
    """Calls a function at the end of each epoch."""

    def __init__(self, tell):
        self.tell = tell

    def on_epoch(self, epoch):
        return self.tell(epoch)


class InterruptAt(Callback):
    """Is a Ctrl-C at the end of an epoch."""

    def __init__(self, number):
        self.number = number

    def on_epoch(self, epoch):
        if epoch.number == self.number:
            raise KeyboardInterrupt


def assert_same_fit(a, b):
    """Weights, losses and what comes next are equal bit by bit."""
    assert a.history.train == b.history.train
    assert a.history.valid == b.history.valid
    assert a.history.best_epoch == b.history.best_epoch
    for key, weight in a.model.state_dict().items():
        assert torch.equal(weight, b.model.state_dict()[key]), key
    assert torch.equal(a.generator.get_state(), b.generator.get_state())
    assert torch.equal(a.dropout_generator.get_state(), b.dropout_generator.get_state())
