"""Data files of every format: what is read, and what is refused in one clear line."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
from datetime import date, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from chainrule.datasets import load_dataset, load_rows
from chainrule.datasets.arrays import parse_idx
from chainrule.errors import DataError
from chainrule.schema import UNSEEN, Schema

RNG = np.random.default_rng(0)


def idx_bytes(array):
    """Write an idx file of unsigned bytes."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def image_bytes(array, kind="png"):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind)
    return stream.getvalue()


@pytest.fixture
def images():
    return RNG.integers(0, 256, (12, 6, 5), dtype=np.uint8)


@pytest.fixture
def people(tmp_path):
    """A csv of 60 people, with a city that only one of them lives in."""
    cities = ["Oslo", "Rome", "Bonn"] * 20
    cities[17] = "Lima"
    frame = pl.DataFrame(
        {
            "age": [20 + 7 * i % 31 for i in range(60)],
            "city": cities,
            "height": [1.5 + i / 100 for i in range(60)],
            "sex": ["female", "male"] * 30,
        }
    )
    path = tmp_path / "people.csv"
    frame.write_csv(path)
    return path


# ---------------------------------------------------------------- tables


def kinds_of(dataset):
    return Schema.infer(dataset.train, dataset.kinds, missing=True).kinds


def test_a_csv_is_split_and_its_kinds_are_found(people):
    dataset = load_dataset(people, random_state=5)
    assert dataset.name == "people"
    assert dataset.kinds is None
    assert kinds_of(dataset) == ("ordinal", "categorical", "continuous", "binary")
    assert (len(dataset.train), len(dataset.valid), len(dataset.test)) == (48, 6, 6)
    assert "seed 5" in dataset.split
    together = pl.concat([dataset.train, dataset.valid, dataset.test])
    assert sorted(together["height"]) == sorted(pl.read_csv(people)["height"])


@pytest.mark.parametrize("seed", range(8))
def test_levels_are_those_of_the_training_rows(people, seed):
    dataset = load_dataset(people, random_state=seed)
    schema = Schema.infer(dataset.train, dataset.kinds)
    assert schema.variables[1].levels == tuple(sorted(dataset.train["city"].unique()))
    for rows in (dataset.valid, dataset.test):
        unseen = schema.encode(rows, unseen=UNSEEN)[:, 1] == UNSEEN
        assert unseen.tolist() == [city not in schema.variables[1].levels for city in rows["city"]]


@pytest.mark.parametrize("seed", range(8))
def test_numbers_are_of_the_kind_that_all_rows_show(tmp_path, seed):
    rows = pl.DataFrame(
        {
            "broken": [*range(40), 0.5],
            "far": [*range(40), 2**21],
            "eleven": [*range(10), *range(10), *range(10), *range(11)],
            "c": [3.5] * 40 + [4.25],
            "word": ["a", "b"] * 20 + ["c"],
        },
        strict=False,
    )
    rows.write_csv(tmp_path / "rare.csv")
    dataset = load_dataset(tmp_path / "rare.csv", random_state=seed)
    assert kinds_of(dataset)[:3] == ("continuous", "continuous", "ordinal")
    schema = Schema.infer(dataset.train, dataset.kinds)
    for part in (dataset.train, dataset.valid, dataset.test):
        assert not np.isnan(schema.encode(part, unseen=UNSEEN)).any()


def test_text_that_names_rows_is_left_out_with_a_warning(tmp_path):
    frame = pl.DataFrame(
        {"x": np.arange(300) / 7, "name": [f"n{i}" for i in range(300)], "few": ["a", "b", "c"] * 100}
    )
    frame.write_csv(tmp_path / "t.csv")
    with pytest.warns(UserWarning, match="names rows .* is left out: 'name'; to keep .*--kind name=categor"):
        dataset = load_dataset(tmp_path / "t.csv")
    assert dataset.train.columns == dataset.test.columns == ["x", "few"]
    assert "'name'" in dataset.description
    assert load_dataset(tmp_path / "t.csv", kinds={"name": "categorical"}).train.columns == frame.columns
    assert load_dataset(tmp_path / "t.csv", columns=["few", "name"]).train.columns == ["few", "name"]
    assert load_rows(tmp_path / "t.csv").columns == frame.columns
    assert load_rows(tmp_path / "t.csv", columns=["few", "x"]).columns == ["few", "x"]
    assert load_rows(tmp_path / "t.csv", columns=["few", "y"]).columns == frame.columns


