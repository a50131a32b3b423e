"""Tables of every dtype, with whatever people have in them: a fit works, or says which column is why."""

from __future__ import annotations

import datetime as dt
import math
import re
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chainrule import MADE, NADE, Independent, Mixture, OrderlessNADE
from chainrule.cli import run
from chainrule.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

TINY = {"max_epochs": 1, "batch_size": 16, "random_state": 0}
QUICK = [Independent(), Mixture(n_components=2, random_state=0)]
NETWORKS = [
    NADE(hidden_size=4, n_components=2, **TINY),
    MADE(hidden_sizes=(4,), n_components=2, **TINY),
    OrderlessNADE(hidden_sizes=(4,), n_components=2, **TINY),
]
# What a message may say of a table as a whole.
WHOLE = r"X has 1 row|X has \d+ sample|at least \d+ rows|cannot be split|nothing to learn from"

FLOATS = st.one_of(
    st.floats(-10, 10, width=32),
    st.sampled_from(
        [0.0, -0.0, 1e-308, 5e-324, 1e308, -1.7e308, 1e16, 1 + 2**-52, math.inf, -math.inf, math.nan]
    ),
)
INTEGERS = st.one_of(
    st.integers(-3, 3), st.sampled_from([2**53 + 1, -(2**63), 2**63 - 1, 10**6, 2**20, 2**24 + 1])
)
TEXT = st.one_of(
    st.text(max_size=3), st.sampled_from(["", " ", "?", "NA", "nan", "1", "1e5", "é\u0301", "\x00", "a\nb"])
)
DATES = st.dates(dt.date(1900, 1, 1), dt.date(2200, 1, 1))
TIMES = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1))
# What the cells of a column are drawn from, and the dtype it then has in pandas and in polars.
COLUMNS = {
    "reals": (FLOATS, "float64", pl.Float64),
    "single": (st.floats(width=32), "float32", pl.Float32),
    "whole floats": (st.integers(-5, 5).map(float), "float64", pl.Float64),
    "integers": (INTEGERS, "Int64", pl.Int64),
    "bytes": (st.integers(0, 255), "UInt8", pl.UInt8),
    "truth": (st.booleans(), "boolean", pl.Boolean),
    "text": (TEXT, "object", pl.String),
    "numbers as text": (st.integers(0, 5).map(str), "object", pl.String),
    "category": (st.sampled_from(["x", "y", "z"]), "category", pl.Categorical),
    "dates": (DATES, "object", pl.Date),
    "times": (TIMES, "datetime64[ns]", pl.Datetime("us")),
    "one level": (st.just("same"), "object", pl.String),
    "nothing": (st.none(), "object", pl.Null),
    "mixed": (st.one_of(TEXT, INTEGERS, st.booleans()), "object", pl.Object),
}


@st.composite
def frames(draw):
    """A table of one to four columns, of one to forty rows, with cells missing or not."""
    library = draw(st.sampled_from(["pandas", "polars", "pyarrow"]))
    n_rows = draw(st.sampled_from([1, 2, 3, 7, 40]))
    has_holes = draw(st.booleans())
    columns = {}
    for number in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(sorted(COLUMNS)))
        cells, in_pandas, in_polars = COLUMNS[kind]
        # few values, repeated, as drawing each of many cells takes long
        values = draw(st.lists(cells, min_size=1, max_size=7))
        values = [values[row % len(values)] for row in range(n_rows)]
        if has_holes:
            values[draw(st.integers(0, n_rows - 1))] = None
        name = draw(st.sampled_from(["", " ", "é", "x" * 300, "a,b", "class", "\x01"])) + str(number)
        columns[name] = (values, in_pandas, in_polars)
    return _built(library, columns)


def _built(library, columns):
    if library == "pandas":
        return pd.DataFrame({name: pd.Series(v, dtype=dtype) for name, (v, dtype, _) in columns.items()})
    frame = pl.DataFrame(
        [pl.Series(name, values, dtype=dtype, strict=False) for name, (values, _, dtype) in columns.items()]
    )
    if library == "pyarrow" and pl.Object not in frame.dtypes:
        return frame.to_arrow()
    return frame


