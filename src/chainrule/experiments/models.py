"""What a comparison gives models beside their defaults: orders and fits to average, settings for few rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chainrule.estimators.base import DensityEstimator

__all__ = [
    "fits_to_average",
    "has_parameter",
    "orders_to_average",
    "set_parameter",
    "settings_for_few_rows",
]

# Below so many training rows networks are small.
_FEW_ROWS = 1000
# Up to so many columns, the mean over some orders is cheap, and better than one.
_MAX_AVERAGED = 40
_N_ORDERS = 8
_MAX_FITS = 3


def orders_to_average(n_variables: int) -> int:
    """Return over how many orders models that can are averaged.

    Examples
    --------
    >>> orders_to_average(15), orders_to_average(784)
    (8, 1)
    """
    return _N_ORDERS if 1 < n_variables <= _MAX_AVERAGED else 1


def fits_to_average(n_rows: int) -> int:
    """Return how many fits of a network of any order are averaged: together they learn from a thousand rows.

    Examples
    --------
    >>> [fits_to_average(n_rows) for n_rows in (100, 400, 600, 20_000)]
    [3, 2, 1, 1]
    """
    return min(max(_FEW_ROWS // n_rows, 1), _MAX_FITS)


def has_parameter(estimator: DensityEstimator, name: str) -> bool:
    """Return whether a network, or those of an ensemble, has a parameter of that name."""
    return not {name, _of_members(name)}.isdisjoint(estimator.get_params())


def set_parameter(estimator: DensityEstimator, name: str, value: Any) -> None:
    """Set a parameter of a network, or of those of an ensemble; models without it stay as they are."""
    for each in {name, _of_members(name)} & estimator.get_params().keys():
        estimator.set_params(**{each: value})


def _of_members(name: str) -> str:
    return f"estimator__{name}"


def settings_for_few_rows(n_rows: int, n_variables: int) -> dict[str, Any]:
    """Return arguments in place of the estimators' own defaults where there are few training rows.

    Examples
    --------
    >>> settings_for_few_rows(300, 10)["hidden_size"]
    64
    >>> settings_for_few_rows(20_000, 10)
    {}
    """
    if n_rows >= _FEW_ROWS:
        return {}
    return {
        "hidden_size": 64,
        "hidden_sizes": (64, 64),
        "n_orderings": orders_to_average(n_variables),
        "dropout": 0.0,
    }
