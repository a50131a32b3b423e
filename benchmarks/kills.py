"""Kill commands at random moments, go on, and see that nothing was lost.

``python -m benchmarks.kills --command fit --kills 100 --seed 0``. A command is started, ended by SIGKILL at
a random moment, started again to go on, and so on until it ends by itself; then another folder has its turn.
After each kill every file under its final name must be whole; what comes out must equal what a run brings
that nobody killed.

Imports take longer than what is to be killed: each run is forked from this process, which has imported
everything and used nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kill_checks import broken_files, differences, outcome_of, write_table
from chainrule.cli.app import run, terminate

__all__ = ["COMMANDS", "Campaign", "main", "never", "warm_up"]

# Runs that hang are given up after so many seconds.
_PATIENCE = 600.0
_POLL = 0.002
# Seconds between two states of a fit, in place of a minute: the runs are short.
_STATES_EVERY = 0.03
# Rows of a batch, in place of 65,536.
_BATCH_ROWS = 6


@dataclass(frozen=True)
class Command:
    """A command of the library that is killed.

    Parameters
    ----------
    arguments : callable
        From the file of rows and the folder to write into to what stands on the command line.
    to_go_on : tuple of str
        What is added to go on.
    before : callable, optional
        Like `arguments`, of a command that is run first and never killed; it writes into the folder ``model``
        beside the rows.
    """

    arguments: Callable[[Path, Path], list[str]]
    to_go_on: tuple[str, ...] = ("--resume",)
    before: Callable[[Path, Path], list[str]] | None = None


def _fit(rows: Path, out: Path) -> list[str]:
    options = ["--max-epochs", "40", "--hidden-sizes", "32,32", "--n-orderings", "2", "--dropout", "0.1"]
    return ["fit", str(rows), "--model", "made", "--out", str(out), *options]


def _compare(rows: Path, out: Path) -> list[str]:
    """Compare rows of bits: what is measured of tables takes longer than fits, and is not what is killed."""
    models = "independent,made,orderless-nade"
    return [
        "compare",
        str(rows.with_suffix(".npy")),
        "--models",
        models,
        "--max-epochs",
        "4",
        "--orders",
        "2",
        "--out",
        str(out),
    ]


def _sweep(rows: Path, out: Path) -> list[str]:
    grid = ["hidden_sizes=8,16,8x8", "learning_rate=0.002,0.01,0.05", "n_components=2,5"]
    limits = ["--trials", "12", "--max-epochs", "3"]
    return ["sweep", str(rows), "--model", "made", "--out", str(out), *limits, "--grid", *grid]


def _score(rows: Path, out: Path) -> list[str]:
    files = ["--out", str(out / "scores.parquet"), "--json", str(out / "score.json")]
    return ["score", str(rows.with_name("model")), str(rows), "--split", "all", *files]


COMMANDS = {
    "fit": Command(_fit),
    "compare": Command(_compare),
    "sweep": Command(_sweep, ()),
    "score": Command(_score, before=_fit),
}


@dataclass
class Campaign:
    """Many kills of one command, and what was found.

    Parameters
    ----------
    command : str
        A name from `COMMANDS`.
    scratch : Path
    seed : int
    at_changes : bool
        Kill when so many files have changed, instead of at a random time: that waits for no clock.
    """

    command: str
    scratch: Path
    seed: int
    at_changes: bool = False
    n_kills: int = 0
    n_runs: int = 0
    findings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self._rows = self.scratch / "rows.csv"
        write_table(self._rows)
        before, out = COMMANDS[self.command].before, self.scratch / "whole"
        if before is not None:
            model = self._rows.with_name("model")
            self._succeed(self._start(before(self._rows, model)), model)
        self._n_changes, self._seconds = self._succeed(self.start(out, False), out)
        self.expected = outcome_of(out)

    def kill(self, n_kills: int) -> Iterator[int]:
        """Kill the command so often, in as many folders as that takes; yield the kills so far after each."""
        while self.n_kills < n_kills:
            out = self.scratch / f"run-{self.n_runs}"
            self.n_runs += 1
            is_new = True
            while True:
                may_kill = self.n_kills < n_kills
                code, *_ = self.follow(self.start(out, not is_new), out, self._moment(may_kill))
                if code != -signal.SIGKILL:
                    break
                is_new = False
                self.n_kills += 1
                self.note(broken_files(out), out)
                yield self.n_kills
            if code != 0:
                self.note([f"ended with {code}: {self.said()[-500:]}"], out)
            elif others := differences(outcome_of(out), self.expected):
                self.note(["the result is another one", *others[:3]], out)
            else:
                shutil.rmtree(out)

    def _moment(self, may_kill: bool) -> Callable[[int, float], bool]:
        """Return when to kill, from how many files have changed and how many seconds it has run."""
        if not may_kill:
            return never
        if self.at_changes:
            wanted = self.rng.integers(1, max(self._n_changes, 2))
            return lambda n_changes, seconds: n_changes >= wanted
        moment = self.rng.uniform(0, self._seconds)
        return lambda n_changes, seconds: seconds >= moment

    def _succeed(self, process: int, out: Path) -> tuple[int, float]:
        """Wait for a process that nobody kills; return how often files changed, and its seconds."""
        code, n_changes, seconds = self.follow(process, out, never)
        if code != 0:
            raise RuntimeError(f"{self.command} ended with {code}: {self.said()[-500:]}")
        return n_changes, seconds

    def start(self, out: Path, goes_on: bool) -> int:
        """Start the command in a process of its own, and return its number."""
        command = COMMANDS[self.command]
        out.mkdir(exist_ok=True)
        return self._start(command.arguments(self._rows, out) + list(command.to_go_on if goes_on else ()))

    def _start(self, arguments: list[str]) -> int:
        process = os.fork()
        if process:
            return process
        code = 1
        try:
            said = os.open(self.scratch / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(said, 1)
            os.dup2(said, 2)
            code = run(arguments)
            sys.stdout.flush()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def follow(
        self, process: int, out: Path, is_time: Callable[[int, float], bool]
    ) -> tuple[int, int, float]:
        """Wait for a process and kill it when it is time.

        Returns
        -------
        code : int
            Its exit code.
        n_changes : int
            How often files changed.
        seconds : float
            How long it had a processor: moments that do not depend on what else the machine does.
        """
        start, before, n_changes, seconds = time.monotonic(), _names(out), 0, 0.0
        while True:
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status), n_changes, seconds
            now = _names(out)
            n_changes += now != before
            before, seconds = now, _processor_seconds(process)
            if is_time(n_changes, seconds) or time.monotonic() - start > _PATIENCE:
                os.kill(process, signal.SIGKILL)
                _, status = os.waitpid(process, 0)
                return os.waitstatus_to_exitcode(status), n_changes, seconds
            time.sleep(_POLL)

    def note(self, findings: list[str], out: Path) -> None:
        """Keep what was found."""
        self.findings += [f"kill {self.n_kills}, {out}: {finding}" for finding in findings]

    def said(self) -> str:
        """Return what the last process printed."""
        return (self.scratch / "said").read_text(encoding="utf-8", errors="replace")


def never(n_changes: int, seconds: float) -> bool:
    return False


def _processor_seconds(process: int) -> float:
    return int(Path(f"/proc/{process}/schedstat").read_text(encoding="ascii").split()[0]) / 1e9


def _names(folder: Path) -> set[tuple[str, int, int]]:
    """Return the files of a folder and when they were written; what vanishes meanwhile is left out."""
    found = set()
    for parent, _, names in os.walk(folder):
        for path in (os.path.join(parent, name) for name in names):
            with suppress(FileNotFoundError):
                status = os.stat(path)
                found.add((path, status.st_mtime_ns, status.st_size))
    return found


def warm_up() -> None:
    """Import what the commands use, and shorten what they wait for."""
    import sqlalchemy.orm  # noqa: F401

    import chainrule.batches
    import chainrule.datasets.streaming
    import chainrule.experiments.compare
    import chainrule.explore.page
    import chainrule.sweep.run
    import chainrule.sweep.storage
    import chainrule.training.checkpoint
    from chainrule import GMM, MADE, NADE, Independent, Mixture, OrderlessNADE  # noqa: F401

    patched: Any = chainrule.training.checkpoint
    patched._EVERY, patched._COSTS_BETWEEN = _STATES_EVERY, 1
    # A trial that was taken by a process that ended before it could sign it.
    waiting: Any = chainrule.sweep.storage
    waiting._HEARTBEAT, waiting._GRACE = 1, 15
    streaming: Any = chainrule.datasets.streaming
    streaming._LARGE, streaming._BATCH = 0, _BATCH_ROWS


def main() -> int:
    """Run a campaign; print what was found, and return 1 if that is anything."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__.splitlines()[0])
    parser.add_argument("--command", choices=list(COMMANDS), required=True)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at", choices=["times", "changes"], default="times", help="when to kill")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, terminate)
    warm_up()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kills-", ignore_cleanup_errors=True) as scratch:
        campaign = Campaign(options.command, Path(scratch), options.seed, options.at == "changes")
        for n_kills in campaign.kill(options.kills):
            if n_kills % 10 == 0:
                print(f"{n_kills} kills, {len(campaign.findings)} findings", file=sys.stderr, flush=True)
    for finding in campaign.findings:
        print(finding)
    print(
        f"{options.command}: {campaign.n_kills} kills in {campaign.n_runs} runs, seed {options.seed}, "
        f"{time.monotonic() - start:.0f} s: {len(campaign.findings)} findings"
    )
    return 1 if campaign.findings else 0


if __name__ == "__main__":
    sys.exit(main())
