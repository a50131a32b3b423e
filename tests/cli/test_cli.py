"""The `chainrule` command on good input: what it prints, writes and returns."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import chainrule
from chainrule import load
from chainrule.cli import run

STABLE_RESULT_KEYS = {
    "model",
    "test_log_likelihood",
    "standard_error",
    "bits_per_dim",
    "n_parameters",
    "fit_seconds",
    "sample_seconds",
    "epochs",
}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A csv of mixed kinds, in which one column depends on another."""
    rng = np.random.default_rng(0)
    colour = rng.choice(["blue", "green", "red"], size=200)
    height = rng.normal(170, 10, size=200) + 15 * (colour == "red")
    path = tmp_path_factory.mktemp("data") / "people.csv"
    pl.DataFrame({"colour": colour, "height": height, "smokes": rng.integers(0, 2, size=200)}).write_csv(path)
    return path


@pytest.fixture(scope="module")
def bits(tmp_path_factory):
    """A npz of binary rows with given splits."""
    rng = np.random.default_rng(0)
    first = rng.random((300, 1)) < 0.5
    rows = (rng.random((300, 6)) < np.where(first, 0.9, 0.1)).astype(np.uint8)
    path = tmp_path_factory.mktemp("data") / "bits.npz"
    np.savez(path, train=rows[:200], valid=rows[200:250], test=rows[250:])
    return path


@pytest.fixture(scope="module")
def saved(table, tmp_path_factory):
    """The folder of an independent model of the table."""
    folder = tmp_path_factory.mktemp("models") / "independent"
    assert run(["fit", str(table), "--model", "independent", "--out", str(folder)]) == 0
    return folder


def run_in_process(code):
    environment = {**os.environ, "PYTHONPATH": str(Path(chainrule.__file__).parents[1])}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["fit", "--help"],
        ["fit"],
        ["frobnicate"],
        ["compare", "digits", "--seed", "x"],
    ],
)
def test_help_and_wrong_arguments_load_no_numerical_library(arguments):
    code = f"import sys; from chainrule.cli import run; run({arguments!r}); print(); print(*sys.modules)"
    loaded = set(run_in_process(code).splitlines()[-1].split())
    assert "typer" in loaded
    assert not loaded & {"torch", "numpy", "sklearn", "polars"}


def test_help_names_every_command(capsys):
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    for command in ("compare", "fit", "score", "sample", "datasets"):
        assert command in out


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("chainrule ")


def test_datasets_lists_names(capsys):
    assert run(["datasets", "--json", "-"]) == 0
    captured = capsys.readouterr()
    metadata = {info["name"]: info for info in json.loads(captured.out)["datasets"]}
    assert metadata["digits"].keys() == {"name", "n_variables", "kind", "source", "description"}
    assert metadata["digits"]["n_variables"] == 64
    assert "digits" in captured.err


def test_fit_writes_a_model_and_its_facts(table, tmp_path, capsys):
    folder, result_file = tmp_path / "model", tmp_path / "fit.json"
    code = run(
        ["fit", str(table), "--model", "independent", "--out", str(folder), "--json", str(result_file)]
    )
    assert code == 0
    result = json.loads(result_file.read_text())
    assert result.keys() == {"model", "valid_log_likelihood", "epochs", "fit_seconds", "n_parameters", "path"}
    assert result["model"] == "Independent"
    assert result["epochs"] is None
    assert result["path"] == str(folder)
    assert load(folder).n_features_in_ == 3
    assert str(folder) in capsys.readouterr().out


def test_fit_replaces_a_saved_model_and_says_so(bits, saved, tmp_path, capsys):
    folder = tmp_path / "model"
    for told in (False, True):
        assert run(["fit", str(bits), "--model", "independent", "--out", str(folder)]) == 0
        assert ("in place of the model that was there" in capsys.readouterr().out) == told
    assert load(folder).n_features_in_ == 6


