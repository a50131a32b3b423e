"""What must hold of the files of a command that was killed, and what its results are compared by."""

from __future__ import annotations

import io
import json
import re
import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.storage import is_saved_model, partials_of, read_folder

_N_ROWS = 150

__all__ = ["broken_files", "differences", "outcome_of", "write_table"]


def write_table(path: Path) -> None:
    """Write rows of four kinds of columns that depend on each other, and rows of bits beside them.

    Without polars: its threads would be missing from processes that are forked from this one.
    """
    rng = np.random.default_rng(0)
    colours = rng.choice(["blue", "green", "red"], _N_ROWS)
    heights = rng.normal(size=_N_ROWS) + (colours == "red")
    counts = np.minimum(rng.poisson(np.exp(heights / 2)), 3)
    lines = [
        f"{colour},{height:.6f},{count},{int(height > 0.3)}"
        for colour, height, count in zip(colours, heights, counts, strict=True)
    ]
    np.save(path.with_suffix(".npy"), (heights[:, None] > rng.normal(size=(_N_ROWS, 5))).astype(np.uint8))
    path.write_text("\n".join(["colour,height,n,tall", *lines, ""]), encoding="utf-8")


def broken_files(folder: Path) -> list[str]:
    """Return which files under a final name are not whole, and why."""
    found = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or partials_of([path.name]):
            continue
        try:
            _CHECKS[_kind(path.name)](path)
        except KeyError:
            found.append(f"{path}: nobody knows what it is")
        except Exception as error:
            found.append(f"{path}: {type(error).__name__}: {error}")
    return found


def _kind(name: str) -> str:
    """Return the ending of a file's name, without the number that a member of an ensemble has."""
    return Path(re.sub(r"\.\d+$", "", name)).suffix


def outcome_of(folder: Path) -> dict[str, Any]:
    """Return what must be the same of every run: all but times, and what depends on them."""
    outcome: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix in (".safetensors", ".npy", ".parquet") or path.name == "explore.html":
            outcome[name] = sha256(path.read_bytes()).hexdigest()
        elif path.suffix == ".json":
            outcome[name] = _without_times(json.loads(path.read_bytes()))
        elif path.is_file():
            outcome[name] = "is there"
    return outcome


def differences(outcome: Any, expected: Any, place: str = "") -> list[str]:
    """Return where two outcomes differ, as paths into them."""
    if isinstance(outcome, dict) and isinstance(expected, dict):
        keys = [*expected, *(key for key in outcome if key not in expected)]
        parts = [(f"{place}/{key}", outcome.get(key), expected.get(key)) for key in keys]
    elif isinstance(outcome, list) and isinstance(expected, list) and len(outcome) == len(expected):
        parts = [(f"{place}/{i}", *pair) for i, pair in enumerate(zip(outcome, expected, strict=True))]
    else:
        return [] if outcome == expected else [f"{place}: {str(outcome)[:60]} is not {str(expected)[:60]}"]
    return [found for name, a, b in parts for found in differences(a, b, name)]


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _without_times(item) for key, item in value.items() if "seconds" not in key}
        # A trial that was done anew has another number, a folder another name.
        for key in ("number", "path"):
            kept.pop(key, None)
        if isinstance(kept.get("trials"), list):
            kept["trials"].sort(key=json.dumps)
        return kept
    return [_without_times(item) for item in value] if isinstance(value, list) else value


def _check_model(path: Path) -> None:
    if is_saved_model(path.parent):
        read_folder(path.parent)


def _check_json(path: Path) -> None:
    if path.name == "model.json":
        _check_model(path)
    else:
        json.loads(path.read_bytes())


def _check_checkpoint(path: Path) -> None:
    content = path.read_bytes()
    if sha256(content[32:]).digest() != content[:32]:
        raise ValueError("its checksum differs")


def _check_page(path: Path) -> None:
    if not path.read_text(encoding="utf-8").rstrip().endswith("</html>"):
        raise ValueError("it has no end")


def _check_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        (answer,) = database.execute("PRAGMA integrity_check").fetchone()
    if answer != "ok":
        raise ValueError(answer)


def _check_parquet(path: Path) -> None:
    """Look at both ends of a file, without polars; its content is compared with that of another run."""
    content = path.read_bytes()
    size = int.from_bytes(content[-8:-4], "little")
    if len(content) < size + 12 or not content.startswith(b"PAR1") or not content.endswith(b"PAR1"):
        raise ValueError("it has no end")


_CHECKS = {
    ".json": _check_json,
    ".safetensors": _check_model,
    ".pt": _check_checkpoint,
    ".html": _check_page,
    ".parquet": _check_parquet,
    ".npy": lambda path: np.load(io.BytesIO(path.read_bytes()), allow_pickle=False),
    ".db": _check_database,
    ".db-journal": lambda path: None,  # the database itself is checked, with it
}
