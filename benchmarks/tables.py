"""What a group of measurements yields: rows that can be printed under a heading and written as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

__all__ = ["Row", "Skipped"]


class Row(Protocol):
    """One measurement."""

    @property
    def heading(self) -> str:
        """The line that stands over rows of this kind; empty for none."""
        ...

    def line(self) -> str:
        """Return the row as a line of its table."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON keeps of it."""
        ...


@dataclass(frozen=True)
class Skipped:
    """A measurement that could not be made here, and why."""

    work: str
    skipped: str
    heading = ""

    def line(self) -> str:
        """Return the work and the reason."""
        return f"{self.work}: skipped, {self.skipped}"

    def to_dict(self) -> dict[str, Any]:
        """Return both."""
        return asdict(self)
