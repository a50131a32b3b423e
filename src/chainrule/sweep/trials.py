"""The trials of a sweep: a queue in the study, which processes and machines work off together."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from joblib import Parallel, delayed

from chainrule.errors import DataError, StorageError
from chainrule.sweep.fitting import Fitter
from chainrule.sweep.records import Fit
from chainrule.sweep.storage import RUN, SIGNED, fail_dead_trials, open_study, quiet, register, sign_in

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from chainrule.distributed import Engine

__all__ = ["Job", "finished", "fit_of", "reason_of", "run_trials"]

# User attributes of a trial: its place in the sweep, why its setting cannot be fitted, and one for the fit of
# each seed.
_PLACE, _FAILED, _FIT = "place", "failed", "fit"
_STARTUP_TRIALS = 5  # before pruning begins to compare
_MAX_WARM_UP = 10  # epochs of a trial before it may be pruned
_TICK = 0.5  # seconds between two looks at the trials of other machines


class _NotNeeded(Exception):
    """The trial is one too many."""


class _CannotBeFitted(Exception):
    """The setting of a trial is no good, but others may be."""


@dataclass(frozen=True)
class Job:
    """What every worker of a sweep needs to know.

    Parameters
    ----------
    address, name : str
        Of the study in its storage.
    run : str
        Stands for the call of `sweep` whose worker it is.
    process : int
        The process of that call.
    fitter : Fitter
    seeds : list of int
        Each setting is fitted once with each of them.
    sampler : str
        "grid", "tpe" or "random".
    n_trials : int or None
        Of a search.
    prune : bool
    random_state : int or None
        Of the sampler; None draws other settings on every machine.
    """

    address: str
    name: str
    run: str
    process: int
    fitter: Fitter
    seeds: list[int]
    sampler: str
    n_trials: int | None
    prune: bool
    random_state: int | None

    def queue(self) -> list[dict[str, str]]:
        """Return what is known beforehand of the parameters of each trial: in a search nothing."""
        return self.fitter.space.settings() if self.n_trials is None else [{}] * self.n_trials


def run_trials(
    job: Job, study: optuna.Study, workers: int, engine: Engine | None, on_trial: Callable[[], None]
) -> None:
    """Work off the queue with processes; wait for the trials of other machines, and take over broken ones.

    Parameters
    ----------
    job : Job
    study : optuna.Study
        Of the job.
    workers : int
        One is this process; more are processes of their own, which share out the processor's cores.
    engine : Engine or None
        What does the trials in place of processes of this machine.
    on_trial : callable
        Called after each trial.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C. The trials under way are given back; the states of their fits are kept.
    """
    import optuna

    unsigned: dict[int, float] = {}
    try:
        while True:
            fail_dead_trials(study, unsigned, job.run)
            n_waiting = _fill_queue(job, study)
            if n_waiting:
                with closing(_results(job, n_waiting, workers, engine)) as done:
                    for _ in done:
                        on_trial()
            elif any(trial.state.name == "RUNNING" for trial in study.get_trials(deepcopy=False)):
                time.sleep(_TICK)
            else:
                return
    finally:
        for trial in study.get_trials(deepcopy=False):
            if trial.state.name == "RUNNING" and trial.user_attrs.get(RUN) == job.run:
                study.tell(trial.number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)


def _results(job: Job, n_trials: int, workers: int, engine: Engine | None) -> Any:
    """Return a generator that does so many trials and yields after each."""
    if engine is not None:
        return engine.as_done(_Next(job), range(n_trials))
    parallel = Parallel(workers, return_as="generator_unordered", batch_size=1, max_nbytes=None)
    return parallel(delayed(_run_in_process)(job) for _ in range(n_trials))


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that are complete, pruned or failed for good."""
    return [trial for trial in _counted(study) if trial.state.is_finished()]


def fit_of(trial: FrozenTrial, seed: int) -> Fit | None:
    """Return the fit of a trial with a seed, None if it was not done."""
    found = trial.user_attrs.get(f"{_FIT} {seed}")
    return None if found is None else Fit(**found)


def reason_of(trial: FrozenTrial) -> str:
    """Return why a trial failed for good; empty if it did not."""
    return trial.user_attrs.get(_FAILED, "")


def _counted(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that need not be done again: finished, failed for good, under way, or waiting."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if _PLACE in trial.user_attrs and (trial.state.name != "FAIL" or reason_of(trial))
    ]


def _fill_queue(job: Job, study: optuna.Study) -> int:
    """Queue what was not begun or was broken off; return how many trials wait."""
    _keep_order(job, study)
    everything = {trial.user_attrs.get(_PLACE): trial for trial in study.get_trials(deepcopy=False)}
    taken = {trial.user_attrs[_PLACE] for trial in _counted(study)}
    wanted = job.queue()
    for place, setting in enumerate(wanted):
        if place in taken:
            continue
        if place in everything:
            _queue_again(job, study, everything[place])
        else:
            study.enqueue_trial(setting, user_attrs={_PLACE: place})
    trials = study.get_trials(deepcopy=False)
    waiting = [trial for trial in trials if trial.state.name == "WAITING"]
    return sum(trial.user_attrs[_PLACE] < len(wanted) for trial in waiting)


