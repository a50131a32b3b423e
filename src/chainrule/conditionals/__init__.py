"""One-dimensional conditional families, and their grouping over a row."""

from chainrule.conditionals.base import Conditional
from chainrule.conditionals.discrete import Bernoulli, Categorical
from chainrule.conditionals.discretized import DiscretizedLogistics
from chainrule.conditionals.mixtures import (
    LocationScaleMixture,
    MixtureOfGaussians,
    MixtureOfLaplaces,
    MixtureOfLogistics,
)
from chainrule.conditionals.row import MIXTURES, Conditionals
from chainrule.conditionals.spiked import SpikedMixture

__all__ = [
    "MIXTURES",
    "Bernoulli",
    "Categorical",
    "Conditional",
    "Conditionals",
    "DiscretizedLogistics",
    "LocationScaleMixture",
    "MixtureOfGaussians",
    "MixtureOfLaplaces",
    "MixtureOfLogistics",
    "SpikedMixture",
]
