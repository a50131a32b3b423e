"""The `chainrule` command: reads its arguments, calls the library, prints."""

from __future__ import annotations

from chainrule.cli.app import main, run

__all__ = ["main", "run"]
