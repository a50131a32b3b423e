"""What a sweep varies: values on a grid, or ranges that a sampler searches."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from chainrule.errors import ParameterError
from chainrule.estimators.base import DensityEstimator
from chainrule.registry import MODELS
from chainrule.sweep.parameters import SEARCHED, Choices, Range, to_text

__all__ = ["Space", "default_space", "grid_space", "new_estimator", "parse_grid"]

# Given by the sweep itself, or no settings of a model.
_NOT_SWEPT = {"kinds", "device", "checkpoint", "verbose", "random_state", "validation_fraction"}
_MAX_SETTINGS = 10_000


@dataclass(frozen=True)
class Space:
    """The settings that a sweep may try, by parameter."""

    parameters: Mapping[str, Choices | Range]

    def settings(self) -> list[dict[str, str]]:
        """Return every combination of the choices, each value by its text."""
        choices = [what.by_text for what in self.parameters.values() if isinstance(what, Choices)]
        return [dict(zip(self.parameters, texts, strict=True)) for texts in itertools.product(*choices)]

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


def new_estimator(model: str, arguments: Mapping[str, Any]) -> DensityEstimator:
    """Return an unfitted model by its name on the command line."""
    return _class(model)(**MODELS[model].arguments, **arguments)


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
    grid: dict[str, list[Any]] = {}
    for word in words:
        name, equals, texts = word.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name:
            raise ParameterError(f"{word!r} is no parameter of a grid; expected NAME=VALUE,VALUE,...")
        if name in grid:
            raise ParameterError(f"{name} is given twice; write all of its values after one {name}=")
        types = _types(model, name)
        grid[name] = [_parse_value(name, text.strip(), types) for text in texts.split(",")]
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
    for name, values in grid.items():
        _types(model, name)
        if isinstance(values, str) or not isinstance(values, Sequence) or not len(values):
            raise ParameterError(f"{name} needs a list of values in the grid, got {values!r}")
        texts = [to_text(value) for value in values]
        if twice := [text for text in texts if texts.count(text) > 1]:
            layers = "; layers are joined by x, as in 500x500" if name == "hidden_sizes" else ""
            raise ParameterError(f"{name} has the value {twice[0]} twice in the grid{layers}")
        for value in values:
            new_estimator(model, {name: value})._check_parameters()
    n_settings = math.prod(len(values) for values in grid.values())
    if n_settings > _MAX_SETTINGS:
        raise ParameterError(
            f"the grid has {n_settings:,} settings, more than {_MAX_SETTINGS:,}; "
            "search it with trials instead"
        )
    return Space({name: Choices(tuple(values)) for name, values in grid.items()})


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
    searched = SEARCHED.get(MODELS[model].class_name)
    if searched is None:
        raise ParameterError(f"{MODELS[model].title} has nothing to search; sweep made, nade or a mixture")
    have_mixtures = bool({"ordinal", "continuous"} & set(kinds))
    return Space({**searched.always, **(searched.with_mixtures if have_mixtures else {})})


def _class(model: str) -> type[DensityEstimator]:
    if model not in MODELS:
        raise ParameterError(f"there is no model {model!r}; choose from {', '.join(MODELS)}")
    found: type[DensityEstimator] = getattr(import_module(MODELS[model].module), MODELS[model].class_name)
    return found


def _types(model: str, name: str) -> list[str]:
    """Return the types that a parameter takes, as its constructor says."""
    parameters = inspect.signature(_class(model)).parameters
    swept = [key for key in parameters if key not in _NOT_SWEPT | MODELS[model].arguments.keys()]
    if name not in swept:
        choice = f"choose from {', '.join(swept)}" if swept else "it has none to sweep"
        raise ParameterError(f"{MODELS[model].title} has no parameter {name!r}; {choice}")
    return str(parameters[name].annotation).split(" | ")


def _parse_value(name: str, text: str, types: Sequence[str]) -> Any:
    for word in _READERS:
        if word in types:
            with suppress(KeyError, ValueError):
                value = _READERS[word](text)
                if name != "hidden_sizes" or min(value) > 0:
                    return value
    least = " of at least 1" if name == "hidden_sizes" else ""
    expected = {
        "None": "none",
        "bool": "true or false",
        "int": "a whole number",
        "float": "a number",
        "Sequence[int]": f"whole numbers{least} joined by x, such as 500 or 500x500",
        "str": "a word",
    }
    raise ParameterError(f"{name}={text}: expected {' or '.join(expected[part] for part in types)}")


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _word(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


# How a text is read as a value of each type, in the order in which they are tried.
_READERS: dict[str, Callable[[str], Any]] = {
    "None": lambda text: {"none": None}[text.lower()],
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "int": int,
    "float": _number,
    "Sequence[int]": lambda text: tuple(int(part) for part in text.split("x")),
    "str": _word,
}
