"""The study `categorical-2d`: how the values of a categorical variable should enter the network."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.baselines import Independent
from chainrule.datasets import Dataset, load_dataset
from chainrule.datasets.named import cs294_table
from chainrule.datasets.synthetic import table_entropy
from chainrule.estimators import MADE, load
from chainrule.estimators.base import DensityEstimator
from chainrule.experiments.study import StudyResult, StudyRun
from chainrule.metrics.statistics import Summary, paired_difference, summarize
from chainrule.report.blocks import Block, Table
from chainrule.report.line_plots import COLOURS, Line, line_picture
from chainrule.report.numbers import count, listed, number, with_error
from chainrule.report.style import MAP, MUTED, Picture, figure, ticks, vector_picture

__all__ = ["TOLERANCE", "check", "run"]

TOLERANCE = 0.2  # bits above the floor that one-hot inputs are to stay within
_BITS = 1 / math.log(2)
_ENCODINGS = {"one-hot": "onehot", "normalised": "scaled", "raw": "raw"}
_NAIVE = "naive, p(x1) p(x2)"
_ONE_HOT = "one-hot"
# What each MADE is chosen from, on validation rows.
_NETWORKS = (((64,), "tanh"), ((16, 128), "relu"), ((16, 64, 64), "relu"))
_LEARNING_RATES = (0.02, 0.06)
_QUICK = (((64,), "tanh"), 0.06)
_COMMON: dict[str, Any] = {
    "kinds": "categorical", "batch_size": 500, "dropout": 0.0, "residual": False,
    "direct_connections": False, "patience": 9,
}  # fmt: skip
_EPOCHS, _QUICK_EPOCHS = 60, 20
_BLOCK = 2  # values per side of a cell of the histograms

Floats = NDArray[np.float64]


def run(run: StudyRun) -> StudyResult:
    """Do the study."""
    table = cs294_table()
    table = table / table.sum()
    data = load_dataset("cs294-2d", random_state=run.random_state)
    fits = {name: _choose(run, name, data) for name in (*_ENCODINGS, _NAIVE)}
    models = {name: load(run.folder / "models" / fit["key"]) for name, fit in fits.items()}
    cells = np.stack(np.unravel_index(np.arange(table.size), table.shape), axis=1).astype(np.uint8)
    learned = {name: model.score_samples(cells).reshape(table.shape) for name, model in models.items()}
    # Rows are cells: their log-probabilities stand in the tables.
    test = {name: values[tuple(data.test.T)] for name, values in learned.items()}
    truth = np.log(table)[tuple(data.test.T)]
    excess = {name: _in_bits(paired_difference(truth, scores)) for name, scores in test.items()}
    exact = {name: float((table * (np.log(table) - q)).sum()) * _BITS for name, q in learned.items()}
    n_samples = len(data.train) + len(data.valid) + len(data.test)
    samples = {
        name: np.asarray(m.sample(n_samples, random_state=run.random_state)) for name, m in models.items()
    }
    leads = {
        name: _in_bits(paired_difference(test[_ONE_HOT], test[name])) for name in test if name != _ONE_HOT
    }
    floor = table_entropy(table) * _BITS
    original = np.concatenate([data.train, data.valid, data.test])
    sections = [
        _numbers(data, fits, test, excess, exact, leads),
        Block(
            "Original and generated",
            f"{count(n_samples)} pairs each, counted in cells of {_BLOCK} x {_BLOCK} values; one scale of "
            "colours.",
            _histograms({"Original": original} | {f"Generated: {n}": s for n, s in samples.items()}),
        ),
        Block(
            "The learned tables",
            "The probability of each pair relative to that of independent, uniform values, as log2: the true "
            "table and what each model makes of it, without the noise of drawing.",
            _tables({"Truth": np.log(table)} | learned),
        ),
        Block(
            "Learning curves",
            "Mean bits per pair. The dotted line is the floor.",
            _curves(fits, floor),
        ),
        _choices(fits),
    ]
    results = {
        "n_train": len(data.train), "n_valid": len(data.valid), "n_test": len(data.test),
        "floor_bits": floor,
        "models": [_result(name, fits[name], test[name], excess[name], exact[name]) for name in test],
        "one_hot_lead_bits": {
            name: {"mean": lead.mean, "standard_error": lead.standard_error} for name, lead in leads.items()
        },
        "one_hot_within_tolerance": excess[_ONE_HOT].mean <= TOLERANCE,
        "one_hot_beats": [name for name, lead in leads.items() if _is_ahead(lead)],
    }  # fmt: skip
    facts = [
        ("Training rows", count(len(data.train))),
        ("Validation rows", count(len(data.valid))),
        ("Test rows", count(len(data.test))),
        ("Floor, bits", number(floor, 4)),
    ]
    return StudyResult(results, sections, _verdict(excess, exact, leads, floor), facts)


# ---------------------------------------------------------------- fits


def _choose(run: StudyRun, name: str, data: Dataset) -> dict[str, Any]:
    """Fit the candidates of a model and return the fit with the best validation likelihood."""
    fits = []
    for settings in _candidates(name, run.quick):
        key = "naive" if name == _NAIVE else f"{name}-{_network(settings)}-rate{settings['learning_rate']:g}"
        run.say(f"categorical-2d: {key}")
        fits.append(run.step(key, partial(_fit, run, name, key, settings, data), settings))
    best = max(fits, key=lambda fit: fit["valid"])
    return best | {"candidates": [{key: fit[key] for key in ("settings", "valid")} for fit in fits]}


def _candidates(name: str, quick: bool) -> list[dict[str, Any]]:
    if name == _NAIVE:
        return [{}]
    pairs = [_QUICK] if quick else itertools.product(_NETWORKS, _LEARNING_RATES)
    epochs = _QUICK_EPOCHS if quick else _EPOCHS
    return [
        {"hidden_sizes": sizes, "activation": activation, "learning_rate": rate, "max_epochs": epochs}
        | _COMMON
        for (sizes, activation), rate in pairs
    ]


def _network(settings: dict[str, Any]) -> str:
    return "-".join([*(str(size) for size in settings["hidden_sizes"]), settings["activation"]])


def _fit(run: StudyRun, name: str, key: str, settings: dict[str, Any], data: Dataset) -> dict[str, Any]:
    estimator: DensityEstimator
    if name == _NAIVE:
        estimator = Independent(kinds="categorical")
    else:
        estimator = MADE(
            encoding=_ENCODINGS[name], random_state=run.random_state, checkpoint=run.checkpoint(key),
            verbose=run.progress, **settings,
        )  # fmt: skip
    start = time.perf_counter()
    estimator.fit(data.train, X_val=data.valid)
    seconds = time.perf_counter() - start
    estimator.save(run.folder / "models" / key)
    history = estimator.history_
    return {
        "key": key,
        "settings": settings,
        "valid": estimator.score(data.valid),
        "seconds": seconds,
        "n_parameters": estimator.n_parameters_,
        "train_curve": [] if history is None else history.train,
        "valid_curve": [] if history is None else history.valid,
        "best_epoch": None if history is None else history.best_epoch,
    }


# ---------------------------------------------------------------- numbers and words


def _in_bits(nats: Summary) -> Summary:
    return Summary(nats.mean * _BITS, nats.standard_error * _BITS, nats.n_rows)


def _is_ahead(lead: Summary) -> bool:
    return lead.mean > 0 and lead.significant


def _result(name: str, fit: dict[str, Any], test: Floats, excess: Summary, exact: float) -> dict[str, Any]:
    bits = _in_bits(summarize(-test))
    return {
        "model": name,
        "settings": fit["settings"],
        "valid_bits": -fit["valid"] * _BITS,
        "test_bits": bits.mean,
        "standard_error": bits.standard_error,
        "excess_bits": excess.mean,
        "excess_standard_error": excess.standard_error,
        "exact_excess_bits": exact,
        "n_parameters": fit["n_parameters"],
        "fit_seconds": fit["seconds"],
        "epochs": len(fit["valid_curve"]) or None,
        "candidates": fit["candidates"],
    }


def _numbers(
    data: Dataset,
    fits: dict[str, dict[str, Any]],
    test: dict[str, Floats],
    excess: dict[str, Summary],
    exact: dict[str, float],
    leads: dict[str, Summary],
) -> Block:
    cells = []
    for name, fit in fits.items():
        bits = _in_bits(summarize(-test[name]))
        lead = leads.get(name)
        cells.append(
            [
                name if name == _NAIVE else f"MADE, {name} inputs",
                with_error(bits.mean, bits.standard_error, 4),
                with_error(excess[name].mean, excess[name].standard_error, 4),
                number(exact[name], 4),
                "–" if lead is None else with_error(lead.mean, lead.standard_error, 4),
                count(fit["n_parameters"]),
                str(len(fit["valid_curve"]) or "–"),
                f"{fit['seconds']:.1f}",
            ]
        )
    header = [
        "Model", "Test bits per pair", "Excess on test rows", "Excess, exact", "Behind one-hot", "Parameters",
        "Epochs", "Fit, s",
    ]  # fmt: skip
    best = [0] if all(_is_ahead(lead) for lead in leads.values()) else []
    first = min(test, key=lambda name: -float(test[name].mean()))
    if not best and first != _ONE_HOT:
        others = [_in_bits(paired_difference(test[first], test[name])) for name in test if name != first]
        best = [list(test).index(first)] if all(_is_ahead(lead) for lead in others) else []
    return Block(
        "The numbers",
        f"{count(len(data.train))} training, {count(len(data.valid))} validation and {count(len(data.test))} "
        "test pairs (x1, x2) of 200 values each, drawn from a table of 200 x 200 probabilities. All MADEs "
        "have categorical conditionals, 200 logits each; they differ in how x1 enters: as one of 200 "
        "indicators (one-hot), as a number from −1 to 1 (normalised), or as the bare number from 0 to 199 "
        "(raw). The naive model ignores the chain. Layers, learning rate and the epoch to stop at were "
        "chosen on validation rows, for each kind of input from the same candidates.",
        table=Table(
            header,
            cells,
            best,
            "Bits, ± one standard error. The excess on test rows is paired with the truth, row by row; the "
            "exact one is the Kullback-Leibler divergence over all 40 000 cells, without sampling error. A "
            "model is marked where it leads every other by more than two standard errors of the paired "
            "difference.",
        ),
    )


def _choices(fits: dict[str, dict[str, Any]]) -> Block:
    rows = []
    for name in _ENCODINGS:
        for candidate in fits[name]["candidates"]:
            settings = candidate["settings"]
            chosen = candidate["valid"] == fits[name]["valid"]
            rows.append(
                [
                    f"{name}{', chosen' if chosen else ''}",
                    _network(settings),
                    f"{settings['learning_rate']:g}",
                    number(-candidate["valid"] * _BITS, 4),
                ]
            )
    header = ["Inputs", "Hidden layers", "Learning rate", "Bits per validation pair"]
    return Block("How the settings were chosen", table=Table(header, rows))


def _verdict(
    excess: dict[str, Summary], exact: dict[str, float], leads: dict[str, Summary], floor: float
) -> list[str]:
    mine = excess[_ONE_HOT]
    within = "within" if mine.mean <= TOLERANCE else "not within"
    sentences = [
        f"MADE with one-hot inputs spends {with_error(mine.mean, mine.standard_error, 4)} bits per test pair "
        f"more than the floor of {number(floor, 4)} bits (exactly {number(exact[_ONE_HOT], 4)} over all "
        f"cells): {within} {TOLERANCE} bits of it."
    ]
    if exact[_NAIVE] <= TOLERANCE:
        sentences.append(
            f"That says little on this table: the naive model, which ignores that x2 depends on x1, is only "
            f"{number(exact[_NAIVE], 4)} bits above the floor. The share of that excess which a model "
            "removes says more: "
            + listed(f"{name} {1 - exact[name] / exact[_NAIVE]:.0%}" for name in _ENCODINGS)
            + "."
        )
    ahead = [name for name, lead in leads.items() if _is_ahead(lead)]
    behind = [name for name, lead in leads.items() if lead.mean < 0 and lead.significant]
    level = [name for name in leads if name not in ahead and name not in behind]
    if len(ahead) == len(leads):
        sentences.append(
            f"One-hot inputs beat all others by more than two standard errors: {_amounts(leads, ahead)} bits."
        )
        return sentences
    parts = []
    if ahead:
        parts.append(f"they beat {_amounts(leads, ahead)}")
    if level:
        parts.append(f"they cannot be told from {_amounts(leads, level)}")
    if behind:
        parts.append(f"they are behind {_amounts(leads, behind)}")
    sentences.append(
        "One-hot inputs do not beat all others by more than two standard errors: "
        f"{'; '.join(parts)} (bits per pair that the other spends more)."
    )
    return sentences


def _amounts(leads: dict[str, Summary], names: list[str]) -> str:
    return listed(f"{name} ({with_error(leads[name].mean, leads[name].standard_error, 4)})" for name in names)


# ---------------------------------------------------------------- figures


def _histograms(sets: dict[str, NDArray[Any]]) -> list[Picture]:
    edges = np.arange(0, 201, _BLOCK) - 0.5
    counts = {name: np.histogram2d(rows[:, 0], rows[:, 1], [edges, edges])[0] for name, rows in sets.items()}
    highest = float(np.quantile(counts["Original"], 0.999))
    return [_map(name, values, 0.0, highest, "max") for name, values in counts.items()]


def _tables(tables: dict[str, Floats]) -> list[Picture]:
    relative = {name: (values + math.log(values.size)) * _BITS for name, values in tables.items()}
    low, high = (float(edge) for edge in np.quantile(relative["Truth"], [0.001, 0.999]))
    return [_map(name, values, low, high, "both") for name, values in relative.items()]


def _map(name: str, values: Floats, low: float, high: float, extend: str) -> Picture:
    canvas, axes = figure(3.8, 3.0)
    # As a matrix is written, x1 downwards: the table is a picture, which then stands upright.
    image = axes.imshow(
        values, cmap=MAP, vmin=low, vmax=high, extent=(-0.5, 199.5, 199.5, -0.5), interpolation="nearest"
    )
    axes.set(xlabel="x2", ylabel="x1")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(ticks(5))
    bar = canvas.colorbar(image, ax=axes, extend=extend, fraction=0.05, pad=0.02)
    bar.outline.set_visible(False)
    return vector_picture(canvas, f"{name} over x1 and x2.", dpi=110, title=name)


def _curves(fits: dict[str, dict[str, Any]], floor: float) -> list[Picture]:
    curves = {name: fit for name, fit in fits.items() if fit["valid_curve"]}
    naive = -fits[_NAIVE]["valid"] * _BITS
    limits = (floor - 0.005, naive + 0.01)
    pictures = []
    for (name, fit), colour in zip(curves.items(), COLOURS, strict=False):
        train, valid = ([nll * _BITS for nll in fit[part]] for part in ("train_curve", "valid_curve"))
        epochs, best = list(range(1, len(valid) + 1)), fit["best_epoch"]
        lines = [
            Line("train", epochs, train, MUTED, dashed=True),
            Line("validation", epochs, valid, colour),
            Line("naive, validation", epochs, [naive] * len(epochs), COLOURS[3], dashed=True),
        ]
        caption = f"Best at epoch {best} with {number(valid[best - 1], 4)} bits on validation rows."
        pictures.append(
            line_picture(
                name,
                lines,
                xlabel="epoch",
                ylabel="bits per pair",
                alt=f"Bits per pair and epoch with {name} inputs.",
                reference=("floor", floor),
                limits=limits,
                caption=caption,
            )  # fmt: skip
        )
    return pictures


def check(options: Mapping[str, Any]) -> None:
    """Raise a DataError if the table is neither here nor to be had."""
    cs294_table()
