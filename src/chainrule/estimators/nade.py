"""NADE with the interface of scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Unpack

import torch

from chainrule.conditionals import Conditionals
from chainrule.conditioners import Conditioner, InputEncoding, NADEConditioner
from chainrule.estimators.autoregressive import AutoregressiveEstimator
from chainrule.estimators.parameters import COUNT
from chainrule.estimators.restoring import Members
from chainrule.estimators.training_arguments import with_training_options
from chainrule.training.options import TrainingArguments

__all__ = ["NADE"]


@with_training_options
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
        What all networks' estimators take.
    **training_options
        How to fit: the fields of `TrainingOptions`.

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
        n_components: int = 10,
        mixture: str = "gaussian",
        encoding: str = "onehot",
        kinds: str | Mapping[Any, str] | None = None,
        contamination: float | str = "auto",
        validation_fraction: float = 0.1,
        device: str | None = None,
        checkpoint: str | Path | None = None,
        verbose: bool | int = False,
        random_state: Any = None,
        **training_options: Unpack[TrainingArguments],
    ) -> None:
        self.hidden_size = hidden_size
        self.activation = activation
        self.ordering = ordering
        self.n_orderings = n_orderings
        self.resample_every = resample_every
        self.n_components = n_components
        self.mixture = mixture
        self.encoding = encoding
        self.kinds = kinds
        self.contamination = contamination
        self.validation_fraction = validation_fraction
        self.device = device
        self.checkpoint = checkpoint
        self.verbose = verbose
        self.random_state = random_state
        self._set_training_options(training_options)

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
