"""What a user names: columns by name or number, values as Python or a command line gives them."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from chainrule.errors import DataError
from chainrule.schema.coding import LARGEST_CODE
from chainrule.schema.dates import number_of_date
from chainrule.schema.tables import is_missing
from chainrule.schema.variables import Variable, quoted

__all__ = ["column_numbers", "did_you_mean", "encode_value"]

_MAX_LISTED = 10


# ---------------------------------------------------------------- columns


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


def did_you_mean(name: Any, names: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the one that was probably meant, if any.

    >>> did_you_mean("hight", ["width", "height"])
    "; did you mean 'height'?"
    """
    close = difflib.get_close_matches(str(name), list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


# ---------------------------------------------------------------- single values


def encode_value(value: Any, variable: Variable) -> float:
    """Return the code of one value: a level or a number, or its text; refuse what the variable lacks."""
    plain = value.item() if isinstance(value, np.generic) else value
    if is_missing(plain):
        raise DataError(f"column {variable.name!r} is given without a value ({value}): leave the column out")
    date = number_of_date(plain, variable.unit) if variable.unit else None
    if variable.kind in ("binary", "categorical"):
        return float(_encode_level(plain if date is None else date, variable))
    number = _as_number(plain) if date is None else date
    if variable.kind == "ordinal":
        return _encode_ordinal(number, plain, variable)
    return _encode_continuous(number, plain, variable)


def _encode_level(value: Any, variable: Variable) -> int:
    # a level that is the text itself comes before one that the text spells
    for candidate in (value, _spelt(value), _in_single_precision(value, variable)):
        if isinstance(candidate, (str, bool, int, float)) and candidate in variable.levels:
            return variable.levels.index(candidate)
    hint = did_you_mean(value, [level for level in variable.levels if isinstance(level, str)])
    raise DataError(
        f"column {variable.name!r} has no level {value!r}; "
        f"known levels are {quoted(variable.levels, _MAX_LISTED)}{hint}"
    )


def _in_single_precision(value: Any, variable: Variable) -> float | None:
    """Return what a number becomes in a column of float32, in which 0.1 is not the 0.1 of Python."""
    number = _as_number(value)
    is_single = variable.dtype.lower().startswith(("float32", "float[pyarrow]"))
    return float(np.float32(number)) if is_single and number is not None else None


def _encode_ordinal(number: float | None, given: Any, variable: Variable) -> float:
    if number is None or not math.isfinite(number) or number != round(number):
        raise DataError(
            f"column {variable.name!r} is ordinal and takes integers from {variable.low} to {variable.high}, "
            f"not {given!r}"
        )
    if not variable.low <= number <= variable.high:
        raise DataError(
            f"column {variable.name!r} cannot be {given}: "
            f"its values range from {variable.low} to {variable.high}"
        )
    return number - variable.low


def _encode_continuous(number: float | None, given: Any, variable: Variable) -> float:
    if number is None or not math.isfinite(number):
        raise DataError(f"column {variable.name!r} is continuous and takes finite numbers, not {given!r}")
    code = (number - variable.location) / variable.scale
    if abs(code) > LARGEST_CODE:
        raise DataError(
            f"column {variable.name!r} cannot be {given}: too far from the training rows "
            f"(mean {variable.location:g}, sd {variable.scale:g})"
        )
    return float(np.float32(code))


def _as_number(value: Any) -> float | None:
    """Return a number, or the one that a text spells, as a float; else None."""
    number = _spelt(value) if isinstance(value, str) else value
    if not isinstance(number, (int, float)) or isinstance(number, bool):
        return None
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _spelt(text: Any) -> bool | float | None:
    """Return the truth value or the number that a text spells, else None."""
    if not isinstance(text, str):
        return None
    if text.strip().lower() in ("true", "false"):
        return text.strip().lower() == "true"
    for number in (int, float):  # a level may be an integer that no float equals
        try:
            return number(text)
        except ValueError:
            pass
    return None
