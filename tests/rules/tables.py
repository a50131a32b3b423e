"""Tables of columns with rules between them, and models of random weights for them."""

import itertools

import numpy as np
import polars as pl
import torch
from tests.strategies import randomize

from chainrule import OrderlessNADE
from chainrule.rules import parse_rule

# Values of columns of a discrete table, the kinds they are declared to be, and the rules between them.
VALUES = {
    "first": [1, 2, 3, 4],
    "second": [0, 2, 3, 5],  # named levels with a gap
    "third": [2, 3, 4],
    "net": [0, 1, 2, 3],
    "tax": [0, 1, 2],
    "total": [1, 2, 3, 4, 5],
    "state": ["NJ", "NY", "PA"],
    "city": ["Albany", "Newark", "Trenton"],
    "size": [0, 1, 2],
}
KINDS = {name: "ordinal" for name in ("first", "third", "net", "tax", "total")} | {"second": "categorical"}
CITIES = [
    ("NJ", "Newark", 1),
    ("NJ", "Trenton", 0),
    ("NY", "Albany", 2),
    ("PA", "Newark", 0),
    ("NY", "Newark", 1),
]
TESTS = {
    "first <= second": lambda row: row["first"] <= row["second"],
    "second > first": lambda row: row["second"] > row["first"],
    "second <= third": lambda row: row["second"] <= row["third"],
    "third < total": lambda row: row["third"] < row["total"],
    "total = net + tax": lambda row: row["total"] == row["net"] + row["tax"],
    "net - 1 = total - tax - 1": lambda row: row["total"] == row["net"] + row["tax"],
    "state, city IN observed": lambda row: (row["state"], row["city"]) in {each[:2] for each in CITIES},
    "state, city, size IN observed": lambda row: (row["state"], row["city"], row["size"]) in CITIES,
    "size <= first": lambda row: row["size"] <= row["first"],
}


def columns_of(rules):
    names = {column.name for rule in rules for column in parse_rule(rule).columns}
    return [name for name in VALUES if name in names]


def all_rows(columns, seen=None):
    """Every row that values of columns, or of those that are seen, could make."""
    values = [VALUES[name] if seen is None else seen[name].unique().sort() for name in columns]
    return pl.DataFrame(list(itertools.product(*values)), columns, orient="row")


def keeps(frame, rules):
    return np.array([all(TESTS[rule](row) for rule in rules) for row in frame.iter_rows(named=True)])


def training_rows(columns, rules, seed=0):
    """Rows that keep the rules, in which each value of each column comes."""
    if "city" in columns:
        width = 3 if "size" in columns else 2
        placed = pl.DataFrame(sorted({each[:width] for each in CITIES}), columns[-width:], orient="row")
        rest = [name for name in columns if name not in placed.columns]
        frame = all_rows(rest).join(placed, how="cross") if rest else placed
        frame = frame.select(columns)
    else:
        frame = all_rows(columns)
    frame = frame.filter(pl.Series(keeps(frame, [rule for rule in rules if "observed" not in rule])))
    return pl.concat([frame] * (1 + 60 // len(frame))).sample(fraction=1, shuffle=True, seed=seed)


def randomized(model, seed=0, scale=1.0):
    randomize(model.model_, torch.Generator().manual_seed(seed), scale)
    return model


def random_model(rows, rules, network="columns", n_orderings=3, seed=0, kinds=None, scale=1.0, **options):
    """A model of random weights, which knows nothing of the rules but what it is told."""
    kinds = {name: kind for name, kind in (KINDS if kinds is None else kinds).items() if name in rows.columns}
    model = OrderlessNADE(
        (8, 8), network=network, n_orderings=n_orderings, kinds=kinds, rules=rules, max_epochs=1,
        random_state=seed, **options,
    )  # fmt: skip
    return randomized(model.fit(rows), seed, scale)


def reserved(model):
    """The log of the share of each row that is not kept for levels never seen."""
    return sum(np.log1p(-getattr(variable, "reserved", 0.0)) for variable in model.schema_.variables)


DISCRETE = [
    ["first <= second"],
    ["second > first"],
    ["total = net + tax"],
    ["net - 1 = total - tax - 1"],
    ["state, city IN observed"],
    ["state, city, size IN observed"],
    ["first <= second", "second <= third"],
    ["second > first", "total = net + tax"],
    ["third < total", "total = net + tax"],
    ["size <= first", "state, city, size IN observed"],
]
