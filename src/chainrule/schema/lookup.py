"""What a user names: columns by name or number, values as Python or a command line gives them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from chainrule.errors import DataError
from chainrule.schema.tables import is_missing
from chainrule.schema.types import ColumnType
from chainrule.schema.values import did_you_mean, quoted

__all__ = ["column_numbers", "encode_value"]

_MAX_LISTED = 10


def column_numbers(columns: Any, names: Sequence[str], integer_names: bool) -> list[int]:
    """Return the numbers, from 0, of columns that are given by name or number, or of a single one."""
    keys = _as_keys(columns)
    positions = {name: number for number, name in enumerate(names)}
    found = [_find_column(key, positions, integer_names) for key in keys]
    unknown = [key for key, number in zip(keys, found, strict=True) if number is None]
    if unknown:
        raise DataError(f"there is no column {_shown(unknown)}{_remedy(unknown, names, integer_names)}")
    numbers = [number for number in found if number is not None]
    twice = [names[number] for i, number in enumerate(numbers) if number in numbers[:i]]
    if twice:
        raise DataError(f"the column {twice[0]!r} is given more than once: name each column once")
    return numbers


def _as_keys(columns: Any) -> list[Any]:
    if isinstance(columns, (str, int, np.integer)):
        return [columns]
    if not isinstance(columns, Iterable):
        raise DataError(
            f"columns are given by name or number, or by a list of these, not by a {type(columns).__name__}"
        )
    return list(columns)


def _find_column(key: Any, positions: dict[str, int], integer_names: bool) -> int | None:
    if isinstance(key, str):
        return positions.get(key)
    if not isinstance(key, (int, np.integer)) or isinstance(key, bool):
        return None
    if integer_names:  # the number is the column's label
        return positions.get(str(key))
    return int(key) if 0 <= key < len(positions) else None


def _shown(keys: Sequence[Any]) -> str:
    return quoted([key.item() if isinstance(key, np.generic) else key for key in keys])


def _remedy(unknown: Sequence[Any], names: Sequence[str], integer_names: bool) -> str:
    hint = did_you_mean(unknown[0], names) if isinstance(unknown[0], str) else ""
    if hint:
        return hint
    if integer_names:
        return f"; the columns are {quoted([int(name) for name in names], _MAX_LISTED)}"
    return f"; the columns are {quoted(names, _MAX_LISTED)}, or by number 0 to {len(names) - 1}"


def encode_value(value: Any, column: ColumnType) -> float:
    """Return the code of one value: a level or a number, or its text; refuse what the column lacks."""
    plain = value.item() if isinstance(value, np.generic) else value
    if is_missing(plain):
        raise DataError(f"column {column.name!r} is given without a value ({value}): leave the column out")
    return column.encode_scalar(plain)
