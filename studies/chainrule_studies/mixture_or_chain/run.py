"""The study `mixture-or-chain`: whether autoregressive networks draw better images than mixtures."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from chainrule.baselines import GMM, MixtureOfBernoullis
from chainrule.datasets import Dataset, load_dataset
from chainrule.datasets.atari import AtariFrames, Episodes, need_emulator
from chainrule.errors import DataError, MissingPackageError
from chainrule.estimators import MADE, NADE, PixelCNN
from chainrule.estimators.base import DensityEstimator
from chainrule.experiments.study import StudyResult, StudyRun
from chainrule.metrics.precision_recall import Manifold, grouped_summary, nearest, precision_recall
from chainrule.metrics.statistics import Summary, bits_per_dimension
from chainrule_studies.mixture_or_chain.report import sections, verdict

__all__ = ["CHAINS", "MIXTURES", "check", "run"]

CHAINS = ("MADE", "NADE", "PixelCNN")
MIXTURES = ("mixture of Bernoullis", "GMM")
_CLASSES: dict[str, Callable[..., DensityEstimator]] = {
    "MADE": MADE,
    "NADE": NADE,
    "PixelCNN": PixelCNN,
    "mixture of Bernoullis": MixtureOfBernoullis,
    "GMM": GMM,
}
_FACE_SIZE = (32, 32, 3)
_QUICK_FACE_SIZE = (16, 16, 3)
_MOST_COMPONENTS = 110
_PCA_SHARE = 0.99
_N_AXES = 50  # of the space in which precision and recall are taken
_N_SHOWN = 24
_N_NEIGHBOURS_SHOWN = 8
_QUICK_ROWS = {"train": 3000, "valid": 500, "test": 500}
_REAL = "training images"

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class _ImageSet:
    """An image set of the study: its rows, and the settings of each model on it.

    `n_compared` is how many samples are held against as many test images.
    """

    key: str
    title: str
    load: Callable[[StudyRun], Dataset]
    models: Mapping[str, Mapping[str, Any]]
    n_compared: int
    settings: Mapping[str, Any] = field(default_factory=dict)


# ---------------------------------------------------------------- image sets


def _image_sets(run: StudyRun) -> tuple[list[_ImageSet], list[str]]:
    """Return the image sets of this run, and a line on each that is left out."""
    sets, notes = [_mnist(run.quick)], []
    try:
        need_emulator()
        sets.append(_atari(run.quick))
    except MissingPackageError as error:
        if not run.quick:
            raise
        notes.append(f"Atari frames are left out: {error}.")
    if "data" in run.options:
        sets.append(_faces(run.quick, Path(run.options["data"])))
    else:
        notes.append(
            "Anime faces are left out: they may not be shipped, and --data names no folder or tar of images."
        )
    return sets, notes


def _mnist(quick: bool) -> _ImageSet:
    epochs: dict[str, Any] = {"max_epochs": 15} if quick else {}
    models: dict[str, dict[str, Any]] = {
        "MADE": {"hidden_sizes": (200, 200) if quick else (1000, 1000), **epochs},
        "NADE": {"hidden_size": 100 if quick else 500, **epochs},
        "PixelCNN": {**_convolutions(quick, 64, 6), "max_epochs": 3 if quick else 8},
        "mixture of Bernoullis": _bernoullis(quick),
        "GMM": _gaussians(quick),
    }
    return _ImageSet("mnist", "MNIST, binarised", _load_mnist, models, 400 if quick else 2000)


def _load_mnist(run: StudyRun) -> Dataset:
    dataset = load_dataset("binarized-mnist")
    return _fewer(dataset, run) if run.quick else dataset


def _atari(quick: bool) -> _ImageSet:
    frames = AtariFrames(6, 3, 8, shrink=5, most=1000) if quick else AtariFrames(14, 5, 8, most=5000)
    common: dict[str, Any] = {"kinds": "binary", "batch_size": 50, "max_epochs": 40 if quick else 60}
    models: dict[str, dict[str, Any]] = {
        # Of many pixels in the order of lines a narrow network sees all but the last few before each;
        # in a random order those are anywhere, and not the neighbours that matter most.
        "MADE": {"hidden_sizes": (200, 200) if quick else (500, 500), "ordering": "random", **common},
        "NADE": {"hidden_size": 100 if quick else 200, **common},
        "PixelCNN": {
            **_convolutions(quick, 24, 4),
            "kinds": "binary",
            "image_shape": frames.image_shape,
            "batch_size": 8,
            "max_epochs": 10,
        },
        "mixture of Bernoullis": {"kinds": "binary", **_bernoullis(quick)},
        "GMM": {"kinds": "binary", **_gaussians(quick)},
    }
    height, width = frames.image_shape
    return _ImageSet(
        "atari",
        f"Atari frames (Space Invaders, {height} x {width})",
        lambda run: frames.load(run.random_state),
        models,
        300 if quick else 1000,
        {"frames": vars(frames)},
    )


def _faces(quick: bool, path: Path) -> _ImageSet:
    size = _QUICK_FACE_SIZE if quick else _FACE_SIZE
    common: dict[str, Any] = {"kinds": "ordinal", "n_components": 5, "max_epochs": 30 if quick else 60}
    models: dict[str, dict[str, Any]] = {
        "MADE": {"hidden_sizes": (200, 200) if quick else (1000, 1000), **common},
        "NADE": {"hidden_size": 50 if quick else 200, **common},
        "PixelCNN": {
            **_convolutions(quick, 48, 6),
            **common,
            "image_shape": size,
            "dropout": 0.2,
            "max_epochs": 4 if quick else 40,
        },
        "GMM": {"kinds": "ordinal", **_gaussians(quick)},
    }

    def load(run: StudyRun) -> Dataset:
        dataset = load_dataset(path, image_size=size, random_state=run.random_state)
        return _fewer(dataset, run) if run.quick else dataset

    title = f"Faces ({size[0]} x {size[1]}, in colour)"
    return _ImageSet("faces", title, load, models, 200 if quick else 1000, {"path": str(path)})


def _convolutions(quick: bool, n_filters: int, n_layers: int) -> dict[str, Any]:
    return {"n_filters": 16, "n_layers": 2} if quick else {"n_filters": n_filters, "n_layers": n_layers}


def _bernoullis(quick: bool) -> dict[str, Any]:
    return {"n_components": (30, 110, 200) if quick else (50, 110, 200, 500)}


def _gaussians(quick: bool) -> dict[str, Any]:
    """Return settings of the GMM; the axes follow from the rows."""
    return {"n_components": (1, 3, 10) if quick else (1, 10, 30, _MOST_COMPONENTS), "max_rows": 20_000}


def _fewer(dataset: Dataset, run: StudyRun) -> Dataset:
    draw = np.random.default_rng(run.random_state)
    parts = {}
    for part, most in _QUICK_ROWS.items():
        rows = getattr(dataset, part)
        parts[part] = rows[draw.permutation(len(rows))[:most]]
    return Dataset(dataset.name, **parts, kinds=dataset.kinds, image_shape=dataset.image_shape)


def _rows(run: StudyRun, images: _ImageSet) -> Arrays:
    """Return ``train``, ``valid``, ``test``, ``shape``, and ``groups`` of test rows, empty if independent."""

    def compute() -> Arrays:
        run.say(f"mixture-or-chain: images of {images.key}")
        dataset = images.load(run)
        groups = dataset.test_episode if isinstance(dataset, Episodes) else np.zeros(0, dtype=np.int64)
        parts = {part: getattr(dataset, part) for part in ("train", "valid", "test")}
        return {**parts, "groups": groups, "shape": np.array(dataset.image_shape)}

    return run.arrays(f"{images.key}-rows", compute, images.settings)


# ---------------------------------------------------------------- fits


def _fit(run: StudyRun, images: _ImageSet, name: str, rows: Arrays) -> Arrays:
    settings = dict(images.models[name])
    key = f"{images.key}-{name.replace(' ', '-')}"
    facts = {"settings": settings, "rows": images.settings, "n_compared": images.n_compared}
    return run.arrays(key, lambda: _fit_and_draw(run, key, name, settings, images, rows), facts)


def _fit_and_draw(
    run: StudyRun, key: str, name: str, settings: dict[str, Any], images: _ImageSet, rows: Arrays
) -> Arrays:
    run.say(f"mixture-or-chain: {key}")
    if name in CHAINS:
        settings |= {"checkpoint": run.checkpoint(key)}
    if name == "GMM":
        settings |= {"pca": _n_axes(rows["train"])}
    estimator = _CLASSES[name](**settings, random_state=run.random_state, verbose=run.progress)
    start = time.perf_counter()
    with warnings.catch_warnings():
        # Which of the dependencies a narrow MADE leaves out is said in the report.
        warnings.filterwarnings("ignore", ".*dependencies between variables have no path.*")
        estimator.fit(rows["train"], X_val=rows["valid"])
    fitted = time.perf_counter()
    samples = estimator.sample(images.n_compared, random_state=run.random_state)
    drawn = time.perf_counter()
    history = estimator.history_
    return {
        "test": estimator.score_samples(rows["test"]),
        "samples": np.asarray(samples).astype(np.uint8),
        "fit_seconds": np.array(fitted - start),
        "sample_seconds": np.array(drawn - fitted),
        "n_parameters": np.array(estimator.n_parameters_),
        "epochs": np.array(0 if history is None else len(history.valid)),
        "n_components": np.array(getattr(estimator, "n_components_", 0)),
        "n_axes": np.array(settings.get("pca", 0)),
        "lower_bound": np.array(estimator.likelihood_ == "lower bound"),
    }


def _n_axes(train: NDArray[Any]) -> int:
    """Return how many principal axes hold 99 % of the variance of the pixels, as far as the rows can tell."""
    most = max(1, min(train.shape[1], len(train) // 5, 1000))
    pca = PCA(most, svd_solver="randomized", random_state=0).fit(train.astype(np.float32))
    return int(min(np.searchsorted(np.cumsum(pca.explained_variance_ratio_), _PCA_SHARE) + 1, most))


# ---------------------------------------------------------------- numbers


def _measure(run: StudyRun, images: _ImageSet) -> tuple[dict[str, Any], Arrays]:
    """Fit all models of an image set; return the numbers, and what is to be shown."""
    rows = _rows(run, images)
    fits = {name: _fit(run, images, name, rows) for name in images.models}
    groups = rows["groups"] if len(rows["groups"]) else None
    draw = np.random.default_rng(run.random_state)
    n_compared = min(images.n_compared, len(rows["test"]))
    kept = np.sort(draw.permutation(len(rows["test"]))[:n_compared])
    manifold = Manifold(rows["train"], _N_AXES, run.random_state)
    real = manifold.place(rows["test"][kept])
    held_groups = None if groups is None else groups[kept]
    sets = {name: fit["samples"][:n_compared] for name, fit in fits.items()}
    # Training images as samples are what a perfect model would reach.
    sets[_REAL] = rows["train"][np.sort(draw.permutation(len(rows["train"]))[:n_compared])]
    compared = {name: precision_recall(real, manifold.place(samples)) for name, samples in sets.items()}
    held_out = nearest(rows["test"][kept], rows["train"])[1]
    ideal = _sample_quality(compared[_REAL].precise, compared[_REAL].recalled, held_groups)
    models: dict[str, Any] = {}
    shown: Arrays = {"test": rows["test"][kept][draw.permutation(n_compared)[:_N_SHOWN]]}
    for name, fit in fits.items():
        numbers, distances = nearest(fit["samples"][:n_compared], rows["train"])
        few = draw.permutation(n_compared)[:_N_NEIGHBOURS_SHOWN]
        shown[name] = fit["samples"][:_N_SHOWN]
        shown[f"{name} neighbours"] = np.concatenate([fit["samples"][few], rows["train"][numbers[few]]])
        models[name] = {
            **_likelihood(fit, groups, rows["test"].shape[1]),
            **_sample_quality(compared[name].precise, compared[name].recalled, held_groups),
            "nearest_training_distance": float(np.median(distances)),
            "copies": int((distances == 0).sum()),
        }
    result = {
        "title": images.title,
        **{f"n_{part}": len(rows[part]) for part in ("train", "valid", "test")},
        "n_variables": rows["test"].shape[1],
        "n_compared": n_compared,
        "n_test_episodes": None if groups is None else len(np.unique(groups)),
        "n_axes": manifold.n_axes,
        "axes_share": manifold.share,
        "held_out_distance": float(np.median(held_out)),
        "held_out_copies": int((held_out == 0).sum()),
        "models": models,
        "training_images": ideal,
        "between_chains": [
            {
                "chain": chain,
                "other": other,
                "nats": _pair(grouped_summary(fits[chain]["test"] - fits[other]["test"], groups)),
            }
            for chain, other in permutations(CHAINS, 2)
        ],
        "differences": [
            {
                "chain": chain,
                "mixture": mixture,
                "nats": _pair(grouped_summary(fits[chain]["test"] - fits[mixture]["test"], groups)),
                "recall": _pair(
                    grouped_summary(compared[chain].recalled - compared[mixture].recalled, held_groups)
                ),
                "precision": _unpaired(
                    *(min(models[name]["precision"], ideal["precision"]) for name in (chain, mixture))
                ),
            }
            for chain in CHAINS
            for mixture in MIXTURES
            if mixture in fits
        ],
    }
    return result, shown | {"shape": rows["shape"], "highest": rows["train"].max()}


def _likelihood(fit: Arrays, groups: NDArray[Any] | None, n_variables: int) -> dict[str, Any]:
    summary = grouped_summary(fit["test"], groups)
    per_dimension = bits_per_dimension(-1.0, n_variables)
    return {
        "test_log_likelihood": summary.mean,
        "standard_error": summary.standard_error,
        "bits_per_dim": bits_per_dimension(summary.mean, n_variables),
        "bits_standard_error": summary.standard_error * per_dimension,
        "lower_bound": bool(fit["lower_bound"]),
        "n_parameters": int(fit["n_parameters"]),
        "fit_seconds": float(fit["fit_seconds"]),
        "sample_seconds": float(fit["sample_seconds"]),
        "n_samples": len(fit["samples"]),
        "epochs": int(fit["epochs"]) or None,
        "n_components": int(fit["n_components"]) or None,
        "n_axes": int(fit["n_axes"]) or None,
    }


def _sample_quality(
    precise: NDArray[np.float64], recalled: NDArray[np.float64], groups: NDArray[Any] | None
) -> dict[str, Any]:
    return {
        "precision": _pair(grouped_summary(precise, None)),
        "recall": _pair(grouped_summary(recalled, groups)),
    }


def _pair(summary: Summary) -> list[float]:
    return [summary.mean, summary.standard_error]


def _unpaired(a: list[float], b: list[float]) -> list[float]:
    """Return the difference of two means of independent samples, and its standard error."""
    return [a[0] - b[0], float(np.hypot(a[1], b[1]))]


def run(run: StudyRun) -> StudyResult:
    """Do the study."""
    sets, notes = _image_sets(run)
    measured = {images.key: _measure(run, images) for images in sets}
    results = {"sets": {key: result for key, (result, _) in measured.items()}, "left_out": notes}
    shown = {key: pictures for key, (_, pictures) in measured.items()}
    facts = [(result["title"], f"{result['n_train']:,} train") for result, _ in measured.values()]
    return StudyResult(results, sections(results, shown), verdict(results), facts)


def check(options: Mapping[str, Any]) -> None:
    """Raise a DataError if there is nothing where `data` points, or no MNIST."""
    if "data" in options and not Path(options["data"]).expanduser().exists():
        raise DataError(f"there is nothing at {options['data']}: --data names a folder or a tar of images")
    load_dataset("binarized-mnist")
