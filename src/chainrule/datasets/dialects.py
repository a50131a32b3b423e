"""How a text file is written: its encoding, separator, quotes, and the names of its columns."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path

from chainrule.datasets.headers import holds_data
from chainrule.errors import DataError
from chainrule.schema.values import quoted

__all__ = ["HEAD", "Dialect", "as_utf8", "find_dialect", "is_utf8"]

HEAD = 2**18
"""Bytes that are read to learn how a file is written."""

_HEAD_LINES = 1000
_SEPARATORS = (",", ";", "\t", "|")
_CHUNK = 2**24
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Dialect:
    """How a text file is written.

    ``names`` are the columns' names, ``x1``, ``x2``, ... where the file gives none; the last `n_unnamed`
    columns have an empty name there. With `spaced`, blanks around cells are no part of them; with `trailing`,
    lines end in a separator more than the first line has.
    """

    separator: str
    quote: str
    spaced: bool
    has_header: bool
    names: tuple[str, ...]
    n_unnamed: int = 0
    trailing: bool = False
    note: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether polars can read the file as it is."""
        return self.quote == '"' and not self.spaced and not self.trailing

    def lines(self, text: str) -> Iterator[list[str]]:
        """Yield the cells of each line that has some; a quoted cell may hold line ends."""
        for fields in csv.reader(
            io.StringIO(text, newline=""),
            delimiter=self.separator,
            quotechar=self.quote,
            skipinitialspace=self.spaced,
        ):
            if self.trailing and len(fields) > len(self.names) and not fields[-1]:
                fields = fields[:-1]
            if fields:
                yield [field.strip() for field in fields] if self.spaced else fields


def as_utf8(content: bytes, path: Path) -> tuple[bytes, str]:
    """Return the content of a text file in UTF-8, from its first line with text on, and a note on it.

    UTF-16 is known by its first bytes. What is no UTF-8 is taken for Windows-1252, which the note says.

    Raises
    ------
    DataError
        If it is no text.
    """
    note = ""
    if content.startswith(_UTF16):
        text = _decoded(content, "utf-16", path)
        content = text.encode()
    elif not is_utf8(content):
        content = _decoded(content, "cp1252", path).encode()
        note = f"{path.name} is not text in UTF-8: it is read as Windows-1252"
    content = content.removeprefix(codecs.BOM_UTF8)
    if b"\n" not in content:  # lines may end in a carriage return alone
        content = content.replace(b"\r", b"\n")
    return re.sub(rb"\A(?:[ \t]*\r?\n)+", b"", content), note


def _decoded(content: bytes, encoding: str, path: Path) -> str:
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise DataError(f"{path} is not text in UTF-8: save it again in that encoding")
    return text


def is_utf8(content: bytes) -> bool:
    """Whether bytes are text in UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(content), _CHUNK):
            decoder.decode(content[start : start + _CHUNK])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def find_dialect(head: bytes, path: Path, missing: Sequence[str]) -> Dialect:
    """Return how a file is written, from its first bytes in UTF-8."""
    first = head.split(b"\n", 1)[0].decode("utf-8", errors="ignore").rstrip("\r")
    if not first.strip():
        raise DataError(f"{path} holds no line with text; expected the names of the columns")
    separator = "\t" if ".tsv" in path.name.lower() else max(_SEPARATORS, key=first.count)
    n_separators = first.count(separator)
    spaced = separator != "\t" and n_separators > 0 and first.count(f"{separator} ") == n_separators
    ends = re.escape(separator)
    quote = "'" if re.search(rf"(^|{ends})\s*'[^']*'\s*({ends}|$)", first) else '"'
    lines = Dialect(separator, quote, spaced, False, ()).lines(head.decode("utf-8", errors="ignore"))
    try:
        fields, *following = islice(lines, _HEAD_LINES)
    except (csv.Error, ValueError) as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from error
    if holds_data(fields, following, missing):
        names = tuple(f"x{number}" for number in range(1, len(fields) + 1))
        note = f"the first line of {path.name} is data: {_named(names)}"
        return Dialect(separator, quote, spaced, False, names, note=note)
    # the last of the lines may be cut
    trailing = bool(following) and all(_has_one_more(line, fields) for line in following[:-1] or following)
    n_unnamed = len(list(takewhile(lambda field: not field.strip(), reversed(fields))))
    names = _distinct(fields)
    again = [
        name for name, field in zip(names, fields, strict=True) if name != field.strip() and field.strip()
    ]
    note = f"columns whose names come again get a number: {quoted(again)}" if again else ""
    return Dialect(separator, quote, spaced, True, names, n_unnamed, trailing, note)


def _named(names: Sequence[str]) -> str:
    if len(names) == 1:
        return "its column is named x1"
    return f"its columns are named {names[0]} to {names[-1]}"


def _has_one_more(line: Sequence[str], fields: Sequence[str]) -> bool:
    return len(line) == len(fields) + 1 and not line[-1]


def _distinct(fields: Sequence[str]) -> tuple[str, ...]:
    """Return the names of columns without blanks around them; one given again gets a number."""
    given: dict[str, int] = {}
    names: dict[str, None] = {}
    for name in map(str.strip, fields):
        candidate = name
        while candidate in names:
            given[name] = given.get(name, 1) + 1
            candidate = f"{name}_{given[name]}"
        names[candidate] = None
    return tuple(names)
