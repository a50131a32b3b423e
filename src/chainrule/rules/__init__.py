"""Rules between columns: inequalities, combinations and equations that no row of a model breaks."""

from __future__ import annotations

from chainrule.rules.parsing import Combination, Equation, Inequality, Rule, parse_rule
from chainrule.rules.restriction import RuleSet

__all__ = ["Combination", "Equation", "Inequality", "Rule", "RuleSet", "parse_rule"]
