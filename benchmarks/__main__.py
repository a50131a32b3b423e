"""Measure everything in one run: ``python -m benchmarks [GROUP ...] [--runs N] [--json FILE]``.

``python -m benchmarks same-numbers`` measures no time: it tells whether fits still give the same numbers.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine, same_numbers
from benchmarks.anomalies import anomalies
from benchmarks.any_order import any_order
from benchmarks.calibration import calibration
from benchmarks.cells import cells
from benchmarks.compression import compression
from benchmarks.events import events
from benchmarks.fits import fits
from benchmarks.imputation import imputation
from benchmarks.likeness import likeness
from benchmarks.memory import memory
from benchmarks.mnist import mnist
from benchmarks.peers import peers
from benchmarks.pieces import pieces
from benchmarks.pixels import pixels
from benchmarks.questions import questions
from benchmarks.ray_scoring import ray_scoring
from benchmarks.scale import scale
from benchmarks.scaling import scaling
from benchmarks.synthetic import synthetic
from benchmarks.table_peers import DATA, FILES, PEERS, Settings, table_peers
from benchmarks.tables import Row, Skipped
from benchmarks.works import sampling, scoring, start_up, training

_SEED = 0

_GROUPS: dict[str, Callable[[argparse.Namespace], Iterator[Row]]] = {
    "sampling": lambda arguments: sampling(arguments.runs),
    "pixels": lambda arguments: pixels(arguments.runs),
    "training": lambda arguments: training(arguments.runs),
    "scoring": lambda arguments: scoring(arguments.runs),
    "questions": lambda arguments: questions(arguments.runs),
    "events": lambda arguments: events(),
    "fits": lambda arguments: fits(),
    "calibration": lambda arguments: calibration(),
    "any-order": lambda arguments: any_order(arguments.checkpoint),
    "imputation": lambda arguments: imputation(arguments.checkpoint),
    "synthetic": lambda arguments: synthetic(arguments.checkpoint),
    "cells": lambda arguments: cells(),
    "compression": lambda arguments: compression(arguments.checkpoint),
    "anomalies": lambda arguments: anomalies(arguments.checkpoint),
    "peers": lambda arguments: peers(arguments.runs),
    "tables": lambda arguments: _against_peers("tables", table_peers, arguments),
    "likeness": lambda arguments: _against_peers("likeness", likeness, arguments),
    "memory": lambda arguments: memory(),
    "scale": lambda arguments: scale(),
    "pieces": lambda arguments: pieces(),
    "ray": lambda arguments: ray_scoring(arguments.runs),
    "scaling": lambda arguments: scaling(arguments.runs),
    "mnist": lambda arguments: mnist(arguments.checkpoint),
    "start-up": lambda arguments: start_up(arguments.runs),
}


def main() -> None:
    """Print tables with medians and ratios, and write JSON if asked to."""
    arguments = _arguments()
    # Before any thread is started, which inherit it: the weights that the textbook's masks forbid decay to
    # numbers next to zero, on which processors are five times slower.
    torch.set_flush_denormal(True)
    # Weights and draws of the textbook and of the peers come from the global generator.
    torch.manual_seed(_SEED)
    metadata = {**machine.metadata(), "runs": arguments.runs, "seed": _SEED}
    print(", ".join(f"{name} {value}" for name, value in metadata.items()))
    document: dict[str, Any] = {"machine": metadata}
    for name in arguments.groups or _GROUPS:
        rows = document[name] = []
        for row in _printed(name, _GROUPS[name](arguments)):
            rows.append(row.to_dict())
            # After each row, so that a long run that is stopped leaves what it has measured.
            if arguments.json:
                arguments.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _against_peers(
    group: str, measure: Callable[..., Iterator[Row]], arguments: argparse.Namespace
) -> Iterator[Row]:
    if not arguments.groups:
        yield Skipped(group, "it installs gigabytes and takes hours; naming the group runs it")
        return
    settings = Settings(
        peers_dir=arguments.peers_dir,
        rows=arguments.rows,
        max_time=arguments.max_time,
        kill_after=arguments.kill_after,
        threads=torch.get_num_threads(),
    )
    yield from measure(settings, arguments.only, arguments.data, arguments.checkpoint)


def _printed(name: str, rows: Iterator[Row]) -> Iterator[Row]:
    """Pass the rows on and print each as it comes, under a heading where the kind of row changes."""
    print(f"\n{name}", flush=True)
    heading = ""
    for row in rows:
        if row.heading not in ("", heading):
            heading = row.heading
            print(heading)
        print(row.line(), flush=True)
        yield row


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = ", ".join(_GROUPS)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {names}; all if none is named")
    parser.add_argument("--runs", type=int, default=5, help="turns per measurement")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="DIR",
        help="where mnist keeps the textbook's fit, any-order its model, to go on from, and compression its "
        "two; imputation takes "
        "that model from there, synthetic those of a run folder of chainrule compare, tables, likeness and "
        "anomalies their figures",
    )
    _add_options_of_tables(parser)
    arguments = parser.parse_args()
    unknown = [group for group in arguments.groups if group not in _GROUPS]
    if unknown:
        parser.error(f"no group {unknown[0]!r}; there are {names}")
    if arguments.runs < 1:
        parser.error(f"--runs must be at least 1, got {arguments.runs}")
    return arguments


def _add_options_of_tables(parser: argparse.ArgumentParser) -> None:
    options = parser.add_argument_group("tables, likeness")
    options.add_argument("--only", action="append", default=[], choices=PEERS, help="this peer; repeatable")
    tables = sorted({*DATA, *FILES})
    options.add_argument("--data", action="append", default=[], choices=tables, help="this table; repeatable")
    options.add_argument("--rows", type=int, metavar="N", help="learn from so many training rows at most")
    options.add_argument(
        "--max-time", type=float, metavar="SECONDS", help="of a fit, for those that have such an option"
    )
    options.add_argument(
        "--kill-after", type=float, metavar="SECONDS", help="give a peer up that takes longer in all"
    )
    options.add_argument(
        "--peers-dir",
        type=Path,
        metavar="DIR",
        default=Path.home() / ".cache" / "chainrule-peers",
        help="where the peers' environments are made (default: %(default)s)",
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["same-numbers"]:
        sys.exit(same_numbers.main(sys.argv[2:]))
    main()
