"""Doing trials until none is left: in this process, or as a process that a sweep starts."""

from __future__ import annotations

import json
import math
import os
import pickle
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from chainrule.errors import ChainruleError, DataError, StorageError
from chainrule.sweep.fitting import Fitter
from chainrule.sweep.space import Choices, Range, Space
from chainrule.sweep.storage import (
    COURSE,
    FAILED,
    FITS,
    OWNER,
    SKIPPED,
    add_missing,
    counted,
    is_running,
    open_study,
    parameters_of,
    quiet,
    this_owner,
)

if TYPE_CHECKING:
    import optuna

__all__ = ["Job", "main", "work"]

_STARTUP_TRIALS = 5  # before pruning begins to compare
_MOST_WARM_UP = 10  # epochs of a trial before it may be pruned
_TICK = 0.5  # seconds between two looks at the trials of other workers


class _NotNeeded(Exception):
    """Another worker was faster: the trial is one too many."""


class _CannotBeFitted(Exception):
    """The setting of a trial is no good, but others may be."""


@dataclass(frozen=True)
class Job:
    """What every worker of a sweep needs to know.

    Parameters
    ----------
    address, name : str
        Of the study in its storage.
    fitter : Fitter
    seeds : list of int
        Each setting is fitted once with each of them.
    sampler : str
        "grid", "tpe" or "random".
    n_trials : int or None
        Of a search.
    prune : bool
    random_state : int
        Of the sampler.
    shared : bool
        Whether other machines may work on it, too.
    """

    address: str
    name: str
    fitter: Fitter
    seeds: list[int]
    sampler: str
    n_trials: int | None
    prune: bool
    random_state: int
    shared: bool

    @property
    def space(self) -> Space:
        """What is varied."""
        return self.fitter.space

    @property
    def n_wanted(self) -> int:
        """How many trials there are to be."""
        return len(self.space.settings()) if self.n_trials is None else self.n_trials


def work(job: Job, worker: int = 0, on_trial: Callable[[], None] | None = None) -> None:
    """Do trials until the sweep is complete; wait for those of other workers, and take over broken ones.

    Parameters
    ----------
    job : Job
    worker : int
        Tells the workers of one machine apart: their samplers draw different settings.
    on_trial : callable, optional
        Called after each trial.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C. The trial under way is given back; the state of its fit is kept.
    """
    study = open_study(job.address, job.name, None)
    study.pruner = _pruner(job)
    study.sampler = _sampler(job, worker, len(study.get_trials(deepcopy=False)))
    while True:
        add_missing(study, job.space, job.n_trials)
        trials = counted(study)
        if _has_work(job, trials):
            _do_next(job, study)
            if on_trial is not None:
                on_trial()
        elif any(is_running(trial) for trial in trials):
            time.sleep(_TICK)
        else:
            return


def _do_next(job: Job, study: optuna.Study) -> None:
    """Do the next trial that waits, or one more of a search."""
    import optuna

    # SQLite lets two workers take the same trial at the same moment; the slower one finds it finished.
    with suppress(optuna.exceptions.UpdateFinishedTrialError):
        study.optimize(
            lambda trial: _objective(job, study, trial),
            n_trials=1,
            catch=(_NotNeeded, _CannotBeFitted),
        )


def main() -> int:
    """Work on the job that comes pickled on standard input, until it is done or standard input closes."""
    import _thread
    import threading

    job, worker = pickle.load(sys.stdin.buffer)

    def watch() -> None:
        # The sweep holds this open as long as it lives and wants the trials.
        os.read(sys.stdin.fileno(), 1)
        _thread.interrupt_main()

    threading.Thread(target=watch, daemon=True).start()
    try:
        with quiet():
            work(job, worker)
    except KeyboardInterrupt:
        return 130
    except (ChainruleError, OSError) as error:
        print(json.dumps([type(error).__name__, str(error)]))
        return 2
    return 0


def _has_work(job: Job, trials: list[optuna.trial.FrozenTrial]) -> bool:
    from optuna.trial import TrialState

    if any(trial.state == TrialState.WAITING for trial in trials):
        return True
    return job.n_trials is not None and len(trials) < job.n_trials


def _objective(job: Job, study: optuna.Study, trial: optuna.Trial) -> float:
    """Fit the setting of a trial with each seed, and return its mean validation NLL in nats per row."""
    import optuna

    trial.set_user_attr(OWNER, this_owner())
    setting = {name: _suggest(trial, name, what) for name, what in job.space.parameters.items()}
    if not _is_needed(job, study, trial):
        trial.set_user_attr(SKIPPED, True)
        raise _NotNeeded

    def report(epoch: int, nll: float) -> None:
        trial.report(nll, epoch)
        if job.prune and trial.should_prune():
            raise optuna.TrialPruned

    fits = []
    try:
        for seed in job.seeds:
            fits.append(job.fitter.fit(setting, seed, report if seed == job.seeds[0] else None))
            trial.set_user_attr(FITS, [{**asdict(fit), "valid_nll": []} for fit in fits])
        # Six digits keep a long course within what MySQL can hold.
        trial.set_user_attr(COURSE, [float(f"{nll:.6g}") for nll in fits[0].valid_nll])
        nll = -math.fsum(fit.valid_log_likelihood for fit in fits) / len(fits)
        if not math.isfinite(nll):
            raise FloatingPointError(f"the validation NLL is {nll}")
    except (DataError, StorageError):
        raise  # They would stop every trial.
    except (FloatingPointError, MemoryError, ValueError) as error:
        trial.set_user_attr(FAILED, str(error) or type(error).__name__)
        raise _CannotBeFitted from error
    return nll


def _is_needed(job: Job, study: optuna.Study, trial: optuna.Trial) -> bool:
    """Return whether no earlier trial has this setting of the grid, or the search lacks it.

    Two workers that look for work at the same time can both find the last of it.
    """
    earlier = [other for other in counted(study) if other.number < trial.number]
    if job.n_trials is None:
        return all(parameters_of(other) != trial.params for other in earlier)
    return len(earlier) < job.n_trials


def _suggest(trial: optuna.Trial, name: str, parameter: Choices | Range) -> Any:
    if isinstance(parameter, Choices):
        return trial.suggest_categorical(name, list(parameter.by_text))
    if parameter.is_whole:
        return trial.suggest_int(name, int(parameter.low), int(parameter.high), log=parameter.log)
    return trial.suggest_float(name, parameter.low, parameter.high, log=parameter.log)


def _sampler(job: Job, worker: int, n_trials: int) -> optuna.samplers.BaseSampler:
    import numpy as np
    import optuna

    # Workers, machines, and a sweep that goes on must not draw what was drawn before.
    machine = zlib.crc32(this_owner().encode()) if job.shared else 0
    seed = int(np.random.SeedSequence([job.random_state, worker, n_trials, machine]).generate_state(1)[0])
    if job.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed)
    return optuna.samplers.RandomSampler(seed=seed)


def _pruner(job: Job) -> optuna.pruners.BasePruner:
    import optuna

    epochs = job.fitter.max_epochs
    warm_up = _MOST_WARM_UP if epochs is None else min(_MOST_WARM_UP, max(1, epochs // 4))
    # Worse than half of the others at the same epoch, at its best so far.
    return optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS, n_warmup_steps=warm_up)


if __name__ == "__main__":
    sys.exit(main())
