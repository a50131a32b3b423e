"""ConvNADE with the interface of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import torch

from chainrule.conditionals import Conditionals
from chainrule.conditioners import Conditioner, ConvNADEConditioner, InputEncoding
from chainrule.estimators.autoregressive import AutoregressiveEstimator
from chainrule.estimators.parameters import COUNT, IMAGE_SHAPE
from chainrule.estimators.restoring import Members
from chainrule.estimators.shared_arguments import SharedArguments
from chainrule.image_shape import ImageShape

__all__ = ["ConvNADE"]


class ConvNADE(AutoregressiveEstimator):
    """The conditionals of every order of an image's pixels (Uria et al. 2016), by one convolutional network.

    It answers any question p(these | those), exactly normalised: `score_samples` with `given` and `of`,
    `sample` with `given`, `impute`, `conditional`. Rows may have missing values, in training, too.

    Parameters
    ----------
    image_shape : sequence of int, optional
        (height, width) or (height, width, channels) of the image that a row is, line by line from the top
        left and of each pixel its channels. By default a square of one channel if there is one of so many
        columns, else one line.
    n_channels : int
        Maps of the finest size in each layer; coarser ones have twice as many.
    n_blocks : int
        Residual blocks on the finest maps.
    n_hidden : int
        Units that see the whole image, in each of two layers.
    activation : {"relu", "sigmoid", "tanh", "leaky_relu", "elu", "silu", "gelu"}
    n_orderings : int
        Over how many random orders scores and samples are averaged, unless a call says otherwise; training
        draws a new observed mask for every row.
    **shared
        What all networks' estimators take, and how to fit.

    Attributes
    ----------
    model_ : AutoregressiveModel
    schema_ : Schema
    history_ : History
        Its validation NLLs are estimates from a random observed mask of each row, the same ones in every
        epoch.
    batch_nll_ : list of float
        Estimated training NLL of each minibatch before its optimiser step, in nats of codes; not saved.
    offset_ : float
        Log-likelihood below which a row is an anomaly.
    n_features_in_, n_parameters_ : int

    Notes
    -----
    A row's log-likelihood takes D passes through the network for each order, and so does a draw;
    p(x_d | all others that are known) takes one.

    References
    ----------
    Uria, Cote, Gregor, Murray and Larochelle 2016, "Neural Autoregressive Distribution Estimation", JMLR 17.

    Examples
    --------
    >>> import numpy as np
    >>> from chainrule import ConvNADE
    >>> side = np.random.default_rng(0).integers(0, 2, (500, 1))
    >>> X = np.repeat([[0, 1]], 500, axis=0) ^ side
    >>> X = np.tile(X, 2)  # images of 2 x 2 pixels: a dark column and a light one
    >>> model = ConvNADE(8, image_shape=(2, 2), max_epochs=20, random_state=0).fit(X)
    >>> model.impute([[1, np.nan, np.nan, np.nan]], how="mode")
    array([[1, 0, 1, 0]])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **AutoregressiveEstimator._parameter_constraints,
        "image_shape": list(IMAGE_SHAPE),
        "n_channels": [COUNT],
        "n_blocks": [COUNT],
        "n_hidden": [COUNT],
    }

    _embeds_missing = True
    is_any_order = True
    supports_missing = True

    def __init__(
        self,
        n_channels: int = 32,
        *,
        image_shape: Sequence[int] | None = None,
        n_blocks: int = 2,
        n_hidden: int = 256,
        activation: str = "relu",
        n_orderings: int = 1,
        **shared: Unpack[SharedArguments],
    ) -> None:
        self.n_channels = n_channels
        self.image_shape = image_shape
        self.n_blocks = n_blocks
        self.n_hidden = n_hidden
        self.activation = activation
        self.n_orderings = n_orderings
        super().__init__(**shared)

    def _conditioner(
        self,
        encoding: InputEncoding,
        conditionals: Conditionals,
        members: Members,
        n_context: int,
        generator: torch.Generator | None,
    ) -> Conditioner:
        return ConvNADEConditioner(
            encoding,
            conditionals.starts,
            members.orders,
            ImageShape.of(self.image_shape, encoding.n_variables),
            n_channels=self.n_channels,
            n_blocks=self.n_blocks,
            n_hidden=self.n_hidden,
            activation=self.activation,
            n_context=n_context,
            generator=generator,
        )
