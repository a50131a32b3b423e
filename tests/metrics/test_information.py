"""Cells of columns, and mutual information from tables and rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from chainrule.metrics.cells import cut_at, every_level, few_cells
from chainrule.metrics.information import (
    entropy,
    informational_correlation,
    log_ratios,
    rows_dependence,
    rows_information,
)
from chainrule.schema import Schema


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "name": rng.choice(list("abcdefgh"), 4000, p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.05, 0.03, 0.02]),
            "age": rng.integers(0, 60, 4000),
            "size": rng.normal(0, 1, 4000),
            "owed": np.where(rng.random(4000) < 0.8, 0.0, rng.random(4000)),
            "wide": rng.lognormal(6, 1, 4000).astype(int),
        }
    )
    schema = Schema.infer(frame)
    codes = schema.encode(frame)
    return schema.with_rows(codes), codes


def test_few_cells_hold_about_as_many_rows_each(table):
    schema, codes = table
    for d in (1, 2, 4):
        coarse = schema.coarse(codes)[:, d]
        cells = few_cells(schema.variables[d], coarse, 5)
        counts = np.bincount(cells.number(coarse))
        assert len(counts) == cells.n_cells == 5
        assert counts.min() > 600


def test_few_cells_of_names_keep_the_most_frequent(table):
    schema, codes = table
    cells = few_cells(schema.variables[0], codes[:, 0], 4)
    numbers = cells.number(codes[:, 0])
    assert cells.n_cells == 4
    kept = [set(codes[numbers == cell, 0]) for cell in range(4)]
    assert sorted(map(len, kept)) == [1, 1, 1, 5]
    assert len(kept[3]) == 5


def test_a_heavy_value_fills_a_cell(table):
    schema, codes = table
    cells = few_cells(schema.variables[3], codes[:, 3], 5)
    assert (
        np.bincount(cells.number(codes[:, 3])).max() == (codes[:, 3] == codes[0, 3]).sum()
        or cells.n_cells == 2
    )
    (mass,) = schema.variables[3].support.point_masses
    own = cut_at(schema.variables[3], np.array([mass + 0.5])).number(np.array([mass - 0.1, mass, mass + 0.1]))
    assert len(set(own.tolist())) == 3


def test_missing_codes_have_no_cell(table):
    schema, _ = table
    for d in (0, 2):
        cells = few_cells(schema.variables[d], np.array([0.0, 1.0, np.nan]), 3)
        assert cells.number(np.array([np.nan, 1.0]))[0] == -1
    assert every_level(schema.variables[0]).n_cells == 8


def test_information_of_a_table():
    joint = np.array([[0.4, 0.1], [0.0, 0.5]])
    expected = sum(
        joint[i, j] * np.log(joint[i, j] / (joint[i].sum() * joint[:, j].sum()))
        for i in range(2) for j in range(2) if joint[i, j]
    )  # fmt: skip
    assert (joint * log_ratios(joint)).sum() == pytest.approx(expected)
    assert (joint * log_ratios(7 * joint)).sum() == pytest.approx(expected)


def test_what_chance_shows_is_taken_off():
    rng = np.random.default_rng(0)
    found = [rows_information(*rng.integers(0, 10, (2, 400))) for _ in range(50)]
    plain = [9 * 9 / 800] * 50  # what it would be without the correction
    assert np.mean(found) < 0.2 * np.mean(plain)
    both = rng.integers(0, 10, 5000)
    assert rows_information(both, both) == pytest.approx(entropy(np.bincount(both)), abs=0.01)


def test_rows_that_lack_one_of_two_values_are_left_out():
    first, second = np.array([0, 1, 0, 1, -1, 1] * 50), np.array([0, 1, 0, 1, 1, -1] * 50)
    assert rows_information(first, second) == pytest.approx(np.log(2), abs=0.01)
    assert rows_information(np.full(4, -1), np.arange(4)) == 0.0


def test_a_gaussian_pair_in_cells_has_nearly_its_correlation():
    rng = np.random.default_rng(0)
    X = rng.multivariate_normal([0, 0, 0], [[1, 0.7, 0], [0.7, 1, 0], [0, 0, 1]], 20_000)
    schema = Schema.infer(X)
    codes = schema.encode(X)
    cells = [few_cells(variable, codes[:, d], 12) for d, variable in enumerate(schema.variables)]
    found = rows_dependence(schema, codes, range(3), cells)
    assert found[0, 1] == pytest.approx(0.7, abs=0.03)
    assert found[0, 2] < 0.06 and found[1, 2] < 0.06
    assert (np.diag(found) == 1).all()


def test_a_constant_column_depends_on_nothing():
    found = informational_correlation(np.zeros((2, 2)), np.array([0.0, 1.0]))
    assert found.tolist() == [[1.0, 0.0], [0.0, 1.0]]
