"""The workers of a sweep: this process, or several processes of this machine."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import chainrule
from chainrule import errors
from chainrule.sweep.worker import Job, work

__all__ = ["run_workers"]

_TICK = 0.5  # seconds between two looks at the workers
_FAREWELL = 30  # seconds that a worker has to give its trial back
_COMMAND = "import sys; from chainrule.sweep.worker import main; sys.exit(main())"


def run_workers(job: Job, n_workers: int, on_tick: Callable[[], None]) -> None:
    """Do all trials of a job.

    Parameters
    ----------
    job : Job
    n_workers : int
        One worker is this process; more are processes of their own, which share out the processor's cores.
    on_tick : callable
        Called now and then, to show how far it is.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C, when all workers have stopped.
    ChainruleError
        If the rows or the storage cannot be used.
    RuntimeError
        If a worker ended for another reason.
    """
    if n_workers == 1:
        work(job, on_trial=on_tick)
        return
    with tempfile.TemporaryFile() as outputs, tempfile.TemporaryFile() as complaints:
        workers: list[subprocess.Popen[bytes]] = []
        try:
            for number in range(n_workers):
                workers.append(_start(job, number, n_workers, outputs, complaints))
            while any(worker.poll() is None for worker in workers):
                if any(worker.returncode for worker in workers):
                    break
                time.sleep(_TICK)
                on_tick()
        finally:
            _stop(workers)
        if any(worker.returncode for worker in workers):
            raise _failure(outputs, complaints)


def _start(
    job: Job, number: int, n_workers: int, outputs: IO[bytes], complaints: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start a worker, which stops as soon as its standard input closes: with this process, at the latest."""
    worker = subprocess.Popen(
        [sys.executable, "-c", _COMMAND],
        stdin=subprocess.PIPE,
        stdout=outputs,
        stderr=complaints,
        env=_environment(n_workers),
        start_new_session=True,  # Ctrl-C reaches this process, which tells the workers.
    )
    assert worker.stdin is not None
    try:
        pickle.dump((job, number), worker.stdin)
        worker.stdin.flush()
    except BrokenPipeError:
        pass  # It ended already; its exit code will tell.
    except BaseException:
        worker.kill()
        worker.wait()
        raise
    return worker


def _environment(n_workers: int) -> dict[str, str]:
    """Return the environment of a worker: the same chainrule, and its share of the cores."""
    paths = [str(Path(chainrule.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    share = max(1, (os.cpu_count() or 1) // n_workers)
    return {"OMP_NUM_THREADS": str(share), **os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _stop(workers: list[subprocess.Popen[bytes]]) -> None:
    """Tell the workers to stop, and see that they do."""
    for worker in workers:
        assert worker.stdin is not None
        try:
            worker.stdin.close()
        except BrokenPipeError:
            pass
    deadline = time.monotonic() + _FAREWELL
    for worker in workers:
        try:
            worker.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


def _failure(outputs: IO[bytes], complaints: IO[bytes]) -> Exception:
    """Return the error that a worker ended with."""
    outputs.seek(0)
    complaints.seek(0)
    for line in outputs.read().decode(errors="replace").splitlines():
        kind, message = json.loads(line)
        found = getattr(errors, kind, None)
        if found is not None:
            return found(message)
        return OSError(None, message)
    last = complaints.read().decode(errors="replace").strip().splitlines()
    return RuntimeError(f"a worker ended early: {last[-1] if last else 'no reason given'}")
