"""Variables and their kinds: from a user's table to numeric codes and back."""

from __future__ import annotations

from chainrule.schema.coding import UNSEEN
from chainrule.schema.core import Schema
from chainrule.schema.variables import KINDS, Kind, Variable

__all__ = ["KINDS", "UNSEEN", "Kind", "Schema", "Variable"]
