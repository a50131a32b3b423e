"""Options that several commands share, and what their texts mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chainrule.errors import DataError

if TYPE_CHECKING:
    from chainrule.datasets import Dataset

__all__ = [
    "DataArgument",
    "ImageSizeOption",
    "JsonOption",
    "KindOption",
    "ModelArgument",
    "SeedOption",
    "open_dataset",
    "parse_sizes",
]

KINDS = ("binary", "categorical", "ordinal", "continuous")

DataArgument = Annotated[
    str, typer.Argument(metavar="DATA", help="A named data set, or the path of a file or folder.")
]
ModelArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a saved model.")]
JsonOption = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Write the result as JSON to FILE; - is standard output."),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of splits, fits and samples.")]
KindOption = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        metavar="COLUMN=KIND",
        help=f"Say what kind a column is: {', '.join(KINDS)}. Columns of an array are x1, x2, ...; "
        "KIND alone holds for all. May be repeated.",
    ),
]
ImageSizeOption = Annotated[
    str | None,
    typer.Option("--image-size", metavar="HxW", help="Resize images to this height x width."),
]


def open_dataset(data: str, *, seed: int, kinds: Sequence[str] | None, image_size: str | None) -> Dataset:
    """Load a data set and put the kinds that were asked for on its columns."""
    everywhere, by_column = _parse_kinds(kinds or ())
    size = None if image_size is None else _parse_image_size(image_size)
    from chainrule.datasets import load_dataset

    dataset = load_dataset(data, random_state=seed, image_size=size)
    return _declare_kinds(dataset, everywhere, by_column)


def parse_sizes(text: str) -> tuple[int, ...]:
    """Return the sizes of hidden layers, such as ``"500,500"``."""
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise DataError(f"--hidden-sizes {text}: expected whole numbers, such as 500 or 500,500")
    return sizes


def _parse_kinds(texts: Sequence[str]) -> tuple[str | None, dict[str, str]]:
    """Return the kind of all columns, if one was given, and the kinds of single columns."""
    everywhere, by_column = None, {}
    for text in texts:
        column, separator, kind = text.rpartition("=")
        if kind not in KINDS:
            raise DataError(f"--kind {text}: expected COLUMN=KIND with a kind of {', '.join(KINDS)}")
        if separator:
            by_column[column] = kind
        else:
            everywhere = kind
    return everywhere, by_column


def _parse_image_size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise DataError(f"--image-size {text}: expected HEIGHTxWIDTH, such as 28x28")
    return int(height), int(width)


def _declare_kinds(dataset: Dataset, everywhere: str | None, by_column: dict[str, str]) -> Dataset:
    """Return the data set with the kinds that were asked for before those that it brings."""
    before = everywhere or dataset.kinds
    if not by_column:
        return replace(dataset, kinds=before)
    if isinstance(before, str):
        before = dict.fromkeys(_column_names(dataset), before)
    # A column that is not there is found when the kinds are used.
    return replace(dataset, kinds={**(before or {}), **by_column})


def _column_names(dataset: Dataset) -> list[str]:
    numbered = (f"x{number}" for number in range(1, dataset.n_variables + 1))
    return [str(name) for name in getattr(dataset.train, "columns", numbered)]
