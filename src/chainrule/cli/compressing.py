"""`chainrule compress` and `chainrule decompress`."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.options import DataArgument, ImageSizeOption, JsonOption, ModelArgument, image_size_for
from chainrule.cli.output import check_file, check_rows_out, console_for, rows_out, write_json
from chainrule.cli.questions import missing_words
from chainrule.errors import DataError

if TYPE_CHECKING:
    from chainrule.compression import Compressor
    from chainrule.schema import Schema

__all__ = ["compress", "decompress"]


def compress(
    model: ModelArgument,
    data: DataArgument,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the compressed rows go.")],
    resolution: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=STEP",
            help="Round the real numbers of a column to multiples of STEP, such as weight=0.01; needed where "
            "those of the training rows have any number of digits. May be repeated.",
        ),
    ] = None,
    image_size: ImageSizeOption = None,
    json_file: JsonOption = None,
) -> None:
    """Compress all rows without loss, at the rate of a saved model: about -log2 p bits for each."""
    check_file(json_file)
    check_file(out)
    from chainrule.compression import Compressor
    from chainrule.datasets import stream_rows
    from chainrule.estimators import load
    from chainrule.storage import file_written_whole

    estimator = load(model)
    schema = estimator.schema_
    size = image_size_for(image_size, data, estimator)
    start = time.perf_counter()
    with file_written_whole(out) as file:
        compressor = Compressor(estimator, file, _parse_resolution(resolution, schema), measures=True)
        for rows in stream_rows(data, image_size=size, missing=missing_words(schema)):
            _check_columns(rows, schema)
            compressor.add(rows)
        compressor.finish()
    result = _figures(compressor, out, data, model, time.perf_counter() - start)
    console_for(json_file).print(_summary(result), soft_wrap=True)
    write_json(result, json_file)


def decompress(
    model: ModelArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What chainrule compress has written.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            help="Where the rows go: csv, tsv, parquet or npy, or a folder of parquet files; without it, "
            "standard output.",
        ),
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Write the rows that a saved model has compressed."""
    check_file(json_file)
    check_rows_out(out, resume=False)
    from chainrule.compression import decompress_batches
    from chainrule.estimators import load

    estimator = load(model)
    start, n_rows = time.perf_counter(), 0
    is_kept = out is not None or str(json_file) != "-"
    with file.open("rb") as compressed, rows_out(out, {}, is_kept=is_kept) as sink:
        for rows in decompress_batches(estimator, compressed):
            n_rows += len(rows)
            sink.write(rows)
    seconds = time.perf_counter() - start
    if out is not None:
        console_for(json_file).print(f"{n_rows:,} rows in {seconds:.2f} s: {out}", soft_wrap=True)
    path = None if out is None else str(out)
    write_json({"n_rows": n_rows, "seconds": seconds, "path": path}, json_file)


def _parse_resolution(texts: Sequence[str] | None, schema: Schema) -> dict[str, str]:
    """Return the steps of columns; a column's name may contain ``=``."""
    steps: dict[str, str] = {}
    for text in texts or ():
        column, separator, step = text.rpartition("=")
        if not separator:
            raise DataError(f"--resolution {text}: expected COLUMN=STEP, such as weight=0.01")
        if column in steps:
            raise DataError(f"--resolution {text}: column {column!r} is given twice; name each column once")
        steps[column] = step
    return steps


def _check_columns(rows: Any, schema: Schema) -> None:
    """Refuse a table with columns that the model lacks: they would be lost."""
    if not schema.named or not hasattr(rows, "columns"):
        return
    others = [name for name in rows.columns if name not in schema.names]
    if others and set(schema.names) <= set(rows.columns):
        listed = ", ".join(map(repr, others[:5]))
        raise DataError(
            f"the rows have columns that the model lacks, which would be lost: {listed}; drop them, or fit a "
            "model that has them"
        )


def _figures(compressor: Compressor, out: Path, data: str, model: Path, seconds: float) -> dict[str, Any]:
    """Return what the JSON holds."""
    n_rows, n_bytes = compressor.n_rows, out.stat().st_size
    source = Path(data)
    n_input = source.stat().st_size if source.is_file() else None
    nll = compressor.nll_bits
    return {
        "n_rows": n_rows,
        "n_bytes": n_bytes,
        "bits_per_row": 8 * n_bytes / n_rows,
        "nll_bits_per_row": nll / n_rows,
        "over_nll": 8 * n_bytes / nll - 1 if 0 < nll < math.inf else math.nan,
        "input_bytes": n_input,
        "ratio": None if n_input is None else n_bytes / n_input,
        "model_bytes": sum(path.stat().st_size for path in model.iterdir() if path.is_file()),
        "seconds": seconds,
        "path": str(out),
    }


def _summary(result: dict[str, Any]) -> str:
    """Return the line that says what came of it."""
    over = result["over_nll"]
    parts = [
        f"{result['n_rows']:,} rows, {result['n_bytes']:,} bytes: {result['bits_per_row']:.2f} bits per row"
    ]
    if math.isfinite(over):
        parts.append(f"{100 * over:+.2f} % over the model's {result['nll_bits_per_row']:.2f}")
    if result["ratio"] is not None:
        parts.append(f"{100 * result['ratio']:.2f} % of the input")
    parts.append(f"the model has {result['model_bytes']:,} bytes")
    return f"{', '.join(parts)}; {result['seconds']:.2f} s: {result['path']}"
