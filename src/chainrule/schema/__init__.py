"""Variables and their kinds: from a user's table to numeric codes and back."""

from __future__ import annotations

from chainrule.schema.coding import UNSEEN
from chainrule.schema.core import Schema, columns_that_name_rows
from chainrule.schema.variables import KINDS, Kind, Variable

__all__ = ["KINDS", "UNSEEN", "Kind", "Schema", "Variable", "columns_that_name_rows"]
