"""Tables: OrderlessNADE against other estimators of table rows, each in an environment of its own.

How the comparison is kept fair:

- all learn from the same complete rows (rows with missing cells are left out: not all take them), with the
  same number of threads, one after the other, each in a process of its own. Seconds are counted there, after
  imports; those of draws after the first hundred.
- each runs with its defaults, and is told which columns are of levels. The files in `table_runners` say what
  else. Those that take no validation rows learn from them, too.
- one classifier in this process judges the draws of all of them (`chainrule.metrics.two_sample`); "real rows"
  are training rows.
- log-likelihoods are of rows of levels only, where they are probabilities. That of GaussianMixture is a lower
  bound, by dequantisation.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.peer_environments import ENVIRONMENTS, Environment, InstallError
from benchmarks.table_runners.protocol import DRAWS, JOB, RESULT, THREAD_VARIABLES, Job
from benchmarks.tables import Row, Skipped
from chainrule.datasets import Dataset, load_dataset
from chainrule.datasets.sources import DATA_VARIABLE
from chainrule.errors import DataError
from chainrule.metrics.fidelity import Fidelity, FidelityEvaluator
from chainrule.metrics.statistics import summarize
from chainrule.schema import Schema

__all__ = ["DATA", "FILES", "PEERS", "Estimated", "Peer", "Settings", "compare_peers", "table_peers"]

_SEED = 0
_N_DRAWS = 10_000
_REAL = "real rows"
_ROOT = Path(__file__).parents[1]
_ERRORS = 300  # letters of an error that a row shows

DATA = ("adult", "nltcs", "uci-mushrooms")
FILES = {
    "adult": "adult",
    "default": "UCI_Credit_Card.csv",
    "magic": "magic04.csv",
    "shoppers": "online_shoppers_intention.csv",
    "abalone": "abalone.csv",
}
"""Tables that CHAINRULE_DATA holds under other names, or in folders."""
_IDENTIFIERS = ["ID"]  # columns that number rows


@dataclass(frozen=True)
class Peer:
    """An estimator: the script that runs it, and the environment that has its library (None: this one)."""

    runner: str
    environment: Environment | None = None


PEERS: dict[str, Peer] = {
    "orderless-nade": Peer("benchmarks.table_runners.ours"),
    "nade": Peer("benchmarks.table_runners.ours"),
    "made": Peer("benchmarks.table_runners.ours"),
    "gaussian-mixture": Peer("benchmarks.table_runners.gaussian_mixture"),
    "tree-chain": Peer("benchmarks.table_runners.tree_chain"),
    "gaussian-copula": Peer("benchmarks.table_runners.sdv_synthesizers", ENVIRONMENTS["sdv"]),
    "arf": Peer("benchmarks.table_runners.arf", ENVIRONMENTS["arfpy"]),
    "tabular-argn": Peer("benchmarks.table_runners.tabular_argn", ENVIRONMENTS["mostlyai"]),
    "ctgan": Peer("benchmarks.table_runners.sdv_synthesizers", ENVIRONMENTS["sdv"]),
}


@dataclass(frozen=True)
class Settings:
    """How peers are run.

    Attributes
    ----------
    peers_dir : Path
        Where environments are made.
    rows : int or None
        Learn from so many training rows at most, drawn at random.
    max_time : float or None
        Seconds that a fit may take; for OrderlessNADE, GaussianMixture and TabularARGN.
    kill_after : float or None
        Seconds after which a process is ended; its row says so.
    threads : int
    """

    peers_dir: Path
    rows: int | None = None
    max_time: float | None = None
    kill_after: float | None = None
    threads: int = 1

    def identity(self) -> dict[str, Any]:
        """Return what other figures come from."""
        kept = asdict(self)
        return {name: kept[name] for name in ("rows", "max_time", "threads")} | {"seed": _SEED}


@dataclass(frozen=True)
class Estimated:
    """The figures of one estimator on one table.

    Log-likelihoods are nats per test row; the AUC is a classifier's of real and drawn rows, 0.5 at best.
    `margins`, `pairs` and all that follows are those of `chainrule.metrics.fidelity`; `behind_real` is the
    area of a classifier that was trained on drawn rows above that of one trained on real rows, None without a
    column to predict.
    """

    data: str
    method: str
    version: str
    n_rows: int
    fit_seconds: float | None
    draw_seconds: float | None
    log_likelihood: float | None
    log_likelihood_error: float | None
    is_bound: bool
    c2st: float
    c2st_error: float
    margins: float
    pairs: float
    information_similarity: float
    nearer_to_training: float
    nearer_to_training_error: float
    behind_real: float | None
    behind_real_error: float | None
    giveaways: list[str]

    heading = (
        f"{'data':<14} {'method':<17} {'version':<9} {'rows':>6} {'fit, s':>8} {'10,000 draws, s':>16} "
        f"{'test log-likelihood':>21} {'C2ST AUC':>16} {'columns':>8} {'pairs':>7}"
    )

    def line(self) -> str:
        """Return the row as a line of its table."""
        seconds = [
            "" if spent is None else f"{spent:.{n}f}"
            for spent, n in ((self.fit_seconds, 1), (self.draw_seconds, 2))
        ]
        return (
            f"{self.data:<14} {self.method:<17} {self.version:<9} {self.n_rows:>6} {seconds[0]:>8} "
            f"{seconds[1]:>16} {self._nats():>21} {f'{self.c2st:.4f} +- {self.c2st_error:.4f}':>16} "
            f"{self.margins:>8.4f} {self.pairs:>7.4f}"
        )

    def _nats(self) -> str:
        if self.log_likelihood is None:
            return "none"
        at_least = ">= " if self.is_bound else ""
        return f"{at_least}{self.log_likelihood:.3f} +- {self.log_likelihood_error:.3f}"

    def to_dict(self) -> dict[str, Any]:
        """Return all of it."""
        return asdict(self)


_FIELDS = {field.name for field in fields(Estimated)}


def table_peers(
    settings: Settings, only: Sequence[str] = (), data: Sequence[str] = (), checkpoint: Path | None = None
) -> Iterator[Row]:
    """Yield the figures of all estimators on all tables that CHAINRULE_DATA has, or that can be had.

    Parameters
    ----------
    settings : Settings
    only : sequence of str
        Of `PEERS`; all if it is empty.
    data : sequence of str
        Of `DATA` and `FILES`; those of `DATA` if it is empty.
    checkpoint : Path, optional
        A folder that keeps the figures, in tables.json: what is there is not measured again.
    """
    peers = {name: PEERS[name] for name in only or PEERS}
    progress = Progress(None if checkpoint is None else checkpoint / "tables.json")
    for name in data or DATA:
        try:
            dataset = _dataset(name)
        except DataError as error:
            yield Skipped(name, f"no data: {error}")
            continue
        yield from compare_peers(dataset, peers, settings, progress)


def compare_peers(
    dataset: Dataset, peers: Mapping[str, Peer], settings: Settings, progress: Progress | None = None
) -> Iterator[Row]:
    """Yield the figures of real rows and of each peer on a table; where a peer fails, why."""
    progress = progress or Progress(None)
    table: _Table | None = None
    for name in (_REAL, *peers):
        identity = settings.identity() | ({} if name == _REAL else _recipe(peers[name]))
        row: Row | None = progress.find(dataset.name, name, identity)
        if row is None:
            table = table or _Table(dataset, settings.rows)
            row = table.real() if name == _REAL else _measured(table, name, peers[name], settings)
            progress.keep(row, identity)
        yield row


class Progress:
    """The figures that a file holds, by table and method; None: nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._kept: dict[str, Any] = {}
        if path is not None and path.exists():
            self._kept = json.loads(path.read_text(encoding="utf-8"))

    def find(self, data: str, method: str, identity: Mapping[str, Any]) -> Estimated | None:
        """Return a row that was measured in the same way."""
        kept = self._kept.get(f"{data}/{method}")
        if not kept or kept["settings"] != identity or kept["row"].keys() != _FIELDS:
            return None
        return Estimated(**kept["row"])

    def keep(self, row: Row, identity: Mapping[str, Any]) -> None:
        """Write a row down; one that failed is tried again the next time."""
        if self._path is None or not isinstance(row, Estimated):
            return
        self._kept[f"{row.data}/{row.method}"] = {"settings": identity, "row": row.to_dict()}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps(self._kept, indent=1) + "\n", encoding="utf-8")
        part.replace(self._path)


