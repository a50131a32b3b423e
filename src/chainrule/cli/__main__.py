"""`python -m chainrule.cli` is the `chainrule` command."""

from __future__ import annotations

from chainrule.cli.app import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
