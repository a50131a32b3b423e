"""Types of the columns of a text file that is too large to be read at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

__all__ = ["types_of_text"]

# What polars takes for a truth value, a whole number and a number where it reads a file at once. Whole
# numbers of more digits than these may not fit into 64 bits, and are read as real ones.
_BOOLEAN = r"^(?i:true|false)$"
_INTEGER = r"^-?\d{1,18}$"
_NUMBER = r"^[-+]?(\d*\.\d+([eE][-+]?\d+)?|inf|NaN|\d+[eE][-+]?\d+|\d+\.)$|^-?\d+$"


def types_of_text(table: pl.LazyFrame) -> dict[str, pl.DataType]:
    """Return the types of columns of which all cells are texts, or missing, from one pass in bounded memory.

    Examples
    --------
    >>> import polars as pl
    >>> cells = pl.LazyFrame({"a": ["1", "-2"], "b": ["1", "2.5e3"], "c": ["true", None], "d": ["1", "x"]})
    >>> types_of_text(cells)
    {'a': Int64, 'b': Float64, 'c': Boolean, 'd': String}
    """
    import polars as pl

    candidates = [(pl.Boolean(), _BOOLEAN), (pl.Int64(), _INTEGER), (pl.Float64(), _NUMBER)]
    names = table.collect_schema().names()
    fits = [
        pl.col(name).str.contains(pattern).all().alias(f"{number} {name}")
        for name in names
        for number, (_, pattern) in enumerate(candidates)
    ]
    found = table.select(*fits, *(pl.col(name).count().alias(f"n {name}") for name in names))
    row = found.collect(engine="streaming").row(0, named=True)
    types: dict[str, pl.DataType] = {}
    for name in names:
        fitting = [dtype for number, (dtype, _) in enumerate(candidates) if row[f"{number} {name}"]]
        types[name] = fitting[0] if fitting and row[f"n {name}"] else pl.String()
    return types
