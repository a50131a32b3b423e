"""Run the tests as processors, threads and load differ, and print a table of what passed.

    python .ci/campaign.py                             the whole suite, three times in each setting
    python .ci/campaign.py --repeat 1 -- -k rows       once, and only these tests

Whatever stands after ``--`` goes to pytest. Settings are every instruction set of `INSTRUCTIONS` with one
thread and with two, and as the machine comes while every core is busy with something else.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["INSTRUCTIONS", "Setting", "main"]

ROOT = Path(__file__).parents[1]
# PyTorch's own kernels, those of oneDNN and those of MKL each choose by themselves.
INSTRUCTIONS = {
    "as it comes": {},
    "default": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
}
_COUNT = re.compile(r"(\d+) (passed|failed|errors?)\b")


@dataclass(frozen=True)
class Setting:
    """What one turn of the tests runs under."""

    name: str
    environment: dict[str, str] = field(default_factory=dict)
    is_busy: bool = False


def settings() -> Iterator[Setting]:
    """Yield all settings."""
    for name, instructions in INSTRUCTIONS.items():
        for threads in (1, 2):
            counted = {"OMP_NUM_THREADS": str(threads), "CHAINRULE_TEST_THREADS": str(threads)}
            yield Setting(f"{name}, {threads} thread{'s'[: threads - 1]}", instructions | counted)
    yield Setting("as it comes, every core busy", {}, is_busy=True)


@contextmanager
def every_core_busy() -> Iterator[None]:
    """Keep every core busy with processes of our own."""
    work = [sys.executable, "-c", "while True: pass"]
    loads = [subprocess.Popen(work) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for load in loads:
            load.kill()
            load.wait()


def run(setting: Setting, options: list[str]) -> str:
    """Run the tests once under a setting; return what came of it, and print how failed tests are called."""
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "--tb=no", "-rfE", *options]
    environment = os.environ | setting.environment
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    for line in done.stdout.splitlines():
        if line.startswith(("FAILED", "ERROR")):
            print(f"  {line}", flush=True)
    counts = dict.fromkeys(("passed", "failed", "error"), 0)
    for number, word in _COUNT.findall(done.stdout.splitlines()[-1] if done.stdout else ""):
        counts[word.removesuffix("s")] += int(number)
    verdict = "" if done.returncode == 0 else f" exit status {done.returncode}"
    return f"{counts['passed']:>8} {counts['failed'] + counts['error']:>8}{verdict}"


def main() -> int:
    """Run all settings, print the table, and return 1 if anything failed in any of them."""
    parser = argparse.ArgumentParser(prog=".ci/campaign.py", description=__doc__.split("\n")[0])
    parser.add_argument("--repeat", type=int, default=3, help="turns under each setting (default: 3)")
    parser.add_argument("options", nargs="*", help="for pytest, after --; by default -n 2")
    arguments = parser.parse_args()
    rows = []
    for setting in settings():
        for turn in range(arguments.repeat):
            began = time.perf_counter()
            options = arguments.options or ["-n", "2"]
            if setting.is_busy:
                with every_core_busy():
                    outcome = run(setting, options)
            else:
                outcome = run(setting, options)
            title = f"{setting.name}, turn {turn + 1}"
            rows.append(f"{title:<40} {time.perf_counter() - began:>8.0f} {outcome}")
            print(rows[-1], flush=True)
    print(f"\n{'setting':<40} {'seconds':>8} {'passed':>8} {'failed':>8}", *rows, sep="\n")
    return int(any("exit status" in row for row in rows))


if __name__ == "__main__":
    sys.exit(main())
