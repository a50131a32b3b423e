"""Levels of few training rows can be taken for one, of which models know no more than that."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest

from chainrule import MADE, OrderlessNADE, load
from chainrule.cli.app import run
from chainrule.datasets import load_dataset
from chainrule.errors import DataError
from chainrule.schema import Schema, folding_rare_levels

RARE = ["Ysolde of Thule", "Xerxes of Ulm", "Zeno of Elea"]


def people(n=400, seed=0):
    rng = np.random.default_rng(seed)
    town = rng.choice(["Cork", "Bergen", "Gdansk"], n).astype(object)
    town[:6] = RARE * 2
    return pl.DataFrame({"town": town.tolist(), "age": rng.integers(18, 90, n), "paid": rng.random(n) < 0.5})


@pytest.fixture(scope="module")
def fitted():
    rows = people()
    kinds = folding_rare_levels(rows, None, 10)
    return OrderlessNADE(kinds=kinds, max_epochs=2, random_state=0).fit(rows)


def test_rare_levels_are_one_level():
    rows = people()
    (town, *_) = Schema.infer(rows, {"town": "categorical:10"}).variables
    assert town.levels == ("Bergen", "Cork", "Gdansk", "other")
    assert town.n_folded == 3
    assert town.reserved == 0
    codes = Schema.infer(rows, {"town": "categorical:10"}).encode(rows)[:, 0]
    assert set(codes[:6]) == {3}
    assert 3 not in codes[6:]


def test_only_text_with_rare_levels_is_declared():
    rows = people().with_columns(often=pl.Series(["a", "b"] * 200))
    assert folding_rare_levels(rows, {"age": "count"}, 10) == {"age": "count", "town": "categorical:10"}
    assert folding_rare_levels(rows, None, 2) is None
    assert folding_rare_levels(np.eye(3), None, 10) is None


def test_two_levels_of_which_one_is_rare():
    rows = pl.DataFrame({"sex": ["f"] * 50 + ["m"], "n": [1, 2, 3] * 17})
    (sex, _) = Schema.infer(rows, folding_rare_levels(rows, None, 5)).variables
    assert sex.levels == ("f", "other")


def test_an_other_that_is_there_takes_them_in():
    rows = pl.DataFrame({"town": ["Cork"] * 30 + ["other"] * 3 + RARE, "n": [1, 2, 3] * 12})
    (town, _) = Schema.infer(rows, {"town": "categorical:10"}).variables
    assert town.levels == ("Cork", "other")


@pytest.mark.parametrize("dtype", ["category", "string", "object"])
def test_pandas_columns_come_back_with_what_was_folded(dtype):
    rows = people().to_pandas().astype({"town": dtype})
    schema = Schema.infer(rows, {"town": "categorical:10"})
    back = schema.decode(schema.encode(rows))
    assert back["town"][:6].tolist() == ["other"] * 6
    assert back["town"][6:].tolist() == rows["town"][6:].tolist()
    pd.testing.assert_series_equal(back["age"], rows["age"])


def test_probabilities_are_those_of_the_levels_together(fitted):
    """A level that was folded, one never seen and `other` are the same thing to a model."""
    rows = people()[20:40]
    scores = [
        fitted.score_samples(rows.with_columns(town=pl.lit(town))) for town in (*RARE, "Atlantis", "other")
    ]
    for other in scores[1:]:
        np.testing.assert_array_equal(other, scores[0])
    answer = fitted.conditional({"age": 40, "paid": True}, "town")
    assert tuple(answer.levels) == ("Bergen", "Cork", "Gdansk", "other")
    assert np.sum(answer.probabilities) == pytest.approx(1, abs=1e-6)


def test_saved_models_do_not_know_their_names(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    for path in (tmp_path / "model").iterdir():
        assert not any(name.encode() in path.read_bytes() for name in RARE)
    again = load(tmp_path / "model")
    np.testing.assert_array_equal(again.score_samples(people()), fitted.score_samples(people()))
    assert set(again.sample(300, random_state=0)["town"]) <= {"Bergen", "Cork", "Gdansk", "other"}


def test_by_the_command(tmp_path, capsys):
    people().write_csv(tmp_path / "people.csv")
    arguments = ["fit", str(tmp_path / "people.csv"), "--model", "made", "--max-epochs", "1"]
    assert run([*arguments, "--min-level-count", "10", "--out", str(tmp_path / "model")]) == 0
    assert "of which 'other' stands for" in capsys.readouterr().err
    described = json.loads((tmp_path / "model" / "model.json").read_text())
    assert not any(name in json.dumps(described) for name in RARE)


def test_counts_are_those_of_training_rows(tmp_path):
    people().write_csv(tmp_path / "people.csv")
    dataset = load_dataset(tmp_path / "people.csv", min_level_count=10)
    assert dataset.kinds == {"town": "categorical:10"}


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("categorical:ten", "expected a number of rows behind the colon"),
        ("categorical:0", "expected a number of rows behind the colon"),
        ("sorted:10", "is not a kind"),
        ("ordinal:10", "folded in columns of text"),
    ],
)
def test_what_is_declared_wrongly(kind, message):
    with pytest.raises(DataError, match=message):
        Schema.infer(people(), {"age": kind})


def test_numbers_have_no_other():
    with pytest.raises(DataError, match="this one has numbers"):
        MADE(kinds={"age": "categorical:10"}, max_epochs=1).fit(people())


def test_a_summary_says_so():
    schema = Schema.infer(people(), {"town": "categorical:10"})
    assert schema.describe().endswith("; 3 rare levels are folded into 'other'")
