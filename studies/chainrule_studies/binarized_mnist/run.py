"""The study `binarized-mnist`: orders, connectivity masks and ensembles of MADE on binarized MNIST."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logsumexp

from chainrule.baselines import Independent, MixtureOfBernoullis
from chainrule.datasets import Dataset, load_dataset
from chainrule.estimators import MADE, NADE
from chainrule.estimators.autoregressive import AutoregressiveEstimator
from chainrule.estimators.base import DensityEstimator
from chainrule.experiments.study import StudyResult, StudyRun
from chainrule.metrics.statistics import paired_difference, summarize
from chainrule_studies.binarized_mnist.report import sections, verdict

__all__ = ["N_MEMBERS", "fit_baseline", "fit_member", "fit_model", "mixture_of", "models", "run", "scan"]

N_MEMBERS = {"made": 8, "nade": 8}
"""How many members the ensembles over orders have; further MADEs that were fitted before are used, too."""

_ENSEMBLES = {"made": "wide MADEs", "nade": "NADEs"}

_QUICK_MEMBERS = 3
_QUICK_ROWS = {"train": 3000, "valid": 1000, "test": 1000}
_N_SAMPLES = 100

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class _Model:
    """A network of the study: how to call it, its class and its settings."""

    title: str
    estimator: type[AutoregressiveEstimator]
    settings: Mapping[str, Any]


def models(quick: bool) -> dict[str, _Model]:
    """Return the networks that are compared beside the ensemble, by the names of their steps."""
    sizes = (64, 64, 64) if quick else (512, 512, 512)
    # Stretches of a fit are joined: its learning rate must not depend on where the last one ends.
    common = {"batch_size": 128, "max_epochs": 10 if quick else 200, "schedule": "plateau"}
    deep = {"hidden_sizes": sizes, **common}
    # One mask and many must differ in nothing else: drawn degrees and no residual layers in all of them.
    masked = {**deep, "degrees": "uniform", "residual": False, "resample_every": 20}
    made = {
        "natural": _Model("MADE, natural order", MADE, deep),
        "random": _Model("MADE, random order", MADE, {**deep, "ordering": "random"}),
        **{
            f"masks-{count}": _Model(_masks_title(count), MADE, {**masked, "n_masks": count})
            for count in (1, 4, 32)
        },
    }
    return {**made, "nade": _Model("NADE", NADE, {"hidden_size": 50 if quick else 500, **common})}


def _masks_title(count: int) -> str:
    return f"MADE, {count} mask{'' if count == 1 else 's'}"


def _member(quick: bool, number: int) -> _Model:
    """Return a member of the ensemble: the first takes the pixels as they stand, the others at random."""
    wide = {
        "hidden_sizes": (128, 128) if quick else (1500, 1500),
        "dropout": 0.5,
        "weight_decay": 0.03,
        "batch_size": 200,
        "max_epochs": 10 if quick else 200,
        "schedule": "plateau",
        "ordering": "natural" if number == 0 else "random",
    }
    return _Model("one order" if number == 0 else f"member {number + 1}", MADE, wide)


def fit_model(run: StudyRun, name: str) -> Arrays:
    """Fit one of `models`, or take it from the run folder.

    Parameters
    ----------
    run : StudyRun
    name : str
        A name from `models`.

    Returns
    -------
    dict of str to ndarray
        ``train``, ``valid_curve`` (NLL per epoch), ``batches`` (NLL per minibatch), ``best_epoch``,
        ``seconds``, ``n_parameters``; ``valid`` and ``test`` (members, n), nats per row under each order and
        mask; ``samples`` (grids, 100, D) and ``sample_epochs``.
    """
    return _fit(run, name, models(run.quick)[name], run.random_state)


def fit_member(run: StudyRun, number: int, family: str = "made") -> Arrays:
    """Fit a member of an ensemble over orders, or take it from the run folder.

    Parameters
    ----------
    run : StudyRun
    number : int
        Counted from 0, which has the natural order. Members can be fitted in any order and by several
        processes at once, as long as no two of them fit the same one.
    family : {"made", "nade"}
        Of which ensemble; the first NADE is that of `models`.

    Returns
    -------
    dict of str to ndarray
        As from `fit_model`.
    """
    seed = run.random_state + 1000 * number
    if family == "made":
        return _fit(run, _key(family, number), _member(run.quick, number), seed)
    nade = models(run.quick)["nade"]
    if number == 0:
        return fit_model(run, "nade")
    order = scan(number, _rows(run).image_shape or (1, 1))
    member = _Model(f"NADE, scan {number + 1}", NADE, {**nade.settings, "ordering": order})
    return _fit(run, _key(family, number), member, seed)


def scan(number: int, shape: tuple[int, ...]) -> list[int]:
    """Return one of the eight orders that go through an image line by line, from 0, the natural one, on.

    Neighbours in such an order are neighbours in the image, which NADE makes good use of.

    >>> [scan(number, (2, 2)) for number in range(4)]
    [[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]]
    >>> scan(4, (2, 3))
    [0, 3, 1, 4, 2, 5]
    """
    pixels = np.arange(shape[0] * shape[1]).reshape(shape)
    pixels = pixels[:: -1 if number & 2 else 1, :: -1 if number & 1 else 1]
    order: list[int] = (pixels.T if number & 4 else pixels).flatten().tolist()
    return order


def _key(family: str, number: int) -> str:
    """Return the name of a member's step."""
    return f"member-{number}" if family == "made" else f"nade-scan-{number}"


