"""Probabilities of random small models: ``python -m benchmarks.sums --models 10000 --seed 0``.

Of each model with discrete columns the probabilities of all rows must sum to one, less the share that is
kept for levels never seen. Networks have random weights, orders, masks, layers, kinds and context, and are
held in double precision against themselves in single precision, and some with two threads. A fifth of the
models are fitted to a random table, baselines and ensembles among them.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings

from chainrule import MADE, NADE, Ensemble, Independent, Mixture, MixtureOfBernoullis, OrderlessNADE
from chainrule.estimators.base import DensityEstimator
from chainrule.model import AutoregressiveModel

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from strategies import DISCRETE, Spec, all_rows, build, random_context, repeated, specs  # noqa: E402

__all__ = ["Differences", "fitted", "of_fitted", "of_network", "random_table"]

MOST_ROWS = 3000
FITTED_SHARE = 5  # one of so many models
BY_THREADS = 10  # one of so many networks is asked by two threads, too, which wait for each other


@dataclass
class Differences:
    """By how much numbers differ from what they should be, at most.

    Attributes
    ----------
    sums : float
        Sums of probabilities from one, in double precision.
    fitted_sums : float
        The same of fitted models, which compute in single precision.
    precision : float
        Log p in single precision from that in double, by 1 + its size.
    threads : float
        Log p with two threads from that with one.
    """

    sums: float = 0.0
    fitted_sums: float = 0.0
    precision: float = 0.0
    threads: float = 0.0
    of: dict[str, Any] = field(default_factory=dict)

    def add(self, what: Any, **differences: float) -> None:
        """Take in the differences of one model."""
        for name, value in differences.items():
            if not value <= getattr(self, name):  # NaN, too
                setattr(self, name, value)
                self.of[name] = what


@torch.no_grad()
def of_network(spec: Spec) -> dict[str, float]:
    """Return the differences of a network with random weights."""
    rows = all_rows(spec)
    context = repeated(random_context(spec, 1), len(rows))
    log_p = build(spec).log_prob(rows, context)
    single: AutoregressiveModel = build(spec).float()
    few, beside = rows.float(), None if context is None else context.float()
    one = single.log_prob(few, beside)
    differences = {
        "sums": abs(float(log_p.exp().sum()) - 1),
        "precision": float(((one - log_p).abs() / (1 + log_p.abs())).max()),
    }
    if spec.seed % BY_THREADS == 0:
        by_two = with_threads(2, lambda: single.log_prob(few, beside))
        differences["threads"] = float((by_two - one).abs().max())
    return differences


def with_threads(n: int, compute: Any) -> Any:
    """Return what is computed by so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        return compute()
    finally:
        torch.set_num_threads(before)


def random_table(rng: np.random.Generator) -> pd.DataFrame:
    """Return a table of a few discrete columns: bits, integers, words, constants, some with holes."""
    n, columns, n_rows = int(rng.integers(20, 80)), {}, 1
    for d in range(int(rng.integers(1, 6))):
        kind, k = (
            str(rng.choice(["bits", "integers", "words", "constant", "wide", "truth"])),
            int(rng.integers(2, 6)),
        )
        if kind == "wide" and n_rows > 4:
            kind = "bits"
        n_rows *= {"constant": 1, "wide": 700}.get(kind, k)
        values = {
            "bits": rng.integers(0, 2, n),
            "integers": rng.integers(-3, 9 + k, n),
            "words": rng.choice(list("abcdef")[:k], n),
            "constant": np.full(n, 7),
            "wide": rng.integers(0, 700, n),
            "truth": rng.random(n) < 0.5,
        }[kind]
        columns[f"x{d}"] = values
    return pd.DataFrame(columns)


def fitted(rng: np.random.Generator) -> DensityEstimator:
    """Return a random estimator, fitted for an epoch to a random table."""
    small = {
        "max_epochs": 1,
        "n_components": int(rng.integers(1, 4)),
        "random_state": int(rng.integers(2**31)),
    }
    orders = int(rng.integers(1, 4))
    width = int(rng.integers(1, 9))
    networks: list[DensityEstimator] = [
        NADE(width, n_orderings=orders, ordering=str(rng.choice(["natural", "random"])), **small),
        MADE((width, width), n_orderings=orders, n_masks=int(rng.integers(1, 4)), **small),
        OrderlessNADE((width,), n_orderings=orders, **small),
        OrderlessNADE((width, 3), n_orderings=orders, network="shared", **small),
    ]
    baselines = [Independent(), Mixture(orders, random_state=0), MixtureOfBernoullis(orders, random_state=0)]
    chosen: DensityEstimator = [*networks, *baselines][int(rng.integers(7))]
    if rng.random() < 0.25:
        chosen = Ensemble(chosen, int(rng.integers(1, 4)), random_state=0)
    table = random_table(rng)
    if any(isinstance(each, MixtureOfBernoullis) for each in (chosen, getattr(chosen, "estimator", None))):
        table = pd.DataFrame(rng.integers(0, 2, (40, int(rng.integers(1, 8)))))
    if chosen.supports_missing and rng.random() < 0.5:
        table = table.astype(object).mask(rng.random(table.shape) < 0.1).convert_dtypes()
    return chosen.fit(table)


def of_fitted(model: DensityEstimator) -> dict[str, float]:
    """Return the differences of a fitted model with discrete columns."""
    n_codes = [int(n) for n in model.schema_.n_codes]
    if np.prod(n_codes, dtype=float) > MOST_ROWS:
        return {}
    codes = np.array(list(itertools.product(*map(range, n_codes))), dtype=np.float32)
    expected = np.exp(sum(np.log1p(-variable.reserved) for variable in model.schema_.variables))
    return {"fitted_sums": abs(np.exp(model.log_likelihoods(codes, None)).sum() - expected)}


def campaign(n_models: int, first_seed: int) -> Differences:
    """Return the largest differences of random models."""
    found = Differences()
    n_fitted = n_models // FITTED_SHARE

    @seed(first_seed)
    @given(specs(DISCRETE, max_variables=5, max_levels=4))
    @settings(
        max_examples=n_models - n_fitted,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def networks(spec: Spec) -> None:
        found.add(spec, **of_network(spec))

    networks()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(n_fitted):
            model = fitted(np.random.default_rng([first_seed, number]))
            found.add(f"{number}: {model!r}", **of_fitted(model))
    return found


def main() -> None:
    """Print the largest differences."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sums", description=__doc__)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    began = time.perf_counter()
    found = campaign(arguments.models, arguments.seed)
    print(f"{arguments.models} models in {time.perf_counter() - began:.0f} s")
    for name in ("sums", "fitted_sums", "precision", "threads"):
        print(f"{name:12} {getattr(found, name):.2e}  {found.of.get(name)}")


if __name__ == "__main__":
    main()
