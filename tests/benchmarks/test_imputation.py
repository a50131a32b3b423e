"""Filling in: hidden pixels of held-out digits, against what people use for it."""

from __future__ import annotations

import pytest
from benchmarks.imputation import HOLES, Imputed, compare_imputers, of_digits

from chainrule.datasets import load_dataset


@pytest.fixture(scope="module")
def compared() -> list[Imputed]:
    return list(compare_imputers("digits", load_dataset("digits"), of_digits(3)))


@pytest.mark.parametrize("holes", list(HOLES))
@pytest.mark.parametrize("method", ["pixel frequencies", "k nearest neighbours", "IterativeImputer"])
def test_hidden_pixels_cost_an_any_order_model_less(compared, holes, method):
    (other,) = (row for row in compared if (row.holes, row.method) == (holes, method))
    assert other.ahead > 2 * other.ahead_error
