"""Text files as other programs write them: encodings, line ends, headers, separators too many."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from chainrule.cli import run
from chainrule.datasets import load_dataset
from chainrule.datasets.dialects import HEAD
from chainrule.datasets.files import read_path
from chainrule.datasets.tables import scan_text
from chainrule.errors import DataError

ROWS = "".join(f"{i},{i % 7}.5,{'ab'[i % 2]}\n" for i in range(30))
PLAIN = f"a,b,c\n{ROWS}"


def read(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_path(path)


@pytest.fixture
def expected(tmp_path):
    return read(tmp_path / "plain.csv", PLAIN).train


@pytest.mark.parametrize(
    "content",
    [
        f" a , b ,c\n{ROWS}",
        b"\xef\xbb\xbf" + PLAIN.encode(),
        PLAIN.encode("utf-16"),
        b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        f"\n  \n{PLAIN}",
        f"a,b,c\n\n{ROWS}\n\n",
        PLAIN.replace("\n", ",\n"),
        PLAIN.replace("\n", ",,\n"),
        f"a,b,c\n{ROWS}".replace("\n", ",\n").replace("a,b,c,", "a,b,c"),
        *(PLAIN.replace(",", separator) for separator in ";\t|"),
    ],
)
def test_it_is_read_as_it_was_meant(content, expected, tmp_path):
    found = read(tmp_path / "it.csv", content)
    assert found.train.equals(expected) and not found.notes


def test_names_that_come_again_get_a_number(tmp_path):
    found = read(tmp_path / "it.csv", f"a,a,a_2\n{ROWS}")
    assert found.train.columns == ["a", "a_2", "a_2_2"]
    assert found.notes == ("columns whose names come again get a number: 'a_2' and 'a_2_2'",) or (
        "'a_2', 'a_2_2'" in found.notes[0]
    )


def test_many_equal_names_are_told_apart_quickly(tmp_path):
    names = ",".join(["x"] * 20_000)
    found = read(tmp_path / "it.csv", f"{names}\n{names}\n{names.replace('x', 'y')}\n")
    assert len(set(found.train.columns)) == 20_000


def test_other_encodings_are_read_and_said(tmp_path):
    found = read(tmp_path / "it.csv", "größe,ort\n1,Zürich\n2,Graz\n".encode("cp1252"))
    assert found.train.rows() == [(1, "Zürich"), (2, "Graz")] and found.train.columns[0] == "größe"
    assert found.notes == ("it.csv is not text in UTF-8: it is read as Windows-1252",)
    with pytest.raises(DataError, match="not text in UTF-8"):
        read(tmp_path / "it.csv", b"a,b\n\x00\xff\n")


def test_blank_cells_are_missing(tmp_path):
    found = read(tmp_path / "it.csv", "a,b\n1, \n2,x\n3,N/A\n")
    assert found.train["b"].to_list() == [None, "x", None]


def test_cells_may_hold_line_ends(tmp_path):
    found = read(tmp_path / "it.csv", f'"a\nb",b,c\n{ROWS}\n5,5.5,"x\n\ny"\n')
    assert found.train.columns[0] == "a\nb" and found.train["c"][-1] == "x\n\ny" and found.train.height == 31


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f"{PLAIN}5,5.5\n", "line 32 has 2 fields where the first line has 3"),
        (f"{PLAIN}5,5.5,a,7\n", "line 32 has 4 fields where the first line has 3"),
        (PLAIN.replace("a,b,c", "a,b"), "line 2 has 3 fields where the first line has 2"),
        (f"{PLAIN}5,5.5,{'x' * 200_000}\n6\n", "field larger than field limit"),
    ],
)
def test_ragged_lines_are_named(content, said, tmp_path):
    with pytest.raises(DataError, match=said):
        read(tmp_path / "it.csv", content)


def test_large_files_are_scanned_as_they_are_read(tmp_path, expected):
    path = tmp_path / "it.csv"
    for content in (PLAIN, f" a ,b,c\n{ROWS}", f"a,b,c\n{ROWS * (HEAD // 100)}"):
        read(path, content)
        assert scan_text(path).collect().head(30).equals(expected)
    for content in (PLAIN.encode("utf-16"), PLAIN.replace("a,b", "ä,b").encode("cp1252")):
        read(path, content)
        assert scan_text(path) is None


def test_a_table_as_people_have_them_is_compared_with_warnings(tmp_path, capsys, monkeypatch):
    """The columns that a comparison used to refuse, beside plain ones."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    n = 240
    price = np.round(rng.gamma(2.0, 700.0, n), 2)
    frame = pl.DataFrame(
        {
            "price": [f"${value:,.2f}" for value in price],
            "rate": [f"{value}%" for value in rng.choice([5, 15, 20], n)],
            "paid": rng.choice(["yes", "no"], n),
            "notes": pl.Series([None] * n, dtype=pl.String),
            "country": ["NO"] * n,
            "age": rng.integers(18, 90, n),
        }
    )
    frame.write_csv("it.csv")
    assert run(["compare", "it.csv", "--max-epochs", "3", "--out", "run"]) == 0
    said = capsys.readouterr().err
    assert "without any value: column 'notes'" in said and "made: " in said.lower()
    assert all(f"column {name!r} is text that spells numbers" in said for name in ("price", "rate"))
    model = "run/models/orderless-nade"
    assert run(["sample", model, "-n", "30", "--seed", "1", "--out", "drawn.csv"]) == 0
    drawn = pl.read_csv("drawn.csv", infer_schema=False)
    assert drawn["price"].str.contains(r"^-?\$[\d,]+\.\d\d$").all()
    assert set(drawn["rate"]) <= set(frame["rate"]) and set(drawn["paid"]) <= {"yes", "no"}
    assert drawn["notes"].null_count() == 30 and set(drawn["country"]) == {"NO"}
    assert run(["score", model, "drawn.csv", "--split", "all"]) == 0
    assert load_dataset("it.csv").has_missing is False
