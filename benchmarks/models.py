"""The untrained models that are measured, and rows to measure them on."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.conditionals import Bernoulli, Conditional, Conditionals, MixtureOfGaussians
from chainrule.conditioners import (
    InputEncoding,
    MADEConditioner,
    NADEConditioner,
    OrderlessConditioner,
    PixelCNNConditioner,
)
from chainrule.image_shape import ImageShape
from chainrule.masks import even_degrees
from chainrule.model import AutoregressiveModel
from chainrule.orders import natural_order, random_orders
from chainrule.training import Rows, Trainer, TrainingOptions

__all__ = [
    "SHARE_OF_ONES",
    "any_order",
    "binary_rows",
    "gaussian_rows",
    "made",
    "nade",
    "pixel_cnn",
    "trainer",
]

# About the share of ink in MNIST.
SHARE_OF_ONES = 0.13
_SEED = 0


def made(
    n_variables: int, hidden_sizes: tuple[int, ...], *, n_orders: int = 1, kind: str = "binary"
) -> AutoregressiveModel:
    """Return a MADE without direct connections, as the textbook has it; continuous ones of one Gaussian."""
    conditionals = _conditionals(n_variables, kind)
    conditioner = MADEConditioner(
        _encoding(n_variables, kind),
        conditionals.starts,
        _orders(n_variables, n_orders),
        [even_degrees(size, n_variables)[None] for size in hidden_sizes],
        direct=False,
        generator=torch.Generator().manual_seed(_SEED),
    )
    return _with_margins(AutoregressiveModel(conditioner, conditionals))


def nade(n_variables: int, hidden_size: int, *, n_orders: int = 1) -> AutoregressiveModel:
    """Return a NADE of binary variables with sigmoid units."""
    conditionals = _conditionals(n_variables, "binary")
    conditioner = NADEConditioner(
        _encoding(n_variables, "binary"),
        conditionals.starts,
        _orders(n_variables, n_orders),
        hidden_size,
        activation="sigmoid",
        generator=torch.Generator().manual_seed(_SEED),
    )
    return _with_margins(AutoregressiveModel(conditioner, conditionals))


def pixel_cnn(side: int, n_filters: int, n_layers: int, cell_size: int) -> AutoregressiveModel:
    """Return a causal convolutional network over square binary images."""
    shape = ImageShape(side, side)
    cells, variables = shape.in_cells(cell_size)
    conditionals = _conditionals(shape.n_variables, "binary")
    conditioner = PixelCNNConditioner(
        _encoding(shape.n_variables, "binary"),
        conditionals.starts,
        variables[cells.scans()[:1]],
        shape,
        n_filters,
        n_layers=n_layers,
        cell_size=cell_size,
        generator=torch.Generator().manual_seed(_SEED),
    )
    return _with_margins(AutoregressiveModel(conditioner, conditionals))


def any_order(n_variables: int, hidden_sizes: tuple[int, ...]) -> dict[str, AutoregressiveModel]:
    """Return the models of binary variables that serve every order and any number of them, by name."""
    conditionals, orders = _conditionals(n_variables, "binary"), _orders(n_variables, 1)
    encoding, generator = _encoding(n_variables, "binary"), torch.Generator().manual_seed(_SEED)
    network = OrderlessConditioner(encoding, conditionals.starts, orders, hidden_sizes, generator=generator)
    return {"orderless NADE": _with_margins(AutoregressiveModel(network, conditionals))}


def trainer(model: AutoregressiveModel, x: Tensor) -> Trainer:
    """Return a trainer with the library's options whose `train_step` is to be timed on the rows."""
    # Rows enough for an epoch of many steps: how often weights are averaged depends on it.
    options = TrainingOptions(batch_size=len(x))
    many = x[:1].expand(100 * len(x), -1)
    model.train()
    return Trainer(model, Rows(many), None, options, torch.Generator().manual_seed(_SEED))


def binary_rows(n: int, n_variables: int) -> Tensor:
    """Return random rows with as many ones as handwritten digits have."""
    return (torch.rand(n, n_variables, generator=torch.Generator().manual_seed(1)) < SHARE_OF_ONES).float()


def gaussian_rows(n: int, n_variables: int) -> Tensor:
    """Return rows of independent standard normal variables."""
    return torch.randn(n, n_variables, generator=torch.Generator().manual_seed(1))


def _conditionals(n_variables: int, kind: str) -> Conditionals:
    return Conditionals([_family(kind)] * n_variables)


def _encoding(n_variables: int, kind: str) -> InputEncoding:
    return InputEncoding([_family(kind).input_features("onehot")] * n_variables)


def _family(kind: str) -> Conditional:
    return Bernoulli() if kind == "binary" else MixtureOfGaussians(1)


def _orders(n_variables: int, n_orders: int) -> Tensor:
    """Return the natural order, and random ones after it, (n_orders, D)."""
    orders = random_orders(n_variables, n_orders, torch.Generator().manual_seed(_SEED))
    orders[0] = natural_order(n_variables)
    return orders


def _with_margins(model: AutoregressiveModel) -> AutoregressiveModel:
    """Start from the margins of the rows above, as a fit does: samples then have as many ones."""
    if isinstance(model.conditionals.of_variable(0), Bernoulli):
        odds = torch.tensor(SHARE_OF_ONES / (1 - SHARE_OF_ONES))
        margins = odds.log().expand(model.conditioner.n_outputs)
    else:
        margins = model.conditionals.marginal_params(gaussian_rows(1000, model.conditionals.n_variables))
    model.conditioner.set_output_bias(margins)
    return model.eval()
