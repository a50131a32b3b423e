"""Where a sweep keeps its trials: an Optuna study, in SQLite or on a database server."""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.errors import DataError, MissingPackageError
from chainrule.storage import PARTIAL

if TYPE_CHECKING:
    import optuna

__all__ = [
    "RUN",
    "SIGNED",
    "claim",
    "embedded",
    "fail_dead_trials",
    "naming_the_storage",
    "need_optuna",
    "open_study",
    "quiet",
    "register",
    "sign_in",
]

# User attributes of a trial: the sweep that runs it, and the process.
RUN, _PROCESS = "run", "process"
SIGNED = (RUN, _PROCESS)

_SETTINGS = "settings"
_PACKAGES = {"psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient", "psycopg": "psycopg[binary]"}
# Seconds between two signs of life of a trial, and after how many without one it counts as dead.
_HEARTBEAT, _GRACE = 20, 120
# Seconds to wait for another worker that writes to the same SQLite file.
_PATIENCE = 120


def need_optuna() -> None:
    """Raise a MissingPackageError if Optuna is not installed."""
    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise MissingPackageError(
            "a sweep needs Optuna, which is not installed: pip install 'chainrule[sweep]' (or optuna)"
        ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna's log and its warnings of experimental features to itself."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def embedded(folder: Path) -> str:
    """Return the address of the SQLite file in a run folder."""
    return f"sqlite:///{(folder / 'sweep.db').resolve().as_posix()}"


def open_study(address: str, name: str) -> optuna.Study:
    """Open a study, or make it.

    Parameters
    ----------
    address : str
        ``sqlite:///PATH``, ``postgresql://...`` or ``mysql://...``.
    name : str

    Raises
    ------
    DataError
        If the address cannot be used.
    MissingPackageError
        If the driver of the database is not installed.
    """
    import optuna
    import sqlalchemy

    scheme = _checked_scheme(address)
    try:
        # The second attempt is for tables that another machine was making at the moment of the first.
        for is_last in (False, True):
            try:
                storage = _storage(address, scheme)
                break
            except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError):
                if is_last:
                    raise
                time.sleep(1)
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise DataError(f"the storage {_shown(address)} cannot be opened: {_reason(error)}") from None
    return optuna.create_study(storage=storage, study_name=name, direction="minimize", load_if_exists=True)


@contextmanager
def naming_the_storage(address: str) -> Iterator[None]:
    """Raise an OSError that says what is wrong where a storage fails in the middle: its disk is full, say."""
    import optuna
    import sqlalchemy

    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        reason = (
            f"the trials cannot be kept: {_reason(error)}; those that are done are, and the same call goes on"
        )
        raise OSError(errno.EIO, reason, _shown(address)) from error


def _reason(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error.__cause__ or error).strip().splitlines()[0]


def claim(study: optuna.Study, settings: Mapping[str, Any]) -> None:
    """Write down what the trials of a study depend on (JSON-safe), or check that it is the same.

    Raises
    ------
    DataError
        If the study was made with other settings.
    """
    found = study.user_attrs.get(_SETTINGS)
    if found is None:
        study.set_user_attr(_SETTINGS, dict(settings))
    elif other := [key for key in settings if found.get(key) != settings[key]]:
        raise DataError(
            f"the sweep {study.study_name!r} was begun with other settings ({', '.join(other)}); go on with "
            "the same ones, or begin another in a new folder or under a new name"
        )


def sign_in(study: optuna.Study, trial: optuna.Trial, run: str) -> None:
    """Write down who runs a trial, and the first sign of life: Optuna's own comes from a thread, later."""
    heartbeat: Any = study._storage
    heartbeat.record_heartbeat(trial._trial_id)
    trial.set_user_attr(_PROCESS, _this_process())
    trial.set_user_attr(RUN, run)


def _this_process() -> dict[str, Any]:
    """Return what tells this process from all others, of other machines and containers, too."""
    import psutil

    return {"machine": _machine(), "id": os.getpid(), "began": psutil.Process().create_time()}


