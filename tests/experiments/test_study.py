"""Studies: steps that are kept, how they are found, the command around them."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import EntryPoint, EntryPoints
from types import ModuleType

import numpy as np
import pytest

from chainrule.cli import run
from chainrule.errors import DataError
from chainrule.experiments import studies
from chainrule.experiments.studies import GROUP, Study, installed_studies, load_study
from chainrule.experiments.study import StudyResult, StudyRun, run_study
from chainrule.report.blocks import Block, Table
from chainrule.report.page import write_page

NAMES = ["binarized-mnist", "categorical-2d", "mixture-or-chain", "published", "two-gaussians"]


class Counter:
    """A computation that knows how often it was done."""

    def __init__(self, result):
        self.result, self.calls = result, 0

    def __call__(self):
        self.calls += 1
        return self.result


@pytest.fixture
def steps(tmp_path):
    return StudyRun(tmp_path)


# ---------------------------------------------------------------- steps


def test_a_step_is_done_once(steps, tmp_path):
    compute = Counter({"a": np.float64(0.1), "b": np.arange(3), "c": math.inf})
    first = steps.step("one", compute, {"size": 3})
    again = StudyRun(tmp_path).step("one", compute, {"size": 3})
    assert first == again == {"a": 0.1, "b": [0, 1, 2], "c": math.inf}
    assert compute.calls == 1


def test_a_step_with_other_settings_is_done_anew(steps):
    compute = Counter({})
    steps.step("one", compute, {"size": 3})
    steps.step("one", compute, {"size": 4})
    assert compute.calls == 2


@pytest.mark.parametrize("method", ["step", "arrays"])
def test_a_damaged_step_is_done_anew(steps, tmp_path, method):
    compute = Counter({"a": np.arange(1000)})
    getattr(steps, method)("one", compute)
    (path,) = (tmp_path / "steps").iterdir()
    path.write_bytes(path.read_bytes()[:40])
    assert list(getattr(steps, method)("one", compute)["a"]) == list(range(1000))
    assert compute.calls == 2


def test_an_interrupted_step_leaves_nothing(steps, tmp_path):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        steps.step("one", interrupted)
    assert steps.step("one", Counter({"a": 1})) == {"a": 1}
    assert [path.name for path in (tmp_path / "steps").iterdir()] == ["one.json"]


def test_arrays_come_back_as_they_were(steps, tmp_path):
    arrays = {"x": np.random.default_rng(0).normal(size=(3, 2)), "n": np.arange(4, dtype=np.uint8)}
    compute = Counter(arrays)
    steps.arrays("one", compute)
    back = StudyRun(tmp_path).arrays("one", compute)
    assert compute.calls == 1 and back.keys() == arrays.keys()
    assert all(np.array_equal(back[name], arrays[name]) for name in arrays)
    assert back["n"].dtype == np.uint8


def test_a_finished_step_needs_its_checkpoint_no_more(steps):
    steps.checkpoint("one").write_bytes(b"state")
    steps.step("one", Counter({}))
    assert not steps.checkpoint("one").exists()


def test_time_counts_steps_of_earlier_runs(steps, tmp_path):
    steps.step("one", Counter({}))
    later = StudyRun(tmp_path)
    later.step("one", Counter({}))
    assert later.seconds == steps.seconds > 0


@pytest.mark.parametrize("key", ["", "../x", "a b", "a/b"])
def test_a_key_must_be_the_name_of_a_file(steps, key):
    with pytest.raises(ValueError, match="key of letters"):
        steps.step(key, Counter({}))


# ---------------------------------------------------------------- a study as a whole


def install(monkeypatch, *entries):
    """Let these entry points stand in the place of the installed ones."""
    monkeypatch.setattr(studies, "entry_points", lambda group: EntryPoints(entries).select(group=group))


@pytest.fixture
def toy(monkeypatch):
    """Put a small study of two steps in the place of the real ones; it can be told to be interrupted."""
    state = {"interrupt": False, "done": [], "missing": False}

    def study(run):
        run.step("one", lambda: state["done"].append("one") or {"value": run.random_state})
        if state["interrupt"]:
            raise KeyboardInterrupt
        value = run.step("two", lambda: state["done"].append("two") or {"value": math.nan})
        table = Table(["model", "nats"], [["<b>", "1.0"], ["c", "2.0"]], [1], "a caption")
        section = Block("Numbers", "First.\n\nSecond.", table=table)
        return StudyResult({"value": value["value"]}, [section], ["It is so."])

    def check(options):
        if state["missing"]:
            raise DataError("no data here; point --data to them")

    module = ModuleType("toy_study")
    module.STUDY = Study("Toy", "a toy", "a toy", "toy_study", 100, 0.5, frozenset({"n"}))
    module.run, module.check = study, check
    monkeypatch.setitem(sys.modules, "toy_study", module)
    install(monkeypatch, EntryPoint("toy", "toy_study:STUDY", GROUP))
    return state


def test_results_and_report_are_written(toy, tmp_path):
    result = run_study("toy", tmp_path / "run", quick=True, random_state=7, options={"n": 30})
    written = json.loads((tmp_path / "run" / "results.json").read_text(), parse_constant=pytest.fail)
    assert written == result.results
    expected = {"study": "toy", "quick": True, "random_state": 7, "options": {"n": 30}, "value": None}
    assert expected.items() <= written.items()
    assert written["verdict"] == ["It is so."] and written["seconds"] > 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "It is so." in page and "&lt;b&gt;" in page and "<p>Second.</p>" in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)


def test_an_interrupted_study_goes_on(toy, tmp_path, capsys):
    toy["interrupt"] = True
    arguments = ["experiment", "toy", "--out", str(tmp_path / "run")]
    assert run(arguments) == 130
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"toy: about 1.7 hours on two cores, into {tmp_path / 'run'}"
    assert "the same command" in lines[-1] and str(tmp_path / "run") in lines[-1]
    toy["interrupt"] = False
    assert run([*arguments, "--json", str(tmp_path / "copy.json")]) == 0
    assert toy["done"] == ["one", "two"]
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert json.loads((tmp_path / "copy.json").read_text()) == results


def test_a_run_folder_serves_one_run(toy, tmp_path):
    run_study("toy", tmp_path / "run")
    with pytest.raises(DataError, match="other settings"):
        run_study("toy", tmp_path / "run", random_state=1)


def test_a_folder_with_other_things_is_refused(toy, tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(DataError, match="not empty"):
        run_study("toy", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nonesuch"], "there are toy"),
        (["toy", "--data", "x"], "no option --data"),
        (["toy", "--n", "3"], "--n"),
        (["toy", "--json", "no-such-folder/x.json"], "no-such-folder"),
    ],
)
def test_bad_input_is_one_line(toy, arguments, expected, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["experiment", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line
    assert not any(tmp_path.iterdir())


def test_missing_data_are_one_line_before_anything_is_done(toy, capsys, tmp_path):
    toy["missing"] = True
    assert run(["experiment", "toy", "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.splitlines() == ["error: no data here; point --data to them"]
    assert not (tmp_path / "run").exists() and toy["done"] == []


def test_studies_are_listed(capsys):
    assert run(["experiment"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_study_can_be_loaded_under_its_name(name):
    study = load_study(name, installed_studies()[name].options)
    assert study.title and study.description and study.summary
    assert study.quick_minutes <= 2
    assert callable(import_module(study.module).run)


def test_studies_are_listed_without_numerical_libraries():
    code = "import sys; from chainrule.experiments import studies; studies.installed_studies(); "
    code += "print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "chainrule_studies.two_gaussians" in done.stdout.split()
    assert not set(done.stdout.split()) & {"torch", "numpy", "sklearn", "matplotlib"}


@pytest.mark.parametrize("arguments", [[], ["two-gaussians"], ["two-gaussians", "--quick"]])
def test_where_no_studies_are_installed_one_line_says_what_to_install(arguments, monkeypatch, capsys):
    install(monkeypatch)
    assert run(["experiment", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: no studies are installed") and "pip install ./studies" in line


def test_a_table_needs_as_many_cells_as_headings(tmp_path):
    with pytest.raises(ValueError, match="2 cells"):
        Table(["a", "b"], [["1"]])
    with pytest.raises(ValueError, match="layout"):
        Block("x", layout="triptych")
    write_page(tmp_path / "empty.html", "Empty", [], [], [])
    assert "<h1>Empty</h1>" in (tmp_path / "empty.html").read_text()
