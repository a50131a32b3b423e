"""Questions about events on the command line: `chainrule ask`, `chainrule sample --where`."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from chainrule import load
from chainrule.cli import run


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rng = np.random.default_rng(0)
    sex = rng.choice(["female", "male"], size=200)
    frame = pl.DataFrame(
        {
            "sex": sex,
            "age": np.append([18, 69], rng.integers(18, 70, size=198)),
            "hours-per-week": rng.normal(38, 5, size=200) + 4 * (sex == "male"),
            "plan": rng.choice(["a", "b", "it's"], size=200),
        }
    )
    path = tmp_path_factory.mktemp("data") / "people.csv"
    frame.write_csv(path)
    return path


@pytest.fixture(scope="module")
def free(table, tmp_path_factory):
    """The folder of a model of any order."""
    folder = tmp_path_factory.mktemp("models") / "free"
    command = ["fit", str(table), "--model", "orderless-nade", "--out", str(folder)]
    assert run([*command, "--max-epochs", "2", "--hidden-sizes", "8"]) == 0
    return folder


def asked(folder, question, *options, capsys):
    capsys.readouterr()
    assert run(["ask", str(folder), question, "--json", "-", *options]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_probability_is_that_of_python(free, capsys):
    question = "P(\"hours-per-week\" > 40 | age BETWEEN 30 AND 40 AND plan <> 'it''s')"
    found = asked(free, question, capsys=capsys)
    expected = load(free).ask(question, random_state=0)
    assert list(found) == [
        "question",
        "value",
        "standard_error",
        "method",
        "n_effective",
        "spread",
        "seconds",
    ]
    assert found["question"] == question and found["method"] == "exact" and found["n_effective"] is None
    assert found["value"] == expected.value and 0 < found["value"] < 1


def test_sampled_answers_repeat_with_their_seed_and_reach_the_error_asked_for(free, capsys):
    question = 'E("hours-per-week" | "hours-per-week" > 40)'
    first, again, other = (
        asked(free, question, "--error", "0.1", "--seed", seed, capsys=capsys) for seed in ("1", "1", "2")
    )
    assert first["method"] == "sampling" and first["standard_error"] <= 0.1 and first["n_effective"] > 100
    assert first["value"] == again["value"] != other["value"] and first["value"] > 40


def test_distributions_and_quantiles_are_lists_of_pairs(free, capsys):
    plans = asked(free, "distribution(plan | sex = 'male')", capsys=capsys)["value"]
    assert [level for level, _ in plans] == ["a", "b", "it's"]
    assert sum(p for _, p in plans) == pytest.approx(1)
    ages = asked(free, "quantiles(age)", capsys=capsys)["value"]
    assert [level for level, _ in ages] == [0.05, 0.25, 0.5, 0.75, 0.95]
    assert ages == sorted(ages) and 18 <= ages[0][1] <= ages[-1][1] <= 69


def test_an_answer_for_people_says_how_it_came_about(free, capsys):
    assert run(["ask", str(free), "P(sex = 'male')"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 0 < float(lines[0]) < 1 and lines[1].startswith("exact, ")
    assert run(["ask", str(free), "distribution(plan)"]) == 0
    assert "it's" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ("P(agee > 30)", "there is no column 'agee'; did you mean 'age'? (at 'agee > 30)', letter 3)"),
        ("P(sex = 'mail')", "has no level 'mail'"),
        ("P(age BETWEEN 40 AND 30)", "upside down"),
        ("P(age >> 30)", "only comparisons"),
        ("age > 30", "is no question: ask P("),
        ("P(hours-per-week > 30)", "double quotes"),
        ("P(age > 1; DROP TABLE people)", "only comparisons"),
        ("P(IF age > 1)", "only comparisons"),  # which sqlglot would log
    ],
)
def test_bad_questions_get_one_line(free, question, message, capsys):
    assert run(["ask", str(free), question]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and message in captured.err
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1


def test_a_question_that_cannot_be_read_is_refused_before_the_model_is_looked_for(tmp_path, capsys):
    assert run(["ask", str(tmp_path / "nowhere"), "P(age > )"]) == 2
    assert "no condition that can be read" in capsys.readouterr().err


def test_a_model_without_orders_is_refused(table, tmp_path, capsys):
    folder = tmp_path / "mixture"
    assert run(["fit", str(table), "--model", "mixture", "--out", str(folder)]) == 0
    capsys.readouterr()
    assert run(["ask", str(folder), "P(age > 30)"]) == 2
    assert "answers no such questions; fit --model orderless-nade" in capsys.readouterr().err


def test_rows_of_a_condition(free, tmp_path, capsys):
    out = tmp_path / "rows.csv"
    where = "age BETWEEN 30 AND 40 AND (\"hours-per-week\" > 41.5 OR plan = 'it''s')"
    command = ["sample", str(free), "-n", "300", "--where", where, "--seed", "0"]
    assert run([*command, "--out", str(out), "--json", str(tmp_path / "result.json")]) == 0
    rows = pl.read_csv(out)
    assert len(rows) == len(rows.filter(pl.sql_expr(where))) == 300
    assert json.loads((tmp_path / "result.json").read_text())["given"] == where
    capsys.readouterr()
    assert run([*command, "--given", "sex=male"]) == 2
    assert "--given and --where" in capsys.readouterr().err


def test_rules_at_a_question(free, tmp_path, capsys):
    question, rule = 'E("hours-per-week" | age > 35)', 'age <= "hours-per-week"'
    found = asked(free, question, "--rule", rule, capsys=capsys)
    assert found["rules"] == [rule] and found["method"] == "exact" and found["value"] > 36
    assert found["value"] == pytest.approx(load(free).ask(question, rules=[rule]).value)
    assert found["value"] > asked(free, question, capsys=capsys)["value"]
    out = tmp_path / "rows.csv"
    command = ["sample", str(free), "-n", "300", "--seed", "0", "--out", str(out), "--rule", rule]
    for more in ([], ["--where", "age BETWEEN 30 AND 40"], ["--given", "age=38"]):
        assert run([*command, *more, "--json", str(tmp_path / "result.json")]) == 0
        rows = pl.read_csv(out)
        assert (rows["age"] <= rows["hours-per-week"]).all()
        assert json.loads((tmp_path / "result.json").read_text())["rules"] == [rule]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("agee <= age", "no column 'agee'; did you mean 'age'? (at 'agee <= age', letter 1)"),
        ("age <= plan", "names without an order (at 'plan', letter 8)"),
        ("sex, plan IN observed", "only if it was fitted with the rule: fit with it (at 'sex, plan IN obse"),
        ("age < ", "no condition that can be read"),
        ("age <= 30", "an inequality stands between two columns"),
    ],
)
def test_bad_rules_get_one_line(free, rule, message, capsys):
    for command in (["ask", str(free), "P(age > 30)"], ["sample", str(free)]):
        assert run([*command, "--rule", rule]) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and message in captured.err
        assert captured.err.startswith("error: ") and captured.err.count("\n") == 1


def test_rows_of_a_condition_that_cannot_be(free, capsys):
    assert run(["sample", str(free), "--where", "age > 40 AND age < 30"]) == 2
    assert "contradicts itself" in capsys.readouterr().err
