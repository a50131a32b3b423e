"""The numbers that fits with fixed seeds give, to hold two states of the library against each other.

``python -m benchmarks same-numbers --write FILE`` fits every model to small data of every kind and writes
what it says of them; ``--against FILE`` repeats that and tells where numbers have moved. The file belongs to
the machine that wrote it: rounding differs between processors. The figures of another state of the library
are written by ``PYTHONPATH=ITS_TREE/src:. python -m benchmarks.same_numbers --write FILE``.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.same_numbers_data import DATA, Data
from chainrule import (
    GMM,
    MADE,
    NADE,
    Ensemble,
    Independent,
    Mixture,
    MixtureOfBernoullis,
    OrderlessNADE,
    load,
)
from chainrule.errors import ChainruleError

__all__ = ["TOLERANCE", "changes", "figures", "main"]

TOLERANCE = 1e-5
"""Differences above this have moved: absolute ones of numbers up to 1, relative ones beyond."""

# Methods that were once called otherwise: the name of today, then earlier ones, so that older states run too.
_NAMES = {
    "surprisal": ("surprisal", "surprise"),
    "score_columns": ("score_columns",),
    "embed": ("embed", "encode"),
}

_N_DRAWS = 12
_FIT = {"max_epochs": 3, "batch_size": 64, "random_state": 7}
_NETWORK = {"n_components": 3, **_FIT}

Figures = dict[str, Any]


@dataclass(frozen=True)
class Model:
    """One estimator of the list."""

    make: Callable[[], Any]
    takes: frozenset[str]  # the names of the data that it is fitted to


def _on(*names: str) -> frozenset[str]:
    unknown = set(names) - set(DATA)
    assert not unknown, unknown
    return frozenset(names)


_COMPLETE = _on("binary", "mixed", "image", "levels", "rare", "dates", "reals", "context")
_CHAIN = _on("binary", "mixed", "rare", "dates", "reals")
_FEW = _on("binary", "mixed", "reals")

MODELS: dict[str, Model] = {
    "NADE": Model(lambda: NADE(hidden_size=16, **_NETWORK), _COMPLETE),
    "NADE of 2 orders": Model(
        lambda: NADE(hidden_size=16, activation="sigmoid", ordering="random", n_orderings=2, **_NETWORK), _FEW
    ),
    "MADE": Model(lambda: MADE((16,), **_NETWORK), _COMPLETE),
    "MADE deep, random order": Model(
        lambda: MADE((24, 16), ordering="random", activation="tanh", schedule="cosine", **_NETWORK), _CHAIN
    ),
    "MADE residual, direct": Model(
        lambda: MADE((16, 16), residual=True, direct_connections=True, degrees="uniform", **_NETWORK), _FEW
    ),
    "MADE of 3 orders": Model(lambda: MADE((16,), n_orderings=3, resample_every=2, **_NETWORK), _CHAIN),
    "MADE of 3 masks": Model(lambda: MADE((16, 16), n_masks=3, resample_every=1, **_NETWORK), _FEW),
    "MADE with dropout": Model(lambda: MADE((16, 16), dropout=0.2, **_NETWORK), _FEW),
    "MADE logistic, scaled": Model(
        lambda: MADE((16,), mixture="logistic", encoding="scaled", **_NETWORK), _on("mixed", "reals")
    ),
    "NADE laplace, raw": Model(
        lambda: NADE(hidden_size=16, mixture="laplace", encoding="raw", **_NETWORK), _on("mixed", "reals")
    ),
    "MADE of any order": Model(lambda: OrderlessNADE((24,), network="shared", **_NETWORK), frozenset(DATA)),
    "MADE of any order, averaged": Model(
        lambda: OrderlessNADE((24, 24), network="shared", n_orderings=3, dropout=0.1, **_NETWORK),
        _on("binary", "missing"),
    ),
    "OrderlessNADE": Model(lambda: OrderlessNADE((24, 24), **_NETWORK), frozenset(DATA)),
    "OrderlessNADE, averaged": Model(
        lambda: OrderlessNADE((24, 16), n_orderings=3, dropout=0.1, **_NETWORK), _on("binary", "missing")
    ),
    "Ensemble of MADE": Model(
        lambda: Ensemble(MADE((16,), **_NETWORK), n_members=2, random_state=3),
        _on("binary", "mixed", "context"),
    ),
    "Ensemble of NADE": Model(
        lambda: Ensemble(NADE(hidden_size=8, **_NETWORK), n_members=2, random_state=3), _on("binary", "reals")
    ),
    "Ensemble of any order": Model(
        lambda: Ensemble(OrderlessNADE((16,), network="shared", **_NETWORK), n_members=2, random_state=3),
        _on("mixed", "missing", "rare"),
    ),
    "Ensemble of Mixture": Model(
        lambda: Ensemble(Mixture(n_components=2), n_members=2, random_state=3), _on("mixed", "missing")
    ),
    "Independent": Model(lambda: Independent(random_state=7), frozenset(DATA) - {"context"}),
    "Mixture": Model(lambda: Mixture(n_components=3, random_state=7), frozenset(DATA) - {"context"}),
    "Mixture, chosen": Model(
        lambda: Mixture(n_components=(1, 2, 4), random_state=7), _on("binary", "mixed", "missing")
    ),
    "MixtureOfBernoullis": Model(lambda: MixtureOfBernoullis(n_components=4, random_state=7), _on("binary")),
    "GMM": Model(lambda: GMM(n_components=2, random_state=7), _on("binary", "image", "reals")),
    "GMM on axes": Model(lambda: GMM(n_components=2, pca=3, random_state=7), _on("image", "reals")),
}


def figures(only: str = "") -> Iterator[tuple[str, Figures]]:
    """Yield the name and the figures of each case, a model on data; of those whose name holds `only`."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for data_name, make_data in DATA.items():
            data = make_data()
            for model_name, model in MODELS.items():
                name = f"{data_name}: {model_name}"
                if data_name in model.takes and only in name:
                    yield name, _figures_of(model, data)
    finally:
        torch.set_num_threads(threads)


