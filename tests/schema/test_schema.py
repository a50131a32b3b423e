"""Schema: inference of kinds, codes and back, bad input, storage."""

from __future__ import annotations

import datetime as dt
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
from scipy import sparse

from chainrule.errors import DataError, StorageError
from chainrule.schema import UNSEEN, Binary, Schema
from chainrule.schema.types import column_from_dict

RNG = np.random.default_rng(0)


def round_trip(X, kinds=None):
    """Infer, encode, check the codes, pass the schema through JSON, decode."""
    schema = Schema.infer(X, kinds)
    codes = schema.encode(X)
    assert codes.dtype == np.float32
    assert codes.flags.c_contiguous
    stored = Schema.from_dict(json.loads(json.dumps(schema.to_dict())))
    assert stored == schema
    for d, levels in enumerate(variable.levels for variable in schema.variables):
        if levels is not None:
            assert set(codes[:, d]) <= set(range(len(levels)))
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
    assert schema.n_codes == (2,) * 5
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
    X = np.array([[20, 0, 30_000, 0], [35, 1, 52_000, 5], [50, 1, 41_000, 2**20], [21, 0, 38_500, 9]] * 2)
    schema, decoded = round_trip(X)
    assert schema.kinds == ("ordinal", "binary", "ordinal", "continuous")
    assert [(v.low, v.high) for v in schema.variables[:3:2]] == [(20, 50), (30_000, 52_000)]
    np.testing.assert_array_equal(decoded[:, :3], X[:, :3])
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
    assert schema.log_abs_det_jacobian(schema.encode(X)) == pytest.approx(
        -math.log(X[:, 0].std()) - math.log(X[:, 1].std())
    )
    assert not schema.is_discrete
    assert not Schema.infer(X[:, 2:]).log_abs_det_jacobian(X[:, 2:]).any()
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


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.float32, np.float64])
def test_whole_numbers_of_a_table_are_levels_or_ordinals_whatever_their_dtype(dtype):
    frame = pl.DataFrame(
        {
            "two": (np.arange(40) % 2 * 3).astype(dtype),
            "few": (np.arange(40) % 10 * 7).astype(dtype),
            "more": (np.arange(40) % 11).astype(dtype),
            "rare": np.concatenate([np.arange(6), np.zeros(34)]).astype(dtype),
        }
    )
    schema, decoded = round_trip(frame)
    assert schema.kinds == ("binary", "categorical", "ordinal", "categorical")
    assert schema.variables[1].levels == tuple(range(0, 70, 7))
    assert decoded.equals(frame)
    assert decoded.schema == frame.schema


def test_a_few_integers_that_hardly_repeat_are_no_levels():
    assert Schema.infer(pl.DataFrame({"age": [17, 90, 41, 17, 90]})).kinds == ("ordinal",)
    assert Schema.infer(pl.DataFrame({"age": [17, 90, 41] * 2})).kinds == ("categorical",)


def test_integers_become_continuous_beyond_a_range_of_a_million():
    frame = pl.DataFrame({"narrow": [0, 2**20 - 1, 5], "wide": [0, 2**20, 5], "huge": [0, 2**60, 5]})
    schema, decoded = round_trip(frame)
    assert schema.kinds == ("ordinal", "continuous", "continuous")
    assert decoded[:, :2].equals(frame[:, :2])  # rounded back to integers


# ---------------------------------------------------------------- point masses


def rain(n=200, dry=80):
    values = RNG.gamma(2.0, 3.0, n)
    values[:dry] = 0.0
    values[dry : dry + 20] = 7.3
    return values


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_that_repeat_are_point_masses_with_codes_of_their_own(dtype):
    frame = pd.DataFrame({"rain": rain().astype(dtype)})
    schema, decoded = round_trip(frame)
    (variable,) = schema.variables
    assert variable.kind == "continuous"
    assert variable.point_masses == (0.0, float(dtype(7.3)))
    codes = schema.encode(frame)[:, 0]
    for point_mass, code in zip(variable.point_masses, variable.point_mass_codes, strict=True):
        np.testing.assert_array_equal(codes == np.float32(code), frame["rain"] == point_mass)
        np.testing.assert_array_equal(decoded["rain"] == point_mass, frame["rain"] == point_mass)
    again = Schema.from_dict(json.loads(json.dumps(schema.to_dict())))
    assert again == schema


