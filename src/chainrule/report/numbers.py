"""How numbers are written for people."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command starts without NumPy
    from chainrule.metrics.statistics import Summary

__all__ = [
    "count",
    "decimals_for",
    "in_ascii",
    "listed",
    "measured_text",
    "number",
    "seconds",
    "short",
    "with_error",
]


def decimals_for(*errors: float) -> int:
    """Return the decimals that show two digits of the smallest standard error, between 1 and 4.

    >>> decimals_for(0.23, 1.5), decimals_for(0.004)
    (2, 4)
    """
    usable = [error for error in errors if math.isfinite(error) and error > 0]
    if not usable:
        return 2
    return min(max(1 - math.floor(math.log10(min(usable))), 1), 4)


def number(value: float, decimals: int) -> str:
    """Return a number with a real minus sign.

    >>> number(-1.25, 1), number(-math.inf, 2), number(math.nan, 2)
    ('−1.2', '−∞', 'n/a')
    """
    if math.isnan(value):
        return "n/a"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:,.{decimals}f}"
    if float(text.replace(",", "")) == 0:
        return text.lstrip("-")
    return text.replace(",", "\u202f").replace("-", "−")


def with_error(value: float, error: float, decimals: int) -> str:
    """Return a value and its standard error.

    >>> with_error(-19.853, 0.312, 2), with_error(-1.0, math.nan, 2)
    ('−19.85 ± 0.31', '−1.00')
    """
    if not math.isfinite(error):
        return number(value, decimals)
    return f"{number(value, decimals)} ± {number(error, decimals)}"


def measured_text(level: Summary, min_decimals: int = 1) -> str:
    """Return a mean and its standard error, with the decimals that show two digits of the error.

    >>> from chainrule.metrics.statistics import Summary
    >>> measured_text(Summary(-19.853, 0.31, 9)), measured_text(Summary(0.9, 0.031, 9), 4)
    ('−19.85 ± 0.31', '0.9000 ± 0.0310')
    """
    decimals = max(min_decimals, decimals_for(level.standard_error))
    return with_error(level.mean, level.standard_error, decimals)


def seconds(value: float) -> str:
    """Return a duration with about three digits.

    >>> seconds(0.00123), seconds(0.25), seconds(12.34), seconds(432.1)
    ('0.0012', '0.25', '12.3', '432')
    """
    if not math.isfinite(value):
        return "n/a"
    for bound, decimals in ((0.01, 4), (0.1, 3), (10.0, 2), (100.0, 1)):
        if value < bound:
            return f"{value:.{decimals}f}"
    return number(value, 0)


def count(value: int) -> str:
    """Return a whole number with thin spaces between thousands.

    >>> count(1234567)
    '1\u202f234\u202f567'
    """
    return f"{value:,}".replace(",", "\u202f")


def listed(words: Iterable[str]) -> str:
    """Join words into prose.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def in_ascii(text: str) -> str:
    """Return numbers as terminals and spreadsheets take them; only the sign of a standard error is no ASCII.

    >>> in_ascii("≥ −1\u202f234.5 ± 0.3")
    '>= -1,234.5 ± 0.3'
    """
    return text.translate({ord("−"): "-", ord("–"): "-", ord("≥"): ">=", ord("∞"): "inf", 0x202F: ","})


def short(text: str, most: int = 20) -> str:
    """Return a text of at most `most` letters.

    >>> short("education"), short("education", 5)
    ('education', 'educ…')
    """
    return text if len(text) <= most else text[: most - 1] + "…"
