"""The benchmark of averages over orders, on a few digits."""

from __future__ import annotations

import dataclasses

import pytest
from benchmarks.any_order import compare_orders

from chainrule.datasets import load_dataset


def test_averages_over_orders_are_taken_up_where_they_were_left(tmp_path, monkeypatch):
    digits = load_dataset("digits", random_state=0)
    few = dataclasses.replace(digits, train=digits.train[:500], test=digits.test[:60])
    monkeypatch.setattr("benchmarks.any_order._PART", 25)
    first = list(compare_orders(few, tmp_path, epochs=4, n_orders=4))
    assert [row.orders for row in first] == [1, 2, 4]
    assert first[-1].nll < first[0].nll
    monkeypatch.setattr("benchmarks.any_order.OrderlessNADE", None)  # nothing is fitted again
    assert list(compare_orders(few, tmp_path, epochs=4, n_orders=4)) == first
    assert first[0].n_rows == 60
    assert first[-1].seconds == pytest.approx(4 * first[0].seconds)
