"""The installed studies; a study's code is imported when it is run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points

from chainrule.errors import DataError, MissingPackageError

__all__ = ["GROUP", "Study", "installed_studies", "load_study"]

GROUP = "chainrule.studies"
"""The group of entry points by which packages declare studies; each names a `Study`."""


@dataclass(frozen=True)
class Study:
    """What is known of a study before its code is imported.

    Attributes
    ----------
    title, description : str
        The heading of the report, and the line below it: what is asked.
    summary : str
        What the list of studies says.
    module : str
        The module with the function ``run(run: StudyRun) -> StudyResult`` and, where data or packages may be
        missing, ``check(options)``, which raises a ChainruleError before anything is done.
    minutes, quick_minutes : float
        About how long it takes on two cores, and with ``--quick``.
    options : frozenset of str
        The options that it has beside the seed; default: none.
    """

    title: str
    description: str
    summary: str
    module: str
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


def installed_studies() -> dict[str, Study]:
    """Return the studies of all installed packages by name, in alphabetical order.

    Raises
    ------
    MissingPackageError
        If there are none.
    """
    entries = sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    if not entries:
        raise MissingPackageError(
            "no studies are installed; they are a package of their own: pip install ./studies, from a "
            "checkout of chainrule"
        )
    return {entry.name: entry.load() for entry in entries}


def load_study(name: str, options: Iterable[str] = ()) -> Study:
    """Return an installed study by its name.

    Parameters
    ----------
    name : str
    options : iterable of str
        Names of the options that it is to have; default: none.

    Raises
    ------
    MissingPackageError
        If no studies are installed.
    DataError
        If there is no such study, or it has no such option.
    """
    studies = installed_studies()
    if name not in studies:
        raise DataError(f"there is no study {name!r}; there are {', '.join(studies)}")
    for option in options:
        if option not in studies[name].options:
            raise DataError(f"the study {name} has no option --{option.replace('_', '-')}; leave it out")
    return studies[name]
