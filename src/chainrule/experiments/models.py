"""What a comparison gives models beside their defaults: orders to average, settings for few rows."""

from __future__ import annotations

from typing import Any

__all__ = ["orders_to_average", "settings_for_few_rows"]

# Below so many training rows networks are small.
_FEW_ROWS = 1000
# Up to so many columns, the mean over some orders is cheap, and better than one.
_MAX_AVERAGED = 40
_N_ORDERS = 8


def orders_to_average(n_variables: int) -> int:
    """Return over how many orders models that can are averaged.

    Examples
    --------
    >>> orders_to_average(15), orders_to_average(784)
    (8, 1)
    """
    return _N_ORDERS if 1 < n_variables <= _MAX_AVERAGED else 1


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
