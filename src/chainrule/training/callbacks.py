"""What a fit tells while it runs, and to whom."""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.training.history import History

__all__ = ["Callback", "Epoch", "Step"]


@dataclass(frozen=True)
class Step:
    """An optimiser step: its number from 1 over the whole fit, and the mean NLL of its batch before it.

    The NLL is in nats per row of codes.
    """

    number: int
    nll: float


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
        How long the fit takes if it runs for all its epochs.
    """

    number: int
    train: float
    valid: float | None
    is_best: bool
    seconds_left: float

    @classmethod
    def last_of(cls, history: History, max_epochs: int) -> Epoch:
        """Return the last epoch of a history."""
        epochs = history.epochs
        return cls(
            number=epochs,
            train=history.train[-1],
            valid=history.valid[-1] if history.valid else None,
            is_best=history.best_epoch == epochs,
            seconds_left=max((max_epochs - epochs) * history.seconds / epochs, 0.0),
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

    def on_step(self, step: Step) -> None:
        """Hear of an optimiser step."""

    def on_epoch(self, epoch: Epoch) -> bool | None:
        """Hear of the end of an epoch; return True to end the fit with the best weights so far."""
