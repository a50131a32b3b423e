"""Anomalies of the sets of ADBench (Han, Hu, Huang, Jiang & Zhao 2022): ours against PyOD's detectors.

Two settings. *Unsupervised*: a detector learns from all rows, anomalies among them, and ranks the same rows.
*Normal rows only*: it learns from half of the normal rows, and ranks all others. Of more than 10,000 rows as
many are drawn, as in the paper. Everybody has their defaults; detectors of PyOD get standardised columns.

Figures are kept one by one (``--checkpoint DIR``), so that a run goes on where it was; the mean ranks are
drawn beside them.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

from benchmarks.critical_difference import critical_difference, draw_ranks
from benchmarks.tables import Row, Skipped
from chainrule import NADE, OrderlessNADE, PyODDetector
from chainrule.datasets.sources import DATA_VARIABLE

__all__ = ["DETECTORS", "SETTINGS", "Detected", "Ranking", "anomalies", "detect"]

SETTINGS = ("unsupervised", "normal rows only")
_SEEDS = range(5)
_MOST_ROWS = 10_000

Array = np.ndarray
Scorer = Callable[[Array, Array, int], Array]


@dataclass(frozen=True)
class Detected:
    """How well one detector ranks the anomalies of one set first."""

    data: str
    setting: str
    seed: int
    detector: str
    auroc: float
    average_precision: float
    seconds: float

    heading = (
        f"{'data':<18} {'setting':<17} {'seed':>4} {'detector':<14} {'AUROC':>7} {'AP':>7} {'seconds':>8}"
    )

    def line(self) -> str:
        """Return the row as a line of its table."""
        return (
            f"{self.data:<18} {self.setting:<17} {self.seed:>4} {self.detector:<14} {self.auroc:>7.4f} "
            f"{self.average_precision:>7.4f} {self.seconds:>8.1f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all of it."""
        return asdict(self)