def _figures_of(model: Model, data: Data) -> Figures:
    """Return what a fitted model says, part by part; a part that fails says why instead."""
    found: Figures = {}
    estimator = model.make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            estimator.fit(data.train, context=data.context_train)
        except Exception as error:
            return {"fit": _failure(error)}
        for name, part in _PARTS.items():
            try:
                found[name] = _plain(part(estimator, data))
            except Exception as error:
                found[name] = _failure(error)
    return found


def _failure(error: Exception) -> str:
    """Return what stands for an answer: a refusal, in whichever words, or what is no refusal at all."""
    if isinstance(error, ChainruleError | AttributeError | ValueError | TypeError):
        return "refused"
    return f"failed: {type(error).__name__}: {error}"


def _method(estimator: Any, name: str) -> Any:
    found = [getattr(estimator, each) for each in _NAMES[name] if hasattr(estimator, each)]
    if not found:
        raise AttributeError(name)
    return found[0]


# ---------------------------------------------------------------- what is asked of each model


def _size(estimator: Any, data: Data) -> Any:
    history = getattr(estimator, "history_", None)
    courses = [] if history is None else [list(history.train), list(history.valid)]
    return [estimator.n_parameters_, float(estimator.offset_), courses]


def _scores(estimator: Any, data: Data) -> Any:
    return estimator.score_samples(data.scored, **data.context())


def _score_columns(estimator: Any, data: Data) -> Any:
    return _method(estimator, "score_columns")(data.scored, **data.context())


def _surprisal(estimator: Any, data: Data) -> Any:
    return _method(estimator, "surprisal")(data.scored, **data.context())


def _embedding(estimator: Any, data: Data) -> Any:
    return _method(estimator, "embed")(data.complete, **data.context())


def _predictions(estimator: Any, data: Data) -> Any:
    return estimator.predict(data.scored, **data.context())


def _draws(estimator: Any, data: Data) -> Any:
    return estimator.sample(_N_DRAWS, random_state=5, **data.one_context())


def _draws_given(estimator: Any, data: Data) -> Any:
    column, value = data.given
    return estimator.sample(_N_DRAWS, given={column: value}, random_state=5, **data.one_context())


def _whole_given(estimator: Any, data: Data) -> Any:
    given, of = data.given[0], data.asked
    return estimator.score_samples(data.scored, given=given, of=of, **data.context())


def _spread(estimator: Any, data: Data) -> Any:
    of = data.asked
    return estimator.score_samples(data.scored, of=of, n_orders=3, return_spread=True, **data.context())


def _conditionals(estimator: Any, data: Data) -> Any:
    return [_conditional(estimator, data, column) for column in data.columns]


def _conditional(estimator: Any, data: Data, column: Any) -> Any:
    """Return what the distribution of a column, the others given, says of itself, as far as it can."""
    try:
        distribution = estimator.conditional(data.complete, column, **data.context()).as_numbers()
    except ChainruleError as error:
        return _failure(error)
    answers = [None if distribution.levels is None else list(distribution.levels)[:8]]
    observed = data.values(column)
    for ask in (
        lambda: distribution.probabilities[:6, :8],
        lambda: distribution.mean(),
        lambda: distribution.mode(),
        lambda: distribution.quantile(0.25),
        lambda: distribution.cdf(observed),
        lambda: distribution.log_prob(observed),
        lambda: distribution.spread(),
    ):
        try:
            answers.append(ask())
        except ChainruleError as error:
            answers.append(_failure(error))
    return answers


