"""The report of a comparison as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from chainrule.estimators.made import MADE
from chainrule.report.answer_blocks import answer_blocks
from chainrule.report.blocks import Block
from chainrule.report.comparison import Comparison
from chainrule.report.mask_plot import mask_picture
from chainrule.report.numbers import count, number, seconds
from chainrule.report.page import render_page
from chainrule.report.plots import learning_curves
from chainrule.report.privacy_blocks import privacy_blocks
from chainrule.report.query_blocks import query_blocks
from chainrule.report.result_blocks import result_block
from chainrule.report.sample_blocks import extreme_blocks, sample_blocks
from chainrule.report.style import drawing, model_colours
from chainrule.report.surprisal_maps import surprisal_blocks
from chainrule.report.synthetic_blocks import synthetic_blocks
from chainrule.report.words import conclusion
from chainrule.storage import write_bytes

__all__ = ["render_report", "write_report"]


def write_report(comparison: Comparison, path: str | Path, page: str | None = None) -> None:
    """Write the report of a comparison: one HTML file that opens offline.

    Parameters
    ----------
    comparison : Comparison
        Models that were tested on the same rows. The estimators must be fitted: the report asks the schema
        for the columns and, for data of two variables, each model for its log-density on a grid.
    path : str or Path
        Where to write; the folder must exist.
    page : str, optional
        The name of a file in the same folder on which one can ask the model of any order.

    Raises
    ------
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> write_report(comparison, "report.html")  # doctest: +SKIP
    """
    write_bytes(Path(path), render_report(comparison, page).encode())


def render_report(comparison: Comparison, page: str | None = None) -> str:
    """Return the report of a comparison as HTML.

    Parameters
    ----------
    comparison, page
        As for `write_report`.

    Returns
    -------
    str
        A complete document without references to other files or addresses, but for the link to `page`.
    """
    results, ranked = comparison.results, comparison.ranked()
    colours = model_colours([r.model for r in results], [r.history is not None for r in results])
    with drawing():
        sections = [
            result_block(comparison, colours),
            _learning_block(comparison, colours),
            Block("Samples beside real rows", parts=sample_blocks(comparison, colours), anchor="samples"),
            Block(
                "Drawn rows in place of real ones",
                parts=synthetic_blocks(comparison, colours),
                anchor="synthetic",
            ),
            Block(
                "What is given away of the training rows", parts=privacy_blocks(comparison), anchor="privacy"
            ),
            Block(
                "Questions to the models",
                parts=[*query_blocks(comparison, colours), *answer_blocks(comparison, colours)],
                anchor="questions",
            ),
            *([] if page is None else [_page_block(page)]),
            Block(
                f"What {ranked[0].model} expects, and what surprises it" if ranked else "Extremes",
                "The most and the least probable test rows, with their log-likelihood in nats.",
                parts=extreme_blocks(comparison, colours),
                anchor="extremes",
            ),
            Block(
                "What surprises the networks where",
                parts=surprisal_blocks(comparison, colours),
                anchor="surprisal",
            ),
        ]
        sections = [block for block in sections if block.pictures or block.table or block.parts or block.link]
        if any(isinstance(result.estimator, MADE) for result in results):
            sections.append(_mask_block())
    return render_page(
        comparison.dataset,
        _metadata(comparison),
        conclusion(comparison),
        [_data_block(comparison), *sections],
        description=comparison.description,
        eyebrow="Comparison of density models",
        subject=f"{comparison.dataset}: a comparison of density models",
        remark="Log-likelihoods are natural logarithms per row, in the units of the data.",
    )


def _mask_block() -> Block:
    return Block(
        "How a MADE is kept in order: the masks",
        pictures=[mask_picture()],
        layout="wide",
        anchor="masks",
    )


def _metadata(comparison: Comparison) -> list[tuple[str, str]]:
    metadata = [
        ("Training rows", count(comparison.n_train)),
        ("Validation rows", count(comparison.n_valid)),
        ("Test rows", count(comparison.n_test)),
        ("Variables", count(comparison.n_variables)),
    ]
    if comparison.image_shape:
        height, width = comparison.image_shape[:2]
        colour = ", in colour" if len(comparison.image_shape) > 2 else ""
        metadata.append(("Image", f"{height} × {width}{colour}"))
    if comparison.entropy is not None:
        metadata.append(("True entropy, nats", number(comparison.entropy, 4)))
    return [
        *metadata,
        ("Seed", str(comparison.random_state)),
        ("Time in all, s", seconds(comparison.seconds)),
    ]


def _data_block(comparison: Comparison) -> Block:
    split = comparison.split.rstrip()
    ended = f" {split.removesuffix('.')}." if split else ""
    text = (
        f"{comparison.kinds}.{ended} Models learnt from the training rows, stopped and chose their sizes by "
        "the validation rows, and met the test rows once, after that."
    )
    return Block("The data", "\n\n".join([text, *comparison.notes]), anchor="data")


def _page_block(page: str) -> Block:
    return Block(
        "Questions of your own",
        f"{page}, beside this file, opens offline: set some columns, and see what the best model of any "
        "order expects of the others.",
        anchor="page",
        link=(page, "Ask the model"),
    )


def _learning_block(comparison: Comparison, colours: Mapping[str, str]) -> Block:
    return Block(
        "Learning curves",
        "Loss per row over the training and the validation rows. The dot is the epoch whose weights were "
        "kept. The training loss is a mean over its epoch, in which the weights move, so it can lie above "
        "the other. Of a mean of several fits the first one is shown.",
        learning_curves(comparison.results, colours),
        "two",
        anchor="learning",
    )
