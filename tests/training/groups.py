"""Processes that fit one model together."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
from pathlib import Path

import torch
from trainers import SPECS, build, rows

from chainrule.errors import GroupError
from chainrule.training import Callback, Trainer, TrainingOptions
from chainrule.training.parallel import process_group

N_PROCESSES = 2
OPTIONS = {"batch_size": 16, "learning_rate": 0.01, "schedule": "plateau", "patience": 100}


def run_group(work, *arguments):
    """Call ``work(rank, *arguments)`` in each process of a group, and return their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_joined, args=(rank, port, work, arguments)) for rank in range(N_PROCESSES)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def _joined(rank, port, work, arguments):
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(N_PROCESSES),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo",
    }
    with process_group():
        work(rank, *arguments)


def trainer(name, *, callbacks=(), dropout=0.0, **options):
    """Return a trainer whose last batch has a single row, so that one of two processes has nothing to do."""
    spec = SPECS[name]
    return Trainer(
        build(spec, dtype=torch.float32, scale=0.5, dropout=dropout),
        rows(spec, 65, 1),
        rows(spec, 31, 2),
        TrainingOptions(**OPTIONS | options),
        torch.Generator().manual_seed(3),
        callbacks=callbacks,
    )


def fit_all(rank, folder):
    """Fit a network of each kind for 100 steps, one to be broken off elsewhere, and one by the clock."""
    for name in SPECS:
        fit = trainer(name, max_epochs=20)
        fit.run()
        _save(fit, folder, name, rank)
    fit = trainer("made", max_epochs=10**6, max_time=1.0)
    fit.run()
    _save(fit, folder, "by the clock", rank)
    fit_or_die(rank, folder, None)


def fit_or_die(rank, folder, dies_at):
    """Fit with a checkpoint; the second process dies after so many epochs, if a number is given."""
    fit = trainer("orderless nade", max_epochs=6, dropout=0.4, callbacks=[_Die(rank, dies_at)])
    try:
        fit.run(Path(folder) / "checkpoint")
    except GroupError:
        raise SystemExit(3) from None
    _save(fit, folder, "goes on", rank)


def fit_other_rows(rank, folder):
    """Fit with another seed in each process."""
    fit = trainer("made", max_epochs=1, batch_size=16 + rank)
    try:
        fit.run()
    except GroupError as error:
        raise SystemExit(4 if "other rows, settings or options" in str(error) else 3) from None


class _Die(Callback):
    def __init__(self, rank, at):
        self.rank, self.at = rank, at

    def on_epoch(self, epoch):
        if self.rank == 1 and epoch.number == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


def _save(fit, folder, name, rank):
    state = {"averaged": fit.averaged.state_dict(), "last": fit.model.state_dict()}
    facts = {"valid": fit.history.valid, "train": fit.history.train, "step": fit.step}
    torch.save(state | facts, Path(folder) / f"{name}-{rank}.pt")
