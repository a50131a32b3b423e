"""NADE with the interface of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import torch

from chainrule.conditionals import Conditionals
from chainrule.conditioners import Conditioner, InputEncoding, NADEConditioner
from chainrule.estimators.autoregressive import AutoregressiveEstimator
from chainrule.estimators.parameters import COUNT
from chainrule.estimators.restoring import Members
from chainrule.estimators.shared_arguments import SharedArguments

__all__ = ["NADE"]


class NADE(AutoregressiveEstimator):
    """Neural autoregressive distribution estimator (Larochelle & Murray 2011; Uria et al. 2013 for RNADE).

    One hidden layer whose weights all positions share. Continuous columns get conditional mixtures (RNADE).

    Parameters
    ----------
    hidden_size : int
        Hidden units H.
    activation : {"relu", "sigmoid", "tanh", "leaky_relu", "elu", "silu", "gelu"}
    ordering : {"natural", "random"} or sequence of int
        In which order the variables condition on each other.
    n_orderings : int
        How many orders share the weights; the first is `ordering`, the others are random. The model is the
        mean of their probabilities.
    resample_every : int
        Optimiser steps between two orders of the ensemble.
    **shared
        What all networks' estimators take, and how to fit.

    Attributes
    ----------
    model_ : AutoregressiveModel
    schema_ : Schema
    history_ : History
        NLLs in the units of the data, as `score_samples`.
    batch_nll_ : list of float
        Mean training NLL of each minibatch before its optimiser step, in nats of codes; not saved.
    offset_ : float
        Log-likelihood below which a row is an anomaly.
    n_features_in_, n_parameters_ : int

    Examples
    --------
    >>> import numpy as np
    >>> from chainrule import NADE
    >>> X = np.random.default_rng(0).integers(0, 2, (200, 3))
    >>> model = NADE(hidden_size=8, max_epochs=2, random_state=0).fit(X)
    >>> model.score_samples(X[:5]).shape
    (5,)
    >>> model.sample(4, random_state=0).shape
    (4, 3)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **AutoregressiveEstimator._parameter_constraints,
        "hidden_size": [COUNT],
    }

    def __init__(
        self,
        hidden_size: int = 500,
        *,
        activation: str = "relu",
        ordering: str | Sequence[int] = "natural",
        n_orderings: int = 1,
        resample_every: int = 1,
        **shared: Unpack[SharedArguments],
    ) -> None:
        self.hidden_size = hidden_size
        self.activation = activation
        self.ordering = ordering
        self.n_orderings = n_orderings
        self.resample_every = resample_every
        super().__init__(**shared)

    def _conditioner(
        self,
        encoding: InputEncoding,
        conditionals: Conditionals,
        members: Members,
        n_context: int,
        generator: torch.Generator | None,
    ) -> Conditioner:
        return NADEConditioner(
            encoding,
            conditionals.starts,
            members.orders,
            self.hidden_size,
            activation=self.activation,
            n_context=n_context,
            generator=generator,
        )
