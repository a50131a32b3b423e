"""A fit by workers of a cluster, which Ray Train starts and brings together."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chainrule.distributed.engine import import_ray
from chainrule.errors import ChainruleError, DataError, GroupError

__all__ = ["WORKERS_FOLDER", "fit_by_workers"]

WORKERS_FOLDER = ".workers"
"""Where Ray Train notes what it does during a fit, within the folder of the model."""

# Workers that die so often in a row, and leave no newer checkpoint, do so because of the fit.
_MOST_RESTARTS = 3
# The others wait while the first worker reads rows or saves.
_TIMEOUT_S = 7200


def fit_by_workers(fit: Callable[[], Any], n_workers: int, folder: Path, checkpoint: Path) -> Any:
    """Call a function in workers that form one process group, and return what it returns in the first.

    This process must be connected with a cluster; see `connected`. When a worker or its machine dies, all of
    them start again and go on from the checkpoint.

    Parameters
    ----------
    fit : callable
        Can be pickled; goes on from the checkpoint, if it is there.
    n_workers : int
        Each has one processor.
    folder : Path
        That all workers reach.
    checkpoint : Path
        A file that tells by its time whether the fit gets on.

    Raises
    ------
    DataError
        If the cluster has fewer processors.
    ChainruleError
        What the function raises in one of the workers.
    GroupError
        If workers die again and again.
    """
    ray = import_ray()
    from ray.train import TrainingFailedError

    n_cpus = int(ray.cluster_resources().get("CPU", 0))
    if n_workers > n_cpus:
        raise DataError(
            f"--workers {n_workers}: the cluster has {n_cpus} processors; ask for as many at most"
        )
    n_restarts, reached = 0, _time_of(checkpoint)
    while True:
        returned = ray.remote(num_cpus=0)(_Returned).remote()
        try:
            _trainer(fit, n_workers, folder, returned).fit()
            return ray.get(returned.get.remote())
        except TrainingFailedError as error:
            _raise_own(error)
            now = _time_of(checkpoint)
            n_restarts, reached = (n_restarts + 1 if now == reached else 1), now
            if n_restarts > _MOST_RESTARTS:
                raise GroupError(
                    f"workers died {n_restarts} times in a row before the fit got on; see whether they have "
                    "enough memory"
                ) from error
        finally:
            shutil.rmtree(folder / WORKERS_FOLDER, ignore_errors=True)


class _Returned:
    """Keeps what the first worker returns: Ray Train keeps only what comes with one of its checkpoints."""

    def __init__(self) -> None:
        self._value: Any = None

    def set(self, value: Any) -> None:
        self._value = value

    def get(self) -> Any:
        return self._value


def _trainer(fit: Callable[[], Any], n_workers: int, folder: Path, returned: Any) -> Any:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    return TorchTrainer(
        _work,
        train_loop_config={"fit": fit, "returned": returned},
        scaling_config=ScalingConfig(num_workers=n_workers),
        torch_config=TorchConfig(backend="gloo", timeout_s=_TIMEOUT_S),
        # Which failures are worth a restart is told apart above: Ray Train would repeat all of them.
        run_config=RunConfig(
            name="fit",
            storage_path=str((folder / WORKERS_FOLDER).resolve()),
            failure_config=FailureConfig(max_failures=0),
        ),
    )


def _work(config: dict[str, Any]) -> None:
    """Fit in a worker."""
    import ray
    import torch

    torch.set_num_threads(1)
    result = config["fit"]()
    if torch.distributed.get_rank() == 0:
        ray.get(config["returned"].set.remote(result))


def _raise_own(error: Any) -> None:
    """Raise what the fit itself raised in a worker; return if workers died, or others because of them."""
    failures = getattr(error, "worker_failures", {}).values()
    raised = [each for each in failures if not isinstance(each, GroupError)]
    for each in raised:
        if isinstance(each, ChainruleError | FloatingPointError | OSError | MemoryError):
            raise each from error


def _time_of(checkpoint: Path) -> int | None:
    return checkpoint.stat().st_mtime_ns if checkpoint.exists() else None
