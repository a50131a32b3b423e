"""What is published of each set, and how the time is shared out among sets."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files

from msgspec import Struct, convert

from chainrule.errors import DataError

__all__ = [
    "DEFAULT_BUDGET",
    "QUICK_SETS",
    "Published",
    "chosen_sets",
    "parse_duration",
    "published",
    "shares",
]

DEFAULT_BUDGET = 4.5 * 3600
"""Seconds of all fits together, by the clock."""

QUICK_SETS = ("uci-mushrooms", "nltcs", "red-wine")

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


class Published(Struct, forbid_unknown_fields=True, frozen=True):
    """What is published of a set.

    Attributes
    ----------
    group : str
        Which papers it is from.
    rows, columns, folds : int
        How many there are to learn from.
    measure : str
        "nll" or "ll": the sign of the figures.
    best : float
        Nats per test row.
    by : str
        The model that has them.
    one_order : float or None
        The best of one order or mask.
    one_order_by : str
    """

    group: str
    rows: int
    columns: int
    measure: str
    best: float
    by: str
    folds: int = 1
    one_order: float | None = None
    one_order_by: str = ""

    @property
    def sign(self) -> float:
        """By what a log-likelihood is multiplied to be written as the papers do."""
        return -1.0 if self.measure == "nll" else 1.0

    def gap(self, log_likelihood: float) -> float:
        """Return by how many nats a mean log-likelihood is ahead of the best published."""
        return log_likelihood - self.sign * self.best


def published() -> dict[str, Published]:
    """Return what is published, by the name of the set."""
    text = files(__package__).joinpath("published.toml").read_text(encoding="utf-8")
    return convert(tomllib.loads(text), dict[str, Published])


def chosen_sets(only: str | None, quick: bool = False) -> list[str]:
    """Return the names of the sets to do.

    Parameters
    ----------
    only : str or None
        Names of sets or of groups of sets, separated by commas; None for all.
    quick : bool
        Whether all are the three of the quick version.

    Raises
    ------
    DataError
        If there is no such set.

    Examples
    --------
    >>> chosen_sets("housing,mnist")
    ['binarized-mnist', 'housing']
    """
    known = published()
    if only is None:
        return list(QUICK_SETS if quick else known)
    wanted = {name.strip() for name in only.split(",")}
    unknown = wanted - known.keys() - {each.group for each in known.values()}
    if unknown:
        groups = ", ".join(dict.fromkeys(each.group for each in known.values()))
        raise DataError(
            f"--only {', '.join(sorted(unknown))}: there is no such set; there are {', '.join(known)}, and "
            f"the groups {groups}"
        )
    return [name for name, each in known.items() if name in wanted or each.group in wanted]


def parse_duration(text: str) -> float:
    """Return the seconds of a text such as "2h", "90m" or "300".

    >>> parse_duration("2h"), parse_duration("1.5m"), parse_duration("300")
    (7200.0, 90.0, 300.0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)\s*", text.lower())
    seconds = float(match[1]) * _UNITS.get(match[2], 0.0) if match else 0.0
    if not seconds:
        raise DataError(f"--budget {text}: expected a duration such as 2h, 90m or 300s")
    return seconds


def shares(names: Sequence[str], seconds: float) -> dict[str, float]:
    """Return the seconds of each set: by the cube root of rows x columns, in each of its folds.

    In proportion to its numbers MNIST would get a third of the time, and the sets of a few thousand rows, on
    which many small fits are to be compared, next to nothing.

    >>> {name: round(s) for name, s in shares(["nltcs", "binarized-mnist"], 3600).items()}
    {'nltcs': 569, 'binarized-mnist': 3031}
    """
    known: Mapping[str, Published] = published()
    weights = {
        name: known[name].folds * (known[name].rows * known[name].columns) ** (1 / 3) for name in names
    }
    total = sum(weights.values())
    return {name: seconds * weight / total for name, weight in weights.items()}
