"""What each column of a table is taken for, said before a fit."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from chainrule.terminal import printable

if TYPE_CHECKING:
    from chainrule.schema import Schema

__all__ = ["say_kinds"]

# Of tables with more columns only a summary is printed.
_MAX_COLUMNS = 40
_MAX_LETTERS = 30


def say_kinds(schema: Schema) -> None:
    """Print the kinds of the columns on standard error: one line each where they are named and not many."""
    print(f"kinds of {schema.describe()}", file=sys.stderr)
    if not schema.named or schema.n_variables > _MAX_COLUMNS:
        return
    names = [_shortened(name) for name in schema.names]
    width = max(map(len, names))
    for name, variable in zip(names, schema.variables, strict=True):
        print(f"  {name:{width}}  {printable(variable.describe())}", file=sys.stderr)


def _shortened(name: str) -> str:
    line = printable(" ".join(name.split()))
    return line if len(line) <= _MAX_LETTERS else f"{line[: _MAX_LETTERS - 3]}..."
