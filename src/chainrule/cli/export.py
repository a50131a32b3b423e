"""`chainrule export` and `chainrule card`: a saved model for others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chainrule.cli.options import JsonOption, ModelArgument
from chainrule.cli.output import check_file, check_suffix, console_for, write_json
from chainrule.cli.questions import OrdersOption
from chainrule.errors import StorageError

__all__ = ["card", "export"]


def export(
    model: ModelArgument,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The graph, such as model.onnx.")],
    orders: OrdersOption = None,
    json_file: JsonOption = None,
) -> None:
    """Write the scoring of a saved model as ONNX, and beside it how columns are coded."""
    check_file(json_file)
    check_file(out)
    check_suffix(out, (".onnx",))
    from chainrule.estimators import export_onnx, load
    from chainrule.estimators.onnx_export import columns_file

    export_onnx(load(model), out, n_orders=orders)
    columns, size = columns_file(out), out.stat().st_size
    console_for(json_file).print(
        f"{size / 1e6:.2f} MB: {out}; how columns are coded: {columns}", soft_wrap=True
    )
    write_json({"path": str(out), "columns": str(columns), "bytes": size}, json_file)


def card(
    model: ModelArgument,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="The rows of the fit: measure the test rows, and what the model gives away of the others.",
        ),
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Write README.md into the folder of a saved model: a card for the Hugging Face Hub and for people."""
    check_file(json_file)
    from chainrule.estimators import load
    from chainrule.report.card import CARD, measure, write_card

    estimator = load(model)
    measured = None
    if data is not None:
        if estimator.split_ is not None:
            raise StorageError(f"{model} was fitted in pieces, which cannot be split again: leave out --data")
        from chainrule.cli.questions import missing_words
        from chainrule.datasets import load_dataset

        fitted = estimator.get_params().get("random_state")
        dataset = load_dataset(
            data,
            random_state=fitted if isinstance(fitted, int) else 0,
            missing=missing_words(estimator.schema_) if estimator.supports_missing else None,
            columns=estimator.schema_.names if estimator.schema_.named else None,
        )
        measured = measure(estimator, dataset.train, dataset.test)
    write_card(estimator, model, measured)
    console_for(json_file).print(f"card: {model / CARD}", soft_wrap=True)
    write_json(
        {"path": str(model / CARD), **({} if measured is None else {"measured": measured.to_dict()})},
        json_file,
    )
