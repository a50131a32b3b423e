"""What compiled code must know of a model and its draws: plain data that the core makes and kernels read.

Nothing here needs a compiler, so that models are built, trained and sampled, if slower, where there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "COMPILED_FAMILIES",
    "LANES",
    "LOG_PROB_FORMS",
    "SAMPLER_ACTIVATIONS",
    "VECTOR_ACTIVATIONS",
    "Draws",
    "GPUMADEPlan",
    "GPUNADEPlan",
    "LogProbPlan",
    "MADEPlan",
    "NADEPlan",
    "RowPlan",
    "VariablePlan",
    "vector_activation_code",
    "whole_vectors",
]

Array: TypeAlias = "np.ndarray[Any, Any]"

# Codes of families; "given" is for variables that are not drawn.
COMPILED_FAMILIES = {"bernoulli": 0, "categorical": 1, "mixture": 2, "discretized": 3, "given": 4}
# Codes of the distributions whose log p and gradient are compiled.
LOG_PROB_FORMS = {"bernoulli": 0, "categorical": 1, "gaussians": 2, "rounded-logistics": 3}
# Codes of the activations that samplers know.
SAMPLER_ACTIVATIONS = {
    name: code for code, name in enumerate(("relu", "sigmoid", "tanh", "leaky_relu", "elu", "silu", "gelu"))
}
# Codes of those that are computed on whole vectors, and whose derivatives follow from their values.
VECTOR_ACTIVATIONS = {"relu": 0, "sigmoid": 1, "tanh": 2}
# Numbers in a vector of compiled code.
LANES = 32


def vector_activation_code(name: str, dtype: torch.dtype) -> int:
    """Return the code of one of `VECTOR_ACTIVATIONS` in the form that suits a precision."""
    code = VECTOR_ACTIVATIONS[name]
    return code + 2 if code and dtype == torch.float32 else code


def whole_vectors(tensor: Tensor) -> Array:
    """Return an array with zeros appended to the last dimension until it consists of whole vectors."""
    return F.pad(tensor.detach(), (0, -tensor.shape[-1] % LANES)).contiguous().numpy()


@dataclass(frozen=True)
class VariablePlan:
    """What the compiled log p must know of one variable.

    Attributes
    ----------
    form : str
        One of `LOG_PROB_FORMS`.
    n_components : int
        Levels of a categorical variable, components of a mixture.
    constants : tuple of float
        What is added to softplus(raw) to make a scale; of rounded logistics half the width of a level and the
        last level, too.
    values : tuple of float
        Codes with probabilities of their own, in rising order; their logits, and before them that of
        "elsewhere", come before the other params.
    is_beside : bool
        Whether the distribution elsewhere holds for these values, too.
    scores : tuple of pairs of float
        Knots of a piecewise linear function and its heights there: the distribution is one of its values.
    """

    form: str
    n_components: int = 1
    constants: tuple[float, ...] = ()
    values: tuple[float, ...] = ()
    is_beside: bool = False
    scores: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class LogProbPlan:
    """What the compiled log p must know of G variables, in arrays of length G unless said otherwise.

    Attributes
    ----------
    form : Array
        Codes of `LOG_PROB_FORMS`.
    start, stop : Array
        Where the params stand among the outputs.
    n_components : Array
    constants : Array, (G, 3)
    first_value : Array, (G + 1,)
        Where the variable's own values begin among all `values`.
    is_beside : Array
    values : Array
    first_knot : Array, (G + 1,)
        Where the variable's knots begin among all.
    knots : Array, (4, all knots)
        Knots, heights, slopes of the intervals that begin there, and the logs of the slopes.
    variable_of_output : Tensor, (n_outputs,)
        The place of an output's variable in these arrays; any where it has none.
    covers_all : bool
        Whether every output has one.
    """

    form: Array
    start: Array
    stop: Array
    n_components: Array
    constants: Array
    first_value: Array
    is_beside: Array
    values: Array
    first_knot: Array
    knots: Array
    variable_of_output: Tensor
    covers_all: bool

    @classmethod
    def of(cls, variables: Sequence[VariablePlan], spans: Sequence[tuple[int, int]], n_outputs: int) -> Self:
        """Return the plan of variables whose params are such spans of the outputs."""
        start, stop = np.array(spans).T
        place = torch.zeros(n_outputs, dtype=torch.int64)
        for g, (low, high) in enumerate(spans):
            place[low:high] = g
        constants = np.zeros((len(variables), 3), np.float32)
        for g, variable in enumerate(variables):
            constants[g, : len(variable.constants)] = variable.constants
        knots = [_with_slopes(np.array(variable.scores).reshape(-1, 2).T) for variable in variables]
        return cls(
            form=np.array([LOG_PROB_FORMS[variable.form] for variable in variables]),
            start=start.copy(),
            stop=stop.copy(),
            n_components=np.array([variable.n_components for variable in variables]),
            constants=constants,
            first_value=np.cumsum([0, *(len(variable.values) for variable in variables)]),
            is_beside=np.array([variable.is_beside for variable in variables]),
            values=np.array([value for v in variables for value in v.values], np.float32),
            first_knot=np.cumsum([0, *(each.shape[1] for each in knots)]),
            knots=np.concatenate(knots, axis=1).astype(np.float32),
            variable_of_output=place,
            covers_all=int((stop - start).sum()) == n_outputs,
        )

    def arrays(self) -> tuple[Array, ...]:
        """Return the arrays in the order in which the compiled pass takes them."""
        return (
            self.form, self.start, self.stop, self.n_components, self.constants, self.first_value,
            self.is_beside, self.values, self.first_knot, self.knots,
        )  # fmt: skip


def _with_slopes(scores: Array) -> Array:
    """Return knots and heights (2, K) with slopes and their logs, (4, K); the last ones are unused."""
    if not scores.size:
        return np.empty((4, 0))
    knots, heights = scores
    slopes = np.append(np.diff(heights) / np.diff(knots), 1.0)
    return np.stack([knots, heights, slopes, np.log(slopes)])


@dataclass(frozen=True)
class RowPlan:
    """The variables of a row, in arrays of length D.

    Attributes
    ----------
    order : Array
    family : Array
        Codes of `COMPILED_FAMILIES`.
    start, width : Array
        Where the params stand among the outputs.
    n_levels : Array
        K of discrete variables.
    min_scale : Array
        What is added to softplus(raw) to make a scale.
    feature, onehot, factor, shift : Array
        The first feature; whether the code chooses a feature, or else is one, as ``factor * x + shift``.
    """

    order: Array
    family: Array
    start: Array
    width: Array
    n_levels: Array
    min_scale: Array
    feature: Array
    onehot: Array
    factor: Array
    shift: Array

    def arrays(self) -> tuple[Array, ...]:
        """Return the arrays in the order in which the compiled passes take them."""
        return (
            self.order, self.family, self.start, self.width, self.n_levels, self.min_scale,
            self.feature, self.onehot, self.factor, self.shift,
        )  # fmt: skip

    def with_observed(self, observed: Array) -> RowPlan:
        """Return a plan in which some variables (bool (D,)) are not drawn; see `Draws`."""
        return replace(self, family=np.where(observed, COMPILED_FAMILIES["given"], self.family))


@dataclass(frozen=True)
class Draws:
    """The random numbers of n rows.

    Attributes
    ----------
    uniforms : Array, (n, D)
        Of binary variables their logits, which is what the params are compared with; of observed variables,
        which are not drawn, their codes.
    quantiles : Array, (n, D)
        Standard quantiles, or (1, 1) where unused.
    """

    uniforms: Array
    quantiles: Array


@dataclass(frozen=True)
class MADEPlan:
    """A MADE whose hidden layers are sorted by degree and filled up with zeros to one width W.

    Attributes
    ----------
    first : Array, (F, W)
        From features to the first layer.
    bias : Array, (L, W)
    between : Array, (L - 1, W, W)
        Weights of the further layers.
    complete : Array, (L, D)
        Number of units of a layer that have all their inputs at each position.
    output : Array, (n_outputs, W)
    output_bias : Array, (n_outputs,)
    direct : Array, (F, n_outputs filled up) or (0, 0)
    first_start : Array, (n or 1, W)
        What the context adds to the first layer.
    output_start : Array, (n or 1, n_outputs)
        What the context adds to the outputs.
    activation : int
        Of `SAMPLER_ACTIVATIONS`.
    residual : bool
    """

    first: Array
    bias: Array
    between: Array
    complete: Array
    output: Array
    output_bias: Array
    direct: Array
    first_start: Array
    output_start: Array
    activation: int
    residual: bool


@dataclass(frozen=True)
class NADEPlan:
    """A NADE, its hidden units filled up with zeros to a width W.

    Attributes
    ----------
    weight : Array, (F, W)
    start : Array, (n or 1, W)
        Pre-activations before any variable is known: bias and context.
    output : Array, (n_outputs, W)
    output_bias : Array, (n_outputs,)
    output_start : Array, (n or 1, n_outputs)
        What the context adds to the outputs.
    activation : int
        Of `SAMPLER_ACTIVATIONS`.
    vector_activation : int
        Its `vector_activation_code`, or -1.
    """

    weight: Array
    start: Array
    output: Array
    output_bias: Array
    output_start: Array
    activation: int
    vector_activation: int


@dataclass(frozen=True)
class GPUMADEPlan:
    """A MADE whose hidden layers are sorted by degree, in tensors on one device.

    Attributes
    ----------
    first : Tensor, (F, H_1)
        From features to the first layer.
    start : Tensor, (n or 1, H_1)
        Pre-activations of the first layer before any variable is known: bias and context.
    between : Tensor
        Weights (H_l, H_{l-1}) of the further layers, flattened, one after the other.
    bias : Tensor, (sum of H_l,)
        Biases of all layers, one after the other; those of the first are not read again.
    complete : Tensor, int64 (L, D + 1)
        Number of units of a layer that have all their inputs at each position, after a column of zeros.
    sizes : tuple of int, length L
    output : Tensor, (n_outputs, H_L)
    output_start : Tensor, (n or 1, n_outputs)
        Bias and context.
    direct : Tensor, (n_outputs, F), or None
    activation : int
    residual : bool
    """

    first: Tensor
    start: Tensor
    between: Tensor
    bias: Tensor
    complete: Tensor
    sizes: tuple[int, ...]
    output: Tensor
    output_start: Tensor
    direct: Tensor | None
    activation: int
    residual: bool


@dataclass(frozen=True)
class GPUNADEPlan:
    """A NADE: weight (F, H), start (n or 1, H), output (n_outputs, H), output_start (n or 1, n_outputs)."""

    weight: Tensor
    start: Tensor
    output: Tensor
    output_start: Tensor
    activation: int