def fit_baseline(run: StudyRun, name: str) -> Arrays:
    """Fit "independent" or "mixture", and return its nats per ``valid`` and ``test`` row, (1, n) each."""

    def compute() -> Arrays:
        rows = _rows(run)
        estimator: DensityEstimator = (
            Independent() if name == "independent" else MixtureOfBernoullis(random_state=run.random_state)
        )
        estimator.fit(rows.train, X_val=rows.valid)
        return {part: estimator.score_samples(getattr(rows, part))[None] for part in ("valid", "test")}

    return run.arrays(f"baseline-{name}", compute)


def mixture_of(log_probs: np.ndarray) -> np.ndarray:
    """Return the log of the mean probability over the first axis.

    Parameters
    ----------
    log_probs : ndarray of shape (K, n)
        Nats per row under each model.

    Returns
    -------
    ndarray of shape (n,)
        Nats per row under the mixture of the K models with equal weights.

    Examples
    --------
    >>> mixture_of(np.log([[0.2, 0.5], [0.4, 0.5]])).round(4)
    array([-1.204 , -0.6931])
    """
    mixed: np.ndarray = logsumexp(log_probs, axis=0) - np.log(len(log_probs))
    return mixed


def _rows(run: StudyRun) -> Dataset:
    dataset = load_dataset("binarized-mnist")
    if not run.quick:
        return dataset
    draw = np.random.default_rng(run.random_state)
    parts = {}
    for part, count in _QUICK_ROWS.items():
        rows = getattr(dataset, part)
        parts[part] = rows[draw.permutation(len(rows))[:count]]
    return Dataset(dataset.name, **parts, image_shape=dataset.image_shape, description=dataset.description)


def _fit(run: StudyRun, key: str, model: _Model, seed: int) -> Arrays:
    settings = {"class": model.estimator.__name__, **model.settings, "seed": seed}
    return run.arrays(key, lambda: _fit_and_score(run, key, model, seed), settings)


def _fit_and_score(run: StudyRun, key: str, model: _Model, seed: int) -> Arrays:
    rows = _rows(run)
    run.say(f"{key}: {model.title}")
    estimator, grids = _fit_with_samples(run, key, model, seed, rows)
    estimator.save(run.folder / "models" / key)
    history = estimator.history_
    return {
        "train": np.array(history.train),
        "valid_curve": np.array(history.valid),
        "batches": np.array(estimator.batch_nll_, dtype=np.float32),
        "best_epoch": np.array(history.best_epoch),
        "seconds": np.array(history.seconds),
        "n_parameters": np.array(estimator.n_parameters_),
        "valid": _log_probs_of_members(estimator, rows.valid),
        "test": _log_probs_of_members(estimator, rows.test),
        "samples": np.stack(list(grids.values())).astype(np.uint8),
        "sample_epochs": np.array(list(grids)),
    }


def _fit_with_samples(
    run: StudyRun, key: str, model: _Model, seed: int, rows: Dataset
) -> tuple[AutoregressiveEstimator, dict[int, np.ndarray]]:
    """Fit in stretches of some epochs that the checkpoint joins, and draw a grid of samples after each."""
    every = 5 if run.quick else 20
    grids: dict[int, np.ndarray] = {}
    for limit in range(every, model.settings["max_epochs"] + 1, every):
        settings = {**model.settings, "max_epochs": limit}
        estimator = model.estimator(
            **settings, random_state=seed, checkpoint=run.checkpoint(key), verbose=run.progress
        )
        estimator.fit(rows.train, X_val=rows.valid)
        epochs = estimator.history_.epochs

        def draw(fitted: AutoregressiveEstimator = estimator) -> Arrays:
            return {"samples": fitted.sample(_N_SAMPLES, random_state=seed).astype(np.uint8)}

        # A fit that is taken up again goes over the finished stretches, whose samples are kept.
        grid = run.arrays(f"samples-{key}-{limit}", draw, settings)
        grids.setdefault(min(limit, epochs), grid["samples"])
        if epochs < limit:
            break
    return estimator, grids