@dataclass(frozen=True)
class Ranking:
    """One detector over all sets of a setting; the rank of means over seeds, 1 is the best."""

    setting: str
    detector: str
    n_sets: int
    auroc: float
    average_precision: float
    rank: float
    critical_difference: float
    seconds: float

    heading = (
        f"{'setting':<17} {'detector':<14} {'sets':>4} {'AUROC':>7} {'AP':>7} {'mean rank':>9} "
        f"{'critical difference':>19} {'seconds':>8}"
    )

    def line(self) -> str:
        """Return the row as a line of its table."""
        return (
            f"{self.setting:<17} {self.detector:<14} {self.n_sets:>4} {self.auroc:>7.4f} "
            f"{self.average_precision:>7.4f} {self.rank:>9.2f} {self.critical_difference:>19.2f} "
            f"{self.seconds:>8.1f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all of it."""
        return asdict(self)


# ---------------------------------------------------------------- detectors


def _ours(model: type | None = None) -> Scorer:
    def scores(train: Array, rows: Array, seed: int) -> Array:
        estimator = None if model is None else model(random_state=seed)
        return PyODDetector(estimator, random_state=seed).fit(train).decision_function(rows)

    return scores


def _pyod(module: str, name: str, **seeded: str) -> Scorer:
    def scores(train: Array, rows: Array, seed: int) -> Array:
        detector = getattr(__import__(f"pyod.models.{module}", fromlist=[name]), name)
        arguments: dict[str, Any] = {argument: seed for argument in seeded.values()}
        if name == "DeepSVDD":
            arguments |= {"n_features": train.shape[1], "verbose": 0}
        scaler = StandardScaler().fit(train)
        fitted = detector(**arguments).fit(scaler.transform(train))
        return np.asarray(fitted.decision_function(scaler.transform(rows)))

    return scores


DETECTORS: dict[str, Scorer] = {
    "PyODDetector": _ours(),
    "NADE": _ours(NADE),
    "OrderlessNADE": _ours(OrderlessNADE),
    "ECOD": _pyod("ecod", "ECOD"),
    "COPOD": _pyod("copod", "COPOD"),
    "IForest": _pyod("iforest", "IForest", seed="random_state"),
    "KNN": _pyod("knn", "KNN"),
    "HBOS": _pyod("hbos", "HBOS"),
    "LOF": _pyod("lof", "LOF"),
    "DeepSVDD": _pyod("deep_svdd", "DeepSVDD", seed="random_state"),
}


# ---------------------------------------------------------------- the run


def anomalies(
    checkpoint: Path | None = None,
    data: Sequence[str] = (),
    detectors: Sequence[str] = tuple(DETECTORS),
    seeds: Sequence[int] = tuple(_SEEDS),
) -> Iterator[Row]:
    """Yield what each detector reaches on each set, and then how they rank in each setting."""
    if find_spec("pyod") is None:
        yield Skipped("anomalies", "PyOD is not installed: pip install 'chainrule[bench]'")
        return
    folder = Path(os.environ.get(DATA_VARIABLE, "")) / "adbench"
    paths = [path for path in sorted(folder.glob("*.npz")) if not data or path.stem in data]
    if not paths:
        yield Skipped("anomalies", f"no sets of ADBench in {DATA_VARIABLE}/adbench")
        return
    kept = _Kept(None if checkpoint is None else checkpoint / "anomalies.jsonl")
    done: list[Detected] = []
    for path in paths:
        with np.load(path) as arrays:
            rows, labels = arrays["X"].astype(float), arrays["y"].astype(int)
        for setting in SETTINGS:
            for seed in seeds:
                train, tested, truth = split(rows, labels, setting, seed)
                for detector in detectors:
                    key = (path.stem, setting, seed, detector)
                    found = kept.get(key) or kept.add(detect(key, train, tested, truth))
                    done.append(found)
                    yield found
    ranks = {}
    for setting in SETTINGS:
        rankings = list(ranking(setting, [found for found in done if found.setting == setting]))
        ranks[setting] = {each.detector: each.rank for each in rankings}
        yield from rankings
    if checkpoint is not None:
        draw_ranks(ranks, len(paths), checkpoint / "anomalies.png")


def split(rows: Array, labels: Array, setting: str, seed: int) -> tuple[Array, Array, Array]:
    """Return the rows to learn from, those to rank, and which of the latter are anomalies."""
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(rows))[:_MOST_ROWS]
    while labels[chosen].min() == labels[chosen].max():  # so rare that none was drawn
        chosen = rng.permutation(len(rows))[:_MOST_ROWS]
    rows, labels = rows[chosen], labels[chosen]
    if setting == "unsupervised":
        return rows, rows, labels
    normal = np.flatnonzero(labels == 0)
    learned = np.zeros(len(rows), dtype=bool)
    learned[normal[: len(normal) // 2]] = True  # they stand in random order
    return rows[learned], rows[~learned], labels[~learned]


def detect(key: tuple[str, str, int, str], train: Array, tested: Array, truth: Array) -> Detected:
    """Fit a detector, rank rows, and tell how well."""
    data, setting, seed, detector = key
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = np.nan_to_num(DETECTORS[detector](train, tested, seed), posinf=1e300, neginf=-1e300)
    seconds = time.perf_counter() - start
    return Detected(
        data,
        setting,
        seed,
        detector,
        float(roc_auc_score(truth, scores)),
        float(average_precision_score(truth, scores)),
        seconds,
    )


class _Kept:
    """Figures as lines of a file, so that a run goes on where it was."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._found: dict[tuple[str, str, int, str], Detected] = {}
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                found = Detected(**json.loads(line))
                self._found[found.data, found.setting, found.seed, found.detector] = found

    def get(self, key: tuple[str, str, int, str]) -> Detected | None:
        return self._found.get(key)

    def add(self, found: Detected) -> Detected:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found.to_dict()) + "\n")
        return found


# ---------------------------------------------------------------- ranks


def ranking(setting: str, found: Sequence[Detected]) -> Iterator[Ranking]:
    """Yield how the detectors rank over sets by AUROC, the best first."""
    sets = sorted({each.data for each in found})
    names = list(dict.fromkeys(each.detector for each in found))
    aurocs, precisions, seconds = (_table(found, sets, names, of) for of in _MEASURES)
    ranks = rankdata(-aurocs, axis=1).mean(axis=0)
    difference = critical_difference(len(names), len(sets))
    for j in np.argsort(ranks):
        yield Ranking(
            setting,
            names[j],
            len(sets),
            float(aurocs[:, j].mean()),
            float(precisions[:, j].mean()),
            float(ranks[j]),
            difference,
            float(seconds[:, j].mean()),
        )


_MEASURES = ("auroc", "average_precision", "seconds")


def _table(found: Sequence[Detected], sets: list[str], names: list[str], measure: str) -> Array:
    """Return the means over seeds, (sets, detectors)."""
    values: dict[tuple[str, str], list[float]] = {}
    for each in found:
        values.setdefault((each.data, each.detector), []).append(getattr(each, measure))
    return np.array([[np.mean(values[data, name]) for name in names] for data in sets])