def test_what_is_no_point_mass():
    table = {"rare": np.concatenate([np.zeros(9), RNG.normal(size=91)]), "reals": RNG.normal(size=100)}
    assert [v.point_masses for v in Schema.infer(pl.DataFrame(table)).variables] == [(), ()]
    declared = Schema.infer(pl.DataFrame({"rain": rain()}), {"rain": "continuous"})
    assert declared.variables[0].point_masses == ()
    assert Schema.infer(rain()[:, None]).variables[0].point_masses == ()
    many = np.concatenate([np.repeat(np.arange(66) + 0.5, 30 + np.arange(66)), RNG.normal(size=9)])
    assert Schema.infer(pl.DataFrame({"x": many})).variables[0].point_masses == tuple(np.arange(2, 66) + 0.5)


def test_nothing_but_point_masses_are_levels():
    schema = Schema.infer(pl.DataFrame({"dose": np.arange(60) % 3 / 2}))
    assert schema.variables[0].levels == (0.0, 0.5, 1.0)


def test_a_value_beside_a_point_mass_is_none():
    values = np.concatenate([np.zeros(50), RNG.normal(5, 1, 50)])
    schema = Schema.infer(pl.DataFrame({"x": values}))
    codes = schema.encode(pl.DataFrame({"x": [0.0, 1e-300, -0.0]}))[:, 0]
    point_mass = np.float32(schema.variables[0].point_mass_codes[0])
    assert (codes == point_mass).tolist() == [True, False, True]
    assert abs(codes[1] - point_mass) < 1e-6


def test_offsets_are_those_of_masses_and_densities():
    frame = pl.DataFrame({"x": rain(), "word": ["a", "b"] * 100, "bit": [0, 1] * 100})
    schema = Schema.infer(frame)
    rows = pl.DataFrame({"x": [0.0, 1.5, None], "word": ["a", "c", None], "bit": [0, None, 1]})
    codes = schema.encode(rows, missing=True, unseen=UNSEEN)
    scale = schema.variables[0].scale
    expected = [[0, math.log(200 / 201), 0], [-math.log(scale), math.log(1 / 201), 0], [0, 0, 0]]
    np.testing.assert_allclose(schema.log_abs_det_jacobian_of_cells(codes), expected)
    np.testing.assert_allclose(schema.log_abs_det_jacobian(codes), np.sum(expected, axis=1))
    asked = np.array([True, False, True])
    np.testing.assert_allclose(
        schema.log_abs_det_jacobian(codes, asked), np.array(expected)[:, asked].sum(axis=1)
    )


# ---------------------------------------------------------------- levels never seen


def test_a_share_is_reserved_where_levels_come_from_values():
    frame = pd.DataFrame(
        {
            "word": ["a", "b", "c", "c"] * 5,
            "two": ["yes", "no"] * 10,
            "few": [1, 2, 3, 3] * 5,
            "bit": [0, 1] * 10,
            "truth": [True, False] * 10,
            "declared": pd.Categorical(["x", "y"] * 10, categories=["x", "y", "z"]),
            "same": ["all"] * 20,
        }
    )
    schema, _ = round_trip(frame)
    assert [v.reserved for v in schema.variables] == pytest.approx([1 / 21] * 3 + [0.0] * 3 + [1e-6])
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema
    other = frame.assign(word="d", two="perhaps", few=4, same="none")
    codes = schema.encode(other, unseen=UNSEEN)
    assert (codes[:, [0, 1, 2, 6]] == UNSEEN).all()
    assert np.isfinite(codes[:, 3:6]).all()
    assert np.isnan(schema.encode(other, unseen=np.nan)[:, [0, 1, 2, 6]]).all()
    with pytest.raises(DataError, match="column 'word' holds 'd' in row 1: an unseen level"):
        schema.encode(other)
    with pytest.raises(DataError, match="column 'bit' holds 2 in row 1: an unseen level"):
        schema.encode(frame.assign(bit=2), unseen=UNSEEN)
    with pytest.raises(DataError, match="column 'declared' holds 'w' in row 1: an unseen level"):
        schema.encode(frame.assign(declared="w"), unseen=UNSEEN)


