"""Constructor arguments: what they may be, and as JSON can hold them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from msgspec import Struct
from sklearn.utils._param_validation import Interval

from chainrule.errors import ParameterError, StorageError
from chainrule.storage import as_described
from chainrule.training.options import TRAINING_OPTIONS

__all__ = [
    "COUNT",
    "IMAGE_SHAPE",
    "MEMBERS",
    "SHARED_CONSTRAINTS",
    "argument_to_json",
    "arguments_from_json",
    "check_checkpoint",
    "parameters_of_the_fit",
]

# What may be another value when a fit goes on, beside training options, which know it themselves.
_MAY_CHANGE = {"checkpoint", "contamination", "device", "verbose"}

COUNT: Any = Interval(Integral, 1, None, closed="left")
"""What arguments that count something may be, in scikit-learn's form."""
MEMBERS: Any = Interval(Integral, 1, 10_000, closed="both")
"""How many orders or masks may share weights: a row is scored under each."""
IMAGE_SHAPE = (None, "array-like")
"""What the shape of images may be; `ImageShape.of` holds it against the rows."""
SHARED_CONSTRAINTS: Mapping[str, list[Any]] = {
    "kinds": [None, str, Mapping],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "verbose": ["verbose"],
    "random_state": ["random_state", np.random.Generator],
}
"""What arguments that all fitted estimators share may be."""


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


def arguments_from_json(arguments: Mapping[str, Any], estimator: Any) -> dict[str, Any]:
    """Return the constructor arguments that `argument_to_json` wrote, of an estimator's class.

    Raises
    ------
    StorageError
        If the class has no such parameter, or a value is nothing that was written.
    """
    unknown = set(arguments) - set(estimator._get_param_names())
    if unknown:
        raise StorageError(f"{estimator.__name__} has no parameter {min(unknown)!r}")
    return {name: _from_json(value) for name, value in arguments.items()}


def _from_json(value: Any) -> Any:
    """Undo `argument_to_json`; lists become tuples."""
    if isinstance(value, Mapping):
        pairs = as_described(value, _Pairs, "a parameter").mapping
        return {key: _from_json(item) for key, item in pairs}
    return tuple(_from_json(item) for item in value) if isinstance(value, list) else value


class _Pairs(Struct, forbid_unknown_fields=True):
    """A mapping; keys of JSON objects would be text."""

    mapping: list[tuple[str | int, Any]]


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
