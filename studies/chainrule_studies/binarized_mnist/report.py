"""The report of the study `binarized-mnist`: learning curves, grids of samples, ensembles, a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.report.blocks import Block, Table
from chainrule.report.images import image_grid
from chainrule.report.line_plots import COLOURS, Line, line_picture
from chainrule.report.style import MUTED, Picture

__all__ = ["sections", "verdict"]

ONE_ORDER_GOAL, ENSEMBLE_GOAL = 88.4, 87.0
_SHOWN_BATCHES = 400

Arrays = Mapping[str, np.ndarray]


def verdict(results: Mapping[str, Any]) -> list[str]:
    """Return the sentences that follow from the numbers of the study."""
    one, many = _chosen(results)
    title, nll, count = many["title"], many["mixtures"][-1]["test_nll"], len(many["members"])
    sentences = [
        f"One model of one order, the best on validation rows: {one['title']}, "
        f"{_number(one['test_nll'])} nats; "
        f"the mixture of {count} {title} with an order each, likewise: {_number(nll)}."
    ]
    if results["quick"]:
        sentences.append("This was the quick version: its numbers say nothing about the published ones.")
    else:
        sentences += [
            f"One order {_reaches(one['test_nll'][0], ONE_ORDER_GOAL)} (best published single order: 88.33).",
            f"The ensemble {_reaches(nll[0], ENSEMBLE_GOAL)} (MADE with 32 masks: 86.64).",
        ]
    models = results["models"]
    for name in ("random", "masks-1", "masks-4", "masks-32", "nade"):
        mean, error = models[name]["difference_to_natural"]
        title = models[name]["title"]
        if abs(mean) > 2 * error:
            side = "better" if mean > 0 else "worse"
            sentences.append(
                f"{title}: {abs(mean):.2f} ± {error:.2f} nats {side} than MADE in natural order."
            )
        else:
            sentences.append(
                f"{title}: cannot be told from MADE in natural order ({mean:+.2f} ± {error:.2f})."
            )
    return sentences


def _chosen(results: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the model of one order and the ensemble that are best on validation rows."""
    single = [results["models"][name] for name in ("natural", "random", "one-order", "nade")]
    one = min(single, key=lambda model: model["valid_nll"][0])
    ensembles = results["ensembles"].values()
    return one, min(ensembles, key=lambda ensemble: ensemble["mixtures"][-1]["valid_nll"][0])


def sections(
    results: Mapping[str, Any],
    fitted: Mapping[str, Arrays],
    one_order: Arrays,
    real: np.ndarray,
    shape: tuple[int, ...],
) -> list[Block]:
    """Return the body of the report.

    Parameters
    ----------
    results : mapping
        What goes into ``results.json``.
    fitted : mapping of str to arrays
        What `fit_model` returned for each network.
    one_order : arrays
        What `fit_member` returned for the wide MADE of natural order.
    real : ndarray of shape (n, D)
        Test rows to show beside samples.
    shape : tuple of int
        Height and width of an image.
    """
    titles = {name: results["models"][name]["title"] for name in fitted}
    curves = [_learning_curve(titles[name], arrays) for name, arrays in fitted.items()]
    curves.append(_learning_curve("MADE, wide, one order", one_order))
    grids = [Block("Samples", "A hundred test rows, then ancestral samples as training went on.",
                      [image_grid(real, shape, 10, "Test rows.", title="Test rows")], "images")]  # fmt: skip
    grids += [Block("", titles[name], _image_grids(titles[name], arrays, shape), "images")
               for name, arrays in fitted.items()]  # fmt: skip
    grids.append(Block("", "MADE, wide, one order", _image_grids("One order", one_order, shape), "images"))
    return [
        Block(
            "Test rows",
            "Mean negative log-likelihood in nats per row, and its standard error. Several "
            "masks count as the mean of their probabilities.",
            table=_table(results),
        ),  # fmt: skip
        Block(
            "Ensembles over orders",
            "Members differ in order and seed and were fitted independently; the "
            "mixture gives each the same weight.",
            [_ensemble(ensemble) for ensemble in results["ensembles"].values()],
            "wide",
        ),  # fmt: skip
        Block(
            "Averaging over masks",
            "The same weights, the probabilities of the first masks averaged.",
            [_masks(fitted)],
            "wide",
        ),  # fmt: skip
        Block(
            "Learning curves",
            "Training NLL per minibatch (thinned, with dropout), validation per epoch.",
            curves,
        ),  # fmt: skip
        *grids,
    ]


