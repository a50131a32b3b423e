"""Probabilities of events: sampled answers against exact ones, and adult's answers against its test rows."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
from scipy import stats

from benchmarks.tables import Row, Skipped
from chainrule import Ensemble, OrderlessNADE
from chainrule.datasets import load_dataset

__all__ = ["events"]

_SEED = 0
_N_CASES = 1000
_N_EVENTS = 50
_PROBLEM = "P(class = '>50K' AND \"hours-per-week\" < 30 | age BETWEEN 50 AND 60)"


@dataclass(frozen=True)
class Figure:
    """One measured number, and what is asked of it."""

    work: str
    value: float
    wanted: str

    heading = f"{'events':<88} {'reached':>9} {'wanted':>12}"

    def line(self) -> str:
        """Return the row as a line of its table."""
        return f"{self.work:<88} {self.value:>9.4g} {self.wanted:>12}"

    def to_dict(self) -> dict[str, Any]:
        """Return all of it."""
        return asdict(self)


def events() -> Iterator[Row]:
    """Yield what the answers to random events are worth."""
    yield from _sampled_against_exact()
    folder = os.environ.get("CHAINRULE_DATA")
    train = Path(folder or "") / "tables" / "adult" / "adult.data"
    if not train.is_file():
        yield Skipped("events of adult", "CHAINRULE_DATA names no folder with it")
        return
    yield from _adult(train)


# ---------------------------------------------------------------- sampled against exact


def _sampled_against_exact() -> Iterator[Row]:
    """Answer random questions to small fits twice: from all states, and from draws."""
    rng, off = np.random.default_rng(_SEED), []
    for seed in range(20):
        model = _small_model(seed)
        for case in range(_N_CASES // 20):
            event, given = _condition(rng, _SMALL), _condition(rng, _SMALL)
            exact = model.probability(event, given)
            with patch("chainrule.events.chains.MAX_STATES", 0):
                drawn = model.probability(event, given, random_state=case)
            error = max(drawn.standard_error, 3e-7)  # networks compute in single precision
            off.append(abs(drawn.value - exact.value) / error)
    yield Figure(
        f"share of {len(off)} sampled answers within three standard errors of the exact one",
        float(np.mean(np.array(off) <= 3)),
        "0.99",
    )


_SMALL = {
    "sex": ["sex = 'male'", "sex <> 'male'"],
    "colour": ["colour IN ('red', 'blue')", "colour <> 'green'", "colour = 'red'"],
    "rooms": ["rooms > 2", "rooms BETWEEN 1 AND 3", "rooms = 0", "rooms NOT BETWEEN 1 AND 2"],
    "floor": ["floor <= 3", "floor IN (2, 5, 7)", "floor > 6"],
    "height": ["height > 1.5", "height <= 0", "height BETWEEN -1 AND 0.5"],
}


def _small_model(seed: int) -> OrderlessNADE:
    rng = np.random.default_rng(seed)
    sex = rng.random(1000) < 0.4
    rooms = np.append([0, 4], (sex[2:] * 2 + rng.integers(0, 3, 998)).clip(0, 4))
    floor = np.append([0, 9], (rooms[2:] * 2 + rng.integers(0, 4, 998)).clip(0, 9))
    frame = pl.DataFrame(
        {
            "sex": np.where(sex, "male", "female"),
            "colour": np.array(["red", "green", "blue"])[(rooms + rng.integers(0, 2, 1000)) % 3],
            "rooms": rooms,
            "floor": floor,
            "height": np.where(rng.random(1000) < 0.2, 0.0, sex + 0.3 * rooms + rng.normal(0, 0.6, 1000)),
        }
    )
    kinds = {"rooms": "ordinal", "floor": "ordinal"}
    return OrderlessNADE((16, 16), max_epochs=8, n_orderings=2, kinds=kinds, random_state=seed).fit(frame)


def _condition(rng: np.random.Generator, atoms: dict[str, list[str]]) -> str:
    """Return a random condition on one to three columns of which none contradicts another."""
    columns = rng.choice(list(atoms), rng.integers(1, 4), replace=False)
    text = str(rng.choice(atoms[columns[0]]))
    for column in columns[1:]:
        text = f"({text}) {rng.choice(['AND', 'OR'])} {rng.choice(atoms[column])}"
    return text


# ---------------------------------------------------------------- adult


def _adult(train: Path) -> Iterator[Row]:
    data = load_dataset(str(train), random_state=_SEED)
    test = load_dataset(str(train.with_name("adult.test")), random_state=_SEED)
    rows = pl.concat([test.train, test.valid, test.test])
    single = OrderlessNADE(n_orderings=8, random_state=_SEED)
    model = single.fit(data.train, X_val=data.valid)
    model.ask(_PROBLEM)  # compiles
    start = time.perf_counter()
    answer = model.ask(_PROBLEM, random_state=_SEED)
    yield Figure(f"seconds of {_PROBLEM}", time.perf_counter() - start, "1")
    yield Figure("its standard error", answer.standard_error, "0.002")
    yield Figure("its probability", answer.value, "")
    given = rows.filter(pl.sql_expr("age BETWEEN 50 AND 60"))
    frequency = _frequency(given, "class = '>50K' AND \"hours-per-week\" < 30")
    yield Figure("the test rows' frequency", frequency, "")
    yield from _random_events("one fit", model, rows, len(data.train))
    several = Ensemble(OrderlessNADE(n_orderings=8), random_state=_SEED)
    several.fit(data.train, X_val=data.valid)
    yield from _random_events("eight fits", several, rows, len(data.train))


def _random_events(name: str, model: Any, rows: pl.DataFrame, n_train: int) -> Iterator[Row]:
    """Hold probabilities against the frequencies in test rows.

    Training rows are a sample as test rows are: a model that knew their frequencies would err by as much.
    """
    rng = np.random.default_rng(_SEED)
    z, seconds, errors, off = [], [], [], []
    while len(z) < _N_EVENTS:
        columns = [str(column) for column in rng.choice(rows.columns, rng.integers(1, 5), replace=False)]
        known = rows.drop_nulls(columns)  # a model tells what a value is, not whether it is missing
        event = _event_of_rows(rng, known, columns)
        frequency = _frequency(known, event)
        if not 10 / len(known) < frequency < 1 - 10 / len(known):
            continue
        start = time.perf_counter()
        answer = model.probability(event, random_state=_SEED)
        seconds.append(time.perf_counter() - start)
        errors.append(answer.standard_error)
        variance = answer.value * (1 - answer.value) * (1 / len(known) + 1 / n_train)
        off.append(abs(answer.value - frequency))
        z.append((answer.value - frequency) / np.hypot(np.sqrt(variance), answer.standard_error))
    what = f"{name}: mean absolute difference of {_N_EVENTS} random events to the test rows"
    yield Figure(what, float(np.mean(off)), f"{_explained(z, off):.4f}")
    limit = stats.chi2.ppf(0.99, _N_EVENTS)
    yield Figure(f"{name}: chi-square of {_N_EVENTS}", float(np.sum(np.square(z))), f"{limit:.1f}")
    yield Figure(f"{name}: most seconds of one", max(seconds), "1")
    yield Figure(f"{name}: largest standard error of one", max(errors), "0.002")


def _explained(z: list[float], off: list[float]) -> float:
    """Return the mean absolute difference that normal sampling errors of the same sizes would have."""
    sizes = np.array(off) / np.abs(z)
    return float(np.mean(sizes) * np.sqrt(2 / np.pi))


def _frequency(rows: pl.DataFrame, event: str) -> float:
    return float(rows.select(pl.sql_expr(event).mean()).item())


def _event_of_rows(rng: np.random.Generator, rows: pl.DataFrame, columns: list[str]) -> str:
    """Return a random event of some columns, with values as rows have them."""
    parts = []
    for column in columns:
        values = rows[column].sample(2, seed=int(rng.integers(2**31))).to_list()
        if rows.schema[column].is_numeric():
            parts.append(f"{_named(column)} BETWEEN {min(values)} AND {max(values)}")
        else:
            levels = ", ".join(repr(value) for value in sorted(set(values)))
            parts.append(f"{_named(column)} IN ({levels})")
    return " AND ".join(parts)


def _named(column: str) -> str:
    return f'"{column}"' if "-" in column else column
