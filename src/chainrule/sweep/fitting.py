"""One fit of a sweep: done once, and kept in the run folder."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.datasets import Dataset
from chainrule.errors import StorageError
from chainrule.estimators.autoregressive import AutoregressiveEstimator
from chainrule.estimators.base import DensityEstimator
from chainrule.estimators.loading import load
from chainrule.metrics.statistics import summarize
from chainrule.report.rows import take_rows
from chainrule.storage import is_saved_model, write_together
from chainrule.sweep.records import Fit
from chainrule.sweep.space import Space, new_estimator
from chainrule.training import Callback, Epoch

__all__ = ["Fitter"]

# So many training rows are scored at most, to be held against the validation rows.
_MOST_TRAINING_ROWS = 10_000


@dataclass(frozen=True)
class Fitter:
    """Fits settings to a data set, and keeps what it has done in a folder.

    Parameters
    ----------
    dataset : Dataset
    model : str
        A name from `chainrule.registry.MODELS`.
    space : Space
    max_epochs : int or None
    identity : str
        Stands for the rows and the model: fits of other ones that lie in the same folder are not taken.
    folder : Path
        The run folder. ``fits`` gets the results, the log-likelihoods of the validation rows and the best
        models so far, ``checkpoints`` the states of fits that are under way.
    """

    dataset: Dataset
    model: str
    space: Space
    max_epochs: int | None
    identity: str
    folder: Path

    def fit(
        self, setting: Mapping[str, Any], seed: int, on_epoch: Callable[[int, float], None] | None = None
    ) -> Fit:
        """Fit a setting, or read back what an earlier fit of it found.

        Parameters
        ----------
        setting : mapping
            The parameters of a trial, as `Space.values` takes them.
        seed : int
        on_epoch : callable, optional
            Told of each epoch and its validation NLL in nats per row; may raise to end the fit.

        Raises
        ------
        FitInterrupted
            On Ctrl-C; the state of the fit is kept, and the same call goes on from it.
        """
        key = self._key(setting, seed)
        kept = self._read(key)
        if kept is not None:
            return kept
        checkpoint = self.folder / "checkpoints" / f"{key}.pt"
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        interrupted = False
        try:
            return self._fit_anew(key, setting, seed, checkpoint, on_epoch)
        except KeyboardInterrupt:
            interrupted = True
            raise
        finally:
            if not interrupted:
                checkpoint.unlink(missing_ok=True)

    def estimator(self, setting: Mapping[str, Any], seed: int) -> DensityEstimator:
        """Return the fitted estimator of a setting: the saved one, or one that is fitted anew."""
        folder = self._model_folder(setting, seed)
        if is_saved_model(folder):
            try:
                return load(folder)
            except StorageError:
                pass  # It was damaged since: the same fit gives the same model.
        estimator = self._build(setting, seed, None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Told when the trial ran.
            return estimator.fit(self.dataset.train, X_val=self.dataset.valid)

    def forget_models(self, setting: Mapping[str, Any], seed: int) -> None:
        """Delete the saved models of fits other than this one."""
        kept = self._model_folder(setting, seed)
        for folder in kept.parent.glob("*/"):
            if folder != kept:
                shutil.rmtree(folder)

    def valid_scores(self, setting: Mapping[str, Any], seeds: list[int]) -> np.ndarray | None:
        """Return the log-likelihood of each validation row, the mean over seeds; None if not at hand."""
        paths = [self._path(self._key(setting, seed), "npy") for seed in seeds]
        if not all(path.is_file() for path in paths):
            return None
        return np.mean([np.load(path, allow_pickle=False) for path in paths], axis=0)

    def _fit_anew(
        self,
        key: str,
        setting: Mapping[str, Any],
        seed: int,
        checkpoint: Path,
        on_epoch: Callable[[int, float], None] | None,
    ) -> Fit:
        estimator = self._build(setting, seed, checkpoint)
        start = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if on_epoch is not None and isinstance(estimator, AutoregressiveEstimator):
                callback = _EpochListener(on_epoch)
                estimator.fit(self.dataset.train, X_val=self.dataset.valid, callbacks=[callback])
            else:
                estimator.fit(self.dataset.train, X_val=self.dataset.valid)
        history = estimator.history_
        seconds = time.perf_counter() - start if history is None else history.seconds
        scores = estimator.score_samples(self.dataset.valid)
        summary = summarize(scores)
        fit = Fit(
            seed=seed,
            valid_log_likelihood=summary.mean,
            standard_error=summary.standard_error,
            train_log_likelihood=estimator.score(self._training_rows()),
            n_parameters=estimator.n_parameters_,
            epochs=None if history is None else history.epochs,
            fit_seconds=seconds,
            valid_nll=[] if history is None else history.valid,
            warnings=list(dict.fromkeys(" ".join(str(w.message).split()) for w in caught)),
        )
        if all(fit.valid_log_likelihood > other.valid_log_likelihood for other in self._read_all()):
            if "checkpoint" in estimator.get_params():
                estimator.set_params(checkpoint=None)  # A place in this folder is nobody's parameter.
            estimator.save(self._model_folder(setting, seed))
        self._keep(key, fit, scores)
        return fit

    def _build(self, setting: Mapping[str, Any], seed: int, checkpoint: Path | None) -> DensityEstimator:
        estimator = new_estimator(self.model, self.space.values(setting))
        common = {
            "kinds": self.dataset.kinds,
            "random_state": seed,
            "checkpoint": checkpoint,
            "max_epochs": self.max_epochs,
        }
        open_names = estimator.get_params().keys() - setting.keys()
        wanted = {name: value for name, value in common.items() if name in open_names and value is not None}
        return estimator.set_params(**wanted)

    def _training_rows(self) -> Any:
        """Return training rows to score beside the validation rows, drawn in one way for all fits."""
        train = self.dataset.train
        if len(train) <= _MOST_TRAINING_ROWS:
            return train
        drawn = np.random.default_rng(0).permutation(len(train))[:_MOST_TRAINING_ROWS]
        return take_rows(train, np.sort(drawn).tolist())

    def _keep(self, key: str, fit: Fit, scores: np.ndarray) -> None:
        buffer = BytesIO()
        np.save(buffer, scores, allow_pickle=False)
        write_together(
            {
                self._path(key, "npy"): buffer.getvalue(),
                self._path(key, "json"): json.dumps(asdict(fit)).encode(),
            }
        )

    def _read(self, key: str) -> Fit | None:
        try:
            return Fit(**json.loads(self._path(key, "json").read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def _read_all(self) -> list[Fit]:
        fits = [self._read(path.stem) for path in (self.folder / "fits").glob("*.json")]
        return [fit for fit in fits if fit is not None]

    def _path(self, key: str, suffix: str) -> Path:
        folder = self.folder / "fits"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{key}.{suffix}"

    def _model_folder(self, setting: Mapping[str, Any], seed: int) -> Path:
        return self.folder / "fits" / self._key(setting, seed)

    def _key(self, setting: Mapping[str, Any], seed: int) -> str:
        text = json.dumps([self.identity, self.model, self.max_epochs, sorted(setting.items()), seed])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class _EpochListener(Callback):
    def __init__(self, tell: Callable[[int, float], None]) -> None:
        self._tell = tell

    def on_epoch(self, epoch: Epoch) -> None:
        assert epoch.valid is not None
        self._tell(epoch.number, epoch.valid)