def test_fit_passes_options_on_to_made(table, tmp_path, capsys):
    folder = tmp_path / "made"
    arguments = (
        "--hidden-sizes 12,10 --max-epochs 2 --seed 3 --ordering random --n-components 2 --dropout 0.1"
    )
    options = [*arguments.split(), "--learning-rate", "0.01", "--batch-size", "50"]
    assert run(["fit", str(table), "--model", "made", "--out", str(folder), *options, "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["epochs"] == 2
    parameters = load(folder).get_params()
    expected = {
        "hidden_sizes": (12, 10),
        "max_epochs": 2,
        "random_state": 3,
        "ordering": "random",
        "n_components": 2,
        "dropout": 0.1,
        "learning_rate": 0.01,
        "batch_size": 50,
    }
    assert {name: parameters[name] for name in expected} == expected


def test_fit_gives_nade_its_one_hidden_layer(bits, tmp_path, capsys):
    folder = tmp_path / "nade"
    options = ["--hidden-sizes", "7", "--max-epochs", "2", "--json", "-"]
    assert run(["fit", str(bits), "--model", "nade", "--out", str(folder), *options]) == 0
    assert load(folder).hidden_size == 7
    assert json.loads(capsys.readouterr().out)["n_parameters"] == 2 * 6 * 7 + 7 + 6


def test_the_seed_decides_split_and_fit(table, tmp_path):
    def score_after_fit(seed, name):
        options = ["--max-epochs", "2", "--hidden-sizes", "8", "--seed", str(seed)]
        assert run(["fit", str(table), "--model", "made", "--out", str(tmp_path / name), *options]) == 0
        return load(tmp_path / name).score(pl.read_csv(table))

    assert score_after_fit(1, "a") == score_after_fit(1, "b") != score_after_fit(2, "c")


def test_kind_is_passed_on(table, tmp_path):
    folder = tmp_path / "model"
    assert (
        run(["fit", str(table), "--model", "independent", "--out", str(folder), "--kind", "smokes=ordinal"])
        == 0
    )
    assert load(folder).schema_.kinds == ("categorical", "continuous", "ordinal")


def test_one_kind_for_all_columns(bits, tmp_path):
    folder = tmp_path / "model"
    options = ["--model", "independent", "--out", str(folder), "--kind", "categorical"]
    assert run(["fit", str(bits), *options]) == 0
    assert set(load(folder).schema_.kinds) == {"categorical"}


def test_the_columns_of_an_array_are_named_by_number(bits, tmp_path):
    folder = tmp_path / "model"
    options = ["--model", "independent", "--out", str(folder), "--kind", "x2=ordinal"]
    assert run(["fit", str(bits), *options]) == 0
    assert load(folder).schema_.kinds == ("binary", "ordinal", *["binary"] * 4)


def test_compare_and_fit_know_the_models_of_the_registry(capsys):
    from chainrule.registry import MODELS

    for command, option in (("fit", "--model"), ("compare", "--models"), ("sweep", "--model")):
        assert run([command, "digits", option, "magic", *(["--out", "x"] if command == "fit" else [])]) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert all(name in said for name in MODELS), (command, said)


def test_kinds_are_said_before_a_fit(table, bits, tmp_path, capsys):
    assert run(["fit", str(table), "--model", "independent", "--out", str(tmp_path / "a")]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "kinds of 3 variables: 1 categorical, 1 continuous, 1 binary",
        "  colour  categorical, 3 levels",
        "  height  continuous",
        "  smokes  binary, 0 or 1",
    ]
    assert run(["compare", str(bits), "--models", "independent", "--out", str(tmp_path / "b")]) == 0
    kinds, result = capsys.readouterr().err.splitlines()
    assert kinds == "kinds of 6 variables: 6 binary"
    assert re.fullmatch(r"independent: -\d\.\d{3} nats per test row, fitted in \d+\.\d s", result)


def test_text_that_names_rows_is_no_trouble(tmp_path, capsys):
    """Left out by a fit, whose model scores and completes the same file all the same."""
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "name": [f"n{i}" for i in range(300)],
            "x": [None, *rng.normal(size=299)],
            "colour": rng.choice(["blue", "red"], size=300),
        }
    )
    path, folder = tmp_path / "people.csv", tmp_path / "model"
    frame.write_csv(path)
    options = ["--model", "orderless-nade", "--max-epochs", "1", "--hidden-sizes", "8", "--out", str(folder)]
    assert run(["fit", str(path), *options]) == 0
    assert "warning: text with so many levels names rows" in capsys.readouterr().err
    assert load(folder).schema_.names == ("x", "colour")
    for split in ("test", "all"):
        assert run(["score", str(folder), str(path), "--split", split]) == 0
    completed = tmp_path / "completed.csv"
    assert run(["impute", str(folder), str(path), "--out", str(completed)]) == 0
    rows = pl.read_csv(completed)
    assert rows.columns == frame.columns
    assert rows["x"].null_count() == 0
    assert rows["name"].equals(frame["name"])


