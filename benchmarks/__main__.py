"""Measure everything in one run: ``python -m benchmarks [--runs N] [--json FILE]``."""

from __future__ import annotations

import argparse
import json
import os
import platform
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.works import works


def main() -> None:
    """Print a table with medians and ratios, and write JSON if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="turns per measurement")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    print(f"{'work':<68} {'ours, ms':>10} {'other, ms':>11} {'ratio':>8}  against")
    timings = []
    for timing in works(arguments.runs):
        timings.append(timing)
        row = f"{timing.ours * 1e3:>10.2f} {timing.other * 1e3:>11.2f} {timing.ratio:>8.2f}"
        print(f"{timing.work:<68} {row}  {timing.other_name}", flush=True)
    if arguments.json:
        document = {"torch": torch.__version__, "timings": [asdict(t) | {"ratio": t.ratio} for t in timings]}
        arguments.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
