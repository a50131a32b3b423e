"""`chainrule fit` by several processes: those that torchrun has started, or workers of a cluster."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from chainrule.estimators import DensityEstimator
    from chainrule.training.parallel import Group

__all__ = ["WorkersOption", "joined", "save_by_first"]

WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="With --engine ray: share out the rows of each batch among so many workers; --out must be a "
        "folder that all of them reach.",
    ),
]


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
