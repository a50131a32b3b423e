"""Which studies there are; a study's module is imported when it is run."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from chainrule.errors import DataError

if TYPE_CHECKING:
    from chainrule.experiments.study import Study

__all__ = ["STUDIES", "StudyEntry", "load_study"]


class StudyEntry(NamedTuple):
    """What is known of a study before it is imported.

    `minutes` and `quick_minutes` are about how long it takes on two cores; `options` are the names of those
    options, beside the seed, that it has.
    """

    module: str
    description: str
    minutes: float
    quick_minutes: float
    options: frozenset[str] = frozenset()

    def duration(self, quick: bool) -> str:
        """Return in words about how long it takes."""
        minutes = self.quick_minutes if quick else self.minutes
        if minutes < 1:
            return "less than a minute"
        if minutes < 90:
            return f"about {minutes:.0f} minute{'' if round(minutes) == 1 else 's'}"
        return f"about {minutes / 60:.1f} hours"


STUDIES: dict[str, StudyEntry] = {
    "two-gaussians": StudyEntry(
        "chainrule.experiments.two_gaussians",
        "NADE, MADE and a GMM on two Gaussians of known density; what the settings of a MADE do",
        10,
        1,
        frozenset({"n"}),
    ),
    "categorical-2d": StudyEntry(
        "chainrule.experiments.categorical_2d",
        "raw, normalised and one-hot inputs of a MADE on two categorical variables of known probabilities",
        6,
        1,
    ),
    "binarized-mnist": StudyEntry(
        "chainrule.experiments.binarized_mnist",
        "orders, connectivity masks and ensembles of MADE on binarized MNIST, and NADE",
        240,
        1,
    ),
    "mixture-or-chain": StudyEntry(
        "chainrule.experiments.mixture_or_chain",
        "NADE and MADE against mixtures on images: nats, precision and recall of samples, copies",
        140,
        1,
        frozenset({"data"}),
    ),
}


def load_study(name: str, options: Iterable[str] = ()) -> Study:
    """Return a study by its name.

    Parameters
    ----------
    name : str
    options : iterable of str
        Names of the options that it is to have.

    Raises
    ------
    DataError
        If there is no such study, or it has no such option.
    """
    if name not in STUDIES:
        raise DataError(f"there is no study {name!r}; there are {', '.join(STUDIES)}")
    entry = STUDIES[name]
    for option in options:
        if option not in entry.options:
            raise DataError(f"the study {name} has no option --{option.replace('_', '-')}; leave it out")
    study: Study = import_module(entry.module).STUDY
    return study
