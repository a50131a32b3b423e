"""MADE with the interface of scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Self, Unpack

import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor

from chainrule.conditionals import Conditionals
from chainrule.conditioners import Conditioner, InputEncoding, MADEConditioner
from chainrule.errors import ParameterError, StorageError
from chainrule.estimators.autoregressive import AutoregressiveEstimator
from chainrule.estimators.parameters import MEMBERS
from chainrule.estimators.restoring import Members
from chainrule.estimators.shared_arguments import SharedArguments
from chainrule.masks import even_degrees, layer_degrees, uniform_degrees
from chainrule.storage import ArraySpec, StoredArrays
from chainrule.training.recipes import dropout_for

__all__ = ["MADE"]

# Direct connections cost features x outputs weights: beyond this many, and beyond twice the weights of the
# output layer, they are left out unless asked for.
_MAX_DIRECT_WEIGHTS = 2_000_000


class MADE(AutoregressiveEstimator):
    """Masked autoencoder for distribution estimation (Germain et al. 2015).

    Parameters
    ----------
    hidden_sizes : sequence of int
        Units of each hidden layer.
    activation : {"relu", "sigmoid", "tanh", "leaky_relu", "elu", "silu", "gelu"}
    ordering : {"natural", "random"} or sequence of int
        In which order the variables condition on each other.
    n_orderings : int
        How many orders share the weights; the first is `ordering`, the others are random. The model is the
        mean of their probabilities.
    n_masks : int
        How many connectivity masks share the weights, likewise.
    resample_every : int
        Optimiser steps between two members of the ensemble over orders and masks.
    degrees : {"even", "uniform"}
        Degrees of hidden units spread evenly, or drawn uniformly; more than one mask needs drawn ones.
    residual : bool, optional
        Add each hidden layer's pre-activations to the next one's. By default where all layers have the same
        size, which it needs, and there is one mask.
    direct_connections : bool, optional
        Linear connections from inputs to outputs. By default where they are cheap: without them, layers
        narrower than D - 1 cannot represent every dependency.
    dropout : float, optional
        Share of hidden units left out in training, by default 0.1 where a third of the columns or more are
        numbers, and 0.3 elsewhere.
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
    >>> from chainrule import MADE
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> model = MADE(hidden_sizes=(16,), max_epochs=2, random_state=0).fit(X)
    >>> model.sample(4, random_state=0).shape
    (4, 2)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **AutoregressiveEstimator._parameter_constraints,
        "hidden_sizes": ["array-like"],
        "n_masks": [MEMBERS],
        "degrees": [StrOptions({"even", "uniform"})],
        "residual": ["boolean", None],
        "direct_connections": ["boolean", None],
        "dropout": [Interval(Real, 0, 0.99, closed="left"), None],
    }

    def __init__(
        self,
        hidden_sizes: Sequence[int] = (500, 500),
        *,
        activation: str = "relu",
        ordering: str | Sequence[int] = "natural",
        n_orderings: int = 1,
        n_masks: int = 1,
        resample_every: int = 1,
        degrees: str = "even",
        residual: bool | None = None,
        direct_connections: bool | None = None,
        dropout: float | None = None,
        **shared: Unpack[SharedArguments],
    ) -> None:
        self.hidden_sizes = hidden_sizes
        self.activation = activation
        self.ordering = ordering
        self.n_orderings = n_orderings
        self.n_masks = n_masks
        self.resample_every = resample_every
        self.degrees = degrees
        self.residual = residual
        self.direct_connections = direct_connections
        self.dropout = dropout
        super().__init__(**shared)

    @classmethod
    def _from_json_parameters(cls, metadata: Mapping[str, Any]) -> Self:
        if metadata.get("ordering") == "any":
            raise StorageError(
                "it was saved as a MADE of any order, which there is no more: OrderlessNADE answers the same "
                "questions, better and faster; fit one to the rows"
            )
        return super()._from_json_parameters(metadata)

    def _conditioner(
        self,
        encoding: InputEncoding,
        conditionals: Conditionals,
        members: Members,
        n_context: int,
        generator: torch.Generator | None,
    ) -> Conditioner:
        direct = self.direct_connections
        if direct is None:
            few = encoding.n_features * conditionals.n_outputs <= _MAX_DIRECT_WEIGHTS
            direct = few or encoding.n_features <= 2 * self.hidden_sizes[-1]
        dropout = self.dropout
        if dropout is None:
            dropout = dropout_for(encoding, conditionals.starts)
        conditioner = MADEConditioner(
            encoding,
            conditionals.starts,
            members.orders,
            members.degrees,
            activation=self.activation,
            residual=self._is_residual(),
            direct=direct,
            dropout=dropout,
            n_context=n_context,
            generator=generator,
        )
        if generator is not None:
            _warn_of_lost_dependencies(conditioner)
        return conditioner

    def _draw_members(self, generator: torch.Generator) -> Members:
        orders = super()._draw_members(generator).orders
        has_context = self.context_schema_ is not None
        return Members(orders, tuple(self._degrees(orders.shape[1], has_context, generator)))

    def _read_members(self, arrays: StoredArrays) -> Members:
        orders, degrees = super()._read_members(arrays).orders, []
        for layer, size in enumerate(self._widths()):
            name = f"conditioner.degrees_{layer}"
            degrees.append(torch.from_numpy(arrays.read(name, ArraySpec((self.n_masks, size), "int64"))))
            if (degrees[-1] < 0).any() or (degrees[-1] >= orders.shape[1]).any():
                raise StorageError(f"the array {name!r} holds a degree beyond 0..{orders.shape[1] - 1}")
        return Members(orders, tuple(degrees))

    def _is_residual(self) -> bool:
        if self.residual is not None:
            return bool(self.residual)
        # Layers of one mask may differ in their degrees, which is what sampling of masks lives on.
        return len(set(self.hidden_sizes)) == 1 and self.n_masks == 1

    def _widths(self) -> list[int]:
        """Return the sizes of the hidden layers."""
        sizes = list(self.hidden_sizes)
        if not sizes or not all(isinstance(size, Integral) and size >= 1 for size in sizes):
            raise ParameterError(
                f"hidden_sizes must name whole numbers of units, one per layer, got {self.hidden_sizes!r}"
            )
        return sizes

    def _degrees(self, n_variables: int, has_context: bool, generator: torch.Generator) -> list[Tensor]:
        """Return the degrees of each hidden layer under each mask, (n_masks, H_l) per layer."""
        sizes = self._widths()
        # Units of degree 0 see the context alone; without one they would be constants.
        lowest = 0 if has_context else 1
        masks = []
        for _ in range(self.n_masks):
            if self.degrees == "even" and self.n_masks == 1:
                layers = [even_degrees(size, n_variables, lowest) for size in sizes]
            elif self._is_residual():
                layers = [uniform_degrees(sizes[0], n_variables, generator, lowest)] * len(sizes)
            else:
                layers = [uniform_degrees(size, n_variables, generator, lowest) for size in sizes]
            masks.append(layer_degrees(layers))
        return [torch.stack(layer) for layer in zip(*masks, strict=True)]


def _warn_of_lost_dependencies(conditioner: MADEConditioner) -> None:
    lost = conditioner.lost_dependencies()
    if lost:
        n_variables = conditioner.n_variables
        warnings.warn(
            f"{lost} of the {n_variables * (n_variables - 1) // 2} dependencies between variables have no "
            "path through these hidden layers; widen them or set direct_connections=True",
            stacklevel=2,
        )
