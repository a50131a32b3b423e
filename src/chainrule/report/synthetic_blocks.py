"""The part of a report that asks whether drawn rows can stand in for real ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from chainrule.report.blocks import Block, Table, stacked
from chainrule.report.numbers import count, listed, measured_text, number, short
from chainrule.report.synthetic_plots import (
    association_maps,
    classifier_areas,
    marginal_panels,
    nearest_rows,
    panel_columns,
)

if TYPE_CHECKING:
    from chainrule.metrics.fidelity import Fidelity, FidelityReport
    from chainrule.report.comparison import Comparison

__all__ = ["synthetic_blocks"]


def synthetic_blocks(comparison: Comparison, colours: Mapping[str, str]) -> list[Block]:
    """Return the measures of drawn rows against real ones; nothing where they were not taken.

    Parameters
    ----------
    comparison : Comparison
    colours : mapping of model name to colour
    """
    found = comparison.fidelity
    if found is None:
        return []
    leader = comparison.ranked()[0]
    schema, model = leader.estimator.schema_, leader.model
    order = [result.model for result in comparison.ranked()]
    drawn, colour = found.models[model], colours[model]
    n_shown = len(panel_columns(drawn))
    text = "Grey: real test rows; coloured: drawn rows. The number is the distance of the two distributions."
    if n_shown < schema.n_variables:
        text += f" The {n_shown} columns furthest apart, of {schema.n_variables}."
    if any(variable.is_numeric for variable in schema.variables):
        text += " Where one bar holds more than half of the rows, heights are square roots."
    pairs = (
        "Each cell is a pair of columns: blue to orange from −1 to 1 for two numbers (correlation of their "
        "ranks), from 0 up where a column has levels (Cramér's V, correlation ratio; corrected for chance)."
    )
    if len(found.columns) < schema.n_variables:
        pairs += f" The first {len(found.columns)} of {schema.n_variables} columns."
    pictures = [
        nearest_rows(
            found,
            order,
            colours,
            title="How near to training rows",
            caption="Distance: mean over columns; 1 for different levels, for numbers the share of training "
            "rows between them. A curve left of that of real test rows tells of exact matches, or nearly so.",
        ),
        classifier_areas(
            found,
            order,
            colours,
            title=f"Classifiers of {found.target}, by what they were trained on",
            caption="The bars span two standard errors either way, over the same test rows.",
        ),
    ]
    return [
        Block(text=_summary(found, model), table=_table(found, order)),
        Block(text=_reading(found)),
        Block(
            title=f"{model}: columns one by one",
            text=text,
            pictures=[marginal_panels(schema, found.test, drawn, model, colour)],
            layout="wide",
        ),
        Block(
            title=f"{model}: pairs of columns",
            text=pairs,
            pictures=[association_maps(found, model)],
            layout="wide",
        ),
        Block(
            title="Distance to training rows, and what can be learnt",
            pictures=[picture for picture in pictures if picture is not None],
            layout="two",
        ),
    ]


def _summary(found: FidelityReport, model: str) -> str:
    """Say what rows of the leading model are good for."""
    drawn, real = found.models[model], found.real
    apart, at_best = (measured_text(fidelity.c2st.score, 3) for fidelity in (drawn, real))
    giveaways = [found.names[d] for d in drawn.c2st.giveaways()]
    given_away = f", most by {listed(giveaways)}" if giveaways else ""
    sentences = [
        f"Trees that were told to tell rows drawn from {model} from test rows leave a likeness (C2ST) of "
        f"{apart}{given_away}; of real rows {at_best}."
    ]
    if drawn.tstr_auc is not None and real.tstr_auc is not None:
        ours, best = (measured_text(area.summary, 3) for area in (drawn.tstr_auc, real.tstr_auc))
        gap = measured_text(drawn.tstr_auc.difference(real.tstr_auc), 3)
        sentences.append(
            f"A classifier of {found.target} that was trained on rows drawn from {model} reaches an area "
            f"under the ROC curve (AUC) of {ours} on the real test rows; trained on as many real rows, "
            f"{best} (paired difference {gap})."
        )
    return " ".join(sentences)


def _reading(found: FidelityReport) -> str:
    """Say how the figures of the table came about."""
    sentences = [
        f"Each model drew {count(found.n_rows)} rows. C2ST: 1 − max(0, 2 AUC − 1) of gradient-boosted trees "
        "that tell these rows from the test rows, in five folds; 1 where they find no difference. Given away "
        "by: the columns without which the AUC falls most. Columns: mean distance of their distributions to "
        "the test rows, total variation for levels and Kolmogorov-Smirnov for numbers. Pairs: mean absolute "
        "difference of their association to the test rows. wNMI: how alike the normalised mutual information "
        "of pairs is, 1 at best, weighted by how much they depend on each other. The first line says what as "
        "many training rows achieve."
    ]
    if found.target is None:
        sentences.append("No column has two to ten levels with enough rows to train a classifier of it.")
    else:
        sentences.append(
            f"TSTR AUC (train on synthetic, test on real): gradient-boosted trees predict {found.target}, "
            "the last column of two to ten levels with enough rows, from all others; of several levels, the "
            "mean of each against the rest."
        )
    if _has_missing_cells(found):
        sentences.append(
            "Models draw complete rows; each gets the missing cells of a training row drawn at random. "
            "Missing cells are left out of columns and pairs, and differ from all others where rows are "
            "compared; the trees take them as they are."
        )
    return " ".join(sentences)


def _has_missing_cells(found: FidelityReport) -> bool:
    return bool(np.isnan(found.real.codes).any())


def _table(found: FidelityReport, order: list[str]) -> Table:
    """Return the figures of real rows and of each model."""
    names = ["", "C2ST", "given away by", "columns", "pairs", "wNMI"]
    if found.target is not None:
        names += ["TSTR AUC", "TSTR AUC, difference to real"]
    groups = {
        "Real rows": [_cells("training rows", found.real, found)],
        "Drawn rows": [_cells(name, found.models[name], found) for name in order],
    }
    return stacked(names, groups, numeric=[place not in (0, 2) for place in range(len(names))])


def _cells(name: str, fidelity: Fidelity, found: FidelityReport) -> list[str]:
    cells = [
        name,
        measured_text(fidelity.c2st.score, 3),
        ", ".join(short(found.names[d]) for d in fidelity.c2st.giveaways()),
        number(fidelity.mean_marginal_distance, 3),
        number(fidelity.association_difference, 3),
        number(fidelity.information_similarity, 3),
    ]
    if fidelity.tstr_auc is None or found.real.tstr_auc is None:
        return cells
    gap = fidelity.tstr_auc.difference(found.real.tstr_auc)
    against_real = "–" if fidelity is found.real else measured_text(gap, 3)
    return [*cells, measured_text(fidelity.tstr_auc.summary, 3), against_real]
