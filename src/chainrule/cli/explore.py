"""`chainrule explore`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from chainrule.cli.options import JsonOption, ModelArgument
from chainrule.cli.output import check_file, check_suffix, console_for, write_json
from chainrule.errors import QueryError

__all__ = ["explore"]


def explore(
    model: ModelArgument,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The page, such as page.html.")],
    title: Annotated[
        str | None, typer.Option(help="The page's heading; default: the name of DIR.", show_default=False)
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Write a page on which one sets some columns and watches the others; it opens offline."""
    check_file(json_file)
    check_file(out)
    check_suffix(out, (".html", ".htm"))
    from chainrule.estimators import load

    estimator = load(model)
    if not estimator.is_any_order:
        raise QueryError(
            f"this model is of class {type(estimator).__name__}, and the page is for models of any order: "
            "fit --model orderless-nade"
        )
    start = time.perf_counter()
    estimator.explore(out, title=model.resolve().name if title is None else title)
    seconds, size = time.perf_counter() - start, out.stat().st_size
    console_for(json_file).print(f"{size / 1e6:.2f} MB in {seconds:.2f} s: {out}", soft_wrap=True)
    write_json({"path": str(out), "bytes": size, "seconds": seconds}, json_file)