def _recipe(peer: Peer) -> dict[str, Any]:
    requirements = [] if peer.environment is None else list(peer.environment.requirements)
    return {"runner": peer.runner, "requirements": requirements}


def _dataset(name: str) -> Dataset:
    if name not in FILES:
        return load_dataset(name, random_state=_SEED)
    path = Path(os.environ.get(DATA_VARIABLE, "")) / "tables" / FILES[name]
    if not path.exists():
        raise DataError(f"{DATA_VARIABLE} names no folder with tables/{FILES[name]}")
    dataset = load_dataset(path, random_state=_SEED, missing=("?",))
    parts = [getattr(dataset, part) for part in ("train", "valid", "test")]
    train, valid, test = (part.drop(_IDENTIFIERS, strict=False) for part in parts)
    return replace(dataset, name=name, train=train, valid=valid, test=test)


class _Table:
    """The rows that all are given, and the judge of what they draw."""

    def __init__(self, dataset: Dataset, rows: int | None) -> None:
        parts = [_frame(part).drop_nulls() for part in (dataset.train, dataset.valid, dataset.test)]
        if rows is not None and rows < len(parts[0]):
            # As many of the validation rows, in proportion.
            share = rows / len(parts[0])
            parts[:2] = [part.sample(math.ceil(share * len(part)), seed=_SEED) for part in parts[:2]]
        self.name = dataset.name
        self.schema = Schema.infer(parts[0])
        self.levels = {v.name: _levels(parts, v.name) for v in self.schema.variables if not v.is_numeric}
        self.integers = [
            n for n, dtype in parts[0].schema.items() if dtype.is_integer() and n not in self.levels
        ]
        # Text, whose levels are of no type of polars.
        self.train, self.valid, self.test = (
            part.with_columns(pl.col(pl.Enum).cast(pl.String)) for part in parts
        )
        self._fidelity = FidelityEvaluator(self.schema, self.train, self.test, random_state=_SEED)

    def real(self) -> Estimated:
        """Return the figures of training rows as draws; of test rows, how near they are to training rows."""
        return self._estimated(_REAL, self._fidelity.real)

    def judge(self, method: str, drawn: pl.DataFrame) -> Estimated:
        """Return a row with what the draws show."""
        return self._estimated(method, self._fidelity.measure(self._cast(drawn)))

    def _estimated(self, method: str, found: Fidelity) -> Estimated:
        gap = None
        if found.tstr_auc is not None and self._fidelity.real.tstr_auc is not None:
            gap = found.tstr_auc.difference(self._fidelity.real.tstr_auc)
        return Estimated(
            data=self.name,
            method=method,
            version="",
            n_rows=len(self.train),
            fit_seconds=None,
            draw_seconds=None,
            log_likelihood=None,
            log_likelihood_error=None,
            is_bound=False,
            c2st=found.c2st.auc.value,
            c2st_error=found.c2st.auc.standard_error,
            margins=found.mean_marginal_distance,
            pairs=found.association_difference,
            information_similarity=found.information_similarity,
            nearer_to_training=found.nearer_to_training.mean,
            nearer_to_training_error=found.nearer_to_training.standard_error,
            behind_real=None if gap is None else gap.mean,
            behind_real_error=None if gap is None else gap.standard_error,
            giveaways=[self.schema.names[d] for d in found.c2st.giveaways()],
        )

    def job(self, folder: Path, method: str, settings: Settings) -> Job:
        """Write the rows to a folder and return the job for a runner."""
        files = {part: str(folder / f"{part}.parquet") for part in ("train", "valid", "test")}
        for part, path in files.items():
            getattr(self, part).write_parquet(path)
        return Job(
            method=method,
            **files,
            levels=self.levels,
            integers=self.integers,
            n_draws=_N_DRAWS,
            seed=_SEED,
            threads=settings.threads,
            max_time=settings.max_time,
        )

    def _cast(self, drawn: pl.DataFrame) -> pl.DataFrame:
        """Return draws in the types of the table: integers are rounded, what is no level becomes missing."""
        columns = []
        for name, dtype in self.train.schema.items():
            column = drawn[name]
            if dtype.is_integer():
                column = column.cast(pl.Float64, strict=False).round()
            elif dtype == pl.Boolean and column.dtype == pl.String:
                column = column.str.to_lowercase().replace_strict(
                    {"true": True, "false": False}, default=None
                )
            columns.append(column.cast(dtype, strict=False).alias(name))
        return pl.DataFrame(columns)


