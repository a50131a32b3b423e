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


STUDIES: dict[str, StudyEntry] = {}


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