def test_score_writes_one_number_per_row(table, saved, tmp_path, capsys):
    scores = tmp_path / "scores.csv"
    arguments = ["score", str(saved), str(table), "--split", "all", "--out", str(scores), "--json", "-"]
    assert run(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    expected = load(saved).score_samples(pl.read_csv(table))
    assert result.keys() == {"mean_log_likelihood", "standard_error", "n_rows"}
    assert result["n_rows"] == 200
    assert result["mean_log_likelihood"] == pytest.approx(expected.mean())
    assert result["standard_error"] == pytest.approx(expected.std(ddof=1) / 200**0.5)
    np.testing.assert_allclose(pl.read_csv(scores)["log_likelihood"].to_numpy(), expected)


def test_scores_as_npy(table, saved, tmp_path):
    scores = tmp_path / "scores.npy"
    assert run(["score", str(saved), str(table), "--split", "all", "--out", str(scores)]) == 0
    assert np.load(scores).shape == (200,)


def test_score_takes_the_split_that_is_asked_for(bits, tmp_path, capsys):
    folder = tmp_path / "model"
    assert run(["fit", str(bits), "--model", "independent", "--out", str(folder)]) == 0
    sizes = {}
    for split in ("train", "valid", "test", "all"):
        capsys.readouterr()
        assert run(["score", str(folder), str(bits), "--split", split, "--json", "-"]) == 0
        sizes[split] = json.loads(capsys.readouterr().out)["n_rows"]
    assert sizes == {"train": 200, "valid": 50, "test": 50, "all": 300}


def test_score_takes_a_single_row(table, saved, tmp_path, capsys):
    one = tmp_path / "one.csv"
    pl.read_csv(table).head(1).write_csv(one)
    assert run(["score", str(saved), str(one), "--split", "all", "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["n_rows"], result["standard_error"]) == (1, None)


@pytest.mark.parametrize(("suffix", "read"), [("csv", pl.read_csv), ("parquet", pl.read_parquet)])
def test_samples_look_like_the_table(saved, table, tmp_path, suffix, read, capsys):
    path = tmp_path / f"samples.{suffix}"
    assert run(["sample", str(saved), "-n", "25", "--out", str(path), "--seed", "1", "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    samples, original = read(path), pl.read_csv(table)
    assert samples.height == result["n_samples"] == 25
    assert result["columns"] == original.columns
    assert result["path"] == str(path)
    assert samples.schema == original.schema
    assert set(samples["colour"]) <= set(original["colour"])


def test_samples_as_npy(bits, tmp_path):
    folder, path = tmp_path / "model", tmp_path / "samples.npy"
    assert run(["fit", str(bits), "--model", "independent", "--out", str(folder)]) == 0
    assert run(["sample", str(folder), "-n", "9", "--out", str(path)]) == 0
    samples = np.load(path)
    assert samples.shape == (9, 6)
    assert samples.dtype == np.uint8


def test_samples_go_to_standard_output_as_csv(saved, capsys):
    def draw(*options):
        capsys.readouterr()
        assert run(["sample", str(saved), "-n", "5", *options]) == 0
        return capsys.readouterr().out

    first = draw("--seed", "1")
    assert first.splitlines()[0] == "colour,height,smokes"
    assert len(first.splitlines()) == 6
    assert first == draw("--seed", "1") != draw("--seed", "2")


def test_samples_inside_the_json(saved, capsys):
    assert run(["sample", str(saved), "-n", "5", "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert len(result["samples"]) == 5
    assert all(len(row) == 3 for row in result["samples"])


def test_compare_writes_a_run_folder(bits, tmp_path, capsys):
    out, result_file = tmp_path / "run", tmp_path / "compare.json"
    arguments = [
        "--models",
        "independent,made",
        "--max-epochs",
        "3",
        "--out",
        str(out),
        "--json",
        str(result_file),
    ]
    assert run(["compare", str(bits), *arguments]) == 0
    result = json.loads(result_file.read_text())
    assert result == json.loads((out / "results.json").read_text())
    assert (result["n_train"], result["n_valid"], result["n_test"], result["n_variables"]) == (200, 50, 50, 6)
    assert [entry["model"] for entry in result["results"]] == ["independent", "MADE"]
    assert all(entry.keys() >= STABLE_RESULT_KEYS for entry in result["results"])
    printed = capsys.readouterr().out
    for entry in result["results"]:
        assert f"{entry['test_log_likelihood']:.3f}" in printed
    assert "bits/dim" in printed
    assert str(out / "report.html") in printed
    assert (out / "report.html").read_text().lower().startswith("<!doctype html>")
    saved_models = list((out / "models").iterdir())
    assert len(saved_models) == 2
    assert all(load(folder).n_features_in_ == 6 for folder in saved_models)


def test_compare_has_no_bits_for_continuous_columns(table, tmp_path, capsys):
    arguments = ["--models", "independent,mixture", "--out", str(tmp_path / "run"), "--json", "-"]
    assert run(["compare", str(table), *arguments]) == 0
    captured = capsys.readouterr()
    assert all(entry["bits_per_dim"] is None for entry in json.loads(captured.out)["results"])
    assert "bits/dim" not in captured.err


def test_compare_names_its_run_folder_after_data_and_time(bits, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["compare", str(bits), "--models", "independent"]) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("bits-20")
    assert f"runs/{folder.name}" in capsys.readouterr().out


def test_the_table_marks_only_a_best_that_the_rows_tell(bits, tmp_path, capsys):
    options = [
        "--max-epochs",
        "2",
        "--out",
        str(tmp_path / "run"),
        "--models",
        "independent,mixture-of-bernoullis",
    ]
    assert run(["compare", str(bits), *options, "--json", "-"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["best"] == "mixture of Bernoullis"
    assert "mixture of Bernoullis *" in captured.err
    assert "independent *" not in captured.err


def test_score_splits_a_file_as_the_fit_did(tmp_path):
    folder, numbers_file = tmp_path / "model", tmp_path / "numbers.npy"
    np.save(numbers_file, np.random.default_rng(0).normal(size=(50, 2)))
    assert run(["fit", str(numbers_file), "--model", "independent", "--seed", "3", "--out", str(folder)]) == 0
    results = []
    for seed in ([], ["--seed", "3"], ["--seed", "4"]):
        report = tmp_path / "score.json"
        assert run(["score", str(folder), str(numbers_file), *seed, "--json", str(report)]) == 0
        results.append(json.loads(report.read_text())["mean_log_likelihood"])
    assert results[0] == results[1] != results[2]
