"""Questions on the command line: score and sample given some columns, impute, models of any order."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from chainrule import load
from chainrule.cli import run
from chainrule.datasets import MISSING_WORDS, load_dataset, load_rows, stream_rows
from chainrule.errors import DataError

COLUMNS = ["sex", "age", "height", "job", "ok"]
HOLES = ("", "NA", "?")
TINY = ["--hidden-sizes", "8", "--max-epochs", "2"]


def written(path, table, separator=",", hole=lambda row, column: None):
    """Write a table as text, with what `hole` returns in place of cells."""
    lines = [separator.join(table.columns)]
    for number, row in enumerate(table.rows()):
        cells = [str(value).lower() if isinstance(value, bool) else str(value) for value in row]
        words = [hole(number, column) for column in range(len(cells))]
        lines.append(separator.join(c if w is None else w for c, w in zip(cells, words, strict=True)))
    path.write_text("\n".join(lines) + "\n")
    return path


def some_holes(row, column):
    """Of every fourth row one cell is missing, in one spelling or another."""
    return HOLES[row % 3] if row % 4 == 1 and row % 5 == column else None


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    sex = rng.choice(["female", "male"], size=200)
    return pl.DataFrame(
        {
            "sex": sex,
            "age": rng.integers(18, 70, size=200),
            "height": rng.normal(165, 8, size=200) + 10 * (sex == "male"),
            "job": rng.choice(["a=b", "clerk", "NATO"], size=200),
            "ok": rng.random(200) < 0.5,
        }
    )


@pytest.fixture(scope="module")
def full(table, tmp_path_factory):
    return written(tmp_path_factory.mktemp("data") / "full.csv", table)


@pytest.fixture(scope="module")
def holes(table, tmp_path_factory):
    return written(tmp_path_factory.mktemp("data") / "holes.csv", table, hole=some_holes)


def fitted(data, folder, model, *options):
    assert run(["fit", str(data), "--model", model, "--out", str(folder), *TINY, *options]) == 0
    return folder


@pytest.fixture(scope="module")
def free(full, tmp_path_factory):
    """The folder of a model of any order of the whole table."""
    return fitted(full, tmp_path_factory.mktemp("models") / "orderless-nade", "orderless-nade")


@pytest.fixture(scope="module")
def fixed(full, tmp_path_factory):
    """The folder of a MADE that takes the columns as they stand."""
    return fitted(full, tmp_path_factory.mktemp("models") / "made", "made")


@pytest.fixture
def answer(capsys):
    """Run a command and return its JSON."""

    def ask(*arguments):
        capsys.readouterr()
        code = run([*map(str, arguments), "--json", "-"])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return json.loads(captured.out)

    return ask


@pytest.fixture
def complaint(capsys):
    """Run a command that must refuse, and return its one line."""

    def refuse(*arguments):
        capsys.readouterr()
        code = run([*map(str, arguments)])
        captured = capsys.readouterr()
        assert (code, captured.out) == (2, ""), captured.err
        (line,) = captured.err.splitlines()
        assert line.startswith("error: ")
        return line

    return refuse


# ---------------------------------------------------------------- fit and compare


@pytest.mark.parametrize("size", ["8", "8,6"])
def test_models_of_any_order_are_fitted_to_data_with_holes(holes, tmp_path, answer, size):
    folder = tmp_path / "model"
    options = ["--n-orderings", "3", *TINY, "--hidden-sizes", size, "--out", folder]
    result = answer("fit", holes, "--model", "orderless-nade", *options)
    estimator = load(folder)
    assert result["model"] == type(estimator).__name__
    assert estimator.supports_missing and estimator.n_orderings == 3
    assert estimator.schema_.kinds == ("binary", "ordinal", "continuous", "categorical", "binary")
    assert estimator.schema_.variables[4].levels == (False, True)
    assert not {"?", "NA"} & set(estimator.schema_.variables[3].levels)
    valid = load_dataset(str(holes), missing=MISSING_WORDS).valid
    assert result["valid_log_likelihood"] == pytest.approx(estimator.score(valid))


def test_models_of_fixed_order_refuse_holes_and_name_the_row_of_the_file(table, tmp_path, complaint):
    path = written(tmp_path / "few.csv", table, hole=lambda r, c: "" if r in (6, 8) and c == 2 else None)
    line = complaint("fit", path, "--model", "made", "--out", tmp_path / "model")
    assert "few.csv: column 'height' holds a missing value" in line and "in row 7 (2 such" in line
    assert "OrderlessNADE" in line
    assert not (tmp_path / "model").exists()


def test_compare_averages_models_of_any_order(full, tmp_path, answer):
    options = ["--models", "orderless-nade,made", "--max-epochs", "1", "--orders", "2"]
    result = answer("compare", full, *options, "--out", tmp_path / "run")
    titles = ["orderless NADE", "MADE"]
    assert [entry["model"] for entry in result["results"]] == titles
    notes = [entry["note"] for entry in result["results"]]
    # MADE has orders of its own, as the rows are few.
    assert notes == ["mean of 3 fits to training and validation rows; mean of 2 orders", "mean of 8 orders"]
    estimator = load(tmp_path / "run" / "models" / "orderless-nade")
    assert [member.n_orderings for member in estimator.members_] == [2, 2, 2]
    test = load_dataset(str(full)).test
    assert result["results"][0]["test_log_likelihood"] == pytest.approx(estimator.score(test))


def test_compare_leaves_out_what_takes_no_holes(holes, tmp_path, answer, complaint):
    options = ["--models", "made,orderless-nade", "--max-epochs", "1"]
    result = answer("compare", holes, *options, "--out", tmp_path / "run")
    assert [entry["model"] for entry in result["results"]] == ["orderless NADE"]
    assert result["notes"] == ["MADE is left out: it takes no missing values"]
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    line = complaint("compare", holes, "--models", "made,nade", "--out", tmp_path / "other")
    assert "holes has missing values, which none of these models takes; choose from" in line


def test_a_comparison_in_python_says_which_models_take_holes(holes):
    from chainrule.experiments.compare import compare

    dataset = load_dataset(str(holes), missing=MISSING_WORDS)
    with pytest.raises(DataError, match="holes has missing values.*choose from .*orderless-nade"):
        compare(dataset, models=["nade", "made"])


@pytest.mark.parametrize("shape", [(60, 2), (60, 4), (60, 13), (60, 3, 3)])
def test_reports_show_data_with_holes(tmp_path, shape, answer):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=shape) if shape[-1] < 13 else rng.integers(0, 2, size=shape).astype(float)
    rows[rng.random(shape) < 0.3] = np.nan
    np.save(tmp_path / "rows.npy", rows)
    options = ["--models", "orderless-nade", "--max-epochs", "1", "--out", tmp_path / "run"]
    answer("compare", tmp_path / "rows.npy", *options)
    report = (tmp_path / "run" / "report.html").read_text()
    assert ">nan<" not in report and ">None<" not in report


def test_a_sweep_of_any_order_models_keeps_their_order(full, tmp_path, answer):
    pytest.importorskip("optuna")
    options = ["--grid", "hidden_sizes=4,8", "--max-epochs", "1", "--out", tmp_path / "run"]
    answer("sweep", full, "--model", "orderless-nade", *options)
    assert load(tmp_path / "run" / "model").is_any_order


# ---------------------------------------------------------------- files with missing values


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_cells_and_words_are_missing_where_they_are_let_through(table, tmp_path, suffix):
    separator = {"csv": ",", "tsv": "\t"}[suffix]
    path = written(tmp_path / f"holes.{suffix}", table, separator, some_holes)
    rows = load_rows(path, missing=MISSING_WORDS)
    assert rows.schema == table.schema
    expected = [[some_holes(row, column) is not None for column in range(5)] for row in range(200)]
    np.testing.assert_array_equal(rows.select(pl.all().is_null()).to_numpy(), expected)
    dataset = load_dataset(path, missing=MISSING_WORDS)
    assert dataset.has_missing
    assert not load_dataset(written(tmp_path / f"full.{suffix}", table, separator)).has_missing


def test_large_files_have_the_same_holes(holes, monkeypatch):
    monkeypatch.setattr("chainrule.datasets.streaming._LARGE", 0)
    monkeypatch.setattr("chainrule.datasets.streaming._BATCH", 64)
    parts = list(stream_rows(holes, missing=MISSING_WORDS))
    assert pl.concat(parts).equals(load_rows(holes, missing=MISSING_WORDS))


@pytest.mark.parametrize(
    ("first", "is_data"), [("1.5,?,2", True), ("1,NA,2", True), ("1.5,,2", True), (",0,1", False)]
)
def test_a_first_line_with_holes(tmp_path, first, is_data):
    path = tmp_path / "rows.csv"
    path.write_text(f"{first}\n" + "1.5,2,3\n" * 9)
    rows = load_rows(path, missing=MISSING_WORDS)
    assert len(rows) == (10 if is_data else 9)
    assert rows.columns == (["x1", "x2", "x3"] if is_data else ["", "0", "1"])


def test_a_word_that_is_a_level_stays_one(table, full, tmp_path, answer):
    jobs = table.with_columns(job=pl.col("job").replace("NATO", "?"))
    path = written(tmp_path / "jobs.csv", jobs)
    from chainrule import OrderlessNADE

    OrderlessNADE(hidden_sizes=(8,), max_epochs=1).fit(pl.read_csv(path)).save(tmp_path / "model")
    assert answer("impute", tmp_path / "model", path)["n_missing"] == 0


def test_rows_without_any_value(table, tmp_path, complaint):
    path = written(tmp_path / "empty.csv", table, hole=lambda row, column: "")
    line = complaint("fit", path, "--model", "orderless-nade", "--out", tmp_path / "model")
    assert "empty.csv: all cells of the" in line


# ---------------------------------------------------------------- sample


def test_samples_share_what_is_given(free, capsys):
    given = ["--given", "sex=female", "--given", "job=a=b", "--given", "age=39"]
    assert run(["sample", str(free), "-n", "20", *given, "--seed", "1"]) == 0
    rows = pl.read_csv(capsys.readouterr().out.encode())
    assert rows.columns == COLUMNS and len(rows) == 20
    assert rows.select("sex", "age", "job").unique().rows() == [("female", 39, "a=b")]
    assert rows["height"].n_unique() == 20


def test_samples_given_a_value_are_those_of_the_model(free, tmp_path, answer):
    path = tmp_path / "samples.parquet"
    options = ["--given", "ok=true", "--orders", "3", "--seed", "5", "--out", path]
    result = answer("sample", free, "-n", "7", *options)
    assert (result["given"], result["n_orders"]) == ({"ok": "true"}, 3)
    expected = load(free).sample(7, given={"ok": True}, n_orders=3, random_state=5)
    assert pl.read_parquet(path).rows() == expected.rows()


def test_a_column_may_have_an_equals_sign_in_its_name(table, tmp_path, capsys):
    named = table.select(pl.col("ok").alias("a=b"), "age")
    folder = fitted(written(tmp_path / "named.csv", named), tmp_path / "model", "orderless-nade")
    capsys.readouterr()
    assert run(["sample", str(folder), "-n", "3", "--given", "a=b=true"]) == 0
    assert [line.split(",")[0] for line in capsys.readouterr().out.split()] == ["a=b", *["true"] * 3]


@pytest.mark.parametrize("given", ["age=30..40", "age>=30", "age= <40"])
def test_ranges_are_not_given_but_asked_for(free, complaint, given):
    line = complaint("sample", free, "--given", given)
    assert f"--given {given}: takes one value" in line and "--where 'age BETWEEN" in line


def test_a_fixed_order_samples_given_its_first_columns(fixed, complaint, answer):
    rows = answer("sample", fixed, "-n", "3", "--given", "sex=male")["samples"]
    assert [row[0] for row in rows] == ["male"] * 3
    line = complaint("sample", fixed, "--given", "job=clerk")
    assert "fixed order" in line and "OrderlessNADE" in line


# ---------------------------------------------------------------- score


def test_scores_given_columns(free, full, tmp_path, answer):
    scores = tmp_path / "scores.csv"
    options = ["--split", "all", "--given", "sex,age", "--of", "height", "--of", "ok", "--orders", "4"]
    result = answer("score", free, full, *options, "--out", scores)
    question = {"given": ["sex", "age"], "of": ["height", "ok"], "n_orders": 4}
    assert {name: result[name] for name in question} == question
    expected, spread = load(free).score_samples(pl.read_csv(full), **question, return_spread=True)
    np.testing.assert_allclose(pl.read_csv(scores)["log_likelihood"], expected, rtol=1e-6)
    assert result["mean_log_likelihood"] == pytest.approx(expected.mean())
    assert result["mean_spread"] == pytest.approx(spread.mean())
    assert spread.mean() > 0


def test_one_order_has_no_spread_and_a_plain_score_no_question(free, full, answer):
    plain = {"mean_log_likelihood", "standard_error", "n_rows"}
    assert answer("score", free, full).keys() == plain
    assert answer("score", free, full, "--orders", "1").keys() == plain | {"n_orders"}


def test_the_line_names_the_question(free, full, capsys):
    assert run(["score", str(free), str(full), "--given", "sex", "--orders", "2"]) == 0
    out = capsys.readouterr().out
    assert "log p(all others | sex): " in out and "mean spread over 2 orders" in out


def test_columns_with_commas_are_given_one_by_one(table, tmp_path, answer):
    named = table.rename({"age": "age, years", "ok": "b"})
    path = tmp_path / "named.csv"
    named.write_csv(path)
    folder = fitted(path, tmp_path / "model", "orderless-nade")
    result = answer("score", folder, path, "--given", "age, years", "--given", "b, sex")
    assert result["given"] == ["age, years", "b", "sex"]


def test_rows_with_holes_are_scored_in_parts_as_in_one(free, holes, tmp_path, answer, monkeypatch):
    options = ["--split", "all", "--given", "sex"]
    whole = answer("score", free, holes, *options)
    expected = load(free).score_samples(load_rows(holes, missing=MISSING_WORDS), given="sex")
    assert whole["mean_log_likelihood"] == pytest.approx(expected.mean())
    monkeypatch.setattr("chainrule.datasets.streaming._LARGE", 0)
    monkeypatch.setattr("chainrule.datasets.streaming._BATCH", 64)
    parts = answer("score", free, holes, *options)
    assert parts["n_rows"] == 200
    assert parts["mean_log_likelihood"] == pytest.approx(whole["mean_log_likelihood"])
    assert answer("score", free, holes)["n_rows"] == 20


def test_a_fixed_order_scores_given_its_first_columns(fixed, full, answer, complaint):
    result = answer("score", fixed, full, "--given", "sex,age", "--of", "height")
    expected = load(fixed).score_samples(load_dataset(str(full)).test, given=["sex", "age"], of="height")
    assert result["mean_log_likelihood"] == pytest.approx(expected.mean())
    assert "'sex' comes before 'job'" in complaint("score", fixed, full, "--given", "job")
    assert "n_orders" in complaint("score", fixed, full, "--orders", "2")


# ---------------------------------------------------------------- impute


@pytest.mark.parametrize("how", ["sample", "mode", "mean"])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_impute_fills_holes_and_nothing_else(table, holes, free, tmp_path, answer, how, suffix):
    path = tmp_path / f"filled.{suffix}"
    result = answer("impute", free, holes, "--out", path, "--how", how, "--seed", "0")
    assert result.keys() == {"n_rows", "n_missing", "n_draws", "how", "seconds", "path"}
    assert (result["n_rows"], result["n_missing"], result["how"]) == (200, 50, how)
    assert (result["n_draws"], result["path"]) == (None, str(path))
    filled = {"csv": pl.read_csv, "parquet": pl.read_parquet}[suffix](path)
    known = load_rows(holes, missing=MISSING_WORDS)
    assert filled.columns == COLUMNS and filled.schema == table.schema
    assert filled.null_count().sum_horizontal().item() == 0
    for name in COLUMNS:  # exactly, not as float32
        there = known[name].is_not_null()
        assert filled[name].filter(there).to_list() == known[name].drop_nulls().to_list()
        assert set(filled[name]) <= set(table[name]) or name in ("age", "height")
    assert filled["age"].is_between(18, 69).all()


def test_several_draws_go_into_numbered_files(holes, free, tmp_path, answer):
    options = ["--out", tmp_path / "out.csv", "--draws", "3", "--orders", "2", "--seed", "1"]
    result = answer("impute", free, holes, *options)
    paths = [tmp_path / f"out-{number}.csv" for number in (1, 2, 3)]
    assert result["path"] == [str(path) for path in paths] and result["n_draws"] == 3
    assert sorted(tmp_path.iterdir()) == paths
    tables = [pl.read_csv(path) for path in paths]
    assert not tables[0].equals(tables[1]) and not tables[1].equals(tables[2])
    again = tmp_path / "again.csv"
    answer("impute", free, holes, "--out", again, "--orders", "2", "--seed", "1")
    assert pl.read_csv(again).equals(tables[0])


def test_imputed_rows_go_to_standard_output(holes, free, capsys):
    def draw(*options):
        capsys.readouterr()
        assert run(["impute", str(free), str(holes), *options]) == 0
        return capsys.readouterr().out

    first = draw("--seed", "1")
    assert pl.read_csv(first.encode()).shape == (200, 5)
    assert first == draw("--seed", "1") != draw("--seed", "2")
    result = json.loads(draw("--seed", "1", "--json", "-"))
    assert (result["columns"], result["path"], len(result["rows"])) == (COLUMNS, None, 200)


def test_impute_keeps_the_columns_of_the_file(holes, free, tmp_path, answer):
    turned = tmp_path / "turned.csv"
    columns = COLUMNS[::-1]
    pl.read_csv(holes, infer_schema_length=0).select(columns).write_csv(turned)
    answer("impute", free, turned, "--out", tmp_path / "out.csv")
    assert pl.read_csv(tmp_path / "out.csv").columns == columns


def test_a_column_that_nobody_filled_in(table, free, tmp_path, answer):
    path = written(tmp_path / "unknown.csv", table, hole=lambda row, column: "" if column == 3 else None)
    result = answer("impute", free, path, "--out", tmp_path / "out.csv")
    assert result["n_missing"] == 200
    assert set(pl.read_csv(tmp_path / "out.csv")["job"]) == {"a=b", "clerk", "NATO"}


def test_impute_an_array(tmp_path, answer):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(100, 3))
    rows[:, 1] = rows[:, 0] + 0.1 * rows[:, 1]
    holes = np.where(rng.random(rows.shape) < 0.2, np.nan, rows)
    np.save(tmp_path / "holes.npy", holes)
    folder = fitted(tmp_path / "holes.npy", tmp_path / "model", "orderless-nade")
    answer("impute", folder, tmp_path / "holes.npy", "--out", tmp_path / "out.npy")
    filled = np.load(tmp_path / "out.npy")
    there = ~np.isnan(holes)
    assert filled.dtype == np.float64 and np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[there], holes[there])
    pl.DataFrame(holes, schema=["a", "b", "c"]).write_csv(tmp_path / "holes.csv")
    answer("impute", folder, tmp_path / "holes.csv", "--out", tmp_path / "out.csv")
    assert pl.read_csv(tmp_path / "out.csv").columns == ["a", "b", "c"]


def test_a_fixed_order_imputes_its_last_columns(table, fixed, holes, tmp_path, answer, complaint):
    path = written(tmp_path / "last.csv", table, hole=lambda row, column: "?" if column == 4 else None)
    answer("impute", fixed, path, "--out", tmp_path / "out.csv")
    assert pl.read_csv(tmp_path / "out.csv")["ok"].null_count() == 0
    assert "fixed order" in complaint("impute", fixed, holes)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("command", "options", "expected"),
    [
        ("sample", ["--given", "sx=female"], "no column 'sx'; did you mean 'sex'"),
        ("sample", ["--given", "sex"], "--given sex: expected COLUMN=VALUE"),
        ("sample", ["--given", ""], "expected COLUMN=VALUE"),
        ("sample", ["--given", "sex=other"], "no level 'other'"),
        ("sample", ["--given", "age=200"], "range from 18 to 69"),
        ("sample", ["--given", "height=tall"], "takes finite numbers"),
        ("sample", ["--given", "sex=female", "--given", "sex=male"], "'sex' is given twice"),
        ("sample", ["--orders", "0"], "--orders"),
        ("score", ["--given", "sx"], "no column 'sx'; did you mean 'sex'"),
        ("score", ["--given", "sex,age", "--of", "age"], "both given and asked for: 'age'"),
        ("score", ["--given", "sex,sex"], "more than once"),
        ("score", ["--given", ",".join(COLUMNS)], "nothing is asked for"),
        ("impute", ["--draws", "2", "--how", "mode", "--out", "x.csv"], "--how sample"),
        ("impute", ["--draws", "2"], "needs --out"),
        ("impute", ["--draws", "0", "--out", "x.csv"], "--draws"),
        ("impute", ["--how", "median"], "median"),
        ("impute", ["--out", "x.xlsx"], ".parquet"),
        ("impute", ["--out", "nowhere/x.csv"], "nowhere"),
    ],
)
def test_bad_questions(free, full, complaint, command, options, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [command, free] if command == "sample" else [command, free, full]
    assert expected in complaint(*arguments, *options)
    assert list(tmp_path.iterdir()) == []


def test_rows_with_other_columns(table, free, tmp_path, complaint):
    path = tmp_path / "other.csv"
    table.rename({"age": "years"}).write_csv(path)
    for command in (["impute", free, path], ["score", free, path, "--given", "sex"]):
        line = complaint(*command)
        assert "'age'" in line and "'years'" in line
    table.drop("age").write_csv(path)
    assert "'age'" in complaint("impute", free, path)


def test_baselines_answer_no_questions(full, tmp_path, complaint):
    folder = tmp_path / "independent"
    assert run(["fit", str(full), "--model", "independent", "--out", str(folder)]) == 0
    for command in (
        ["sample", folder, "--given", "sex=female"],
        ["score", folder, full, "--given", "sex"],
        ["impute", folder, full],
    ):
        line = complaint(*command)
        assert "Independent" in line and "orderless-nade" in line


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["fit", "--model", "orderless-nade", "--ordering", "natural", "--out", "x"], "no option --ordering"),
        (["fit", "--model", "orderless-nade", "--n-masks", "2", "--out", "x"], "no option --n-masks"),
        (["fit", "--model", "nade", "--ordering", "any", "--out", "x"], "any"),
        (["compare", "--models", "made", "--orders", "2", "--out", "x"], "orders is for models of any order"),
    ],
)
def test_bad_options_of_a_fit(full, complaint, options, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert expected in complaint(options[0], full, *options[1:])
    assert list(tmp_path.iterdir()) == []
