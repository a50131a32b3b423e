"""The part of a report on answers: what goes with what, and whether probabilities are honest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from chainrule.report.answer_plots import dependence_maps, reliability_curves, transform_histograms
from chainrule.report.blocks import Block, Table
from chainrule.report.numbers import count, listed, number, with_error
from chainrule.report.style import Picture

if TYPE_CHECKING:
    from chainrule.metrics.calibration import Calibration, ColumnCalibration, Coverage
    from chainrule.report.comparison import Comparison
    from chainrule.report.model_answers import ModelAnswers

__all__ = ["answer_blocks"]

_N_PAIRS = 8
_MAX_LINES = 40
_FEW_CELLS = 20  # shares of fewer have errors of a tenth and more


def answer_blocks(comparison: Comparison, colours: Mapping[str, str]) -> list[Block]:
    """Return the dependence of columns and the calibration of the best model of any order, if measured.

    Parameters
    ----------
    comparison : Comparison
    colours : mapping of model name to colour
    """
    answers = comparison.answers
    if answers is None:
        return []
    return [
        _dependence_block(answers, comparison.n_variables),
        _calibration_block(answers, colours[answers.model]),
    ]


def _dependence_block(answers: ModelAnswers, n_variables: int) -> Block:
    n_shown = len(answers.dependence.names)
    text = (
        f"How much each two columns tell about each other: on the left what {answers.model} says, from its "
        f"own conditionals, on the right {count(answers.n_rows)} training rows. 0: nothing; 1: one column "
        "determines the other. Mutual information on the scale of a correlation, of columns sorted into at "
        f"most {answers.n_cells} classes each, that of rows corrected for what chance alone would show. "
        "Columns that go together stand beside each other; the tree above tells in which order they were "
        "joined."
    )
    if n_shown < n_variables:
        text += f" The first {n_shown} of {count(n_variables)} columns."
    return Block(
        "What goes with what",
        text,
        [dependence_maps(answers)],
        "wide",
        parts=[Block(table=_pairs(answers))],
    )


def _pairs(answers: ModelAnswers) -> Table:
    """Return the strongest pairs."""
    place = {name: d for d, name in enumerate(answers.dependence.names)}
    rows = [
        [
            f"{pair.first}, {pair.second}",
            with_error(pair.information, pair.standard_error, 3),
            number(pair.normalised, 2),
            number(float(answers.rows_dependence[place[pair.first], place[pair.second]]), 2),
        ]
        for pair in answers.dependence.pairs()[:_N_PAIRS]
    ]
    return Table(
        ["the strongest pairs", "mutual information, nats", "model, 0 to 1", "training rows, 0 to 1"],
        rows,
        is_data=True,
        caption="±: by how much the model differs by which of the two columns it sees first, and by draws.",
    )


def _calibration_block(answers: ModelAnswers, colour: str) -> Block:
    found = answers.calibration
    names = [column for column in found.columns if column.reliability is not None]
    numbers = [column for column in found.columns if column.transform is not None]
    parts = []
    if names:
        text = (
            "Among all levels to which the model gave about a probability p, a share p should be those that "
            "stood there. Grey: where the points of a calibrated model would lie in 95 % of cases."
        )
        parts.append(_part("Columns of names", text, reliability_curves(names, colour)))
    if numbers:
        text = (
            "The place of each hidden value in the distribution that the model gave it, from 0 to 1. If the "
            "model is right, all places are equally frequent. A hill in the middle: it is less sure than it "
            "could be; high ends: surer than it should be. A value that has a probability has a range of "
            "places, of which one is drawn. Grey: 95 % of the bars of a calibrated model."
        )
        parts.append(_part("Columns of numbers", text, transform_histograms(numbers, colour)))
    return Block(
        "Are the probabilities honest?", _text(found, answers.model), table=_table(found), parts=parts
    )


def _part(title: str, text: str, picture: Picture) -> Block:
    return Block(title, text, [picture], "wide")


def _text(found: Calibration, model: str) -> str:
    n_cells = sum(column.n_cells for column in found.columns)
    return (
        f"In {count(found.n_rows)} test rows {100 * found.share:.0f} % of the cells, {count(n_cells)}, were "
        f"hidden at random, and {model} said what to expect in each of them, given what was left of its "
        "row.\n\n"
        "Gap: mean difference of predicted and observed probabilities of names; of numbers the largest "
        "difference of the distribution of places from even (Kolmogorov's distance). By chance: what a "
        "calibrated model shows on average. Intervals: the share of hidden numbers in the middle 50 and 90 % "
        "of their distributions; by places, and with both end values counted as inside, which of whole "
        f"numbers with heavy values holds more by nature.{_in_short(found)}{_too_few(found)}"
    )


def _in_short(found: Calibration) -> str:
    """Say how many numbers the wider intervals hold."""
    held = [column.coverage[0.9].randomised for column in found.columns if column.coverage]
    if not held:
        return ""
    low, high = (f"{100 * share:.1f}" for share in (min(held), max(held)))
    return (
        f"\n\nBy places, the 90 % intervals hold {low if low == high else f'{low} to {high}'} %, by column."
    )


def _too_few(found: Calibration) -> str:
    """Name the columns of which too few cells were hidden to say much."""
    few = [column.column for column in found.columns if column.n_cells < _FEW_CELLS]
    if not few:
        return ""
    return f"\n\nOf {listed(few)} fewer than {_FEW_CELLS} cells were hidden, which say little."


def _table(found: Calibration) -> Table:
    shown: Sequence[ColumnCalibration] = found.columns
    if len(shown) > _MAX_LINES:
        shown = sorted(shown, key=lambda each: each.gap / max(each.gap_by_chance, 1e-12), reverse=True)
        shown = shown[:_MAX_LINES]
    rows = [
        [
            column.column,
            count(column.n_cells),
            number(column.gap, 3),
            number(column.gap_by_chance, 3),
            *(_covered(column.coverage.get(interval), False) for interval in (0.5, 0.9)),
            *(_covered(column.coverage.get(interval), True) for interval in (0.5, 0.9)),
        ]
        for column in shown
    ]
    hidden = len(found.columns) - len(shown)
    return Table(
        ["column", "hidden cells", "gap", "by chance", "50 % hold", "90 % hold", "50 % hold", "90 % hold"],
        rows,
        units=["", "", "", "", "by places", "by places", "ends inside", "ends inside"],
        is_data=True,
        caption=f"The {len(shown)} columns of {len(found.columns)} that are furthest off." if hidden else "",
    )


def _covered(coverage: Coverage | None, is_plain: bool) -> str:
    if coverage is None:
        return "–"
    share, error = (
        (coverage.plain, coverage.plain_error)
        if is_plain
        else (coverage.randomised, coverage.randomised_error)
    )
    return f"{100 * share:.1f} ± {100 * error:.1f} %"
