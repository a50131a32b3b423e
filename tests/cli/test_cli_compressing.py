"""`chainrule compress` and `chainrule decompress`: files in, files out, and one line for what cannot be."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from chainrule.cli import run
from chainrule.compression import Compressor

KEYS = [
    *("n_rows", "n_bytes", "bits_per_row", "nll_bits_per_row", "over_nll", "input_bytes", "ratio"),
    *("model_bytes", "seconds", "path"),
]


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Return the folder of a table with missing cells, and of a model of it."""
    folder = tmp_path_factory.mktemp("people")
    rng = np.random.default_rng(0)
    rows = pl.DataFrame(
        {
            "age": rng.integers(18, 90, 400),
            "city": rng.choice(["Oslo", "Bergen", "NA"], 400),
            "weight": rng.normal(75, 12, 400).round(1),
            "born": pl.Series(rng.integers(0, 9000, 400)).cast(pl.Int32).cast(pl.Date),
        }
    )
    rows.write_csv(folder / "people.csv")
    fit = ["fit", str(folder / "people.csv"), "--model", "orderless-nade", "--hidden-sizes", "8"]
    assert run([*fit, "--max-epochs", "1", "--out", str(folder / "model")]) == 0
    return folder


@pytest.fixture
def compressed(people, tmp_path, capsys):
    out = tmp_path / "people.crz"
    assert run(["compress", str(people / "model"), str(people / "people.csv"), "--out", str(out)]) == 0
    capsys.readouterr()
    return out


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_table_comes_back(people, compressed, tmp_path, suffix):
    back = tmp_path / f"back{suffix}"
    assert run(["decompress", str(people / "model"), str(compressed), "--out", str(back)]) == 0
    read = {
        ".csv": pl.read_csv,
        ".tsv": lambda path: pl.read_csv(path, separator="\t"),
        ".parquet": lambda path: pl.read_parquet(path).with_columns(pl.col("born").cast(pl.String)),
    }
    given = pl.read_csv(people / "people.csv", null_values=["NA"])
    assert read[suffix](back).equals(given)


def test_an_array_comes_back_bit_by_bit(tmp_path, capsys):
    bits = (np.random.default_rng(0).random((300, 9)) < 0.2).astype(np.uint8)
    np.save(tmp_path / "bits.npy", bits)
    model, out, back = (str(tmp_path / name) for name in ("model", "bits.crz", "back.npy"))
    fit = ["fit", str(tmp_path / "bits.npy"), "--model", "made", "--hidden-sizes", "8", "--max-epochs", "5"]
    assert run([*fit, "--out", model]) == 0
    assert run(["compress", model, str(tmp_path / "bits.npy"), "--out", out]) == 0
    assert run(["decompress", model, out, "--out", back]) == 0
    assert (tmp_path / "back.npy").read_bytes() == (tmp_path / "bits.npy").read_bytes()


def test_the_figures_are_those_of_the_file(people, compressed, tmp_path, capsys):
    arguments = ["compress", str(people / "model"), str(people / "people.csv")]
    assert run([*arguments, "--out", str(tmp_path / "again.crz"), "--json", "-"]) == 0
    captured = capsys.readouterr()
    figures = json.loads(captured.out)
    assert list(figures) == KEYS and "400 rows" in captured.err
    assert figures["n_bytes"] == len(compressed.read_bytes()) == len((tmp_path / "again.crz").read_bytes())
    assert figures["bits_per_row"] == 8 * figures["n_bytes"] / 400
    assert figures["over_nll"] == pytest.approx(figures["bits_per_row"] / figures["nll_bits_per_row"] - 1)
    assert figures["ratio"] == figures["n_bytes"] / (people / "people.csv").stat().st_size


def test_rows_go_to_standard_output_without_a_file(people, compressed, capsys):
    assert run(["decompress", str(people / "model"), str(compressed)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "age,city,weight,born"


def test_a_compression_that_is_broken_off_leaves_nothing(people, tmp_path, monkeypatch, capsys):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Compressor, "finish", interrupted)
    out = tmp_path / "people.crz"
    assert run(["compress", str(people / "model"), str(people / "people.csv"), "--out", str(out)]) == 130
    assert list(tmp_path.iterdir()) == []


def test_altered_files_leave_nothing(people, compressed, tmp_path, capsys):
    data = bytearray(compressed.read_bytes())
    data[-20] ^= 1
    compressed.write_bytes(bytes(data))
    back = tmp_path / "back.csv"
    assert run(["decompress", str(people / "model"), str(compressed), "--out", str(back)]) == 2
    assert "altered" in capsys.readouterr().err and not back.exists()


@pytest.mark.parametrize(
    "options, line",
    [
        (["--resolution", "weight"], "expected COLUMN=STEP"),
        (["--resolution", "weight=0"], "above 0"),
        (["--resolution", "city=1"], "needs no resolution"),
        (["--resolution", "height=1"], "there is no column 'height'"),
        (["--resolution", "weight=1", "--resolution", "weight=2"], "given twice"),
    ],
)
def test_resolutions_that_are_none_get_one_line(people, tmp_path, capsys, options, line):
    out = tmp_path / "out.crz"
    arguments = ["compress", str(people / "model"), str(people / "people.csv"), "--out", str(out)]
    assert run([*arguments, *options]) == 2
    error = capsys.readouterr().err
    assert line in error and error.count("\n") == 1 and not out.exists()


def test_columns_that_the_model_lacks_are_not_lost(people, tmp_path, capsys):
    more = pl.read_csv(people / "people.csv").with_columns(pl.lit(1).alias("more"))
    more.write_csv(tmp_path / "more.csv")
    arguments = ["compress", str(people / "model"), str(tmp_path / "more.csv")]
    assert run([*arguments, "--out", str(tmp_path / "out.crz")]) == 2
    assert "'more'" in capsys.readouterr().err


def test_a_resolution_is_kept_to(people, tmp_path):
    out, back = tmp_path / "out.crz", tmp_path / "back.csv"
    arguments = ["compress", str(people / "model"), str(people / "people.csv"), "--out", str(out)]
    assert run([*arguments, "--resolution", "weight=5"]) == 0
    assert run(["decompress", str(people / "model"), str(out), "--out", str(back)]) == 0
    weights = pl.read_csv(people / "people.csv")["weight"].to_numpy()
    assert (pl.read_csv(back)["weight"].to_numpy() == np.rint(weights / 5) * 5).all()
