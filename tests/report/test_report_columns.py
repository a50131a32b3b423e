"""The report splits log-likelihoods over the columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
from test_report import Page, make, mixed_table, small

from chainrule.report.comparison_page import render_report
from chainrule.report.result_blocks import column_blocks


def split_comparison(**changes):
    """Return a comparison of MADE, NADE and Independent with a share for each of five columns."""
    comparison = make(pl.DataFrame(mixed_table()))
    shares = {"MADE": -1.0, "NADE": -1.5, "Independent": -2.0}
    results = [
        replace(result, column_log_likelihoods=shares[result.model] * np.arange(1.0, 6.0), **changes)
        for result in comparison.results
    ]
    return replace(comparison, results=results)


def test_each_column_has_its_unit_and_its_share():
    (block,) = column_blocks(split_comparison())
    table = block.table
    assert table.groups == {
        0: "Log-probability, nats",
        3: "Log-density in the column's own unit, nats",
        5: "All columns",
    }
    assert [cells[0] for cells in table.rows[:3]] == ["城市", "count", "flag"]
    assert [cells[0] for cells in table.rows[3:5]] == ["älter & <b>", "höhe_$x^2$"]
    assert table.header == ["column", "MADE", "NADE", "Independent", "MADE above Independent"]
    assert table.rows[4][1:] == ["−2.000", "−3.000", "−4.000", "2.000"]
    assert table.rows[5:] == [["sum", "−15.000", "−22.500", "−30.000", "15.000"]]


def test_the_page_shows_the_split():
    page = Page(render_report(split_comparison()))
    assert "Column by column" in page.text
    assert "Log-density in the column's own unit, nats" in page.text
    assert "−22.500" in page.text


def test_models_in_another_order_are_left_out():
    comparison = split_comparison()
    results = [
        replace(r, column_log_likelihoods=None) if r.model == "NADE" else r for r in comparison.results
    ]
    (block,) = column_blocks(replace(comparison, results=results))
    assert "Left out: NADE" in block.text
    assert "NADE" not in block.table.header


def test_models_of_any_order_have_a_remark():
    comparison = split_comparison()
    assert "of any order" not in column_blocks(comparison)[0].text
    comparison.results[0].estimator.is_any_order = True
    assert "For MADE, of any order" in column_blocks(comparison)[0].text


def test_one_model_is_not_compared_with_itself():
    comparison = split_comparison()
    (block,) = column_blocks(replace(comparison, results=comparison.results[:1]))
    assert block.table.header == ["column", "MADE"]


def test_without_a_split_there_is_no_section():
    assert column_blocks(small()) == []
    assert "Column by column" not in Page(render_report(small())).text
