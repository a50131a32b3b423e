"""`chainrule fit` and `chainrule compare` of files that are more than memory holds."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from chainrule.cli.options import parse_image_size, parse_kinds
from chainrule.cli.output import new_folder, say
from chainrule.errors import DataError

if TYPE_CHECKING:
    from chainrule.batches import LargeTable, StoredTable
    from chainrule.datasets import Dataset

__all__ = [
    "ROWS_FOLDER",
    "MemoryOption",
    "MinLevelCountOption",
    "Reading",
    "large_table",
    "parse_memory",
    "rows_to_compare",
    "stored_rows",
]

ROWS_FOLDER = ".rows"
"""Where the codes of rows lie during a fit, within the folder of the model or of the run."""

MemoryOption = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        help="Read tables that would take more, such as 4GiB, in pieces; default: half of what is free.",
    ),
]

MinLevelCountOption = Annotated[
    int,
    typer.Option(
        min=1,
        metavar="N",
        help="Of text, take levels that fewer than N training rows have for one, 'other': a model does not "
        "know the names of rare ones then.",
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


@dataclass(frozen=True)
class Reading:
    """How rows are read, as options say.

    Parameters
    ----------
    seed : int
        Of the split.
    kinds : str or dict, optional
        Kinds that are declared.
    image_size : tuple of int, optional
        Height and width to resize images to, and 3 where they are to be in colour.
    memory : int, optional
        Bytes that a fit may take.
    min_level_count : int
        Rows that a level of text must have lest it is folded.
    """

    seed: int
    kinds: str | dict[str, str] | None = None
    image_size: tuple[int, ...] | None = None
    memory: int | None = None
    min_level_count: int = 1

    @classmethod
    def of_options(
        cls,
        seed: int,
        kind: list[str] | None,
        image_size: str | None,
        memory: str | None,
        min_level_count: int,
    ) -> Self:
        """Return what options spell."""
        size = parse_image_size(image_size)
        return cls(seed, parse_kinds(kind), size, parse_memory(memory), min_level_count)

    def dataset(self, data: str, missing: Any) -> Dataset:
        """Return rows in memory; `missing` are the words that stand for missing values, None: none may be."""
        from chainrule.datasets import load_dataset

        return load_dataset(
            data,
            random_state=self.seed,
            image_size=self.image_size,
            kinds=self.kinds,
            missing=missing,
            min_level_count=self.min_level_count,
        )


def large_table(data: str, reading: Reading, missing: Any) -> tuple[LargeTable, int] | None:
    """Return the table of a file that is to be read in pieces, and the bytes that a fit may take."""
    from chainrule.batches import LargeTable, default_memory
    from chainrule.datasets import scan_table
    from chainrule.datasets.arrays import check_is_file
    from chainrule.datasets.panics import damage_named

    path = Path(data).expanduser()
    if not path.exists():
        return None
    bytes_free = reading.memory or default_memory()
    if path.suffix.lower() in (".csv", ".tsv") and path.stat().st_size * _BYTES_PER_LETTER < bytes_free:
        return None
    if path.is_file():
        check_is_file(path)
    table = scan_table(path, missing or ())
    if table is None:
        return None
    large = LargeTable(table, path, reading.kinds, reading.min_level_count)
    with damage_named(path, "a table"):
        return None if large.fits_into(bytes_free) else (large, bytes_free)


@contextmanager
def stored_rows(
    large: LargeTable, memory: int, out: Path, seed: int, *, missing: bool, keep_rows: bool = False
) -> Iterator[StoredTable]:
    """Keep the codes of a table's rows in files while models are fitted; processes of a group share them.

    Parameters
    ----------
    large : LargeTable
    memory : int
        Bytes that a fit may take.
    out : Path
        The folder that the user named.
    seed : int
    missing, keep_rows
        As in `chainrule.batches.store`.
    """
    from chainrule.batches import store
    from chainrule.training.parallel import current_group

    folder, group = out / ROWS_FOLDER, current_group()

    def write() -> StoredTable:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        say(f"{large.path.name} is more than {memory / 2**30:.3g} GiB hold: its rows are read in pieces")
        return store(large, folder, memory=memory, missing=missing, random_state=seed, keep_rows=keep_rows)

    try:
        yield group.by_first(write)
    finally:
        if group.is_first:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def rows_to_compare(data: str, reading: Reading, out: Path | None) -> Iterator[tuple[Dataset, Path]]:
    """Yield the rows of a comparison, in memory or in pieces, and its run folder, which is made."""
    from chainrule.datasets import MISSING_WORDS
    from chainrule.experiments.stored import StoredDataset

    large = large_table(data, reading, MISSING_WORDS)
    if large is None:
        dataset = reading.dataset(data, MISSING_WORDS)
        with new_folder(out or _new_run(dataset.name)) as folder:
            yield dataset, folder
        return
    table, memory = large
    with (
        new_folder(out or _new_run(table.path.stem)) as folder,
        stored_rows(table, memory, folder, reading.seed, missing=True, keep_rows=True) as stored,
    ):
        yield StoredDataset.of(stored, table.path, reading.kinds), folder


def _new_run(name: str) -> Path:
    return Path("runs", f"{name}-{datetime.now():%Y%m%d-%H%M%S}")
