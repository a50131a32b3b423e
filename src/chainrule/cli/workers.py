"""`chainrule fit` by several processes: those that torchrun has started, or workers of a cluster."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.options import check_engine
from chainrule.cli.output import new_folder, say, working_on
from chainrule.errors import DataError

if TYPE_CHECKING:
    from chainrule.estimators import DensityEstimator
    from chainrule.training.parallel import Group

__all__ = ["WorkersOption", "check_workers", "fit_on_cluster", "joined", "save_by_first"]

WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="With --engine ray: share out the rows of each batch among so many workers; --out must be a "
        "folder that all of them reach.",
    ),
]


def check_workers(engine: str | None, address: str | None, workers: int | None) -> None:
    """Refuse an engine without a number of workers, and the other way round."""
    check_engine(engine, address)
    if engine is not None and workers is None:
        raise DataError(f"--engine {engine} needs --workers N: how many share out the rows of each batch")
    if engine is None and workers is not None:
        raise DataError(f"--workers {workers} goes with --engine ray; on one machine, torchrun does without")


def fit_on_cluster(
    fit: Callable[[], Any], workers: int, address: str | None, out: Path, checkpoint: Path
) -> Any:
    """Let workers of a cluster fit together; return what the first of them does."""
    from chainrule.distributed import fit_by_workers

    with working_on("ray", address), new_folder(out):
        say(f"fitted by {workers} workers; the state of the fit is kept in {checkpoint}")
        return fit_by_workers(fit, workers, out, checkpoint)


@contextmanager
def joined() -> Iterator[Group]:
    """Join the processes that fit together with this one; only the first of them is heard.

    All others raise their errors, too: it may be a file that one machine lacks.
    """
    from chainrule.training.parallel import process_group

    with process_group() as group, ExitStack() as stack:
        if not group.is_first:
            silence = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(redirect_stdout(silence))
            stack.enter_context(redirect_stderr(silence))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        yield group


def save_by_first(estimator: DensityEstimator, folder: Path) -> None:
    """Save what all processes have fitted, once."""
    from chainrule.experiments.kept_fits import save_or_rescue
    from chainrule.training.parallel import current_group

    if current_group().is_first:
        save_or_rescue(estimator, folder)
