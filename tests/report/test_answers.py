"""The report's part on answers: dependence beside that of rows, and calibration on hidden cells."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from chainrule.datasets import Dataset
from chainrule.experiments.answers import measure_answers
from chainrule.experiments.compare import compare
from chainrule.report import answer_plots, comparison_page
from chainrule.report.answer_blocks import answer_blocks
from chainrule.report.answer_plots import dependence_maps
from chainrule.report.style import drawing

COLOURS = {"orderless NADE": "#0072B2", "independent": "#D55E00"}


def rows(n, seed=0):
    """A table whose first and fourth column are copies, and <so> on."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 4, n)
    return pl.DataFrame(
        {
            "group": [f"level {g}" for g in group],
            "noise": rng.normal(0, 1, n),
            "sum": 10 * group + rng.integers(0, 20, n),
            "<copy>": [f"{g}th" for g in group],
            "flag": rng.random(n) < 0.5,
        }
    )


def dataset(**changes):
    parts = {"train": rows(1600), "valid": rows(200, 1), "test": rows(300, 2)}
    return Dataset(**({"name": "table", "split": "by hand", **parts} | changes))


@pytest.fixture(scope="module")
def compared():
    return compare(dataset(), models=["independent", "orderless-nade"], max_epochs=15)


def svg(picture):
    return base64.b64decode(picture.source.split(",", 1)[1]).decode()


def test_dependence_and_calibration_are_of_the_best_model_of_any_order(compared):
    answers = compared.answers
    assert answers.model == "orderless NADE"
    assert answers.calibration.n_rows == 300
    assert [each.column for each in answers.calibration.columns] == rows(1).columns
    assert answers.n_rows == 1600 and answers.n_cells == 8
    assert answers.rows_dependence[0, 3] == pytest.approx(1, abs=0.01)
    assert answers.dependence.normalised[0, 3] > 0.9
    others = answers.rows_dependence[1, [0, 2, 3, 4]]
    assert others.max() < 0.2
    np.testing.assert_allclose(answers.dependence.normalised, answers.rows_dependence, atol=0.2)


def test_results_hold_them(compared):
    document = json.loads(json.dumps(compared.to_dict()))["answers"]
    assert document["model"] == "orderless NADE"
    assert set(document["calibration"]["columns"]) == set(rows(1).columns)
    assert set(document["calibration"]["columns"]["noise"]["coverage"]) == {"0.5", "0.9"}
    assert np.shape(document["dependence"]["normalised"]) == np.shape(document["rows_dependence"]) == (5, 5)


def test_the_same_seed_measures_the_same(compared):
    again = measure_answers(dataset(), compared.results, 0)
    assert again.to_dict() == compared.answers.to_dict()


def test_the_page_shows_both(compared):
    with drawing():
        dependence, calibration = answer_blocks(compared, COLOURS)
    (pairs,) = dependence.parts
    assert pairs.table.rows[0][0] == "group, <copy>"
    lines = {line[0]: line for line in calibration.table.rows}
    assert list(lines) == rows(1).columns
    assert "%" in lines["noise"][4] and lines["flag"][4] == "–"
    assert [part.title for part in calibration.parts] == ["Columns of names", "Columns of numbers"]
    names, numbers = (svg(part.pictures[0]) for part in calibration.parts)
    assert ">flag<" in names and ">noise<" not in names
    assert ">noise<" in numbers and ">flag<" not in numbers


def test_columns_with_few_hidden_cells_are_named(compared):
    calibration = compared.answers.calibration
    few = [replace(each, n_cells=7) if each.column == "sum" else each for each in calibration.columns]
    answers = replace(compared.answers, calibration=replace(calibration, columns=few))
    with drawing():
        (_, block) = answer_blocks(replace(compared, answers=answers), COLOURS)
        (_, before) = answer_blocks(compared, COLOURS)
    assert "Of sum fewer than 20 cells were hidden" in block.text
    assert "fewer than" not in before.text


def test_they_stand_on_the_page_of_the_comparison(compared, monkeypatch):
    for slow in ("query_blocks", "synthetic_blocks", "sample_blocks"):
        monkeypatch.setattr(comparison_page, slow, lambda *_: [])
    page = comparison_page.render_report(compared)
    assert "What goes with what" in page and "Are the probabilities honest?" in page
    assert "<copy>" not in page


def test_columns_that_go_together_stand_beside_each_other(compared):
    with drawing():
        drawn = svg(dependence_maps(compared.answers))
    names = ["group", "noise", "sum", "&lt;copy&gt;", "flag"]
    across = [text for text in re.findall(r">([^<>]+)</text>", drawn) if text in names][: len(names)]
    assert sorted(across) == sorted(names)
    assert abs(across.index("group") - across.index("&lt;copy&gt;")) == 1


def test_cells_of_a_map_stand_at_the_names_of_their_columns(compared, monkeypatch):
    drawn = {}

    def record(axis, title, matrix, names, size):
        drawn[title] = (matrix, names)
        return answer_map(axis, title, matrix, names, size)

    answer_map = answer_plots._map
    monkeypatch.setattr(answer_plots, "_map", record)
    with drawing():
        dependence_maps(compared.answers)
    columns = list(compared.answers.dependence.names)
    matrices = (compared.answers.dependence.normalised, compared.answers.rows_dependence)
    for (shown, names), matrix in zip(drawn.values(), matrices, strict=True):
        at = [columns.index(name) for name in names]
        assert at != list(range(len(columns)))
        np.testing.assert_array_equal(shown, matrix[at][:, at])


def test_without_a_model_of_any_order_there_is_nothing():
    compared = compare(dataset(), models=["independent"])
    assert compared.answers is None and compared.to_dict()["answers"] is None
    assert answer_blocks(compared, COLOURS) == []


def test_images_are_left_out():
    bits = np.random.default_rng(0).integers(0, 2, (60, 4))
    images = dataset(train=bits, valid=bits, test=bits, image_shape=(2, 2))
    assert compare(images, models=["orderless-nade"], max_epochs=1).answers is None


def test_columns_of_one_kind_and_few_rows_are_drawn():
    bits = np.random.default_rng(0).integers(0, 2, (40, 2))
    numbers = np.random.default_rng(0).normal(0, 1, (40, 3))
    for X in (bits, numbers):
        some = dataset(train=X, valid=X[:9], test=X[:9])
        compared = compare(some, models=["orderless-nade"], max_epochs=1)
        with drawing():
            _, calibration = answer_blocks(compared, COLOURS)
        assert len(calibration.parts) == 1
