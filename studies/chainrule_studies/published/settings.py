"""The settings of networks among which every set chooses, and the steps from one to its neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from chainrule.estimators import MADE, NADE, OrderlessNADE, PixelCNN
from chainrule.estimators.autoregressive import AutoregressiveEstimator

__all__ = ["MORE_EPOCHS", "MOST_COLUMN_NETWORKS", "Setting", "neighbours", "starting_settings"]

MORE_EPOCHS = "epochs x 2"
"""The name of one of the steps."""

_FAMILIES = ("gaussian", "spline", "logistic")
_ACTIVATIONS = ("relu", "tanh")
_MOST_UNITS = 4000
MOST_COLUMN_NETWORKS = 32
"""Columns up to which the network of any order is one for each column; see `OrderlessNADE`."""


class Setting(Struct, frozen=True):
    """One network and how it is fitted.

    Attributes
    ----------
    kind : str
        "nade" or "made" of one order, "orderless" of any order; of images also "pixel-cnn".
    units, layers : int
        Of hidden layers, of which NADE has one; filters and blocks of convolutions.
    weight_decay, dropout, learning_rate : float
    epochs : int
    activation : str
    family : str
        Of real numbers.
    n_components : int
        Components or bins of it.
    """

    kind: str
    units: int
    layers: int
    weight_decay: float
    dropout: float
    learning_rate: float
    epochs: int
    activation: str = "relu"
    family: str = "gaussian"
    n_components: int = 10

    @property
    def title(self) -> str:
        """What a table says of it."""
        is_convolutional = self.kind == "pixel-cnn"
        layers = (
            f"{self.units} x {self.layers}" if is_convolutional else "-".join([str(self.units)] * self.layers)
        )
        dropout = f", dropout {self.dropout:.2g}" if self.dropout else ""
        decay = f"decay {self.weight_decay:.2g}"
        return f"{self.kind} {layers} {self.activation}, {decay}{dropout}, {self.epochs} epochs"

    @property
    def is_any_order(self) -> bool:
        """Whether one fit serves every order."""
        return self.kind == "orderless"

    def estimator(
        self,
        ordering: str | list[int],
        *,
        kinds: str,
        max_time: float,
        random_state: int,
        image_shape: Sequence[int] | None = None,
        checkpoint: Path | None = None,
        verbose: bool = False,
    ) -> AutoregressiveEstimator:
        """Return the unfitted network.

        Parameters
        ----------
        ordering : "natural" or list of int
            Of a network of one order.
        kinds : str
            Of all columns.
        max_time : float
            Seconds that the fit may take.
        random_state : int
        image_shape : sequence of int, optional
            Of rows that are images.
        checkpoint : path, optional
        verbose : bool
        """
        common: dict[str, Any] = {
            "activation": self.activation,
            "mixture": self.family,
            "n_components": self.n_components,
            "kinds": kinds,
            "weight_decay": self.weight_decay,
            "learning_rate": self.learning_rate,
            "max_epochs": self.epochs,
            "max_time": max_time,
            "random_state": random_state,
            "checkpoint": checkpoint,
            "verbose": verbose,
        }
        if self.kind == "pixel-cnn":
            common |= {"n_layers": self.layers, "image_shape": image_shape}
            return PixelCNN(self.units, ordering=ordering, dropout=self.dropout, **common)
        sizes = (self.units,) * self.layers
        if self.kind == "nade":
            return NADE(self.units, ordering=ordering, **common)
        if self.kind == "made":
            return MADE(sizes, ordering=ordering, dropout=self.dropout, **common)
        return OrderlessNADE(sizes, dropout=self.dropout, **common)


def starting_settings(n_rows: int, n_columns: int, are_images: bool) -> list[Setting]:
    """Return the settings that a search begins with, two of each kind that differ in what keeps them smooth.

    Those of convolutions, which take longest, differ in size.

    Parameters
    ----------
    n_rows, n_columns : int
        Of the training rows: where they are few, each is seen more often.
    are_images : bool
    """
    epochs = _epochs(n_rows, 500_000, (15, 60))
    if n_columns <= MOST_COLUMN_NETWORKS:
        units, rate, any_epochs = 64, 1e-2, _epochs(n_rows, 600_000, (15, 100))
    else:  # a step of one network for all columns learns one observed mask of each row
        units, rate, any_epochs = 256, 8e-3, _epochs(n_rows, 3_000_000, (20, 600))
    settings = [
        Setting("nade", 500, 1, 0.02, 0.0, 2e-2, epochs),
        Setting("nade", 500, 1, 0.3, 0.0, 2e-2, epochs),
        Setting("made", 500, 1, 0.02, 0.3, 2e-2, epochs),
        Setting("made", 500, 2, 0.1, 0.5, 2e-2, epochs),
        Setting("orderless", units, 2, 0.03, 0.0, rate, any_epochs),
        Setting("orderless", units, 2, 0.1, 0.0, rate, any_epochs, activation="tanh"),
    ]
    if not are_images:
        return settings
    epochs = _epochs(n_rows, 1_000_000, (15, 100))
    sizes = ((32, 4), (64, 6))
    return [*settings, *(Setting("pixel-cnn", *size, 0.01, 0.0, 8e-3, epochs) for size in sizes)]


def _epochs(n_rows: int, n_visits: int, bounds: tuple[int, int]) -> int:
    """Return after how many epochs rows were visited so often, all together, within bounds.

    >>> _epochs(5_000, 500_000, (15, 60)), _epochs(20_000, 500_000, (15, 60))
    (60, 25)
    """
    low, high = bounds
    return min(max(round(n_visits / n_rows), low), high)


def neighbours(setting: Setting, is_discrete: bool) -> Iterator[tuple[str, Setting]]:
    """Yield the settings that are one step away, each with the name of the step, the likely gains first.

    Where columns are discrete, the families of real numbers are left as they are.
    """
    if not is_discrete:
        for family in _FAMILIES:
            yield f"family {family}", replace(setting, family=family)
        for factor in (0.5, 2.0):
            n_components = max(2, round(setting.n_components * factor))
            yield f"components x {factor:g}", replace(setting, n_components=n_components)
    for name, factor in (("weight_decay", 3.0), ("weight_decay", 1 / 3)):
        yield f"{name} x {factor:.2g}", replace(setting, weight_decay=setting.weight_decay * factor)
    yield MORE_EPOCHS, replace(setting, epochs=2 * setting.epochs)
    yield "epochs x 0.5", replace(setting, epochs=max(2, round(setting.epochs / 2)))
    for activation in _ACTIVATIONS:
        yield f"activation {activation}", replace(setting, activation=activation)
    if setting.kind != "nade":
        for change in (0.15, -0.15):
            dropout = round(min(max(setting.dropout + change, 0.0), 0.8), 4)
            yield f"dropout {change:+g}", replace(setting, dropout=dropout)
    for factor in (2.0, 0.5):
        yield (
            f"units x {factor:g}",
            replace(setting, units=min(max(8, round(setting.units * factor)), _MOST_UNITS)),
        )
    for factor in (2.0, 0.5):
        yield f"learning rate x {factor:g}", replace(setting, learning_rate=setting.learning_rate * factor)


def as_json(setting: Setting) -> dict[str, Any]:
    """Return a setting as JSON can hold it."""
    return asdict(setting)
