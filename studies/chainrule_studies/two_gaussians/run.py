"""The study `two-gaussians`: NADE and MADE on two round Gaussians, where the truth is known."""

from __future__ import annotations

import itertools
import math
import time
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.baselines import GMM
from chainrule.datasets.synthetic import TwinGaussians
from chainrule.estimators import MADE, NADE, load
from chainrule.estimators.base import DensityEstimator
from chainrule.experiments.study import StudyResult, StudyRun
from chainrule.metrics.statistics import Summary, paired_difference, summarize
from chainrule.report.blocks import Block, Table
from chainrule.report.numbers import count, listed, number, with_error
from chainrule_studies.two_gaussians.figures import (
    conditional_pictures,
    curve_pictures,
    density_pictures,
    scatter_pictures,
)
from chainrule_studies.two_gaussians.known_truth import ConditionalGrid, KnownRows
from chainrule_studies.two_gaussians.settings_report import study_settings

__all__ = ["GIVEN", "TRUTH", "run"]

TRUTH = TwinGaussians(2, shift=2.0, scale=0.5)
GIVEN = (-2.5, -1.5, 0.0, 1.5, 2.5)
_N_ROWS, _N_TEST = 1000, 10_000
_MODELS = ("NADE", "MADE", "GMM")
_MAX_EPOCHS = 200
# What the networks are chosen from, on validation rows.
_HIDDEN = (16, 64)
_COMPONENTS = (1, 2, 5, 10)
_QUICK_COMPONENTS = (2, 5)

Floats = NDArray[np.float64]


def run(run: StudyRun) -> StudyResult:
    """Do the study."""
    n = run.options.get("n", _N_ROWS)
    rows = KnownRows.draw(TRUTH, n, _N_TEST, [run.random_state, 2])
    fits = {name: _choose(run, name, rows) for name in _MODELS}
    models = {name: load(run.folder / "models" / fits[name]["key"]) for name in _MODELS}
    test = {name: model.score_samples(rows.test) for name, model in models.items()}
    gaps = {name: paired_difference(TRUTH.log_density(rows.test), scores) for name, scores in test.items()}
    grid = ConditionalGrid(TRUTH, np.array(GIVEN)[:, None])
    learned = {name: grid.learned(model) for name, model in models.items()}
    errors = {name: grid.errors(density) for name, density in learned.items()}
    settings = study_settings(run, n)
    samples = {name: model.sample(1000, random_state=run.random_state) for name, model in models.items()}
    sections = [
        _numbers(rows, fits, test, gaps, errors),
        Block(
            "Learning curves",
            "Mean loss per row and epoch; the dot is the epoch whose weights were kept. The dotted line is "
            "the entropy: no model is below it, except on its own training rows or by the luck of few rows.",
            curve_pictures({name: fits[name] for name in ("NADE", "MADE")}, TRUTH.entropy()),
            "two",
        ),
        Block(
            "Samples beside real rows",
            "Real test rows, 1000 draws from each model, and in the second line both over each other.",
            scatter_pictures(rows.test[:1000], samples),
            "small",
        ),
        Block(
            "The learned density",
            "The log-density over the plane in nats, on one scale of colours.",
            density_pictures(TRUTH, models),
            "small",
        ),
        Block(
            "What x2 may be, once x1 is known",
            f"The density of x2 given x1 at x1 = {listed(number(x, 1) for x in GIVEN)}: the truth (grey) and "
            "what each model has learned. At x1 = 0 the truth has both modes, but hardly any row lies there: "
            f"{_share_between():.2%} of them have x1 within 0.5 of it.",
            conditional_pictures(grid, GIVEN, learned, errors),
        ),
        *settings.sections,
    ]
    verdict = [*_verdict(test, gaps, errors), *settings.verdict]
    results = {
        "n_train": len(rows.train),
        "n_valid": len(rows.valid),
        "n_test": len(rows.test),
        "entropy": TRUTH.entropy(),
        "models": [_result(name, fits[name], test[name], gaps[name], errors[name]) for name in _MODELS],
        "conditional_at": list(GIVEN),
        "settings": settings.results,
    }
    facts = [
        ("Training rows", count(len(rows.train))),
        ("Validation rows", count(len(rows.valid))),
        ("Test rows", count(len(rows.test))),
        ("True entropy, nats", number(TRUTH.entropy(), 4)),
    ]
    return StudyResult(results, sections, verdict, facts)


