"""One fit of a set, kept with its model, and what it gives each cell under any order."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from msgspec.structs import asdict
from numpy.typing import NDArray

from chainrule.conditioners.any_order import AnyOrderConditioner
from chainrule.estimators.autoregressive import AutoregressiveEstimator
from chainrule.estimators.loading import load
from chainrule.experiments.study import StudyRun
from chainrule.training import evaluation_batch
from chainrule.training.history import still_gains
from chainrule_studies.published.rows import SetRows
from chainrule_studies.published.settings import Setting

__all__ = ["Fit", "Fits", "log_conditionals"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Fit:
    """A fit that is kept.

    Attributes
    ----------
    key : str
        Names its step and its model.
    valid : float
        Mean log-likelihood of the validation rows, nats per row; an estimate for networks of any order.
    seconds : float
    n_parameters : int
    still_gains : bool
        Whether it ended while validation rows were still gaining, so that more epochs would help.
    """

    key: str
    valid: float
    seconds: float
    n_parameters: int
    still_gains: bool = False


class Fits:
    """The fits of one set.

    Parameters
    ----------
    run : StudyRun
    rows : SetRows

    Attributes
    ----------
    keys : set of str
        Those of all fits so far.
    seconds : float
        What they took, and what scored them.
    """

    def __init__(self, run: StudyRun, rows: SetRows) -> None:
        self.run = run
        self.rows = rows
        self.seconds = 0.0
        self.keys: set[str] = set()

    def fit(
        self,
        setting: Setting,
        max_time: float,
        *,
        fold: int = 0,
        held: int = -1,
        order: int = 0,
        seed: int = 0,
    ) -> Fit:
        """Fit a network, or take it from the run folder.

        Parameters
        ----------
        setting : Setting
        max_time : float
            Seconds that it may take.
        fold : int
        held : int
            Which part of the fold is held out for validation.
        order : int
            The number of an order, see `SetRows.order`; networks of any order have none.
        seed : int
            Further members have others.
        """
        order = 0 if setting.is_any_order else order
        facts = [asdict(setting), max_time, fold, held, order, seed, self.run.random_state, self.run.quick]
        digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
        key = f"{self.rows.name}-{setting.kind}-{digest}"
        result = self.run.step(key, lambda: self._fit(key, setting, max_time, fold, held, order, seed), facts)
        if key not in self.keys:
            self.keys.add(key)
            self.seconds += result["seconds"]
        return Fit(key, **result)

    def _fit(
        self, key: str, setting: Setting, max_time: float, fold: int, held: int, order: int, seed: int
    ) -> dict[str, Any]:
        train, valid = self.rows.folds[fold].split(held)
        image = self.rows.image
        ordering = self.rows.order(order, self.run.random_state).tolist()
        estimator = setting.estimator(
            "natural" if ordering == sorted(ordering) else ordering,
            kinds=self.rows.kinds,
            image_shape=None if image is None else (image.height, image.width, image.channels),
            max_time=max_time,
            random_state=self.run.random_state + 1000 * seed + order,
            checkpoint=self.run.checkpoint(key),
        )
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                estimator.fit(train, X_val=valid)
                reached = -estimator.history_.best_nll
            except FloatingPointError:  # the learning rate was too much for it
                return {"valid": -np.inf, "seconds": time.perf_counter() - start, "n_parameters": 0}
        estimator.set_params(checkpoint=None)
        estimator.save(self._folder(key))
        return {
            "valid": float(reached),
            "seconds": time.perf_counter() - start,
            "n_parameters": estimator.n_parameters_,
            "still_gains": still_gains(estimator.history_.valid),
        }

    def cells(self, fit: Fit, rows: Array, order: int) -> Array:
        """Return log p(x_d | what comes before it in an order) of any rows, float32 (n, D)."""
        estimator = load(self._folder(fit.key))
        assert isinstance(estimator, AutoregressiveEstimator)
        return log_conditionals(estimator, rows, self.rows.order(order, self.run.random_state))

    def keep_only(self, fits: Sequence[Fit]) -> None:
        """Delete the saved models of all other fits of the set."""
        kept = {fit.key for fit in fits}
        for folder in (self.run.folder / "models").glob(f"{self.rows.name}-*"):
            if folder.name not in kept:
                shutil.rmtree(folder)

    def _folder(self, key: str) -> Any:
        return self.run.folder / "models" / key


@torch.no_grad()
def log_conditionals(estimator: AutoregressiveEstimator, rows: Array, order: Array) -> Array:
    """Return log p(x_d | what comes before it in the order) of each cell in nats, float32 (n, D).

    Parameters
    ----------
    estimator : AutoregressiveEstimator
        Fitted; of any order, or of this one.
    rows : ndarray of shape (n, D)
    order : ndarray of shape (D,)
    """
    schema, model = estimator.schema_, estimator.model_
    conditioner = model.conditioner
    codes = schema.encode(rows)
    coarse, place = torch.from_numpy(schema.coarse(codes)).float(), torch.from_numpy(order)
    parts = []
    for batch in coarse.split(evaluation_batch(model)):
        if isinstance(conditioner, AnyOrderConditioner):
            query = torch.ones_like(batch, dtype=torch.bool)
            outputs = conditioner.query_outputs(batch, ~query, query, place)
            parts.append(model.conditionals.log_prob(batch, outputs))
        else:
            parts.append(model.log_conditionals(batch))
    found = torch.cat(parts).numpy() + schema.log_abs_det_jacobian_of_cells(codes)
    return found.astype(np.float32)
