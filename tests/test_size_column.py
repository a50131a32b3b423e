"""A column type of one's own, in one file: examples/size_column.py."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from chainrule import MADE, OrderlessNADE, load
from chainrule.errors import DataError
from chainrule.schema import COLUMN_TYPES, Schema

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module", autouse=True)
def example():
    """Import the example as a user does, and forget what it registered."""
    before = dict(COLUMN_TYPES)
    sys.path.insert(0, str(EXAMPLES))
    try:
        yield importlib.import_module("size_column")
    finally:
        sys.path.remove(str(EXAMPLES))
        sys.modules.pop("size_column", None)
        COLUMN_TYPES.clear()
        COLUMN_TYPES.update(before)


def table(n=400):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 5, n)  # no XXL among the training rows
    return pl.DataFrame(
        {
            "height": 150.0 + 8 * codes + rng.normal(0, 2, n),
            "size": [("XS", "S", "M", "L", "XL")[code] for code in codes],
        }
    )


def test_sizes_are_taken_for_sizes_and_come_back(example):
    rows = table()
    schema = Schema.infer(rows)
    assert schema.variables[1].describe() == "size, XS to XXL"
    codes = schema.encode(rows)
    assert schema.decode(codes)["size"].to_list() == rows["size"].to_list()
    assert Schema.infer(pl.DataFrame({"size": ["M", "L", "huge"] * 5})).variables[0].kind == "categorical"


def test_what_is_no_size_is_refused():
    with pytest.raises(DataError, match="'huge'"):
        Schema.infer(pl.DataFrame({"size": ["M", "huge"]}), {"size": "size"})
    model = MADE((8,), max_epochs=1, random_state=0).fit(table())
    with pytest.raises(DataError, match="huge"):
        model.score_samples(pl.DataFrame({"height": [180.0], "size": ["huge"]}))


def test_probabilities_of_all_sizes_sum_to_one_and_know_their_order(example, tmp_path):
    model = OrderlessNADE((16,), max_epochs=60, random_state=0).fit(table())
    heights = pl.DataFrame({"height": [152.0, 166.0, 189.0], "size": [None] * 3}, schema=table().schema)
    found = model.conditional(heights, "size")
    assert tuple(found.levels) == example.SIZES
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-9)
    # A size that no training row has is probable beside the largest, not beside the smallest.
    unseen = found.probabilities[:, -1]
    assert unseen.argmax() == 2
    model.save(tmp_path / "model")
    rows = table().head(20)
    np.testing.assert_array_equal(load(tmp_path / "model").score_samples(rows), model.score_samples(rows))
