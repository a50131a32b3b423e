"""Schema: inference of kinds, codes and back, bad input, storage."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chainrule.errors import DataError, StorageError
from chainrule.schema import Schema, Variable

RNG = np.random.default_rng(0)


def round_trip(X, kinds=None):
    """Infer, encode, check the codes, pass the schema through JSON, decode."""
    schema = Schema.infer(X, kinds)
    codes = schema.encode(X)
    assert codes.dtype == np.float32
    assert codes.flags.c_contiguous
    stored = Schema.from_dict(json.loads(json.dumps(schema.to_dict())))
    assert stored == schema
    for d, n_levels in enumerate(schema.n_levels):
        if n_levels is not None:
            assert set(codes[:, d]) <= set(range(n_levels))
    return schema, stored.decode(codes)


@pytest.fixture
def people():
    return pd.DataFrame(
        {
            "age": [31, 45, 22, 31],
            "city": ["Oslo", "Rome", "Bonn", "Oslo"],
            "size": pd.Categorical(["M", "S", "M", "S"], categories=["L", "M", "S"], ordered=True),
            "height": [1.62, 1.81, 1.75, 1.9],
            "member": [True, False, True, True],
            "visits": pd.array([1, 2, 3, 4], dtype="Int64"),
            "grade": [1.0, 2.0, 3.0, 3.0],
            "sex": np.array(["m", "f", "m", "m"], dtype=object),
        }
    )


# ---------------------------------------------------------------- inference: arrays


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32, np.float64])
def test_zeros_and_ones_are_binary_whatever_their_dtype(dtype):
    X = RNG.integers(0, 2, (20, 5)).astype(dtype)
    X[:, 2] = 0
    schema, decoded = round_trip(X)
    assert schema.kinds == ("binary",) * 5
    assert schema.n_levels == (2,) * 5
    assert decoded.dtype == X.dtype
    np.testing.assert_array_equal(decoded, X)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_integers_share_one_range_over_the_array(dtype):
    X = RNG.integers(3, 200, (30, 4)).astype(dtype)
    X[0, 0], X[1, 1] = 2, 210
    schema, decoded = round_trip(X)
    assert {(v.kind, v.low, v.high) for v in schema.variables} == {("ordinal", 2, 210)}
    np.testing.assert_array_equal(decoded, X)
    assert decoded.dtype == X.dtype


def test_integers_that_span_too_much_are_read_column_by_column():
    X = np.array([[20, 0, 30_000], [35, 1, 52_000], [50, 1, 41_000], [21, 0, 38_500]])
    schema, decoded = round_trip(X)
    assert schema.kinds == ("ordinal", "binary", "continuous")
    assert (schema.variables[0].low, schema.variables[0].high) == (20, 50)
    np.testing.assert_allclose(decoded, X, atol=1)


def test_other_float_arrays_are_continuous_or_binary_by_column():
    X = np.column_stack([RNG.normal(5, 3, 40), RNG.integers(0, 2, 40), np.full(40, 2.5)])
    schema, decoded = round_trip(X)
    assert schema.kinds == ("continuous", "binary", "categorical")
    assert schema.variables[2].levels == (2.5,)
    np.testing.assert_allclose(decoded, X, atol=1e-5)
    codes = schema.encode(X)[:, 0]
    assert abs(codes.mean()) < 1e-5
    assert codes.std() == pytest.approx(1, abs=1e-5)


def test_log_det_turns_densities_of_codes_into_densities_of_values():
    X = np.column_stack([RNG.normal(0, 3, 50), RNG.normal(0, 0.2, 50), RNG.integers(0, 2, 50)])
    schema = Schema.infer(X)
    assert schema.log_det == pytest.approx(-math.log(X[:, 0].std()) - math.log(X[:, 1].std()))
    assert not schema.is_discrete
    assert Schema.infer(X[:, 2:]).log_det == 0
    assert Schema.infer(X[:, 2:]).is_discrete


def test_object_and_text_arrays_are_read_like_data_frames():
    X = np.array([[1, "a", True, 0.5], [2, "b", False, 1.5], [3, "c", True, 7.25]], dtype=object)
    schema, decoded = round_trip(X)
    assert schema.kinds == ("ordinal", "categorical", "binary", "continuous")
    np.testing.assert_array_equal(decoded[:, :3], X[:, :3])
    assert [type(value) for value in decoded[0]] == [int, str, bool, float]
    text = np.array([["a", "x"], ["bb", "y"], ["ccc", "x"]])
    schema, decoded = round_trip(text)
    assert decoded.dtype == text.dtype
    np.testing.assert_array_equal(decoded, text)


def test_a_list_of_rows_keeps_numbers_beside_text():
    assert Schema.infer([[1, "a"], [2, "b"], [3, "c"]]).kinds == ("ordinal", "categorical")


# ---------------------------------------------------------------- inference: data frames


def test_pandas_columns_and_dtypes_come_back(people):
    schema, decoded = round_trip(people)
    assert dict(zip(schema.names, schema.kinds, strict=True)) == {
        "age": "ordinal",
        "city": "categorical",
        "size": "categorical",
        "height": "continuous",
        "member": "binary",
        "visits": "ordinal",
        "grade": "ordinal",
        "sex": "binary",
    }
    assert schema.variables[2].levels == ("L", "M", "S")
    pd.testing.assert_frame_equal(decoded, people)
    assert schema.named


def test_polars_columns_and_dtypes_come_back():
    frame = pl.DataFrame(
        {
            "i": pl.Series([1, 5, 9], dtype=pl.Int8),
            "f": pl.Series([0.5, 1.25, 9.0], dtype=pl.Float32),
            "s": ["x", "y", "z"],
            "b": [True, False, True],
            "e": pl.Series(["p", "q", "p"], dtype=pl.Enum(["q", "unused", "p"])),
            "c": pl.Series(["p", "q", "r"], dtype=pl.Categorical),
        }
    )
    schema, decoded = round_trip(frame)
    assert schema.variables[4].levels == ("q", "unused", "p")
    assert decoded.schema == frame.schema
    assert decoded.drop("f").equals(frame.drop("f"))
    np.testing.assert_allclose(decoded["f"], frame["f"], rtol=1e-6)


def test_pyarrow_columns_and_types_come_back():
    table = pa.table(
        {
            "i": pa.array([1, 5, 9], pa.int16()),
            "s": ["x", "y", "z"],
            "b": [True, False, True],
            "f": pa.array([1.0, 2.0, 4.0], pa.float32()),
            "d": pa.array(["p", "q", "r"]).dictionary_encode(),
        }
    )
    schema, decoded = round_trip(table)
    assert schema.container == "pyarrow"
    assert decoded.equals(table)


def test_pandas_integer_column_names_come_back():
    frame = pd.DataFrame(RNG.normal(size=(5, 3)))
    schema, decoded = round_trip(frame)
    assert list(decoded.columns) == [0, 1, 2]
    assert not schema.named


@pytest.mark.parametrize(
    ("values", "kind", "levels"),
    [
        ([7, 9, 7, 9], "binary", (7, 9)),
        ([0, 0, 0, 0], "binary", (0, 1)),
        ([7, 7, 7, 7], "categorical", (7,)),
        ([2.5, 2.5, 2.5, 2.5], "categorical", (2.5,)),
        (["a", "a", "a", "a"], "categorical", ("a",)),
        (["b", "a", "b", "a"], "binary", ("a", "b")),
        ([True, True, True, True], "binary", (False, True)),
        ([0.5, 1.5, 0.5, 1.5], "binary", (0.5, 1.5)),
    ],
)
def test_columns_of_one_or_two_values(values, kind, levels):
    variable = Schema.infer(pl.DataFrame({"v": values})).variables[0]
    assert (variable.kind, variable.levels) == (kind, levels)


def test_whole_floats_of_many_values_are_continuous():
    frame = pl.DataFrame({"few": np.arange(40) % 20 * 1.0, "many": np.arange(40) % 21 * 1.0})
    assert Schema.infer(frame).kinds == ("ordinal", "continuous")


def test_integers_become_continuous_beyond_a_range_of_1000():
    frame = pl.DataFrame({"narrow": [0, 1000, 5], "wide": [0, 1001, 5]})
    schema, decoded = round_trip(frame)
    assert schema.kinds == ("ordinal", "continuous")
    assert decoded.equals(frame)  # rounded back to integers


# ---------------------------------------------------------------- declared kinds


def test_declared_kinds_win():
    X = RNG.integers(0, 5, (30, 3))
    schema, decoded = round_trip(X, {0: "categorical", "x3": "continuous"})
    assert schema.kinds == ("categorical", "ordinal", "continuous")
    np.testing.assert_array_equal(decoded, X)
    assert Schema.infer(X, "categorical").kinds == ("categorical",) * 3
    assert Schema.infer(X % 2, "categorical").n_levels == (2,) * 3
    numbers = pl.DataFrame({"code": ["1", "2", "1", "3"]})
    assert Schema.infer(numbers, {"code": "categorical"}).variables[0].levels == ("1", "2", "3")


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ([1, 2, 3], "binary", "'v' was declared binary but has 3 distinct"),
        ([1.5, 2.0, 3.0], "ordinal", "holds 1.5 in row 1"),
        (["1", "x", "3"], "continuous", "'x' in row 2"),
        (["a", "b", "c"], "ordinal", "declared ordinal, which needs numbers"),
        ([2.0, 2.0, 2.0], "continuous", "is constant"),
        ([True, False, True], "continuous", "needs numbers, but holds boolean"),
        ([0, 2**30, 5], "ordinal", "too wide"),
        ([1, 2, 3], "integer", "'integer' is not a kind; kinds are binary, categorical"),
    ],
)
def test_declared_kinds_that_do_not_fit(values, kind, message):
    with pytest.raises(DataError, match=message):
        Schema.infer(pl.DataFrame({"v": values}), {"v": kind})


def test_declared_kinds_of_unknown_columns():
    with pytest.raises(
        DataError, match="names the column 'hight', which X does not have; did you mean 'height'"
    ):
        Schema.infer(pl.DataFrame({"height": [1, 2]}), {"hight": "ordinal"})
    with pytest.raises(DataError, match="mapping from columns to kinds"):
        Schema.infer(pl.DataFrame({"height": [1, 2]}), ["ordinal"])


# ---------------------------------------------------------------- rows other than the training rows


def test_columns_in_another_order_are_put_right(people):
    schema = Schema.infer(people)
    np.testing.assert_array_equal(schema.encode(people[people.columns[::-1]]), schema.encode(people))


def test_an_array_is_taken_by_position_where_names_were_fitted():
    frame = pl.DataFrame({"a": [0.5, 1.5, 2.5], "b": [3, 4, 6]})
    schema = Schema.infer(frame)
    np.testing.assert_array_equal(schema.encode(frame.to_numpy()), schema.encode(frame))


def test_ordinal_values_beyond_the_range_become_the_end_levels():
    schema = Schema.infer(np.array([[3, 7], [4, 9]]))
    with pytest.warns(
        UserWarning, match=r"2 values lie beyond .* \(3 to 9\): they are scored as the nearest end"
    ):
        codes = schema.encode(np.array([[-100, 5], [100, 9]]))
    np.testing.assert_array_equal(codes, [[0, 2], [6, 6]])


def test_one_row_can_be_encoded():
    assert Schema.infer(np.array([[0.5], [1.5]])).encode(np.array([[1.0]])).shape == (1, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: X.drop(columns="age"), "X has 7 features, but MADE is expecting 8 features as input.*age"),
        (lambda X: X.assign(extra=1), "X has 9 features, but MADE is expecting 8 .*: drop 'extra'"),
        (lambda X: X.rename(columns={"age": "years"}), "lacks the column.s. 'age' and has 'years'"),
        (lambda X: X.assign(city=[*"ab", "Oslo", "a"]), "'a' in row 1: an unseen level; known .*'Bonn'"),
        (lambda X: X.assign(age=[*"123x"]), "'age' is ordinal and takes numbers, but holds '1' in row 1"),
        (lambda X: X.assign(age=[31, 31.5, 31, 31]), "holds 31.5 in row 2: the column is ordinal"),
        (lambda X: X.assign(height=[1.5, np.nan, 1, 1]), "'height' holds .* in row 2"),
        (lambda X: X.assign(height=[1.5, 2, -np.inf, 1]), "'height' holds infinity .*in row 3"),
        (lambda X: X.assign(height=[1.5, 2, 1e300, 1]), "'height' holds 1e.300 in row 3: too far"),
    ],
)  # fmt: skip
def test_rows_that_do_not_fit_the_training_rows(people, change, message):
    schema = Schema.infer(people)
    with pytest.raises(DataError, match=message):
        schema.encode(change(people), estimator="MADE")


def test_unseen_values_in_arrays_name_column_and_row():
    schema = Schema.infer(RNG.integers(0, 2, (10, 4)))
    X = np.zeros((5, 4), dtype=int)
    X[3, 2] = 2
    with pytest.raises(DataError, match="'x3' holds 2 in row 4: an unseen level; known levels are 0 and 1"):
        schema.encode(X)
    with pytest.raises(DataError, match="X has 3 features, but Schema is expecting 4 features as input"):
        schema.encode(X[:, :3])


def test_rows_far_down_a_big_array_are_counted_rightly():
    X = np.zeros((3000, 784), dtype=np.uint8)
    schema = Schema.infer(X)
    X[2500, 700] = 3
    with pytest.raises(DataError, match="'x701' holds 3 in row 2501"):
        schema.encode(X)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((0, 3)), r"0 sample\(s\)"),
        (np.zeros((3, 0)), r"0 feature\(s\) \(shape=\(3, 0\)\) while a minimum of 1 is required"),
        (np.zeros((1, 3)), "n_samples = 1.*at least 2 rows"),
        (np.zeros(3), "Reshape your data"),
        (np.zeros((2, 2, 2)), "flatten"),
        (np.array([[1.0, np.nan], [2, 3]]), "'x2' holds NaN in row 1 .1 such"),
        (np.array([[1.0, 5], [-np.inf, 3]]), "'x1' holds infinity .*in row 2"),
        (np.array([[1, None], [2, 3]], dtype=object), "'x2' holds a missing value .* in row 1"),
        (np.array([[1j], [2]]), "Complex data not supported"),
        (np.array([["2020-01-01"]], dtype="datetime64[D]"), "dtype datetime64"),
        (np.array([[1, {}], [2, 3]], dtype=object), "'x2' holds values of type dict"),
        (np.array([[1e308], [-1e308]]), "cannot be standardised"),
        (np.ma.masked_array(np.zeros((2, 2))), "masked"),
        ([[1, 2], [3]], "not a table"),
        ("text", "X is a str; expected a 2-D numpy array or a DataFrame"),
        (None, "X is a NoneType"),
        (pd.Series([1, 2]), "Reshape your data"),
        (pl.DataFrame({"a": [1, 2]}).lazy(), "collect"),
        (pd.DataFrame({"a": []}), r"0 sample\(s\)"),
        (pd.DataFrame({"a": [*"12?3"]}), r"'a' holds text among numbers: '\?' in row 3 .1 such.*categorical"),
        (pd.DataFrame({"a": ["1", "2", "4"]}), "numbers written as text"),
        (pd.DataFrame({"a": [1, "y", "x"]}), "'a' mixes types .1, int, in row 1; 'y', str, in row 2"),
        (pd.DataFrame({"a": [1, True, 2]}, dtype=object), "'a' mixes types .*True, bool, in row 2"),
        (pd.DataFrame({"a": [1.0, None, 2]}), "'a' holds a missing value .* in row 2"),
        (pl.DataFrame({"a": ["x", None, None]}), "'a' holds a missing value .* in row 2 .2 such"),
        (pl.DataFrame({"a": [1.0, float("nan")]}), "'a' holds a missing value .* in row 2"),
        (pd.DataFrame({"when": pd.to_datetime(["2020-01-01"] * 3)}), "'when' holds dates or times"),
        (pl.DataFrame({"a": [[1], [2]]}), "'a' has dtype List"),
        (pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]), "'a' appears more than once"),
        (pa.table([pa.array([1, 2]), pa.array([1, 2])], names=["a", "a"]), "'a' appears more than once"),
        (pd.DataFrame([[1, 2], [3, 4]], columns=["a", 1]), "column name 1 is a int"),
        (pd.DataFrame({"a": pd.cut([1, 2, 3], 3)}), "values of type Interval"),
    ],
)  # fmt: skip
def test_bad_rows_get_one_clear_line(X, message):
    with pytest.raises(DataError, match=message) as caught:
        Schema.infer(X)
    assert "\n" not in str(caught.value)


def test_sparse_matrices_are_refused():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(DataError, match="sparse matrix"):
        Schema.infer(sparse.csr_matrix(np.eye(3)))


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((2, 3)), r"shape \(2, 3\); expected \(n, 2\)"),
        (np.array([[0, 2.0]]), "code 2 of column 'x2' in row 1 is none of 0..1"),
        (np.array([[0, 0.0], [0, 0.5]]), "code 0.5 of column 'x2' in row 2"),
        (np.array([[np.inf, 0]]), "infinity"),
        (np.array([[np.nan, 0], [0, np.nan], [0, 3]]), "code 3 of column 'x2' in row 3"),
    ],
)
def test_codes_that_are_none(codes, message):
    schema = Schema.infer(np.column_stack([RNG.normal(size=20), RNG.integers(0, 2, 20)]))
    with pytest.raises(DataError, match=message):
        schema.decode(codes)


@pytest.mark.parametrize(
    "facts",
    [
        {"name": "v", "kind": "binary", "levels": (0, 1, 2)},
        {"name": "v", "kind": "categorical"},
        {"name": "v", "kind": "ordinal", "low": 3, "high": 2},
        {"name": "v", "kind": "continuous", "scale": 0.0},
        {"name": "v", "kind": "continuous", "location": math.nan},
        {"name": "v", "kind": "real"},
    ],
)
def test_variables_that_make_no_sense(facts):
    with pytest.raises(DataError, match="'v'"):
        Variable(**facts)


# ---------------------------------------------------------------- storage


@pytest.mark.parametrize(
    "damage", [{"variables": []}, {"variables": [{}]}, {"container": "excel"}, {"variables": 3}]
)
def test_damaged_storage_is_refused(damage):
    facts = Schema.infer(np.eye(3)).to_dict()
    with pytest.raises(StorageError, match="damaged"):
        Schema.from_dict(facts | damage)
    del facts["container"]
    with pytest.raises(StorageError, match="damaged"):
        Schema.from_dict(facts)


def test_storage_tells_bool_from_int_levels():
    variables = (
        Variable("a", "binary", levels=(False, True), dtype="bool"),
        Variable("b", "binary", levels=(0, 1), dtype="bool"),
    )
    stored = Schema.from_dict(Schema(variables, "pandas").to_dict())
    assert [type(variable.levels[0]) for variable in stored.variables] == [bool, int]


def test_storage_of_a_wide_image_is_short():
    schema = Schema.infer(np.tile(np.arange(256, dtype=np.uint8)[:, None], (1, 33_600)))
    text = json.dumps(schema.to_dict())
    assert len(text) < 1000
    assert Schema.from_dict(json.loads(text)) == schema


def test_description_counts_kinds(people):
    assert Schema.infer(np.eye(64)).describe() == "64 variables: 64 binary"
    assert Schema.infer(people).describe() == "8 variables: 3 ordinal, 2 categorical, 2 binary, 1 continuous"
    assert Schema.infer(np.eye(2)[:, :1]).describe() == "1 variable: 1 binary"


# ---------------------------------------------------------------- round trips over random tables

NAMES = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=5, unique=True)
WORDS = st.text(st.characters(categories=("L", "Zs")), max_size=5).map("w".__add__)  # no numbers


def column_values(n_rows):
    """Strategies of columns whose round trip must lose nothing."""
    return st.one_of(
        st.lists(st.booleans(), min_size=n_rows, max_size=n_rows),
        st.lists(st.integers(-500, 500), min_size=n_rows, max_size=n_rows),
        st.lists(st.integers(0, 1), min_size=n_rows, max_size=n_rows),
        st.lists(WORDS, min_size=n_rows, max_size=n_rows),
        st.lists(st.integers(-9, 9).map(float), min_size=n_rows, max_size=n_rows),
    )


@st.composite
def tables(draw):
    names = draw(NAMES)
    n_rows = draw(st.integers(2, 12))
    return {name: draw(column_values(n_rows)) for name in names}


@settings(max_examples=60, deadline=None)
@given(tables(), st.sampled_from([pd.DataFrame, pl.DataFrame, pa.table]))
def test_discrete_tables_lose_nothing(columns, make):
    table = make(columns)
    _, decoded = round_trip(table)
    if make is pd.DataFrame:
        pd.testing.assert_frame_equal(decoded, table)
    else:
        assert decoded.equals(table)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.int8, np.int16, np.bool_, np.float32]),
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=8),
        elements={"min_value": 0, "max_value": 100},
    ).map(lambda X: np.rint(X).astype(X.dtype))
)
def test_whole_number_arrays_lose_nothing(X):
    _, decoded = round_trip(X)
    assert decoded.dtype == X.dtype
    np.testing.assert_array_equal(decoded, X)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=8),
        elements=st.floats(-1e6, 1e6),
    )
)
def test_float_arrays_come_back_to_float32_precision_of_their_spread(X):
    try:
        schema, decoded = round_trip(X)
    except DataError as error:  # differences that vanish beside the values
        assert "standardised" in str(error)
        return
    scales = np.array([variable.scale for variable in schema.variables])
    spread = np.abs(schema.encode(X)).max(axis=0) * scales
    assert (np.abs(decoded - X) <= 1e-6 * spread + 1e-12 * np.abs(X).max()).all()
