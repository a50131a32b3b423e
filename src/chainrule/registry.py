"""The models there are, and the packages that they live in."""

from __future__ import annotations

__all__ = ["MODELS"]

# Only these names may stand in a saved model, so that loading never imports what a file asks for.
MODELS = {
    "Ensemble": "chainrule.estimators",
    "GMM": "chainrule.baselines",
    "MADE": "chainrule.estimators",
    "NADE": "chainrule.estimators",
    "Independent": "chainrule.baselines",
    "Mixture": "chainrule.baselines",
    "MixtureOfBernoullis": "chainrule.baselines",
    "OrderlessNADE": "chainrule.estimators",
}
