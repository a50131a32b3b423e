"""What is decompressed equals what was compressed: any kind of column, container and network."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from chainrule import MADE, NADE, Ensemble, OrderlessNADE
from chainrule.compression import compress, decompress

N = 300
FITS = {
    "made": lambda: MADE((16,), max_epochs=1, random_state=0),
    "nade": lambda: NADE(8, max_epochs=1, random_state=0),
    "columns": lambda: OrderlessNADE((16,), max_epochs=1, random_state=0),
    "ensemble": lambda: Ensemble(MADE((8,), max_epochs=1), n_members=2, random_state=0),
}


def table(seed: int, n: int = N) -> pl.DataFrame:
    """Return rows of every kind of column, which depend on each other."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 3, n)
    income = np.where(rng.random(n) < 0.4, 0.0, np.round(rng.gamma(2.0, 900.0, n), 2))
    days = rng.integers(0, 4000, n)
    seconds = rng.integers(0, 10**8, n)
    return pl.DataFrame(
        {
            "member": group > 0,
            "city": [["Oslo", "Bergen", "Tromsø"][g] for g in group],
            "constant": ["same"] * n,
            "few": rng.integers(0, 4, n) + group,
            "age": 20 + group * 5 + rng.integers(0, 50, n),
            "wide": rng.integers(0, 900_000, n) // (1 + group),
            "visits": rng.poisson(3 * (1 + group), n),
            "income": income,
            "height": np.round(rng.normal(170 + 3 * group, 9, n), 1),
            "id": rng.integers(-(2**62), 2**62, n),
            "born": [dt.date(1990, 1, 1) + dt.timedelta(days=int(d)) for d in days],
            "seen": [dt.datetime(2020, 1, 1) + dt.timedelta(seconds=int(s)) for s in seconds],
            "paid": [f"${amount:,.2f}" for amount in income],
        },
        schema_overrides={"height": pl.Float32},
    )


KINDS = {"visits": "count"}


def fitted(name: str, rows, **parameters):
    model = FITS[name]()
    return model.set_params(kinds={k: v for k, v in KINDS.items() if k in rows.columns}, **parameters).fit(
        rows
    )


@pytest.mark.parametrize("name", FITS)
@pytest.mark.filterwarnings("ignore")
def test_rows_of_every_kind_come_back(name):
    rows = table(0)
    rows = rows.drop("id")
    model = fitted(name, rows)
    for given in (rows, table(1).drop("id"), rows.head(1)):
        back = decompress(model, compress(model, given))
        assert back.equals(given) and back.schema == given.schema
