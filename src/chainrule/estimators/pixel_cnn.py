"""A causal convolutional network over images with the interface of scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Self, Unpack

import torch
from sklearn.utils._param_validation import Interval
from torch import Tensor

from chainrule.conditionals import Conditionals
from chainrule.conditioners import Conditioner, InputEncoding, PixelCNNConditioner
from chainrule.errors import ParameterError
from chainrule.estimators.autoregressive import AutoregressiveEstimator
from chainrule.estimators.parameters import COUNT, IMAGE_SHAPE
from chainrule.estimators.restoring import Members
from chainrule.estimators.shared_arguments import SharedArguments
from chainrule.image_shape import ImageShape
from chainrule.orders import given_order
from chainrule.schema import Schema

__all__ = ["PixelCNN"]


class PixelCNN(AutoregressiveEstimator):
    """Causal convolutional network over images (van den Oord et al. 2016), with gated residual blocks.

    Pixels come line by line, and each is predicted from those before it: from all lines above, and from its
    own line, so that no pixel within reach is unseen. Channels of a pixel, such as red, green and blue, come
    one after the other. Blocks share their weights over the image, beside what they know of each line, column
    and pixel's marginal. Rows need not be images: those of D columns, where D is no square number, count as
    images of one line.

    Larger images are read by cells of 2 x 2 pixels, whose pixels come one after the other as channels do: the
    convolutions are computed at a quarter of the places, and reach twice as far.

    Parameters
    ----------
    n_filters : int
        Width of both stacks of convolutions.
    n_layers : int
        Residual blocks.
    kernel_size : int
        Width of the blocks' kernels, odd and at least 3; the first layer sees so far up, and to either side.
    image_shape : tuple of int, optional
        (height, width) or (height, width, channels). By default that of the data set where a command reads
        one; else a square of one channel, or one line if D is no square number.
    cell_size : int, optional
        Sides of cells, in pixels; 1 reads pixel by pixel. By default 2 where both sides of the image are even
        and have at least 16 pixels, else 1.
    activation : {"relu", "sigmoid", "tanh", "leaky_relu", "elu", "silu", "gelu"}
    ordering : {"natural", "random"} or sequence of int
        From which corner, and along what, the image is read: along lines from the top left, one of
        `ImageShape.scans` of the cells at random, or one that is given.
    n_orderings : int
        How many scans share the weights; the first is `ordering`, the others are those that differ most: from
        the opposite corner, along columns. There are 8 of a square image, 4 of another, 2 of a line, and no
        more are taken. The model is the mean of their probabilities.
    resample_every : int
        Optimiser steps between two scans of the ensemble.
    dropout : float
        Share of the activations in each block left out in training.
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
    >>> from chainrule import PixelCNN
    >>> X = np.random.default_rng(0).integers(0, 2, (200, 12))
    >>> model = PixelCNN(8, n_layers=2, image_shape=(3, 4), max_epochs=2, random_state=0).fit(X)
    >>> model.score_samples(X[:5]).shape
    (5,)
    >>> model.sample(4, random_state=0).shape
    (4, 12)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **AutoregressiveEstimator._parameter_constraints,
        "n_filters": [COUNT],
        "n_layers": [Interval(Integral, 1, 200, closed="both")],
        "kernel_size": [Interval(Integral, 3, None, closed="left")],
        "image_shape": [*IMAGE_SHAPE],
        "cell_size": [COUNT, None],
        "dropout": [Interval(Real, 0, 0.99, closed="left")],
    }

    def __init__(
        self,
        n_filters: int = 48,
        *,
        n_layers: int = 6,
        kernel_size: int = 3,
        image_shape: Sequence[int] | None = None,
        cell_size: int | None = None,
        activation: str = "relu",
        ordering: str | Sequence[int] = "natural",
        n_orderings: int = 1,
        resample_every: int = 1,
        dropout: float = 0.0,
        **shared: Unpack[SharedArguments],
    ) -> None:
        self.n_filters = n_filters
        self.n_layers = n_layers
        self.kernel_size = kernel_size
        self.image_shape = image_shape
        self.cell_size = cell_size
        self.activation = activation
        self.ordering = ordering
        self.n_orderings = n_orderings
        self.resample_every = resample_every
        self.dropout = dropout
        super().__init__(**shared)

    @classmethod
    def _from_json_parameters(cls, metadata: Mapping[str, Any]) -> Self:
        # What was saved before there were cells reads pixel by pixel.
        return super()._from_json_parameters({"cell_size": 1, **metadata})

    def check(self, schema: Schema) -> None:
        """Raise what `fit` would raise of the constructor arguments and of the kinds of columns."""
        super().check(schema)
        self._cells(schema.n_variables)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.kernel_size % 2 == 0:
            raise ParameterError(
                f"kernel_size must be odd, so that kernels have a middle, got {self.kernel_size}"
            )

    def _shape(self, n_variables: int) -> ImageShape:
        return ImageShape.of(self.image_shape, n_variables)

    def _cell_size(self, shape: ImageShape) -> int:
        return shape.cell_size if self.cell_size is None else self.cell_size

    def _cells(self, n_variables: int) -> tuple[ImageShape, Tensor]:
        """Return the image of cells, and the columns that its variables are."""
        shape = self._shape(n_variables)
        return shape.in_cells(self._cell_size(shape))

    def _n_orders(self) -> int:
        return min(self.n_orderings, self._cells(self.schema_.n_variables)[0].n_scans)

    def _conditioner(
        self,
        encoding: InputEncoding,
        conditionals: Conditionals,
        members: Members,
        n_context: int,
        generator: torch.Generator | None,
    ) -> Conditioner:
        shape = self._shape(self.schema_.n_variables)
        return PixelCNNConditioner(
            encoding,
            conditionals.starts,
            members.orders,
            shape,
            self.n_filters,
            n_layers=self.n_layers,
            kernel_size=self.kernel_size,
            cell_size=self._cell_size(shape),
            activation=self.activation,
            dropout=self.dropout,
            n_context=n_context,
            generator=generator,
        )

    def _draw_members(self, generator: torch.Generator) -> Members:
        n_variables = self.schema_.n_variables
        cells, columns = self._cells(n_variables)
        scans = columns[cells.scans()]
        first = scans[0]
        if not isinstance(self.ordering, str):
            first = given_order(self.ordering, n_variables)
        elif self.ordering == "random":
            first = scans[int(torch.randint(len(scans), (1,), generator=generator))]
        others = scans[(scans != first).any(1)]
        return Members(torch.cat([first[None], others])[: self._n_orders()])