def _table(results: Mapping[str, Any]) -> Table:
    rows = []
    for model in sorted(results["models"].values(), key=lambda model: model["test_nll"][0]):
        fit = ["", ""] if model["epochs"] is None else [str(model["epochs"]), f"{model['seconds']:.0f}"]
        single = f"{model['mean_of_members_test_nll']:.2f}"
        rows.append([model["title"], _number(model["test_nll"]), single, _number(model["valid_nll"]), *fit])
    mixtures = []
    for ensemble in results["ensembles"].values():
        last = ensemble["mixtures"][-1]
        mean = np.mean([member["test"][0] for member in ensemble["members"]])
        title = f"{last['members']} {ensemble['title']}, an order each"
        mixtures.append([title, _number(last["test_nll"]), f"{mean:.2f}", _number(last["valid_nll"]), "", ""])
    rows = mixtures + rows
    header = ["model", "test NLL", "mean of single masks or orders", "validation NLL", "epochs", "fit, s"]
    return Table(header, rows)


def _ensemble(ensemble: Mapping[str, Any]) -> Picture:
    counts = [step["members"] for step in ensemble["mixtures"]]
    lines = [
        Line(
            part,
            counts,
            [step[f"{part}_nll"][0] for step in ensemble["mixtures"]],
            colour,
            [step[f"{part}_nll"][1] for step in ensemble["mixtures"]],
            markers=True,
        )
        for part, colour in zip(("valid", "test"), COLOURS, strict=False)
    ]
    single = [member["test"][0] for member in ensemble["members"]]
    lines.append(Line("each member, test", counts, single, MUTED, dashed=True, markers=True))
    return line_picture(
        f"NLL against the number of orders, {ensemble['title']}",
        lines,
        xlabel="members",
        ylabel="nats per row",
        alt=f"NLL of the mixture of {ensemble['title']} against its number of members.",
    )


def _masks(fitted: Mapping[str, Arrays]) -> Picture:
    lines = []
    for name, colour in zip(("masks-1", "masks-4", "masks-32"), COLOURS, strict=False):
        rows = fitted[name]["test"]
        counts = np.arange(1, len(rows) + 1)
        mixed = np.logaddexp.accumulate(rows, axis=0) - np.log(counts)[:, None]
        nll = [float(value) for value in -mixed.mean(axis=1)]
        lines.append(Line(name.replace("-", " "), counts.tolist(), nll, colour, markers=len(rows) < 9))
    return line_picture(
        "Test NLL against the number of masks averaged",
        lines,
        xlabel="masks averaged",
        ylabel="nats per row",
        alt="Test NLL against the number of masks whose probabilities are averaged.",
    )


def _learning_curve(title: str, arrays: Arrays) -> Picture:
    batches, epochs = arrays["batches"], len(arrays["train"])
    shown = np.unique(np.linspace(0, len(batches) - 1, _SHOWN_BATCHES).astype(int))
    at = ((shown + 1) * epochs / len(batches)).tolist()
    valid = arrays["valid_curve"].tolist()
    settled = batches[len(batches) // 8 :]
    low, high = min(float(settled.min()), min(valid)), max(float(settled.max()), valid[-1])
    lines = [
        Line("train, minibatch", at, batches[shown].tolist(), MUTED),
        Line("validation", list(range(1, epochs + 1)), valid, COLOURS[0]),
    ]
    return line_picture(
        title,
        lines,
        xlabel="epoch",
        ylabel="NLL, nats",
        alt=f"Learning curves of {title}: {epochs} epochs.",
        limits=(low - 1, high + 1),
    )


def _image_grids(title: str, arrays: Arrays, shape: tuple[int, ...]) -> list[Picture]:
    return [
        image_grid(grid, shape, 10, f"Samples of {title} after {epoch} epochs.", title=f"Epoch {epoch}")
        for epoch, grid in zip(arrays["sample_epochs"].tolist(), arrays["samples"], strict=True)
    ]


def _number(value: Sequence[float]) -> str:
    return f"{value[0]:.2f} ± {value[1]:.2f}"


def _reaches(nll: float, goal: float) -> str:
    return f"{'reaches' if nll <= goal else 'does not reach'} the goal of {goal:.1f} nats"
