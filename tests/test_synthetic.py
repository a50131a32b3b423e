"""Synthetic rows: the files they are written to, and the measures that hold them against real ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest

from chainrule import load
from chainrule.cli import run
from chainrule.cli.output import to_frame, write_rows
from chainrule.datasets import load_rows

SUFFIXES = ("csv", "tsv", "parquet")


# ---------------------------------------------------------------- files


@pytest.fixture(scope="module")
def table():
    """Columns of every dtype that a text file can tell apart, not in alphabetical order, with holes."""
    rng = np.random.default_rng(0)
    n = 240
    return pl.DataFrame(
        {
            "wage, €": rng.normal(2000, 300, size=n),
            "town": rng.choice(["Köln", "Aachen", 'the "old" one', "a, b", "tab\there"], size=n),
            "age": rng.integers(17, 90, size=n),
            "left": rng.random(n) < 0.3,
            "children": rng.integers(0, 4, size=n),
            "code": rng.choice(["A1", "B2", "C1"], size=n),
        }
    ).with_columns(
        pl.when(pl.Series(rng.random(n) < 0.2)).then(None).otherwise(pl.col(name)).alias(name)
        for name in ("wage, €", "town", "children")
    )


@pytest.fixture(scope="module")
def saved(table, tmp_path_factory):
    """The folder of a model of the table; it was fitted to a parquet file."""
    folder = tmp_path_factory.mktemp("synthetic")
    table.write_parquet(folder / "table.parquet")
    arguments = ["--model", "made-any", "--max-epochs", "1", "--out", str(folder / "model")]
    assert run(["fit", str(folder / "table.parquet"), *arguments]) == 0
    return folder / "model"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_samples_are_read_again_as_they_were_drawn(saved, table, tmp_path, suffix):
    path = tmp_path / f"rows.{suffix}"
    assert run(["sample", str(saved), "-n", "60", "--seed", "3", "--out", str(path)]) == 0
    rows = load_rows(path)
    assert rows.schema == table.schema
    assert list(rows.columns) == list(table.columns)
    expected = to_frame(load(saved).sample(60, random_state=3))
    assert rows.equals(expected)
    assert rows.null_count().sum_horizontal().item() == 0
    for name in ("town", "code", "children", "left"):
        assert set(rows[name]) <= set(table[name].drop_nulls())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_model_scores_its_own_samples(saved, tmp_path, suffix, capsys):
    path = tmp_path / f"rows.{suffix}"
    assert run(["sample", str(saved), "-n", "20", "--out", str(path)]) == 0
    assert run(["score", str(saved), str(path), "--split", "all"]) == 0
    assert "rows scored: 20" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_missing_values_and_text_come_back(tmp_path, suffix):
    rows = pl.DataFrame(
        {
            "number": [1.5, None, -2.0],
            "whole": [1, None, 3],
            "words": ["", "NA", None],
            "flag": [True, None, False],
        }
    )
    path = tmp_path / f"rows.{suffix}"
    write_rows(rows, path)
    assert load_rows(path).equals(rows)


@pytest.mark.parametrize(
    "rows",
    [
        np.array([["x", 1, 0.5], [3, 2, None]], dtype=object),
        pd.DataFrame({"x1": ["x", 3], "x2": [1, 2], "x3": [0.5, None]}, dtype=object),
    ],
    ids=["array", "pandas"],
)
def test_objects_become_columns_of_their_types(rows):
    expected = pl.DataFrame({"x1": ["x", "3"], "x2": [1, 2], "x3": [0.5, None]})
    assert to_frame(rows).equals(expected)
    assert to_frame(rows).schema == expected.schema