def _queue_again(job: Job, study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue a trial that was broken off, with all that is known of it but who ran it.

    Where not all of its parameters were drawn, all are drawn again: the same ones, as its place decides them.
    """
    import optuna

    is_drawn = trial.params.keys() == job.fitter.space.parameters.keys()
    study.add_trial(
        optuna.create_trial(
            state=optuna.trial.TrialState.WAITING,
            params=trial.params if is_drawn else {},
            distributions=trial.distributions if is_drawn else {},
            user_attrs={key: value for key, value in trial.user_attrs.items() if key not in SIGNED},
            system_attrs=trial.system_attrs,
            intermediate_values=trial.intermediate_values,
        )
    )


def _keep_order(job: Job, study: optuna.Study) -> None:
    """Take back what waits behind trials that were broken off: in another order, a search goes elsewhere.

    With other machines there is no order to keep.
    """
    import optuna

    if job.random_state is None:
        return
    trials = study.get_trials(deepcopy=False)
    taken = {trial.user_attrs[_PLACE] for trial in _counted(study)}
    broken = {trial.user_attrs[_PLACE] for trial in trials if _PLACE in trial.user_attrs} - taken
    for trial in trials:
        if trial.state.name == "WAITING" and trial.user_attrs[_PLACE] > min(broken, default=math.inf):
            study._storage.set_trial_state_values(trial._trial_id, optuna.trial.TrialState.FAIL)


@dataclass(frozen=True)
class _Next:
    """The next trial that waits, as work for an engine."""

    job: Job

    def __call__(self, batch: Any, number: int) -> None:
        _run_next(self.job)


def _run_in_process(job: Job) -> None:
    """Do the next trial that waits, in this process or in one that it has started."""
    if os.getpid() != job.process:
        # Signals reach all processes of a terminal or a job; the one that started this one ends it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _run_next(job)


def _run_next(job: Job) -> None:
    """Do the next trial that waits."""
    import optuna

    with quiet():
        study = _open_once(job.address, job.name, job.run)
        if all(trial.state.name != "WAITING" for trial in study.get_trials(deepcopy=False)):
            return  # Another machine took it.
        study.pruner = _pruner(job)
        # A process that slept through its heartbeats finds its trial finished by another.
        with suppress(optuna.exceptions.UpdateFinishedTrialError):
            study.optimize(partial(_objective, job, study), n_trials=1, catch=(_NotNeeded, _CannotBeFitted))


@lru_cache(maxsize=1)
def _open_once(address: str, name: str, run: str) -> optuna.Study:
    """Open the study once for all trials that a process does in a run."""
    study = open_study(address, name)
    register(study, run)
    return study


def _objective(job: Job, study: optuna.Study, trial: optuna.Trial) -> float:
    """Fit the setting of a trial with each seed, and return its mean validation NLL in nats per row."""
    import optuna

    sign_in(study, trial, job.run)
    _check_needed(job, study, trial)
    # The place tells the draws of a search apart, also where a trial is done anew.
    study.sampler = _sampler(job, trial.user_attrs[_PLACE])
    reported = trial.storage.get_trial(trial._trial_id).intermediate_values
    setting = {name: what.suggest(trial, name) for name, what in job.fitter.space.parameters.items()}

    def report(epoch: int, nll: float) -> None:
        if epoch not in reported:
            trial.report(nll, epoch)
        if job.prune and trial.should_prune():
            raise optuna.TrialPruned

    fits = []
    try:
        for seed in job.seeds:
            fit = _known_fit(study, setting, seed)
            if fit is None:
                best = _best_log_likelihood(study)
                fit = job.fitter.fit(setting, seed, best, report if seed == job.seeds[0] else None)
            trial.set_user_attr(f"{_FIT} {seed}", asdict(fit))
            fits.append(fit)
        nll = -math.fsum(fit.valid_log_likelihood for fit in fits) / len(fits)
        if not math.isfinite(nll):
            raise FloatingPointError(f"the validation NLL is {nll}")
    except (DataError, StorageError):
        raise  # They would stop every trial.
    except (FloatingPointError, MemoryError, ValueError) as error:
        trial.set_user_attr(_FAILED, str(error) or type(error).__name__)
        raise _CannotBeFitted from error
    return nll


def _check_needed(job: Job, study: optuna.Study, trial: optuna.Trial) -> None:
    """Let go of a trial that two machines queued at the same time, or that is beyond the number wanted."""
    place = trial.user_attrs.get(_PLACE)
    earlier = {other.user_attrs[_PLACE] for other in _counted(study) if other.number < trial.number}
    if place is None or place in earlier or place >= len(job.queue()):
        raise _NotNeeded


def _known_fit(study: optuna.Study, setting: dict[str, Any], seed: int) -> Fit | None:
    """Return the fit of a setting and seed that another trial did, or this one before it was broken off."""
    same = (trial for trial in study.get_trials(deepcopy=False) if trial.params == setting)
    return next((fit for trial in same if (fit := fit_of(trial, seed)) is not None), None)


def _best_log_likelihood(study: optuna.Study) -> float:
    """Return the highest validation log-likelihood of all fits so far, in nats per row."""
    attributes = (trial.user_attrs.items() for trial in study.get_trials(deepcopy=False))
    fits = (value for items in attributes for key, value in items if key.startswith(f"{_FIT} "))
    return max((fit["valid_log_likelihood"] for fit in fits), default=-math.inf)


def _sampler(job: Job, place: int) -> optuna.samplers.BaseSampler:
    import optuna

    seed = None
    if job.random_state is not None:
        seed = int(np.random.SeedSequence([job.random_state, place]).generate_state(1)[0])
    if job.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed)
    return optuna.samplers.RandomSampler(seed=seed)


def _pruner(job: Job) -> optuna.pruners.BasePruner:
    import optuna

    epochs = job.fitter.max_epochs
    warm_up = _MAX_WARM_UP if epochs is None else min(_MAX_WARM_UP, max(1, epochs // 4))
    # Worse than half of the others at the same epoch, at its best so far.
    return optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS, n_warmup_steps=warm_up)
