"""Text as a terminal may get it."""

from __future__ import annotations

__all__ = ["printable"]

# Control characters, among them the escape that terminals take orders from, and marks that turn text around.
_UNSEEN = {
    **{code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\t\n"},
    **dict.fromkeys((*range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\ufffd"),
}


def printable(text: str) -> str:
    r"""Return text of which nothing steers a terminal: characters that would are shown as symbols.

    >>> printable("red\x1b[31m")
    'red␛[31m'
    """
    return text.translate(_UNSEEN)
