"""Rows of every kind of column, and small models of them."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl

from chainrule import MADE, NADE, Ensemble, OrderlessNADE

__all__ = ["MODELS", "fitted", "table", "with_holes"]

MODELS = {
    "made": lambda: MADE((16,), n_orderings=2, max_epochs=1, random_state=0),
    "nade": lambda: NADE(8, max_epochs=1, random_state=0),
    "columns": lambda: OrderlessNADE((16,), max_epochs=1, random_state=0),
    "shared": lambda: OrderlessNADE((16,), network="shared", max_epochs=1, random_state=0),
    "ensemble": lambda: Ensemble(MADE((8,), max_epochs=1), n_members=2, random_state=0),
}


def table(seed: int, n: int = 300) -> pl.DataFrame:
    """Return rows whose columns depend on each other."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 3, n)
    income = np.where(rng.random(n) < 0.4, 0.0, np.round(rng.gamma(2.0, 900.0, n), 2))
    days, seconds = rng.integers(0, 4000, n), rng.integers(0, 10**8, n)
    return pl.DataFrame(
        {
            "member": group > 0,
            "city": [["Oslo", "Bergen", "Tromsø"][g] for g in group],
            "constant": ["same"] * n,
            "few": rng.integers(0, 4, n) + group,
            "age": 20 + group * 5 + rng.integers(0, 200, n),
            "hour": (8 * group + rng.integers(0, 8, n)) % 24,
            "wide": rng.integers(0, 900_000, n) // (1 + group),
            "visits": rng.poisson(3 * (1 + group), n),
            "income": income,
            "height": np.round(rng.normal(170 + 3 * group, 9, n), 1),
            "id": rng.integers(-(2**60), 2**60, n),
            "born": [dt.date(1990, 1, 1) + dt.timedelta(days=int(d)) for d in days],
            "seen": [dt.datetime(2020, 1, 1) + dt.timedelta(seconds=int(s)) for s in seconds],
            "paid": [f"${amount:,.2f}" for amount in income],
        },
        schema_overrides={"height": pl.Float32},
    )


def with_holes(rows: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Return rows of which some cells are missing, those of two columns often together."""
    rng = np.random.default_rng(seed)
    holes = rng.random((len(rows), rows.width)) < 0.15
    holes[:, 1] |= holes[:, 3]
    return rows.with_columns(
        pl.when(pl.Series(~holes[:, d])).then(pl.col(name)).alias(name) for d, name in enumerate(rows.columns)
    )


def fitted(name: str, rows: pl.DataFrame):
    """Return a model of these rows, fitted for an epoch."""
    model = MODELS[name]()
    return model.set_params(kinds={"visits": "count"}).fit(rows)
