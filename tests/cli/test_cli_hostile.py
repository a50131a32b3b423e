"""Names and levels that steer terminals, run as formulas or as HTML, or are endless."""

from __future__ import annotations

import csv

import numpy as np
import polars as pl
import pytest

from chainrule.cli import run
from chainrule.cli.output import for_spreadsheets, printable, write_rows

ESCAPE = "\x1b[31mred\x1b]0;it\x07\u202e"
FORMULA = "=cmd()|' /C calc'!A0"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of a table with such names and levels, and the table."""
    folder = tmp_path_factory.mktemp("hostile")
    rng = np.random.default_rng(0)
    columns = {
        "<script>alert(1)</script>": rng.choice(["<img src=x onerror=alert(1)>", "ok"], 120),
        ESCAPE: rng.choice([ESCAPE, "plain"], 120),
        "x" * 100_000: rng.choice(["y" * 50_000, "z"], 120),
        "=1+1": rng.choice([FORMULA, "@x", "-5", "+A1"], 120),
        "a\nb": rng.normal(size=120),
    }
    with (folder / "it.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    report = folder / "run"
    assert run(["compare", str(folder / "it.csv"), "--models", "independent", "--out", str(report)]) == 0
    return folder


def test_terminals_get_no_control_characters(model, capsys):
    saved, rows = str(model / "run" / "models" / "independent"), str(model / "it.csv")
    for arguments in (
        ["fit", rows, "--model", "independent", "--out", str(model / "m")],
        ["score", saved, rows, "--top", "2"],
        ["score", saved, rows, "--given", ESCAPE, "--of", "none"],
        ["sample", saved, "--given", f"{ESCAPE}=none"],
        ["fit", f"{ESCAPE}.csv", "--model", "independent", "--out", str(model / "m")],
    ):
        run(arguments)
        said = "".join(capsys.readouterr())
        assert said and "\x1b" not in said and "\x07" not in said and "\u202e" not in said
        assert all(len(line) < 5000 for line in said.splitlines())


def test_what_steers_a_terminal_is_shown():
    assert printable(ESCAPE) == "␛[31mred␛]0;it␇\ufffd"
    assert printable("grün\t–\n") == "grün\t–\n"


def test_pages_have_names_as_text(model):
    page = (model / "run" / "report.html").read_text()
    assert "<script>alert(1)" not in page and "<img src=x" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_formulas_are_quoted_where_it_is_asked_for(model, tmp_path):
    saved = str(model / "run" / "models" / "independent")
    for safe in ([], ["--spreadsheet-safe"]):
        out = tmp_path / f"{len(safe)}.csv"
        assert run(["sample", saved, "-n", "60", "--seed", "0", "--out", str(out), *safe]) == 0
    plain, safe = (pl.read_csv(tmp_path / f"{k}.csv", infer_schema=False) for k in (0, 1))
    assert plain.columns[3] == "=1+1" and safe.columns[3] == "'=1+1"
    assert set(plain[:, 3]) == {FORMULA, "@x", "-5", "+A1"}
    assert set(safe[:, 3]) == {f"'{FORMULA}", "'@x", "-5", "'+A1"}
    assert plain[:, 4].equals(safe[:, 4])


def test_numbers_and_other_formats_are_never_quoted(tmp_path):
    frame = pl.DataFrame({"a": ["-$3.00", "=x"], "b": [-1.5, None], "c": ["x", None]})
    write_rows(for_spreadsheets(frame, tmp_path / "it.tsv"), tmp_path / "it.tsv")
    assert (tmp_path / "it.tsv").read_text() == "a\tb\tc\n-$3.00\t-1.5\tx\n'=x\t\t\n"
    assert for_spreadsheets(frame, tmp_path / "it.parquet") is frame
