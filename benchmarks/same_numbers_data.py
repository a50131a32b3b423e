"""Small data of every kind, made from seeds, for `same_numbers`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["DATA", "N_SCORED", "Data"]

N_SCORED = 20


@dataclass(frozen=True)
class Data:
    """Rows to fit, rows to score, and what to ask of the models of them.

    Parameters
    ----------
    train, scored : array or DataFrame
        Scored rows may hold missing cells and levels that the training rows lack.
    given : (column, value)
        What draws and probabilities are conditioned on: the first column in the natural order.
    asked : column
        Whose probability is asked for, the second.
    columns : list
        Those whose conditional distributions are asked for.
    complete : array or DataFrame, optional
        Rows of which nothing is missing; by default those scored.
    context_train, context_scored : array, optional
    """

    train: Any
    scored: Any
    given: tuple[Any, Any]
    asked: Any
    columns: list[Any]
    complete_rows: Any = None
    context_train: np.ndarray | None = None
    context_scored: np.ndarray | None = None

    @property
    def complete(self) -> Any:
        """Rows of known levels without missing cells."""
        return self.scored if self.complete_rows is None else self.complete_rows

    @property
    def with_holes(self) -> Any:
        """The complete rows, with about a quarter of their cells missing."""
        return self._without(np.random.default_rng(99).random(self.complete.shape) < 0.25)

    @property
    def without_last(self) -> Any:
        """The complete rows, without their last column's values."""
        holes = np.zeros(self.complete.shape, bool)
        holes[:, -1] = True
        return self._without(holes)

    def _without(self, holes: np.ndarray) -> Any:
        if isinstance(self.complete, pd.DataFrame):
            return self.complete.mask(holes)
        return np.where(holes, np.nan, self.complete)

    def values(self, column: Any) -> Any:
        """The complete rows' values of a column."""
        if isinstance(self.complete, pd.DataFrame):
            return self.complete[column].to_numpy()
        return self.complete[:, column]

    def context(self) -> dict[str, Any]:
        """The context of scored rows, as keyword arguments."""
        return {} if self.context_scored is None else {"context": self.context_scored}

    def one_context(self) -> dict[str, Any]:
        """One context for all draws, as keyword arguments."""
        return {} if self.context_scored is None else {"context": self.context_scored[:1]}


def _binary() -> Data:
    generator = np.random.default_rng(1)
    latent = generator.random((400, 3)) < 0.5
    rows = (generator.random((400, 8)) < 0.15 + 0.7 * latent[:, [0, 0, 0, 1, 1, 1, 2, 2]]).astype(int)
    return Data(rows[N_SCORED:], rows[:N_SCORED], (0, 1), 1, [0, 3, 7])


def _image() -> Data:
    """Small images of five grey levels: a bright spot somewhere."""
    generator = np.random.default_rng(2)
    y, x = np.mgrid[:4, :4]
    centres = generator.random((300, 2, 1, 1)) * 3
    distance = (y - centres[:, 0]) ** 2 + (x - centres[:, 1]) ** 2
    rows = np.clip(np.round(4 * np.exp(-distance / 3) + generator.normal(0, 0.3, distance.shape)), 0, 4)
    rows = rows.reshape(300, 16).astype(np.uint8)
    return Data(rows[N_SCORED:], rows[:N_SCORED], (0, 1), 1, [0, 5, 15])


def _mixed_frame(n: int, seed: int) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    owner = generator.random(n) < 0.4
    city = generator.choice(["Aba", "Bor", "Cle", "Dax"], n, p=[0.4, 0.3, 0.2, 0.1])
    age = np.clip(generator.normal(40 + 10 * owner, 12, n).round(), 17, 90).astype(int)
    income = np.exp(generator.normal(10 + 0.5 * owner, 0.6, n)).round(2)
    rain = np.where(generator.random(n) < 0.4, 0.0, generator.gamma(2.0, 3.0, n))
    gain = np.where(generator.random(n) < 0.8, 0, generator.integers(1, 60_000, n))  # ordinal: bins
    height = generator.normal(165 + 8 * owner, 9, n)
    return pd.DataFrame(
        {
            "owner": np.where(owner, "yes", "no"),
            "city": city,
            "age": age,
            "income": income,
            "rain": rain,
            "gain": gain,
            "height": height,
        }
    )


