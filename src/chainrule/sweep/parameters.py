"""What a parameter may be in a sweep, and what of each model is searched by default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import optuna

__all__ = ["SEARCHED", "Choices", "Range", "Searched", "to_text"]


def to_text(value: Any) -> str:
    """Return a value as `parse_grid` reads it.

    Examples
    --------
    >>> to_text((500, 500)), to_text(None), to_text(True), to_text(0.005)
    ('500x500', 'none', 'true', '0.005')
    """
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    return "x".join(to_text(part) for part in value)


@dataclass(frozen=True)
class Choices:
    """Single values of a parameter; trials name them by their texts."""

    values: tuple[Any, ...]

    @cached_property
    def by_text(self) -> dict[str, Any]:
        """The values by their texts, in order."""
        return {to_text(value): value for value in self.values}

    def suggest(self, trial: optuna.Trial, name: str) -> str:
        """Return the text that a trial has or draws."""
        return trial.suggest_categorical(name, list(self.by_text))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe description."""
        return {"values": list(self.by_text)}


@dataclass(frozen=True)
class Range:
    """Numbers between two bounds; whole ones if both bounds are whole."""

    low: float
    high: float
    log: bool = False

    def suggest(self, trial: optuna.Trial, name: str) -> float:
        """Return the number that a trial has or draws."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe description."""
        return {"low": self.low, "high": self.high, "log": self.log}


class Searched(NamedTuple):
    """What a search varies: always, and where the columns are modelled by mixtures besides."""

    always: Mapping[str, Choices | Range]
    with_mixtures: Mapping[str, Choices | Range] = {}


_TRAINING: dict[str, Choices | Range] = {
    "activation": Choices(("relu", "tanh", "silu")),
    "learning_rate": Range(5e-4, 2e-2, log=True),
    "weight_decay": Range(1e-3, 1e-1, log=True),
    "batch_size": Choices((50, 100, 200)),
}
_LAYERS = Choices(((100,), (250,), (500,), (1000,), (250, 250), (500, 500), (500, 500, 500)))
_PER_COLUMN = {"n_components": Range(2, 32, log=True)}
_DEEP = Searched({"hidden_sizes": _LAYERS, "dropout": Range(0.0, 0.6), **_TRAINING}, _PER_COLUMN)
_CONVOLUTIONAL = Searched(
    {
        "n_channels": Choices((16, 24, 32, 48)),
        "n_blocks": Range(1, 4),
        "n_hidden": Choices((128, 256, 512)),
        **_TRAINING,
    },
    _PER_COLUMN,
)
_MIXTURE = Searched({"n_components": Range(1, 200, log=True)})

# By class; a model that is not here has nothing to search.
SEARCHED = {
    "MADE": _DEEP,
    "OrderlessNADE": _DEEP,
    "ConvNADE": _CONVOLUTIONAL,
    "NADE": Searched({"hidden_size": Range(50, 1000, log=True), **_TRAINING}, _PER_COLUMN),
    "Mixture": _MIXTURE,
    "MixtureOfBernoullis": _MIXTURE,
    "GMM": _MIXTURE,
}
