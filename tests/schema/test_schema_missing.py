"""Schema: missing cells, from every container to NaN codes and back."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.errors import DataError
from chainrule.schema import Continuous, Schema

RNG = np.random.default_rng(0)


def with_holes(X, share=0.3):
    """Return float rows of which some cells are NaN, but never a whole column."""
    X = np.array(X, dtype=float)
    holes = RNG.random(X.shape) < share
    holes[:2] = False
    X[holes] = np.nan
    return X


def round_trip(X, kinds=None):
    schema = Schema.infer(X, kinds, missing=True)
    codes = schema.encode(X, missing=True)
    assert codes.dtype == np.float32
    assert codes.flags.c_contiguous
    stored = Schema.from_dict(json.loads(json.dumps(schema.to_dict())))
    return schema, codes, stored.decode(codes)


# ---------------------------------------------------------------- arrays


def test_zeros_and_ones_with_holes_are_binary():
    X = with_holes(RNG.integers(0, 2, (50, 4)))
    schema, codes, decoded = round_trip(X)
    assert {v.kind for v in schema.variables} == {"binary"}
    np.testing.assert_array_equal(codes, X)
    np.testing.assert_array_equal(decoded, X)
    assert Schema.infer(X, "binary", missing=True) == schema


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_an_image_with_holes_keeps_one_range(dtype):
    X = with_holes(RNG.integers(3, 200, (30, 5))).astype(dtype)
    X[0, 0], X[1, 1] = 2, 210
    X[4] = np.nan  # a row may be empty
    schema, codes, decoded = round_trip(X)
    assert {(v.kind, v.low, v.high) for v in schema.variables} == {("ordinal", 2, 210)}
    np.testing.assert_array_equal(codes, X - 2)
    np.testing.assert_array_equal(decoded, X)
    assert decoded.dtype == dtype
    assert Schema.infer(X, "ordinal", missing=True) == schema


def test_columns_of_floats_are_what_their_present_values_are():
    full = np.column_stack(
        [RNG.normal(5, 3, 60), RNG.integers(0, 2, 60), np.full(60, 2.5), RNG.normal(0, 0.1, 60)]
    )
    X = with_holes(full)
    schema, codes, decoded = round_trip(X)
    assert schema.kinds == ("continuous", "binary", "categorical", "continuous")
    for d in (0, 3):
        present = X[~np.isnan(X[:, d]), d]
        variable = Continuous(f"x{d + 1}", location=present.mean(), scale=present.std())
        assert schema.variables[d] == variable
    np.testing.assert_array_equal(np.isnan(codes), np.isnan(X))
    np.testing.assert_allclose(decoded, X, atol=1e-6)


def test_declared_kinds_of_columns_with_holes():
    X = with_holes(RNG.integers(0, 5, (40, 3)))
    schema, _, decoded = round_trip(X, {0: "categorical", 2: "continuous"})
    assert schema.kinds == ("categorical", "ordinal", "continuous")
    assert schema.n_codes[0] == 5
    np.testing.assert_allclose(decoded, X, atol=1e-6)


def test_holes_far_down_a_big_array():
    X = RNG.integers(0, 256, (3000, 784)).astype(np.float32)
    X[2500:, 300:] = np.nan
    _, codes, decoded = round_trip(X)
    np.testing.assert_array_equal(codes, X)
    np.testing.assert_array_equal(decoded, X)


def test_object_arrays_give_none_back():
    X = np.array([[1, "a", True, 0.5], [None, "b", None, np.nan], [3, None, False, 7.25], [9, "c", True, 2]])
    schema, codes, decoded = round_trip(X)
    assert schema.kinds == ("ordinal", "categorical", "binary", "continuous")
    holes = np.array([[value is None or value != value for value in row] for row in X])
    np.testing.assert_array_equal(np.isnan(codes), holes)
    assert [*decoded[1]] == [None, "b", None, None]
    assert [type(value) for value in decoded[0]] == [int, str, bool, float]


@pytest.mark.parametrize(
    "X", [np.array([[0, 5], [1, 6], [0, 7]]), np.eye(3, dtype=bool), np.array([["a"], ["b"]])]
)
def test_arrays_that_cannot_hold_missing_values(X):
    schema = Schema.infer(X)
    codes = schema.encode(X)
    codes[1, -1] = np.nan
    with pytest.raises(DataError, match=rf"column 'x{X.shape[1]}' in row 2 is missing .* dtype {X.dtype}"):
        schema.decode(codes)


def test_rows_with_holes_suit_a_schema_of_rows_without():
    schema = Schema.infer(np.array([[0, 5], [1, 6], [0, 7]], dtype=np.uint8), {1: "continuous"})
    codes = schema.encode(np.array([[np.nan, 6], [1, np.nan]]), missing=True)
    np.testing.assert_array_equal(codes, [[np.nan, 0], [1, np.nan]])


# ---------------------------------------------------------------- data frames


def test_pandas_columns_with_holes_come_back():
    frame = pd.DataFrame(
        {
            "age": pd.array([31, None, 22, 45], dtype="Int64"),
            "city": ["Oslo", None, "Bonn", "Rome"],
            "size": pd.Categorical(["M", None, "M", "S"], categories=["L", "M", "S"], ordered=True),
            "height": [1.62, np.nan, 1.75, 1.9],
            "member": pd.array([True, None, True, False], dtype="boolean"),
            "owner": np.array([True, None, True, False], dtype=object),
            "grade": [1.0, np.nan, 3.0, 2.0],
            "sex": np.array(["m", None, "m", "f"], dtype=object),
            "share": pd.array([0.5, None, 0.25, 0.125], dtype="Float64"),
            "arrow": pd.array([1, None, 5, 7], dtype="int64[pyarrow]"),
            "far": pd.array([1, None, 5_000_000, 7], dtype="int64[pyarrow]"),
        }
    )
    schema, codes, decoded = round_trip(frame)
    assert schema.kinds == (
        "ordinal", "categorical", "categorical", "continuous", "binary", "binary", "ordinal", "binary",
        "continuous", "ordinal", "continuous",
    )  # fmt: skip
    assert schema.variables[2].levels == ("L", "M", "S")
    assert np.isnan(codes[1]).all()
    assert not np.isnan(codes[[0, 2, 3]]).any()
    pd.testing.assert_frame_equal(decoded, frame)


def test_pandas_dtypes_without_room_for_missing_values_become_those_of_pandas_itself():
    full = pd.DataFrame({"i": [3, 4, 5], "b": [True, False, True], "far": [0, 5000, 9]})
    schema = Schema.infer(full)
    holes = full.where([[True, True, True], [False, False, False], [True, True, True]])
    assert [str(dtype) for dtype in holes.dtypes] == ["float64", "object", "float64"]
    decoded = schema.decode(schema.encode(holes, missing=True))
    assert decoded["b"][1] is None
    pd.testing.assert_frame_equal(decoded.drop(columns="b"), holes.drop(columns="b"))
    pd.testing.assert_frame_equal(schema.decode(schema.encode(full)), full)


def test_polars_columns_with_holes_come_back():
    frame = pl.DataFrame(
        {
            "i": pl.Series([1, None, 9, 5], dtype=pl.Int8),
            "f": pl.Series([0.5, None, 9.0, 1.0], dtype=pl.Float32),
            "s": ["x", None, "z", "y"],
            "b": [True, None, True, False],
            "e": pl.Series(["p", None, "p", "q"], dtype=pl.Enum(["q", "unused", "p"])),
            "c": pl.Series(["p", None, "r", "s"], dtype=pl.Categorical),
        }
    )
    schema, codes, decoded = round_trip(frame)
    assert schema.variables[4].levels == ("q", "unused", "p")
    assert np.isnan(codes[1]).all()
    assert decoded.schema == frame.schema
    assert decoded.drop("f").equals(frame.drop("f"))
    np.testing.assert_allclose(decoded["f"], frame["f"], rtol=1e-6)
    assert schema.decode(codes[[1]]).equals(frame[1])


def test_nan_is_missing_in_polars_too():
    frame = pl.DataFrame({"f": [1.5, float("nan"), None, 4.0, 2.0]})
    _, codes, decoded = round_trip(frame)
    assert np.isnan(codes[:, 0]).tolist() == [False, True, True, False, False]
    assert decoded["f"].is_null().to_list() == [False, True, True, False, False]


def test_pyarrow_columns_with_holes_come_back():
    table = pa.table(
        {
            "i": pa.array([1, None, 9, 5], pa.int16()),
            "s": ["x", None, "z", "y"],
            "b": [True, None, True, False],
            "f": pa.array([1.0, None, 4.0, 2.0], pa.float32()),
            "d": pa.array(["p", None, "q", "r"]).dictionary_encode(),
        }
    )
    schema, codes, decoded = round_trip(table)
    assert np.isnan(codes[1]).all()
    assert decoded.equals(table)
    assert schema.decode(codes[[1]]).equals(pa.table(table.slice(1, 1).to_pydict(), schema=table.schema))


@pytest.mark.parametrize(
    "empty",
    [
        pd.DataFrame({"s": [None, None], "n": [None, None], "b": [None, None]}),
        pd.DataFrame({"s": [np.nan] * 2, "n": [np.nan] * 2, "b": [np.nan] * 2}),
        pd.DataFrame({"s": [pd.NaT] * 2, "n": pd.array([None] * 2, "Int64"), "b": [pd.NA] * 2}),
        pl.DataFrame({"s": [None, None], "n": [None, None], "b": [None, None]}),
        pl.DataFrame([[None] * 2] * 3, {"s": pl.String, "n": pl.Int8, "b": pl.Date}),
        pa.table({"s": [None, None], "n": [None, None], "b": [None, None]}),
        np.full((2, 3), None),
        np.full((2, 3), np.nan),
    ],
)  # fmt: skip
def test_rows_may_be_empty_but_not_all_training_rows(empty):
    schema = Schema.infer(pl.DataFrame({"s": ["a", "b", "c"], "n": [1, 5, 9], "b": [True, False, True]}))
    assert np.isnan(schema.encode(empty, missing=True)).all()
    with pytest.raises(DataError, match="all cells of the 2 rows are missing"):
        Schema.infer(empty, missing=True)


# ---------------------------------------------------------------- errors


def test_without_missing_the_error_says_what_to_do():
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [0.5, None, None]})
    remedy = r"fill it in, drop the row, or fit .*OrderlessNADE"
    with pytest.raises(DataError, match=rf"'b' holds a missing value .* in row 2 \(2 such .*{remedy}"):
        Schema.infer(frame)
    with pytest.raises(DataError, match=rf"'x2' holds NaN in row 2 \(2 such .*{remedy}"):
        Schema.infer(frame.to_numpy())
    with pytest.raises(DataError, match=remedy):
        Schema.infer(frame, missing=True).encode(frame)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"city": [None, None, "Oslo", "Paris"]}, "'city' holds 'Paris' in row 4: an unseen level"),
        ({"age": [None, 3, None, 4.5]}, "'age' holds 4.5 in row 4: the column is ordinal"),
        ({"age": [None, None, "x", "y"]}, "'age' is ordinal and takes numbers, but holds 'x' in row 3"),
        ({"height": [None, 1.5, 1e300, 1]}, "'height' holds 1e.300 in row 3: too far"),
        ({"height": [None, 1.5, np.inf, 1]}, "'height' holds infinity .*in row 3"),
        ({"owner": np.array([None, np.nan, True, 7], dtype=object)}, "'owner' holds 7 in row 4"),
    ],
)
def test_errors_count_the_rows_with_missing_values(change, message):
    frame = pd.DataFrame(
        {
            "age": [3, 4, 9],
            "city": ["Oslo", "Rome", "Bonn"],
            "height": [1.5, 2, 1],
            "owner": [True, False, True],
        }
    )
    schema = Schema.infer(frame)
    rows = pd.DataFrame({name: [None] * 4 for name in frame} | change)
    with pytest.raises(DataError, match=message):
        schema.encode(rows, missing=True)


@pytest.mark.parametrize(
    ("values", "kinds", "message"),
    [
        ([None, "1", "2", "?", "4"], None, "text among numbers: '\\?' in row 4"),
        ([None, 1, None, "y", "x"], None, "mixes types .1, int, in row 2; 'y', str, in row 4"),
        ([None, 1.0, None, 2.5, 3.0], {"a": "ordinal"}, "holds 2.5 in row 4"),
        ([None, "3", None, "y", "x"], {"a": "ordinal"}, "'y' in row 4"),
        ([None, 1.0, -np.inf, 2.5, 3.0], None, "infinity .* in row 3"),
        ([None, 2.0, None, 2.0, 2.0], {"a": "continuous"}, "is constant .2."),
    ],
)
def test_errors_of_inference_count_the_rows_with_missing_values(values, kinds, message):
    with pytest.raises(DataError, match=message):
        Schema.infer(pd.DataFrame({"a": np.array(values, dtype=object)}), kinds, missing=True)


# ---------------------------------------------------------------- random tables

WORDS = st.text(st.characters(categories=("L", "Zs")), max_size=5).map("w".__add__)  # no numbers
VALUES = [st.booleans(), st.integers(-500, 500), st.integers(0, 1), WORDS, st.integers(-9, 9).map(float)]


@st.composite
def tables(draw):
    """Columns whose round trip must lose nothing, some cells of each missing."""
    names = draw(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=5, unique=True))
    n_rows = draw(st.integers(2, 12))
    columns = {}
    for name in names:
        values = draw(st.lists(draw(st.sampled_from(VALUES)), min_size=n_rows, max_size=n_rows))
        holes = draw(st.lists(st.booleans(), min_size=n_rows, max_size=n_rows))
        holes[draw(st.integers(0, n_rows - 1))] = False
        columns[name] = [None if hole else value for value, hole in zip(values, holes, strict=True)]
    return columns


def nullable_pandas(columns):
    return pd.DataFrame(columns, dtype=object).convert_dtypes()


@settings(max_examples=80, deadline=None)
@given(tables(), st.sampled_from([pd.DataFrame, nullable_pandas, pl.DataFrame, pa.table]))
def test_tables_with_holes_lose_nothing(columns, make):
    table = make(columns)
    schema, codes, decoded = round_trip(table)
    holes = np.array([[value is None for value in values] for values in columns.values()]).T
    np.testing.assert_array_equal(np.isnan(codes), holes)
    if isinstance(table, pd.DataFrame):
        pd.testing.assert_frame_equal(decoded, table)
    else:
        assert decoded.equals(table)


@settings(max_examples=40, deadline=None)
@given(tables())
def test_a_column_is_what_its_present_values_are(columns):
    variables = Schema.infer(pl.DataFrame(columns), missing=True).variables
    for variable, (name, values) in zip(variables, columns.items(), strict=True):
        present = [value for value in values if value is not None]
        # twice, because two rows are the least
        twice = Schema.infer(pl.DataFrame({name: present * 2})).variables[0]
        # a share is reserved by the number of values, and integers that hardly repeat are no levels
        if variable.kind == twice.kind == "ordinal" or variable.kind in ("binary", "categorical"):
            assert variable.to_dict() | {"reserved": 0.0} == twice.to_dict() | {"reserved": 0.0}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([np.float32, np.float64]), st.integers(1, 300))
def test_arrays_with_holes_lose_nothing(seed, dtype, top):
    rng = np.random.default_rng(seed)
    shape = rng.integers(2, 9, 2)
    X = rng.integers(0, top, shape, endpoint=True).astype(dtype)
    X[rng.random(shape) < 0.5] = np.nan
    X[rng.integers(shape[0]), np.isnan(X).all(axis=0)] = 0
    _, codes, decoded = round_trip(X)
    np.testing.assert_array_equal(np.isnan(codes), np.isnan(X))
    np.testing.assert_array_equal(decoded, X)
    assert decoded.dtype == dtype
