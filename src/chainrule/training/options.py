"""What can be said about a fit: each option is declared here, and nowhere else.

Constructor arguments of the networks' estimators, their checks and documentation, the options of
``chainrule fit``, and what must be equal for a checkpoint to be taken up all follow from `TrainingOptions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, TypedDict

from chainrule.training.schedule import SCHEDULES

__all__ = ["TRAINING_OPTIONS", "Option", "TrainingArguments", "TrainingOptions"]


@dataclass(frozen=True)
class Option:
    """One option of a fit.

    Attributes
    ----------
    help : str
        One sentence or two for the command line and the documentation.
    minimum : float
        The smallest number allowed.
    is_above : bool
        Whether the number must lie above the minimum.
    choices : tuple of str
        The words allowed, of an option that is no number.
    is_duration : bool
        Whether it says only how long to fit: a checkpoint is taken up under another value.
    name, annotation, default
        As `TrainingOptions` declares them.
    """

    help: str
    minimum: float = 0
    is_above: bool = False
    choices: tuple[str, ...] = ()
    is_duration: bool = False
    name: str = ""
    annotation: str = ""
    default: Any = None


def _option(default: Any, help: str, **properties: Any) -> Any:
    return field(default=default, metadata={"help": help, **properties})


@dataclass(frozen=True)
class TrainingOptions:
    """How to fit."""

    learning_rate: float = _option(5e-3, "First learning rate of AdamW.", is_above=True)
    weight_decay: float = _option(2e-2, "Weight decay of AdamW.")
    batch_size: int = _option(100, "Rows per optimiser step.", minimum=1)
    max_epochs: int = _option(200, "Stop after so many epochs at the latest.", minimum=1, is_duration=True)
    patience: int = _option(
        15,
        "Epochs without progress in the validation likelihood that end the fit; the best weights are kept.",
        minimum=1,
        is_duration=True,
    )
    tolerance: float = _option(
        1e-4, "Nats per variable by which the validation likelihood must rise to count as progress."
    )
    schedule: str = _option(
        "plateau",
        "How the learning rate falls: in steps where the validation likelihood stands still (plateau), or "
        "along half a cosine to nothing at the last epoch (cosine), which takes longer and ends lower where "
        "gradients are noisy.",
        choices=tuple(SCHEDULES),
    )


class TrainingArguments(TypedDict, total=False):
    """The options as keyword arguments, for type checkers, which cannot read them off `TrainingOptions`."""

    learning_rate: float | None
    weight_decay: float
    batch_size: int
    max_epochs: int
    patience: int
    tolerance: float
    schedule: str


TRAINING_OPTIONS: Mapping[str, Option] = MappingProxyType(
    {
        each.name: Option(**each.metadata, name=each.name, annotation=str(each.type), default=each.default)
        for each in fields(TrainingOptions)
    }
)