# ---------------------------------------------------------------- fits


def _choose(run: StudyRun, name: str, rows: KnownRows) -> dict[str, Any]:
    """Fit the candidates of a model and return the fit with the best validation likelihood."""
    fits = []
    for settings in _candidates(name, run.quick):
        key = "-".join([name.lower(), *(f"{key}{value}" for key, value in settings.items())])
        run.say(f"two-gaussians: {key}")
        fits.append(run.step(key, partial(_fit, run, name, key, settings, rows), settings))
    best = max(fits, key=lambda fit: fit["valid"])
    return best | {"candidates": [{key: fit[key] for key in ("settings", "valid")} for fit in fits]}


def _candidates(name: str, quick: bool) -> list[dict[str, Any]]:
    if name == "GMM":
        return [{"components": 2}]
    components = _QUICK_COMPONENTS if quick else _COMPONENTS
    return [
        {"hidden": hidden, "components": number} for hidden, number in itertools.product(_HIDDEN, components)
    ]


def _fit(run: StudyRun, name: str, key: str, settings: dict[str, Any], rows: KnownRows) -> dict[str, Any]:
    estimator = _estimator(run, name, key, settings)
    start = time.perf_counter()
    estimator.fit(rows.train, X_val=rows.valid)
    seconds = time.perf_counter() - start
    estimator.save(run.folder / "models" / key)
    history = estimator.history_
    return {
        "key": key,
        "settings": settings,
        "valid": estimator.score(rows.valid),
        "seconds": seconds,
        "n_parameters": estimator.n_parameters_,
        "train_curve": [] if history is None else history.train,
        "valid_curve": [] if history is None else history.valid,
        "best_epoch": None if history is None else history.best_epoch,
    }


def _estimator(run: StudyRun, name: str, key: str, settings: dict[str, Any]) -> DensityEstimator:
    if name == "GMM":
        return GMM(settings["components"], kinds="continuous", random_state=run.random_state)
    common: dict[str, Any] = {
        "n_components": settings["components"],
        "kinds": "continuous",
        "max_epochs": _MAX_EPOCHS,
        "device": "cpu",
        "checkpoint": run.checkpoint(key),
        "verbose": run.progress,
        "random_state": run.random_state,
    }
    if name == "NADE":
        return NADE(settings["hidden"], **common)
    return MADE((settings["hidden"],) * 2, dropout=0.0, **common)


# ---------------------------------------------------------------- numbers and words


def _result(name: str, fit: dict[str, Any], test: Floats, gap: Summary, errors: Floats) -> dict[str, Any]:
    summary = summarize(test)
    return {
        "model": name,
        "settings": fit["settings"],
        "valid_log_likelihood": fit["valid"],
        "test_log_likelihood": summary.mean,
        "standard_error": summary.standard_error,
        "gap_to_truth": gap.mean,
        "gap_standard_error": gap.standard_error,
        "conditional_errors": errors.tolist(),
        "n_parameters": fit["n_parameters"],
        "fit_seconds": fit["seconds"],
        "epochs": len(fit["valid_curve"]) or None,
        "candidates": fit["candidates"],
    }