def test_rows_come_whole_and_in_order(people):
    assert load_rows(people)["height"].to_list() == pl.read_csv(people)["height"].to_list()


def test_declared_kinds_win(people, tmp_path):
    assert load_dataset(people, kinds={"age": "continuous"}).kinds["age"] == "continuous"
    path = tmp_path / "codes.csv"
    path.write_text("code,n\n" + "1,1\n?,2\n3,3\n1,4\n2,5\n" * 3)
    with pytest.raises(DataError, match=r"codes.csv: column 'code' holds text among numbers: '\?' in row 2"):
        load_dataset(path, missing=())
    declared = load_dataset(path, kinds={"code": "categorical"}, missing=())
    assert declared.kinds["code"] == "categorical"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_separators_and_compression(people, tmp_path, separator, suffix):
    content = people.read_text().replace(",", separator).encode()
    path = tmp_path / f"other.{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    assert load_rows(path).equals(pl.read_csv(people))


def test_tsv_and_byte_order_mark_and_windows_lines(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_bytes(b"\xef\xbb\xbfa\tb\r\n1\t2,5\r\n3\t4,5\r\n")
    assert load_rows(path).rows() == [(1, "2,5"), (3, "4,5")]


def test_numbers_without_a_header_are_all_data(tmp_path):
    path = tmp_path / "wine.csv"
    path.write_text("7.4,0.7,5\n7.8,0.88,6\n")
    rows = load_rows(path)
    assert rows.columns == ["x1", "x2", "x3"]
    assert rows.rows() == [(7.4, 0.7, 5), (7.8, 0.88, 6)]


def test_years_may_be_column_names(tmp_path):
    path = tmp_path / "years.csv"
    path.write_text("country,1990,2000\nA,1,2\nB,3,4\n")
    assert load_rows(path).columns == ["country", "1990", "2000"]


@pytest.mark.parametrize(
    "text",
    [
        "M,0.455,15\nF,0.53,9\n",  # a name has no fractional part
        "M,15,yes\nF,9,no\nM,7,yes\n",  # its text comes again below
        "'a','b','b'\n'a','c','b'\n",
        "?,3,alfa\n2,4,alfa\n",
        "3,?,1\n4,2,1\n",
    ],
)
def test_a_first_line_of_data_is_found_and_said(tmp_path, text):
    dataset_rows = load_rows(written(tmp_path, "t.csv", text))
    assert len(dataset_rows) == text.count("\n")
    assert dataset_rows.columns == ["x1", "x2", "x3"]
    with pytest.warns(UserWarning, match="the first line of u.csv is data"):
        dataset = load_dataset(written(tmp_path, "u.csv", text * 8))
    assert dataset.notes == ("the first line of u.csv is data: its columns are named x1 to x3",)
    assert dataset.notes[0] in dataset.description


@pytest.mark.parametrize(
    "text",
    [
        "id,0.1,0.9\n1,2,3\n2,5,6\n",  # a name over numbers
        "sex,rings,grade\nM,15,yes\nF,9,no\n",
        "city,land,tongue\nOslo,Norway,Norse\n",
    ],
)
def test_a_first_line_of_names_is_one(tmp_path, text):
    rows = load_rows(written(tmp_path, "t.csv", text))
    assert rows.columns == text.splitlines()[0].split(",")
    assert len(rows) == text.count("\n") - 1
    assert load_dataset(written(tmp_path, "u.csv", text + text.split("\n", 1)[1] * 9)).notes == ()


def test_what_is_missing_in_text(tmp_path):
    path = written(tmp_path, "t.csv", "n,s\n1,a\nNA,?\n,\n4,-\n")
    assert load_rows(path).rows() == [(1, "a"), (None, None), (None, None), (4, "-")]
    assert load_rows(path, missing=("-", "NA"))["s"].to_list() == ["a", "?", None, None]
    with pytest.raises(DataError, match=r"t.csv: column 'n' holds a missing value .* in row 2"):
        load_dataset(path, missing=None)
    assert load_dataset(path).has_missing


def test_quotes_and_blanks_are_no_part_of_cells(tmp_path):
    path = written(tmp_path, "t.csv", "'it''s', 'n'\n'a, b', 1\n'c' , ?\n")
    assert load_rows(path).rows() == [("a, b", 1), ("c", None)]
    assert load_rows(path).columns == ["it's", "n"]
    spaced = written(tmp_path, "s.csv", "a, b\n1, x y\n 2,\n")
    assert load_rows(spaced).rows() == [(1, "x y"), (2, None)]


def test_dates_in_text_become_dates(tmp_path):
    lines = ["day,time,word,leap", "2024-02-28,2024-02-28 10:00:00,2024-02-28,2023-02-28"]
    lines += [",2024-02-29T23:59:59.5,soon,2023-02-29"]
    rows = load_rows(written(tmp_path, "t.csv", "\n".join(lines)))
    assert rows.dtypes == [pl.Date, pl.Datetime("us"), pl.String, pl.String]
    assert rows["day"].to_list() == [date(2024, 2, 28), None]
    assert rows["time"][1] == datetime(2024, 2, 29, 23, 59, 59, 500_000)


@pytest.mark.parametrize(
    ("texts", "first"),
    [
        (("2024/12/25", "2024/1/5"), date(2024, 12, 25)),
        (("25.12.2024", "5.1.2024"), date(2024, 12, 25)),
        (("2024-12-25 10:15", "2024-01-05T23:59"), datetime(2024, 12, 25, 10, 15)),
    ],
)
def test_dates_are_read_in_every_form_that_is_one_day_only(tmp_path, texts, first):
    rows = load_rows(written(tmp_path, "t.csv", "\n".join(["day;n", *(f"{text};1" for text in texts)])))
    assert rows["day"][0] == first
    assert rows["day"].dtype.is_temporal()


def test_dates_that_could_be_two_days_are_left_out_with_advice(tmp_path):
    lines = ["day,n", *(f"{1 + i % 12}/{1 + i // 12}/2024,{i % 3}" for i in range(250))]
    with pytest.warns(UserWarning, match="is left out: 'day'.*could be read in two ways: write 2026-04-05"):
        assert load_dataset(written(tmp_path, "t.csv", "\n".join(lines))).train.columns == ["n"]


# ---------------------------------------------------------------- arff, C4.5

ARFF = """% a comment
@RELATION 'toy set'
@attribute "the age" numeric
@ATTRIBUTE size {'very small', big}
@attribute note string
@attribute when date yyyy-MM-dd

@data
% another
1, 'very small', 'it\\'s, fine', 2020-01-01
2.5,big,?,?
?,?,plain, 2020-02-03
"""


def test_arff(tmp_path):
    rows = load_rows(written(tmp_path, "t.arff", ARFF))
    assert rows.columns == ["the age", "size", "note", "when"]
    assert rows.dtypes == [pl.Float64, pl.Enum(["very small", "big"]), pl.String, pl.Date]
    assert rows["note"].to_list() == ["it's, fine", None, "plain"]
    assert rows.row(0)[:2] == (1.0, "very small")
    assert rows.row(2)[:2] == (None, None)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("@data", "", "line 10 is \"1, 'very small'.*expected @attribute or @data"),
        ("2.5,big,?,?", "2.5,big,?", "line 11 has 3 values where 4 attributes are declared"),
        ("2.5,big", "2.5,huge", "line 11 holds 'huge', which is no declared level of 'size'"),
        ("2.5,big,?,?", "{0 2.5}", "line 11 is a sparse row"),
        ("numeric", "matrix", "line 3: the type 'matrix' of attribute 'the age' is none of"),
        ("note string", "note", "line 5 .* expected @attribute NAME TYPE"),
        ("note string", "size string", "'size' appears more than once"),
        (ARFF[ARFF.index("@data") :], "@data\n", "has a header but no rows"),
        (ARFF[ARFF.index("@data") :], "", "has no @data line"),
    ],
)
def test_bad_arff_files_get_one_clear_line(tmp_path, old, new, message):
    with pytest.raises(DataError, match=message):
        load_rows(written(tmp_path, "t.arff", ARFF.replace(old, new)))


