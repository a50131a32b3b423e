"""Choosing the number of components of a mixture on validation rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np

from chainrule.progress import Progressing

__all__ = ["best_of", "candidates"]

Model = TypeVar("Model")

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


def best_of(
    numbers: Iterable[int],
    fit: Callable[[int], Model],
    score: Callable[[Model], float],
    label: str | None = None,
) -> Model:
    """Fit models with rising numbers of components until the score stays below the best; return the best.

    One number that does worse may have met a poor local optimum; after two in a row the search ends.

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
    """
    best: Model | None = None
    highest, worse = -np.inf, 0
    tried = list(numbers)
    visible = label is not None and len(tried) > 1
    with Progressing(label or "", len(tried), unit="size", visible=visible) as bar:
        for n_done, number in enumerate(tried, start=1):
            model = fit(number)
            reached = score(model)
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
