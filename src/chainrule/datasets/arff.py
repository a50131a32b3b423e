"""Read ARFF files: attributes with their declared levels, then rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from chainrule.datasets.arrays import read_bytes
from chainrule.datasets.core import Parts
from chainrule.datasets.dialects import as_utf8
from chainrule.datasets.tables import MISSING_WORDS, as_levels, cells_to_frame
from chainrule.errors import DataError

__all__ = ["read_arff"]

_NUMERIC = ("numeric", "real", "integer")
_TYPES = (*_NUMERIC, "string", "date")
_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_ATTRIBUTE = re.compile(rf"@attribute\s+({_QUOTED}|[^\s{{]+)(?=[\s{{])\s*(.+)$", re.IGNORECASE)
_CELL = re.compile(rf"\s*({_QUOTED}|[^,]*)\s*(,|$)")


@dataclass(frozen=True)
class _Attribute:
    name: str
    type: str
    levels: tuple[str, ...] = ()

    @cached_property
    def known(self) -> frozenset[str]:
        """The levels, to look them up."""
        return frozenset(self.levels)


def read_arff(path: Path, missing: Sequence[str] = MISSING_WORDS) -> Parts:
    """Read an ARFF file: names, declared levels, numbers, text, and ``?`` for missing values.

    Raises
    ------
    DataError
        Naming the line where the file is not as it should be.
    """
    content, note = as_utf8(read_bytes(path), path)
    lines = _lines(content.decode())
    attributes = list(_read_header(lines, path))
    if not attributes:
        raise DataError(f"{path} declares no @attribute before its @data")
    names = [attribute.name for attribute in attributes]
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise DataError(f"{path}: the column name {twice!r} appears more than once")
    rows = [_read_row(number, line, attributes, path) for number, line in lines]
    if not rows:
        raise DataError(f"{path} has a header but no rows")
    levels = {attribute.name: attribute.levels for attribute in attributes if attribute.levels}
    known = {level for declared in levels.values() for level in declared}
    table = cells_to_frame(rows, names, ["?", *(word for word in missing if word not in known)])
    return Parts(as_levels(table, levels), notes=(note,) if note else ())


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the number and content of lines that are neither empty nor comments."""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("%"):
            yield number, line.strip()


def _read_header(lines: Iterator[tuple[int, str]], path: Path) -> Iterator[_Attribute]:
    """Yield the attributes, up to the line ``@data``."""
    for number, line in lines:
        word = line.split(maxsplit=1)[0].lower()
        if word == "@data":
            return
        if word == "@attribute":
            yield _read_attribute(number, line, path)
        elif word != "@relation":
            raise DataError(f"{path}: line {number} is {line[:40]!r}; expected @attribute or @data")
    raise DataError(f"{path} has no @data line: it is truncated, or not an ARFF file")


def _read_attribute(number: int, line: str, path: Path) -> _Attribute:
    found = _ATTRIBUTE.match(line)
    if found is None:
        raise DataError(f"{path}: line {number} is {line[:40]!r}; expected @attribute NAME TYPE")
    name, declared = _unquoted(found[1]), found[2].strip()
    if declared.startswith("{") and declared.endswith("}"):
        return _Attribute(name, "nominal", tuple(_cells(declared[1:-1])))
    kind = declared.split(maxsplit=1)[0].lower()
    if kind not in _TYPES:
        raise DataError(
            f"{path}: line {number}: the type {declared[:40]!r} of attribute {name!r} is none of "
            f"{', '.join(_TYPES)} and no list of levels in braces"
        )
    return _Attribute(name, kind)


def _read_row(number: int, line: str, attributes: Sequence[_Attribute], path: Path) -> list[str]:
    if line.startswith("{"):
        raise DataError(
            f"{path}: line {number} is a sparse row, which is not supported: write all its values"
        )
    cells = _cells(line)
    if len(cells) != len(attributes):
        raise DataError(
            f"{path}: line {number} has {len(cells)} values where {len(attributes)} attributes are declared"
        )
    for cell, attribute in zip(cells, attributes, strict=True):
        if cell != "?" and attribute.levels and cell not in attribute.known:
            raise DataError(
                f"{path}: line {number} holds {cell!r}, which is no declared level of {attribute.name!r}"
            )
    return cells


def _cells(line: str) -> list[str]:
    """Return the text between commas, without quotes and the blanks around it."""
    cells, position = [], 0
    while True:
        found = _CELL.match(line, position)
        if found is None:  # text after a closing quote: take the cell as it is
            end = line.find(",", position)
            cells.append(line[position : end if end >= 0 else None].strip())
            if end < 0:
                return cells
            position = end + 1
            continue
        cells.append(_unquoted(found[1].strip()))
        if not found[2]:
            return cells
        position = found.end()


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text