NAMES = """| a comment: with a colon.
yes, no.   | the classes

age: continuous.
work-class: Private, State-gov.
"""


@pytest.fixture
def c45(tmp_path):
    folder = tmp_path / "toy"
    folder.mkdir()
    written(folder, "toy.names", NAMES)
    written(folder, "toy.data", "39, State-gov, yes\n?, Private, no\n20, ?, no\n41, Private, yes\n" * 5)
    written(folder, "toy.test", "|1x3 Cross validator\n50, Private, no.\n51, State-gov, yes.\n\n")
    return folder


@pytest.mark.parametrize("path", ["toy.data", "."])
def test_c45(c45, path):
    dataset = load_dataset(c45 / path)
    assert dataset.name == "toy"
    assert dataset.train.columns == ["age", "work-class", "class"]
    assert dataset.train.dtypes == [pl.Int64, pl.Enum(["Private", "State-gov"]), pl.Enum(["yes", "no"])]
    assert dataset.test.rows() == [(50, "Private", "no"), (51, "State-gov", "yes")]
    assert len(dataset.train) + len(dataset.valid) == 20
    assert "given by the source" in dataset.split
    assert load_rows(c45 / path).row(1) == (None, "Private", "no")
    assert load_rows(c45 / "toy.test").equals(dataset.test)


