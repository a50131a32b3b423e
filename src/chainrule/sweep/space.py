"""What a sweep varies: values on a grid, or ranges that a sampler searches."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

from chainrule.errors import ParameterError
from chainrule.estimators.base import DensityEstimator
from chainrule.registry import MODELS

__all__ = [
    "Choices",
    "Range",
    "Space",
    "default_space",
    "estimator_class",
    "grid_space",
    "new_estimator",
    "parse_grid",
    "to_text",
]

# Given by the sweep itself, or no settings of a model.
_NOT_SWEPT = {"kinds", "device", "checkpoint", "verbose", "random_state", "validation_fraction"}
_MOST_SETTINGS = 10_000


@dataclass(frozen=True)
class Choices:
    """Single values of a parameter; trials name them by their texts."""

    values: tuple[Any, ...]

    @cached_property
    def by_text(self) -> dict[str, Any]:
        """The values by their texts, in order."""
        return {to_text(value): value for value in self.values}

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe description."""
        return {"values": list(self.by_text)}


@dataclass(frozen=True)
class Range:
    """Numbers between two bounds; whole ones if both bounds are whole."""

    low: float
    high: float
    log: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe description."""
        return {"low": self.low, "high": self.high, "log": self.log}


@dataclass(frozen=True)
class Space:
    """The settings that a sweep may try, by parameter."""

    parameters: Mapping[str, Choices | Range]

    def settings(self) -> list[dict[str, str]]:
        """Return every combination of the choices, each value by its text."""
        texts = [list(self._choices(name).by_text) for name in self.parameters]
        return [dict(zip(self.parameters, values, strict=True)) for values in itertools.product(*texts)]

    def values(self, setting: Mapping[str, Any]) -> dict[str, Any]:
        """Return the constructor arguments that the parameters of a trial stand for."""
        arguments = {}
        for name, value in setting.items():
            parameter = self.parameters[name]
            arguments[name] = parameter.by_text[value] if isinstance(parameter, Choices) else value
        return arguments

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe description."""
        return {name: parameter.to_dict() for name, parameter in self.parameters.items()}

    def _choices(self, name: str) -> Choices:
        parameter = self.parameters[name]
        assert isinstance(parameter, Choices), f"{name} is a range"
        return parameter


def estimator_class(model: str) -> type[DensityEstimator]:
    """Return the class of a model by its name on the command line.

    Raises
    ------
    ParameterError
        If there is no such model.
    """
    if model not in MODELS:
        raise ParameterError(f"there is no model {model!r}; choose from {', '.join(MODELS)}")
    found: type[DensityEstimator] = getattr(import_module("chainrule"), MODELS[model].class_name)
    return found


def new_estimator(model: str, arguments: Mapping[str, Any]) -> DensityEstimator:
    """Return an unfitted model by its name on the command line.

    Raises
    ------
    ParameterError
        If there is no such model.
    """
    return estimator_class(model)(**MODELS[model].arguments, **arguments)


def to_text(value: Any) -> str:
    """Return a value as `parse_grid` reads it.

    Examples
    --------
    >>> to_text((500, 500)), to_text(None), to_text(True), to_text(0.005)
    ('500x500', 'none', 'true', '0.005')
    """
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    return "x".join(to_text(part) for part in value)


def parse_grid(model: str, words: Sequence[str]) -> dict[str, list[Any]]:
    """Return the values of parameters that are written as ``NAME=VALUE,VALUE,...``.

    A comma separates values, and an x joins the numbers of one value: ``hidden_sizes=100,100x100`` are two
    values, one layer of 100 units and two such layers.

    Parameters
    ----------
    model : str
        A name from `chainrule.registry.MODELS`; says which parameters there are.
    words : sequence of str
        One parameter each.

    Raises
    ------
    ParameterError
        If a word or a value cannot be read, or the model has no such parameter.

    Examples
    --------
    >>> parse_grid("made", ["hidden_sizes=100,100x100", "dropout=0,0.5"])
    {'hidden_sizes': [(100,), (100, 100)], 'dropout': [0.0, 0.5]}
    """
    known = _swept(model)
    grid: dict[str, list[Any]] = {}
    for word in words:
        name, equals, texts = word.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name:
            raise ParameterError(f"{word!r} is no parameter of a grid; expected NAME=VALUE,VALUE,...")
        if name in grid:
            raise ParameterError(f"{name} is given twice; write all of its values after one {name}=")
        _check_name(name, model, known)
        grid[name] = [_parse_value(name, text.strip(), known[name]) for text in texts.split(",")]
    return grid