# ---------------------------------------------------------------- columns that name rows


def test_text_that_names_rows_is_refused_unless_declared():
    frame = pl.DataFrame({"name": [f"n{i}" for i in range(150)], "x": RNG.normal(size=150)})
    with pytest.raises(DataError, match="'name' holds 150 different texts in 150 rows, as names .*: drop it"):
        Schema.infer(frame)
    assert Schema.infer(frame, {"name": "categorical"}).n_codes[0] == 150
    often = frame.with_columns(name=pl.Series([f"n{i % 100}" for i in range(150)]))
    assert Schema.infer(often).n_codes[0] == 100
    assert Schema.infer(frame.with_columns(pl.col("name").cast(pl.Categorical))).n_codes[0] == 150


@pytest.mark.parametrize("values", [[f"n{i}" for i in range(30)], range(7, 37), np.arange(30) * 2.0])
def test_what_differs_in_every_row_is_warned_about(values):
    frame = pl.DataFrame({"id": values, "x": RNG.normal(size=30)})
    with pytest.warns(UserWarning, match="'id' has a different value in every row, as identifiers do: drop"):
        Schema.infer(frame)


def test_other_columns_are_not_warned_about(recwarn):
    Schema.infer(pl.DataFrame({"few": range(19), "again": [1, *range(18)], "x": RNG.normal(size=19)}))
    Schema.infer(pl.DataFrame({"id": range(30)}), {"id": "ordinal"})
    Schema.infer(np.arange(5000)[:, None])
    assert not recwarn.list


# ---------------------------------------------------------------- dates

DAYS = [dt.date(2024, 2, 29), dt.date(1969, 12, 31), dt.date(2000, 1, 1), dt.date(2024, 2, 29)]
TIMES = [dt.datetime(2024, 2, 29, 12, 30), dt.datetime(1969, 12, 31), dt.datetime(2000, 1, 1), None]


def pandas_dates():
    times = pd.Series(TIMES)
    return pd.DataFrame(
        {
            "day": pd.Series(DAYS, dtype=object),
            "arrow": pd.Series(DAYS, dtype="date32[day][pyarrow]"),
            "midnight": pd.to_datetime(pd.Series(DAYS)).astype("datetime64[ns]"),
            "time": times.astype("datetime64[us]"),
            "zone": times.dt.tz_localize("UTC").dt.tz_convert("Europe/Oslo"),
        }
    )


@pytest.mark.parametrize(
    "table",
    [
        pandas_dates(),
        pl.DataFrame({"day": DAYS, "time": TIMES}).with_columns(
            zone=pl.col("time").dt.replace_time_zone("Europe/Oslo"), ms=pl.col("time").cast(pl.Datetime("ms"))
        ),
        pa.table({"day": DAYS, "time": TIMES, "zone": pa.array(TIMES, pa.timestamp("ms", "UTC"))}),
    ],
)
def test_dates_come_back(table):
    schema = Schema.infer(table, missing=True)
    for variable in schema.variables:
        is_day = variable.name in ("day", "arrow", "midnight")
        assert (variable.kind, variable.unit) == (
            ("ordinal", "days") if is_day else ("continuous", "seconds")
        )
    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema
    decoded = schema.decode(schema.encode(table, missing=True), known=table)
    if isinstance(table, pd.DataFrame):
        pd.testing.assert_frame_equal(decoded, table)
    else:
        assert decoded.equals(table)


def test_dates_by_number_and_by_text():
    frame = pl.DataFrame({"day": DAYS, "time": [TIMES[i % 3] for i in range(4)]})
    schema = Schema.infer(frame)
    codes = schema.encode_values({"day": "2000-01-01", "time": "2000-01-01T00:00:00"})
    assert codes == dict(enumerate(schema.encode(frame)[2].tolist()))
    assert schema.encode_values({"day": DAYS[2], "time": TIMES[2]}) == codes
    with pytest.raises(DataError, match="'day' holds no dates, but the training rows have dates in it"):
        schema.encode(pl.DataFrame({"day": [1, 2], "time": TIMES[:2]}))
    with pytest.raises(
        DataError, match="'day' cannot be 2025-01-01: its values range from 1969-12-31 to 2024-02-29"
    ):
        schema.encode_values({"day": "2025-01-01"})
    for text in ("1.1.2000", "01.01.2000", "2000/01/01"):
        assert schema.encode_values({"day": text})[0] == codes[0]
    for text in ("01/01/2000", "30.2.2000", "soon"):
        with pytest.raises(
            DataError, match=f"'day' is ordinal and takes dates from 1969-12-31 .*, not '{text}'"
        ):
            schema.encode_values({"day": text})


