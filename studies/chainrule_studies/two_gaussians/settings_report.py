"""Tables, figures and sentences on the hyperparameter study of `two-gaussians`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.experiments.study import StudyRun
from chainrule.metrics.statistics import Summary, summarize
from chainrule.report.blocks import Block, Table
from chainrule.report.line_plots import COLOURS, Line, line_picture, point_picture
from chainrule.report.numbers import count, with_error
from chainrule.report.style import MUTED, Picture
from chainrule_studies.two_gaussians.settings import (
    BASE,
    N_GIVEN,
    N_TEST,
    QUICK_EPOCHS,
    Group,
    Outcome,
    count_seeds,
    fit_settings,
)

__all__ = ["SettingsStudy", "study_settings"]


@dataclass(frozen=True)
class SettingsStudy:
    """What the hyperparameter study adds to the report."""

    results: dict[str, Any]
    sections: list[Block]
    verdict: list[str]


def study_settings(run: StudyRun, n: int) -> SettingsStudy:
    """Fit all settings with several seeds, and return tables, figures and sentences about them.

    Parameters
    ----------
    run : StudyRun
    n : int
        Rows to learn from and to stop by; a seed draws its own.
    """
    fitted = fit_settings(run, n)
    outcomes = {group.key: found for group, found in fitted}
    return SettingsStudy(
        {key: [_result(outcome) for outcome in found] for key, found in outcomes.items()},
        [_introduction(n, count_seeds(run.quick), run.quick), *(_section(*pair) for pair in fitted)],
        [
            *(_sentence(*pair) for pair in fitted),
            _fitting_sentence(outcomes["size"]),
            _eight_sentence(outcomes["masking"][0]),
        ],
    )


def _introduction(n: int, n_seeds: int, quick: bool) -> Block:
    epochs = QUICK_EPOCHS if quick else BASE["max_epochs"]
    return Block(
        "Hyperparameters",
        "One setting at a time is changed about a base: a MADE with one hidden layer of 64 ReLU units, "
        f"mixtures of {BASE['n_components']} Gaussians, natural order, no dropout, no residual and no "
        f"direct connections, up to {epochs} epochs, stopped after {BASE['patience']} without a gain. Each "
        f"setting is fitted with {n_seeds} seeds; a seed draws its own {count(n)} rows (a fifth for "
        f"validation), {count(N_TEST)} test rows and starting weights, the same rows for every setting.\n\n"
        "All losses are differences to the loss of the true distribution on the same rows, in nats: zero is "
        "perfect, and below zero on training rows is overfitting. The error of the conditional is the total "
        "variation distance between the learned and the true density of the last variable given the others, "
        f"averaged over {N_GIVEN} values drawn from the truth. Errors are standard errors over the seeds.",
    )


def _result(outcome: Outcome) -> dict[str, Any]:
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


def _section(group: Group, outcomes: list[Outcome]) -> Block:
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


def _pictures(group: Group, outcomes: list[Outcome]) -> list[Picture]:
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
    return pictures + ([_learning_curves(outcomes)] if group.key == "size" else [])


def _line(name: str, part: str, colour: str, x: list[float], outcomes: list[Outcome]) -> Line:
    summaries = [outcome.summary(part) for outcome in outcomes]
    means, errors = [s.mean for s in summaries], [s.standard_error for s in summaries]
    return Line(name, x, means, colour, errors, dashed=part == "train", markers=True)


def _bars(title: str, xlabel: str, part: str, outcomes: list[Outcome]) -> Picture:
    return point_picture(
        title,
        [outcome.setting.label for outcome in outcomes],
        [outcome.summary(part) for outcome in outcomes],
        xlabel=xlabel,
        alt=f"{title} of each masking strategy.",
        reference=None,
        caption="Bars: two standard errors over the seeds.",
    )


def _learning_curves(outcomes: list[Outcome]) -> Picture:
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


def _leader(outcomes: list[Outcome]) -> int | None:
    """Return the place of the setting that leads every other one, over the same seeds."""
    best = int(np.argmin([outcome.summary("test").mean for outcome in outcomes]))
    leads = [
        summarize(other.values("test") - outcomes[best].values("test"))
        for place, other in enumerate(outcomes)
        if place != best
    ]
    return best if all(lead.mean > 0 and lead.significant for lead in leads) else None


def _sentence(group: Group, outcomes: list[Outcome]) -> str:
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


def _fitting_sentence(outcomes: list[Outcome]) -> str:
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


def _eight_sentence(base: Outcome) -> str:
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


def _side(outcome: Outcome) -> str:
    train = outcome.summary("train")
    if not train.significant:
        return "level with the truth"
    return "underfitted" if train.mean > 0 else "overfitted"
