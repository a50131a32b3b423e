"""Column types: from a user's table to numeric codes and back."""

from __future__ import annotations

from chainrule.schema.core import Schema
from chainrule.schema.inference import columns_that_name_rows, folding_rare_levels
from chainrule.schema.types import (
    COLUMN_TYPES,
    UNSEEN,
    Binary,
    Categorical,
    ColumnType,
    Continuous,
    Count,
    LevelBins,
    Ordinal,
    register_column_type,
)

__all__ = [
    "COLUMN_TYPES",
    "UNSEEN",
    "Binary",
    "Categorical",
    "ColumnType",
    "Continuous",
    "Count",
    "LevelBins",
    "Ordinal",
    "Schema",
    "columns_that_name_rows",
    "folding_rare_levels",
    "register_column_type",
]
