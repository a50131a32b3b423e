"""NADE and MADE with the face of scikit-learn."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor

from chainrule.conditionals import MIXTURES, Conditionals
from chainrule.conditioners import (
    ACTIVATIONS,
    ENCODINGS,
    Conditioner,
    InputEncoding,
    MADEConditioner,
    NADEConditioner,
)
from chainrule.errors import ParameterError
from chainrule.estimators.base import DensityEstimator
from chainrule.masks import even_degrees, layer_degrees, uniform_degrees
from chainrule.model import AutoregressiveModel
from chainrule.orders import given_order, natural_order, random_orders
from chainrule.progress import FitProgress
from chainrule.training import History, Rows, Trainer, TrainingOptions, evaluation_batch

__all__ = ["MADE", "NADE"]

# Direct connections cost features x outputs weights: beyond this many, and beyond twice the weights of the
# output layer, they are left out unless asked for.
_MOST_DIRECT_WEIGHTS = 2_000_000
_COUNT = Interval(Integral, 1, None, closed="left")
# Numbers from which the margins are estimated, at which training starts.
_MARGIN_NUMBERS = 2**23


class _AutoregressiveEstimator(DensityEstimator):
    """What NADE and MADE share: building, fitting, scoring, sampling and saving an `AutoregressiveModel`."""

    supports_context: ClassVar[bool] = True

    model_: AutoregressiveModel
    history_: History

    activation: str
    ordering: str | Sequence[int]
    n_orderings: int
    n_components: int
    resample_every: int
    mixture: str
    encoding: str
    learning_rate: float
    weight_decay: float
    batch_size: int
    max_epochs: int
    patience: int
    validation_fraction: float
    device: str | None
    checkpoint: str | Path | None
    verbose: bool | int

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "activation": [StrOptions(set(ACTIVATIONS))],
        "ordering": [StrOptions({"natural", "random"}), "array-like"],
        "n_orderings": [_COUNT],
        "resample_every": [_COUNT],
        "n_components": [_COUNT],
        "mixture": [StrOptions(set(MIXTURES))],
        "encoding": [StrOptions(set(ENCODINGS))],
        "kinds": [None, str, Mapping],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "batch_size": [_COUNT],
        "max_epochs": [_COUNT],
        "patience": [_COUNT],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "device": [None, str],
        "checkpoint": [None, str, Path],
        "verbose": ["verbose"],
        "random_state": ["random_state", np.random.Generator],
    }

    @abstractmethod
    def _conditioner(
        self,
        encoding: InputEncoding,
        conditionals: Conditionals,
        orders: Tensor,
        n_context: int,
        generator: torch.Generator,
    ) -> Conditioner:
        """Return the untrained network."""

    def _options(self) -> TrainingOptions:
        return TrainingOptions(
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            batch_size=self.batch_size,
            max_epochs=self.max_epochs,
            patience=self.patience,
            resample_every=self.resample_every,
        )

    def _build(self, generator: torch.Generator) -> AutoregressiveModel:
        """Return an untrained model for the columns of `schema_` and `context_schema_`."""
        schema = self.schema_
        conditionals = Conditionals(schema.kinds, schema.n_levels, self.n_components, self.mixture)
        encoding = InputEncoding(schema.kinds, schema.n_levels, self.encoding)
        orders = self._orders(schema.n_variables, generator)
        context = self._context_encoding()
        n_context = 0 if context is None else context.n_features
        return AutoregressiveModel(
            self._conditioner(encoding, conditionals, orders, n_context, generator), conditionals
        )

    def _orders(self, n_variables: int, generator: torch.Generator) -> Tensor:
        """Return the orders of the ensemble, (n_orderings, D)."""
        orders = random_orders(n_variables, self.n_orderings, generator)
        if not isinstance(self.ordering, str):
            orders[0] = given_order(self.ordering, n_variables)
        elif self.ordering == "natural":
            orders[0] = natural_order(n_variables)
        return orders

    def _context_encoding(self) -> InputEncoding | None:
        if self.context_schema_ is None:
            return None
        return InputEncoding(self.context_schema_.kinds, self.context_schema_.n_levels)

    def _device(self) -> torch.device:
        """Return the device to compute on: the one asked for, else a CUDA device if there is one."""
        if self.device is None:
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if not _is_available(self.device):
            raise ParameterError(f'device {self.device!r} cannot be used here; "cpu" can')
        return torch.device(self.device)

    def _rows(self, codes: np.ndarray, context: np.ndarray | None) -> Rows:
        device = self._device()
        encoding = self._context_encoding()
        features = None
        if encoding is not None and context is not None:
            features = encoding(torch.from_numpy(np.ascontiguousarray(context, dtype=np.float32))).to(device)
        return Rows(torch.from_numpy(np.ascontiguousarray(codes, dtype=np.float32)).to(device), features)

    def _fit_codes(
        self,
        codes: np.ndarray,
        codes_val: np.ndarray | None,
        *,
        generator: np.random.Generator,
        context: np.ndarray | None,
        context_val: np.ndarray | None,
    ) -> None:
        torch_generator = _torch_generator(generator)
        model = self._build(torch_generator)
        train = self._rows(codes, context)
        valid = None if codes_val is None else self._rows(codes_val, context_val)
        model.conditioner.set_output_bias(
            model.conditionals.marginal_params(train.codes[: _margin_rows(codes.shape[1])].cpu())
        )
        self.model_ = model.to(self._device())
        self.n_parameters_ = model.conditioner.n_free_parameters()
        trainer = Trainer(self.model_, train, valid, self._options(), torch_generator)
        bar = FitProgress(type(self).__name__, self.max_epochs) if self.verbose else nullcontext(None)
        try:
            with bar as on_epoch:
                trainer.run(on_epoch, None if self.checkpoint is None else Path(self.checkpoint))
        finally:
            self.history_ = trainer.history

    @torch.no_grad()
    def _score_codes(self, codes: np.ndarray, context: np.ndarray | None) -> np.ndarray:
        size = evaluation_batch(self.model_)
        scores = np.empty(len(codes))
        for start in range(0, len(codes), size):
            part = slice(start, start + size)
            rows = self._rows(codes[part], None if context is None else context[part])
            scores[part] = self.model_.log_prob(rows.codes, rows.context).cpu().numpy()
        return scores

    def _sample_codes(self, n: int, generator: np.random.Generator, context: np.ndarray | None) -> np.ndarray:
        torch_generator = _torch_generator(generator, self._device())
        size = evaluation_batch(self.model_)
        parts = []
        for start in range(0, n, size):
            count = min(size, n - start)
            features = None
            if context is not None:
                features = self._rows(np.zeros((count, 0)), context[start : start + count]).context
            parts.append(self.model_.sample(count, torch_generator, features).cpu().numpy())
        return np.concatenate(parts)

    def _get_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        arrays = {name: t.cpu().numpy() for name, t in self.model_.state_dict().items()}
        return {"n_parameters": self.n_parameters_, "history": self.history_.to_dict()}, arrays

    def _set_state(self, facts: Mapping[str, Any], arrays: dict[str, np.ndarray]) -> None:
        if self.device is not None and not _is_available(self.device):
            self.device = None  # Saved on a machine with another device: go on with what is here.
        # The random draws of building are all overwritten by what was saved.
        model = self._build(torch.Generator())
        model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
        self.model_ = model.to(self._device()).eval()
        self.n_parameters_ = int(facts["n_parameters"])
        self.history_ = History(**facts["history"])


class NADE(_AutoregressiveEstimator):
    """Neural autoregressive distribution estimator (Larochelle & Murray 2011; Uria et al. 2013 for RNADE).

    One hidden layer whose weights all positions share. Continuous columns get conditional mixtures (RNADE).

    Parameters
    ----------
    hidden_size : int
        Hidden units H.
    activation : {"sigmoid", "tanh", "relu", "leaky_relu", "elu", "silu", "gelu"}
    ordering : {"natural", "random"} or sequence of int
        In which order the variables condition on each other.
    n_orderings : int
        How many orders share the weights; the first is `ordering`, the others are random. The model is the
        mean of their probabilities.
    resample_every : int
        Optimiser steps between two orders of the ensemble.
    n_components : int
        Components of the conditional mixtures of ordinal and continuous columns.
    mixture : {"gaussian", "logistic", "laplace"}
        Component density of continuous columns.
    encoding : {"onehot", "scaled", "raw"}
        How categorical columns enter the network.
    kinds : str or mapping, optional
        Kind of all columns, or of single ones: "binary", "categorical", "ordinal" or "continuous". What is
        not given is inferred from the training rows.
    learning_rate, weight_decay : float
        Of AdamW.
    batch_size, max_epochs, patience : int
        `patience` epochs without a better validation likelihood end the fit; the best weights are kept.
    validation_fraction : float
        Share of the training rows to validate on when `fit` is given no `X_val`.
    device : str, optional
        By default a CUDA device if there is one, otherwise the CPU.
    checkpoint : path, optional
        A file that keeps the state of the fit; a fit that finds it there goes on from it.
    verbose : bool
        Show a progress bar.
    random_state : int, Generator or RandomState, optional

    Attributes
    ----------
    model_ : AutoregressiveModel
    schema_ : Schema
    history_ : History
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
        **_AutoregressiveEstimator._parameter_constraints,
        "hidden_size": [_COUNT],
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
        learning_rate: float = 5e-3,
        weight_decay: float = 2e-2,
        batch_size: int = 100,
        max_epochs: int = 200,
        patience: int = 15,
        validation_fraction: float = 0.1,
        device: str | None = None,
        checkpoint: str | Path | None = None,
        verbose: bool | int = False,
        random_state: Any = None,
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
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.device = device
        self.checkpoint = checkpoint
        self.verbose = verbose
        self.random_state = random_state

    def _conditioner(
        self,
        encoding: InputEncoding,
        conditionals: Conditionals,
        orders: Tensor,
        n_context: int,
        generator: torch.Generator,
    ) -> Conditioner:
        return NADEConditioner(
            encoding,
            conditionals.starts,
            orders,
            self.hidden_size,
            activation=self.activation,
            n_context=n_context,
            generator=generator,
        )


