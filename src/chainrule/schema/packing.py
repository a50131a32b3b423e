"""Column types in JSON-safe form: neighbours that are alike, as those of an image, share an entry."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from chainrule.errors import DataError
from chainrule.schema.types import ColumnType, column_from_dict

__all__ = ["pack_columns", "unpack_columns"]


def pack_columns(columns: Iterable[ColumnType], with_names: bool) -> list[dict[str, Any]]:
    """Return entries for runs of columns that differ in their names and in real numbers only."""
    metadata = [column.to_dict() for column in columns]
    return [_pack_run(list(run), with_names) for _, run in groupby(metadata, key=_shared_metadata)]


def _shared_metadata(metadata: Mapping[str, Any]) -> str:
    # As text, the level True differs from 1.
    return json.dumps({k: v for k, v in metadata.items() if k != "name" and not isinstance(v, float)})


def _pack_run(run: list[dict[str, Any]], with_names: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"repeat": len(run)}
    if with_names:
        entry["names"] = [metadata["name"] for metadata in run]
    real = {name for metadata in run for name, value in metadata.items() if isinstance(value, float)}
    each = {name: [metadata.get(name) for metadata in run] for name in sorted(real)}
    shared = {k: v for k, v in run[0].items() if k != "name"}
    for name, values in each.items():
        if len(set(values)) == 1:
            shared[name] = values[0]
        else:
            shared.pop(name, None)
            entry.setdefault("each", {})[name] = values
    return entry | shared


def unpack_columns(packed: Iterable[Mapping[str, Any]]) -> tuple[ColumnType, ...]:
    """Undo `pack_columns`; columns without a name become ``x1``, ``x2``, ..."""
    columns: list[ColumnType] = []
    for entry in packed:
        columns += _unpack_run(entry, first_number=len(columns) + 1)
    return tuple(columns)


def _unpack_run(entry: Mapping[str, Any], first_number: int) -> list[ColumnType]:
    count = entry["repeat"]
    names = entry.get("names") or [f"x{first_number + i}" for i in range(count)]
    each = entry.get("each", {})
    if len(names) != count or any(len(values) != count for values in each.values()):
        raise DataError(f"a run of {count} columns has {len(names)} names")
    shared = {k: v for k, v in entry.items() if k not in ("repeat", "names", "each")}
    columns = []
    for number, name in enumerate(names):
        own = {k: values[number] for k, values in each.items() if values[number] is not None}
        columns.append(column_from_dict({**shared, **own, "name": name}))
    return columns
