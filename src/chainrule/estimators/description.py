"""What `model.json` holds: each value by its type, for all classes of models."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

__all__ = ["MAX_CONSTANT_COLUMNS", "Description", "SavedModel", "SavedSplit", "Template"]

MAX_CONSTANT_COLUMNS = 10_000
"""So many columns a saved model may have, whatever its arrays hold: GMM's hold nothing of constant ones."""


class Template(Struct, kw_only=True, forbid_unknown_fields=True):
    """An unfitted estimator: its class, and its constructor arguments as `argument_to_json` writes them."""

    class_: str = field(name="class")
    parameters: dict[str, Any]


class Description(Template, kw_only=True, forbid_unknown_fields=True):
    """A fitted estimator without its columns; what `state` holds, its class describes."""

    state: dict[str, Any]


class SavedSplit(Struct, kw_only=True, forbid_unknown_fields=True):
    """How a file that was read in pieces was split: by a hash of the number of each row."""

    by: Literal["hash"]
    random_state: Annotated[int, Meta(ge=0, le=2**63 - 1)]


class SavedModel(Description, kw_only=True, forbid_unknown_fields=True):
    """All of `model.json`; what the schemas hold, the column types describe."""

    format: Literal["chainrule-model"]
    format_version: int
    sha256: str
    schema: dict[str, Any]
    context_schema: dict[str, Any] | None
    offset: float | None = None
    split: SavedSplit | None = None
