"""Read sets in the format of C4.5: NAME.names, NAME.data and perhaps NAME.test."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chainrule.datasets.arrays import read_bytes
from chainrule.datasets.core import Parts
from chainrule.datasets.tables import MISSING_WORDS, as_levels, cells_to_frame
from chainrule.errors import DataError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["find_c45", "read_c45"]

_CLASS = "class"
_NUMERIC = ("continuous", "ignore", "discrete")
_MAX_NAME = 100  # longer "names" are prose, as in descriptions that are called .names, too


def find_c45(path: Path) -> Path | None:
    """Return the ``.names`` file of the set that `path`, a file or folder, belongs to, if there is one."""
    if path.is_dir():
        found = [names for names in sorted(path.glob("*.names")) if _declares(names)]
        return found[0] if len(found) == 1 and found[0].with_suffix(".data").exists() else None
    names = path.with_suffix(".names")
    return names if path.suffix in (".data", ".test") and names.exists() and _declares(names) else None


def _declares(names: Path) -> bool:
    return bool(_read_names(names)[1])


def read_c45(path: Path, names: Path, missing: Sequence[str] = MISSING_WORDS) -> Parts:
    """Read a set: its training rows, and its test rows where it has some; of a ``.test`` file these alone.

    The columns are named as in `names`, the last one ``class``, and levels are those it declares. A period
    that ends a row is no part of it.
    """
    classes, attributes = _read_names(names)
    columns = [*attributes, _CLASS]
    if _CLASS in attributes:
        raise DataError(f"{names} calls an attribute {_CLASS!r}, which is the name of the last column")
    if path.suffix == ".test":
        return Parts(_read_rows([path], columns, classes, attributes, missing)[0])
    test = names.with_suffix(".test")
    files = [names.with_suffix(".data"), *([test] if test.exists() else [])]
    parts = _read_rows(files, columns, classes, attributes, missing)
    return Parts(parts[0], test=parts[1] if len(parts) > 1 else None)


def _read_names(path: Path) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Return the classes, and the declared levels of each attribute: none of a continuous one."""
    text = re.sub(r"\|.*", "", read_bytes(path).decode("utf-8", errors="replace"))
    classes: tuple[str, ...] = ()
    attributes: dict[str, tuple[str, ...]] = {}
    for statement in re.split(r"\.\s*(?:\n|$)", text):
        name, colon, values = (part.strip() for part in statement.strip().partition(":"))
        if not colon:
            classes = classes or _listed(name)
        elif not classes or not values or len(name) > _MAX_NAME or "\n" in name:
            return (), {}  # prose
        else:
            first = values.split(maxsplit=1)[0].lower()
            attributes[name] = () if first in _NUMERIC else _listed(values)
    return classes, attributes


def _listed(text: str) -> tuple[str, ...]:
    return tuple(value.strip() for value in text.split(",") if value.strip())


def _read_rows(
    files: Sequence[Path],
    columns: Sequence[str],
    classes: Sequence[str],
    attributes: Mapping[str, tuple[str, ...]],
    missing: Sequence[str],
) -> list[pl.DataFrame]:
    """Return a table of each of one or two files; both have the same types."""
    rows = [_cells_of(path, len(columns)) for path in files]
    together = cells_to_frame([row for part in rows for row in part], columns, missing)
    levels = {name: declared for name, declared in attributes.items() if declared}
    together = as_levels(together, levels | {_CLASS: classes})
    n_first = len(rows[0])
    return [together[:n_first], together[n_first:]][: len(rows)]


def _cells_of(path: Path, n_columns: int) -> list[list[str]]:
    text = read_bytes(path).decode("utf-8", errors="replace")
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("|"):
            continue
        cells = [cell.strip() for cell in line.strip().removesuffix(".").split(",")]
        if len(cells) != n_columns:
            raise DataError(
                f"{path}: line {number} has {len(cells)} fields where its .names file has {n_columns} columns"
            )
        rows.append(cells)
    if not rows:
        raise DataError(f"{path} has no rows")
    return rows
