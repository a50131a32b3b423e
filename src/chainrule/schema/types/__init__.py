"""Column types: what a column of the data is, one file each.

`COLUMN_TYPES` is the one list of them, in the order in which they are offered a column of which nothing was
declared: the first whose `infer` takes it has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainrule.errors import StorageError
from chainrule.schema.types.base import UNSEEN, ColumnType
from chainrule.schema.types.binary import Binary
from chainrule.schema.types.bins import LevelBins
from chainrule.schema.types.categorical import Categorical
from chainrule.schema.types.continuous import Continuous
from chainrule.schema.types.count import Count
from chainrule.schema.types.empty import Empty
from chainrule.schema.types.ordinal import Ordinal

__all__ = [
    "COLUMN_TYPES",
    "UNSEEN",
    "Binary",
    "Categorical",
    "ColumnType",
    "Continuous",
    "Count",
    "Empty",
    "LevelBins",
    "Ordinal",
    "column_from_dict",
    "register_column_type",
]

COLUMN_TYPES: dict[str, type[ColumnType]] = {
    column_type.kind: column_type for column_type in (Binary, Categorical, Ordinal, Count, Continuous, Empty)
}


def register_column_type(column_type: type[ColumnType]) -> type[ColumnType]:
    """Add a column type to the list, where its kind can be declared and stored; usable as a decorator.

    Its `infer` is asked before those of the types that are already there.
    """
    present = dict(COLUMN_TYPES)
    COLUMN_TYPES.clear()
    COLUMN_TYPES.update({column_type.kind: column_type, **present})
    return column_type


def column_from_dict(metadata: Mapping[str, Any]) -> ColumnType:
    """Return the column type that `ColumnType.to_dict` described.

    Raises
    ------
    StorageError
        If there is no such kind, or it cannot be made of this.
    """
    kind = metadata.get("kind")
    if not isinstance(kind, str) or kind not in COLUMN_TYPES:
        raise StorageError(
            f"column {metadata.get('name')!r}: {kind!r} is not a kind; kinds are {', '.join(COLUMN_TYPES)}"
        )
    return COLUMN_TYPES[kind].from_dict(metadata)
