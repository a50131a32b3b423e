"""The report of a sweep: a verdict in sentences, the effects, the trials."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from chainrule.report.blocks import Block, Table
from chainrule.report.numbers import count, decimals_for, listed, number, seconds, with_error
from chainrule.report.page import write_page
from chainrule.report.style import Picture, drawing
from chainrule.report.sweep_plots import (
    EffectPoints,
    course_picture,
    effect_picture,
    importance_picture,
    search_picture,
)
from chainrule.sweep.parameters import Range, to_text
from chainrule.sweep.records import SweepResult, Trial
from chainrule.training.history import still_gains

__all__ = ["setting_text", "value_text", "verdict", "write_sweep_page"]

_MOST_ROWS = 50
_MOST_CURVES = 60


def write_sweep_page(result: SweepResult, path: Path, description: str = "") -> None:
    """Write the report of a sweep: one HTML file that opens offline.

    Parameters
    ----------
    result : SweepResult
    path : Path
        Where to write; the folder must exist.
    description : str
        What the rows are.
    """
    with drawing():
        sections = list(_sections(result))
    write_page(
        path,
        f"{result.model} on {result.dataset}",
        _facts(result),
        verdict(result),
        sections,
        description=description,
        eyebrow="A sweep over the settings of a model",
    )


def verdict(result: SweepResult) -> list[str]:
    """Return what the numbers say, one sentence or two per entry, the main result first."""
    best, done = result.best, result.complete()
    decimals = decimals_for(best.standard_error)
    level = with_error(best.valid_log_likelihood, best.standard_error, decimals)
    test = with_error(result.test_log_likelihood, result.test_standard_error, decimals)
    its_seed = f", from the best of its {len(result.seeds)} seeds," if len(result.seeds) > 1 else ""
    sentences = [
        f"Of {count(len(done))} complete trials, number {best.number} has the highest validation "
        f"log-likelihood: {level} nats per row, with {setting_text(best)}. "
        f"The model that was saved{its_seed} gives the {count(result.n_test)} test rows {test} nats."
    ]
    return [*sentences, *_runner_up(result, done), *_effects(result), *_losses(result)]


def setting_text(trial: Trial) -> str:
    """Return the parameters of a trial in one line."""
    return ", ".join(f"{name}={value_text(value)}" for name, value in trial.parameters.items())


def value_text(value: object) -> str:
    """Return a value of a parameter, numbers with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else to_text(value)


def _runner_up(result: SweepResult, done: list[Trial]) -> list[str]:
    if len(done) < 2:
        return []
    gap = with_error(result.lead, result.lead_error, decimals_for(result.lead_error))
    if not math.isfinite(result.lead_error):
        return [f"It leads trial {done[1].number}, the runner-up, by {gap} nats."]
    if result.lead > 2 * result.lead_error:
        return [
            f"It leads trial {done[1].number}, the runner-up, by {gap} nats over the same validation rows, "
            "more than two standard errors."
        ]
    return [
        f"It leads trial {done[1].number}, the runner-up ({setting_text(done[1])}), by {gap} nats over "
        "the same validation rows: these rows cannot tell the two apart."
    ]


def _effects(result: SweepResult) -> list[str]:
    """Say between which values of a parameter the means differ most, or what mattered in a search."""
    if result.sampler != "grid":
        return _importances(result)
    sentences = []
    for name in result.varied():
        effects = [effect for effect in result.effects() if effect.parameter == name]
        low, high = min(effects, key=lambda e: e.nll), max(effects, key=lambda e: e.nll)
        error = math.hypot(low.standard_error, high.standard_error)
        decimals = decimals_for(error)
        if not math.isfinite(error) or high.nll - low.nll <= 2 * error:
            continue
        sentences.append(
            f"{name}: the mean NLL is lowest at {low.value} ({number(low.nll, decimals)}) and highest at "
            f"{high.value} ({number(high.nll, decimals)}), a difference of more than two standard errors."
        )
    return sentences


def _importances(result: SweepResult) -> list[str]:
    """Name the parameters of a search that matter most; it compares no values on equal terms."""
    leading = sorted(result.importances.items(), key=lambda item: -item[1])[:2]
    if len(leading) < 2:
        return []
    (first, share), (second, other) = leading
    return [
        f"Of the variance of the validation NLL over the trials, {first} accounts for about {share:.0%} and "
        f"{second} for {other:.0%}, by functional ANOVA."
    ]


def _losses(result: SweepResult) -> list[str]:
    """Say what was pruned or failed, and whether the best fit was still improving."""
    sentences = []
    pruned = [trial for trial in result.trials if trial.state == "pruned"]
    failed = [trial for trial in result.trials if trial.state == "failed"]
    if pruned:
        sentences.append(
            f"{count(len(pruned))} of the {count(len(result.trials))} trials were pruned; "
            "the effects leave them out."
        )
    if failed:
        reasons = listed(dict.fromkeys(trial.reason for trial in failed))
        sentences.append(f"{count(len(failed))} could not be fitted: {reasons}.")
    course = result.best.valid_nll
    if still_gains([course[epoch] for epoch in sorted(course)]):
        sentences.append("The best fit was still improving when it ended; more epochs may help.")
    return sentences


