"""Baselines for any neural model to beat: independent variables, mixtures of products, a Gaussian mixture."""

from chainrule.baselines.gmm import GMM
from chainrule.baselines.independent import Independent
from chainrule.baselines.mixture import Mixture, MixtureOfBernoullis

__all__ = ["GMM", "Independent", "Mixture", "MixtureOfBernoullis"]
