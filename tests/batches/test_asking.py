"""Answers for each row are those of the question with the cells of the row given."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from chainrule import OrderlessNADE
from chainrule.batches import ask_batches


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    return pl.DataFrame(
        {
            "x": x,
            "n": rng.integers(0, 30, 200),
            "level": np.where(x + rng.normal(size=200) > 0, "high", "low"),
        }
    )


@pytest.fixture(scope="module")
def model(rows):
    return OrderlessNADE((8,), max_epochs=3, random_state=0).fit(rows)


CASES = [
    ("P(level = 'high')", "n = {n}", ["n"]),
    ("P(x > 0 | level = 'low')", "n = {n}", ["n", "level"]),
    ("E(n)", "level = '{level}'", ["level"]),
]


@pytest.mark.parametrize(("question", "given", "columns"), CASES)
def test_each_row_is_asked_given_its_cells(model, rows, question, given, columns):
    some = rows.select(columns).head(5)
    (answers,) = ask_batches(model, question, [some])
    for number, row in enumerate(some.iter_rows(named=True)):
        condition = given.format(**row)
        text = f"{question[:-1]} AND {condition})" if "|" in question else f"{question[:-1]} | {condition})"
        assert answers["value"][number] == pytest.approx(model.ask(text).value, abs=1e-9)


def test_empty_cells_say_nothing(model):
    some = pl.DataFrame({"n": [None, 2], "other": ["a", "b"]})
    (answers,) = ask_batches(model, "P(level = 'high')", [some])
    assert answers["value"][0] == pytest.approx(model.ask("P(level = 'high')").value)
    assert answers["value"][1] == pytest.approx(model.ask("P(level = 'high' | n = 2)").value)


def test_distributions_have_a_column_for_each_level(model, rows):
    (answers,) = ask_batches(model, "distribution(level)", [rows.select("n").head(5)])
    assert answers.columns == ["high", "low"]
    np.testing.assert_allclose(answers.sum_horizontal(), 1.0, atol=1e-6)
    (quantiles,) = ask_batches(model, "quantiles(n)", [rows.select("level").head(5)])
    assert quantiles.columns == ["0.05", "0.25", "0.5", "0.75", "0.95"]
