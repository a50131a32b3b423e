"""Types found in one pass are those that polars finds when it reads a file at once."""

from __future__ import annotations

import io

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.datasets.text_types import types_of_text

CELLS = ["1", "-7", "+3", "007", "2.5", ".5", "5.", "1e3", "1E-3", "-1.5e+7", "inf", "NaN", "true", "False"]
CELLS += ["x", "1 2", "1,5", "0x10", "-", "e5", "1e", "--1", "TRUE", "99999999999", "1_000", "nan", "-inf"]


def types_of(cells):
    return types_of_text(pl.LazyFrame({"a": pl.Series(cells, dtype=pl.String)}))["a"]


@pytest.mark.parametrize("cell", CELLS)
def test_single_cells(cell):
    text = "a\n" + f'"{cell}"\n' * 3 if "," in cell else "a\n" + f"{cell}\n" * 3
    expected = pl.read_csv(io.BytesIO(text.encode()), infer_schema_length=None)["a"].dtype
    assert types_of([cell] * 3) == expected


@given(st.lists(st.sampled_from(CELLS) | st.none(), min_size=1, max_size=6))
def test_columns(cells):
    lines = ["" if cell is None else f'"{cell}"' if "," in cell else cell for cell in cells]
    text = "b,a\n" + "".join(f"0,{line}\n" for line in lines)
    frame = pl.read_csv(io.BytesIO(text.encode()), infer_schema_length=None)
    found = types_of(cells)
    assert found == frame["a"].dtype


def test_whole_numbers_that_are_too_long_are_real_ones():
    assert types_of(["123456789012345678901234567890", "1"]) == pl.Float64
