"""Studies: steps that are kept, what the quick versions claim, the command around them."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest

from chainrule.cli import run
from chainrule.datasets.synthetic import TwinGaussians
from chainrule.errors import DataError
from chainrule.experiments import registry
from chainrule.experiments.known_truth import ConditionalGrid, KnownRows
from chainrule.experiments.registry import STUDIES, StudyEntry, load_study
from chainrule.experiments.study import Study, StudyResult, StudyRun, run_study
from chainrule.report.blocks import Block, Table
from chainrule.report.page import write_page


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

    module = type("Module", (), {"STUDY": Study("toy", "Toy", "a toy", "synthetic", study, check)})
    monkeypatch.setattr(registry, "import_module", lambda name: module)
    monkeypatch.setitem(STUDIES, "toy", StudyEntry("toy", "a toy", 100, 0.5, frozenset({"n"})))
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
        (["nonesuch"], "two-gaussians"),
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
    assert all(name in listed for name in STUDIES)


@pytest.mark.parametrize("name", STUDIES)
def test_each_study_can_be_loaded_under_its_name(name):
    study = load_study(name, STUDIES[name].options)
    assert study.name == name and study.title and study.description
    assert STUDIES[name].quick_minutes <= 2


def test_a_table_needs_as_many_cells_as_headings(tmp_path):
    with pytest.raises(ValueError, match="2 cells"):
        Table(["a", "b"], [["1"]])
    with pytest.raises(ValueError, match="layout"):
        Block("x", layout="triptych")
    write_page(tmp_path / "empty.html", "Empty", [], [], [])
    assert "<h1>Empty</h1>" in (tmp_path / "empty.html").read_text()


# ---------------------------------------------------------------- a known truth


@pytest.mark.parametrize("n_variables", [1, 2, 8])
def test_twin_gaussians_know_their_entropy(n_variables):
    truth = TwinGaussians(n_variables, shift=0.5, scale=0.5)
    nats = truth.log_density(truth.sample(200_000, np.random.default_rng(0)))
    assert -nats.mean() == pytest.approx(truth.entropy(), abs=4 * nats.std() / math.sqrt(len(nats)))


def test_conditionals_of_twin_gaussians_are_densities():
    truth = TwinGaussians(3, shift=1.0, scale=0.4)
    grid = ConditionalGrid(truth, np.array([[0.0, 0.0], [1.0, 0.8], [-0.3, 0.1]]))
    assert np.trapezoid(grid.true, grid.points, axis=1) == pytest.approx(1, abs=1e-6)
    # Undecided by the two others, the third is on either side equally often.
    assert grid.true[0] == pytest.approx(grid.true[0, ::-1])


class Scores:
    """A distribution that scores rows as a model does."""

    def __init__(self, truth):
        self.truth = truth

    def score_samples(self, rows):
        return self.truth.log_density(rows)


def test_conditional_errors_are_total_variation():
    truth = TwinGaussians(2, shift=2.0, scale=0.5)
    grid = ConditionalGrid(truth, np.array([[-2.0], [0.0], [2.0]]))
    assert grid.errors(grid.learned(Scores(truth))) == pytest.approx(0, abs=1e-6)
    # Where rows are, the conditional is one Gaussian: wider by half against the truth.
    wide = TwinGaussians(2, shift=2.0, scale=0.75)
    at = math.sqrt(2 * math.log(1.5) / (1 / 0.25 - 1 / 0.5625))
    expected = math.erf(at / 0.5 / math.sqrt(2)) - math.erf(at / 0.75 / math.sqrt(2))
    assert grid.errors(grid.learned(Scores(wide)))[[0, 2]] == pytest.approx(expected, abs=2e-3)


def test_rows_of_a_known_truth_share_nothing():
    rows = KnownRows.draw(TwinGaussians(2, 2.0, 0.5), 100, 50, 3)
    assert (len(rows.train), len(rows.valid), len(rows.test)) == (80, 20, 50)
    together = np.concatenate([rows.train, rows.valid, rows.test])
    assert len(np.unique(together, axis=0)) == 150
    assert rows.loss("test") == pytest.approx(-rows.truth.log_density(rows.test).mean())


# ---------------------------------------------------------------- the quick versions


@pytest.fixture(scope="module")
def two_gaussians(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two-gaussians")
    return run_study("two-gaussians", folder, quick=True).results


def test_networks_come_close_to_the_two_gaussians(two_gaussians):
    assert two_gaussians["entropy"] == pytest.approx(2.1447, abs=1e-4)
    assert two_gaussians["n_train"] + two_gaussians["n_valid"] == 1000
    models = {model["model"]: model for model in two_gaussians["models"]}
    for name, most in (("GMM", 0.03), ("NADE", 0.1), ("MADE", 0.1)):
        gap, error = models[name]["gap_to_truth"], models[name]["gap_standard_error"]
        assert -2 * error < gap < most
        where_rows_are = [0, 1, 3, 4]
        assert max(models[name]["conditional_errors"][i] for i in where_rows_are) < 0.2
    # Two full Gaussians are the true form, and start from what the networks have to find out.
    assert models["GMM"]["gap_to_truth"] < min(models[name]["gap_to_truth"] for name in ("NADE", "MADE"))
    assert models["GMM"]["n_parameters"] == 11


def test_settings_are_chosen_on_validation_rows(two_gaussians):
    for model in two_gaussians["models"]:
        best = max(model["candidates"], key=lambda candidate: candidate["valid"])
        assert best["settings"] == model["settings"]
        assert best["valid"] == model["valid_log_likelihood"]


def test_settings_of_a_made_do_what_the_study_says(two_gaussians):
    groups = two_gaussians["settings"]
    assert {"layers", "size", "nade-size", "activation", "masking"} == groups.keys()
    outcomes = [outcome for group in groups.values() for outcome in group]
    for outcome in outcomes:
        # Nothing is better than the truth on rows that it has not seen, and rows seen are no worse.
        assert outcome["test"]["mean"] > -2 * outcome["test"]["standard_error"]
        if "one at a time" not in outcome["setting"]:
            assert outcome["train"]["mean"] < outcome["test"]["mean"]
    masking = {outcome["setting"]: outcome["test"]["mean"] for outcome in groups["masking"]}
    averaged = masking["4 masks, each step, averaged"]
    assert averaged < masking["4 masks, each step, one at a time"]


def test_one_hot_inputs_beat_the_others(data_folder, tmp_path):
    results = run_study("categorical-2d", tmp_path, quick=True).results
    assert results["floor_bits"] == pytest.approx(15.1769, abs=5e-5)
    models = {model["model"]: model for model in results["models"]}
    for model in models.values():
        # The divergence is exact, and the estimate from test rows agrees with it.
        assert model["exact_excess_bits"] > 0
        error = 4 * model["excess_standard_error"]
        assert model["excess_bits"] == pytest.approx(model["exact_excess_bits"], abs=error)
    assert results["one_hot_within_tolerance"] and models["one-hot"]["excess_bits"] < 0.2
    assert len(results["one_hot_beats"]) == 3
    naive = models["naive, p(x1) p(x2)"]["exact_excess_bits"]
    assert models["one-hot"]["exact_excess_bits"] < 0.75 * naive
