"""Rows of any container as cells of text and as numbers to plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np

from chainrule.report.blocks import Table, stacked

if TYPE_CHECKING:
    from chainrule.schema import Schema

__all__ = ["code_values", "one_hot", "pixel_shades", "plot_values", "take_rows", "text_table"]

_MAX_COLUMNS = 12
_MAX_CELL = 24


def take_rows(rows: Any, index: Sequence[int] | np.ndarray) -> Any:
    """Return the rows at `index`, in that order, in their own container."""
    if isinstance(rows, np.ndarray):
        return rows[np.asarray(index)]
    return nw.from_native(rows, eager_only=True)[[int(i) for i in index], :].to_native()


def text_table(
    sets: Mapping[str, Any], names: Sequence[str], nats: Mapping[str, Sequence[str]] | None = None
) -> Table:
    """Return sets of rows as text, each under its title: at most their first twelve columns.

    Parameters
    ----------
    sets : mapping of str to array or DataFrame
    names : sequence of str
        Of all columns.
    nats : mapping of str to sequence of str, optional
        What heads each row, by the title of its set.
    """
    shown = list(names[:_MAX_COLUMNS])
    numeric: list[bool] = []
    groups = {}
    for title, rows in sets.items():
        columns = [_column(rows, position) for position in range(len(shown))]
        numeric = numeric or [
            all(value is None or _is_number(value) for value in column) for column in columns
        ]
        lines = [[_cell(value) for value in line] for line in zip(*columns, strict=True)]
        groups[title] = (
            [[label, *line] for label, line in zip(nats[title], lines, strict=True)] if nats else lines
        )
    leading = ["nats"] if nats else []
    caption = f"The first {len(shown)} of {len(names)} columns." if len(shown) < len(names) else ""
    return stacked(
        [*leading, *shown],
        groups,
        numeric=[*[True] * len(leading), *numeric],
        is_headed=bool(nats),
        caption=caption,
    )


def plot_values(schema: Schema, rows: Any) -> np.ndarray:
    """Return `rows` as numbers (n, D): user's units, or level positions where the levels are no numbers.

    Missing values are NaN.
    """
    return code_values(schema, schema.encode(rows, missing=True, unseen=np.nan))


def code_values(schema: Schema, codes: np.ndarray) -> np.ndarray:
    """Return codes (n, D) as the numbers of `plot_values`."""
    columns = zip(schema.variables, codes.astype(np.float64).T, strict=True)
    return np.column_stack([variable.numbers(column) for variable, column in columns])


def pixel_shades(schema: Schema, codes: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return codes (n, D) as shades from 0 to 1; continuous ones by the range of the reference codes."""
    if schema.is_discrete:
        top = np.maximum(np.array(schema.n_codes) - 1, 1)
        return codes / top
    low, high = np.nanquantile(code_values(schema, reference), [0.005, 0.995])
    return (code_values(schema, codes) - low) / max(float(high - low), 1e-12)


def one_hot(
    schema: Schema, rows: Any, columns: Sequence[int], max_rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the chosen columns as numbers, categorical ones as one column per level, and their origins."""
    codes = schema.encode(rows, missing=True, unseen=np.nan)[:max_rows].astype(np.float64)
    parts: list[np.ndarray] = []
    for column in columns:
        variable = schema.variables[column]
        values = codes[:, [column]]
        if variable.n_indicators > 1:
            values = np.where(np.isnan(values), np.nan, values == np.arange(variable.n_indicators))
        parts.append(values)
    origins = np.repeat(columns, [part.shape[1] for part in parts])
    return np.concatenate(parts, axis=1), origins


def _column(rows: Any, position: int) -> list[Any]:
    if isinstance(rows, np.ndarray):
        return [value.item() if isinstance(value, np.generic) else value for value in rows[:, position]]
    return nw.from_native(rows, eager_only=True)[:, position].to_list()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    if value is None or value != value:  # missing: null or NaN
        return "–"
    if isinstance(value, float | np.floating):
        text = f"{value:.4g}"
    else:
        text = str(value)
    text = text if len(text) <= _MAX_CELL else text[: _MAX_CELL - 1] + "…"
    return "−" + text[1:] if _is_number(value) and text.startswith("-") else text
