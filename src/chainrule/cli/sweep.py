"""`chainrule sweep`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from chainrule.cli.fitting import MaxEpochsOption, ModelOption
from chainrule.cli.options import (
    AddressOption,
    DataArgument,
    EngineOption,
    ImageSizeOption,
    JsonOption,
    KindOption,
    SeedOption,
    check_engine,
    parse_image_size,
    parse_kinds,
)
from chainrule.cli.output import check_file, console_for, new_folder, working_on, write_json
from chainrule.errors import DataError, ParameterError
from chainrule.report.numbers import in_ascii, with_error

if TYPE_CHECKING:
    from rich.table import Table

    from chainrule.sweep import SweepResult

__all__ = ["sweep"]

RUN_FILES = {"sweep.db", "sweep.db-journal", "fits", "checkpoints", "model", "results.json", "report.html"}
# Trials in the table on the terminal; the report has more, and results.json all.
_N_SHOWN = 10


def sweep(
    data: DataArgument,
    more: Annotated[
        list[str] | None, typer.Argument(metavar="NAME=VALUES", help="More parameters of --grid.")
    ] = None,
    model: ModelOption = "made",
    grid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUES",
            help="Try these values of a parameter: a comma separates values, an x joins the layers of one, "
            "as in --grid hidden_sizes=100,100x100 activation=relu,tanh.",
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(min=1, help="Search with so many trials, in the values of --grid or a default space."),
    ] = None,
    sampler: Annotated[
        Literal["tpe", "random"] | None, typer.Option(help="How a search draws its trials; default tpe.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Fit each setting with so many seeds.")] = 1,
    max_epochs: MaxEpochsOption = None,
    prune: Annotated[
        bool | None,
        typer.Option(
            "--prune/--no-prune",
            help="End fits that are worse than half of the others at the same epoch; default for a search.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes of this machine.")] = 1,
    engine: EngineOption = None,
    address: AddressOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The run folder, new or of a sweep to go on with; default runs/NAME-sweep-TIME.",
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Share the trials with other machines: postgresql://... or mysql://...; "
            "default SQLite in DIR.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the sweep in that storage; default data set and model.")
    ] = None,
    seed: SeedOption = 0,
    kind: KindOption = None,
    image_size: ImageSizeOption = None,
    json_file: JsonOption = None,
) -> None:
    """Try many settings of a model, choose by the validation rows; after Ctrl-C the same command goes on."""
    check_file(json_file)
    check_engine(engine, address)
    if engine is not None and workers > 1:
        raise ParameterError(f"--workers {workers} are processes of this machine: leave it out with --engine")
    words = _words(grid, more)
    if words is None and trials is None:
        raise ParameterError("nothing to sweep: give --grid NAME=VALUES, or --trials N to search")
    if sampler is not None and trials is None:
        raise ParameterError(f"--sampler {sampler} needs --trials N; a grid tries all of its settings")
    if out is not None:
        _check_run_folder(out)
    kinds, size = parse_kinds(kind), parse_image_size(image_size)
    from chainrule.sweep.storage import need_optuna

    need_optuna()
    from chainrule.datasets import load_dataset
    from chainrule.sweep import parse_grid
    from chainrule.sweep import sweep as run_sweep

    values = None if words is None else parse_grid(model, words)
    dataset = load_dataset(data, random_state=seed, image_size=size, kinds=kinds, missing=None)
    folder = out or Path("runs", f"{dataset.name}-sweep-{datetime.now():%Y%m%d-%H%M%S}")
    with new_folder(folder), working_on(engine, address) as cluster:
        try:
            result = run_sweep(
                dataset,
                model,
                grid=values,
                n_trials=trials,
                sampler=sampler,
                seeds=seeds,
                max_epochs=max_epochs,
                prune=prune,
                workers=workers,
                engine=cluster,
                random_state=seed,
                out=folder,
                storage=storage,
                name=name,
                progress=True,
            )
        except KeyboardInterrupt as interrupt:
            raise KeyboardInterrupt(
                f"interrupted; what is done is kept in {folder}, and the same command with --out {folder} "
                "goes on"
            ) from interrupt
    _show(result, folder, json_file)
    write_json(result.to_dict(), json_file)


def _words(grid: list[str] | None, more: list[str] | None) -> list[str] | None:
    """Return all parameters of the grid: those after --grid, and those that stand after them."""
    if more and not grid:
        raise DataError(f"{more[0]!r} is one argument too many; parameters of a grid come after --grid")
    return None if grid is None else [*grid, *(more or [])]


def _check_run_folder(folder: Path) -> None:
    """Refuse to write a sweep among files that are none of its own."""
    from chainrule.storage import partials_of

    entries = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
    foreign = entries - RUN_FILES - partials_of(entries)
    if foreign:
        raise DataError(f"--out {folder}: it holds other files ({min(foreign)}); name a new folder")


def _show(result: SweepResult, folder: Path, json_file: Path | None) -> None:
    from chainrule.sweep.page import verdict

    console = console_for(json_file)
    console.print(_table(result))
    for sentence in verdict(result):
        console.print(sentence, soft_wrap=True)
    console.print(f"model: {result.path}", soft_wrap=True)
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True)


def _table(result: SweepResult) -> Table:
    from rich.table import Table

    from chainrule.sweep.page import value_text

    names = list(result.space.parameters)
    table = Table()
    for heading in ("trial", *names):
        table.add_column(heading)
    table.add_column("validation, nats", justify="right", no_wrap=True)
    for heading in ("overfit", "fit s"):
        table.add_column(heading, justify="right")
    done = result.complete()
    for trial in done[:_N_SHOWN]:
        table.add_row(
            str(trial.number),
            *(value_text(trial.parameters[name]) for name in names),
            in_ascii(with_error(trial.valid_log_likelihood, trial.standard_error, 3)),
            f"{trial.overfit:.3f}",
            f"{trial.seconds:.1f}",
        )
    if len(done) > _N_SHOWN:
        table.caption = f"the best {_N_SHOWN} of {len(done)} complete trials"
    return table
