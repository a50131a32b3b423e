"""Means with their standard errors, and how much drawn rows are like real ones."""

from __future__ import annotations

from chainrule.metrics.fidelity import Fidelity, FidelityEvaluator, FidelityReport

__all__ = ["Fidelity", "FidelityEvaluator", "FidelityReport"]
