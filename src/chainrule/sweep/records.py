"""What a sweep found: fits, trials, and the effects of the parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.storage import json_safe
from chainrule.sweep.parameters import Choices, to_text
from chainrule.sweep.space import Space

__all__ = ["Effect", "Fit", "SweepResult", "Trial"]

_N_BINS = 4
_SEARCHED_DIGITS = 4


@dataclass(frozen=True)
class Fit:
    """One fit of one setting with one seed; log-likelihoods are mean nats per row.

    `train_log_likelihood` is that of at most 10,000 training rows. `warnings` are what the estimator said,
    `valid_nll` the validation NLL by epoch in the units of the data, kept for the first seed.
    """

    seed: int
    valid_log_likelihood: float
    standard_error: float
    train_log_likelihood: float
    n_parameters: int
    epochs: int | None
    fit_seconds: float
    warnings: list[str] = field(default_factory=list)
    valid_nll: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Trial:
    """One setting and its fits, one per seed.

    `state` is "complete", "pruned" or "failed"; `reason` says why it failed. `valid_nll` are the validation
    NLLs of the first seed by epoch, in nats per row and in the units of the data.
    """

    number: int
    parameters: dict[str, Any]
    state: str
    fits: list[Fit]
    valid_nll: dict[int, float]
    reason: str = ""

    @property
    def valid_log_likelihood(self) -> float:
        """Mean over the seeds, in nats per validation row; NaN for a trial that is not complete."""
        return _mean([fit.valid_log_likelihood for fit in self.fits])

    @property
    def standard_error(self) -> float:
        """Of the mean: over the seeds, or with one seed over the validation rows."""
        return _error(self.fits)

    @property
    def overfit(self) -> float:
        """By how many nats the training rows are more probable than the validation rows."""
        return _mean([fit.train_log_likelihood for fit in self.fits]) - self.valid_log_likelihood

    @property
    def seconds(self) -> float:
        """Time of all fits."""
        return math.fsum(fit.fit_seconds for fit in self.fits)

    def to_dict(self) -> dict[str, Any]:
        """Return a description whose values JSON can hold."""
        fits = [asdict(fit) for fit in self.fits]
        found = {
            "number": self.number,
            "parameters": self.parameters,
            "state": self.state,
            "reason": self.reason,
            "valid_log_likelihood": self.valid_log_likelihood,
            "standard_error": self.standard_error,
            "fits": [{name: fit[name] for name in fit if name != "valid_nll"} for fit in fits],
            "valid_nll": sorted(self.valid_nll.items()),
        }
        return json_safe(found)


@dataclass(frozen=True)
class Effect:
    """The mean validation NLL of all fits with one value of a parameter, or with values in one bin.

    `standard_error` is that of the mean over the fits, or of a single fit over the validation rows. Where
    every value of a grid was fitted with the same other parameters and seeds, what these do to all values
    alike is taken out of it.
    """

    parameter: str
    value: str
    position: float
    nll: float
    standard_error: float
    n_fits: int


@dataclass(frozen=True)
class SweepResult:
    """A finished sweep.

    Attributes
    ----------
    dataset, model : str
        The data set, and the class of the model.
    sampler : str
        "grid", "tpe" or "random".
    space : Space
    seeds : list of int
        Each setting was fitted once with each of them.
    n_train, n_valid, n_test, n_variables : int
    trials : list of Trial
        In the order in which they began.
    lead, lead_error : float
        By how many nats `best` is ahead of the runner-up over the same validation rows, and the standard
        error of this paired difference; NaN where rows of one were scored on another machine.
    test_log_likelihood, test_standard_error : float
        Of the saved model, in nats per test row.
    n_parameters : int
        Of the saved model.
    importances : dict
        Share of each parameter in the variance of the validation NLL, by functional ANOVA (Hutter et
        al. 2014); empty for few trials.
    path : Path
        The folder of the saved model.
    """

    dataset: str
    model: str
    sampler: str
    space: Space
    seeds: list[int]
    n_train: int
    n_valid: int
    n_test: int
    n_variables: int
    trials: list[Trial]
    lead: float
    lead_error: float
    test_log_likelihood: float
    test_standard_error: float
    n_parameters: int
    importances: dict[str, float]
    path: Path

    @property
    def best(self) -> Trial:
        """The complete trial with the highest mean log-likelihood of the validation rows."""
        return self.complete()[0]

    @property
    def seconds(self) -> float:
        """Time that all fits took together."""
        return math.fsum(trial.seconds for trial in self.trials)

    def complete(self) -> list[Trial]:
        """Return the complete trials, the best first."""
        done = [trial for trial in self.trials if trial.state == "complete"]
        return sorted(done, key=lambda trial: -trial.valid_log_likelihood)

    def effects(self) -> list[Effect]:
        """Return how the validation NLL goes with each parameter that took more than one value."""
        return [effect for name in self.varied() for effect in self._effects_of(name)]

    def varied(self) -> list[str]:
        """Return the parameters that took more than one value among the complete trials."""
        done = self.complete()
        names = self.space.parameters
        return [name for name in names if len({to_text(trial.parameters[name]) for trial in done}) > 1]

    def to_dict(self) -> dict[str, Any]:
        """Return a description whose values JSON can hold."""
        best = {
            "number": self.best.number,
            "parameters": self.best.parameters,
            "valid_log_likelihood": self.best.valid_log_likelihood,
            "standard_error": self.best.standard_error,
            "lead": self.lead,
            "lead_standard_error": self.lead_error,
            "test_log_likelihood": self.test_log_likelihood,
            "test_standard_error": self.test_standard_error,
            "n_parameters": self.n_parameters,
            "path": self.path,
        }
        found = {
            "dataset": self.dataset,
            "model": self.model,
            "n_train": self.n_train,
            "n_valid": self.n_valid,
            "n_test": self.n_test,
            "n_variables": self.n_variables,
            "sampler": self.sampler,
            "space": self.space.to_dict(),
            "seeds": self.seeds,
            "best": best,
            "importances": self.importances,
            "effects": [asdict(effect) for effect in self.effects()],
            "trials": [trial.to_dict() for trial in self.trials],
            "fit_seconds": self.seconds,
        }
        return json_safe(found)

    def _effects_of(self, name: str) -> list[Effect]:
        done = [trial for trial in self.complete() if trial.fits]
        parameter = self.space.parameters[name]
        if isinstance(parameter, Choices):
            groups = [
                (text, float(position), [t for t in done if to_text(t.parameters[name]) == text])
                for position, text in enumerate(parameter.by_text)
            ]
        else:
            groups = _bins(name, done, parameter.log)
        fits = {
            (text, position): {self._block(name, trial, fit): fit for trial in trials for fit in trial.fits}
            for text, position, trials in groups
            if trials
        }
        errors = _blocked_errors(list(fits.values())) or [
            _error([*block.values()]) for block in fits.values()
        ]
        return [
            Effect(name, text, position, -_mean([f.valid_log_likelihood for f in b.values()]), error, len(b))
            for ((text, position), b), error in zip(fits.items(), errors, strict=True)
        ]

    def _block(self, name: str, trial: Trial, fit: Fit) -> tuple[str, ...]:
        """Return what a fit has in common with those of other values of a parameter."""
        others = [f"{other}={to_text(value)}" for other, value in trial.parameters.items() if other != name]
        own = [] if self.sampler == "grid" else [str(trial.number)]
        return (*others, *own, str(fit.seed))


def _bins(name: str, trials: Sequence[Trial], log: bool) -> list[tuple[str, float, list[Trial]]]:
    """Return trials in bins of about equal numbers along a parameter that was searched over a range."""
    ordered = sorted(trials, key=lambda trial: trial.parameters[name])
    bins = []
    for rows in np.array_split(np.arange(len(ordered)), min(_N_BINS, len(ordered))):
        part = [ordered[row] for row in rows]
        values = np.array([trial.parameters[name] for trial in part], dtype=np.float64)
        centre = float(np.exp(np.log(values).mean()) if log else values.mean())
        bins.append((f"{values[0]:.{_SEARCHED_DIGITS}g} to {values[-1]:.{_SEARCHED_DIGITS}g}", centre, part))
    return bins


def _blocked_errors(values: Sequence[Mapping[tuple[str, ...], Fit]]) -> list[float]:
    """Return standard errors without what moves all values alike (Morey 2008); none if a block has gaps."""
    blocks = sorted(values[0])
    if len(values) < 2 or len(blocks) < 2 or any(sorted(value) != blocks for value in values):
        return []
    table = np.array([[value[block].valid_log_likelihood for block in blocks] for value in values])
    rest = table - table.mean(axis=0)
    correction = math.sqrt(len(values) / (len(values) - 1))
    return [float(error) for error in rest.std(axis=1, ddof=1) * correction / math.sqrt(len(blocks))]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _error(fits: Sequence[Fit]) -> float:
    """Return the standard error of the mean over fits, or that of a single fit over its rows."""
    if not fits:
        return math.nan
    if len(fits) == 1:
        return fits[0].standard_error
    return float(np.std([fit.valid_log_likelihood for fit in fits], ddof=1) / math.sqrt(len(fits)))
