"""Fit several models to one data set, test them on the same held-out rows, write a run folder."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.datasets import Dataset
from chainrule.errors import DataError, FitInterrupted, KindError, QueryError
from chainrule.estimators.base import DensityEstimator
from chainrule.estimators.ensemble import Ensemble
from chainrule.experiments.answers import measure_answers
from chainrule.experiments.kept_fits import KeptFits, fingerprint
from chainrule.experiments.models import (
    fits_to_average,
    has_parameter,
    orders_to_average,
    set_parameter,
    settings_for_few_rows,
)
from chainrule.experiments.stored import StoredDataset
from chainrule.experiments.synthetic import measure_samples, membership_of_training_rows
from chainrule.kernels.backends import has_numba
from chainrule.kernels.clock import working_time
from chainrule.registry import MODELS
from chainrule.report.comparison import Comparison, ModelResult
from chainrule.report.comparison_page import write_report
from chainrule.report.rows import take_rows
from chainrule.schema import UNSEEN, Schema
from chainrule.storage import write_json
from chainrule.supports import Binary, Grid, Reals

__all__ = ["compare", "default_models"]


# Of the time that is left, fits get such a share; scores, samples and the report need the rest.
_FIT_SHARE = 0.7
_MIN_FIT = 1.0  # seconds
_N_SHOWN = 200  # real rows kept for the report
_MAX_ANY_ORDER = 128  # columns up to which a model of any order is fitted beside those of one
_MAX_SPLIT = 40  # columns up to which the log-likelihood is split over them
_MAX_SAMPLES, _MIN_SAMPLES = 1000, 50
_SAMPLE_NUMBERS = 20_000_000  # bounds the memory of the samples of one model


def compare(
    dataset: Dataset,
    *,
    models: Sequence[str] | None = None,
    random_state: int = 0,
    max_epochs: int | None = None,
    max_time: float | None = None,
    n_orders: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = False,
    before_fits: Callable[[Schema], None] | None = None,
    after_each: Callable[[ModelResult], None] | None = None,
) -> Comparison:
    """Fit models to the training rows, choose on the validation rows, test on the test rows.

    Parameters
    ----------
    dataset : Dataset
        Of a `StoredDataset`, networks learn from all rows, and what else is told is told of its samples.
    models : sequence of str, optional
        Names from `MODELS`; by default those of `default_models`.
    random_state : int
        Seed of all fits and samples.
    max_epochs : int, optional
        Upper limit for the models that are trained in epochs.
    max_time : float, optional
        Seconds for all of it: fits share what is left of them when their turn comes.
    n_orders : int, optional
        Over how many orders the models of any order are averaged; by default 8 where there are 2 to 40
        columns, otherwise one.
    out : path, optional
        A run folder: gets ``models/NAME`` for each fitted model, ``results.json``, ``report.html`` and, of a
        table with a model of any order among `models`, its page ``explore.html``.
    resume : bool
        Go on with a comparison into `out` that was broken off: models that are done are taken as they are,
        and a fit that was under way goes on. Where there is nothing to go on with, it begins anew.
    progress : bool
        Show a progress bar per fit on standard error.
    before_fits : callable, optional
        Called with the schema of the training rows once nothing speaks against fitting.
    after_each : callable, optional
        Called with the result of each model once it is there; models come in the order of `models`, by
        default the quick ones first.

    Returns
    -------
    Comparison
        A model that cannot model the columns, or takes no missing values where there are some, is left
        out; a line in its `notes` says why.

    Raises
    ------
    DataError
        If a name is unknown, rows cannot be used, no model can model the columns, `n_orders` is given
        without a model of any order, or `out` holds a comparison that was broken off and `resume` was not
        asked for or its settings are others.
    FitInterrupted
        After Ctrl-C in a fit; the best weights so far are saved under `out`, as the message says.

    Examples
    --------
    >>> from chainrule.datasets import load_dataset
    >>> compared = compare(load_dataset("digits"), models=["independent"])
    >>> compared.results[0].model, compared.n_variables
    ('independent', 64)
    """
    start = working_time()
    stored = dataset if isinstance(dataset, StoredDataset) else None
    schema = stored.stored.schema if stored else Schema.infer(dataset.train, dataset.kinds, missing=True)
    names = _checked(default_models(schema, dataset.has_missing) if models is None else models)
    estimators = {name: _build(name, dataset, random_state, max_epochs, progress) for name in names}
    _set_orders(estimators, n_orders, dataset.n_variables)
    _check_missing(dataset, estimators)
    if before_fits is not None:
        before_fits(schema)
    folder = None if out is None else Path(out)
    settings = {
        "models": names,
        "random_state": random_state,
        "max_epochs": max_epochs,
        "max_time": max_time,
        "n_orders": n_orders,
        "rows": None if folder is None else _fingerprint(dataset, schema),
    }
    with KeptFits(folder, settings, resume=resume) as kept:
        start -= kept.seconds()
        results, notes = _fit_all(estimators, dataset, random_state, kept, start, max_time, after_each)
        if models is None:
            notes = [*_not_tried(schema, dataset.has_missing), *notes]
        comparison = Comparison(
            dataset=dataset.name,
            description=dataset.description,
            split=dataset.split,
            n_train=stored.stored.n_rows[0] if stored else len(dataset.train),
            n_valid=len(dataset.valid),
            n_test=len(dataset.test),
            n_variables=dataset.n_variables,
            kinds=schema.describe(),
            discrete=schema.is_discrete,
            image_shape=dataset.image_shape,
            entropy=dataset.entropy,
            random_state=random_state,
            results=results,
            train_rows=_some_rows(dataset.train, random_state),
            test_rows=dataset.test,
            notes=[stored.remark(), *notes] if stored else notes,
            sampled=stored.sampled() if stored else None,
            fidelity=measure_samples(dataset, results, random_state),
            answers=measure_answers(dataset, results, random_state),
            seconds=working_time() - start,
        )
        if folder is not None:
            _write(comparison, folder)
    return comparison


def _fit_all(
    estimators: Mapping[str, DensityEstimator],
    dataset: Dataset,
    random_state: int,
    kept: KeptFits,
    start: float,
    max_time: float | None,
    after_each: Callable[[ModelResult], None] | None,
) -> tuple[list[ModelResult], list[str]]:
    """Fit and test one model after the other; return their results, and why others are left out."""
    results: list[ModelResult] = []
    notes: list[str] = []
    n_fits = sum(_n_timed_fits(estimator) for estimator in estimators.values())
    if max_time is not None and n_fits and has_numba():
        from chainrule.kernels.compiling import wake_compiler

        wake_compiler()  # else this takes up the first network's share
    for name, estimator in estimators.items():
        if dataset.has_missing and not estimator.supports_missing:
            notes.append(f"{MODELS[name].title} is left out: it takes no missing values")
            continue
        if max_time is not None and has_parameter(estimator, "max_time"):
            left = max_time - (working_time() - start)
            set_parameter(estimator, "max_time", max(_FIT_SHARE * left / n_fits, _MIN_FIT))
            n_fits -= _n_timed_fits(estimator)
        try:
            fitted, fit_seconds = kept.model(name) or _fit(name, estimator, dataset, kept, start)
        except KindError as error:
            notes.append(f"{MODELS[name].title} is left out: {error}")
            continue
        results.append(_result(MODELS[name].title, fitted, fit_seconds, dataset, random_state))
        if after_each is not None:
            after_each(results[-1])
    if not results:
        raise DataError(f"none of the models can model these columns. {' '.join(notes)}")
    return results, notes


def _n_timed_fits(estimator: DensityEstimator) -> int:
    """Return how many fits share the time that an estimator gets."""
    n_fits = estimator.n_members if isinstance(estimator, Ensemble) else 1
    return n_fits if has_parameter(estimator, "max_time") else 0


def _fingerprint(dataset: Dataset, schema: Schema) -> str:
    parts = (dataset.train, dataset.valid, dataset.test)
    return fingerprint(schema, (schema.encode(rows, missing=True, unseen=UNSEEN) for rows in parts))


def default_models(schema: Schema, has_missing: bool = False) -> list[str]:
    """Return the names of the models to compare: two baselines that suit the kinds, and networks.

    These are NADE, MADE and, for up to 128 columns, the one of any order. Where values are missing, models
    are those that give what is there its exact probability: mixtures of products, and the network of any
    order.

    Examples
    --------
    >>> default_models(Schema.infer(np.eye(3)))
    ['independent', 'mixture-of-bernoullis', 'nade', 'made', 'orderless-nade']
    >>> default_models(Schema.infer(np.random.default_rng(0).normal(size=(9, 3))))
    ['independent', 'gmm', 'nade', 'made', 'orderless-nade']
    >>> default_models(Schema.infer(np.eye(3)), has_missing=True)
    ['independent', 'mixture-of-bernoullis', 'orderless-nade']
    """
    supports = schema.supports
    if all(isinstance(support, Binary) for support in supports):
        mixture = "mixture-of-bernoullis"
    elif all(isinstance(support, Grid | Reals) for support in supports) and not has_missing:
        mixture = "gmm"
    else:
        mixture = "mixture"
    chains = [] if has_missing else ["nade", "made"]
    asked = has_missing or schema.n_variables <= _MAX_ANY_ORDER
    return ["independent", mixture, *chains, *(["orderless-nade"] if asked else [])]


def _not_tried(schema: Schema, has_missing: bool) -> list[str]:
    """Return why models that would be compared by default are not."""
    compared = default_models(schema, has_missing)
    lacking = [MODELS[name].title for name in default_models(schema) if name not in compared]
    return [f"{title} is left out: it takes no missing values" for title in lacking]


def _checked(names: Sequence[str]) -> list[str]:
    """Return the names without repetitions, all of them known."""
    for name in names:
        if name not in MODELS:
            raise DataError(f"there is no model {name!r}; choose from {', '.join(MODELS)}")
    if not names:
        raise DataError(f"no model to compare; choose from {', '.join(MODELS)}")
    return list(dict.fromkeys(names))


def _build(
    name: str, dataset: Dataset, random_state: int, max_epochs: int | None, progress: bool
) -> DensityEstimator:
    """Return the unfitted estimator; arguments that it does not have are left out.

    Of few rows each split tells something else: several fits of any order have validation rows of their own.
    """
    estimator_class = getattr(import_module("chainrule"), MODELS[name].class_name)
    wanted: dict[str, Any] = {
        **settings_for_few_rows(len(dataset.train), dataset.n_variables),
        **MODELS[name].arguments,
        **dataset.arguments,
        "random_state": random_state,
        "verbose": progress,
    }
    if max_epochs is not None:
        wanted["max_epochs"] = max_epochs
    known = inspect.signature(estimator_class).parameters
    estimator: DensityEstimator = estimator_class(**{key: wanted[key] for key in wanted if key in known})
    n_fits = fits_to_average(len(dataset.train))
    of_a_table = dataset.image_shape is None and not isinstance(dataset, StoredDataset)
    if n_fits == 1 or not estimator.is_any_order or not of_a_table:
        return estimator
    return Ensemble(estimator, n_fits, pool_validation=True, verbose=progress, random_state=random_state)


def _set_orders(estimators: Mapping[str, DensityEstimator], n_orders: int | None, n_variables: int) -> None:
    """Average the models of any order over so many orders; those of fixed order stay as they are."""
    free = [estimator for estimator in estimators.values() if estimator.is_any_order]
    if n_orders is None:
        n_orders = orders_to_average(n_variables)
    elif not free:
        raise DataError("a number of orders is for models of any order: orderless-nade, conv-nade")
    for estimator in free:
        set_parameter(estimator, "n_orderings", n_orders)


def _check_missing(dataset: Dataset, estimators: Mapping[str, DensityEstimator]) -> None:
    """Refuse rows with missing values where no model takes them."""
    if dataset.has_missing and not any(estimator.supports_missing for estimator in estimators.values()):
        raise DataError(
            f"{dataset.name} has missing values, which none of these models takes; "
            "choose from independent, mixture, orderless-nade, conv-nade"
        )


def _result(
    title: str, estimator: DensityEstimator, fit_seconds: float, dataset: Dataset, random_state: int
) -> ModelResult:
    """Score and sample a fitted model."""
    n_samples = int(np.clip(_SAMPLE_NUMBERS // dataset.n_variables, _MIN_SAMPLES, _MAX_SAMPLES))
    estimator.sample(2, random_state=random_state)  # compiles what is compiled at first use
    start = working_time()
    samples = estimator.sample(n_samples, random_state=random_state)
    sample_seconds = (working_time() - start) * 1000 / n_samples
    # Of several fits the first one stands for all.
    history = (estimator.members_[0] if isinstance(estimator, Ensemble) else estimator).history_
    log_likelihoods = estimator.score_samples(dataset.test)
    return ModelResult(
        model=title,
        estimator=estimator,
        log_likelihoods=log_likelihoods,
        fit_seconds=fit_seconds,
        sample_seconds=sample_seconds,
        epochs=None if history is None else history.epochs,
        n_parameters=estimator.n_parameters_,
        samples=samples,
        history=history,
        note=_note(estimator),
        column_log_likelihoods=_of_columns(estimator, dataset),
        membership=membership_of_training_rows(estimator, dataset.train, log_likelihoods, random_state),
    )


def _of_columns(estimator: DensityEstimator, dataset: Dataset) -> np.ndarray | None:
    """Return the mean nats per test row of each column given those before it; None of pixels and the like."""
    if dataset.image_shape or dataset.n_variables > _MAX_SPLIT:
        return None
    order = estimator.column_order()
    if order is None or (np.diff(order) < 0).any():
        return None
    scores = estimator.score_columns(dataset.test)
    means: np.ndarray = np.nansum(scores, axis=0) / len(scores)
    return means


def _fit(
    name: str, estimator: DensityEstimator, dataset: Dataset, kept: KeptFits, start: float
) -> tuple[DensityEstimator, float]:
    """Fit and save a model; return it and how long the fit took. After Ctrl-C save what there is."""
    kept.prepare(name, estimator)
    began = working_time()
    try:
        if isinstance(dataset, StoredDataset):
            dataset.stored.fit(estimator)
        else:
            estimator.fit(dataset.train, X_val=dataset.valid)
    except FitInterrupted as interrupt:
        path = kept.save(name, estimator)
        if path is None:
            raise
        title = MODELS[name].title
        raise FitInterrupted(
            f"interrupted: the best weights of {title} so far are saved in {path}"
        ) from interrupt
    now = working_time()
    # The history of a fit that went on knows of the time before.
    seconds = max(now - began, 0.0 if estimator.history_ is None else estimator.history_.seconds)
    kept.save(name, estimator)
    kept.mark_done(name, seconds, began - start + seconds)
    return estimator, seconds


def _note(estimator: DensityEstimator) -> str:
    """Return the remark that belongs beside the figures of a model."""
    bound = ["lower bound: uniform dequantisation"] if estimator.likelihood_ == "lower bound" else []
    mixture = getattr(estimator, "mixture_", None)
    count = 1 if mixture is None else mixture.n_components
    components = [f"{count} components"] if count > 1 else []
    return "; ".join([*bound, *components, *_averages(estimator)])


def _averages(estimator: DensityEstimator) -> list[str]:
    """Return the remarks about what is averaged."""
    if isinstance(estimator, Ensemble):
        fits = f"mean of {estimator.n_members} fits to training and validation rows"
        return [fits, *_averages(estimator.members_[0])]
    n_orders = estimator.get_params().get("n_orderings", 1)
    return [f"mean of {n_orders} orders"] if n_orders > 1 else []


def _some_rows(rows: Any, random_state: int) -> Any:
    """Return some rows drawn without replacement, so that sorted rows show all of their classes."""
    drawn = np.random.default_rng(random_state).permutation(len(rows))[:_N_SHOWN]
    return take_rows(rows, np.sort(drawn).tolist())


def _write(comparison: Comparison, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "results.json", comparison.to_dict())
    write_report(comparison, folder / "report.html", _write_page(comparison, folder))


def _write_page(comparison: Comparison, folder: Path) -> str | None:
    """Write the page of a table's best model of any order; return the file's name, None if there is none."""
    of_any_order = [result.estimator for result in comparison.ranked() if result.estimator.is_any_order]
    if comparison.image_shape is not None or not of_any_order:
        return None
    try:
        path: Path = of_any_order[0].explore(folder / "explore.html", title=comparison.dataset)
    except QueryError:  # a network or a family of the user's own, which the page does not know
        return None
    return path.name
