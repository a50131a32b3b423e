"""Orderless NADE with the interface of scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, Unpack

import torch
from sklearn.utils._param_validation import Interval
from torch import Tensor

from chainrule.conditionals import Conditionals
from chainrule.conditioners import Conditioner, InputEncoding, OrderlessConditioner
from chainrule.errors import ParameterError
from chainrule.estimators.autoregressive import AutoregressiveEstimator
from chainrule.estimators.training_arguments import with_training_options
from chainrule.training.options import TrainingArguments

__all__ = ["OrderlessNADE"]


@with_training_options()
class OrderlessNADE(AutoregressiveEstimator):
    """One deep network for the conditionals of every order (Uria, Murray & Larochelle 2014).

    It answers any question p(these | those), exactly normalised: `score_samples` with `given` and `of`,
    `sample` with `given`, `impute`, `conditional`. Rows may have missing values, in training, too.

    Parameters
    ----------
    hidden_sizes : sequence of int
        Units of each hidden layer.
    activation : {"relu", "sigmoid", "tanh", "leaky_relu", "elu", "silu", "gelu"}
    n_orderings : int
        Over how many random orders scores and samples are averaged, unless a call says otherwise; training
        draws a new order for every row.
    residual : bool, optional
        Add each hidden layer's pre-activations to the next one's; by default where all layers have the same
        size.
    dropout : float
        Share of hidden units left out in training.
    **shared
        What all networks' estimators take.
    **training_options
        How to fit: the fields of `TrainingOptions`.

    Attributes
    ----------
    model_ : AutoregressiveModel
    schema_ : Schema
    history_ : History
        Its validation NLLs are estimates from one observed mask of each row, the same ones in every epoch.
    batch_nll_ : list of float
        Estimated training NLL of each minibatch before its optimiser step, in nats of codes; not saved.
    offset_ : float
        Log-likelihood below which a row is an anomaly.
    n_features_in_, n_parameters_ : int

    Notes
    -----
    A row's log-likelihood takes D passes through the hidden layers for each order; p(x_d | all others that
    are known) takes one.

    Examples
    --------
    >>> import numpy as np
    >>> from chainrule import OrderlessNADE
    >>> x1 = np.random.default_rng(0).integers(0, 2, 500)
    >>> X = np.stack([x1, x1, 1 - x1], axis=1)
    >>> model = OrderlessNADE(hidden_sizes=(16,), max_epochs=60, random_state=0).fit(X)
    >>> model.impute([[1, np.nan, np.nan]], how="mode")
    array([[1, 1, 0]])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **AutoregressiveEstimator._parameter_constraints,
        "hidden_sizes": ["array-like"],
        "residual": ["boolean", None],
        "dropout": [Interval(Real, 0, 0.99, closed="left")],
    }

    _embeds_missing = True
    ordering = "any"
    resample_every = 1

    def __init__(
        self,
        hidden_sizes: Sequence[int] = (500, 500),
        *,
        activation: str = "relu",
        n_orderings: int = 1,
        residual: bool | None = None,
        dropout: float = 0.0,
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
        self.hidden_sizes = hidden_sizes
        self.activation = activation
        self.n_orderings = n_orderings
        self.residual = residual
        self.dropout = dropout
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
        orders: Tensor,
        n_context: int,
        generator: torch.Generator,
    ) -> Conditioner:
        sizes = list(self.hidden_sizes)
        if not sizes or not all(isinstance(size, Integral) and size >= 1 for size in sizes):
            raise ParameterError(
                f"hidden_sizes must name whole numbers of units, one per layer, got {self.hidden_sizes!r}"
            )
        return OrderlessConditioner(
            encoding,
            conditionals.starts,
            orders,
            sizes,
            activation=self.activation,
            residual=len(set(sizes)) == 1 if self.residual is None else bool(self.residual),
            dropout=self.dropout,
            n_context=n_context,
            generator=generator,
        )
