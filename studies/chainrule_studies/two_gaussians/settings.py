"""The hyperparameter study of `two-gaussians`: one setting of a MADE is changed at a time."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from chainrule.datasets.synthetic import TwinGaussians
from chainrule.estimators import MADE, NADE
from chainrule.experiments.study import StudyRun
from chainrule.metrics.statistics import Summary, summarize
from chainrule.report.blocks import Block, Table
from chainrule.report.line_plots import COLOURS, Line, line_picture, point_picture
from chainrule.report.numbers import count, with_error
from chainrule.report.style import MUTED, Picture
from chainrule_studies.two_gaussians.known_truth import ConditionalGrid, KnownRows

__all__ = ["Group", "Setting", "SettingsStudy", "settings_groups", "study_settings"]

PLANE = TwinGaussians(2, shift=2.0, scale=0.5)
# Here every variable says a little about the component, and masks over several positions differ.
EIGHT = TwinGaussians(8, shift=0.5, scale=0.5)

_N_TEST = 5000
_SEEDS, _QUICK_SEEDS = 8, 3
_GIVEN, _GRID = 40, 201  # values that the conditional is asked at, and points of its grid
_BASE: dict[str, Any] = {
    "hidden_sizes": (64,), "activation": "relu", "n_components": 5, "dropout": 0.0, "residual": False,
    "direct_connections": False, "max_epochs": 150, "patience": 45,
}  # fmt: skip
_QUICK_EPOCHS = 60

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
        merged = _BASE | self.changes
        if self.model == "NADE":
            merged = {key: value for key, value in merged.items() if key not in _MADE_ONLY}
        return merged | ({"max_epochs": _QUICK_EPOCHS} if quick else {})


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


@dataclass
class SettingsStudy:
    """What the hyperparameter study adds to the report."""

    results: dict[str, Any] = field(default_factory=dict)
    sections: list[Block] = field(default_factory=list)
    verdict: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Outcome:
    """A setting and what came of it with each seed."""

    setting: Setting
    fits: list[dict[str, Any]]

    def values(self, name: str) -> Floats:
        return np.array([fit[name] for fit in self.fits], dtype=np.float64)

    def summary(self, name: str) -> Summary:
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


def study_settings(run: StudyRun, n: int) -> SettingsStudy:
    """Fit all settings with several seeds, and return tables, figures and sentences about them.

    Parameters
    ----------
    run : StudyRun
    n : int
        Rows to learn from and to stop by; a seed draws its own.
    """
    study = SettingsStudy()
    n_seeds = _QUICK_SEEDS if run.quick else _SEEDS
    groups = settings_groups(run.quick)
    outcomes = {}
    for group in groups:
        run.say(f"two-gaussians: {group.title.lower()}, {len(group.settings)} settings, {n_seeds} seeds each")
        outcomes[group.key] = [
            _Outcome(setting, [_fit(run, setting, n, seed) for seed in range(n_seeds)])
            for setting in group.settings
        ]
    for group in groups:
        study.results[group.key] = [_result(outcome) for outcome in outcomes[group.key]]
        study.sections.append(_section(group, outcomes[group.key]))
        study.verdict.append(_sentence(group, outcomes[group.key]))
    study.sections.insert(0, _introduction(n, n_seeds, run.quick))
    study.verdict.append(_fitting_sentence(outcomes["size"]))
    study.verdict.append(_eight_sentence(outcomes["masking"][0]))
    return study


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
    rows = KnownRows.draw(truth, n, _N_TEST, [run.random_state, 10 + seed, truth.n_variables])
    estimators = []
    for k in range(setting.n_fits):
        estimator = (NADE if setting.model == "NADE" else MADE)(
            kinds="continuous", device="cpu", random_state=_seed(run.random_state, seed, k),
            **setting.parameters(run.quick),
        )  # fmt: skip
        estimators.append(estimator.fit(rows.train, X_val=rows.valid))
    averaged = _Average(estimators)
    given = truth.sample(_GIVEN, np.random.default_rng(run.random_state))[:, :-1]
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


# ---------------------------------------------------------------- tables, figures, sentences


def _introduction(n: int, n_seeds: int, quick: bool) -> Block:
    epochs = _QUICK_EPOCHS if quick else _BASE["max_epochs"]
    return Block(
        "Hyperparameters",
        "One setting at a time is changed about a base: a MADE with one hidden layer of 64 ReLU units, "
        f"mixtures of {_BASE['n_components']} Gaussians, natural order, no dropout, no residual and no "
        f"direct connections, up to {epochs} epochs, stopped after {_BASE['patience']} without a gain. Each "
        f"setting is fitted with {n_seeds} seeds; a seed draws its own {count(n)} rows (a fifth for "
        f"validation), {count(_N_TEST)} test rows and starting weights, the same rows for every setting.\n\n"
        "All losses are differences to the loss of the true distribution on the same rows, in nats: zero is "
        "perfect, and below zero on training rows is overfitting. The error of the conditional is the total "
        "variation distance between the learned and the true density of the last variable given the others, "
        f"averaged over {_GIVEN} values drawn from the truth. Errors are standard errors over the seeds.",
    )


def _result(outcome: _Outcome) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "setting": outcome.setting.label,
        "variables": outcome.setting.truth.n_variables,
        "seeds": len(outcome.fits),
        "n_parameters": outcome.fits[0]["n_parameters"],
    }
    for name in ("train", "valid", "test", "conditional", "train_end", "valid_end", "epochs"):
        summary = outcome.summary(name)
        facts[name] = {"mean": summary.mean, "standard_error": summary.standard_error}
    return facts


def _section(group: Group, outcomes: list[_Outcome]) -> Block:
    header = [
        group.xlabel or "strategy", "Loss on test rows", "on validation rows", "on training rows",
        "Rise to the last epoch", "Error of the conditional", "Epochs", "Parameters",
    ]  # fmt: skip
    cells = []
    for outcome in outcomes:
        rise = summarize(outcome.values("valid_end") - outcome.values("valid"))
        cells.append(
            [
                outcome.setting.label,
                *(_cell(outcome.summary(name)) for name in ("test", "valid", "train")),
                _cell(rise),
                _cell(outcome.summary("conditional")),
                f"{outcome.summary('epochs').mean:.0f}",
                count(outcome.fits[0]["n_parameters"]),
            ]
        )
    leader = _leader(outcomes)
    table = Table(
        header,
        cells,
        [] if leader is None else [leader],
        "Nats above the truth, mean over the seeds ± one standard error. The rise is the validation loss of "
        "the last epoch minus that of the kept one. A setting is marked where it leads every other by more "
        "than two standard errors of the paired difference over the seeds. Which settings are first and last "
        "is known only afterwards, so that small leads among many settings mean less than their errors say.",
    )
    return Block(group.title, group.text, _pictures(group, outcomes), "two", table)


def _cell(summary: Summary) -> str:
    return "–" if math.isnan(summary.mean) else with_error(summary.mean, summary.standard_error, 3)


def _pictures(group: Group, outcomes: list[_Outcome]) -> list[Picture]:
    labels = [outcome.setting.label for outcome in outcomes]
    shown = [outcome for outcome in outcomes if outcome.setting.members != "one"]
    if group.key == "masking":
        return [
            _bars("Loss on test rows", "nats above the truth", "test", outcomes),
            _bars("Error of the conditional", "total variation", "conditional", shown),
        ]
    x = list(group.x) or list(range(len(labels)))
    places: dict[str, Any] = {"names": () if group.x else labels, "log": group.key.endswith("size")}
    parts = [("train", "training rows", MUTED), ("valid", "validation rows", COLOURS[0])]
    parts.append(("test", "test rows", COLOURS[1]))
    lines = [_line(name, part, colour, x, outcomes) for part, name, colour in parts]
    pictures = [
        line_picture(
            "Loss above the truth",
            lines,
            xlabel=group.xlabel,
            ylabel="nats",
            alt=f"Loss on training, validation and test rows by {group.xlabel}.",
            caption="The gap between training and test rows is the overfitting. Bars: two standard errors.",
            **places,
        ),
        line_picture(
            "Error of the learned conditional",
            [_line("error", "conditional", COLOURS[2], x, outcomes)],
            xlabel=group.xlabel,
            ylabel="total variation",
            alt=f"Error of the conditional by {group.xlabel}.",
            **places,
        ),
    ]
    return pictures + ([_courses(outcomes)] if group.key == "size" else [])


def _line(name: str, part: str, colour: str, x: list[float], outcomes: list[_Outcome]) -> Line:
    summaries = [outcome.summary(part) for outcome in outcomes]
    means, errors = [s.mean for s in summaries], [s.standard_error for s in summaries]
    return Line(name, x, means, colour, errors, dashed=part == "train", markers=True)


def _bars(title: str, xlabel: str, part: str, outcomes: list[_Outcome]) -> Picture:
    return point_picture(
        title,
        [outcome.setting.label for outcome in outcomes],
        [outcome.summary(part) for outcome in outcomes],
        xlabel=xlabel,
        alt=f"{title} of each masking strategy.",
        reference=None,
        caption="Bars: two standard errors over the seeds.",
    )


def _courses(outcomes: list[_Outcome]) -> Picture:
    """Return the learning curves of the smallest, the middle and the largest layer, of the first seed."""
    chosen = [outcomes[0], outcomes[len(outcomes) // 2], outcomes[-1]]
    lines = []
    for outcome, colour in zip(chosen, COLOURS, strict=False):
        fit = outcome.fits[0]
        epochs = list(range(1, fit["epochs"] + 1))
        lines.append(
            Line(f"{outcome.setting.label}, training", epochs, fit["train_curve"], colour, dashed=True)
        )
        lines.append(Line(f"{outcome.setting.label}, validation", epochs, fit["valid_curve"], colour))
    late = [value for line in lines for value in line.y[len(line.y) // 8 :]]
    margin = 0.1 * (max(late) - min(late))
    return line_picture(
        "Learning curves by layer size, one seed",
        lines,
        xlabel="epoch",
        ylabel="nats above the truth",
        alt="Training and validation loss per epoch for three layer sizes.",
        limits=(min(late) - margin, max(late) + margin),
        caption="Validation rows can lie below zero: they are few, and the kept epoch is chosen by them.",
    )


def _leader(outcomes: list[_Outcome]) -> int | None:
    """Return the place of the setting that leads every other one, over the same seeds."""
    best = int(np.argmin([outcome.summary("test").mean for outcome in outcomes]))
    leads = [
        summarize(other.values("test") - outcomes[best].values("test"))
        for place, other in enumerate(outcomes)
        if place != best
    ]
    return best if all(lead.mean > 0 and lead.significant for lead in leads) else None


def _sentence(group: Group, outcomes: list[_Outcome]) -> str:
    """Say which setting did best and which worst on test rows, and whether the seeds tell them apart."""
    means = [outcome.summary("test").mean for outcome in outcomes]
    best, worst = outcomes[int(np.argmin(means))], outcomes[int(np.argmax(means))]
    apart = summarize(worst.values("test") - best.values("test"))
    told = "" if apart.significant else ", which the seeds cannot tell apart"
    return (
        f"{group.title}: lowest test loss with {best.setting.label} ({_cell(best.summary('test'))} nats "
        f"above the truth), highest with {worst.setting.label} ({_cell(worst.summary('test'))}); paired "
        f"difference {with_error(apart.mean, apart.standard_error, 3)}{told}."
    )


def _fitting_sentence(outcomes: list[_Outcome]) -> str:
    """Say how the gap between training and test rows moves with the size of the layer."""
    small, large = outcomes[0], outcomes[-1]
    gaps = [summarize(o.values("test") - o.values("train")) for o in (small, large)]
    growth = summarize(
        (large.values("test") - large.values("train")) - (small.values("test") - small.values("train"))
    )
    moves = "does not change noticeably" if not growth.significant else (
        "grows" if growth.mean > 0 else "shrinks"
    )  # fmt: skip
    return (
        f"From {small.setting.label} to {large.setting.label} units the gap between training and test rows "
        f"{moves}: {_cell(gaps[0])} and {_cell(gaps[1])} nats. "
        f"Training loss at {small.setting.label} units: {_cell(small.summary('train'))} above the truth on "
        f"the same rows ({_side(small)}); at {large.setting.label}: {_cell(large.summary('train'))} "
        f"({_side(large)})."
    )


def _eight_sentence(base: _Outcome) -> str:
    """Say how far the base overfits in eight variables."""
    gap = summarize(base.values("test") - base.values("train"))
    rise = summarize(base.values("valid_end") - base.values("valid"))
    last = f"validation loss rises by another {_cell(rise)} by the last epoch"
    if gap.significant and gap.mean > 0:
        ending = f"{last}, which stopping early avoids" if rise.significant else last
        return (
            f"In eight variables as many rows are few: the base loses {_cell(gap)} nats from training to "
            f"test rows; {ending}."
        )
    return f"In eight variables the base does not overfit noticeably ({_cell(gap)} nats); {last}."


def _side(outcome: _Outcome) -> str:
    train = outcome.summary("train")
    if not train.significant:
        return "level with the truth"
    return "underfitted" if train.mean > 0 else "overfitted"
