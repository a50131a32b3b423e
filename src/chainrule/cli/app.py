"""The command as a whole: which subcommands there are, and how each of them ends."""

from __future__ import annotations

import io
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from chainrule import __version__
from chainrule.cli.doctor import package_of
from chainrule.cli.notes import notes_on_standard_error
from chainrule.cli.output import say
from chainrule.cli.tasks import COMMANDS, epilog_of
from chainrule.errors import ChainruleError

__all__ = ["app", "main", "run"]

BAD_INPUT = 2
INTERNAL_ERROR = 1
INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM


class _Terminated(KeyboardInterrupt):
    """SIGTERM: whoever ends the command politely gets what Ctrl-C does."""


class _Interrupted(typer.TyperException):
    """Ctrl-C or SIGTERM, in a form that typer passes on instead of swallowing the message."""

    def __init__(self, interrupt: KeyboardInterrupt) -> None:
        super().__init__(str(interrupt) or "interrupted")
        self.exit_code = TERMINATED if _began_with_sigterm(interrupt) else INTERRUPTED


def _began_with_sigterm(interrupt: BaseException | None) -> bool:
    while interrupt is not None and not isinstance(interrupt, _Terminated):
        interrupt = interrupt.__context__
    return interrupt is not None


class _Group(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            raise _Interrupted(interrupt) from interrupt


app: typer.Typer = typer.Typer(
    name="chainrule",
    cls=_Group,
    help="Estimate probability distributions exactly: fit models to rows, compare, score and sample them.",
    epilog="DATA is a named data set (chainrule datasets lists them) or a path: csv, tsv, parquet, npy, npz, "
    "NAME.ts.data.gz, idx, or a folder or tar of images.",
    rich_markup_mode="rich",
)
for command in COMMANDS:
    app.command(rich_help_panel=command.task, epilog=epilog_of(command))(command.run)

_NEXT_STEPS = f"""\
chainrule {__version__}: exact probability distributions of tables, binary vectors and images

  chainrule compare digits       fit models to data that come along, and test them; writes a report
  chainrule compare FILE.csv     the same for a table of your own
  chainrule --help               all commands; COMMAND --help has examples of each
"""


def _print_version(asked: bool) -> None:
    if asked:
        print(f"chainrule {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(_NEXT_STEPS, end="")


def main() -> None:
    """Run the command with the arguments of this process, and exit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without Unicode gets "\\xb1", not an error
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, terminate)
    _let_waiting_threads_sleep()
    sys.exit(run(sys.argv[1:]))


def _let_waiting_threads_sleep() -> None:
    """Have OpenMP's threads sleep soon when they wait for one another, before anything loads OpenMP.

    They would spin for milliseconds, and do little else where other programs have the cores: a fit of seven
    seconds took a quarter of an hour.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def terminate(number: int, frame: FrameType | None) -> None:
    """Handle SIGTERM as Python handles Ctrl-C: everything that is under way is put in order first."""
    raise _Terminated


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code.

    Parameters
    ----------
    arguments : sequence of str
        What stands after ``chainrule`` on the command line.

    Returns
    -------
    int
        0 for success, 2 for bad input, 130 after Ctrl-C, 143 after SIGTERM, 1 for an error of chainrule
        itself; in all but the first case one line on standard error says why. With the environment variable
        CHAINRULE_DEBUG set, an error of chainrule itself is raised instead.
    """
    with warnings.catch_warnings(), notes_on_standard_error():
        warnings.showwarning = _show_each_once()
        try:
            code = typer.main.get_command(app).main(
                list(arguments), prog_name="chainrule", standalone_mode=False
            )
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever read our output has seen enough. Python would complain again on closing the stream.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except Exception as error:
            return _explain(error)
    return code if isinstance(code, int) else 0


def _explain(error: Exception) -> int:
    """Print one line for an error, and return the exit code that goes with it."""
    if isinstance(error, typer.TyperException):
        return _explain_usage(error)
    if isinstance(error, ChainruleError | FloatingPointError):  # the latter: a fit that diverged
        say(f"error: {error}")
        return BAD_INPUT
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        say(f"error: {place}{error.strerror or error}")
        return BAD_INPUT
    if isinstance(error, MemoryError):
        say(f"error: not enough memory {error}; use fewer rows, a smaller model or a smaller --batch-size")
        return BAD_INPUT
    if isinstance(error, ModuleNotFoundError) and (package := package_of(error.name)):
        say(f"error: this needs {package}, which is not installed: pip install {package}")
        return BAD_INPUT
    if os.environ.get("CHAINRULE_DEBUG"):
        raise error
    say(f"internal error: {type(error).__name__}: {error}; set CHAINRULE_DEBUG=1 to see where it comes from")
    return INTERNAL_ERROR


def _explain_usage(error: typer.TyperException) -> int:
    context = getattr(error, "ctx", None)
    hint = f" (see {context.command_path} --help)" if context else ""
    if message := error.format_message().replace("Value error, ", ""):
        say(message if isinstance(error, _Interrupted) else f"error: {message}{hint}")
    return error.exit_code


def _show_each_once() -> Callable[..., None]:
    """Return a printer of warnings as one line each, and each once.

    Those of batches of rows differ in the number of rows that they begin with.
    """
    shown: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        what = str(message).lstrip("0123456789")
        if what not in shown:
            shown.add(what)
            say(f"warning: {message}")

    return show
