"""Options that several commands share, and what their texts mean."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from chainrule.cli.completion import complete_data, complete_model
from chainrule.errors import DataError
from chainrule.training.options import TRAINING_OPTIONS, Option

if TYPE_CHECKING:
    from chainrule.estimators import DensityEstimator

__all__ = [
    "AddressOption",
    "DataArgument",
    "EngineOption",
    "ImageSizeOption",
    "JsonOption",
    "KindOption",
    "ModelArgument",
    "ResumeOption",
    "SeedOption",
    "SpreadsheetOption",
    "check_engine",
    "image_size_for",
    "parse_image_size",
    "parse_kinds",
    "parse_sizes",
    "with_training_options",
]

DataArgument = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A named data set, or the path of a file or folder.",
        autocompletion=complete_data,
    ),
]
ModelArgument = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="The folder of a saved model.", autocompletion=complete_model),
]
JsonOption = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Write the result as JSON to FILE; - is standard output."),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of splits, fits and samples.")]
SpreadsheetOption = Annotated[
    bool,
    typer.Option(
        "--spreadsheet-safe",
        help="In csv and tsv, put ' before text and column names that begin with = + - @ and are no numbers: "
        "a spreadsheet would run them as formulas.",
    ),
]
KindOption = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        metavar="COLUMN=KIND",
        help="Say what kind a column is, such as age=ordinal; a KIND that there is not is answered by a list "
        "of all. Columns of an array are x1, x2, ...; KIND alone holds for all columns. May be repeated.",
    ),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on with a run that was stopped, from what it has written.")
]
EngineOption = Annotated[
    Literal["ray"] | None,
    typer.Option(help="Share the work out on a cluster; the result is the same. Default: this process."),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Of the cluster; default: RAY_ADDRESS, else one is started on this machine.",
    ),
]
ImageSizeOption = Annotated[
    str | None,
    typer.Option(
        "--image-size",
        metavar="HxW[x3]",
        help="Resize images to this height x width; x3 behind it reads a folder or tar of them in colour.",
    ),
]


def check_engine(engine: str | None, address: str | None) -> None:
    """Refuse the address of a cluster without an engine that would use it."""
    if address is not None and engine is None:
        raise DataError(f"--address {address} goes with --engine ray")


def parse_sizes(text: str) -> tuple[int, ...]:
    """Return the sizes of hidden layers, such as ``"500,500"``."""
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise DataError(f"--hidden-sizes {text}: expected whole numbers, such as 500 or 500,500")
    return sizes


def parse_kinds(texts: Sequence[str] | None) -> str | dict[str, str] | None:
    """Return the kind of all columns, or the kinds of single columns by name."""
    if not texts:
        return None
    from chainrule.schema import COLUMN_TYPES  # brings NumPy, which help does without

    by_column = {}
    for text in texts:
        column, _, kind = text.rpartition("=")
        if kind not in COLUMN_TYPES:
            raise DataError(f"--kind {text}: expected COLUMN=KIND with a kind of {', '.join(COLUMN_TYPES)}")
        by_column[column] = kind
    if "" not in by_column:
        return by_column
    if len(by_column) > 1:
        raise DataError("--kind: give one KIND for all columns, or COLUMN=KIND for single ones, but not both")
    return by_column[""]


def parse_image_size(text: str | None) -> tuple[int, ...] | None:
    """Return height and width, and 3 for colour, of a text such as ``"28x28"`` or ``"64x64x3"``."""
    if text is None:
        return None
    sizes = tuple(int(size) if size.isdecimal() else 0 for size in text.lower().split("x"))
    if len(sizes) not in (2, 3) or not all(sizes) or sizes[2:] not in ((), (3,)):
        raise DataError(f"--image-size {text}: expected HEIGHTxWIDTH, such as 28x28, or HEIGHTxWIDTHx3")
    return sizes


def image_size_for(text: str | None, data: str, estimator: DensityEstimator) -> tuple[int, ...] | None:
    """Return the size of `parse_image_size`; without one, images in a folder or tar are as the model's."""
    from chainrule.datasets.files import holds_images

    size = parse_image_size(text)
    if size is None and holds_images(Path(data)):
        return cast("tuple[int, ...] | None", estimator.get_params().get("image_shape"))
    return size


def with_training_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with an option for each training option in place of its ``**training_options``.

    It gets those that the user left out as None.
    """
    signature = inspect.signature(command, eval_str=True)
    others = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(option))
        for name, option in TRAINING_OPTIONS.items()
    ]
    command.__signature__ = signature.replace(parameters=[*others, *options])  # type: ignore[attr-defined]
    return command


def _annotation(option: Option) -> Any:
    """Return the type of a training option as typer reads it."""
    if option.choices:
        return Annotated[Literal[option.choices] | None, typer.Option(help=option.help)]
    number = int if option.is_whole else float
    least = number(option.minimum)
    return Annotated[number | None, typer.Option(min=least, help=option.help)]