def grid_space(model: str, grid: Mapping[str, Sequence[Any]]) -> Space:
    """Return the space of a grid, whose values are checked one by one.

    Raises
    ------
    ParameterError
        If the grid is empty or too large, names an unknown parameter, a value twice, or one out of its range.
    """
    if not grid:
        raise ParameterError("the grid is empty; name a parameter and its values, as in hidden_sizes=100,500")
    known = _swept(model)
    parameters: dict[str, Choices | Range] = {}
    for name, values in grid.items():
        _check_name(name, model, known)
        if isinstance(values, str) or not isinstance(values, Sequence) or not len(values):
            raise ParameterError(f"{name} needs a list of values in the grid, got {values!r}")
        choices = Choices(tuple(values))
        _check_values(model, name, choices)
        parameters[name] = choices
    n_settings = math.prod(len(values) for values in grid.values())
    if n_settings > _MOST_SETTINGS:
        raise ParameterError(
            f"the grid has {n_settings:,} settings, more than {_MOST_SETTINGS:,}; "
            "search it with trials instead"
        )
    return Space(parameters)


def default_space(model: str, kinds: Sequence[str]) -> Space:
    """Return the space that a search covers by default.

    Parameters
    ----------
    model : str
        A name from `chainrule.registry.MODELS`.
    kinds : sequence of str
        The kinds of the columns; mixtures are searched only where some column has one.

    Raises
    ------
    ParameterError
        If the model has nothing to search.
    """
    components: dict[str, Choices | Range] = {"n_components": Range(2, 32, log=True)}
    training: dict[str, Choices | Range] = {
        "activation": Choices(("relu", "tanh", "silu")),
        "learning_rate": Range(5e-4, 2e-2, log=True),
        "weight_decay": Range(1e-3, 1e-1, log=True),
        "batch_size": Choices((50, 100, 200)),
        **(components if {"ordinal", "continuous"} & set(kinds) else {}),
    }
    if model in ("made", "made-any", "orderless-nade"):
        sizes = Choices(((100,), (250,), (500,), (1000,), (250, 250), (500, 500), (500, 500, 500)))
        return Space({"hidden_sizes": sizes, "dropout": Range(0.0, 0.6), **training})
    if model == "nade":
        return Space({"hidden_size": Range(50, 1000, log=True), **training})
    if "n_components" in _swept(model):
        return Space({"n_components": Range(1, 200, log=True)})
    raise ParameterError(f"{MODELS[model].title} has nothing to search; sweep made, nade or a mixture")


def _swept(model: str) -> dict[str, str]:
    """Return the annotations of the parameters that may be swept, by name."""
    parameters = inspect.signature(estimator_class(model)).parameters
    fixed = _NOT_SWEPT | MODELS[model].arguments.keys()
    return {name: str(p.annotation) for name, p in parameters.items() if name not in fixed}


def _check_name(name: str, model: str, known: Mapping[str, str]) -> None:
    if name not in known:
        choice = f"choose from {', '.join(known)}" if known else "it has none to sweep"
        raise ParameterError(f"{MODELS[model].title} has no parameter {name!r}; {choice}")


def _check_values(model: str, name: str, choices: Choices) -> None:
    texts = [to_text(value) for value in choices.values]
    for text in texts:
        if texts.count(text) > 1:
            layers = "; layers are joined by x, as in 500x500" if name == "hidden_sizes" else ""
            raise ParameterError(f"{name} has the value {text} twice in the grid{layers}")
    for value in choices.values:
        new_estimator(model, {name: value})._check_parameters()


def _parse_value(name: str, text: str, annotation: str) -> Any:
    """Return the value of a text by what the constructor says that it takes."""
    types = [part.strip() for part in annotation.split("|")]
    if "None" in types and text.lower() == "none":
        return None
    if "bool" in types and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if "int" in types and text.isdecimal():
        return int(text)
    if "float" in types and (number := _to_float(text)) is not None:
        return number
    parts = text.split("x")
    if "Sequence[int]" in types and all(part.isdecimal() for part in parts):
        sizes = tuple(int(part) for part in parts)
        if name != "hidden_sizes" or min(sizes) > 0:
            return sizes
    if "str" in types and text:
        return text
    raise ParameterError(f"{name}={text}: expected {_expected(name, types)}")


def _to_float(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _expected(name: str, types: Sequence[str]) -> str:
    words = {
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "str": "a word",
        "Sequence[int]": "whole numbers of at least 1 joined by x, such as 500 or 500x500"
        if name == "hidden_sizes"
        else "whole numbers joined by x",
        "None": "none",
    }
    return " or ".join(words[part] for part in types if part in words)
