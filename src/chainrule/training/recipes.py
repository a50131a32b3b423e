"""How each kind of network is fitted to so many rows, chosen by measurement; see docs/decisions.md."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from chainrule.training.options import TrainingOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chainrule.conditioners import Conditioner, InputEncoding

__all__ = ["Recipe", "dropout_for", "recipe_for"]


@dataclass(frozen=True)
class Recipe:
    """All that a fit must know, nothing left to be chosen.

    Attributes
    ----------
    learning_rate : float
        The highest one of AdamW.
    weight_decay : float
    epsilon : float
        AdamW's. Values near 0 give weights of rare features steps as long as those of frequent ones, which
        overfits sparse data where the order is fixed; with larger ones the steps of small gradients shrink.
    batch_size : int
        Rows per step.
    max_epochs : int
    max_time : float or None
        Seconds.
    patience : int
        Epochs without progress.
    tolerance : float
        Nats per variable that count as progress.
    schedule : str
        Of `SCHEDULES`.
    warm_up : float
        Share of the fit in which the learning rate rises.
    keeps_by_column : bool
        Whether the network of each column, where it has one, keeps the epoch that was best for its column.
    max_threads : int or None
        Where steps are so short that threads wait for each other longer than they work: one.
    """

    learning_rate: float
    weight_decay: float
    epsilon: float
    batch_size: int
    max_epochs: int
    max_time: float | None
    patience: int
    tolerance: float
    schedule: str
    warm_up: float
    keeps_by_column: bool
    max_threads: int | None


def recipe_for(conditioner: Conditioner, n_rows: int, options: TrainingOptions) -> Recipe:
    """Return how to fit a network to so many rows: what the options say, and what was measured to be good."""
    recipe = _RECIPES[conditioner.recipe]
    batch_size = options.batch_size or _batch_size(n_rows, recipe.rows_per_batch)
    steps_per_epoch = math.ceil(n_rows / batch_size)
    max_epochs = options.max_epochs or _epochs(_for_columns(recipe, conditioner), steps_per_epoch)
    return Recipe(
        learning_rate=_or(options.learning_rate, _learning_rate(recipe, conditioner)),
        weight_decay=_or(options.weight_decay, _weight_decay(recipe, conditioner, n_rows)),
        epsilon=recipe.epsilon,
        batch_size=batch_size,
        max_epochs=max_epochs,
        max_time=options.max_time,
        patience=options.patience or max(_MIN_PATIENCE, math.ceil(_PATIENCE * max_epochs)),
        tolerance=options.tolerance,
        schedule=options.schedule,
        warm_up=_WARM_UP,
        keeps_by_column=n_rows < _FEW_ROWS,
        max_threads=1 if _are_short(recipe, conditioner, batch_size) else None,
    )


@dataclass(frozen=True)
class _Measured:
    """What was measured for one kind of network.

    `epochs` is how often each row is seen where rows are many; where they are few, it is as often as makes
    `steps` steps, within `most_epochs`; `steps_of_numbers` where a third of the columns are numbers, whose
    densities are finer than probabilities of a few levels. Weight decay grows with a power of the features of
    a column, `decay_by_features`: the more levels, the fewer rows tell of each. Where it `decays_by_rows`,
    what is added falls as there are more rows for each feature. Where orders take turns, a step for one of
    them is noise to the others, unless `orders_are_alike`, as scans of an image are.
    """

    learning_rate: float
    weight_decay: float
    epsilon: float
    rows_per_batch: tuple[int, int]
    epochs: int
    steps: int
    most_epochs: int
    decay_by_features: float = 0.0
    steps_of_numbers: int | None = None
    decays_by_rows: bool = False
    orders_are_alike: bool = False
    is_convolutional: bool = False


_RECIPES = {
    "fixed-order": _Measured(2e-2, 2e-2, 1e-2, (32, 256), 12, 2000, 60, 1.0, decays_by_rows=True),
    "column-networks": _Measured(1e-2, 5e-2, 1e-8, (32, 256), 15, 2500, 100, 0.5, 6000),
    "shared-network": _Measured(8e-3, 2e-2, 1e-8, (256, 512), 15, 8000, 650),
    "convolutional": _Measured(
        8e-3, 1e-2, 1e-8, (32, 32), 20, 4000, 100, orders_are_alike=True, is_convolutional=True
    ),
    "convolutional any-order": _Measured(2e-3, 2e-2, 1e-8, (32, 128), 30, 8000, 300, is_convolutional=True),
}
# Batches have such a share of the rows, within the bounds of the recipe: larger ones have less noise.
_BATCH_SHARE = 1 / 64
_PATIENCE, _MIN_PATIENCE = 0.2, 5
_WARM_UP = 0.03
# The most weight decay; beyond so many rows a feature, what exceeds that of bits falls with their square.
_MOST_DECAY, _FEW_ROWS_PER_FEATURE = 0.5, 30
_DROPOUT, _DROPOUT_OF_NUMBERS = 0.3, 0.1
# Where products of weights and rows are so few, and rows, too, one thread takes a step as fast as several.
_SHORT_STEP, _SMALL_BATCH = 2**23, 32
# Fewer are learned by heart, one column long before another; of many, epochs of a column differ by chance.
_FEW_ROWS = 1000
# Beyond them the gain of another pass over the rows is not worth its time.
_MOST_STEPS = 60_000


def _batch_size(n_rows: int, bounds: tuple[int, int]) -> int:
    """Return a power of two near a 64th of the rows.

    >>> _batch_size(700, (32, 512)), _batch_size(20_000, (32, 512))
    (32, 256)
    """
    low, high = bounds
    return min(max(2 ** round(math.log2(n_rows * _BATCH_SHARE)), low), high) if n_rows > 1 else low


def _are_short(recipe: _Measured, conditioner: Conditioner, batch_size: int) -> bool:
    """Return whether one thread takes a step as fast as several; weights of convolutions act many times."""
    n_products = batch_size * sum(weight.numel() for weight in conditioner.parameters())
    return batch_size <= _SMALL_BATCH and n_products <= _SHORT_STEP and not recipe.is_convolutional


def _or(wanted: float | None, measured: float) -> float:
    return measured if wanted is None else wanted


def _learning_rate(recipe: _Measured, conditioner: Conditioner) -> float:
    take_turns = not (conditioner.is_any_order or recipe.orders_are_alike)
    return recipe.learning_rate / (len(conditioner.orders) if take_turns else 1)


def _weight_decay(recipe: _Measured, conditioner: Conditioner, n_rows: int) -> float:
    n_features = conditioner.encoding.n_features
    by_features = recipe.weight_decay * (n_features / conditioner.n_variables) ** recipe.decay_by_features
    if not recipe.decays_by_rows:
        return by_features
    share = min(1.0, (_FEW_ROWS_PER_FEATURE * n_features / n_rows) ** 2)
    return recipe.weight_decay + share * (min(by_features, _MOST_DECAY) - recipe.weight_decay)


def dropout_for(encoding: InputEncoding, starts: Sequence[int]) -> float:
    """Return the share of a MADE's units to leave out in a training step.

    Noise of that kind blurs densities of numbers, which are finer than probabilities of levels.
    """
    return _DROPOUT_OF_NUMBERS if _has_numbers(encoding, starts) else _DROPOUT


def _for_columns(recipe: _Measured, conditioner: Conditioner) -> _Measured:
    """Return the recipe with as many steps as the network's columns want."""
    if recipe.steps_of_numbers is None or not _has_numbers(conditioner.encoding, conditioner.starts):
        return recipe
    return replace(recipe, steps=recipe.steps_of_numbers)


def _has_numbers(encoding: InputEncoding, starts: Sequence[int]) -> bool:
    """Return whether a third of the columns are numbers."""
    # Numbers have the params of a density; a column of two levels has one.
    widths = [end - start for start, end in pairwise(starts)]
    n_numbers = sum(
        not is_onehot and width > 1 for is_onehot, width in zip(encoding.is_onehot, widths, strict=True)
    )
    return 3 * n_numbers >= len(widths)


def _epochs(recipe: _Measured, steps_per_epoch: int) -> int:
    """Return how often rows are seen: so many times, or fewer where they are very many.

    >>> [_epochs(_RECIPES["fixed-order"], n_rows // 256) for n_rows in (5_000, 500_000, 20_000_000)]
    [60, 12, 1]
    """
    n_epochs = min(max(recipe.epochs, recipe.steps // steps_per_epoch), recipe.most_epochs)
    return max(1, min(n_epochs, _MOST_STEPS // steps_per_epoch))