def _frame(rows: Any) -> pl.DataFrame:
    if isinstance(rows, pl.DataFrame):
        return rows
    return pl.DataFrame(rows, schema=[f"x{d + 1}" for d in range(rows.shape[1])])


def _levels(parts: Sequence[pl.DataFrame], name: str) -> list[Any]:
    """Return all values of a column of levels, also those that only test rows have."""
    together = pl.concat([part[name] for part in parts])
    levels: list[Any] = (
        together.cast(pl.String).unique().sort().to_list()
        if together.dtype == pl.Enum
        else (together.unique().sort().to_list())
    )
    return levels


def _measured(table: _Table, name: str, peer: Peer, settings: Settings) -> Row:
    """Run a peer and return its figures, or why there are none."""
    title = f"{table.name} {name}"
    try:
        python = peer.environment.python(settings.peers_dir) if peer.environment else Path(sys.executable)
        with tempfile.TemporaryDirectory() as folder:
            return _run(table, name, peer, python, Path(folder), settings)
    except InstallError as error:
        return Skipped(title, f"it cannot be installed: {str(error)[:_ERRORS]}")
    except Exception as error:  # noqa: BLE001 - one peer's failure is one row
        return Skipped(title, f"{type(error).__name__}: {str(error)[:_ERRORS]}")


