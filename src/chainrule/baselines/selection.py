"""Choosing the number of components of a mixture on validation rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import Any, TypeVar

import numpy as np
from sklearn.utils._param_validation import Interval

from chainrule.kernels.clock import working_time
from chainrule.progress import Progressing

__all__ = ["MAX_TIME", "best_of", "candidates", "end_of"]

Model = TypeVar("Model")

MAX_TIME: Any = [Interval(Real, 0, None, closed="neither"), None]
"""What `max_time` of a mixture may be, in scikit-learn's form."""
STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500)


def candidates(n_components: int | Sequence[int] | None, max_components: float) -> list[int]:
    """Return the numbers of components to try, in rising order.

    Parameters
    ----------
    n_components : int, sequence of int, or None
        What the user asked for; None for a default list.
    max_components : float
        The largest number worth trying by default.
    """
    if n_components is None:
        return [k for k in STEPS if k <= max_components] or [1]
    numbers = [n_components] if isinstance(n_components, int | np.integer) else list(n_components)
    if not numbers or any(
        isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1 for k in numbers
    ):
        raise ValueError(
            f"n_components must be None, a whole number of at least 1 or several, got {n_components!r}"
        )
    return sorted({int(k) for k in numbers})


def end_of(max_time: float | None) -> float:
    """Return the `working_time` at which so many seconds from now are over; never without any."""
    return math.inf if max_time is None else working_time() + max_time


def best_of(
    numbers: Iterable[int],
    fit: Callable[[int], Model],
    score: Callable[[Model], float],
    label: str | None = None,
    until: float = math.inf,
) -> Model:
    """Fit models with rising numbers of components until the score stays below the best; return the best.

    One number that does worse may have met a poor local optimum; after two in a row the search ends, and
    before a number whose fit would not be done in time.

    Parameters
    ----------
    numbers : iterable of int
        Numbers of components, rising.
    fit : callable
        From a number of components to a fitted model.
    score : callable
        From a model to its score, higher is better; mean nats of the validation rows.
    label : str, optional
        Show a progress bar of this name on standard error.
    until : float
        The `working_time` by which to be done; the first number is tried in any case.
    """
    best: Model | None = None
    highest, worse = -np.inf, 0
    seconds_each = 0.0
    tried = list(numbers)
    visible = label is not None and len(tried) > 1
    with Progressing(label or "", len(tried), unit="size", visible=visible) as bar:
        for n_done, number in enumerate(tried, start=1):
            start = working_time()
            if best is not None and start + number * seconds_each > until:
                break
            model = fit(number)
            reached = score(model)
            seconds_each = (working_time() - start) / number
            if best is None or reached > highest:
                best, highest, worse = model, reached, 0
            else:
                worse += 1
            bar.update(n_done, f"{number} components: {reached:.3f} nats, best {highest:.3f}")
            if worse == 2:
                break
    if best is None:
        raise ValueError("expected at least one number of components to try")
    return best
