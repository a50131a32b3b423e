"""Answers to questions: a value, how it was found, and how far it may be off."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Answer"]


@dataclass(frozen=True)
class Answer:
    """What a model says to a question.

    Attributes
    ----------
    value : float or dict
        A probability, an expectation, quantiles by their level, or probabilities by the level's value.
    standard_error : float or dict
        Of the value as an estimate of what the model says, in the same form; 0 if it is exact. It tells
        nothing of how right the model is.
    method : {"exact", "sampling"}
    n_effective : float or None
        How many independent rows of the condition the draws are worth (Kish 1965); None if it is exact.
    spread : float, dict or None
        Standard deviation of the value over the orders and members that the answer averages; None for one.
    seconds : float
        How long it took.

    Examples
    --------
    >>> Answer(0.25, 0.0, "exact", None, None, 0.01)
    0.25 (exact)
    >>> f"{Answer(0.25, 0.0, 'exact', None, None, 0.01):.1%}"
    '25.0%'
    """

    value: Any
    standard_error: Any
    method: Literal["exact", "sampling"]
    n_effective: float | None
    spread: Any
    seconds: float

    def __float__(self) -> float:
        return float(self.value)

    def __format__(self, spec: str) -> str:
        return format(float(self), spec) if spec else repr(self)

    def __round__(self, n_digits: int | None = None) -> float:
        return round(float(self), n_digits)

    def __repr__(self) -> str:
        if self.method == "exact":
            return f"{_shown(self.value)} (exact)"
        worth = f"{self.n_effective:.0f} effective rows"
        return f"{_shown(self.value)} +- {_shown(self.standard_error)} ({worth})"

    def to_dict(self) -> dict[str, Any]:
        """Return the answer in JSON-safe form; the values of dicts become lists of pairs of key and value."""
        return {
            name: [[_plain(key), number] for key, number in each.items()] if isinstance(each, dict) else each
            for name, each in asdict(self).items()
        }


def _plain(key: Any) -> Any:
    return key if isinstance(key, (str, bool, int, float)) else str(key)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_shown(each)}" for key, each in value.items()) + "}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
