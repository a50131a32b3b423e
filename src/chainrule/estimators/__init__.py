"""Density estimators with the face of scikit-learn."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chainrule.estimators.base import DensityEstimator
    from chainrule.estimators.baselines import GMM, Independent, Mixture, MixtureOfBernoullis
    from chainrule.estimators.ensemble import Ensemble
    from chainrule.estimators.loading import load
    from chainrule.estimators.made import MADE
    from chainrule.estimators.nade import NADE
    from chainrule.estimators.orderless import OrderlessNADE

__all__ = [
    "GMM",
    "MADE",
    "NADE",
    "DensityEstimator",
    "Ensemble",
    "Independent",
    "Mixture",
    "MixtureOfBernoullis",
    "OrderlessNADE",
    "load",
]

# The baselines need no PyTorch; each module is imported when one of its names is first used.
_BASELINES = ["GMM", "Independent", "Mixture", "MixtureOfBernoullis"]
_HOME = {
    "MADE": "chainrule.estimators.made",
    "NADE": "chainrule.estimators.nade",
    "OrderlessNADE": "chainrule.estimators.orderless",
    **dict.fromkeys(_BASELINES, "chainrule.estimators.baselines"),
    "Ensemble": "chainrule.estimators.ensemble",
    "DensityEstimator": "chainrule.estimators.base",
    "load": "chainrule.estimators.loading",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'chainrule.estimators' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