def _mixed() -> Data:
    """A table with a column of every kind."""
    frame = _mixed_frame(500, 3)
    rows = frame.iloc[N_SCORED:].reset_index(drop=True)
    return Data(
        rows, frame.iloc[:N_SCORED].reset_index(drop=True), ("owner", "yes"), "city", list(frame.columns)
    )


def _missing() -> Data:
    """The table with missing cells, in training and scoring."""
    frame = _mixed_frame(500, 4)
    holes = np.random.default_rng(5).random(frame.shape) < 0.12
    with_holes = frame.mask(holes)
    whole = frame.iloc[:N_SCORED].reset_index(drop=True)
    return Data(
        with_holes.iloc[N_SCORED:].reset_index(drop=True),
        with_holes.iloc[:N_SCORED].reset_index(drop=True),
        ("owner", "yes"),
        "city",
        list(frame.columns),
        complete_rows=whole,
    )


def _levels() -> Data:
    """Ordinals of so few levels that each gets a probability: 100 rows for each."""
    generator = np.random.default_rng(6)
    stars = generator.choice([1, 2, 3, 4, 5], 700, p=[0.1, 0.05, 0.1, 0.5, 0.25])
    visits = np.clip(stars + generator.integers(-1, 2, 700), 0, 6)
    grade = generator.integers(0, 40, 700)  # more levels than that: a discretised mixture
    frame = pd.DataFrame({"stars": stars, "visits": visits, "grade": grade})
    rows = frame.iloc[N_SCORED:].reset_index(drop=True)
    return Data(
        rows,
        frame.iloc[:N_SCORED].reset_index(drop=True),
        ("stars", 4),
        "visits",
        ["stars", "visits", "grade"],
    )


def _rare() -> Data:
    """A table whose scored rows hold levels that no training row has."""
    frame = _mixed_frame(400, 8)[["owner", "city", "age", "rain"]]
    scored = frame.iloc[:N_SCORED].reset_index(drop=True)
    strange = scored.copy()
    strange.loc[::3, "city"] = "Elsewhere"
    rows = frame.iloc[N_SCORED:].reset_index(drop=True)
    return Data(rows, strange, ("owner", "yes"), "city", list(frame.columns), complete_rows=scored)


def _dates() -> Data:
    """Days, moments, truth values, text and a constant."""
    generator = np.random.default_rng(9)
    n = 300
    day = generator.integers(0, 200, n)
    frame = pd.DataFrame(
        {
            "works": generator.random(n) < 0.7,
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(day, unit="D"),
            "moment": pd.Timestamp("2024-01-01")
            + pd.to_timedelta(day * 86_400 + generator.integers(0, 86_400, n), "s"),
            "shift": generator.choice(["early", "late", "night"], n),
            "plant": "one",
        }
    )
    rows = frame.iloc[N_SCORED:].reset_index(drop=True)
    return Data(
        rows, frame.iloc[:N_SCORED].reset_index(drop=True), ("works", True), "shift", list(frame.columns)
    )


def _reals() -> Data:
    generator = np.random.default_rng(10)
    rows = generator.normal(size=(400, 4)) @ generator.normal(size=(4, 4)) + np.array([0, 10, -3, 500])
    rows[:, 3] += 3 * np.sin(rows[:, 0])
    return Data(rows[N_SCORED:], rows[:N_SCORED], (0, 0.5), 1, [0, 2, 3])


def _context() -> Data:
    generator = np.random.default_rng(11)
    context = np.column_stack([generator.normal(size=400), generator.integers(0, 2, 400)])
    share = 1 / (1 + np.exp(-2 * context[:, :1]))
    rows = (generator.random((400, 6)) < 0.2 + 0.6 * share).astype(int)
    return Data(
        rows[N_SCORED:],
        rows[:N_SCORED],
        (0, 1),
        1,
        [0, 5],
        context_train=context[N_SCORED:],
        context_scored=context[:N_SCORED],
    )


DATA: dict[str, Callable[[], Data]] = {
    "binary": _binary,
    "image": _image,
    "mixed": _mixed,
    "missing": _missing,
    "levels": _levels,
    "rare": _rare,
    "dates": _dates,
    "reals": _reals,
    "context": _context,
}
