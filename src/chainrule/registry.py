"""The one table of models: their names on the command line, titles, classes and fixed arguments.

From it follow what `chainrule` exports, which classes a saved model may name, and what the commands, the
comparison and the sweep know. Reading it imports no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CLASSES", "MODELS", "ModelEntry", "register_model"]


@dataclass(frozen=True)
class ModelEntry:
    """A model that commands know by name.

    Parameters
    ----------
    title : str
        What tables and reports call it.
    class_name : str
        Its estimator.
    module : str
        Where that is defined.
    arguments : mapping, optional
        Constructor arguments that make it this model rather than another one of its class.
    """

    title: str
    class_name: str
    module: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


MODELS: dict[str, ModelEntry] = {
    "independent": ModelEntry("independent", "Independent", "chainrule.baselines"),
    "gmm": ModelEntry("GMM", "GMM", "chainrule.baselines"),
    "mixture-of-bernoullis": ModelEntry(
        "mixture of Bernoullis", "MixtureOfBernoullis", "chainrule.baselines"
    ),
    "mixture": ModelEntry("mixture", "Mixture", "chainrule.baselines"),
    "nade": ModelEntry("NADE", "NADE", "chainrule.estimators.nade"),
    "made": ModelEntry("MADE", "MADE", "chainrule.estimators.made"),
    "orderless-nade": ModelEntry("orderless NADE", "OrderlessNADE", "chainrule.estimators.orderless"),
    "pixel-cnn": ModelEntry("PixelCNN", "PixelCNN", "chainrule.estimators.pixel_cnn"),
    "conv-nade": ModelEntry("ConvNADE", "ConvNADE", "chainrule.estimators.conv_nade"),
}

CLASSES: dict[str, str] = {
    "Ensemble": "chainrule.estimators.ensemble",
    **{entry.class_name: entry.module for entry in MODELS.values()},
}
"""The module of each estimator. Only these names may stand in a saved model: none that a file asks for."""


def register_model(name: str, entry: ModelEntry) -> None:
    """Add a model, so that it can be saved, loaded, fitted by name, compared and swept.

    Parameters
    ----------
    name : str
        On the command line.
    entry : ModelEntry
    """
    MODELS[name] = entry
    CLASSES[entry.class_name] = entry.module
