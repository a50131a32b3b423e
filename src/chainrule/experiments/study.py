"""What every study has in common: steps that are kept and not done again, results and a report."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from chainrule import __version__
from chainrule.errors import ChainruleError, DataError
from chainrule.experiments.studies import Study, load_study
from chainrule.report.blocks import Block
from chainrule.report.numbers import seconds
from chainrule.report.page import write_page
from chainrule.report.style import drawing
from chainrule.storage import json_safe, write_bytes, write_json

__all__ = ["StudyResult", "StudyRun", "run_study"]

_MARK = "study.json"
_SETTINGS, _SECONDS = "__settings__", "__seconds__"


@dataclass
class StudyResult:
    """What a study found.

    Attributes
    ----------
    results : dict
        JSON-safe; goes into ``results.json``.
    sections : list of Block
        The body of the report.
    verdict : list of str
        Sentences that follow from the numbers, the main one first.
    facts : list of tuple of str
        Label and value of what stands at the top of the report, such as numbers of rows.
    """

    results: dict[str, Any]
    sections: list[Block]
    verdict: list[str]
    facts: list[tuple[str, str]] = field(default_factory=list)


class StudyRun:
    """One run of a study: where it keeps what it has done, and how it was asked to run.

    Parameters
    ----------
    folder : Path
        The run folder; steps that are found there are not done again.
    quick : bool
        Whether to run the version that takes less than two minutes.
    random_state : int
    options : mapping of str to Any
        What else was asked for, such as the number of rows.
    progress : bool
        Whether to show a bar for each fit.
    """

    def __init__(
        self,
        folder: Path,
        *,
        quick: bool = False,
        random_state: int = 0,
        options: Mapping[str, Any] | None = None,
        progress: bool = False,
    ) -> None:
        self.folder = folder
        self.quick = quick
        self.random_state = random_state
        self.options: dict[str, Any] = dict(options or {})
        self.progress = progress
        self.seconds = 0.0

    def step(self, key: str, compute: Callable[[], dict[str, Any]], settings: Any = None) -> dict[str, Any]:
        """Return the result of a step, from the folder if it was done before with the same settings.

        Parameters
        ----------
        key : str
            The name of the step: letters, digits, ``.``, ``_`` and ``-``.
        compute : callable
            Returns a result that JSON can hold; NumPy numbers and arrays become plain ones.
        settings : JSON-safe value, optional
            What the result depends on besides the settings of the run; other settings do the step anew.

        Returns
        -------
        dict
            As read back from JSON, whether it was just computed or not.
        """
        path = self._path("steps", key, "json")
        wanted = _fingerprint(settings)
        kept = _read_step(path)
        if kept is None or kept["settings"] != wanted:
            start = time.perf_counter()
            result = compute()
            kept = {"settings": wanted, "seconds": time.perf_counter() - start, "result": result}
            text = json.dumps(kept, default=_plain)
            _write(path, text.encode())
            kept = json.loads(text)
            self.checkpoint(key).unlink(missing_ok=True)
        self.seconds += kept["seconds"]
        return kept["result"]

    def arrays(
        self, key: str, compute: Callable[[], dict[str, np.ndarray]], settings: Any = None
    ) -> dict[str, np.ndarray]:
        """Return the arrays of a step, as `step` does for JSON; they are kept in a compressed npz file."""
        path = self._path("steps", key, "npz")
        wanted = _fingerprint(settings)
        kept = _read_arrays(path)
        if kept is None or str(kept[_SETTINGS]) != wanted:
            start = time.perf_counter()
            kept = {name: np.asarray(array) for name, array in compute().items()}
            kept |= {_SETTINGS: np.array(wanted), _SECONDS: np.array(time.perf_counter() - start)}
            buffer = BytesIO()
            np.savez_compressed(buffer, **kept)  # type: ignore[arg-type]
            _write(path, buffer.getvalue())
            self.checkpoint(key).unlink(missing_ok=True)
        self.seconds += float(kept[_SECONDS])
        return {name: array for name, array in kept.items() if name not in (_SETTINGS, _SECONDS)}

    def checkpoint(self, key: str) -> Path:
        """Return a file for the state of a fit; the step of the same name deletes it when done."""
        path = self._path("checkpoints", key, "pt")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def say(self, text: str) -> None:
        """Print a line of progress on standard error."""
        print(text, file=sys.stderr, flush=True)

    def _path(self, folder: str, key: str, suffix: str) -> Path:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", key):
            raise ValueError(f"expected a key of letters, digits, '.', '_' and '-', got {key!r}")
        return self.folder / folder / f"{key}.{suffix}"


def run_study(
    name: str,
    folder: str | Path,
    *,
    quick: bool = False,
    random_state: int = 0,
    options: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> StudyResult:
    """Run a study, or go on with it, and write ``results.json`` and ``report.html`` into its folder.

    Parameters
    ----------
    name : str
        A name from `chainrule.experiments.studies.installed_studies`.
    folder : path
        New, empty, or the folder of an earlier run with the same settings.
    quick : bool
        The version that takes less than two minutes.
    random_state : int
        Seed of data, fits and samples.
    options : mapping, optional
        Those of the study's `Study.options` that are wanted, by name; default: none.
    progress : bool
        Whether to show a bar for each fit.

    Returns
    -------
    StudyResult
        Its `results` hold what ``results.json`` does.

    Raises
    ------
    DataError
        If there is no such study, it has no such option, the folder belongs to another run, or data are
        missing.
    KeyboardInterrupt
        After Ctrl-C; the same call goes on where it was.
    """
    options = {key: value for key, value in (options or {}).items() if value is not None}
    study = load_study(name, options)
    code = import_module(study.module)
    if hasattr(code, "check"):
        code.check(options)
    folder = Path(folder)
    settings = {"quick": quick, "random_state": random_state, "options": options}
    _claim(folder, {"study": name, **settings, "version": __version__})
    run = StudyRun(folder, quick=quick, random_state=random_state, options=options, progress=progress)
    run.say(f"{name}: {study.duration(quick)} on two cores, into {folder}")
    try:
        with drawing():
            result = code.run(run)
    except ChainruleError:
        if not (folder / "steps").exists():
            (folder / _MARK).unlink()
        raise
    head = {"study": name, **settings, "seconds": run.seconds, "verdict": result.verdict}
    result.results = json_safe(head | result.results)
    _write_results(study, run, result)
    return result


def _write_results(study: Study, run: StudyRun, result: StudyResult) -> None:
    write_json(run.folder / "results.json", result.results)
    facts = [
        *result.facts,
        ("Seed", str(run.random_state)),
        ("Version", "quick" if run.quick else "full"),
        ("Time in all, s", seconds(run.seconds)),
    ]
    write_page(
        run.folder / "report.html",
        study.title,
        facts,
        result.verdict,
        result.sections,
        description=study.description,
    )


def _claim(folder: Path, identity: Mapping[str, Any]) -> None:
    """Mark the folder as that of this run; refuse one that holds something else."""
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / _MARK
    text = json.dumps(identity, default=str, sort_keys=True)
    if mark.exists():
        found = mark.read_text(encoding="utf-8")
        if found.strip() != text:
            raise DataError(
                f"{folder} holds a run with other settings ({found.strip()}); name a new folder, or delete it"
            )
    elif any(folder.iterdir()):
        raise DataError(f"{folder} is not empty and holds no study; name a new folder")
    else:
        write_bytes(mark, f"{text}\n".encode())


def _fingerprint(settings: Any) -> str:
    text = json.dumps(settings, default=_plain, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes may do the same step; each writes a file of its own before it takes the name.
    own = path.with_name(f"{path.name}.{os.getpid()}")
    write_bytes(own, content)
    own.replace(path)


def _read_step(path: Path) -> dict[str, Any] | None:
    try:
        kept = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return kept if isinstance(kept, dict) and kept.keys() == {"settings", "seconds", "result"} else None


def _read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            kept = dict(file)
    except (FileNotFoundError, ValueError, EOFError, BadZipFile):
        return None
    return kept if {_SETTINGS, _SECONDS} <= kept.keys() else None


def _plain(value: Any) -> Any:
    """Return what JSON can hold in place of a NumPy value."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"expected a JSON-safe value, got {type(value).__name__}")
