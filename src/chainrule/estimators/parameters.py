"""Constructor arguments as JSON can hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["argument_from_json", "argument_to_json"]


def argument_to_json(value: Any) -> Any:
    """Return a constructor argument as JSON can hold it; generators are not kept, only their results."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        # A list of pairs, because the keys of JSON objects are text and those of `kinds` may be numbers.
        return {"mapping": [[argument_to_json(key), argument_to_json(item)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [argument_to_json(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return None


def argument_from_json(value: Any) -> Any:
    """Undo `argument_to_json`; lists become tuples."""
    if isinstance(value, Mapping):
        return {key: argument_from_json(item) for key, item in value["mapping"]}
    return tuple(argument_from_json(item) for item in value) if isinstance(value, list) else value