def test_arrays_of_date_objects():
    X = np.array([[DAYS[i % 4], i] for i in range(8)], dtype=object)
    schema, decoded = round_trip(X)
    assert schema.kinds == ("ordinal", "ordinal")
    np.testing.assert_array_equal(decoded, X)


# ---------------------------------------------------------------- declared kinds


def test_declared_kinds_win():
    X = RNG.integers(0, 5, (30, 3))
    schema, decoded = round_trip(X, {0: "categorical", "x3": "continuous"})
    assert schema.kinds == ("categorical", "ordinal", "continuous")
    np.testing.assert_array_equal(decoded, X)
    assert Schema.infer(X, "categorical").kinds == ("categorical",) * 3
    assert Schema.infer(X % 2, "categorical").n_codes == (2,) * 3
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
        (pd.DataFrame({"a": ["1e2", "2", "4"]}), "numbers written as text"),
        (pd.DataFrame({"a": [1, "y", "x"]}), "'a' mixes types .1, int, in row 1; 'y', str, in row 2"),
        (pd.DataFrame({"a": [1, True, 2]}, dtype=object), "'a' mixes types .*True, bool, in row 2"),
        (pd.DataFrame({"a": [1.0, None, 2]}), "'a' holds a missing value .* in row 2"),
        (pl.DataFrame({"a": ["x", None, None]}), "'a' holds a missing value .* in row 2 .2 such"),
        (pl.DataFrame({"a": [1.0, float("nan")]}), "'a' holds a missing value .* in row 2"),
        (pl.DataFrame({"when": [dt.time(10, 15)] * 3}), "'when' holds times of day or durations"),
        (pd.DataFrame({"when": pd.to_timedelta([1, 2, 3])}), "'when' holds times of day or durations"),
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
    "metadata",
    [
        {"name": "v", "kind": "binary", "levels": (0, 1, 2)},
        {"name": "v", "kind": "categorical"},
        {"name": "v", "kind": "ordinal", "low": 3, "high": 2},
        {"name": "v", "kind": "continuous", "scale": 0.0},
        {"name": "v", "kind": "continuous", "location": math.nan},
        {"name": "v", "kind": "real"},
    ],
)
def test_variables_that_make_no_sense(metadata):
    with pytest.raises(StorageError, match="'v'"):
        column_from_dict(metadata)


# ---------------------------------------------------------------- storage


@pytest.mark.parametrize(
    "damage", [{"variables": []}, {"variables": [{}]}, {"container": "excel"}, {"variables": 3}]
)
def test_damaged_storage_is_refused(damage):
    metadata = Schema.infer(np.eye(3)).to_dict()
    with pytest.raises(StorageError, match="the schema: |a run of columns: "):
        Schema.from_dict(metadata | damage)
    del metadata["container"]
    with pytest.raises(StorageError, match="the schema: Object missing required field `container`"):
        Schema.from_dict(metadata)


def test_storage_tells_bool_from_int_levels():
    variables = (
        Binary("a", levels=(False, True), dtype="bool"),
        Binary("b", levels=(0, 1), dtype="bool"),
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
    scales = np.array([getattr(variable, "scale", 1.0) for variable in schema.variables])
    spread = np.abs(schema.encode(X)).max(axis=0) * scales
    assert (np.abs(decoded - X) <= 1e-6 * spread + 1e-12 * np.abs(X).max()).all()


def test_dates_that_are_text_are_to_be_read_as_dates():
    days = pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 12, 31), eager=True)
    frame = pl.DataFrame({"order date": days.cast(pl.String), "n": range(len(days))})
    with pytest.raises(DataError, match=r"parse_dates=\['order date'\]"):
        Schema.infer(frame)