def _log_probs_of_members(estimator: AutoregressiveEstimator, rows: np.ndarray) -> np.ndarray:
    """Return the nats per row under each order and mask of a model, (members, n)."""
    import torch

    from chainrule.training import evaluation_batch

    model, codes = estimator.model_, torch.from_numpy(estimator.schema_.encode(rows))
    device = next(model.parameters()).device
    size = evaluation_batch(model)
    with torch.no_grad():
        return np.stack(
            [
                torch.cat([model.log_prob_of_member(part.to(device), k) for part in codes.split(size)])
                .cpu()
                .numpy()
                for k in range(model.n_members)
            ]
        )


def run(run: StudyRun) -> StudyResult:
    """Do the study."""
    rows = _rows(run)  # missing data are told before anything is fitted
    fitted = {name: fit_model(run, name) for name in models(run.quick)}
    baselines = {name: fit_baseline(run, name) for name in ("independent", "mixture")}
    members = {
        family: [fit_member(run, number, family) for number in range(_n_members(run, family))]
        for family in _ENSEMBLES
    }
    results = _results(run, fitted, baselines, members)
    shape = rows.image_shape or (1, rows.n_variables)
    # The test rows may lie sorted by class.
    shown = np.random.default_rng(run.random_state).permutation(len(rows.test))[:_N_SAMPLES]
    return StudyResult(
        results,
        sections(results, fitted, members["made"][0], rows.test[shown], shape),
        verdict(results),
        [(f"{part} rows", f"{len(getattr(rows, part)):,}") for part in ("train", "valid", "test")],
    )


def _n_members(run: StudyRun, family: str) -> int:
    """Return how many members to use: the usual number, and those beyond it that are fitted already."""
    if run.quick:
        return _QUICK_MEMBERS
    count = N_MEMBERS[family]
    while family == "made" and (run.folder / "steps" / f"{_key(family, count)}.npz").exists():
        count += 1
    return count


def _results(
    run: StudyRun,
    fitted: Mapping[str, Arrays],
    baselines: Mapping[str, Arrays],
    members: Mapping[str, list[Arrays]],
) -> dict[str, Any]:
    titles = {name: model.title for name, model in models(run.quick).items()}
    titles |= {"independent": "independent", "mixture": "mixture of Bernoullis"}
    scored: dict[str, Arrays] = {**fitted, **baselines, "one-order": members["made"][0]}
    titles["one-order"] = "MADE, wide, one order"
    natural = mixture_of(fitted["natural"]["test"])
    return {
        "quick": run.quick,
        "models": {
            name: {
                "title": titles[name],
                "valid_nll": _nll(mixture_of(arrays["valid"])),
                "test_nll": _nll(mixture_of(arrays["test"])),
                "mean_of_members_test_nll": -float(arrays["test"].mean()),
                "difference_to_natural": _pair(mixture_of(arrays["test"]), natural),
                "epochs": len(arrays["train"]) if "train" in arrays else None,
                "seconds": float(arrays["seconds"]) if "seconds" in arrays else None,
            }
            for name, arrays in scored.items()
        },
        "ensembles": {family: _ensemble(_ENSEMBLES[family], rows) for family, rows in members.items()},
    }


def _ensemble(title: str, members: list[Arrays]) -> dict[str, Any]:
    """Return the NLL of each member, and of the mixtures of the first 1, 2, ... of them."""
    parts = {part: np.stack([mixture_of(member[part]) for member in members]) for part in ("valid", "test")}
    counts = range(1, len(members) + 1)
    return {
        "title": title,
        "members": [{part: _nll(rows[k - 1]) for part, rows in parts.items()} for k in counts],
        "mixtures": [
            {"members": k, **{f"{part}_nll": _nll(mixture_of(rows[:k])) for part, rows in parts.items()}}
            for k in counts
        ],
        "gain": _pair(mixture_of(parts["test"]), parts["test"][0]),
    }


def _nll(log_probs: np.ndarray) -> list[float]:
    """Return the mean NLL and its standard error."""
    summary = summarize(log_probs)
    return [-summary.mean, summary.standard_error]


def _pair(a: np.ndarray, b: np.ndarray) -> list[float]:
    """Return by how many nats per row `a` is ahead of `b`, and the standard error of that."""
    difference = paired_difference(a, b)
    return [difference.mean, difference.standard_error]