def test_c45_without_test_rows_or_with_other_levels(c45):
    (c45 / "toy.test").unlink()
    written(c45, "toy.data", "39, Other, yes\n20, Private, no\n" * 8)
    rows = load_rows(c45)
    assert rows.dtypes == [pl.Int64, pl.String, pl.Enum(["yes", "no"])]
    assert len(rows) == 16
    written(c45, "toy.data", "39, Other, yes\n20, Private\n")
    with pytest.raises(DataError, match="line 2 has 2 fields where its .names file has 3 columns"):
        load_rows(c45)


def test_a_description_beside_a_data_file_is_none_of_c45(tmp_path):
    written(tmp_path, "t.names", "1. Title: Toys\n\n2. Sources:\n   (a) a shop.\n")
    assert load_rows(written(tmp_path, "t.data", "1.5,a\n2.5,b\n")).rows() == [(1.5, "a"), (2.5, "b")]


def test_parquet_keeps_its_types(tmp_path):
    frame = pl.DataFrame({"a": pl.Series(range(20), dtype=pl.Int16), "b": pl.Series(["x", "y"] * 10)})
    frame.write_parquet(tmp_path / "t.parquet")
    assert load_rows(tmp_path / "t.parquet").schema == frame.schema
    assert kinds_of(load_dataset(tmp_path / "t.parquet")) == ("ordinal", "binary")


# ---------------------------------------------------------------- arrays


def test_npy_of_rows_and_of_images(tmp_path, images):
    np.save(tmp_path / "rows.npy", images.reshape(12, 30))
    np.save(tmp_path / "images.npy", images)
    assert load_dataset(tmp_path / "rows.npy").image_shape is None
    assert load_dataset(tmp_path / "images.npy").image_shape == (6, 5)
    np.testing.assert_array_equal(load_rows(tmp_path / "images.npy"), load_rows(tmp_path / "rows.npy"))
    assert load_dataset(tmp_path / "images.npy", image_size=(3, 4)).train.shape == (10, 12)


@pytest.mark.parametrize("suffix", ["", "_data"])
def test_npz_with_given_splits(tmp_path, suffix):
    parts = {"train": np.eye(4), "valid": np.eye(4)[:2], "test": np.eye(4)[:3]}
    np.savez(tmp_path / "p.npz", **{name + suffix: rows for name, rows in parts.items()}, inputsize=4)
    dataset = load_dataset(tmp_path / "p.npz")
    for name, rows in parts.items():
        np.testing.assert_array_equal(getattr(dataset, name), rows)
    assert "given by the source" in dataset.split
    assert len(load_rows(tmp_path / "p.npz")) == 9


def test_npz_with_one_table_among_labels(tmp_path, images):
    np.savez(tmp_path / "p.npz", images=images, labels=np.arange(12))
    assert load_dataset(tmp_path / "p.npz").image_shape == (6, 5)


def test_npz_with_train_and_test_gets_its_validation_rows_from_train(tmp_path):
    np.savez(tmp_path / "p.npz", train=RNG.normal(size=(50, 2)), test=RNG.normal(size=(20, 2)))
    dataset = load_dataset(tmp_path / "p.npz")
    assert (len(dataset.train), len(dataset.valid), len(dataset.test)) == (45, 5, 20)


@pytest.mark.parametrize("part", ["ts", "valid", "test"])
@pytest.mark.parametrize("packed", [True, False])
def test_the_three_files_of_a_split_set(tmp_path, part, packed):
    rows = RNG.integers(0, 2, (9, 4))
    for name, chosen in {"ts": rows, "valid": rows[:2], "test": rows[2:4]}.items():
        content = "\n".join(",".join(map(str, row)) for row in chosen).encode() + b"\n"
        path = tmp_path / f"toy.{name}.data{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(content) if packed else content)
    dataset = load_dataset(tmp_path / f"toy.{part}.data{'.gz' if packed else ''}")
    assert dataset.name == "toy"
    np.testing.assert_array_equal(dataset.train, rows)
    np.testing.assert_array_equal(dataset.test, rows[2:4])


