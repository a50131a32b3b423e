"""What reports are made of: blocks, each a heading, an explanation, and a table, pictures or parts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chainrule.report.style import Picture

__all__ = ["Block", "Table", "stacked"]

_LAYOUTS = ("panels", "two", "small", "images", "strip", "wide")


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes
    ----------
    header : sequence of str
        One heading per column.
    rows : sequence of sequence of str
        Cells, as many per row as `header` has.
    best : collection of int
        Rows to mark, counted from 0: those that lead by more than two standard errors.
    caption : str
        What stands below.
    units : sequence of str
        What stands below each heading; default: nothing.
    numeric : sequence of bool
        Which columns are aligned to the right; default: all but the first.
    groups : mapping of int to str
        The heading above the row of that number; default: none.
    colours, notes : sequence of str
        What stands beside the first cell of each row, and below it; default: nothing.
    is_headed : bool
        Whether the first cell of a row is its heading; default: True.
    is_data : bool
        Whether it holds rows of data, which are set smaller, and only as wide as they are; default: False.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    best: Collection[int] = ()
    caption: str = ""
    units: Sequence[str] = ()
    numeric: Sequence[bool] = ()
    groups: Mapping[int, str] = field(default_factory=dict)
    colours: Sequence[str] = ()
    notes: Sequence[str] = ()
    is_headed: bool = True
    is_data: bool = False

    def __post_init__(self) -> None:
        widths = {len(row) for row in self.rows} - {len(self.header)}
        if widths:
            raise ValueError(f"expected rows of {len(self.header)} cells, got rows of {sorted(widths)}")
        if not self.numeric:
            object.__setattr__(self, "numeric", [place > 0 for place in range(len(self.header))])


def stacked(header: Sequence[str], groups: Mapping[str, Sequence[Sequence[str]]], **words: Any) -> Table:
    """Return a table of data with groups of rows under headings; further words are those of `Table`."""
    starts: dict[int, str] = {}
    rows: list[Sequence[str]] = []
    for title, cells in groups.items():
        starts[len(rows)] = title
        rows += cells
    return Table(header, rows, groups=starts, is_data=True, **words)


@dataclass(frozen=True)
class Block:
    """A part of a report: a heading, an explanation, a table, pictures, and blocks below them.

    Attributes
    ----------
    title : str
        The heading; a block without one goes on with the one before it.
    text : str
        Paragraphs, separated by empty lines.
    pictures : sequence of Picture
    layout : {"panels", "two", "small", "images", "strip", "wide"}
        How pictures stand: three in a line (the default), two, four, four, many small ones with their titles
        below, one over the whole width.
    table : Table or None
    parts : sequence of Block
        Their headings are one level lower.
    anchor : str
        The name by which an address leads here; default: none.
    link : tuple of str, optional
        The name of a file in the same folder, and the words that lead there, below the text.
    """

    title: str = ""
    text: str = ""
    pictures: Sequence[Picture] = ()
    layout: str = "panels"
    table: Table | None = None
    parts: Sequence[Block] = ()
    anchor: str = ""
    link: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if self.layout not in _LAYOUTS:
            raise ValueError(f"expected a layout of {', '.join(_LAYOUTS)}, got {self.layout!r}")

    @property
    def paragraphs(self) -> list[str]:
        """The paragraphs of the text."""
        return [part.strip() for part in self.text.split("\n\n") if part.strip()]
