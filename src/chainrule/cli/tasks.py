"""The commands by what they are for, each with examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chainrule.cli.ask import ask
from chainrule.cli.compressing import compress, decompress
from chainrule.cli.doctor import doctor
from chainrule.cli.experiment import experiment
from chainrule.cli.explore import explore
from chainrule.cli.export import card, export
from chainrule.cli.fitting import compare, fit
from chainrule.cli.imputing import impute
from chainrule.cli.sweep import sweep
from chainrule.cli.using import datasets, sample, score

__all__ = ["COMMANDS", "Command", "Example", "epilog_of"]


@dataclass(frozen=True)
class Example:
    """A command line, and what it is good for."""

    line: str
    purpose: str


@dataclass(frozen=True)
class Command:
    """A subcommand, the panel of the help that it stands in, and examples of its use."""

    run: Callable[..., None]
    task: str
    examples: tuple[Example, ...]


_FIT = "Fit models"
_USE = "Use a saved model"
_SHARE = "Share a saved model"
_LOOK = "Look around"

COMMANDS = (
    Command(
        compare,
        _FIT,
        (
            Example("chainrule compare digits", "which model fits best; the data come with scikit-learn"),
            Example("chainrule compare people.csv --out runs/people", "the same for a table of your own"),
            Example("chainrule compare people.csv --models made,independent --max-time 60", "in a minute"),
        ),
    ),
    Command(
        fit,
        _FIT,
        (
            Example("chainrule fit people.csv --model orderless-nade --out people", "answers any question"),
            Example("chainrule fit digits --model made --out digits --max-time 60", "stops after a minute"),
            Example(
                "chainrule fit people.csv --model made --out people --kind zip=categorical",
                "say what a column is",
            ),
        ),
    ),
    Command(
        sweep,
        _FIT,
        (
            Example("chainrule sweep people.csv --trials 40", "search the settings of MADE"),
            Example("chainrule sweep digits --grid hidden_sizes=100,500x500 activation=relu,tanh", "a grid"),
        ),
    ),
    Command(
        experiment,
        _FIT,
        (
            Example("chainrule experiment", "list the studies"),
            Example("chainrule experiment two-gaussians --quick", "one of them, in less than two minutes"),
        ),
    ),
    Command(
        score,
        _USE,
        (
            Example("chainrule score people new.csv --split all --out nats.csv", "log p of each row"),
            Example("chainrule score people new.csv --top 20", "the least probable rows, and why"),
            Example("chainrule score people new.csv --split all --given sex,age", "log p(others | sex, age)"),
        ),
    ),
    Command(
        sample,
        _USE,
        (
            Example("chainrule sample people -n 1000 --seed 0 --out more.csv", "rows like those of the fit"),
            Example("chainrule sample people -n 100 --given sex=female", "all of them with this value"),
            Example("chainrule sample people -n 100 --where 'age BETWEEN 30 AND 40'", "in this range"),
        ),
    ),
    Command(
        impute,
        _USE,
        (
            Example("chainrule impute people holes.csv --out whole.csv --how mode", "most probable values"),
            Example("chainrule impute people holes.csv --out whole.csv --draws 5 --seed 0", "five tables"),
        ),
    ),
    Command(
        ask,
        _USE,
        (
            Example('chainrule ask people "P(income > 50000 | age BETWEEN 30 AND 40)"', "a probability"),
            Example("chainrule ask people \"E(income | sex = 'female')\"", "an expectation"),
            Example('chainrule ask people "distribution(state | age > 60)"', "of each level"),
        ),
    ),
    Command(
        explore,
        _USE,
        (Example("chainrule explore people --out people.html", "set some columns and watch the others"),),
    ),
    Command(
        compress,
        _USE,
        (
            Example("chainrule compress people people.csv --out people.crz", "-log2 p bits for each row"),
            Example(
                "chainrule compress people people.csv --out people.crz --resolution weight=0.01",
                "real numbers on a grid",
            ),
        ),
    ),
    Command(
        decompress,
        _USE,
        (Example("chainrule decompress people people.crz --out back.csv", "the rows that went in"),),
    ),
    Command(
        export,
        _SHARE,
        (Example("chainrule export people --out people.onnx", "scores wherever onnxruntime runs"),),
    ),
    Command(
        card,
        _SHARE,
        (
            Example("chainrule card people", "what the model is, as far as its folder tells"),
            Example("chainrule card people --data people.csv", "and what it does on test rows"),
        ),
    ),
    Command(datasets, _LOOK, (Example("chainrule datasets", "names that stand for DATA"),)),
    Command(
        doctor,
        _LOOK,
        (
            Example("chainrule doctor", "what is installed, and whether it works"),
            Example("chainrule doctor --json doctor.json", "for a report of a bug"),
        ),
    ),
)


def epilog_of(command: Command) -> str:
    """Return the examples of a command as its help shows them, each ready to be copied."""
    lines = ["[bold]Examples[/bold]"]
    for example in command.examples:
        lines += [f"  [dim]# {example.purpose}[/dim]", f"  {example.line}"]
    return "\n".join(lines)
