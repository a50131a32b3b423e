"""A model of any order as plain data: what JavaScript needs to compute what it computes."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chainrule.conditionals import (
    Bernoulli,
    Categorical,
    Conditional,
    DiscretizedLogistics,
    InputFeatures,
    MixtureOfGaussians,
    MixtureOfLaplaces,
    MixtureOfLogistics,
    NegativeBinomials,
    NormalScores,
    PointMasses,
)
from chainrule.conditionals.counts import MAX_LOG_MEAN, MAX_SIZE, MIN_SIZE
from chainrule.conditionals.normal_scores import Scores
from chainrule.conditioners import ColumnNetworks, Conditioner, OrderlessConditioner
from chainrule.errors import QueryError
from chainrule.model import AutoregressiveModel
from chainrule.schema import ColumnType, Schema
from chainrule.storage import json_safe

__all__ = ["Description", "describe"]


@dataclass
class Description:
    """A model without Python: metadata that JSON can hold, and weights.

    Attributes
    ----------
    metadata : dict
        ``columns``, ``starts`` (where the params of each begin), and ``members``: networks, whose tensors are
        named with type, first byte and number of elements.
    weights : bytearray
    """

    metadata: dict[str, Any]
    weights: bytearray = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return what the page's script reads: the metadata, and the weights as text."""
        return {"description": self.metadata, "weights": base64.b64encode(self.weights).decode("ascii")}


def describe(models: Sequence[AutoregressiveModel], schema: Schema) -> Description:
    """Return the description of a model of any order, or of several whose conditionals are averaged.

    Weights of hidden layers are rounded to half precision. Biases and the weights of the outputs are not:
    locations and scales of narrow components would suffer.

    Parameters
    ----------
    models : sequence of AutoregressiveModel
        Members with the same families.
    schema : Schema

    Raises
    ------
    QueryError
        If a network or a family has no counterpart in JavaScript, or the model has context or rules: naming
        it.
    """
    if any(model.restriction is not None for model in models):
        raise QueryError("the page knows of no rules between columns: fit a model without them")
    conditionals = models[0].conditionals
    families = [conditionals.of_variable(d) for d in range(schema.n_variables)]
    features = _described_features(models[0].conditioner.encoding.features, schema)
    columns = [
        {
            **_described_column(variable, family),
            "family": _described_family(family, variable.name),
            "features": each,
        }
        for variable, family, each in zip(schema.variables, families, features, strict=True)
    ]
    weights = bytearray()
    members = [_described_network(model.conditioner, weights) for model in models]
    metadata = {"columns": columns, "starts": list(conditionals.starts), "members": members}
    return Description(json_safe(metadata), weights)


# ---------------------------------------------------------------- columns


def _described_column(variable: ColumnType, family: Conditional) -> dict[str, Any]:
    """Return what a column's values are; a number is ``code * step + offset``."""
    offset, step = _line_of(variable) if variable.is_numeric else (0.0, 1.0)
    bins = variable.bins
    return {
        "name": variable.name,
        "is_numeric": variable.is_numeric,
        "is_whole": _is_whole(variable),
        "unit": variable.unit,
        "summary": variable.describe(),
        "levels": _described_levels(variable.levels),
        "bins": None if bins is None else bins.to_dict(),
        "offset": offset,
        "step": step,
        "masses": variable.numbers(family.codes[0].numpy()).tolist()
        if isinstance(family, PointMasses) and not variable.is_discrete
        else [],
        "log_seen": variable.seen_log_det if variable.is_discrete and bins is None else 0.0,
    }


def _line_of(variable: ColumnType) -> tuple[float, float]:
    """Return the number of code 0, and by how much that of the next one differs."""
    zero, one, two = variable.numbers(np.array([0.0, 1.0, 2.0])).tolist()
    if not math.isclose(two - zero, 2 * (one - zero), rel_tol=1e-6):
        raise _without_counterpart(f"the codes of column {variable.name!r}, which do not lie evenly")
    return zero, one - zero


def _is_whole(variable: ColumnType) -> bool:
    """Return whether the column's values are whole numbers."""
    if not variable.is_numeric:
        return False
    values = variable.decode(np.array([0.0, 1.0]) if variable.is_discrete else np.array([0.123, 0.789]))
    return bool((values == np.rint(values.astype(np.float64))).all())


def _described_levels(levels: Sequence[Any] | None) -> Any:
    """Return the list of levels, of integers in a row their ends, or None where there is no end."""
    if isinstance(levels, range):
        return {"low": levels[0], "high": levels[-1]}
    return None if levels is None else list(levels)


def _described_features(features: Sequence[InputFeatures], schema: Schema) -> list[dict[str, Any]]:
    """Return how networks see each column's codes, and where its features begin."""
    described, start = [], 0
    for each, name in zip(features, schema.names, strict=True):
        if each.transform not in (None, torch.log1p) and not isinstance(each.transform, Scores):
            raise _without_counterpart(f"the transformation of codes of column {name!r}")
        described.append(
            {
                "start": start,
                "width": each.width,
                "n_indicators": each.n_indicators,
                "factor": each.factor,
                "shift": each.shift,
                "point_masses": list(each.point_masses),
                "transform": _described_transform(each.transform),
            }
        )
        start += each.width
    return described


