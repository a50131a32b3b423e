"""`chainrule fit` of files that are more than memory holds."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.output import say
from chainrule.errors import DataError

if TYPE_CHECKING:
    from chainrule.batches import LargeTable, StoredTable
    from chainrule.estimators import DensityEstimator

__all__ = ["ROWS_FOLDER", "MemoryOption", "fit_large", "large_table", "parse_memory", "stored_rows"]

ROWS_FOLDER = ".rows"
"""Where the codes of rows lie during a fit, within the folder of the model."""

MemoryOption = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        help="Read tables that would take more, such as 4GiB, in pieces; default: half of what is free.",
    ),
]

# A cell of a text file has two letters at least, with what separates it from the next.
_BYTES_PER_LETTER = 24
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def parse_memory(text: str | None) -> int | None:
    """Return the bytes that a text such as ``"1.5GiB"`` or ``"800M"`` stands for.

    >>> parse_memory("1.5GiB"), parse_memory("800M")
    (1610612736, 838860800)
    """
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", text.lower())
    if found is None or float(found[1]) <= 0:
        raise DataError(f"--memory {text}: expected a size, such as 4GiB or 800MiB")
    return int(float(found[1]) * _UNITS[found[2]])


def large_table(data: str, kinds: Any, missing: Any, memory: int | None) -> tuple[LargeTable, int] | None:
    """Return the table of a file that is to be read in pieces, and the bytes that a fit may take."""
    from chainrule.batches import LargeTable, default_memory
    from chainrule.datasets import scan_table
    from chainrule.datasets.arrays import check_is_file
    from chainrule.datasets.panics import damage_named

    path = Path(data).expanduser()
    if not path.exists():
        return None
    bytes_free = memory or default_memory()
    if path.suffix.lower() in (".csv", ".tsv") and path.stat().st_size * _BYTES_PER_LETTER < bytes_free:
        return None
    if path.is_file():
        check_is_file(path)
    table = scan_table(path, missing or ())
    if table is None:
        return None
    large = LargeTable(table, path, kinds)
    with damage_named(path, "a table"):
        return None if large.fits_into(bytes_free) else (large, bytes_free)


@contextmanager
def stored_rows(
    estimator: DensityEstimator, large: LargeTable, memory: int, out: Path, seed: int
) -> Iterator[StoredTable]:
    """Keep the codes of a table's rows in files while a model is fitted; processes of a group share them."""
    from chainrule.batches import store
    from chainrule.training.parallel import current_group

    folder, group = out / ROWS_FOLDER, current_group()

    def write() -> StoredTable:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        say(f"{large.path.name} is more than {memory / 2**30:.3g} GiB hold: its rows are read in pieces")
        return store(
            large,
            folder,
            memory=memory,
            missing=estimator.supports_missing,
            sees_bins=estimator.sees_bins,
            random_state=seed,
        )

    try:
        yield group.by_first(write)
    finally:
        if group.is_first:
            shutil.rmtree(folder, ignore_errors=True)


def fit_large(estimator: DensityEstimator, stored: StoredTable, seed: int) -> None:
    """Fit an estimator to stored rows, and note how they were split."""
    from chainrule.estimators.stored_fit import fit_stored

    estimator.split_ = {"by": "hash", "random_state": seed}
    fit_stored(estimator, stored.schema, stored.train, stored.valid, stored.codes_val)
