"""What constructors of all networks' estimators take: said here once, and spelt out for each class."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from sklearn.utils._param_validation import Interval, StrOptions

from chainrule.training.options import TRAINING_OPTIONS, Option, TrainingArguments

__all__ = ["TRAINING_CONSTRAINTS", "SharedArguments", "spell_out"]


class SharedArguments(TrainingArguments, total=False):
    """Constructor arguments of every network's estimator, for type checkers.

    Their defaults are those of `AutoregressiveEstimator`.
    """

    n_components: int
    mixture: str
    encoding: str
    kinds: str | Mapping[Any, str] | None
    contamination: float | str
    validation_fraction: float
    device: str | None
    checkpoint: str | Path | None
    verbose: bool | int
    random_state: Any


_IN_DOCSTRING = "    **shared\n        What all networks' estimators take, and how to fit.\n"
# What constructors of all networks' estimators document alike.
_SHARED = """\
    n_components : int, by default 10
        Components of the conditional mixtures of ordinal, count and continuous columns.
    mixture : str, by default "gaussian"
        Family of real numbers, a name of `FAMILIES`: mixtures "gaussian", "logistic" and "laplace", a
        "spline" of `n_components` bins, or one added to it.
    encoding : {"onehot", "scaled", "raw"}, by default "onehot"
        How categorical columns enter the network.
    kinds : str or mapping, optional
        Kind of all columns, or of single ones by name or number, such as "ordinal" or "count"; `COLUMN_TYPES`
        lists them. What is not given is inferred from the training rows.
    contamination : "auto" or float, by default "auto"
        Share of rows that are anomalies, in (0, 0.5]; see `predict`.
    validation_fraction : float, by default 0.1
        Share of the training rows to validate on when `fit` is given no `X_val`.
    device : str, optional
        By default a CUDA device if there is one, otherwise the CPU.
    checkpoint : path, optional
        A file that keeps the state of the fit: it is written after the first epoch, every minute, on Ctrl-C
        and at the end. The same fit that finds it there goes on from it, and ends bit by bit as if it had not
        been broken off. It stays there until you delete it. Needs a `random_state`.
    verbose : bool, by default False
        Show a progress bar.
    random_state : int, Generator or RandomState, optional
"""


def _constraint(option: Option) -> Interval | StrOptions:
    if option.choices:
        return StrOptions(set(option.choices))
    number = Integral if option.is_whole else Real
    return Interval(number, option.minimum, None, closed="neither" if option.is_above else "left")


def _constraints(option: Option) -> list[Any]:
    return [_constraint(option), None] if option.default is None else [_constraint(option)]


TRAINING_CONSTRAINTS: Mapping[str, list[Any]] = {
    name: _constraints(option) for name, option in TRAINING_OPTIONS.items()
}
"""What each training option may be, as scikit-learn checks it."""


def spell_out(estimator: type[Any]) -> None:
    """Put what a constructor passes on to that of its base in place of its ``**shared``.

    scikit-learn reads names and defaults of parameters off the signature, people read them in the docstring.

    Parameters
    ----------
    estimator : type
        Of which `__init__` has keyword arguments without names, else it is left as it is.
    """
    signature = inspect.signature(estimator.__init__)
    own = {name: each for name, each in signature.parameters.items() if each.kind is not each.VAR_KEYWORD}
    if len(own) == len(signature.parameters):
        return
    passed_on = inspect.signature(super(estimator, estimator).__init__).parameters
    inherited = [
        each for name, each in passed_on.items() if each.kind is each.KEYWORD_ONLY and name not in own
    ]
    options = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=option.annotation
        )
        for name, option in TRAINING_OPTIONS.items()
        if name not in passed_on
    ]
    estimator.__init__.__signature__ = signature.replace(parameters=[*own.values(), *inherited, *options])
    if estimator.__doc__ is not None:  # under python -OO there are none
        documented = "".join(map(_documented, TRAINING_OPTIONS.values()))
        estimator.__doc__ = estimator.__doc__.replace(_IN_DOCSTRING, _SHARED + documented)


def _documented(option: Option) -> str:
    """Return the entry of a docstring in the style of numpydoc."""
    choices = ", ".join(f'"{choice}"' for choice in option.choices)
    kind = f"{{{choices}}}" if choices else option.annotation.partition(" ")[0]
    default = "optional" if option.default is None else f"by default {option.default!r}"
    text = textwrap.fill(option.help, 110, initial_indent=" " * 8, subsequent_indent=" " * 8)
    return f"    {option.name} : {kind}, {default}\n{text}\n"