def test_split_files_of_larger_numbers(tmp_path):
    for part in ("ts", "valid", "test"):
        (tmp_path / f"n.{part}.data").write_text("10,-2.5\n3,4\n")
    np.testing.assert_array_equal(load_dataset(tmp_path / "n.ts.data").train, [[10, -2.5], [3, 4]])


@pytest.mark.parametrize(
    "name", ["images.idx", "images.idx.gz", "train-images-idx3-ubyte.gz", "train-images-idx3-ubyte"]
)
def test_idx(tmp_path, images, name):
    content = idx_bytes(images)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    dataset = load_dataset(tmp_path / name)
    assert dataset.image_shape == (6, 5)
    np.testing.assert_array_equal(load_rows(tmp_path / name), images.reshape(12, 30))


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, max_side=5)))
def test_idx_loses_nothing(array):
    np.testing.assert_array_equal(parse_idx(idx_bytes(array), "file"), array)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_idx_cut_anywhere_is_refused(data):
    content = idx_bytes(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    cut = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(DataError):
        parse_idx(content[:cut], "file")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    hnp.arrays(
        st.sampled_from([np.float64, np.int32, np.uint8]),
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6),
        elements={"allow_nan": False},
    )
)
def test_npy_loses_nothing(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    rows = load_rows(tmp_path / "a.npy")
    assert rows.dtype == array.dtype
    np.testing.assert_array_equal(rows, array)


# ---------------------------------------------------------------- images


@pytest.fixture
def image_folder(tmp_path, images):
    folder = tmp_path / "faces"
    (folder / "more").mkdir(parents=True)
    for number, image in enumerate(images):
        name = f"{number:02}.png" if number < 8 else f"more/{number:02}.png"
        (folder / name).write_bytes(image_bytes(image))
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_a_folder_of_images(image_folder, images):
    dataset = load_dataset(image_folder)
    assert (dataset.name, dataset.image_shape, dataset.kinds) == ("faces", (6, 5), "ordinal")
    np.testing.assert_array_equal(load_rows(image_folder), images.reshape(12, 30))
    assert load_dataset(image_folder, image_size=(3, 2)).train.shape == (10, 6)


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_a_tar_of_images(image_folder, images, suffix):
    path = image_folder.parent / f"faces.{suffix}"
    with tarfile.open(path, "w:gz" if suffix.endswith("gz") else "w") as archive:
        archive.add(image_folder, "faces")
    assert load_dataset(path).name == "faces"
    np.testing.assert_array_equal(load_rows(path), images.reshape(12, 30))


def test_colours_become_grey(tmp_path):
    (tmp_path / "c").mkdir()
    colour = np.zeros((4, 4, 3), dtype=np.uint8)
    colour[..., 1] = 200
    (tmp_path / "c" / "green.png").write_bytes(image_bytes(colour))
    assert set(load_rows(tmp_path / "c").ravel()) == {117}  # 0.587 x 200


# ---------------------------------------------------------------- bad input


def written(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


PARQUET = io.BytesIO()
pl.DataFrame({"a": range(100)}).write_parquet(PARQUET)
NPZ = io.BytesIO()
np.savez(NPZ, train=np.eye(50))
OBJECTS = io.BytesIO()
np.save(OBJECTS, np.array([[{}, 1]], dtype=object), allow_pickle=True)


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "a.csv is empty"),
        ("a.npz", "", "a.npz is empty"),
        ("a.parquet", "", "a.parquet is empty"),
        ("a.idx", "", "a.idx is empty"),
        ("a.csv", "a,b\n", "has a header but no rows"),
        ("a.csv", "\n \n", "holds no line with text"),
        ("a.csv", "a,b\n1,2\n3,4,5\n", "line 3 has 3 fields where the first line has 2"),
        ("a.csv", "a,b,c\n1,2,3\n3,4\n", "line 3 has 2 fields where the first line has 3"),
        ("a.csv", b"a,b\x81\n1,2\n", "not text in UTF-8"),
        ("a.csv", "a,b\n1,2\n3,\n5,6\n4,5\n", "a.csv: column 'b' holds a missing value .* in row 2"),
        ("a.csv", "a,b\n1,2\n3,x\n5,6\n", "a.csv: column 'b' holds text among numbers: 'x' in row 2"),
        ("a.csv", "a,b\n1,0.5\n3,inf\n5,6\n4,5\n", "a.csv: column 'b' holds infinity .*in row 2"),
        ("a.csv", "a\n1\n", "a.csv: X has 1 row"),
        ("a.csv", "a\n1\n2\n3\n", "3 row.* cannot be split"),
        ("a.csv.gz", gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:-12], "truncated or damaged"),
        ("a.parquet", PARQUET.getvalue()[:-20], "truncated, damaged, or not a parquet file"),
        ("a.npz", NPZ.getvalue()[:-200], "truncated, damaged, or not an npz archive"),
        ("a.npz", b"text", "truncated, damaged, or not an npz archive|never unpickled"),
        ("a.npy", npy(np.eye(50))[:-9], "truncated, damaged, or not a numpy array"),
        ("a.npy", OBJECTS.getvalue(), "holds Python objects, which are never unpickled"),
        ("a.npy", npy(np.arange(5)), r"expected an array of rows and columns, got shape \(5,\)"),
        ("a.npy", npy(np.zeros((0, 5))), "is empty: its array has shape"),
        ("a.npy", npy(np.zeros((5, 2), complex)), "dtype complex128 cannot be used"),
        ("a.npy", npy(np.array([[1, 2], [3, np.nan]])), "a.npy: column 'x2' holds NaN in row 2"),
        ("a.idx", idx_bytes(np.eye(9, dtype=np.uint8))[:-3], "truncated or damaged: 90 bytes where 93"),
        ("a.idx", "text", "not an idx file"),
        ("labels.idx", idx_bytes(np.zeros(9, np.uint8)), r"rows and columns, got shape \(9,\)"),
        ("a.tar", b"text" * 300, "not a tar file"),
        ("a.xlsx", b"text", "a.xlsx is of an unknown format; known are csv, tsv, parquet"),
        ("README", "text", "unknown format"),
        ("toy.ts.data.gz", gzip.compress(b"0", mtime=0), "two sibling files, but .*toy.valid.data.gz"),
    ],
)  # fmt: skip
def test_bad_files_get_one_clear_line(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(written(tmp_path, name, content), missing=None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1,x\n0,1\n", "column 2 holds text"),
        ("1,0\n1\n", "damaged|fewer values"),
        ("1\n0,1\n", "damaged|fewer values"),
    ],
)
def test_bad_split_files(tmp_path, content, message):
    for part in ("ts", "valid", "test"):
        written(tmp_path, f"toy.{part}.data", content)
    with pytest.raises(DataError, match=message):
        load_dataset(tmp_path / "toy.ts.data")


