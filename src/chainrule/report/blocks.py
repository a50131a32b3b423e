"""What a section of a report is made of: paragraphs, pictures side by side, groups of table rows."""

from __future__ import annotations

from dataclasses import dataclass, field

from chainrule.report.rows import TextTable
from chainrule.report.style import Picture

__all__ = ["Block", "Group"]


@dataclass(frozen=True)
class Group:
    """Rows of a table that belong together under one heading."""

    title: str
    table: TextTable
    leading: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Block:
    """A paragraph with what stands under it: pictures side by side, and groups of table rows."""

    title: str = ""
    text: str = ""
    pictures: list[Picture] = field(default_factory=list)
    layout: str = "panels"
    groups: list[Group] = field(default_factory=list)
    leading: str = ""
