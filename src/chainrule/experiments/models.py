"""The models that the commands and studies know by name; importing this loads none of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

__all__ = ["MODELS", "Model"]


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