def check(model, frame):
    """Fit, score and sample; what goes wrong must be said with the name of a column, or of the whole."""
    names = frame.column_names if isinstance(frame, pa.Table) else list(frame.columns)
    try:
        model.fit(frame)
    except DataError as error:
        message = str(error)
        assert "\n" not in message or any("\n" in name for name in names)
        assert re.search(WHOLE, message) or any(repr(name) in message for name in names), message
        return
    scores = model.score_samples(frame)
    assert np.isfinite(scores).all()
    drawn = model.sample(3, random_state=0)
    assert type(drawn) is type(frame)
    assert list(drawn.column_names if isinstance(drawn, pa.Table) else drawn.columns) == names
    assert np.isfinite(model.score_samples(drawn)).all()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(frames(), st.sampled_from(QUICK))
def test_baselines_fit_or_say_why_not(frame, model):
    check(model, frame)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(frames(), st.sampled_from(NETWORKS))
def test_networks_fit_or_say_why_not(frame, model):
    check(model, frame)


@pytest.mark.parametrize("model", [QUICK[0], NETWORKS[1]])
def test_500_columns_of_all_kinds(model):
    rng = np.random.default_rng(0)
    makers = [
        lambda: rng.normal(size=30),
        lambda: np.where(rng.random(30) < 0.5, 0.0, rng.normal(size=30)),
        lambda: rng.integers(0, 10**6, 30),
        lambda: rng.integers(0, 3, 30),
        lambda: rng.choice(["a", "b", "c"], 30),
        lambda: rng.random(30) < 0.5,
        lambda: np.full(30, 7),
        lambda: rng.normal(size=30) * 1e300,
        lambda: rng.normal(size=30) * 1e-300,
    ]
    check(model, pd.DataFrame({f"c{number}": makers[number % len(makers)]() for number in range(500)}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, math.inf, 2.0], "'bad' holds infinity .*in row 2"),
        ([1e308, -1e308, 1e308, 0.5], "'bad' cannot be standardised"),
        ([0.0, 5e-324, 1e-323], "'bad' cannot be standardised"),
        (["1", "2", "x", "4"], "'bad' holds text among numbers: 'x' in row 3"),
        ([1, "x", 2, 3], "'bad' holds text among numbers: 'x' in row 2"),
        ([dt.time(10), dt.time(11), dt.time(12)], "'bad' holds"),
        ([[1], [2], [3]], "'bad' holds values of type list"),
        ([1 + 2j, 3j, 4j], "'bad'"),
    ],
)
def test_the_column_and_the_reason_are_named(values, message):
    frame = pd.DataFrame({"good": range(len(values)), "bad": pd.Series(values, dtype=object)})
    with pytest.raises(DataError, match=message):
        Independent().fit(frame)


# ---------------------------------------------------------------- the command

CELLS = st.one_of(
    st.sampled_from(
        [
            "",
            "?",
            "NA",
            "inf",
            "-inf",
            "nan",
            "1e400",
            "-0",
            "007",
            "1,5",
            '"',
            "'",
            "é",
            " ",
            "x\ty",
            "2024-02-30",
        ]
    ),
    st.integers(-9, 9).map(str),
    st.floats(-1, 1).map(str),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=4),
)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    cells=st.lists(st.lists(CELLS, min_size=1, max_size=5), min_size=1, max_size=9),
    joined=st.booleans(),
    suffix=st.sampled_from(["csv", "tsv", "arff", "data"]),
)
def test_no_text_file_brings_the_command_down(cells, joined, suffix, tmp_path_factory, capsys):
    """Lines of cells, perhaps as a table of equal width, perhaps not; each several times."""
    width = len(cells[0])
    rows = [(row * width)[:width] for row in cells] if joined else cells
    folder = tmp_path_factory.mktemp("hostile")
    path = folder / f"t.{suffix}"
    separator = "\t" if suffix == "tsv" else ","
    text = "\n".join([separator.join(rows[0]), *(separator.join(row) for row in rows[1:] * 8)])
    path.write_bytes(
        (f"@relation t\n@attribute a numeric\n@data\n{text}" if suffix == "arff" else text).encode()
    )
    with warnings.catch_warnings():
        code = run(["fit", str(path), "--model", "independent", "--out", str(folder / "model")])
    said = capsys.readouterr().err
    assert code in (0, 2), said
    assert "Traceback" not in said
    assert "internal error" not in said
    if code == 2:
        assert said.splitlines()[-1].startswith("error: ")
