"""Saved models as a stranger might alter them: ``python -m benchmarks.mutations --cases 1000 --seed 0``.

Each case is a saved model with some mutations of `model.json`, `model.safetensors` or both; in most cases the
checksum is put right again. It must be refused in one line, or load, give finite log-likelihoods and draw
rows, in less than two seconds of the processor and 500 MB. Case K of a seed is always the same: `--first K`
goes on where another run ended.
"""

from __future__ import annotations

import argparse
import json
import resource
import select
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.mutators import Files, mutate
from chainrule import NADE, Ensemble, OrderlessNADE, load
from chainrule.errors import ChainruleError
from chainrule.estimators.base import DensityEstimator

__all__ = ["FAILED", "case", "models", "outcome_of"]

GOLDEN = Path(__file__).parent.parent / "tests" / "golden"
N_ROWS = 8
MAX_SECONDS, MAX_MEGABYTES = 2.0, 500.0
# A case that takes longer has hung.
PATIENCE = 30.0
FAILED = ("traceback", "lines", "not finite", "slow", "memory", "died")


def models(folder: Path) -> dict[str, Files]:
    """Return the files of saved models of every class, those beside the golden ones made in `folder`."""
    rng = np.random.default_rng(0)
    parts = rng.integers(0, 5, (60, 2))
    sums = np.column_stack([parts, parts.sum(axis=1)])
    rules = ["x1 <= x3", "x1, x2 IN observed"]
    small = {"max_epochs": 1, "random_state": 0}
    made: dict[str, DensityEstimator] = {
        "rules": OrderlessNADE((4,), n_components=2, rules=rules, **small).fit(sums),
        "orders": NADE(300, ordering="random", n_orderings=3, **small).fit(sums),
        "ensemble of networks": Ensemble(OrderlessNADE((4,), **small), 2, random_state=0).fit(sums),
    }
    for name, model in made.items():
        model.save(folder / name)
    golden = [
        each for each in sorted(GOLDEN.glob("v*/*/")) if each.name != "made-any"
    ]  # which no longer loads
    folders = [*(folder / name for name in made), *golden]
    return {
        each.name: Files((each / "model.json").read_bytes(), (each / "model.safetensors").read_bytes())
        for each in folders
    }


def case(known: dict[str, Files], seed: int, number: int) -> tuple[str, list[str], Files]:
    """Return the name of the model, what was done to it, and its files."""
    rng = np.random.default_rng([seed, number])
    name = sorted(known)[int(rng.integers(len(known)))]
    other = known[sorted(known)[int(rng.integers(len(known)))]]
    done, files = mutate(known[name], other, rng)
    return name, done, files


def outcome_of(files: Files, folder: Path) -> tuple[str, str]:
    """Return what becomes of a saved model: "refused", "scores", or what is wrong, and the message."""
    folder.mkdir(exist_ok=True)
    files.write(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = load(folder)
            rows, context = rows_for(model)
            scores = model.score_samples(rows, **context)
            model.sample(2, random_state=0, **{key: value[:1] for key, value in context.items()})
    except (ChainruleError, FloatingPointError) as error:
        return ("lines" if "\n" in str(error) else "refused"), str(error)
    except Exception as error:
        return "traceback", f"{type(error).__name__}: {error}"
    is_number = np.isfinite(scores) | (np.isneginf(scores) if getattr(model, "rules", None) else False)
    return ("scores" if is_number.all() else "not finite"), str(scores)


def rows_for(model: DensityEstimator) -> tuple[Any, dict[str, Any]]:
    """Return rows that the columns of a model can have, and their context."""
    rng = np.random.default_rng(0)
    parts = []
    for schema in (model.schema_, model.context_schema_):
        if schema is None:
            parts.append(None)
            continue
        columns = [
            rng.integers(0, int(n), N_ROWS)
            if np.isfinite(n)
            else np.abs(np.rint(2 * rng.normal(size=N_ROWS)))
            for n in schema.n_codes
        ]
        parts.append(schema.decode(np.column_stack(columns).astype(np.float32)))
    rows, context = parts
    return rows, {} if context is None else {"context": context}


# ---------------------------------------------------------------- a campaign


def work(seed: int, first: int, last: int) -> None:
    """Print a line before and after each case; the memory is the growth of the most that was ever held."""
    with tempfile.TemporaryDirectory(dir=_memory_disk()) as place:
        known = models(Path(place))
        for files in known.values():  # what a first load imports and compiles counts for no case
            outcome_of(files, Path(place) / "case")
        before = _peak()
        for number in range(first, last):
            name, done, files = case(known, seed, number)
            print(json.dumps({"case": number, "model": name, "done": done}), flush=True)
            began = time.process_time()  # which other work on the machine does not lengthen
            outcome, message = outcome_of(files, Path(place) / "case")
            seconds, megabytes = time.process_time() - began, _peak() - before
            if outcome in ("refused", "scores"):
                outcome = "slow" if seconds > MAX_SECONDS else outcome
                outcome = "memory" if megabytes > MAX_MEGABYTES else outcome
            facts = {"outcome": outcome, "seconds": round(seconds, 3), "megabytes": round(megabytes)}
            print(json.dumps(facts | {"message": message[:300]}), flush=True)
            if outcome == "memory":
                return  # a new worker, whose peak is its own


def campaign(seed: int, first: int, n_cases: int, log: Path | None) -> Counter[str]:
    """Run cases in workers, a new one wherever a case ended it; print those that fail."""
    counts: Counter[str] = Counter()
    seconds, at, last = 0.0, first, first + n_cases
    while at < last:
        begun_at = at
        arguments = ["--worker", str(seed), str(at), str(last)]
        worker = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.mutations", *arguments], stdout=subprocess.PIPE, text=True
        )
        for facts in _answers(worker):
            at = facts["case"] + 1
            counts[facts["outcome"]] += 1
            seconds = max(seconds, facts["seconds"])
            if facts["outcome"] in FAILED:
                print(json.dumps(facts), flush=True)
            if log is not None:
                with log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(facts) + "\n")
            if sum(counts.values()) % 1000 == 0:
                print(f"{sum(counts.values())} cases: {dict(counts)}, slowest {seconds:.2f} s", flush=True)
        worker.kill()
        worker.wait()
        if at == begun_at:
            raise RuntimeError("a worker ended before its first case")
    return counts


def _answers(worker: subprocess.Popen[str]) -> Any:
    """Yield what became of each case until the worker ends, or hangs and is left."""
    assert worker.stdout is not None
    begun: dict[str, Any] | None = None
    patience = 100 * PATIENCE  # it imports and compiles first
    while select.select([worker.stdout], [], [], patience)[0]:
        line = worker.stdout.readline()
        if not line:
            break
        patience = PATIENCE
        if begun is None:
            begun = json.loads(line)
            continue
        yield begun | json.loads(line)
        begun = None
    if begun is not None:
        yield begun | {"outcome": "died", "seconds": PATIENCE, "megabytes": 0, "message": ""}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _memory_disk() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def main() -> int:
    """Run a campaign; return 1 if a case failed."""
    if sys.argv[1:2] == ["--worker"]:
        work(*map(int, sys.argv[2:]))
        return 0
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutations", description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--log", type=Path, help="append what became of each case")
    arguments = parser.parse_args()
    began = time.perf_counter()
    counts = campaign(arguments.seed, arguments.first, arguments.cases, arguments.log)
    print(f"{sum(counts.values())} cases in {time.perf_counter() - began:.0f} s: {dict(counts)}")
    return int(any(counts[outcome] for outcome in FAILED))


if __name__ == "__main__":
    sys.exit(main())
