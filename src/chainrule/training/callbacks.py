"""What a fit tells while it runs, and to whom."""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.training.history import History

__all__ = ["Callback", "Epoch", "Plan", "Step"]


@dataclass(frozen=True)
class Plan:
    """What a fit is about to do, told after its first steps, from which the time follows.

    Attributes
    ----------
    seconds : float
        How long it will take if nothing ends it early.
    epochs, steps_per_epoch : int
    """

    seconds: float
    epochs: int
    steps_per_epoch: int


@dataclass(frozen=True)
class Step:
    """An optimiser step: its number from 1 over the whole fit, and the mean NLL of its batch before it.

    The NLL is in nats per row of codes; `progress` is the share of the fit that is over.
    """

    number: int
    nll: float
    progress: float


@dataclass(frozen=True)
class Epoch:
    """What an epoch ended with.

    Attributes
    ----------
    number : int
        From 1.
    train, valid : float
        Mean NLLs per row in nats, in the units of the data; `valid` is None without validation rows.
    is_best : bool
        Whether the weights of this epoch are the best so far.
    seconds_left : float
        How long the fit still takes if nothing ends it early.
    """

    number: int
    train: float
    valid: float | None
    is_best: bool
    seconds_left: float

    @classmethod
    def last_of(cls, history: History, progress: float) -> Epoch:
        """Return the last epoch of a history, after which such a share of the fit is over."""
        epochs = history.epochs
        return cls(
            number=epochs,
            train=history.train[-1],
            valid=history.valid[-1] if history.valid else None,
            is_best=history.best_epoch == epochs,
            seconds_left=max((1 / progress - 1) * history.seconds, 0.0),
        )


class Callback:
    """Listens to a fit; subclasses override what they listen to.

    Examples
    --------
    >>> import numpy as np
    >>> from chainrule import NADE
    >>> class UntilGoodEnough(Callback):
    ...     def on_epoch(self, epoch):
    ...         return epoch.valid < 2.1
    >>> X = np.random.default_rng(0).integers(0, 2, (200, 3))
    >>> model = NADE(8, random_state=0).fit(X, callbacks=[UntilGoodEnough()])
    >>> model.history_.epochs
    1
    """

    def on_plan(self, plan: Plan) -> None:
        """Hear how long the fit will take, once its first steps are timed."""

    def on_step(self, step: Step) -> None:
        """Hear of an optimiser step."""

    def on_epoch(self, epoch: Epoch) -> bool | None:
        """Hear of the end of an epoch; return True to end the fit with the best weights so far."""
