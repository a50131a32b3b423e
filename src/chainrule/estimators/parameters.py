"""Constructor arguments as JSON can hold them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from chainrule.errors import ParameterError
from chainrule.training.options import TRAINING_OPTIONS

__all__ = ["argument_from_json", "argument_to_json", "check_checkpoint", "parameters_of_the_fit"]

# What may be another value when a fit goes on, beside training options, which know it themselves.
_MAY_CHANGE = {"checkpoint", "contamination", "device", "verbose"}


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


def parameters_of_the_fit(given: Mapping[str, Any]) -> str:
    """Return the constructor arguments that must be the same for a fit to go on from its checkpoint.

    Parameters
    ----------
    given : mapping
        All of them.
    """
    fixed = given.keys() - TRAINING_OPTIONS.keys() - _MAY_CHANGE
    return json.dumps({name: argument_to_json(given[name]) for name in sorted(fixed)})


def check_checkpoint(checkpoint: Any, random_state: Any) -> None:
    """Raise a ParameterError if there is a checkpoint but no seed: no second fit would be the same."""
    if checkpoint is not None and random_state is None:
        raise ParameterError(
            "a fit with a checkpoint needs a random_state, such as 0: without one the next fit draws other "
            "rows and weights, and cannot go on"
        )