def _facts(result: SweepResult) -> list[tuple[str, str]]:
    sampler = {"grid": "grid", "tpe": "TPE search", "random": "random search"}[result.sampler]
    return [
        ("Training rows", count(result.n_train)),
        ("Validation rows", count(result.n_valid)),
        ("Test rows", count(result.n_test)),
        ("Variables", count(result.n_variables)),
        ("Trials", count(len(result.trials))),
        ("Settings from", sampler),
        ("Seeds per setting", count(len(result.seeds))),
        ("Time of all fits, s", seconds(result.seconds)),
    ]


def _sections(result: SweepResult) -> Iterator[Block]:
    effects = [_effect_picture(result, name) for name in result.varied()]
    if effects:
        yield Block("What the parameters do", _about_effects(result), pictures=effects)
    yield Block("How it went", pictures=_courses(result), layout="panels")
    yield Block(
        "The trials",
        "Every trial was chosen and stopped by the validation rows only. Only the model that was saved met "
        "the test rows, once.",
        table=_table(result),
    )


def _about_effects(result: SweepResult) -> str:
    text = (
        "Each grey point is a complete trial. The line joins the means over all fits with a value, "
        "whatever the other parameters were; bars are two standard errors of the mean either way, "
        "and for a single fit those over the validation rows. Lower is better."
    )
    if result.sampler == "grid":
        return f"{text} What the other parameters do to all values alike is taken out of the bars."
    return (
        f"{text} A search tries promising settings more often, and the other parameters vary along: "
        "read this as a guide, and try a grid where it matters."
    )


def _effect_picture(result: SweepResult, name: str) -> Picture:
    parameter = result.space.parameters[name]
    means = [(e.position, e.nll, e.standard_error) for e in result.effects() if e.parameter == name]
    done = result.complete()
    if isinstance(parameter, Range):
        trials = [(float(trial.parameters[name]), -trial.valid_log_likelihood) for trial in done]
        return effect_picture(EffectPoints(name, trials, means, log=parameter.log))
    places = {text: place for place, text in enumerate(parameter.by_text)}
    trials = [(places[to_text(trial.parameters[name])], -trial.valid_log_likelihood) for trial in done]
    return effect_picture(EffectPoints(name, trials, means, list(places)))


def _courses(result: SweepResult) -> list[Picture]:
    done = sorted(result.complete(), key=lambda trial: trial.number)
    pruned = [trial for trial in result.trials if trial.state == "pruned" and trial.valid_nll]
    pictures = []
    if len(done) > 1:
        pictures.append(
            search_picture(
                [trial.number for trial in done],
                [-trial.valid_log_likelihood for trial in done],
                {trial.number: min(trial.valid_nll.values()) for trial in pruned},
            )
        )
    drawn = [trial for trial in result.complete() if trial.valid_nll][:_MOST_CURVES] + pruned[:_MOST_CURVES]
    curves = {trial.number: dict(sorted(trial.valid_nll.items())) for trial in drawn}
    if curves:
        pictures.append(course_picture(curves, result.best.number, [trial.number for trial in pruned]))
    if len(result.importances) > 1:
        pictures.append(importance_picture(result.importances))
    return pictures


def _table(result: SweepResult) -> Table:
    done = result.complete()
    rest = [trial for trial in result.trials if trial.state != "complete"]
    shown = [*done, *rest][:_MOST_ROWS]
    decimals = decimals_for(*(trial.standard_error for trial in done))
    names = list(result.space.parameters)
    rows = [
        [
            str(trial.number),
            with_error(trial.valid_log_likelihood, trial.standard_error, decimals)
            if trial.state == "complete"
            else trial.state,
            *(value_text(trial.parameters.get(name)) for name in names),
            number(trial.overfit, decimals) if trial.fits else "–",
            _epochs(trial),
            count(trial.fits[0].n_parameters) if trial.fits else "–",
            seconds(trial.seconds) if trial.fits else "–",
        ]
        for trial in shown
    ]
    error = "over the seeds" if len(result.seeds) > 1 else "over the validation rows"
    caption = (
        f"Validation log-likelihood: mean ± one standard error {error}. Overfit: how many nats more the "
        "training rows get."
    )
    if len(shown) < len(result.trials):
        caption += f" {_MOST_ROWS} of {count(len(result.trials))} trials; results.json has all."
    if warned := _warnings(result):
        caption += f" Warnings: {warned}"
    leads = math.isfinite(result.lead_error) and result.lead > 2 * result.lead_error
    header = ["Trial", "Validation, nats", *names, "Overfit", "Epochs", "Weights", "Fit, s"]
    return Table(header, rows, best=[0] if leads else [], caption=caption)


def _epochs(trial: Trial) -> str:
    if trial.fits:
        return ", ".join(str(fit.epochs) for fit in trial.fits if fit.epochs is not None) or "–"
    return str(max(trial.valid_nll)) if trial.valid_nll else "–"


def _warnings(result: SweepResult) -> str:
    told: dict[str, list[str]] = {}
    for trial in result.trials:
        for fit in trial.fits[:1]:
            for message in fit.warnings:
                told.setdefault(message, []).append(str(trial.number))
    return "; ".join(f"{message} (trials {', '.join(numbers)})" for message, numbers in told.items())
