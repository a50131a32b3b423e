"""The `chainrule` command as people meet it: its help, examples, completion, next steps, `doctor`."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import subprocess
import sys
from importlib.metadata import metadata

import pytest
import typer

import chainrule
from chainrule.cli import doctor as doctor_module
from chainrule.cli import run
from chainrule.cli.app import app
from chainrule.cli.completion import complete_data, complete_model
from chainrule.cli.tasks import COMMANDS

NAMES = [command.run.__name__ for command in COMMANDS]
LINES = [example.line for command in COMMANDS for example in command.examples]


def completed(words, monkeypatch, capsys):
    """Return what bash would be offered for the last of some words."""
    monkeypatch.setenv("_CHAINRULE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", " ".join(["chainrule", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    with pytest.raises(SystemExit) as end:
        run([])
    assert end.value.code == 0
    return capsys.readouterr().out.split()


def test_every_command_stands_under_a_task(capsys):
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    for command in COMMANDS:
        assert command.task in shown
        assert re.search(rf"\b{command.run.__name__}\b", shown)
    assert shown.count("Commands") == 0  # the panel of commands that have no task


@pytest.mark.parametrize("command", COMMANDS, ids=NAMES)
def test_every_command_shows_examples_of_itself_as_they_are_typed(command, capsys):
    assert command.examples
    assert run([command.run.__name__, "--help"]) == 0
    shown = capsys.readouterr().out.split()
    for example in command.examples:
        words = example.line.split()
        assert words[:2] == ["chainrule", command.run.__name__]
        assert any(shown[n : n + len(words)] == words for n in range(len(shown)))


@pytest.mark.parametrize("line", LINES)
def test_examples_can_be_parsed(line):
    words = shlex.split(line)[1:]
    group = typer.main.get_command(app)
    command = group.get_command(None, words[0])
    assert command.make_context(words[0], words[1:]).params


def test_the_bare_command_shows_three_next_steps_that_work(capsys):
    assert run([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"chainrule {chainrule.__version__}")
    steps = [line.split("  ")[1] for line in lines[1:] if line]
    assert len(steps) == 3
    names = {step.split()[1] for step in steps}
    assert names <= {*NAMES, "--help"}


def test_the_shell_completes_commands_options_and_models(monkeypatch, capsys):
    assert completed(["sc"], monkeypatch, capsys) == ["score"]
    assert completed(["fit", "--hidden"], monkeypatch, capsys) == ["--hidden-sizes"]
    assert completed(["fit", "digits", "--model", "ma"], monkeypatch, capsys) == ["made"]
    assert "digits" in completed(["compare", "di"], monkeypatch, capsys)


def test_completion_can_be_installed(capsys):
    assert run(["--help"]) == 0
    assert "--install-completion" in capsys.readouterr().out


def test_paths_are_completed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people.csv").write_text("a\n1\n")
    model = tmp_path / "pebbles"
    model.mkdir()
    (model / "model.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"")
    (tmp_path / "peaks").mkdir()
    assert complete_data("pe") == ["peaks/", "pebbles/", "people.csv"]
    assert complete_model("pe") == ["peaks/", "pebbles"]
    assert complete_model(str(tmp_path / "peb")) == [str(model)]


@pytest.mark.parametrize(("given", "spins"), [({}, "1000"), ({"OMP_WAIT_POLICY": "active"}, None)])
def test_waiting_threads_sleep_unless_somebody_says_otherwise(given, spins):
    script = """if True:
        import atexit, os, sys
        from chainrule.cli import main
        assert "torch" not in sys.modules  # which reads the variable when it is loaded
        sys.argv[1:] = ["--version"]
        atexit.register(lambda: print(os.environ.get("GOMP_SPINCOUNT")))
        main()"""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OMP", "GOMP"))}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment | given
    )
    assert done.stdout.splitlines()[-1] == str(spins)


def test_doctor_finds_what_is_needed(capsys):
    assert run(["doctor", "--json", "-"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["chainrule"]["version"] == chainrule.__version__
    assert found["problems"] == []
    assert found["threads"]["threads"] >= 1
    assert found["devices"][0] == "cpu"
    extras = set(metadata("chainrule").get_all("Provides-Extra"))
    assert {extra["name"] for extra in found["extras"]} == extras - {"docs", "release", "test"}
    for name in ("chainrule", "python", "threads", "kernels", "data", "result"):
        assert re.search(rf"^{name} ", captured.err, re.MULTILINE)


def test_doctor_says_where_data_sets_are_looked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CHAINRULE_DATA", str(tmp_path / "nowhere"))
    assert run(["doctor"]) == 0
    assert re.search(r"CHAINRULE_DATA=\S*nowhere, which is no folder", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("needs", "problem"),
    [
        (["numpy>=2.0", "no-such-package>=3"], "not installed; pip install 'no-such-package>=3'"),
        (["numpy>=9999"], "is not >=9999; pip install 'numpy>=9999'"),
    ],
)
def test_doctor_ends_with_1_when_something_needed_is_missing(needs, problem, monkeypatch, capsys):
    class Own:
        requires = needs

        class metadata:
            @staticmethod
            def get_all(name):
                return []

    monkeypatch.setattr(doctor_module, "_own_distribution", Own)
    assert run(["doctor", "--json", "-"]) == 1
    captured = capsys.readouterr()
    (found,) = json.loads(captured.out)["problems"]
    assert found.endswith(problem)
    assert problem in captured.err


def test_a_broken_package_is_a_problem(monkeypatch):
    def import_broken(name):
        raise OSError("libsomething.so: cannot open shared object file")

    monkeypatch.setattr(doctor_module, "import_module", import_broken)
    packages = doctor_module._packages()
    assert all("cannot be imported: OSError" in package.problem for package in packages)


def test_doctor_names_how_to_install_an_extra(monkeypatch):
    class Own:
        requires = ["no-such-package>=3; extra == 'games'", "numpy>=2.0; extra == 'numbers'"]

        class metadata:
            @staticmethod
            def get_all(name):
                return ["numbers", "games"]

    monkeypatch.setattr(doctor_module, "_own_distribution", Own)
    games, numbers = doctor_module._extras()
    assert games.missing == ["no-such-package"]
    assert games.command == "pip install 'chainrule[games]'"
    assert numbers.missing == []


def test_what_the_library_logs_is_a_line_on_standard_error_during_a_command_only(monkeypatch, capsys):
    def log():
        logging.getLogger("chainrule.kernels.compiling").info("kernels are compiled")
        return []

    monkeypatch.setattr("chainrule.datasets.dataset_names", log)
    assert run(["datasets"]) == 0
    assert capsys.readouterr().err == "note: kernels are compiled\n"
    log()
    assert capsys.readouterr().err == ""
