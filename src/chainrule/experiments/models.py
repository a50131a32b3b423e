"""The models that the commands and studies know by name; importing this loads none of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

__all__ = ["MODELS", "Model", "orders_to_average", "settings_for_few_rows"]

# Below so many training rows networks are small, and an epoch takes more than a handful of steps.
_FEW_ROWS = 1000
_STEPS_PER_EPOCH = 15
# Up to so many columns, the mean over some orders is cheap, and better than one.
_MOST_AVERAGED = 40
_N_ORDERS = 8


class Model(NamedTuple):
    """A model by its name on the command line.

    `title` is what tables and reports call it, `class_name` its class in `chainrule.estimators`, and
    `arguments` what makes it this model rather than another one of its class.
    """

    title: str
    class_name: str
    arguments: Mapping[str, Any] = MappingProxyType({})


MODELS = {
    "independent": Model("independent", "Independent"),
    "gmm": Model("GMM", "GMM"),
    "mixture-of-bernoullis": Model("mixture of Bernoullis", "MixtureOfBernoullis"),
    "mixture": Model("mixture", "Mixture"),
    "nade": Model("NADE", "NADE"),
    "made": Model("MADE", "MADE"),
    "made-any": Model("any-order MADE", "MADE", MappingProxyType({"ordering": "any"})),
    "orderless-nade": Model("orderless NADE", "OrderlessNADE"),
}


def orders_to_average(n_variables: int) -> int:
    """Return over how many orders models that can are averaged.

    Examples
    --------
    >>> orders_to_average(15), orders_to_average(784)
    (8, 1)
    """
    return _N_ORDERS if 1 < n_variables <= _MOST_AVERAGED else 1


def settings_for_few_rows(n_rows: int, n_variables: int) -> dict[str, Any]:
    """Return arguments in place of the estimators' own defaults where there are few training rows.

    Examples
    --------
    >>> settings_for_few_rows(300, 10)["batch_size"]
    20
    >>> settings_for_few_rows(20_000, 10)
    {}
    """
    if n_rows >= _FEW_ROWS:
        return {}
    return {
        "hidden_size": 64,
        "hidden_sizes": (64, 64),
        "n_orderings": orders_to_average(n_variables),
        "batch_size": max(8, n_rows // _STEPS_PER_EPOCH),
        "patience": 40,
        "max_epochs": 400,
        "dropout": 0.0,
    }
