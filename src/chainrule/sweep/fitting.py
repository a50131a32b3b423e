"""One fit of a sweep, and what the run folder keeps of it."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.datasets import Dataset
from chainrule.errors import CheckpointWarning, StorageError
from chainrule.estimators.autoregressive import AutoregressiveEstimator
from chainrule.estimators.base import DensityEstimator
from chainrule.estimators.loading import load
from chainrule.metrics.statistics import summarize
from chainrule.report.rows import take_rows
from chainrule.storage import is_saved_model, write_bytes
from chainrule.sweep.records import Fit
from chainrule.sweep.space import Space, new_estimator
from chainrule.training import Callback, Epoch

__all__ = ["Fitter"]

# So many training rows are scored at most, to be held against the validation rows.
_MAX_TRAINING_ROWS = 10_000


@dataclass(frozen=True)
class Fitter:
    """Fits settings to a data set.

    Parameters
    ----------
    dataset : Dataset
    model : str
        A name from `chainrule.registry.MODELS`.
    space : Space
    max_epochs : int or None
    rows : str
        A fingerprint of the data set: what lies in the same folder from other rows is not taken.
    folder : Path
        The run folder. ``fits`` gets the log-likelihoods of the validation rows and the best models so far,
        ``checkpoints`` the states of fits that are under way.
    """

    dataset: Dataset
    model: str
    space: Space
    max_epochs: int | None
    rows: str
    folder: Path

    def fit(
        self,
        setting: Mapping[str, Any],
        seed: int,
        best: float,
        on_epoch: Callable[[int, float], None] | None = None,
    ) -> Fit:
        """Fit a setting; a fit that was interrupted goes on from its last epoch.

        Parameters
        ----------
        setting : mapping
            The parameters of a trial, as `Space.values` takes them.
        seed : int
        best : float
            The highest validation log-likelihood so far; the model is saved if this one is higher.
        on_epoch : callable, optional
            Told of each epoch and its validation NLL in nats per row; may raise to end the fit.

        Raises
        ------
        FitInterrupted
            On Ctrl-C; the state of the fit is kept.
        """
        kept = self._kept(setting, seed)
        kept.parent.mkdir(parents=True, exist_ok=True)
        checkpoint = self.folder / "checkpoints" / f"{kept.name}.pt"
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        estimator = self._build(setting, seed, checkpoint)
        listening: dict[str, Any] = {}
        if on_epoch is not None and isinstance(estimator, AutoregressiveEstimator):
            listening["callbacks"] = [_EpochListener(on_epoch)]
        start = time.perf_counter()
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                estimator.fit(self.dataset.train, X_val=self.dataset.valid, **listening)
        except Exception:
            checkpoint.unlink(missing_ok=True)
            raise
        seconds = time.perf_counter() - start
        of_the_fit = [each for each in caught if not issubclass(each.category, CheckpointWarning)]
        for each in caught:
            if each not in of_the_fit:  # the disk's matter, not the setting's
                warnings.warn(each.message, stacklevel=2)
        scores = estimator.score_samples(self.dataset.valid)
        fit = self._describe(estimator, seed, scores, seconds, of_the_fit)
        if fit.valid_log_likelihood > best:
            if "checkpoint" in estimator.get_params():
                estimator.set_params(checkpoint=None)  # A place in this folder is nobody's parameter.
            estimator.save(kept)
        buffer = BytesIO()
        np.save(buffer, scores, allow_pickle=False)
        write_bytes(kept.with_suffix(".npy"), buffer.getvalue())
        checkpoint.unlink(missing_ok=True)
        return fit

    def estimator(self, setting: Mapping[str, Any], seed: int) -> DensityEstimator:
        """Return the fitted estimator of a setting: the saved one, or one that is fitted anew."""
        folder = self._kept(setting, seed)
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
        kept = self._kept(setting, seed)
        for folder in kept.parent.glob("*/"):
            if folder != kept:
                shutil.rmtree(folder)

    def valid_scores(self, setting: Mapping[str, Any], seeds: list[int]) -> np.ndarray | None:
        """Return the log-likelihood of each validation row, the mean over seeds; None if not at hand."""
        paths = [self._kept(setting, seed).with_suffix(".npy") for seed in seeds]
        if not all(path.is_file() for path in paths):
            return None
        return np.mean([np.load(path, allow_pickle=False) for path in paths], axis=0)

    def _describe(
        self,
        estimator: DensityEstimator,
        seed: int,
        scores: np.ndarray,
        seconds: float,
        caught: list[warnings.WarningMessage],
    ) -> Fit:
        history, valid = estimator.history_, summarize(scores)
        return Fit(
            seed=seed,
            valid_log_likelihood=valid.mean,
            standard_error=valid.standard_error,
            train_log_likelihood=estimator.score(self._training_rows()),
            n_parameters=estimator.n_parameters_,
            epochs=None if history is None else history.epochs,
            fit_seconds=seconds if history is None else history.seconds,
            # Six digits keep a long curve within what MySQL can hold.
            valid_nll=[] if history is None else [float(f"{nll:.6g}") for nll in history.valid],
            warnings=list(dict.fromkeys(" ".join(str(w.message).split()) for w in caught)),
        )

    def _build(self, setting: Mapping[str, Any], seed: int, checkpoint: Path | None) -> DensityEstimator:
        estimator = new_estimator(self.model, self.space.values(setting))
        common = {
            **self.dataset.arguments,
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
        if len(train) <= _MAX_TRAINING_ROWS:
            return train
        drawn = np.random.default_rng(0).permutation(len(train))[:_MAX_TRAINING_ROWS]
        return take_rows(train, np.sort(drawn).tolist())

    def _kept(self, setting: Mapping[str, Any], seed: int) -> Path:
        """Return where the model of a fit is kept, and beside it what else there is."""
        text = json.dumps([self.rows, self.model, self.max_epochs, sorted(setting.items()), seed])
        return self.folder / "fits" / hashlib.sha256(text.encode()).hexdigest()[:16]


class _EpochListener(Callback):
    def __init__(self, tell: Callable[[int, float], None]) -> None:
        self._tell = tell

    def on_epoch(self, epoch: Epoch) -> None:
        assert epoch.valid is not None
        self._tell(epoch.number, epoch.valid)
