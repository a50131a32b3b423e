"""The report of the study `published`: the tables, the gaps, what the search cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainrule.metrics.statistics import Summary
from chainrule.report.blocks import Block, Table
from chainrule.report.line_plots import COLOURS, Line, line_picture, point_picture
from chainrule.report.numbers import count, decimals_for, number, seconds, with_error

__all__ = ["GROUPS", "sections", "verdict"]

GROUPS = {
    "made": "Binary sets of the papers on NADE and MADE",
    "mnist": "Static binarized MNIST",
    "twenty": "Thirteen of the twenty density-estimation sets",
    "rnade": "Real numbers: the sets of RNADE, standardised, ten folds",
}
_HEADER = (
    "set",
    "best published",
    "by",
    "of one order",
    "one network",
    "ensemble",
    "ahead by",
    "networks x orders",
    "fits, s",
    "all, s",
)


def verdict(results: Mapping[str, Any]) -> list[str]:
    """Return the sentences that follow from the numbers of the study."""
    sets = results["sets"]
    if not sets:
        return ["No set could be done."]
    ahead = [name for name, each in sets.items() if each["ensemble"]["is_ahead"]]
    beyond = [name for name in ahead if sets[name]["ensemble"]["is_ahead_beyond_error"]]
    single = [name for name, each in sets.items() if each["single"]["is_ahead"]]
    sentences = [
        f"The ensemble is ahead of the best published figure on {len(ahead)} of {len(sets)} sets, on "
        f"{len(beyond)} of them by more than two standard errors of its own; one network of one order on "
        f"{len(single)}."
    ]
    if results["quick"]:
        sentences.append("This was the quick version, on few rows: it says nothing about published figures.")
    behind = [f"{name} by {-each['ensemble']['gap']:.2f}" for name, each in sets.items() if name not in ahead]
    if behind:
        sentences.append(f"Behind: {', '.join(behind)} nats.")
    if results["failed"]:
        sentences.append(f"Failed: {', '.join(results['failed'])}.")
    return sentences


def sections(results: Mapping[str, Any]) -> list[Block]:
    """Return the body of the report."""
    sets = results["sets"]
    blocks = [
        Block(title, _GROUP_TEXT[group], table=_table(of_group))
        for group, title in GROUPS.items()
        if (of_group := {n: each for n, each in sets.items() if each["published"]["group"] == group})
    ]
    if sets:
        blocks += [_gaps(sets), *_orders(sets), _search(results), _settings(sets)]
    if results["failed"]:
        rows = [[name, reason] for name, reason in results["failed"].items()]
        blocks.append(Block("Failed", table=Table(["set", "why"], rows, numeric=[False, False])))
    return blocks


_ABOUT = (
    "Mean per test row in nats, with its standard error; test rows were scored once, at the end. One "
    "network: the best setting on validation rows, in the natural order. Ensemble: in each order the "
    "conditionals of the best network of each kind are averaged, and the orders mixed; all "
    "weights are of validation rows. Of one order: the best published of one order or mask."
)
_GROUP_TEXT = {
    "made": f"Negative log-likelihoods. {_ABOUT} Nothing is trained on validation rows, as in the papers.",
    "mnist": (
        f"Negative log-likelihoods. {_ABOUT} Orders are scans of the image by cells of 2 x 2 "
        "pixels. The best published is a larger network of convolutions, fitted on a GPU."
    ),
    "twenty": (
        "Log-likelihoods. Published are the best of circuits, and of a deep MADE as the paper on RAT-SPN "
        "has it."
    ),
    "rnade": (
        "Log-densities of standardised columns. Red wine has the folds of the paper; those of the others "
        "are not public, and ours are drawn with seed 0. The paper trains on eight of nine parts of a fold"
        " and validates on the ninth: so does the single network. In the ensemble each order holds out "
        "another of the nine, all of which the paper has for training and validation."
    ),
}


def _table(sets: Mapping[str, Any]) -> Table:
    rows, best = [], []
    for place, (name, each) in enumerate(sets.items()):
        single, ensemble, known = each["single"], each["ensemble"], each["published"]
        sign = -1 if known["measure"] == "nll" else 1
        decimals = max(2, decimals_for(ensemble["standard_error"]))
        rows.append(
            [
                name,
                number(known["best"], 2),
                known["by"],
                "" if known["one_order"] is None else number(known["one_order"], 2),
                with_error(sign * single["test"], single["standard_error"], decimals),
                with_error(sign * ensemble["test"], ensemble["standard_error"], decimals),
                number(ensemble["gap"], decimals),
                f"{len(ensemble['members'])} x {ensemble['n_orders']}",
                seconds(ensemble["fit_seconds"]),
                seconds(each["seconds"]),
            ]
        )
        if ensemble["is_ahead_beyond_error"]:
            best.append(place)
    numeric = [False, True, False, *[True] * 7]
    caption = "Marked: ahead of the best published by more than two standard errors of our own."
    return Table(_HEADER, rows, best=best, numeric=numeric, caption=caption)


def _gaps(sets: Mapping[str, Any]) -> Block:
    names, levels, colours = [], [], []
    for name, each in sets.items():
        for place, key in enumerate(("single", "ensemble")):
            names.append(f"{name}, {'one network' if key == 'single' else 'ensemble'}")
            error = each[key]["standard_error"]
            # In standard errors: nats of images and of counts cannot stand on one axis.
            levels.append(Summary(each[key]["gap"] / error, 1.0, each["n_test"]))
            colours.append(COLOURS[1 - place])
    picture = point_picture(
        "Ahead of the best published, in standard errors",
        names,
        levels,
        xlabel="(ours - best published) / standard error",
        alt="By how many standard errors each of our models is ahead of the best published one.",
        colours=colours,
    )
    text = "To the right of the line we are ahead. Errors are our own: published figures come without theirs."
    return Block("Gaps", text, [picture], "wide")


def _orders(sets: Mapping[str, Any]) -> list[Block]:
    pictures = [
        line_picture(
            name,
            [Line("validation", list(range(1, len(curve) + 1)), curve, COLOURS[0], markers=True)],
            xlabel="orders",
            ylabel="nats per row",
            alt=f"Validation log-likelihood on {name} against the number of orders.",
        )
        for name, each in sets.items()
        if len(curve := each["ensemble"]["valid_by_orders"]) > 1
    ]
    text = "Validation log-likelihood by the number of orders mixed; in folds, the mean of single orders."
    return [Block("Orders", text, pictures, "small")] if pictures else []


def _search(results: Mapping[str, Any]) -> Block:
    rows = [
        [
            name,
            count(len(each["search"]["trials"])),
            seconds(each["search"]["seconds"]),
            seconds(each["seconds"]),
            seconds(results["plan"][name]),
            count(each["n_fits"]),
        ]
        for name, each in results["sets"].items()
    ]
    text = (
        "Settings are chosen on validation rows, by the same rule for every set: of all starting settings "
        "the better half is fitted for twice as long, then those that lead their kind try one step at a "
        "time."
    )
    header = ["set", "settings tried", "search, s", "all, s", "planned, s", "fits"]
    return Block("What the search cost", text, table=Table(header, rows))


def _settings(sets: Mapping[str, Any]) -> Block:
    rows = []
    for name, each in sets.items():
        shares = each["ensemble"]["member_weights"][0]
        for place, (title, share) in enumerate(zip(each["ensemble"]["members"], shares, strict=True)):
            rows.append([name if place == 0 else "", title, f"{share:.2f}"])
    header = ["set", "network", "weight in the first order"]
    return Block(
        "Settings", "What the search chose.", table=Table(header, rows, numeric=[False, False, True])
    )