def _machine() -> str:
    """Return what processes have in common that see each other, until their machine starts again."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # no Linux
        import psutil

        return f"{platform.node()} {psutil.boot_time()}"


def _is_gone(process: Mapping[str, Any]) -> bool:
    """Return whether a process was one of this machine and is no more."""
    import psutil

    if process["machine"] != _machine():
        return False
    try:
        return psutil.Process(process["id"]).create_time() != process["began"]
    except psutil.NoSuchProcess:
        return True


def register(study: optuna.Study, run: str) -> None:
    """Write down that this process may take trials, before it takes one."""
    study.set_user_attr(f"{_PROCESS} {os.getpid()} {run}", {"run": run, **_this_process()})


def _is_alone(study: optuna.Study, run: str) -> bool:
    """Return whether all other processes that may take trials are no more."""
    found = [value for key, value in study.user_attrs.items() if key.startswith(f"{_PROCESS} ")]
    return all(process["run"] == run or _is_gone(process) for process in found)


def fail_dead_trials(study: optuna.Study, unsigned: dict[int, float], run: str) -> None:
    """Fail the trials whose workers are no more: those of this machine at once, others when they are silent.

    To Optuna a trial without any sign of life is not dead; one whose worker died as soon as it had taken it
    would be waited for without end.

    Parameters
    ----------
    study : optuna.Study
    unsigned : dict
        Since when this process has seen each such trial, by number.
    run : str
        Of the caller, none of whose workers has a trial now.
    """
    import optuna

    optuna.storages.fail_stale_trials(study)
    now = time.monotonic()
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        if RUN in trial.user_attrs:
            process = trial.user_attrs.get(_PROCESS)  # an earlier chainrule wrote down none
            is_dead = process is not None and _is_gone(process)
        else:
            is_dead = now - unsigned.setdefault(trial.number, now) > _GRACE or _is_alone(study, run)
        if is_dead:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)


def _checked_scheme(address: str) -> str:
    """Return the kind of database of an address, whose driver is there."""
    import sqlalchemy

    try:
        url = sqlalchemy.engine.make_url(address)
        scheme = url.get_backend_name()
        if scheme not in ("sqlite", "postgresql", "mysql") or not url.database:
            raise ValueError(address)
        url.get_dialect().import_dbapi()
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise DataError(
            f"{_shown(address)} is no storage; expected sqlite:///PATH, postgresql://... or mysql://..."
        ) from None
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"the storage {_shown(address)} needs the driver {error.name}, which is not installed: "
            f"pip install '{_PACKAGES.get(error.name or '', error.name)}'"
        ) from None
    return scheme


def _storage(address: str, scheme: str) -> optuna.storages.BaseStorage:
    import optuna

    if scheme == "sqlite":
        _make_tables(address)
    arguments = {"connect_args": {"timeout": _PATIENCE}} if scheme == "sqlite" else {"pool_pre_ping": True}
    # Of Optuna's storages only this one has a heartbeat, by which the trials of dead workers are found.
    storage = optuna.storages.RDBStorage(
        address,
        engine_kwargs=arguments,
        heartbeat_interval=_HEARTBEAT,
        grace_period=_GRACE,
    )
    if scheme == "sqlite":
        _let_one_write_at_a_time(storage.engine)
    return storage


def _make_tables(address: str) -> None:
    """Make an SQLite file with Optuna's tables, whole, if there is none.

    Optuna makes one table or index after the other. Where it is killed in between, no later call makes the
    indices that are lacking, without which a study can be made twice.
    """
    import optuna
    import sqlalchemy

    database = sqlalchemy.engine.make_url(address).database or ""
    path = Path(database)
    if database.startswith((":", "file:")) or path.exists() or not path.parent.is_dir():
        return
    with tempfile.TemporaryDirectory() as folder:  # where SQLite leaves its journal, too, if it is killed
        made = Path(folder) / path.name
        optuna.storages.RDBStorage(f"sqlite:///{made.as_posix()}").engine.dispose()
        partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")
        try:
            shutil.copyfile(made, partial)
            with suppress(FileExistsError):  # of several processes the first one's file stands
                os.link(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def _let_one_write_at_a_time(engine: Any) -> None:
    """Begin transactions of an SQLite file with its lock: else two workers can take the same trial."""
    import sqlalchemy

    @sqlalchemy.event.listens_for(engine, "connect")
    def leave_beginning_to_us(connection: Any, _: Any) -> None:
        connection.isolation_level = None

    @sqlalchemy.event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # Connections made before would go on as they began.


def _shown(address: str) -> str:
    """Return an address without its password."""
    return re.sub(r"://([^:/@]*):.*@", r"://\1@", address)