def test_npz_with_several_tables_says_what_it_holds(tmp_path):
    np.savez(tmp_path / "a.npz", left=np.eye(3), right=np.eye(3))
    with pytest.raises(DataError, match="holds the arrays 'left', 'right'; expected 'train'"):
        load_dataset(tmp_path / "a.npz")


def test_bad_images(image_folder):
    (image_folder / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        load_dataset(image_folder / "empty")
    whole = (image_folder / "03.png").read_bytes()
    (image_folder / "03.png").write_bytes(image_bytes(np.zeros((9, 9), dtype=np.uint8)))
    with pytest.raises(
        DataError, match="03.png is 9 x 9 .* where the first image is 6 x 5: give an image size"
    ):
        load_dataset(image_folder)
    assert load_dataset(image_folder, image_size=(4, 4)).train.shape == (10, 16)
    (image_folder / "03.png").write_bytes(whole[:-30])
    with pytest.raises(DataError, match="03.png is truncated, damaged, or not an image"):
        load_dataset(image_folder)


def test_a_truncated_tar(image_folder):
    path = image_folder.parent / "faces.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(image_folder, "faces")
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(DataError, match="truncated, damaged, or not a tar file"):
        load_dataset(path)


def test_sizes_are_for_images_only(people):
    with pytest.raises(DataError, match=r"the rows of .*people.csv are not images"):
        load_dataset(people, image_size=(2, 2))


def test_only_grey_values_can_be_resized(tmp_path):
    np.save(tmp_path / "a.npy", RNG.normal(size=(9, 4, 4)))
    with pytest.raises(DataError, match="only images of whole values"):
        load_dataset(tmp_path / "a.npy", image_size=(2, 2))
