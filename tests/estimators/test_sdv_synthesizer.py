"""The adapter for SDV: draws, conditions met exactly, known columns kept, saving."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import polars as pl
import pytest

import chainrule
from chainrule import MADE, Independent, OrderlessNADE, SDVSynthesizer
from chainrule.errors import DataError, QueryError, StorageError

METADATA = {
    "tables": {
        "people": {
            "columns": {
                "id": {"sdtype": "id"},
                "age": {"sdtype": "numerical"},
                "sex": {"sdtype": "categorical"},
                "zone": {"sdtype": "categorical"},
            },
            "primary_key": "id",
        }
    }
}


@dataclass
class Condition:
    """As SDV's: a wish for so many rows of some values."""

    values: dict
    rows: int

    def get_num_rows(self):
        return self.rows

    def get_column_values(self):
        return self.values


class Metadata:
    """As SDV's: it can describe itself."""

    def to_dict(self):
        return METADATA


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(0)
    sex = rng.choice(["f", "m"], 300)
    age = rng.normal(40, 5, 300) + 20 * (sex == "m")
    return pd.DataFrame(
        {"id": np.arange(1000, 1300), "age": age, "sex": sex, "zone": rng.integers(1, 4, 300)}
    )


@pytest.fixture(scope="module")
def fitted(people):
    estimator = OrderlessNADE(hidden_sizes=(16,), max_epochs=30, random_state=0)
    synthesizer = SDVSynthesizer(Metadata(), estimator, random_state=0)
    synthesizer.fit(people)
    return synthesizer


def test_sdtypes_say_what_columns_are(fitted):
    kinds = dict(zip(fitted.estimator_.schema_.names, fitted.estimator_.schema_.kinds, strict=True))
    assert kinds == {"age": "continuous", "sex": "categorical", "zone": "categorical"}


def test_draws_have_the_columns_and_types_of_the_table(fitted, people):
    drawn = fitted.sample(num_rows=50)
    assert list(drawn.columns) == list(people.columns)
    assert drawn.dtypes.to_dict() == people.dtypes.to_dict()
    assert drawn["id"].tolist() == list(range(50))
    assert set(drawn["sex"]) == {"f", "m"}


def test_draws_begin_anew_when_they_are_asked_to(fitted):
    fitted.reset_sampling()
    first, second = fitted.sample(20), fitted.sample(20)
    fitted.reset_sampling()
    pd.testing.assert_frame_equal(fitted.sample(20), first)
    assert not first.equals(second)


def test_conditions_are_met_exactly_in_their_order(fitted):
    wishes = [Condition({"sex": "m", "zone": 2}, 30), Condition({"age": 33.25}, 20)]
    drawn = fitted.sample_from_conditions(wishes)
    assert len(drawn) == 50
    assert drawn["id"].tolist() == list(range(50))
    assert set(drawn["sex"][:30]) == {"m"}
    assert set(drawn["zone"][:30]) == {2}
    assert set(drawn["age"][30:]) == {33.25}
    assert drawn["age"][:30].mean() > 50  # men are older


def test_known_columns_stay_as_they_are(fitted, people):
    known = people[["sex", "age"]].iloc[:40]
    drawn = fitted.sample_remaining_columns(known)
    assert list(drawn.columns) == list(people.columns)
    assert drawn["sex"].tolist() == known["sex"].tolist()
    assert np.array_equal(drawn["age"], known["age"])
    assert set(drawn["zone"]) <= {1, 2, 3}


def test_what_is_saved_draws_the_same(fitted, tmp_path):
    fitted.save(tmp_path / "people")
    again = SDVSynthesizer.load(tmp_path / "people")
    again.random_state = 0
    again.reset_sampling()
    fitted.reset_sampling()
    pd.testing.assert_frame_equal(again.sample(10), fitted.sample(10))
    assert chainrule.load(tmp_path / "people").schema_.names == ("age", "sex", "zone")


def test_another_container_comes_back(people):
    table = pl.from_pandas(people)
    synthesizer = SDVSynthesizer(METADATA["tables"]["people"], Independent(), random_state=0)
    synthesizer.fit(table)
    drawn = synthesizer.sample(7)
    assert isinstance(drawn, pl.DataFrame)
    assert drawn.schema == table.schema
    assert drawn["id"].to_list() == list(range(7))


def test_metadata_are_optional(people):
    synthesizer = SDVSynthesizer(estimator=Independent())
    synthesizer.fit(people[["age", "sex"]])
    assert synthesizer.sample(3).shape == (3, 2)


def test_metadata_of_something_else_are_refused(people):
    with pytest.raises(DataError, match="the column 'id', which the table lacks"):
        SDVSynthesizer(METADATA).fit(people[["age", "sex"]])
    with pytest.raises(DataError, match="describe 2 tables, expected one"):
        SDVSynthesizer({"tables": {"a": {}, "b": {}}}).fit(people)


def test_wishes_that_cannot_be_met_are_refused(fitted, people):
    with pytest.raises(DataError, match="no conditions"):
        fitted.sample_from_conditions([])
    with pytest.raises(DataError, match="'x'"):
        fitted.sample_from_conditions([Condition({"sex": "x"}, 1)])
    with pytest.raises(DataError, match="the column 'height', which the model lacks"):
        fitted.sample_remaining_columns(pd.DataFrame({"height": [180.0]}))
    ordered = SDVSynthesizer(estimator=MADE(hidden_sizes=(4,), max_epochs=1, ordering="natural"))
    ordered.fit(people[["age", "sex"]])
    with pytest.raises(QueryError, match="fixed order"):
        ordered.sample_from_conditions([Condition({"sex": "m"}, 1)])


def test_a_folder_that_holds_no_synthesizer_is_refused(fitted, people, tmp_path):
    with pytest.raises(StorageError, match="holds no synthesizer"):
        SDVSynthesizer.load(tmp_path)
    fitted.save(tmp_path / "one")
    Independent().fit(people).save(tmp_path / "one")
    with pytest.raises(StorageError, match="belongs to another one"):
        SDVSynthesizer.load(tmp_path / "one")
    (tmp_path / "one" / "synthesizer.json").write_text('{"columns": 3, "ids": []}')
    with pytest.raises(StorageError, match="Expected `array`"):
        SDVSynthesizer.load(tmp_path / "one")


@pytest.mark.parametrize("method", ["sample", "sample_from_conditions", "sample_remaining_columns", "save"])
def test_nothing_is_drawn_before_a_fit(method):
    with pytest.raises(ValueError, match="not fitted"):
        getattr(SDVSynthesizer(), method)([])
