"""The report of the study `mixture-or-chain`: numbers, grids of samples, and a verdict per image set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chainrule.report.blocks import Block, Table
from chainrule.report.images import image_grid
from chainrule.report.numbers import count, decimals_for, listed, number, seconds, with_error
from chainrule.report.style import Picture

__all__ = ["outcome", "sections", "verdict"]

_N_COLUMNS, _N_NEIGHBOURS = 6, 8
_MEASURES = ("recall", "precision")
_CHAINS = ("MADE", "NADE", "PixelCNN")

Results = Mapping[str, Any]


# ---------------------------------------------------------------- verdict


def outcome(result: Results, chain: str) -> str:
    """Return what precision and recall say of the claim that a chain's samples are richer than mixtures'.

    Precision above that of training images counts as theirs: samples that crowd in the middle of the test
    images have it, and a perfect model does not.

    Parameters
    ----------
    result : mapping
        The numbers of an image set.
    chain : str
        "MADE", "NADE" or "PixelCNN".

    Returns
    -------
    str
        "holds" where the chain is ahead of every mixture in one of the measures by more than two standard
        errors and behind in none, "fails" where a mixture is so ahead of the chain, otherwise "open".
    """
    signs = [
        [_sign(difference[measure]) for measure in _MEASURES]
        for difference in result["differences"]
        if difference["chain"] == chain
    ]
    if all(max(pair) > 0 and min(pair) >= 0 for pair in signs):
        return "holds"
    return "fails" if any(min(pair) < 0 and max(pair) <= 0 for pair in signs) else "open"


def verdict(results: Results) -> list[str]:
    """Return the sentences that follow from the numbers: per image set, then what was left out."""
    sentences = [_claim(result) for result in results["sets"].values()]
    for result in results["sets"].values():
        sentences += [_likelihoods(result), _measures(result)]
    return sentences + list(results["left_out"])


def _claim(result: Results) -> str:
    outcomes = {chain: outcome(result, chain) for chain in _CHAINS}
    words = {
        "holds": "richer samples than every mixture (ahead in precision or recall by more than two standard "
        "errors, behind in neither)",
        "fails": "poorer samples than a mixture (behind in precision or recall, ahead in neither)",
        "open": "samples that are better than a mixture's in one respect and not in the other, or that "
        "cannot be told from them",
    }
    parts = [
        f"{listed(chain for chain in _CHAINS if outcomes[chain] == found)}: {text}"
        for found, text in words.items()
        if found in outcomes.values()
    ]
    return f"{result['title']}: {'; '.join(parts)}."


def _likelihoods(result: Results) -> str:
    parts = []
    for chain in _CHAINS:
        leads = []
        for difference in _differences(result, chain):
            mean, error = difference["nats"]
            bound = " (a lower bound)" if result["models"][difference["mixture"]]["lower_bound"] else ""
            amount = with_error(abs(mean), error, decimals_for(error))
            place = {1: "above", -1: "below", 0: "not to be told from"}[_sign(difference["nats"])]
            leads.append(f"{amount} {place} the {difference['mixture']}{bound}")
        own = result["models"][chain]
        parts.append(f"{chain} {number(own['bits_per_dim'], 4)} bits per dimension, {listed(leads)}")
    return f"{result['title']}, nats per test image: {'; '.join(parts)}."


def _measures(result: Results) -> str:
    amounts = [
        f"{name} {_written(values['precision'], 2)} and {_written(values['recall'], 2)}"
        for name, values in _with_training_images(result).items()
    ]
    return f"{result['title']}, precision and recall of samples: {'; '.join(amounts)}."


def _differences(result: Results, chain: str) -> list[Mapping[str, Any]]:
    return [difference for difference in result["differences"] if difference["chain"] == chain]


def _with_training_images(result: Results) -> dict[str, Any]:
    return {**result["models"], "training images in their place": result["training_images"]}


def _written(value: list[float], decimals: int) -> str:
    mean, error = value
    return with_error(mean, error, decimals)


def _sign(difference: list[float]) -> int:
    mean, error = difference
    return int(np.sign(mean)) if abs(mean) > 2 * error else 0


# ---------------------------------------------------------------- sections


def sections(results: Results, shown: Mapping[str, Mapping[str, np.ndarray]]) -> list[Block]:
    """Return the body of the report.

    Parameters
    ----------
    results : mapping
        What goes into ``results.json``.
    shown : mapping
        By image set: ``test`` images, samples by the name of the model, under its name and "neighbours" a
        line of samples and one of their nearest training images; ``shape`` and ``highest`` value of a pixel.
    """
    parts = []
    for key, result in results["sets"].items():
        parts += [_likelihood_section(result), _sample_quality_section(result), _differences_section(result)]
        parts += _image_grids(result, shown[key])
    if results["left_out"]:
        parts.append(Block("Left out", "\n\n".join(results["left_out"])))
    return parts


def _likelihood_section(result: Results) -> Block:
    header = [
        "Model", "Nats per test image", "Bits per dimension", "Parameters", "Fit, s", "Drawing 100 images, s",
    ]  # fmt: skip
    rows = []
    for name, model in result["models"].items():
        bound = "≥ " if model["lower_bound"] else ""
        nats = with_error(model["test_log_likelihood"], model["standard_error"], 2)
        bits = with_error(model["bits_per_dim"], model["bits_standard_error"], 4)
        rows.append(
            [
                _model_words(name, model),
                f"{bound}{nats}",
                f"{'≤ ' if bound else ''}{bits}",
                count(model["n_parameters"]),
                seconds(model["fit_seconds"]),
                seconds(100 * model["sample_seconds"] / model["n_samples"]),
            ]
        )
    text = (
        f"{count(result['n_train'])} training, {count(result['n_valid'])} validation and "
        f"{count(result['n_test'])} test images of {count(result['n_variables'])} values. A GMM is a "
        "density: uniform noise is added to the pixels, and what stands here is a lower bound on the "
        "log-probability that it gives to them. So all numbers are on one discrete scale."
    )
    if result["n_test_episodes"]:
        text += (
            f" The test images are from {result['n_test_episodes']} episodes; standard errors are those of "
            "a mean over episodes, as frames of one episode are not independent."
        )
    return Block(
        result["title"],
        text,
        table=Table(header, rows, _best(result), "± one standard error. Marked: ahead of every other "
                         "model of the table, or its bound, by more than two."),
    )  # fmt: skip


def _best(result: Results) -> list[int]:
    """Return the row of the chain that is ahead of all others, if one is."""
    names = list(result["models"])
    for chain in _CHAINS:
        others = [each for each in result["between_chains"] if each["chain"] == chain]
        leads = [_sign(each["nats"]) for each in (*_differences(result, chain), *others)]
        if min(leads) > 0:
            return [names.index(chain)]
    return []


def _model_words(name: str, model: Results) -> str:
    parts = []
    if model["n_components"]:
        parts.append(f"{model['n_components']} component{'s' if model['n_components'] > 1 else ''}")
    if model["n_axes"]:
        parts.append(f"{model['n_axes']} axes")
    return f"{name}, {', '.join(parts)}" if parts else name


def _sample_quality_section(result: Results) -> Block:
    rows = []
    for name, values in _with_training_images(result).items():
        distance = values.get("nearest_training_distance")
        rows.append(
            [
                name,
                _written(values["recall"], 3),
                _written(values["precision"], 3),
                "–" if distance is None else number(distance, 2),
                "–" if distance is None else str(values["copies"]),
            ]
        )
    rows.append(
        ["test images", "–", "–", number(result["held_out_distance"], 2), str(result["held_out_copies"])]
    )
    header = ["Samples of", "Recall", "Precision", "Distance to the nearest training image", "Copies of one"]
    text = (
        f"{count(result['n_compared'])} samples of each model against as many test images, along the "
        f"{result['n_axes']} leading principal axes of the training images ({result['axes_share']:.0%} of "
        "their variance). Precision is the share of samples that lie among test images: as near to one of "
        "them as its third nearest neighbour among them. Recall is the share of test images that lie among "
        "the samples, likewise (Kynkäänniemi et al. 2019). Training images in the place of samples show what "
        "a perfect model would reach: more precision than theirs is no merit, but a sign of samples that "
        "crowd in the middle.\n\nThe distance is the median of that between all pixels; samples "
        "that are much nearer to training images than test images are would be copies."
    )
    return Block("", text, table=Table(header, rows, caption="± one standard error."))


def _differences_section(result: Results) -> Block:
    rows = [
        [
            f"{difference['chain']} minus {difference['mixture']}",
            _written(difference["nats"], decimals_for(difference["nats"][1])),
            _written(difference["recall"], 3),
            _written(difference["precision"], 3),
        ]
        for difference in result["differences"]
    ]
    header = ["Difference", "Nats per test image", "Recall", "Precision"]
    caption = (
        "± one standard error; nats and recall are paired, test image by test image. Precision above that of "
        "training images is taken for theirs."
    )
    return Block("", "", table=Table(header, rows, caption=caption))


def _image_grids(result: Results, shown: Mapping[str, np.ndarray]) -> list[Block]:
    title, shape = result["title"], tuple(int(side) for side in shown["shape"])

    def grid(name: str, rows: np.ndarray, n_columns: int, alt: str) -> Picture:
        shades = rows.astype(np.float64) / float(shown["highest"])
        return image_grid(shades, shape, n_columns, alt, title=name)

    samples = [grid("Test images", shown["test"], _N_COLUMNS, f"Test images of {title}.")]
    neighbours = []
    for name in result["models"]:
        samples.append(grid(name, shown[name], _N_COLUMNS, f"Samples of {name} on {title}."))
        alt = f"Samples of {name} on {title} above their nearest training images."
        neighbours.append(grid(name, shown[f"{name} neighbours"], _N_NEIGHBOURS, alt))
    return [
        Block("", "Samples, not chosen.", samples, "images"),
        Block("", "Samples (above), and the nearest training image of each (below).", neighbours, "two"),
    ]
