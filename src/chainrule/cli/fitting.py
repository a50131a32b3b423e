"""`chainrule compare` and `chainrule fit`."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from chainrule.cli.comparison import comparison_table, heading, remarks, say_result
from chainrule.cli.kinds import say_kinds
from chainrule.cli.large import (
    ROWS_FOLDER,
    MemoryOption,
    MinLevelCountOption,
    Reading,
    large_table,
    rows_to_compare,
    stored_rows,
)
from chainrule.cli.options import (
    AddressOption,
    DataArgument,
    EngineOption,
    ImageSizeOption,
    JsonOption,
    KindOption,
    SeedOption,
    parse_sizes,
    with_training_options,
)
from chainrule.cli.output import check_file, console_for, new_folder, say, write_json
from chainrule.cli.validating import validation_score
from chainrule.cli.workers import WorkersOption, check_workers, fit_on_cluster, joined, save_by_first
from chainrule.errors import DataError, FitInterrupted
from chainrule.registry import MODELS

if TYPE_CHECKING:
    from chainrule.batches import LargeTable
    from chainrule.datasets import Dataset
    from chainrule.estimators.base import DensityEstimator

__all__ = ["compare", "fit"]

if TYPE_CHECKING:
    ModelName = str
else:
    ModelName = Literal[*MODELS]  # the choices of the option; type checkers cannot read a table
ModelOption = Annotated[ModelName, typer.Option(help="Which model.")]
ActivationName = Literal["relu", "leaky_relu", "elu", "silu", "gelu", "tanh", "sigmoid"]

RUN_FILES = {"models", "results.json", "report.html", "explore.html", "checkpoints", ROWS_FOLDER}
CHECKPOINT = "checkpoint.pt"

MaxEpochsOption = Annotated[int | None, typer.Option(min=1, help="Stop after so many epochs at the latest.")]


def compare(
    data: DataArgument,
    models: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help=f"Which models, separated by commas: {', '.join(MODELS)}."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The run folder; default runs/NAME-TIME.")
    ] = None,
    seed: SeedOption = 0,
    max_epochs: MaxEpochsOption = None,
    max_time: Annotated[
        float | None, typer.Option(min=1, help="Seconds for all of it; fits share what is left of them.")
    ] = None,
    orders: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Average the models of any order over so many orders; default: 8 up to 40 columns, else 1.",
        ),
    ] = None,
    kind: KindOption = None,
    image_size: ImageSizeOption = None,
    min_level_count: MinLevelCountOption = 1,
    memory: MemoryOption = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with a comparison into --out that was broken off."),
    ] = False,
    json_file: JsonOption = None,
) -> None:
    """Fit NADE, MADE and the baselines, test them on the same held-out rows, write a report."""
    check_file(json_file)
    names = None if models is None else _parse_models(models)
    if out is not None:
        _check_run_folder(out)
        from chainrule.experiments.kept_fits import STATE_FOLDER, unfinished_work

        _say_how_it_begins(out, out / STATE_FOLDER, unfinished_work(out), resume)
    elif resume:
        raise DataError("--resume needs --out DIR, the run folder of the comparison to go on with")
    reading = Reading.of_options(seed, kind, image_size, memory, min_level_count)
    rows = rows_to_compare(data, reading, out)
    with rows as (dataset, folder), _naming_what_is_saved(folder):
        # Its imports take seconds, for which nobody should wait who has mistyped a path.
        from chainrule.experiments.compare import compare as run_comparison

        comparison = run_comparison(
            dataset,
            models=names,
            random_state=seed,
            max_epochs=max_epochs,
            max_time=max_time,
            n_orders=orders,
            out=folder,
            resume=resume,
            progress=True,
            before_fits=say_kinds,
            after_each=say_result,
        )
    console = console_for(json_file)
    for line in heading(comparison):
        console.print(line, soft_wrap=True)
    console.print(comparison_table(comparison))
    for line in remarks(comparison):
        console.print(line, soft_wrap=True)
    console.print(f"run folder: {folder}", soft_wrap=True)
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True)
    write_json(comparison.to_dict(), json_file)


@with_training_options
def fit(
    data: DataArgument,
    model: ModelOption,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to save the model into.")],
    seed: SeedOption = 0,
    hidden_sizes: Annotated[
        str | None, typer.Option(metavar="SIZES", help="Hidden layers, such as 500,500; NADE has one.")
    ] = None,
    activation: Annotated[ActivationName | None, typer.Option(help="Of the hidden units.")] = None,
    ordering: Annotated[
        Literal["natural", "random"] | None, typer.Option(help="Order of the variables.")
    ] = None,
    n_orderings: Annotated[int | None, typer.Option(min=1, help="Average over so many orders.")] = None,
    n_masks: Annotated[int | None, typer.Option(min=1, help="Average over so many masks.")] = None,
    resample_every: Annotated[
        int | None, typer.Option(min=1, help="Change masks after so many steps.")
    ] = None,
    n_components: Annotated[int | None, typer.Option(min=1, help="Components of a mixture.")] = None,
    mixture: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Family of real numbers, such as gaussian; a wrong one lists them.",
        ),
    ] = None,
    dropout: Annotated[float | None, typer.Option(min=0, max=1, help="Share of units left out.")] = None,
    degrees: Annotated[
        Literal["even", "uniform"] | None, typer.Option(help="How the degrees of hidden units are spread.")
    ] = None,
    n_filters: Annotated[int | None, typer.Option(min=1, help="Width of convolutions.")] = None,
    n_layers: Annotated[int | None, typer.Option(min=1, help="Residual blocks of convolutions.")] = None,
    kernel_size: Annotated[int | None, typer.Option(min=3, help="Of convolutions, odd.")] = None,
    device: Annotated[Literal["cpu", "cuda"] | None, typer.Option(help="Default: cuda if present.")] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE",
            help="What no row breaks, such as 'signup <= churn', 'state, city IN observed' or 'total = net + "
            "tax'; once for each rule.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with a fit into --out that was broken off."),
    ] = False,
    kind: KindOption = None,
    image_size: ImageSizeOption = None,
    min_level_count: MinLevelCountOption = 1,
    memory: MemoryOption = None,
    engine: EngineOption = None,
    address: AddressOption = None,
    workers: WorkersOption = None,
    json_file: JsonOption = None,
    **training_options: Any,
) -> None:
    """Fit one model and save it; Ctrl-C saves the best weights so far, and --resume goes on from there."""
    check_file(json_file)
    check_workers(engine, address, workers)
    replaces = _check_model_folder(out) and not resume
    checkpoint = out / CHECKPOINT
    _say_how_it_begins(out, checkpoint, checkpoint.exists(), resume)
    asked = {
        "random_state": seed,
        "hidden_sizes": None if hidden_sizes is None else parse_sizes(hidden_sizes),
        "activation": activation,
        "ordering": ordering,
        "n_orderings": n_orderings,
        "n_masks": n_masks,
        "resample_every": resample_every,
        "degrees": degrees,
        "n_filters": n_filters,
        "n_layers": n_layers,
        "kernel_size": kernel_size,
        "n_components": n_components,
        "mixture": mixture,
        "dropout": dropout,
        "device": device,
        "rules": rule or None,
        **training_options,
    }
    reading = Reading.of_options(seed, kind, image_size, memory, min_level_count)
    estimator = _build(model, {name: value for name, value in asked.items() if value is not None})
    place = str(Path(data).resolve()) if Path(data).exists() else data  # workers may be elsewhere
    work = partial(_fit_and_save, estimator, out.resolve(), place, reading)
    reached = work() if workers is None else fit_on_cluster(work, workers, address, out, checkpoint)
    if reached is None:
        return
    result = {"model": MODELS[model].class_name, **reached, "path": str(out)}
    seconds = result["fit_seconds"]
    epochs = "" if result["epochs"] is None else f"{result['epochs']} epochs, "
    console_for(json_file).print(
        f"{result['model']}: {result['valid_log_likelihood']:.4f} nats per validation row; {epochs}"
        f"{result['n_parameters']:,} parameters, {seconds:.1f} s; saved in {out}"
        f"{', in place of the model that was there' if replaces else ''}",
        soft_wrap=True,
    )
    write_json(result, json_file)


def _fit_and_save(
    estimator: DensityEstimator, out: Path, data: str, reading: Reading
) -> dict[str, Any] | None:
    """Fit and save a model; return what there is to say of it, nothing where another process says it."""
    from chainrule.datasets import MISSING_WORDS

    missing = MISSING_WORDS if estimator.supports_missing else None
    if "checkpoint" in estimator.get_params():
        estimator.set_params(checkpoint=out / CHECKPOINT)
    with joined() as group:
        large = large_table(data, reading, missing)
        if large is None:
            valid, seconds = _fit_in_memory(estimator, out, reading.dataset(data, missing))
        else:
            valid, seconds = _fit_in_pieces(estimator, out, *large, reading.seed)
    if not group.is_first:
        return None
    (out / CHECKPOINT).unlink(missing_ok=True)
    return {
        "valid_log_likelihood": valid,
        "epochs": None if estimator.history_ is None else estimator.history_.epochs,
        "fit_seconds": seconds,
        "n_parameters": estimator.n_parameters_,
    }


def _say_how_it_begins(out: Path, state: Path, is_there: bool, resume: bool) -> None:
    """Say whether there is something to go on with; refuse to write over what was not asked for.

    Parameters
    ----------
    out : Path
        The folder that the user named.
    state : Path
        Where what was broken off is kept.
    is_there : bool
        Whether there is any.
    """
    if is_there and not resume:
        raise DataError(
            f"--out {out}: what was broken off there would be lost; add --resume to go on with it, or delete "
            f"{state} to begin anew"
        )
    if resume:
        say(f"going on from {state}" if is_there else f"nothing to go on with in {out}: it begins anew")


def _fit_in_memory(estimator: DensityEstimator, out: Path, dataset: Dataset) -> tuple[float, float]:
    """Fit and save a model; return the log-likelihood of the validation rows and the seconds of the fit."""
    from chainrule.schema import Schema

    known = estimator.get_params(deep=False)
    estimator.set_params(**{name: value for name, value in dataset.arguments.items() if name in known})
    schema = Schema.infer(dataset.train, dataset.kinds, missing=estimator.supports_missing)
    estimator.check(schema)
    say_kinds(schema)
    with new_folder(out):
        seconds = _fit(lambda: estimator.fit(dataset.train, X_val=dataset.valid), estimator, out)
        save_by_first(estimator, out)
    return validation_score(estimator, dataset.valid), seconds


def _fit_in_pieces(
    estimator: DensityEstimator, out: Path, large: LargeTable, memory: int, seed: int
) -> tuple[float, float]:
    """Fit and save a model of rows that memory does not hold; return what `_fit_in_memory` does."""
    missing = estimator.supports_missing
    with new_folder(out), stored_rows(large, memory, out, seed, missing=missing) as stored:
        say_kinds(stored.schema)
        seconds = _fit(lambda: stored.fit(estimator), estimator, out)
        save_by_first(estimator, out)
        scores = estimator.log_likelihoods(stored.codes_val, None)
    return float(scores.mean()) if len(scores) else math.nan, seconds


def _parse_models(text: str) -> list[str]:
    names = [name.strip().lower() for name in text.split(",")]
    for name in names:
        if name not in MODELS:
            from chainrule.schema.values import did_you_mean

            meant = did_you_mean(name, MODELS) or f"; there are {', '.join(MODELS)}"
            raise DataError(f"--models {text}: {name!r} is no model{meant}")
    return names


def _check_run_folder(folder: Path) -> None:
    """Refuse to write a run among files that are none of its own."""
    from chainrule.storage import partials_of

    entries = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
    foreign = entries - RUN_FILES - partials_of(entries)
    if foreign:
        raise DataError(f"--out {folder}: it holds other files ({min(foreign)}); name a new folder")


def _check_model_folder(folder: Path) -> bool:
    """Refuse a folder that holds something else than a saved model; return whether it holds one."""
    from chainrule.distributed.fitting import WORKERS_FOLDER
    from chainrule.storage import is_saved_model, partials_of

    entries = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
    entries -= {CHECKPOINT, ROWS_FOLDER, WORKERS_FOLDER, *partials_of(entries)}
    if entries and not is_saved_model(folder):
        raise DataError(f"--out {folder}: it is not empty and holds no saved model; name a new folder")
    return bool(entries)


@contextmanager
def _naming_what_is_saved(folder: Path) -> Iterator[None]:
    """On Ctrl-C or a full disk say where the models that were fitted before are, and how to go on."""
    from chainrule.experiments.kept_fits import unfinished_work
    from chainrule.storage import is_saved_model

    try:
        yield
    except (KeyboardInterrupt, OSError) as error:
        goes_on = (
            f"; the same command with --out {folder} --resume goes on" if unfinished_work(folder) else ""
        )
        if isinstance(error, FitInterrupted):
            raise FitInterrupted(f"{error}{goes_on}") from error
        models = sorted(entry.name for entry in (folder / "models").glob("*") if is_saved_model(entry))
        kept = f"; saved in {folder / 'models'}: {', '.join(models)}" if models else ""
        if isinstance(error, OSError):
            raise OSError(
                error.errno, f"{error.strerror}{kept}{goes_on}", str(error.filename or folder)
            ) from error
        raise KeyboardInterrupt(f"interrupted{kept}{goes_on}") from error


def _build(model: str, arguments: dict[str, Any]) -> DensityEstimator:
    """Return the unfitted estimator, or say which option it does not have."""
    import chainrule

    estimator_class = getattr(chainrule, MODELS[model].class_name)
    fixed = MODELS[model].arguments
    known = inspect.signature(estimator_class).parameters.keys() - fixed.keys()
    if "hidden_sizes" in arguments and "hidden_size" in known:
        arguments["hidden_size"] = _single(arguments.pop("hidden_sizes"))
    for name in arguments:
        if name not in known:
            option = "rule" if name == "rules" else name.replace("_", "-")
            raise DataError(f"--model {model} has no option --{option}; leave it out")
    if arguments.get("device") == "cuda" and not _has_cuda():
        raise DataError("--device cuda: PyTorch finds no CUDA device; leave the option out")
    if "verbose" in known:
        arguments["verbose"] = True
    return estimator_class(**fixed, **arguments)


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _single(sizes: tuple[int, ...]) -> int:
    if len(sizes) != 1:
        raise DataError(f"NADE has one hidden layer, but --hidden-sizes names {len(sizes)}; give one size")
    return sizes[0]


def _fit(fit_rows: Callable[[], Any], estimator: DensityEstimator, out: Path) -> float:
    """Fit by a call, and return the seconds it took; after Ctrl-C save what there is and say so."""
    start = time.perf_counter()
    try:
        fit_rows()
    except FitInterrupted as interrupt:
        save_by_first(estimator, out)
        raise FitInterrupted(
            f"interrupted: the best weights so far are saved in {out}; the same command with --resume goes on"
        ) from interrupt
    return time.perf_counter() - start