def _described_transform(transform: Any) -> Any:
    """Return the name of a transformation, of normal scores what they are."""
    if isinstance(transform, Scores):
        return {"knots": transform.knots[0].tolist(), "heights": transform.heights[0].tolist()}
    return None if transform is None else "log1p"


# ---------------------------------------------------------------- families


def _of_bernoulli(family: Any) -> dict[str, Any]:
    return {}


def _of_categorical(family: Any) -> dict[str, Any]:
    return {"n_codes": family.n_parameters}


def _of_discretized(family: Any) -> dict[str, Any]:
    n_codes, min_scale = family.compiled_constants()
    return {"n_components": family.n_components, "n_codes": n_codes, "min_scale": min_scale}


def _of_mixture(family: Any) -> dict[str, Any]:
    return {"n_components": family.n_components, "min_scale": family.min_scale}


def _of_counts(family: Any) -> dict[str, Any]:
    limits = {"max_log_mean": MAX_LOG_MEAN, "min_size": MIN_SIZE, "max_size": MAX_SIZE}
    return {"n_components": family.n_components, **limits}


_FAMILIES: dict[type[Conditional], Callable[[Any], dict[str, Any]]] = {
    Bernoulli: _of_bernoulli,
    Categorical: _of_categorical,
    DiscretizedLogistics: _of_discretized,
    MixtureOfGaussians: _of_mixture,
    MixtureOfLogistics: _of_mixture,
    MixtureOfLaplaces: _of_mixture,
    NegativeBinomials: _of_counts,
}


def _described_family(family: Conditional, column: str) -> dict[str, Any]:
    """Return the name and the constants of a family; a subclass may be another one, and is refused."""
    if isinstance(family, PointMasses):
        density = _described_family(family.density, column)
        return {"name": family.name, "codes": family.codes[0].tolist(), "density": density}
    if isinstance(family, NormalScores):
        density, scores = _described_family(family.density, column), _described_transform(family.scores)
        return {"name": family.name, **scores, "density": density}
    constants = _FAMILIES.get(type(family))
    if constants is None:
        raise _without_counterpart(f"the family {family.name!r} of column {column!r}")
    return {"name": family.name, **constants(family)}


def _without_counterpart(what: str) -> QueryError:
    known = "fit with families and networks that it knows, such as mixtures of Gaussians"
    return QueryError(f"the page cannot compute {what}: {known}")


# ---------------------------------------------------------------- networks


def _described_network(network: Conditioner, weights: bytearray) -> dict[str, Any]:
    """Return what a network is, and add its weights to the others."""
    if network.output_context is not None:
        raise QueryError("the page has no place for context: fit a model without it, or with it as columns")
    tensors: Mapping[str, tuple[Tensor, str]]
    if type(network) is ColumnNetworks:
        settings, tensors = _of_columns(network)
    elif type(network) is OrderlessConditioner:
        settings, tensors = _of_shared(network)
    else:
        raise _without_counterpart(f"a network of class {type(network).__name__}")
    places = {name: _add(weights, tensor, precision) for name, (tensor, precision) in tensors.items()}
    return {**settings, "activation": network.activation, "tensors": places}


def _of_columns(network: ColumnNetworks) -> tuple[dict[str, Any], dict[str, tuple[Tensor, str]]]:
    settings = {
        "network": "columns",
        "n_layers": 1 + len(network.deep),
        "width": network.first.shape[2],
        "flags": network.get_buffer("_flag").tolist(),
    }
    return settings, {
        "first": (network.first, "float16"),
        "first_bias": (network.first_bias, "float32"),
        "deep": (network.deep, "float16"),
        "deep_bias": (network.deep_bias, "float32"),
        "output": (network.output, "float32"),
        "output_bias": (network.output_bias, "float32"),
    }


def _of_shared(network: OrderlessConditioner) -> tuple[dict[str, Any], dict[str, tuple[Tensor, str]]]:
    settings = {
        "network": "shared",
        "widths": [layer.out_features for layer in network.layers],
        "residual": network.residual,
    }
    tensors = {
        "output": (network.output.weight, "float32"),
        "output_bias": (network.output.bias, "float32"),
    }
    for number, layer in enumerate(network.layers):
        # Input after input: JavaScript skips inputs that are zero.
        tensors[f"weight_{number}"] = (layer.weight.T, "float16")
        tensors[f"bias_{number}"] = (layer.bias, "float32")
    return settings, tensors


def _add(weights: bytearray, tensor: Tensor, precision: str) -> dict[str, Any]:
    """Append a tensor's bytes, little-endian, and return where they are."""
    numbers = tensor.detach().cpu().numpy()
    limit = float(np.finfo(np.float16).max) if precision == "float16" else math.inf
    content = np.clip(numbers, -limit, limit).astype(f"<{np.dtype(precision).str[1:]}")
    place = {"offset": len(weights), "length": content.size, "type": precision}
    weights += content.tobytes()
    return place
