"""The model card: what it says, that nothing in it is markup, that loading ignores it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import chainrule
from chainrule import MADE, Independent
from chainrule.errors import StorageError
from chainrule.report.card import CARD, measure, write_card


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "age": rng.normal(40, 9, 400),
            "a | b\n<b>*#": rng.integers(0, 2, 400),
            "sex": rng.choice(["f", "m"], 400),
        }
    )


@pytest.fixture(scope="module")
def saved(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "made"
    model = MADE(hidden_sizes=(8,), max_epochs=2, random_state=0).fit(table[:300])
    model.save(folder)
    return model, folder


def front_matter(text):
    _, front, _ = text.split("---\n", 2)
    return front


def test_a_card_says_what_was_measured(saved, table):
    model, folder = saved
    write_card(model, folder, measure(model, table[:300], table[300:]))
    text = (folder / CARD).read_text()
    assert front_matter(text).startswith("library_name: chainrule\ntags:\n  - density-estimation\n")
    mean = model.score_samples(table[300:]).mean()
    assert f"| log-likelihood of 100 test rows, nats | {mean:.1f}"[:-2] in text
    assert "300 training rows" in text
    assert "| epochs, seconds of the fit | 2, " in text
    assert "of the pairs rightly" in text
    assert f"{model.n_parameters_:,}" in text


def test_a_card_says_that_nothing_was_measured(saved):
    model, folder = saved
    write_card(model, folder)
    text = (folder / CARD).read_text()
    assert "Not measured" in text
    assert "test rows" not in text


def test_nothing_of_a_name_is_markup(saved):
    model, folder = saved
    write_card(model, folder)
    (row,) = [
        line for line in (folder / CARD).read_text().splitlines() if "binary" in line and "&lt;" in line
    ]
    assert row == r"| a \| b &lt;b&gt;\*\# | binary | 2 |"


def test_levels_are_counted_not_named(saved):
    model, folder = saved
    write_card(model, folder)
    lines = (folder / CARD).read_text().splitlines()
    assert any(line.startswith("| sex |") and line.endswith("| 2 |") for line in lines)


def test_loading_ignores_the_card(saved, table):
    model, folder = saved
    (folder / CARD).write_text("---\nlibrary_name: [\n")
    assert np.array_equal(chainrule.load(folder).score_samples(table), model.score_samples(table))


def test_models_without_epochs_have_a_card(table, tmp_path):
    model = Independent().fit(table)
    model.save(tmp_path / "independent")
    write_card(model, tmp_path / "independent")
    text = (tmp_path / "independent" / CARD).read_text()
    assert "epochs" not in text
    assert "missing values are refused" not in text


def test_a_card_belongs_into_the_folder_of_a_model(saved, tmp_path):
    with pytest.raises(StorageError):
        write_card(saved[0], tmp_path)
    assert list(tmp_path.iterdir()) == []
