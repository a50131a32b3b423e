"""A sweep from data to report."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from chainrule.datasets import Dataset
from chainrule.errors import DataError, ParameterError
from chainrule.experiments.kept_fits import fingerprint
from chainrule.metrics.statistics import paired_difference, summarize
from chainrule.progress import Progressing
from chainrule.registry import MODELS
from chainrule.schema import Schema
from chainrule.storage import write_json
from chainrule.sweep.fitting import Fitter
from chainrule.sweep.page import write_sweep_page
from chainrule.sweep.records import SweepResult, Trial
from chainrule.sweep.space import Space, default_space, grid_space
from chainrule.sweep.storage import claim, embedded, naming_the_storage, need_optuna, open_study, quiet
from chainrule.sweep.trials import Job, finished, fit_of, reason_of, run_trials

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from chainrule.distributed import Engine

__all__ = ["SAMPLERS", "sweep"]

SAMPLERS = ("tpe", "random")
# With fewer trials, importances are noise.
_MIN_FOR_IMPORTANCES = 8


def sweep(
    dataset: Dataset,
    model: str = "made",
    *,
    grid: Mapping[str, Sequence[Any]] | None = None,
    n_trials: int | None = None,
    sampler: str | None = None,
    seeds: int = 1,
    max_epochs: int | None = None,
    prune: bool | None = None,
    workers: int = 1,
    engine: Engine | None = None,
    random_state: int = 0,
    out: str | Path | None = None,
    storage: str | None = None,
    name: str | None = None,
    progress: bool = False,
) -> SweepResult:
    """Fit many settings of a model, choose by the validation rows, test the best one once.

    Parameters
    ----------
    dataset : Dataset
    model : str
        A name from `chainrule.registry.MODELS`.
    grid : mapping of str to sequence, optional
        Values of constructor parameters. Without `n_trials` every combination is fitted; with it the search
        draws from these values. Without a grid the search covers the model's default space.
    n_trials : int, optional
        How many settings a search tries; more of them go on with an earlier search.
    sampler : {"tpe", "random"}, optional
        How a search draws settings; by default a tree-structured Parzen estimator.
    seeds : int
        Fit each setting with so many seeds, and judge it by the mean.
    max_epochs : int, optional
        Upper limit for models that are trained in epochs.
    prune : bool, optional
        End fits that are worse than half of the others were at the same epoch. By default a search prunes,
        and a grid, which is there to show effects, does not.
    workers : int
        Processes of this machine.
    engine : Engine, optional
        Of `chainrule.distributed.connected`: does the trials in place of processes of this machine, one on
        each processor. All of its machines must reach `out`, and the storage: an SQLite file serves one
        machine only.
    random_state : int
        The first seed of the fits, and the seed of the sampler.
    out : path, optional
        The run folder. A sweep that finds itself there goes on. It gets ``sweep.db``, ``fits``, ``model``,
        ``results.json`` and ``report.html``. Without it nothing is kept, and the result's `path` is gone.
    storage : str, optional
        Keep the trials in this database instead: ``postgresql://...``, ``mysql://...`` or ``sqlite:///...``.
        The same call on several machines shares the trials.
    name : str, optional
        Of the sweep in that database; by default data set and model.
    progress : bool
        Show a progress bar on standard error.

    Returns
    -------
    SweepResult

    Raises
    ------
    ParameterError
        If the model, a parameter or a value is unknown, or grid and trials do not go together.
    DataError
        If rows or the storage cannot be used, the folder holds a sweep with other settings, or no setting
        could be fitted.
    MissingPackageError
        If Optuna or the driver of the database is not installed.
    OSError
        If the storage fails, as on a full disk; the same call goes on once there is room.
    KeyboardInterrupt
        After Ctrl-C; the same call with the same `out` goes on.

    Examples
    --------
    >>> from chainrule.datasets import load_dataset
    >>> found = sweep(load_dataset("digits"), "mixture", grid={"n_components": [1, 4]})
    >>> found.best.parameters
    {'n_components': 4}
    """
    schema = Schema.infer(dataset.train, dataset.kinds)
    space, sampler = _plan(model, schema, grid, n_trials, sampler)
    _check_counts(n_trials=n_trials, seeds=seeds, workers=workers)
    if engine is not None and workers > 1:
        raise ParameterError(
            f"an engine does the trials on its own processors, so {workers} workers have nothing to do: give "
            "one of the two"
        )
    need_optuna()
    rows = fingerprint(schema, map(schema.encode, (dataset.train, dataset.valid, dataset.test)))
    with tempfile.TemporaryDirectory() as scratch, quiet():
        folder = Path(scratch if out is None else out)
        folder.mkdir(parents=True, exist_ok=True)
        job = Job(
            address=storage or embedded(folder),
            name=name or f"{dataset.name}-{model}",
            run=uuid4().hex,
            process=os.getpid(),
            fitter=Fitter(dataset, model, space, max_epochs, rows, folder),
            seeds=list(range(random_state, random_state + seeds)),
            sampler=sampler,
            n_trials=n_trials,
            prune=(n_trials is not None) if prune is None else prune,
            random_state=random_state if storage is None else None,
        )
        with naming_the_storage(job.address):
            result = _conclude(job, _run(job, workers, engine, progress))
        if out is not None:
            write_json(folder / "results.json", result.to_dict())
            write_sweep_page(result, folder / "report.html", description=dataset.description)
    return result


def _plan(
    model: str,
    schema: Schema,
    grid: Mapping[str, Sequence[Any]] | None,
    n_trials: int | None,
    sampler: str | None,
) -> tuple[Space, str]:
    """Return the space and the sampler that the arguments ask for."""
    if model not in MODELS:
        raise ParameterError(f"there is no model {model!r}; choose from {', '.join(MODELS)}")
    if sampler is not None and sampler not in SAMPLERS:
        raise ParameterError(f"there is no sampler {sampler!r}; choose from {', '.join(SAMPLERS)}")
    if sampler is not None and n_trials is None:
        raise ParameterError(f"the sampler {sampler} needs a number of trials")
    if grid is not None:
        space = grid_space(model, grid)
    elif n_trials is not None:
        space = default_space(model, schema.kinds)
    else:
        raise ParameterError("nothing to sweep: give a grid of values, or a number of trials to search")
    return space, "grid" if n_trials is None else sampler or "tpe"


def _check_counts(**counts: int | None) -> None:
    for name, value in counts.items():
        if value is not None and value < 1:
            raise ParameterError(f"{name} must be a whole number of at least 1, got {value!r}")


def _run(job: Job, workers: int, engine: Engine | None, progress: bool) -> optuna.Study:
    """Do the trials that are not done yet."""
    fitter = job.fitter
    settings = {
        "rows": fitter.rows,
        "model": fitter.model,
        "space": fitter.space.to_dict(),
        "sampler": job.sampler,
        "seeds": job.seeds,
        "max_epochs": fitter.max_epochs,
        "prune": job.prune,
    }
    study = open_study(job.address, job.name)
    claim(study, settings)
    with Progressing(MODELS[fitter.model].title, len(job.queue()), unit="trial", visible=progress) as bar:

        def show() -> None:
            trials = finished(study)
            values = [t.value for t in trials if t.state.name == "COMPLETE" and t.value is not None]
            bar.update(len(trials), f"best {min(values):.3f} nats on the validation rows" if values else "")

        show()
        run_trials(job, study, workers, engine, show)
    return study


def _conclude(job: Job, study: optuna.Study) -> SweepResult:
    """Choose by the validation rows; save the best model and meet the test rows, once."""
    trials = [_trial(job, trial) for trial in finished(study)]
    done = sorted((t for t in trials if t.state == "complete"), key=lambda t: -t.valid_log_likelihood)
    if not done:
        reason = next(trial.reason for trial in trials if trial.reason)
        raise DataError(f"none of the {len(trials)} settings could be fitted: {reason}")
    settings = [study.trials[trial.number].params for trial in done[:2]]
    seed = max(done[0].fits, key=lambda fit: fit.valid_log_likelihood).seed
    fitter, dataset = job.fitter, job.fitter.dataset
    estimator = fitter.estimator(settings[0], seed)
    path = fitter.folder / "model"
    estimator.save(path)
    fitter.forget_models(settings[0], seed)
    lead, lead_error = _lead(job, settings, done)
    test = summarize(estimator.score_samples(dataset.test))
    return SweepResult(
        dataset=dataset.name,
        model=MODELS[fitter.model].title,
        sampler=job.sampler,
        space=fitter.space,
        seeds=job.seeds,
        n_train=len(dataset.train),
        n_valid=len(dataset.valid),
        n_test=len(dataset.test),
        n_variables=dataset.n_variables,
        trials=trials,
        lead=lead,
        lead_error=lead_error,
        test_log_likelihood=test.mean,
        test_standard_error=test.standard_error,
        n_parameters=estimator.n_parameters_,
        importances=_importances(study, len(done)),
        path=path,
    )


def _trial(job: Job, trial: FrozenTrial) -> Trial:
    """Return a finished trial as the report has it."""
    state = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(trial.state.name, "failed")
    fits = [fit for seed in job.seeds if (fit := fit_of(trial, seed)) is not None]
    curve = dict(enumerate(fits[0].valid_nll, start=1)) if fits else {}
    return Trial(
        number=trial.number,
        parameters=job.fitter.space.values(trial.params),
        state=state,
        fits=fits if state == "complete" else [],
        valid_nll=curve or dict(trial.intermediate_values),
        reason=reason_of(trial),
    )


def _lead(job: Job, settings: Sequence[Mapping[str, Any]], done: Sequence[Trial]) -> tuple[float, float]:
    """Return the paired difference of the first two trials over the validation rows, and its error."""
    if len(done) < 2:
        return math.nan, math.nan
    first, second = (job.fitter.valid_scores(setting, job.seeds) for setting in settings)
    if first is None or second is None:
        return done[0].valid_log_likelihood - done[1].valid_log_likelihood, math.nan
    gap = paired_difference(first, second)
    return gap.mean, gap.standard_error


def _importances(study: optuna.Study, n_complete: int) -> dict[str, float]:
    import optuna

    if n_complete < _MIN_FOR_IMPORTANCES:
        return {}
    shares = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
    )
    return {name: float(share) for name, share in shares.items() if math.isfinite(share)}
