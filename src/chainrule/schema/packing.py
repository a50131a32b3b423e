"""Column types in JSON-safe form: neighbours that are alike, as those of an image, share an entry."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, Struct

from chainrule.errors import StorageError
from chainrule.schema.tables import Container
from chainrule.schema.types import ColumnType, column_from_dict
from chainrule.storage import as_described

__all__ = ["MAX_COLUMNS", "StoredSchema", "check_container", "pack_columns", "unpack_columns"]

# Bytes of one value in an array of text.
_MAX_ITEM = 2**20

MAX_COLUMNS = 2**20
"""More columns than this no table has."""


class StoredSchema(Struct, forbid_unknown_fields=True):
    """What `Schema.to_dict` returns; what a run of columns holds, their type describes."""

    container: Container
    dtype: str | None
    integer_names: bool
    variables: Annotated[list[dict[str, Any]], Meta(min_length=1)]


class _Run(Struct):
    """Neighbours that are alike; its other keys are what they have in common."""

    repeat: Annotated[int, Meta(ge=1)]
    names: list[str] | None = None
    each: dict[str, list[float | None]] = {}


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


def unpack_columns(
    packed: Iterable[Mapping[str, Any]], max_columns: int = MAX_COLUMNS
) -> tuple[ColumnType, ...]:
    """Undo `pack_columns`; columns without a name become ``x1``, ``x2``, ...

    Raises
    ------
    StorageError
        If the entries describe no columns, or more than there may be.
    """
    columns: list[ColumnType] = []
    for entry in packed:
        run = as_described(entry, _Run, "a run of columns")
        if len(columns) + run.repeat > max_columns:
            raise StorageError(
                f"the schema has {len(columns) + run.repeat:,} columns or more, which is more than fit the "
                f"model ({max_columns:,})"
            )
        shared = {k: v for k, v in entry.items() if k not in ("repeat", "names", "each")}
        columns += _unpack_run(run, shared, first_number=len(columns) + 1)
    return tuple(columns)


def _unpack_run(run: _Run, shared: Mapping[str, Any], first_number: int) -> list[ColumnType]:
    names = run.names or [f"x{first_number + i}" for i in range(run.repeat)]
    if len(names) != run.repeat or any(len(values) != run.repeat for values in run.each.values()):
        raise StorageError(f"a run of {run.repeat} columns has {len(names)} names")
    columns = []
    for number, name in enumerate(names):
        own = {k: values[number] for k, values in run.each.items() if values[number] is not None}
        columns.append(column_from_dict({**shared, **own, "name": name}))
    return columns


def check_container(stored: StoredSchema, columns: Sequence[ColumnType]) -> None:
    """Refuse a container that rows of these columns cannot be given back in.

    Raises
    ------
    StorageError
        Naming what does not go together.
    """
    names = [column.name for column in columns]
    if len(set(names)) < len(names):
        raise StorageError("the schema: two columns have the same name")
    if stored.integer_names and not all(re.fullmatch(r"-?\d{1,19}", name) for name in names):
        raise StorageError("the schema: columns that integers name have other names")
    if (stored.container == "numpy") != (stored.dtype is not None):
        raise StorageError(f"the schema: {stored.container} and dtype {stored.dtype!r} do not go together")
    try:
        dtype = np.dtype(object if stored.dtype is None else stored.dtype)
    except (TypeError, ValueError, SyntaxError):
        dtype = np.dtype("V")
    if dtype.kind not in "biufOU" or dtype.itemsize > _MAX_ITEM:
        raise StorageError(f"the schema: {stored.dtype!r} is no dtype of rows")
    named = [column.levels or () for column in columns if not column.is_numeric]
    if dtype.kind in "biuf" and any(isinstance(level, str) for levels in named for level in levels):
        raise StorageError(f"the schema: rows of dtype {stored.dtype} have no text")
