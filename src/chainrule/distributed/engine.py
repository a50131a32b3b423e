"""Batches of work, done here one after the other or shared out as Ray tasks; the results are the same."""

from __future__ import annotations

import os
import signal
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from chainrule.errors import DataError, MissingPackageError

__all__ = ["Engine", "RayEngine", "connected", "import_ray", "in_order", "tasks"]

Work = Callable[[Any, int], Any]

# Batches under way for each processor: while one is done, the next is on its way.
_BATCHES_PER_CPU = 2
# Ray looks for the address of this machine in its network; by this it takes that of the loopback.
_BIND_LOCALLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


class Engine(Protocol):
    """What does work on batches somewhere else."""

    def in_order(self, work: Work, batches: Iterable[Any], first: int) -> Iterator[tuple[Any, Any]]:
        """Yield each batch and its result, in the order of the batches."""

    def as_done(self, work: Work, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield the results as they come; no batch waits for another."""


def in_order(
    work: Work, batches: Iterable[Any], engine: Engine | None = None, first: int = 0
) -> Iterator[tuple[Any, Any]]:
    """Yield each batch and the result of the work on it, in the order of the batches.

    The result does not depend on the engine, because the work depends on nothing but the batch and its
    number.

    Parameters
    ----------
    work : callable
        Takes a batch and its number; can be pickled, such as those of `chainrule.batches`.
    batches : iterable
        Taken as they are needed, so that only some of them are in memory.
    engine : Engine, optional
        Without one, the work is done in this process.
    first : int
        Number of the first batch.

    Examples
    --------
    >>> list(in_order(lambda batch, number: batch * number, [5, 6], first=1))
    [(5, 5), (6, 12)]
    """
    if engine is not None:
        yield from engine.in_order(work, batches, first)
        return
    for number, batch in enumerate(batches, first):
        yield batch, work(batch, number)


@contextmanager
def connected(engine: str | None, address: str | None = None) -> Iterator[Engine | None]:
    """Connect with a cluster, and leave it at the end; None without an engine.

    Parameters
    ----------
    engine : {"ray"} or None
    address : str, optional
        Of the cluster; by default that of the environment variable ``RAY_ADDRESS``. Without either, one is
        started on this machine that nobody else can reach, and stopped at the end. A cluster that this
        process is already connected with is taken as it is.

    Raises
    ------
    DataError
        If there is no cluster at the address.
    MissingPackageError
        If Ray is not installed.
    """
    if engine is None:
        yield None
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    ray = import_ray(address)
    if ray.is_initialized():
        yield RayEngine()
        return
    local = {"include_dashboard": False} if address == "local" else {}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **local)
    except (ConnectionError, ValueError) as error:
        raise DataError(f"there is no Ray cluster to be reached at {address}: {error}") from error
    if callable(handler):  # set in the main thread; with that of Ray a process ends before it can say why
        signal.signal(signal.SIGTERM, handler)
    try:
        yield RayEngine()
    finally:
        ray.shutdown()


def import_ray(address: str = "") -> Any:
    """Return the module `ray`, which sends no usage statistics.

    Raises
    ------
    MissingPackageError
        If it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address == "local":
        os.environ.setdefault(_BIND_LOCALLY, "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise MissingPackageError(
            "work on a cluster needs Ray, which is not installed: pip install 'chainrule[ray]'"
        ) from None
    return ray


class RayEngine:
    """The cluster that this process is connected with.

    Each batch is a task on one processor, with one thread. Tasks of a worker or machine that dies are done
    anew by others. What the work raises is raised here, and so are its warnings.
    """

    def in_order(self, work: Work, batches: Iterable[Any], first: int) -> Iterator[tuple[Any, Any]]:
        """Yield each batch and its result, in the order of the batches."""
        import ray

        start = _starter(work)
        n_under_way = _BATCHES_PER_CPU * max(1, int(ray.cluster_resources().get("CPU", 1)))
        under_way: deque[tuple[Any, Any]] = deque()
        try:
            for number, batch in enumerate(batches, first):
                under_way.append((batch, start(batch, number)))
                if len(under_way) == n_under_way:
                    yield _next_of(under_way)
            while under_way:
                yield _next_of(under_way)
        finally:
            for _, reference in under_way:
                ray.cancel(reference)

    def as_done(self, work: Work, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield the results as they come; no batch waits for another."""
        import ray

        start = _starter(work)
        under_way = [start(batch, number) for number, batch in enumerate(batches)]
        try:
            while under_way:
                (done,), under_way = ray.wait(under_way)
                yield _without_warnings(done)
        finally:
            for reference in under_way:
                ray.cancel(reference)


def _starter(work: Work) -> Callable[[Any, int], Any]:
    """Send a piece of work to the cluster; return what starts it on a batch, as a task."""
    import ray

    task = ray.remote(num_cpus=1, max_retries=-1)(_with_warnings)
    shared = ray.put(work)
    return lambda batch, number: task.remote(shared, batch, number)


def _with_warnings(work: Work, batch: Any, number: int) -> tuple[Any, list[Warning]]:
    """Do a piece of work in a worker, and return its result and what it warned of."""
    import torch

    torch.set_num_threads(1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = work(batch, number)
    return result, [each.message for each in caught if isinstance(each.message, Warning)]


def _next_of(under_way: deque[tuple[Any, Any]]) -> tuple[Any, Any]:
    """Wait for the oldest batch; return it and its result."""
    batch, reference = under_way.popleft()
    return batch, _without_warnings(reference)


def _without_warnings(reference: Any) -> Any:
    """Wait for the result of a task, and warn of what it warned of."""
    result, caught = result_of(reference)
    for warning in caught:
        warnings.warn(warning, stacklevel=3)
    return result


def result_of(reference: Any) -> Any:
    """Wait for the result of a task; what the task raised is raised as it was."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error


@contextmanager
def tasks(engine: str | None, address: str | None = None) -> Iterator[None]:
    """Let joblib give its work to a cluster, such as the members of an `Ensemble` that is fitted.

    Parameters
    ----------
    engine, address
        As of `connected`; without an engine, joblib works as it is set up.
    """
    with connected(engine, address):
        if engine is None:
            yield
            return
        import joblib
        from ray.util.joblib import register_ray

        register_ray()
        with joblib.parallel_config(backend="ray", n_jobs=-1):
            yield
