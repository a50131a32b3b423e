"""What a run folder keeps of a comparison that is under way, and where its models are saved."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from chainrule.errors import DataError, StorageError
from chainrule.estimators.base import DensityEstimator
from chainrule.estimators.loading import load
from chainrule.experiments.models import has_parameter, set_parameter
from chainrule.schema import Schema
from chainrule.storage import json_safe, write_json

__all__ = ["STATE_FOLDER", "KeptFits", "fingerprint", "save_or_rescue", "unfinished_work"]

STATE_FOLDER = "checkpoints"
"""In a run folder: what is there only as long as the run is not over."""
_SETTINGS = "comparison.json"


class KeptFits:
    """The fits of a comparison that are done or under way; a context manager, which deletes them at the end.

    Beside ``models/NAME`` a comparison needs to know only which of them are done and how long they took: the
    rest of its numbers follow from the models. A fit that is under way has its checkpoint.

    Parameters
    ----------
    folder : Path or None
        The run folder; without it nothing is kept.
    settings : mapping
        What all of it depends on, JSON-safe.
    resume : bool
        Whether to go on with what is there.

    Raises
    ------
    DataError
        If what is there belongs to other settings, or is there although it was not asked for.
    """

    def __init__(self, folder: Path | None, settings: Mapping[str, Any], *, resume: bool) -> None:
        self._folder = folder
        self._settings = json_safe(settings)
        if folder is not None and unfinished_work(folder):
            self._check(folder, resume)
        elif folder is not None:
            shutil.rmtree(folder / STATE_FOLDER, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder is None or (error is not None and unfinished_work(self._folder)):
            return
        # First what says that there is something to go on with.
        (self._state / _SETTINGS).unlink(missing_ok=True)
        shutil.rmtree(self._state, ignore_errors=True)

    def seconds(self) -> float:
        """Return how long the comparison took up to the last fit that is done."""
        done = [] if self._folder is None else [_read(path) for path in _marks(self._folder)]
        return max((mark.get("seconds", 0.0) for mark in done), default=0.0)

    def model(self, name: str) -> tuple[DensityEstimator, float] | None:
        """Return a model that is done and how many seconds its fit took; None if it is still to be fitted."""
        if self._folder is None or not self._mark(name).exists():
            return None
        try:
            return load(self._path(name)), _read(self._mark(name)).get("fit_seconds", 0.0)
        except StorageError:
            return None  # It was damaged since: the same fit gives the same model.

    def prepare(self, name: str, estimator: DensityEstimator) -> None:
        """Let a fit keep its state, if it has one."""
        if self._folder is not None and has_parameter(estimator, "checkpoint"):
            self._state.mkdir(parents=True, exist_ok=True)
            write_json(self._state / _SETTINGS, self._settings)
            set_parameter(estimator, "checkpoint", self._checkpoint(name))

    def save(self, name: str, estimator: DensityEstimator) -> Path | None:
        """Save a model, whether it is done or not; return where."""
        if self._folder is None:
            return None
        save_or_rescue(estimator, self._path(name))
        return self._path(name)

    def mark_done(self, name: str, fit_seconds: float, seconds: float) -> None:
        """Write down that a model is saved and need not be fitted again.

        Parameters
        ----------
        name : str
        fit_seconds, seconds : float
            Of the fit, and of the whole comparison so far.
        """
        if self._folder is None:
            return
        self._state.mkdir(parents=True, exist_ok=True)
        write_json(self._state / _SETTINGS, self._settings)
        write_json(self._mark(name), {"fit_seconds": fit_seconds, "seconds": seconds})
        for path in self._state.glob(f"{name}.pt*"):  # of an ensemble one of each member
            path.unlink(missing_ok=True)

    @property
    def _state(self) -> Path:
        assert self._folder is not None
        return self._folder / STATE_FOLDER

    def _path(self, name: str) -> Path:
        return self._state.parent / "models" / name

    def _mark(self, name: str) -> Path:
        return self._state / f"{name}.done.json"

    def _checkpoint(self, name: str) -> Path:
        return self._state / f"{name}.pt"

    def _check(self, folder: Path, resume: bool) -> None:
        if not resume:
            raise DataError(
                f"{folder} holds a comparison that was broken off, which would be lost; go on with it "
                f"(--resume, resume=True), or delete {self._state}"
            )
        found = _read(self._state / _SETTINGS)
        if other := [key for key in self._settings if found.get(key) != self._settings[key]]:
            raise DataError(
                f"the comparison in {folder} was begun with other settings ({', '.join(other)}); go on with "
                f"the same ones, or delete {self._state} to begin anew"
            )


def unfinished_work(folder: Path) -> bool:
    """Return whether a run folder holds fits of a comparison that was broken off."""
    state = folder / STATE_FOLDER
    return (state / _SETTINGS).exists() and bool(_marks(folder) or [*state.glob("*.pt*")])


def save_or_rescue(estimator: DensityEstimator, folder: Path) -> None:
    """Save a fitted model; where `folder` has no room, save it elsewhere rather than lose it.

    Raises
    ------
    OSError
        If it is elsewhere, as the message says, or nowhere.
    """
    for each in (estimator, *getattr(estimator, "members_", ())):
        set_parameter(each, "checkpoint", None)  # a place in the run folder is nobody's parameter
    try:
        estimator.save(folder)
    except OSError as error:
        rescue = tempfile.mkdtemp(prefix="chainrule-")
        try:
            estimator.save(rescue)
        except OSError:
            Path(rescue).rmdir()
            reason = f"the model could not be saved: {error.strerror}"
        else:
            reason = f"the model could not be saved here ({error.strerror}), but is in {rescue}"
        raise OSError(error.errno, reason, str(folder)) from error


def fingerprint(schema: Schema, codes: Iterable[np.ndarray]) -> str:
    """Return what stands for rows, given their codes in parts, and for what their columns were taken."""
    digest = hashlib.sha256(json.dumps(schema.to_dict(), sort_keys=True, default=str).encode())
    for part in codes:
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def _marks(folder: Path) -> list[Path]:
    return [*(folder / STATE_FOLDER).glob("*.done.json")]


def _read(path: Path) -> dict[str, Any]:
    """Return what a file of the state says; one that somebody has altered says nothing."""
    try:
        found = json.loads(path.read_bytes())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
