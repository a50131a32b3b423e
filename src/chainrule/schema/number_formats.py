"""Numbers as people write them, such as ``$1,234.50``, ``(3.00)`` and ``15%``: read, and written back so."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from chainrule.errors import DataError

if TYPE_CHECKING:
    from chainrule.schema.tables import Column

__all__ = ["NumberFormat", "in_number_format", "is_written_number"]

Negative = Literal["-$1", "$-1", "($1)"]

_CODES = (
    "AED ARS AUD BGN BRL CAD CHF CLP CNY COP CZK DKK EGP EUR GBP HKD HUF IDR ILS INR ISK JPY KES KRW MXN MYR "
    "NGN NOK NZD PEN PHP PKR PLN RON RUB SAR SEK SGD THB TRY TWD UAH USD VND ZAR"
)
_CURRENCY = rf"(?:[A-Z]{{0,2}}[$£¤¥฿\u20a0-\u20c0]|{'|'.join(_CODES.split())}|kr\.?|Rs\.?|zł|Kč|Ft)"  # noqa: RUF001
_SPACE = r"[ \u00a0\u202f]"
_MINUS = "-\u2212"
# What stands between thousands, and before a fraction; of those that fit all cells the first is taken.
_SEPARATORS = (
    *((",", "."), (".", ","), ("'", "."), ("\u2019", ".")),
    *((blank, point) for blank in (" ", "\u00a0", "\u202f") for point in (".", ",")),
)
_MAX_LETTERS = 40
_MAX_DECIMALS = 15
_LARGEST_WHOLE = 2**63
Letters = Annotated[str, Meta(max_length=_MAX_LETTERS)]


@dataclass(frozen=True)
class NumberFormat:
    """How the numbers of a column of text are written.

    Parameters
    ----------
    prefix, suffix : str, default=""
        What stands before and after each number, blanks included.
    thousands : str, default=""
        What stands between thousands; "" where there is nothing.
    point : str, default="."
        What stands before a fraction.
    decimals : int, default=0
        Digits of a fraction: so many, or at most.
    fixed : bool, default=True
        Whether all fractions have so many digits.
    negative : {"-$1", "$-1", "($1)"}, default="-$1"
        How a negative number is written, where $ stands for the prefix.
    plus : bool, default=False
        Whether positive numbers have a sign, too.

    Examples
    --------
    >>> amounts = NumberFormat.of_texts(["$1,234.50", "($3.00)", "$12.00"])
    >>> amounts.read("$1,234.50"), amounts.read("($3.00)"), amounts.write(-20000)
    (1234.5, -3.0, '($20,000.00)')
    """

    prefix: Letters = ""
    suffix: Letters = ""
    thousands: Letters = ""
    point: Letters = "."
    decimals: Annotated[int, Meta(ge=0, le=_MAX_DECIMALS)] = 0
    fixed: bool = True
    negative: Negative = "-$1"
    plus: bool = False

    @classmethod
    def of_texts(cls, texts: Iterable[str]) -> Self | None:
        """Return the format that all texts have in common, or None if there is none.

        Numbers stand alone or between thousands separators, with a currency (a symbol or the code) or a
        per cent sign. Codes such as ``007`` are no numbers.
        """
        distinct = list(dict.fromkeys(texts))
        if not distinct or not _NUMBER_LIKE(distinct[0]):
            return None
        found = (cls._of_texts(distinct, *separators) for separators in _SEPARATORS)
        formats = [each for each in found if each is not None]
        if not formats:
            return None
        # Of 1.234 and 12.345 alone: amounts of money have thousands, other numbers a fraction.
        grouped = [each for each in formats if each.thousands and each.decimals == 0]
        is_money = bool(re.search(_CURRENCY, formats[0].prefix + formats[0].suffix))
        return grouped[0] if is_money and grouped else formats[0]

    @classmethod
    def _of_texts(cls, texts: Sequence[str], thousands: str, point: str) -> Self | None:
        """Return the format of texts with these separators."""
        pattern = _pattern(thousands, point)
        cells: list[re.Match[str]] = []
        for text in texts:
            cell = pattern.fullmatch(text) if len(text) <= _MAX_LETTERS else None
            if (
                cell is None
                or not _is_consistent(cell)
                or _affixes(cell) != _affixes(cells[0] if cells else cell)
            ):
                return None
            cells.append(cell)
        if all(cell["open"] for cell in cells):  # a label, such as (1)
            return None
        decimals = {len(cell["fraction"] or cell["bare"] or "") for cell in cells}
        if max(decimals) > _MAX_DECIMALS:
            return None
        first = cells[0]
        positive = [cell for cell in cells if not _is_negative(cell) and float(_digits(cell, thousands))]
        return cls(
            prefix=first["prefix"] + first["before"],
            suffix=first["after"] + first["suffix"],
            thousands=thousands if any(thousands in (cell["whole"] or "") for cell in cells) else "",
            point=point,
            decimals=max(decimals),
            fixed=len(decimals) == 1,
            negative=_negative(cells),
            plus=bool(positive) and all("+" in cell["sign"] + cell["inner"] for cell in positive),
        )

    @property
    def example(self) -> str:
        """A number in this format."""
        return self.write(1234.5 if self.thousands or self.prefix else 12.5)

    def read(self, text: str) -> float | None:
        """Return the number that a text in this format spells, None if it is none.

        Currency, per cent sign and thousands separators may be left out.
        """
        cell = _pattern(self.thousands or _other(self.point), self.point).fullmatch(text[: 10 * _MAX_LETTERS])
        if cell is None or not _is_consistent(cell):
            return None
        if any(
            got not in ("", own)
            for got, own in zip(_affixes(cell), (self.prefix.strip(), self.suffix.strip()), strict=True)
        ):
            return None
        number = float(_digits(cell, self.thousands or _other(self.point)))
        return -number if _is_negative(cell) else number

    def write(self, number: float) -> str:
        """Return a number as the column has it."""
        text = f"{abs(number):,.{self.decimals}f}"
        if self.decimals and not self.fixed:
            text = text.rstrip("0").rstrip(".")
        is_zero = not text.strip("0,.")
        text = text.translate({ord(","): self.thousands, ord("."): self.point})
        if is_zero or (number > 0 and not self.plus):
            return f"{self.prefix}{text}{self.suffix}"
        if number < 0 and self.negative == "($1)":
            return f"({self.prefix}{text}{self.suffix})"
        sign = "+" if number > 0 else "-"
        if self.negative == "$-1":
            return f"{self.prefix}{sign}{text}{self.suffix}"
        return f"{sign}{self.prefix}{text}{self.suffix}"

    def write_all(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """Return numbers, or None where one is missing, as texts."""
        texts = np.full(len(numbers), None, dtype=object)
        for row, number in enumerate(numbers.tolist()):
            if number is not None:
                texts[row] = self.write(number)
        return texts

    def to_dict(self) -> dict[str, Any]:
        """Return the format in JSON-safe form."""
        return asdict(self)


def in_number_format(number_format: NumberFormat | None, column: Column) -> Column:
    """Return a column of text as numbers where these are written in a format; other columns as they are.

    Raises
    ------
    DataError
        If a text is no number in this format.
    """
    if number_format is None or column.storage != "text":
        return column
    read = {text: number_format.read(text) for text in set(column.values.tolist())}
    numbers = [read[text] for text in column.values.tolist()]
    if None in numbers:
        row = numbers.index(None)
        raise DataError(
            f"column {column.name!r} holds {_cut(column.values[row])} in row {column.row(row)}, which is no "
            f"number written like {number_format.example!r}: mend the row, or declare the column categorical"
        )
    values = np.array(numbers, dtype=np.float64)
    whole = bool((values == np.rint(values)).all() and (np.abs(values) < _LARGEST_WHOLE).all())
    return replace(
        column, values=values.astype(np.int64) if whole else values, storage="integer" if whole else "float"
    )


def is_written_number(text: str) -> bool:
    """Whether a text spells a number, alone or as people write it.

    >>> [is_written_number(text) for text in ("-$1,234.50", "15 %", "A4")]
    [True, True, False]
    """
    return NumberFormat.of_texts([text]) is not None


# ---------------------------------------------------------------- cells


@cache
def _pattern(thousands: str, point: str) -> re.Pattern[str]:
    mark, comma = re.escape(point), re.escape(thousands)
    number = (
        rf"(?:(?P<whole>[1-9]\d{{0,2}}(?:{comma}\d{{3}})+|0|[1-9]\d*)(?:{mark}(?P<fraction>\d+))?"
        rf"|{mark}(?P<bare>\d+))"
    )
    return re.compile(
        rf"\s*(?P<sign>[{_MINUS}+]?)(?P<open>\(?)(?P<prefix>(?:{_CURRENCY})?)(?P<before>{_SPACE}?)"
        rf"(?P<inner>[{_MINUS}+]?){number}(?P<after>{_SPACE}?)(?P<suffix>(?:{_CURRENCY}|[%‰])?)(?P<close>\)?)\s*",
        re.ASCII,
    )


_NUMBER_LIKE = re.compile(rf"[\s(+{_MINUS}]*(?:{_CURRENCY})?{_SPACE}?[{_MINUS}+]?[.,]?[0-9]").match


def _other(point: str) -> str:
    return "," if point == "." else "."


def _is_consistent(cell: re.Match[str]) -> bool:
    """Whether parentheses are closed, and there is one sign at most."""
    signs = len(cell["sign"]) + len(cell["inner"]) + len(cell["open"])
    return bool(cell["open"]) == bool(cell["close"]) and signs <= 1


def _affixes(cell: re.Match[str]) -> tuple[str, str]:
    return cell["prefix"], cell["suffix"]


def _is_negative(cell: re.Match[str]) -> bool:
    return bool(cell["open"]) or (cell["sign"] + cell["inner"]) in tuple(_MINUS)


def _digits(cell: re.Match[str], thousands: str) -> str:
    """Return the digits as Python reads them."""
    fraction = cell["fraction"] or cell["bare"]
    return (cell["whole"] or "0").replace(thousands, "") + (f".{fraction}" if fraction else "")


def _negative(cells: Sequence[re.Match[str]]) -> Negative:
    if any(cell["open"] for cell in cells):
        return "($1)"
    return "$-1" if any(cell["inner"] and cell["prefix"] for cell in cells) else "-$1"


def _cut(text: str) -> str:
    return repr(text if len(text) <= _MAX_LETTERS else f"{text[: _MAX_LETTERS - 3]}...")
