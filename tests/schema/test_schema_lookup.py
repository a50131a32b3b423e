"""Schema: columns by name or number, and codes of single values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest

from chainrule.errors import DataError
from chainrule.schema import Categorical, Schema

PEOPLE = pl.DataFrame(
    {
        "sex": ["female", "male", "male", "female"],
        "age": [17, 39, 90, 40],
        "height": [1.5, 1.81, 1.75, 1.925],
        "member": [True, False, True, True],
        "bit": [0, 1, 1, 0],
        "grade": [2.5, 1.0, 2.5, 1.0],
        "code": ["True", "7", "x", "y"],
        "x": ["a", "b", "c", "d"],
    }
)


@pytest.fixture
def schema():
    return Schema.infer(PEOPLE)


# ---------------------------------------------------------------- columns


@pytest.mark.parametrize(
    ("columns", "numbers"),
    [
        ("age", [1]),
        (2, [2]),
        (np.int64(2), [2]),
        (["height", 0, "member"], [2, 0, 3]),
        (("age",), [1]),
        (np.array([3, 1]), [3, 1]),
        (np.array(["sex", "age"]), [0, 1]),
        ((name for name in ["bit"]), [4]),
        ([], []),
    ],
)
def test_columns_by_name_or_number(schema, columns, numbers):
    found = schema.column_numbers(columns)
    assert found == numbers
    assert all(type(number) is int for number in found)


def test_columns_of_an_array():
    schema = Schema.infer(np.eye(12))
    assert schema.column_numbers(["x1", 1, "x12"]) == [0, 1, 11]
    with pytest.raises(DataError, match=r"no column 12; .* 'x10' and 2 more, or by number 0 to 11"):
        schema.column_numbers(12)


def test_integer_column_names_are_the_numbers():
    schema = Schema.infer(pd.DataFrame(np.eye(3), columns=[5, 1, 7]))
    assert schema.column_numbers([1, "7"]) == [1, 2]
    with pytest.raises(DataError, match=r"there is no column 0; the columns are 5, 1, 7"):
        schema.column_numbers([0])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("hight", "there is no column 'hight'; did you mean 'height'"),
        (["age", "size", 9], "no column 'size', 9; the columns are 'sex', .*, or by number 0 to 7"),
        (-1, "no column -1"),
        (True, "no column True"),
        ([np.True_, np.False_], "no column True, False"),
        (1.0, "not by a float"),
        (None, "not by a NoneType"),
        ([None], "no column None"),
        ([["age"]], "no column .'age'."),
        (["age", "sex", 1], "the column 'age' is given more than once"),
    ],
)
def test_columns_that_are_not_there(schema, columns, message):
    with pytest.raises(DataError, match=message) as caught:
        schema.column_numbers(columns)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("name", PEOPLE.columns)
def test_values_have_the_codes_of_encode_also_as_text(schema, name):
    number = PEOPLE.columns.index(name)
    codes = schema.encode(PEOPLE)[:, number]
    for value, code in zip(PEOPLE[name].to_list(), codes, strict=True):
        assert schema.encode_values({name: value}) == {number: code}
        assert schema.encode_values({number: str(value)}) == {number: code}


def test_numpy_values_and_their_order(schema):
    found = schema.encode_values({"member": np.True_, "age": np.int8(18), "sex": np.str_("male")})
    assert found == {3: 1, 1: 1, 0: 1}
    assert list(found) == [3, 1, 0]
    assert all(type(code) is float for code in found.values())
    assert schema.encode_values({}) == {}


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("member", "false", 0),
        ("member", "1", 1),
        ("member", 0, 0),
        ("bit", True, 1),
        ("bit", "1.0", 1),
        ("age", "39.0", 22),
        ("age", 40.0, 23),
        ("code", "7", 0),
        ("code", "True", 1),
    ],
)
def test_texts_that_spell_a_level(schema, name, value, code):
    assert list(schema.encode_values({name: value}).values()) == [code]


def test_a_text_level_comes_before_the_number_that_it_spells():
    schema = Schema((Categorical("v", levels=(7, "7", 2**60 + 1)),), "pandas")
    assert schema.encode_values({"v": "7"}) == {0: 1}
    assert schema.encode_values({"v": 7}) == {0: 0}
    assert schema.encode_values({"v": "7.0"}) == {0: 0}
    assert schema.encode_values({"v": str(2**60 + 1)}) == {0: 2}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sex": "femal"}, "'sex' has no level 'femal'; known levels are 'female', 'male'; did .* 'female'"),
        ({"sex": 1}, "no level 1; known"),
        ({"sex": ["male"]}, "no level .'male'."),
        ({"member": "yes"}, "no level 'yes'; known levels are False, True"),
        ({"bit": 2}, "no level 2; known levels are 0, 1"),
        ({"code": 7}, "no level 7; known levels are '7', 'True'"),
        ({"age": 91}, "'age' cannot be 91: its values range from 17 to 90"),
        ({"age": "16"}, "'age' cannot be 16: its values range from 17 to 90"),
        ({"age": 39.5}, "'age' is ordinal and takes integers from 17 to 90, not 39.5"),
        ({"age": "old"}, "takes integers from 17 to 90, not 'old'"),
        ({"age": True}, "not True"),
        ({"age": float("inf")}, "not inf"),
        ({"age": 10**400}, "not 1000"),
        ({"height": "inf"}, "'height' is continuous and takes finite numbers, not 'inf'"),
        ({"height": "nan"}, "not 'nan'"),
        ({"height": "tall"}, "not 'tall'"),
        ({"height": np.array([1.5])}, "takes finite numbers"),
        ({"height": 1e300}, "'height' cannot be 1e.300: too far"),
        ({"height": None}, "'height' is given without a value .None.: leave the column out"),
        ({"sex": float("nan")}, "'sex' is given without a value"),
        ({"age": 39, 1: 39}, "'age' is given more than once"),
        ({"hight": 1.7}, "no column 'hight'; did you mean 'height'"),
        ([("age", 39)], "mapping from columns to values, got list"),
    ],
)  # fmt: skip
def test_values_that_a_variable_lacks(schema, values, message):
    with pytest.raises(DataError, match=message) as caught:
        schema.encode_values(values)
    assert "\n" not in str(caught.value)


def test_only_the_first_levels_are_listed():
    schema = Schema.infer(pl.DataFrame({"word": [f"w{i:02}" for i in range(30)]}))
    with pytest.raises(DataError, match=r"'w09' and 20 more$"):
        schema.encode_values({"word": "?"})
