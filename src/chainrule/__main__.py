"""`python -m chainrule`, or `torchrun -m chainrule`, is the `chainrule` command."""

from __future__ import annotations

from chainrule.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
