"""A result column is one entry, and page, terminal and JSON all read it."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console
from test_report import Page, bits, make, small

from chainrule.cli.comparison import comparison_table
from chainrule.metrics.statistics import Summary
from chainrule.report import comparison as comparison_module
from chainrule.report import result_columns
from chainrule.report.comparison_page import render_report
from chainrule.report.result_columns import RESULT_COLUMNS, ResultColumn, each, measured

KEYS = [
    "model",
    "test_log_likelihood",
    "standard_error",
    "bits_per_dim",
    "n_parameters",
    "fit_seconds",
    "sample_seconds",
    "epochs",
    "difference",
    "difference_standard_error",
]


def terminal(compared):
    console = Console(file=io.StringIO(), width=200)
    console.print(comparison_table(compared))
    return console.file.getvalue()


@pytest.fixture
def with_new_column(monkeypatch):
    new = ResultColumn(
        "letters",
        "Letters of the name",
        "letters",
        lambda comparison, result: Summary(1000.25 * len(result.model), 0.125, 9),
        measured,
        error_key="letters_standard_error",
    )
    columns = (*RESULT_COLUMNS, new)
    monkeypatch.setattr(result_columns, "RESULT_COLUMNS", columns)
    monkeypatch.setattr(comparison_module, "RESULT_COLUMNS", columns)
    return new


def test_one_entry_reaches_page_terminal_and_json(with_new_column):
    compared = small()
    page, printed = Page(render_report(compared)).text, terminal(compared)
    assert "Letters of the name letters" in page
    assert "letters of the name" in printed
    for result in compared.to_dict()["results"]:
        nats = 1000.25 * len(result["model"])
        assert (result["letters"], result["letters_standard_error"]) == (nats, 0.125)
        assert f"{nats:,.2f} ± 0.12".replace(",", " ") in page
        assert f"{nats:,.2f} ± 0.12" in printed


@pytest.mark.parametrize("column", RESULT_COLUMNS, ids=lambda column: column.key)
def test_each_column_reaches_all_three(column):
    compared = small(entropy=9.0)
    page, printed = Page(render_report(compared)).text, terminal(compared)
    assert column.title in page and column.title.lower() in printed and column.unit in printed
    for text, result in zip(column.cells(compared, compared.ranked()), compared.ranked(), strict=True):
        assert " ".join(text.split()) in page
        assert column.key in compared.to_dict()["results"][0]
        assert result_columns_text(column, compared, result) in printed


def result_columns_text(column, compared, result):
    from chainrule.report.numbers import in_ascii

    return in_ascii(column.cells(compared, compared.results)[compared.results.index(result)])


def test_tables_leave_out_what_says_nothing_and_the_json_does_not():
    alone = make(bits(d=8), leads=(0.5,))
    shown = [column.key for column in result_columns.shown_columns(alone)]
    assert "difference" not in shown and "above_entropy" not in shown and shown[0] == "test_log_likelihood"
    (metadata,) = alone.to_dict()["results"]
    assert metadata["difference"] == 0.0 and metadata["above_entropy"] is None


def test_keys_of_the_json_stay_in_their_order():
    metadata = small().to_dict()["results"][0]
    assert list(metadata)[: len(KEYS)] == KEYS
    assert list(metadata)[-3:] == ["note", "column_log_likelihoods", "membership"]


def test_numbers_of_a_bound_are_marked_everywhere():
    compared = small()
    results = [dataclasses.replace(compared.results[0], note="lower bound: x"), *compared.results[1:]]
    compared = dataclasses.replace(compared, results=results)
    assert "≥ −" in Page(render_report(compared)).text and ">= -" in terminal(compared)


def test_a_number_that_is_missing_is_a_dash():
    assert each(str)([None, 3]) == ["–", "3"]
    assert measured([None, Summary(1.0, 0.5, 3)]) == ["–", "1.00 ± 0.50"]
