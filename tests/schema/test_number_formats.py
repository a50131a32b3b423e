"""Numbers that text spells: read as people write them, modelled as numbers, written back as they came."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from chainrule import MADE, Independent, OrderlessNADE, load
from chainrule.errors import DataError, StorageError
from chainrule.schema import Schema
from chainrule.schema.number_formats import NumberFormat, is_written_number
from chainrule.storage import as_described

READ = "is text that spells numbers"


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["$1,234.50", "-$3.00", "$0.25"], [1234.5, -3, 0.25]),
        (["$1,234.50", "($3.00)", "$12.00"], [1234.5, -3, 12]),
        (["$-3.5", "$1234567.5"], [-3.5, 1234567.5]),
        (["€ 12", "€ 1.234", "€ 1.234.567"], [12, 1234, 1234567]),
        (["1.234,50 €", "-3,00 €"], [1234.5, -3]),
        (["1\u202f234,5", "2,0"], [1234.5, 2]),
        (["CHF 1'234.50", "CHF 2.00"], [1234.5, 2]),
        (["US$5", "US$1,000"], [5, 1000]),
        (["1,234", "12", "-7"], [1234, 12, -7]),
        (["0,5", "1,25", "1234,125"], [0.5, 1.25, 1234.125]),
        (["0,123", "1,234"], [0.123, 1.234]),
        (["1.234", "2.500"], [1.234, 2.5]),
        (["15%", "7.5%", "-100%"], [15, 7.5, -100]),
        (["+1.5 %", "-0.3 %"], [1.5, -0.3]),
        (["1", "2", "-3"], [1, 2, -3]),
    ],
)  # fmt: skip
def test_what_is_read_is_what_was_meant(texts, numbers):
    found = NumberFormat.of_texts(texts)
    assert [found.read(text) for text in texts] == numbers
    again = [found.write(number) for number in numbers]
    assert [found.read(text) for text in again] == numbers
    if found.fixed and "$1234567.5" not in texts:
        assert again == texts
    assert as_described(json.loads(json.dumps(found.to_dict())), NumberFormat, "a format") == found


@pytest.mark.parametrize(
    "texts",
    [
        [], ["yes", "no"], ["A1"], ["007", "12"], ["(1)", "(2)"], ["$5", "7 kg"], ["$5", "€5"],
        ["5%", "$5"], ["1,23,4"], ["12.5.2024"], ["1/2"], ["2024-03-01"], ["1e5"], ["nan"], ["-+5"],
        ["$"], [""], ["٣"], ["1,234", "1.234,5", "1,234.5"], ["5" * 50], ["(5", "6"], ["-(5)", "6"],
    ],
)  # fmt: skip
def test_other_text_is_none(texts):
    assert NumberFormat.of_texts(texts) is None


def test_numbers_survive_any_format():
    rng = np.random.default_rng(0)
    for _ in range(300):
        thousands, point = [("", "."), (",", "."), (".", ","), (" ", ","), ("'", ".")][rng.integers(5)]
        written = NumberFormat(
            prefix=str(rng.choice(["", "$", "€ ", "USD "])),
            suffix=str(rng.choice(["", "%", " kr"])),
            thousands=thousands,
            point=point,
            decimals=int(rng.integers(0, 3)),  # three may be thousands
            fixed=bool(rng.integers(2)),
            negative=["-$1", "$-1", "($1)"][rng.integers(3)],
            plus=bool(rng.integers(2)),
        )
        numbers = np.round(rng.normal(0, 10.0 ** rng.integers(0, 8), 30), written.decimals)
        texts = written.write_all(numbers).tolist()
        np.testing.assert_array_equal([written.read(text) for text in texts], numbers)
        if not np.all(numbers <= 0):  # all in parentheses are labels
            np.testing.assert_array_equal(
                [NumberFormat.of_texts(texts).read(text) for text in texts], numbers
            )


def test_a_written_number_is_told_from_a_name():
    assert all(map(is_written_number, ["5", "-$1,234.50", "15 %", "1.234,5"]))
    assert not any(map(is_written_number, ["price", "$", "A4", "", "4 items"]))


# ---------------------------------------------------------------- tables


def prices(n: int = 300) -> dict[str, list]:
    rng = np.random.default_rng(1)
    price = np.round(rng.gamma(2.0, 900.0, n), 2)
    return {
        "price": [f"${value:,.2f}" for value in price],
        "rate": [f"{value}%" for value in rng.choice([5, 10, 15], n)],
        "sold": [f"{value:,}" for value in rng.integers(0, 3000, n)],
        "open": rng.choice(["yes", "no"], n).tolist(),
    }


FRAMES = {
    "polars": lambda columns: pl.DataFrame(columns),
    "pandas": lambda columns: pd.DataFrame(columns),
    "pandas objects": lambda columns: pd.DataFrame(columns).astype(object),
    "pyarrow": lambda columns: pa.table(columns),
    "objects": lambda columns: np.array(list(columns.values()), dtype=object).T,
    "text": lambda columns: np.array(list(columns.values())).T,
}


@pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES)
def test_text_becomes_numbers_and_text_again(make):
    columns = prices()
    with pytest.warns(UserWarning, match=READ):
        schema = Schema.infer(make(columns))
    assert schema.kinds == ("continuous", "categorical", "ordinal", "binary")
    stored = Schema.from_dict(json.loads(json.dumps(schema.to_dict())))
    assert stored.variables == schema.variables
    back = stored.decode(stored.encode(make(columns)), make(columns))
    assert type(back) is type(make(columns))
    assert np.array_equal(np.asarray(pl_rows(back)), np.asarray(list(columns.values())).T)
    drawn = schema.decode(schema.encode(make(columns)) * 0)
    assert all(re.fullmatch(r"\$[\d,]+\.\d\d", text) for text in np.asarray(pl_rows(drawn))[:, 0])


def pl_rows(rows):
    if isinstance(rows, np.ndarray):
        return rows.tolist()
    return rows.rows() if isinstance(rows, pl.DataFrame) else pl.DataFrame(rows).rows()


def test_numbers_do_in_place_of_the_text():
    columns = prices()
    frame = pl.DataFrame(columns)
    schema = Schema.infer(frame)
    numbers = frame.with_columns(
        pl.col("price").str.replace_all(r"[$,]", "").cast(pl.Float64),
        pl.col("rate").str.replace("%", "").cast(pl.Int64),
        pl.col("sold").str.replace(",", "").cast(pl.Int64),
    )
    np.testing.assert_array_equal(schema.encode(numbers), schema.encode(frame))
    first = numbers.row(0, named=True)
    assert schema.encode_values(frame.row(0, named=True)) == schema.encode_values(first)
    assert schema.encode_values({"price": "5"}) == schema.encode_values({"price": "$5.00"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"price": "€5"}, "'price' holds '€5' in row 2, which is no number written like"),
        ({"price": "free"}, "'price' holds 'free' in row 2"),
        ({"rate": "7%"}, "'rate' holds 7 in row 2: an unseen level"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    frame = pl.DataFrame(prices())
    schema = Schema.infer(frame)
    bad = frame.head(2).with_columns(
        pl.Series(name, [frame[name][0], value]) for name, value in change.items()
    )
    with pytest.raises(DataError, match=re.escape(message)):
        schema.encode(bad)


def test_missing_amounts_are_filled_in_as_amounts():
    frame = pl.DataFrame(prices()).with_columns(
        pl.when(pl.int_range(pl.len()) % 7 == 0).then(None).otherwise(pl.col("price")).alias("price")
    )
    model = OrderlessNADE((8,), max_epochs=2, random_state=0).fit(frame)
    filled = model.impute(frame, random_state=0)
    known = frame["price"].is_not_null()
    assert filled.filter(known).equals(frame.filter(known))
    assert filled.filter(~known)["price"].str.contains(r"^-?\$[\d,]+\.\d\d$").all()


def test_a_saved_model_answers_in_text_and_numbers(tmp_path):
    frame = pl.DataFrame(prices())
    MADE((8,), max_epochs=2, random_state=0).fit(frame).save(tmp_path)
    model = load(tmp_path)
    drawn = model.sample(20, given={"price": "$1,000"}, random_state=0)
    assert drawn.equals(model.sample(20, given={"price": 1000.0}, random_state=0))
    assert set(drawn["price"]) == {"$1,000.00"}
    asked = [model.probability(f"price > {bound}", random_state=0) for bound in ("1000", "'$1,000'")]
    assert asked[0].value == asked[1].value


def test_a_damaged_format_is_refused():
    metadata = Schema.infer(pl.DataFrame(prices())).to_dict()
    for damage in ({"decimals": 10**9}, {"negative": "x"}, {"prefix": 5}, {"unknown": 1}):
        broken = json.loads(json.dumps(metadata))
        broken["variables"][0]["number_format"] |= damage
        with pytest.raises(StorageError):
            Schema.from_dict(broken)


def test_a_declared_kind_decides():
    frame = pl.DataFrame(prices())
    kept = Schema.infer(frame, {"price": "categorical", "sold": "continuous"})
    assert kept.variables[0].levels[0].startswith("$") and kept.kinds[2] == "continuous"
    independent = Independent(kinds={"sold": "ordinal"}).fit(frame)
    assert independent.sample(5, random_state=0)["sold"].str.contains(r"^[\d,]+$").all()