def _numbers(
    rows: KnownRows,
    fits: dict[str, dict[str, Any]],
    test: dict[str, Floats],
    gaps: dict[str, Summary],
    errors: dict[str, Floats],
) -> Block:
    cells = []
    for name in _MODELS:
        summary = summarize(test[name])
        far = np.abs(GIVEN) > 1
        cells.append(
            [
                f"{name} ({_setting_words(fits[name]['settings'])})",
                with_error(summary.mean, summary.standard_error, 4),
                with_error(gaps[name].mean, gaps[name].standard_error, 4),
                number(float(errors[name][far].max()), 3),
                number(float(errors[name][~far].max()), 3),
                count(fits[name]["n_parameters"]),
                f"{fits[name]['seconds']:.1f}",
            ]
        )
    leader = _leader(test)
    header = [
        "Model", "Test log-likelihood, nats", "Gap to the truth, nats", "Error of p(x2 | x1) where rows are",
        "and at x1 = 0", "Parameters", "Fit, s",
    ]  # fmt: skip
    chosen = "; ".join(f"{name}: {len(fits[name]['candidates'])}" for name in ("NADE", "MADE"))
    return Block(
        "The numbers",
        f"Half of the rows are N((−2, −2), 0.5² I), half N((2, 2), 0.5² I). The models learned from "
        f"{count(len(rows.train))} of them; {count(len(rows.valid))} others decided when to stop and which "
        f"settings to take (candidates: {chosen}). The test rows are drawn apart and were met once. The gap "
        "is the mean of log p(x) of the truth minus that of the model over the test rows, an estimate of the "
        "Kullback-Leibler divergence. The GMM with 2 components has the true form, and starts from "
        "what the networks have to find out.",
        table=Table(
            header,
            cells,
            [] if leader is None else [_MODELS.index(leader)],
            "Mean ± one standard error. The error of p(x2 | x1) is the total variation distance, the largest "
            "error in the probability of any event, its worst value over x1 = ±2.5 and ±1.5. A model is "
            "marked where it leads every other by more than two standard errors of the paired difference.",
        ),
    )


def _setting_words(settings: dict[str, Any]) -> str:
    words = [f"{settings['hidden']} units"] if "hidden" in settings else []
    number_ = settings["components"]
    return ", ".join([*words, f"{number_} component{'s' if number_ > 1 else ''}"])


def _leader(test: dict[str, Floats]) -> str | None:
    first, *others = sorted(test, key=lambda name: -float(test[name].mean()))
    leads = [paired_difference(test[first], test[other]) for other in others]
    return first if all(lead.mean > 0 and lead.significant for lead in leads) else None


def _verdict(test: dict[str, Floats], gaps: dict[str, Summary], errors: dict[str, Floats]) -> list[str]:
    amounts = listed(
        f"{name} {with_error(gaps[name].mean, gaps[name].standard_error, 4)}" for name in _MODELS
    )
    sentences = [
        f"Nats per test row lost to the true distribution, whose entropy is {number(TRUTH.entropy(), 4)} "
        f"nats: {amounts}."
    ]
    for name in ("NADE", "MADE"):
        lead = paired_difference(test["GMM"], test[name])
        words = f"{with_error(abs(lead.mean), lead.standard_error, 4)} nats"
        if not lead.significant:
            sentences.append(f"{name} cannot be told from the GMM of the true form ({words} apart).")
        else:
            side = "behind" if lead.mean > 0 else "ahead of"
            sentences.append(f"{name} is {words} {side} the GMM, more than two standard errors.")
    far = np.abs(GIVEN) > 1
    worst = {name: float(errors[name][far].max()) for name in ("NADE", "MADE")}
    centre = {name: float(errors[name][~far].max()) for name in ("NADE", "MADE")}
    sentences.append(
        "The learned p(x2 | x1) is off by at most "
        + listed(f"{number(value, 3)} ({name})" for name, value in worst.items())
        + " in total variation where rows are, and by "
        + listed(f"{number(value, 3)} ({name})" for name, value in centre.items())
        + " at x1 = 0, where there are none to learn from."
    )
    return sentences


def _share_between() -> float:
    """Return the share of rows with x1 within 0.5 of 0."""
    low, high = ((edge - TRUTH.shift) / TRUTH.scale for edge in (-0.5, 0.5))
    return 0.5 * (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2)))