def _imputed(how: str) -> Callable[[Any, Data], Any]:
    def impute(estimator: Any, data: Data) -> Any:
        return estimator.impute(data.with_holes, how=how, random_state=5, **data.context())

    return impute


def _imputed_last(estimator: Any, data: Data) -> Any:
    """Return rows without their last column filled in, which every natural order can do."""
    return estimator.impute(data.without_last, random_state=5, **data.context())


def _restored(estimator: Any, data: Data) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        estimator.save(Path(folder) / "model")
        restored = load(Path(folder) / "model")
    draws = restored.sample(3, random_state=5, **data.one_context())
    return [restored.score_samples(data.scored, **data.context()), _plain(draws)]


_PARTS: dict[str, Callable[[Any, Data], Any]] = {
    "size and course": _size,
    "log-likelihoods": _scores,
    "by column": _score_columns,
    "surprisal": _surprisal,
    "embedding": _embedding,
    "anomalies": _predictions,
    "draws": _draws,
    "draws given": _draws_given,
    "p(these | those)": _whole_given,
    "spread of orders": _spread,
    "conditionals": _conditionals,
    "imputed, sample": _imputed("sample"),
    "imputed, mode": _imputed("mode"),
    "imputed, mean": _imputed("mean"),
    "imputed, last": _imputed_last,
    "restored": _restored,
}


def _plain(value: Any) -> Any:
    """Return lists, numbers, strings and None for arrays, frames and dates."""
    if hasattr(value, "columns"):
        return {str(name): _plain(value[name].tolist()) for name in value.columns}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, bool | str) or value is None:
        return value if value is None else str(value)
    if isinstance(value, int | float):
        return value if math.isfinite(value) else str(float(value))
    return str(value)


# ---------------------------------------------------------------- held against what was written


def changes(before: Figures, now: Figures) -> tuple[float, int]:
    """Return the largest difference of numbers, and how many answers differ otherwise."""
    largest, mismatches = 0.0, 0
    for one, other in _pairs(before, now):
        if _is_number(one) and _is_number(other):
            largest = max(largest, abs(one - other) / max(1.0, abs(one)))
        elif one != other:
            mismatches += 1
    return largest, mismatches


def _pairs(before: Any, now: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(before, dict) and isinstance(now, dict) and set(before) == set(now):
        for name, each in before.items():
            yield from _pairs(each, now[name])
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for each, other in zip(before, now, strict=True):
            yield from _pairs(each, other)
    else:
        yield before, now


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def main(arguments: Sequence[str]) -> int:
    """Write the figures, or print by how much they have moved; return 1 where some have, else 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks same-numbers", description=__doc__)
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare with figures written before")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name holds this text")
    options = parser.parse_args(arguments)
    if options.write is None and options.against is None:
        parser.error("same-numbers needs --write FILE or --against FILE")
    start = time.perf_counter()
    before = None if options.against is None else json.loads(options.against.read_text(encoding="utf-8"))
    written: dict[str, Figures] = {}
    have_moved = 0
    for name, found in figures(options.only):
        written[name] = found
        if before is None:
            print(f"{name:<44} {_failures(found)}", flush=True)
        else:
            have_moved += not _print_change(name, before.get(name, {}), found)
    for name in before or ():
        if options.only in name and name not in written:
            print(f"{name:<44} not repeated")
            have_moved += 1
    seconds = time.perf_counter() - start
    print(
        f"{len(written)} cases in {seconds:.0f} s" + ("" if before is None else f", {have_moved} have moved")
    )
    if options.write is not None:
        options.write.write_text(json.dumps(written) + "\n", encoding="utf-8")
    return int(have_moved > 0)


def _failures(found: Figures) -> str:
    refused = [part for part, answer in found.items() if str(answer).startswith("refused")]
    failed = [f"{part} {answer}" for part, answer in found.items() if str(answer).startswith("failed")]
    return "; ".join([f"{len(found) - len(refused)} answers, {len(refused)} refused", *failed])


def _print_change(name: str, before: Figures, now: Figures) -> bool:
    largest, mismatches = changes(before, now)
    parts = [part for part in {**before, **now} if not _are_same(before.get(part), now.get(part))]
    shown = ", ".join(parts)
    print(
        f"{name:<44} {largest:>10.2g} {mismatches:>6}  {'same' if not parts else 'MOVED: ' + shown}",
        flush=True,
    )
    return not parts


def _are_same(before: Any, now: Any) -> bool:
    largest, mismatches = changes(before, now)
    return largest <= TOLERANCE and not mismatches


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
