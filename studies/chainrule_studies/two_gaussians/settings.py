"""The hyperparameter study of `two-gaussians`: one setting of a MADE is changed at a time."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from chainrule.datasets.synthetic import TwinGaussians
from chainrule.estimators import MADE, NADE
from chainrule.experiments.study import StudyRun
from chainrule.metrics.statistics import Summary, summarize
from chainrule_studies.two_gaussians.known_truth import ConditionalGrid, KnownRows

__all__ = [
    "BASE", "N_GIVEN", "N_TEST", "QUICK_EPOCHS", "Group", "Outcome", "Setting", "count_seeds", "fit_settings",
    "settings_groups",
]  # fmt: skip

PLANE = TwinGaussians(2, shift=2.0, scale=0.5)
# Here every variable says a little about the component, and masks over several positions differ.
EIGHT = TwinGaussians(8, shift=0.5, scale=0.5)

N_TEST = 5000
_SEEDS, _QUICK_SEEDS = 8, 3
N_GIVEN, _GRID = 40, 201  # values that the conditional is asked at, and points of its grid
BASE: dict[str, Any] = {
    "hidden_sizes": (64,), "activation": "relu", "n_components": 5, "dropout": 0.0, "residual": False,
    "direct_connections": False, "max_epochs": 150, "patience": 45,
}  # fmt: skip
QUICK_EPOCHS = 60

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """One point of the study: what is changed about the base, and in which variables it is fitted.

    `n_fits` models of different seeds are fitted apart and their probabilities averaged; with `members`
    "one" the members of an ensemble that shares its weights are scored one by one instead of averaged.
    """

    label: str
    changes: dict[str, Any]
    truth: TwinGaussians = PLANE
    model: str = "MADE"
    n_fits: int = 1
    members: str = "averaged"

    def parameters(self, quick: bool) -> dict[str, Any]:
        """Return the constructor arguments that are not the library's own."""
        merged = BASE | self.changes
        if self.model == "NADE":
            merged = {key: value for key, value in merged.items() if key not in _MADE_ONLY}
        return merged | ({"max_epochs": QUICK_EPOCHS} if quick else {})


# What is not known of single members.
_OF_THE_AVERAGE = ("train", "valid", "train_end", "valid_end", "conditional")
_MADE_ONLY = {"hidden_sizes", "dropout", "residual", "direct_connections"}


@dataclass(frozen=True)
class Group:
    """Settings that stand in one table and one figure; `x` are their places on a numeric axis."""

    key: str
    title: str
    text: str
    xlabel: str
    settings: list[Setting]
    x: Sequence[float] = ()


@dataclass(frozen=True)
class Outcome:
    """A setting and what came of it with each seed."""

    setting: Setting
    fits: list[dict[str, Any]]

    def values(self, name: str) -> Floats:
        """Return a number of each fit, (seeds,)."""
        return np.array([fit[name] for fit in self.fits], dtype=np.float64)

    def summary(self, name: str) -> Summary:
        """Return the mean of a number over the seeds, and its standard error."""
        return summarize(self.values(name))


def settings_groups(quick: bool) -> list[Group]:
    """Return what is varied."""
    layers = (1, 2, 3, 4)
    sizes = (4, 64, 512) if quick else (4, 8, 16, 32, 64, 128, 256, 512)
    nade_sizes = (4, 512) if quick else sizes
    activations = ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "silu")
    return [
        Group(
            "layers",
            "Number of hidden layers",
            "",
            "hidden layers of 64 units",
            [Setting(str(n), {"hidden_sizes": (64,) * n}) for n in ((1, 4) if quick else layers)],
            (1, 4) if quick else layers,
        ),
        Group("size", "Size of the hidden layer", "", "units in the one hidden layer",
              [Setting(str(n), {"hidden_sizes": (n,)}) for n in sizes], sizes),
        Group("nade-size", "Size of the hidden layer of a NADE", "", "units of the NADE",
              [Setting(str(n), {"hidden_size": n}, model="NADE") for n in nade_sizes], nade_sizes),
        Group("activation", "Activation", "", "activation",
              [Setting(name.replace("_", " "), {"activation": name})
               for name in (("sigmoid", "relu") if quick else activations)]),
        _masking(quick),
    ]  # fmt: skip


def _masking(quick: bool) -> Group:
    uniform = {"degrees": "uniform"}
    settings = [
        Setting("natural order, even degrees", {}, EIGHT),
        Setting("random order, even degrees", {"ordering": "random"}, EIGHT),
        Setting("natural order, uniform degrees", uniform, EIGHT),
        Setting("random order, uniform degrees", uniform | {"ordering": "random"}, EIGHT),
    ]
    for n in (4, 16):
        masks = uniform | {"n_masks": n}
        settings += [
            Setting(f"{n} masks, each step, averaged", masks, EIGHT),
            Setting(f"{n} masks, each step, one at a time", masks, EIGHT, members="one"),
            Setting(f"{n} masks, every 20 steps, averaged", masks | {"resample_every": 20}, EIGHT),
            Setting(f"{n} orders, each step, averaged", {"n_orderings": n}, EIGHT),
        ]
    settings.append(Setting("4 models of one mask each, averaged", uniform, EIGHT, n_fits=4))
    return Group(
        "masking",
        "Masking strategy, in eight variables",
        "With two variables every hidden unit has degree 1: it may see the first variable and feeds the "
        "second, so that all masks are the same one. Masks are therefore compared on data of the same kind "
        "in eight variables: half N(−0.5·1, 0.5² I), half N(0.5·1, 0.5² I), where each variable says "
        "a little about which half a row is from.\n\n"
        "Masks and orders of one model share its weights; “each step” and “every 20 steps” say how often "
        "training moves on to the next. Averaged means the mean of their probabilities, one at a time "
        "the mean of their losses. Where nothing is said, there is one fixed mask and one order.",
        "",
        [settings[place] for place in (0, 2, 4, 5)] if quick else settings,
    )


