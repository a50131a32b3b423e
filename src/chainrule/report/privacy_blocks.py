"""The part of a report that asks what a model, or the rows it draws, give away of the training rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chainrule.report.blocks import Block, stacked
from chainrule.report.numbers import count, listed, measured_text, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chainrule.metrics.fidelity import Fidelity
    from chainrule.report.comparison import Comparison, ModelResult

__all__ = ["privacy_blocks"]


def privacy_blocks(comparison: Comparison) -> list[Block]:
    """Return how well training rows can be told from others; nothing where it was not measured.

    Parameters
    ----------
    comparison : Comparison
    """
    ranked, found = comparison.ranked(), comparison.fidelity
    if not any(result.membership is not None for result in ranked):
        return []
    names, real = ["", "membership AUC", "at 1 % false positives"], []
    if found is not None:
        names += ["nearer to training", "exact matches", "DCR"]
        real = [["test rows", "", "", *_cells(found.real)]]
    lines = []
    for result in ranked:
        test = result.membership
        of_model = ["–", "–"]
        if test is not None:
            of_model = [measured_text(test.auc.summary, 3), measured_text(test.true_positives, 3)]
        lines.append(
            [result.model, *of_model, *([] if found is None else _cells(found.models[result.model]))]
        )
    table = stacked(names, {"Real rows": real, "Models": lines} if real else {"Models": lines})
    return [Block(text=_text(comparison), table=table)]


def _text(comparison: Comparison) -> str:
    """Say how the figures came about."""
    sentences = [
        "Membership: whether a row was learned from is guessed from its log-likelihood alone. The area under "
        "the ROC curve is 0.5, and the share of training rows that are more probable than 99 % of the test "
        "rows 0.010, where training rows are no more probable than others.",
        _verdict(comparison.ranked()),
    ]
    found = comparison.fidelity
    if found is not None:
        leader = comparison.ranked()[0].model
        drawn = found.models[leader]
        n_matches = round(drawn.exact_matches * drawn.n_rows)
        equal = {0: "none equals", 1: "1 equals"}.get(n_matches, f"{count(n_matches)} equal")
        sentences.append(
            "Nearer to training: the share of drawn rows whose nearest row, among as many training as test "
            "rows, is a training row; 0.5 where none was memorised. Exact matches: rows that equal a "
            "training row in every cell. DCR: median distance to the closest training record."
        )
        sentences.append(
            f"Of {count(drawn.n_rows)} rows drawn from {leader}, {equal} a training row "
            f"({_percent(drawn.exact_matches)}); of the real test rows "
            f"{_percent(found.real.exact_matches)} do."
        )
    return " ".join(sentences)


def _verdict(ranked: Sequence[ModelResult]) -> str:
    """Say by which models training rows can be told from others."""
    areas = {result.model: result.membership.auc for result in ranked if result.membership is not None}
    telling = [model for model, area in areas.items() if area.value - 0.5 > 2 * area.standard_error]
    if not telling:
        return "By none of these models can they be told beyond two standard errors."
    return (
        f"They can be told, by more than two standard errors, by {listed(telling)}: where it must not become "
        "known who was among the training rows, do not give such a model away."
    )


def _cells(fidelity: Fidelity) -> list[str]:
    return [
        measured_text(fidelity.nearer_to_training, 3),
        _percent(fidelity.exact_matches),
        number(fidelity.dcr, 3),
    ]


def _percent(share: float) -> str:
    """Return a share with about two digits.

    >>> _percent(0.0), _percent(0.00042), _percent(0.137)
    ('0 %', '0.042 %', '13.7 %')
    """
    if share == 0:
        return "0 %"
    decimals = 1 if share >= 0.01 else 2 if share >= 0.001 else 3
    return f"{100 * share:.{decimals}f} %"
