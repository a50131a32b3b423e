"""`chainrule experiment`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chainrule.cli.options import JsonOption, SeedOption
from chainrule.cli.output import check_file, console_for, new_folder, write_json

__all__ = ["experiment"]


def experiment(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Which study; without a name, they are listed.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A small version that takes less than two minutes.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The run folder, new or of a run to go on with; default runs/NAME."),
    ] = None,
    seed: SeedOption = 0,
    n: Annotated[
        int | None, typer.Option("--n", metavar="ROWS", min=20, help="Rows to draw (two-gaussians).")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="PATH", help="Where the data lie, for a study that needs to know.")
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(metavar="SETS", help="Only these data sets, separated by commas (published)."),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="How long all fits may take, such as 2h or 90m (published)."),
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Run a complete study, from data to a report; after Ctrl-C the same command goes on."""
    from chainrule.experiments.studies import load_study

    if name is None:
        _list_studies()
        return
    check_file(json_file)
    given = {"n": n, "data": data, "only": only, "budget": budget}
    options = {key: value for key, value in given.items() if value is not None}
    load_study(name, options)
    from chainrule.experiments.study import run_study

    folder = out or Path("runs", name + ("-quick" if quick else ""))
    with new_folder(folder):
        try:
            result = run_study(
                name,
                folder,
                quick=quick,
                random_state=seed,
                options=options,
                progress=True,
            )
        except KeyboardInterrupt as interrupt:
            raise KeyboardInterrupt(
                f"interrupted; what is done is kept in {folder}, and the same command with --out {folder} "
                "goes on"
            ) from interrupt
    console = console_for(json_file)
    for sentence in result.verdict:
        console.print(sentence, soft_wrap=True)
    console.print(f"run folder: {folder}", soft_wrap=True)
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True)
    write_json(result.results, json_file)


def _list_studies() -> None:
    from rich.table import Table

    from chainrule.experiments.studies import installed_studies

    table = Table()
    for heading in ("study", "what it asks", "time", "--quick"):
        table.add_column(heading)
    for name, study in installed_studies().items():
        table.add_row(name, study.summary, study.duration(False), study.duration(True))
    console_for(None).print(table)