# ---------------------------------------------------------------- fits


def fit_settings(run: StudyRun, n: int) -> list[tuple[Group, list[Outcome]]]:
    """Fit all settings with several seeds, and return what came of them, group by group.

    Parameters
    ----------
    run : StudyRun
    n : int
        Rows to learn from and to stop by; a seed draws its own.
    """
    seeds = range(count_seeds(run.quick))
    fitted = []
    for group in settings_groups(run.quick):
        run.say(
            f"two-gaussians: {group.title.lower()}, {len(group.settings)} settings, {len(seeds)} seeds each"
        )
        outcomes = [
            Outcome(setting, [_fit(run, setting, n, seed) for seed in seeds]) for setting in group.settings
        ]
        fitted.append((group, outcomes))
    return fitted


def count_seeds(quick: bool) -> int:
    """Return how many seeds each setting is fitted with."""
    return _QUICK_SEEDS if quick else _SEEDS


def _fit(run: StudyRun, setting: Setting, n: int, seed: int) -> dict[str, Any]:
    """Return what a setting comes to with one seed; equal settings of two groups are fitted once."""
    what = {
        "model": setting.model,
        "parameters": setting.parameters(run.quick),
        "variables": setting.truth.n_variables,
        "fits": setting.n_fits,
    }
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]
    key = f"setting-{digest}-{seed}"
    fit = run.step(key, partial(_fit_anew, run, setting, n, seed), what)
    if setting.members == "one":
        return fit | dict.fromkeys(_OF_THE_AVERAGE, math.nan) | {"test": fit["test_one_member"]}
    if setting.n_fits > 1:
        return fit | dict.fromkeys(("train_end", "valid_end"), math.nan)
    return fit


def _fit_anew(run: StudyRun, setting: Setting, n: int, seed: int) -> dict[str, Any]:
    truth = setting.truth
    rows = KnownRows.draw(truth, n, N_TEST, [run.random_state, 10 + seed, truth.n_variables])
    estimators = []
    for k in range(setting.n_fits):
        estimator = (NADE if setting.model == "NADE" else MADE)(
            kinds="continuous", device="cpu", random_state=_seed(run.random_state, seed, k),
            **setting.parameters(run.quick),
        )  # fmt: skip
        estimators.append(estimator.fit(rows.train, X_val=rows.valid))
    averaged = _Average(estimators)
    given = truth.sample(N_GIVEN, np.random.default_rng(run.random_state))[:, :-1]
    grid = ConditionalGrid(truth, given, _GRID)
    first = estimators[0]
    train = [nll - rows.loss("train") for nll in first.history_.train]
    valid = [nll - rows.loss("valid") for nll in first.history_.valid]
    losses = {
        part: -float(averaged.score_samples(getattr(rows, part)).mean()) - rows.loss(part)
        for part in ("train", "valid", "test")
    }
    return losses | {
        "conditional": float(grid.errors(grid.learned(averaged)).mean()),
        "test_one_member": _loss_of_one_member(first, rows.test) - rows.loss("test"),
        "train_curve": train,
        "valid_curve": valid,
        "train_end": train[-1],
        "valid_end": valid[-1],
        "epochs": len(train),
        "best_epoch": first.history_.best_epoch,
        "n_parameters": sum(estimator.n_parameters_ for estimator in estimators),
    }


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


class _Average:
    """The mean of the probabilities of several models."""

    def __init__(self, estimators: Sequence[Any]) -> None:
        self.estimators = estimators

    def score_samples(self, rows: Floats) -> Floats:
        scores = [estimator.score_samples(rows) for estimator in self.estimators]
        return np.asarray(np.logaddexp.reduce(scores) - math.log(len(scores)))


def _loss_of_one_member(estimator: Any, rows: Floats) -> float:
    """Return the mean NLL of the rows under one member of the ensemble, taken over all members."""
    model = estimator.model_
    if model.n_members == 1:
        return -float(estimator.score(rows))
    codes = torch.from_numpy(estimator.schema_.encode(rows))
    with torch.no_grad():
        scores = [float(model.log_prob_of_member(codes, k).mean()) for k in range(model.n_members)]
    origin = np.zeros((1, estimator.schema_.n_variables))
    return -float(np.mean(scores)) - float(estimator.schema_.log_abs_det_jacobian(origin)[0])
