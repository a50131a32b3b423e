"""One-dimensional conditional families, one file each, and their grouping over a row.

`FAMILIES` is the one list of them; of those that can model a support, the first is the default.
"""

from __future__ import annotations

from typing import TypeVar

from chainrule.conditionals.base import Conditional
from chainrule.conditionals.counts import NegativeBinomials
from chainrule.conditionals.derived_levels import DerivedLevels, Tempered
from chainrule.conditionals.discrete import Bernoulli, Categorical
from chainrule.conditionals.discretized import DiscretizedLogistics
from chainrule.conditionals.features import ENCODINGS, InputFeatures
from chainrule.conditionals.inflated import InflatedLevels
from chainrule.conditionals.mixtures import (
    LocationScaleMixture,
    MixtureOfGaussians,
    MixtureOfLaplaces,
    MixtureOfLogistics,
)
from chainrule.conditionals.normal_scores import NormalScores
from chainrule.conditionals.point_masses import PointMasses
from chainrule.conditionals.row import Conditionals
from chainrule.conditionals.splines import RationalQuadraticSpline
from chainrule.supports import Grid, Reals, Support

__all__ = [
    "ENCODINGS",
    "FAMILIES",
    "Bernoulli",
    "Categorical",
    "Conditional",
    "Conditionals",
    "DerivedLevels",
    "DiscretizedLogistics",
    "InflatedLevels",
    "InputFeatures",
    "LocationScaleMixture",
    "MixtureOfGaussians",
    "MixtureOfLaplaces",
    "MixtureOfLogistics",
    "NegativeBinomials",
    "NormalScores",
    "PointMasses",
    "RationalQuadraticSpline",
    "Tempered",
    "families_of",
    "make_family",
    "register_family",
]

FAMILIES: dict[str, type[Conditional]] = {
    family.name: family
    for family in (
        Bernoulli,
        DiscretizedLogistics,
        Categorical,
        MixtureOfGaussians,
        MixtureOfLogistics,
        MixtureOfLaplaces,
        NegativeBinomials,
        RationalQuadraticSpline,
    )
}

Family = TypeVar("Family", bound=type[Conditional])


def register_family(family: Family) -> Family:
    """Add a family to the list, behind those that are there; usable as a decorator."""
    FAMILIES[family.name] = family
    return family


def families_of(support: Support) -> tuple[str, ...]:
    """Return the names of the families that can model a support, the default first.

    >>> families_of(Reals())[0]
    'gaussian'
    """
    return tuple(name for name, family in FAMILIES.items() if isinstance(support, family.supports))


def make_family(name: str, support: Support, n_components: int) -> Conditional:
    """Return the family of one variable.

    Parameters
    ----------
    name : str
        Of `FAMILIES`.
    support : Support
    n_components : int
        Of mixtures.

    Raises
    ------
    ValueError
        If there is no such family of the support, or a mixture is to have no component.
    """
    names = families_of(support)
    if name not in names:
        raise ValueError(
            f"there is no family {name!r} of {type(support).__name__}; there are {', '.join(names)}"
        )
    family = FAMILIES[name].from_support(support, n_components)
    if isinstance(support, Reals) and support.knots:
        family = NormalScores.beside(family, support.knots, support.scores)
    if isinstance(support, Reals) and support.point_masses:
        return PointMasses.beside(family, support.point_masses)
    if isinstance(support, Grid) and support.inflated and not isinstance(family, Categorical):
        return InflatedLevels.beside(family, [float(code) for code in support.inflated])
    return family
