"""The report of a study or a sweep as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chainrule.report.pages import render_page
from chainrule.report.style import Picture
from chainrule.storage import write_bytes

__all__ = ["Section", "StudyTable", "write_study_page"]


@dataclass(frozen=True)
class StudyTable:
    """A table of text: the first column to the left, the others, which hold numbers, to the right.

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
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    best: Sequence[int] = ()
    caption: str = ""

    def __post_init__(self) -> None:
        widths = {len(row) for row in self.rows} - {len(self.header)}
        if widths:
            raise ValueError(f"expected rows of {len(self.header)} cells, got rows of {sorted(widths)}")


@dataclass(frozen=True)
class Section:
    """A part of the report: a heading, paragraphs (separated by empty lines), a table, then pictures.

    `layout` says how pictures stand: "panels" (three in a line), "two", "small" or "images" (four in a line),
    "wide" (one, over the whole width). A section without a title goes on with the one before it.
    """

    title: str
    text: str = ""
    pictures: Sequence[Picture] = field(default_factory=list)
    layout: str = "panels"
    table: StudyTable | None = None

    def __post_init__(self) -> None:
        if self.layout not in ("panels", "two", "small", "images", "wide"):
            raise ValueError(f"expected a layout of panels, two, small, images or wide, got {self.layout!r}")

    @property
    def paragraphs(self) -> list[str]:
        """The paragraphs of the text."""
        return [part.strip() for part in self.text.split("\n\n") if part.strip()]


def write_study_page(
    path: str | Path,
    title: str,
    facts: Sequence[tuple[str, str]],
    verdict: Sequence[str],
    sections: Sequence[Section],
    *,
    description: str = "",
    eyebrow: str = "A study of density models",
) -> None:
    """Write the report of a study: one HTML file that opens offline.

    Parameters
    ----------
    path : path
        Where to write; the folder must exist.
    title, description, eyebrow : str
        Heading, the line below it, and the few words above it.
    facts : sequence of tuple of str
        Label and value of what should be seen at once, such as numbers of rows.
    verdict : sequence of str
        Sentences, the main one first.
    sections : sequence of Section

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    page = {
        "title": title,
        "description": description,
        "eyebrow": eyebrow,
        "facts": facts,
        "verdict": verdict,
        "sections": sections,
    }
    write_bytes(Path(path), render_page("study.html.j2", page).encode())
