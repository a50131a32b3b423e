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

    @property
    def is_whole(self) -> bool:
        """Whether the number is a whole one."""
        return "int" in self.annotation


def _option(default: Any, help: str, **properties: Any) -> Any:
    return field(default=default, metadata={"help": help, **properties})


@dataclass(frozen=True)
class TrainingOptions:
    """How to fit; None leaves it to the recipe of the network, see `recipe_for`."""

    learning_rate: float | None = _option(
        None, "Highest learning rate of AdamW; by default what suits network and rows.", is_above=True
    )
    weight_decay: float | None = _option(
        None, "Weight decay of AdamW; by default what suits network and rows."
    )
    batch_size: int | None = _option(
        None, "Rows per optimiser step; by default about a 64th of the rows.", minimum=1
    )
    max_epochs: int | None = _option(
        None,
        "Stop after so many epochs at the latest; by default as many as suit network and rows. The learning "
        "rate falls to nothing over them.",
        minimum=1,
        is_duration=True,
    )
    max_time: float | None = _option(
        None,
        "Seconds that the fit may take, beside the compilation of kernels, once on a machine: the learning "
        "rate falls to nothing within them. By default as long as `max_epochs` take: a fit says how long "
        "that will be, and the same seed gives the same model.",
        is_above=True,
        is_duration=True,
    )
    patience: int | None = _option(
        None,
        "Epochs without progress in the validation likelihood that end the fit, by default a fifth of "
        "`max_epochs`; the best weights are kept.",
        minimum=1,
        is_duration=True,
    )
    tolerance: float = _option(
        1e-4, "Nats per variable by which the validation likelihood must rise to count as progress."
    )
    schedule: str = _option(
        "cosine",
        "How the learning rate falls: along half a cosine to nothing at the end of the fit (cosine), or in "
        "steps where the validation likelihood stands still (plateau).",
        choices=tuple(SCHEDULES),
    )


class TrainingArguments(TypedDict, total=False):
    """The options as keyword arguments, for type checkers, which cannot read them off `TrainingOptions`."""

    learning_rate: float | None
    weight_decay: float | None
    batch_size: int | None
    max_epochs: int | None
    max_time: float | None
    patience: int | None
    tolerance: float
    schedule: str


TRAINING_OPTIONS: Mapping[str, Option] = MappingProxyType(
    {
        each.name: Option(**each.metadata, name=each.name, annotation=str(each.type), default=each.default)
        for each in fields(TrainingOptions)
    }
)