class RunError(Exception):
    """A runner ended without a result; the message is the last line of what it said."""


def _run(table: _Table, name: str, peer: Peer, python: Path, folder: Path, settings: Settings) -> Estimated:
    job = table.job(folder, name, settings)
    (folder / JOB).write_text(json.dumps(asdict(job)), encoding="utf-8")
    _wait_for([str(python), "-m", peer.runner, str(folder)], folder, settings)
    result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    row = table.judge(name, pl.read_parquet(folder / DRAWS))
    row = replace(row, **{key: result[key] for key in ("version", "fit_seconds", "draw_seconds")})
    if result["scores"] is None:
        return row
    nats = summarize(result["scores"])
    return replace(
        row,
        log_likelihood=nats.mean,
        log_likelihood_error=nats.standard_error,
        is_bound=result["is_bound"],
    )


def _wait_for(command: list[str], folder: Path, settings: Settings) -> None:
    """Run a command to its end, or end it with all its processes when its time is over or ours is."""
    variables = os.environ | dict.fromkeys(THREAD_VARIABLES, str(settings.threads))
    with (folder / "log").open("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            command, cwd=_ROOT, env=variables, stdout=log, stderr=log, start_new_session=True
        )
        try:
            status = process.wait(settings.kill_after)
        except subprocess.TimeoutExpired:
            raise RunError(f"it was ended after {settings.kill_after:g} s") from None
        finally:
            _end(process)
        if status:
            log.seek(0)
            said = [line.strip() for line in log if line.strip()]
            raise RunError(said[-1] if said else f"exit status {status}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that still runs, and those that it started."""
    if process.poll() is not None:
        return
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
