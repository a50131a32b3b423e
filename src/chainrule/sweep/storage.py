"""Where a sweep keeps its trials: an Optuna study, in SQLite or on a database server."""

from __future__ import annotations

import os
import platform
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.errors import DataError, MissingPackageError

if TYPE_CHECKING:
    import optuna

    from chainrule.sweep.space import Space

__all__ = [
    "COURSE",
    "FAILED",
    "FITS",
    "OWNER",
    "SKIPPED",
    "add_missing",
    "counted",
    "embedded",
    "is_running",
    "need_optuna",
    "open_study",
    "parameters_of",
    "quiet",
    "this_owner",
]

# User attributes of a trial: its fits, the NLL of the first one by epoch, why its setting cannot be fitted,
# that it was not needed, and who runs it.
FITS, COURSE, FAILED, SKIPPED, OWNER = "fits", "valid_nll", "failed", "skipped", "owner"
_SETTINGS = "settings"
_SCHEMES = ("sqlite", "postgresql", "mysql")
_DRIVERS = {
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "pymysql": "pymysql",
    "psycopg": "psycopg[binary]",
}
# Seconds between two signs of life of a trial, and after how many without one it counts as dead.
_HEARTBEAT, _GRACE = 20, 120
# To open a storage whose tables another machine makes at the same time; a second lies between them.
_ATTEMPTS = 5
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


def open_study(
    address: str,
    name: str,
    settings: Mapping[str, Any] | None,
    sampler: optuna.samplers.BaseSampler | None = None,
    pruner: optuna.pruners.BasePruner | None = None,
) -> optuna.Study:
    """Open a study, or make it.

    Parameters
    ----------
    address : str
        ``sqlite:///PATH``, ``postgresql://...`` or ``mysql://...``.
    name : str
    settings : mapping or None
        What the trials depend on, JSON-safe; a study that was made with other settings is refused. None opens
        the study as it is.
    sampler, pruner : optional
        Of this process.

    Raises
    ------
    DataError
        If the address cannot be used, or the study was made with other settings.
    MissingPackageError
        If the driver of the database is not installed.
    """
    import optuna

    study = optuna.create_study(
        storage=_storage(address),
        study_name=name,
        direction="minimize",
        load_if_exists=True,
        sampler=sampler,
        pruner=pruner,
    )
    if settings is not None:
        _claim(study, name, settings)
    return study


def counted(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Return the trials that need not be done again: finished, failed for good, under way, or waiting."""
    from optuna.trial import TrialState

    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state != TrialState.FAIL or FAILED in trial.user_attrs
    ]


def is_running(trial: optuna.trial.FrozenTrial) -> bool:
    """Return whether a trial is under way."""
    from optuna.trial import TrialState

    return trial.state == TrialState.RUNNING


def add_missing(study: optuna.Study, space: Space, n_trials: int | None) -> None:
    """Put on the waiting list what was not begun or was broken off: of a grid, or of a search.

    Parameters
    ----------
    study : optuna.Study
    space : Space
    n_trials : int or None
        How many trials a search has; None for a grid.
    """
    from optuna.trial import TrialState

    _bury_dead(study)
    have = [parameters_of(trial) for trial in counted(study)]
    if n_trials is None:
        wanted = space.settings()
    else:
        wanted = [
            dict(trial.params)
            for trial in study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
            if not trial.user_attrs.keys() & {FAILED, SKIPPED}
            and trial.params.keys() == space.parameters.keys()
        ][: max(0, n_trials - len(have))]
    for setting in wanted:
        if setting not in have:
            have.append(setting)
            study.enqueue_trial(setting)


def this_owner() -> str:
    """Return who runs a trial: this machine and process."""
    return f"{platform.node()}:{os.getpid()}"


def parameters_of(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """Return the setting of a trial, also of one that waits."""
    return dict(trial.params or trial.system_attrs.get("fixed_params", {}))


def _bury_dead(study: optuna.Study) -> None:
    """Break off the trials of processes of this machine that are no more."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        machine, _, process = trial.user_attrs.get(OWNER, "").rpartition(":")
        if machine == platform.node() and not _is_alive(int(process)):
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


def _is_alive(process: int) -> bool:
    if os.name != "posix":
        return True  # There, asking would end the process; the missing signs of life will tell.
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _claim(study: optuna.Study, name: str, settings: Mapping[str, Any]) -> None:
    found = study.user_attrs.get(_SETTINGS)
    if found is None:
        study.set_user_attr(_SETTINGS, dict(settings))
        return
    other = [key for key in settings if found.get(key) != settings[key]]
    if other:
        raise DataError(
            f"the sweep {name!r} was begun with other settings ({', '.join(other)}); go on with the same "
            "ones, or begin another in a new folder or under a new name"
        )


def _storage(address: str) -> optuna.storages.BaseStorage:
    import optuna
    import sqlalchemy

    scheme = address.partition(":")[0].partition("+")[0]
    if scheme not in _SCHEMES or not address.partition("://")[2].strip("/"):
        raise DataError(
            f"{_shown(address)} is no storage; expected sqlite:///PATH, postgresql://... or mysql://..."
        )
    try:
        return _opened(address, scheme)
    except ImportError as error:
        missing = _missing_module(error)
        raise MissingPackageError(
            f"the storage {_shown(address)} needs the driver {missing}, which is not installed: "
            f"pip install '{_DRIVERS.get(missing, missing)}'"
        ) from None
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        reason = str(getattr(error, "orig", None) or error.__cause__ or error).strip().splitlines()[0]
        raise DataError(f"the storage {_shown(address)} cannot be opened: {reason}") from None


def _opened(address: str, scheme: str) -> optuna.storages.BaseStorage:
    """Open a storage; where another machine is just making its tables, try again."""
    import optuna
    import sqlalchemy

    arguments = {"connect_args": {"timeout": _PATIENCE}} if scheme == "sqlite" else {"pool_pre_ping": True}
    for attempt in range(_ATTEMPTS):
        try:
            storage = optuna.storages.RDBStorage(
                address, engine_kwargs=arguments, heartbeat_interval=_HEARTBEAT, grace_period=_GRACE
            )
            if scheme == "sqlite":
                _let_one_write_at_a_time(storage.engine)
            return storage
        except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            made_twice = isinstance(error, sqlalchemy.exc.IntegrityError) or "already exists" in str(error)
            if not made_twice or attempt == _ATTEMPTS - 1:
                raise
            time.sleep(1)
    raise AssertionError("the last attempt raises")


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


def _missing_module(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ModuleNotFoundError) and cause.name:
            return cause.name
        cause = cause.__cause__ or cause.__context__
    return str(error)


def _shown(address: str) -> str:
    """Return an address without its password."""
    scheme, _, rest = address.partition("://")
    login, at, place = rest.rpartition("@")
    return f"{scheme}://{login.partition(':')[0]}{at}{place}" if rest else address