class MADE(_AutoregressiveEstimator):
    """Masked autoencoder for distribution estimation (Germain et al. 2015).

    Parameters
    ----------
    hidden_sizes : sequence of int
        Units of each hidden layer.
    activation : {"sigmoid", "tanh", "relu", "leaky_relu", "elu", "silu", "gelu"}
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
    dropout : float
        Share of hidden units left out in training.
    n_components, mixture, encoding, kinds, learning_rate, weight_decay, batch_size, max_epochs, patience, \
validation_fraction, device, checkpoint, verbose, random_state
        As in `NADE`.

    Attributes
    ----------
    model_ : AutoregressiveModel
    schema_ : Schema
    history_ : History
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
        **_AutoregressiveEstimator._parameter_constraints,
        "hidden_sizes": ["array-like"],
        "n_masks": [_COUNT],
        "degrees": [StrOptions({"even", "uniform"})],
        "residual": ["boolean", None],
        "direct_connections": ["boolean", None],
        "dropout": [Interval(Real, 0, 0.99, closed="left")],
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
        dropout: float = 0.3,
        n_components: int = 10,
        mixture: str = "gaussian",
        encoding: str = "onehot",
        kinds: str | Mapping[Any, str] | None = None,
        learning_rate: float = 5e-3,
        weight_decay: float = 2e-2,
        batch_size: int = 100,
        max_epochs: int = 200,
        patience: int = 15,
        validation_fraction: float = 0.1,
        device: str | None = None,
        checkpoint: str | Path | None = None,
        verbose: bool | int = False,
        random_state: Any = None,
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
        self.n_components = n_components
        self.mixture = mixture
        self.encoding = encoding
        self.kinds = kinds
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.device = device
        self.checkpoint = checkpoint
        self.verbose = verbose
        self.random_state = random_state

    def _conditioner(
        self,
        encoding: InputEncoding,
        conditionals: Conditionals,
        orders: Tensor,
        n_context: int,
        generator: torch.Generator,
    ) -> Conditioner:
        direct = self.direct_connections
        if direct is None:
            few = encoding.n_features * conditionals.n_outputs <= _MOST_DIRECT_WEIGHTS
            direct = few or encoding.n_features <= 2 * self.hidden_sizes[-1]
        conditioner = MADEConditioner(
            encoding,
            conditionals.starts,
            orders,
            self._degrees(conditionals.n_variables, n_context, generator),
            activation=self.activation,
            residual=self._is_residual(),
            direct=direct,
            dropout=self.dropout,
            n_context=n_context,
            generator=generator,
        )
        _warn_of_lost_dependencies(conditioner)
        return conditioner

    def _is_residual(self) -> bool:
        if self.residual is not None:
            return bool(self.residual)
        # Layers of one mask may differ in their degrees, which is what sampling of masks lives on.
        return len(set(self.hidden_sizes)) == 1 and self.n_masks == 1

    def _degrees(self, n_variables: int, n_context: int, generator: torch.Generator) -> list[Tensor]:
        """Return the degrees of each hidden layer under each mask, (n_masks, H_l) per layer."""
        sizes = list(self.hidden_sizes)
        if not sizes or not all(isinstance(size, Integral) and size >= 1 for size in sizes):
            raise ParameterError(
                f"hidden_sizes must name whole numbers of units, one per layer, got {self.hidden_sizes!r}"
            )
        # Units of degree 0 see the context alone; without one they would be constants.
        lowest = 0 if n_context else 1
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


def _is_available(device: str) -> bool:
    """Return whether tensors can live there; only an allocation shows what build and machine can do."""
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError):
        return False
    return True


def _margin_rows(n_variables: int) -> int:
    return max(1000, _MARGIN_NUMBERS // n_variables)


def _torch_generator(generator: np.random.Generator, device: torch.device | None = None) -> torch.Generator:
    seed = int(generator.integers(2**62))
    return torch.Generator(device or torch.device("cpu")).manual_seed(seed)
