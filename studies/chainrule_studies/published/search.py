"""The one recipe: successive halving over settings, then steps to neighbours of the best, on validation rows.

Of all starting settings, each fitted for a while, the better half is fitted for twice as long; those that
lead their kind of network then take turns in trying one step, the leading kind twice as often as the next. A
step that gains on the validation rows is taken, and tried again. The search ends with its share of the time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from msgspec.structs import asdict

from chainrule_studies.published.fits import Fits
from chainrule_studies.published.settings import MORE_EPOCHS, Setting, neighbours, starting_settings

__all__ = ["Searched", "Trial", "search"]

# Shares of the search's time that the two rounds of halving may take.
_FIRST, _SECOND = 0.3, 0.3
# Folds that a search looks at where a set has them: all would cost three times as much.
_FOLDS_SEARCHED = 3
_TURNS = (0, 1, 0, 2)


@dataclass
class Trial:
    """A setting, where it came from, and what it gives validation rows, nats per row.

    `still_gains` says whether more epochs would help.
    """

    setting: Setting
    step: str
    valid: float
    still_gains: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {**asdict(self.setting), "step": self.step, "valid": self.valid}


@dataclass
class Searched:
    """What a search found.

    Attributes
    ----------
    trials : list of Trial
        In the order in which they were fitted.
    best : dict of str to Trial
        The best one of each kind of network, the leading kind first.
    max_time : float
        Seconds that a fit may take.
    """

    trials: list[Trial] = field(default_factory=list)
    best: dict[str, Trial] = field(default_factory=dict)
    max_time: float = 0.0

    def add(self, trial: Trial) -> bool:
        """Take in a trial, and return whether it is the best of its kind."""
        self.trials.append(trial)
        known = self.best.get(trial.setting.kind)
        if known is not None and not trial.valid > known.valid:
            return False
        self.best[trial.setting.kind] = trial
        self.best = dict(sorted(self.best.items(), key=lambda item: -item[1].valid))
        return True


def search(fits: Fits, seconds: float) -> Searched:
    """Return the best settings that a search within so many seconds finds.

    Parameters
    ----------
    fits : Fits
    seconds : float
    """
    is_discrete = fits.rows.kinds == "binary"
    started = fits.seconds
    folds = range(min(len(fits.rows.folds), _FOLDS_SEARCHED))
    settings = starting_settings(fits.rows.n_train, fits.rows.n_columns, fits.rows.image is not None)

    def tried(setting: Setting, step: str, max_time: float) -> Trial:
        each = [fits.fit(setting, max_time / len(folds), fold=fold) for fold in folds]
        valid = float(np.mean([fit.valid for fit in each]))
        return Trial(setting, step, valid, all(fit.still_gains for fit in each))

    first = [tried(setting, "start", seconds * _FIRST / len(settings)) for setting in settings]
    better = _better_half(first)
    found = Searched(trials=list(first), max_time=seconds * _SECOND / len(better))
    for trial in better:
        found.add(tried(trial.setting, "halving", found.max_time))
    climbs = {kind: _Climb(is_discrete) for kind in found.best}
    turn = 0
    while fits.seconds - started < seconds and any(not climb.is_over for climb in climbs.values()):
        kind = list(found.best)[_TURNS[turn % len(_TURNS)] % len(found.best)]
        turn += 1
        step = climbs[kind].next_step(found.best[kind])
        if step is not None:
            name, setting = step
            if found.add(tried(setting, name, found.max_time)):
                climbs[kind].gained()
    found.max_time /= len(folds)
    return found


def _better_half(trials: list[Trial]) -> list[Trial]:
    """Return the better half of the trials, and the best one of each kind."""
    ranked = sorted(trials, key=lambda trial: -trial.valid)
    leading = list({trial.setting.kind: trial for trial in reversed(ranked)}.values())
    half = ranked[: math.ceil(len(ranked) / 2)]
    return [trial for trial in ranked if trial in half or trial in leading]


class _Climb:
    """The steps of one kind of network: each is tried once from where the search stands.

    Parameters
    ----------
    is_discrete : bool
    """

    def __init__(self, is_discrete: bool) -> None:
        self.is_discrete = is_discrete
        self.tried: set[Setting] = set()
        self.last = ""
        self.steps: list[str] = []
        self.is_over = False

    def next_step(self, best: Trial) -> tuple[str, Setting] | None:
        """Return a step that was not tried yet, None if there is none."""
        self.tried.add(best.setting)
        for name, other in self._by_promise(best):
            if other not in self.tried:
                self.tried.add(other)
                self.last = name
                self.steps.append(name)
                return name, other
        self.is_over = True
        return None

    def gained(self) -> None:
        """Say that the last step was taken: it comes first next time."""
        self.steps.remove(self.last)

    def _by_promise(self, best: Trial) -> Iterator[tuple[str, Setting]]:
        """Yield steps, more epochs first where a fit still gained, then those that were tried least often."""
        steps = list(neighbours(best.setting, self.is_discrete))
        wanted = MORE_EPOCHS if best.still_gains else ""
        yield from sorted(steps, key=lambda step: (step[0] != wanted, self.steps.count(step[0])))
