"""The `chainrule` command on bad input, a full disk and Ctrl-C: an exit code, one line, nothing lost."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import chainrule
from chainrule import load
from chainrule.cli import run
from chainrule.cli.app import terminate

resource = pytest.importorskip("resource", reason="limits on file sizes need a POSIX system")

ROWS = 40


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def numbers():
    """Return forty rows of three columns of noise."""
    return pl.DataFrame(np.random.default_rng(0).normal(size=(ROWS, 3)), schema=["a", "b", "c"])


@pytest.fixture(scope="module")
def numbers_file(numbers, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "numbers.csv"
    numbers.write_csv(path)
    return path


@pytest.fixture(scope="module")
def saved(numbers_file, tmp_path_factory):
    """The folder of an independent model of the numbers."""
    folder = tmp_path_factory.mktemp("models") / "independent"
    assert run(["fit", str(numbers_file), "--model", "independent", "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def complaint(capsys):
    """Run the command on input that it must refuse; return its one line."""

    def refuse(*arguments):
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert captured.out == ""
        return one_line(code, captured.err, expected_code=2)

    return refuse


def one_line(code, standard_error, expected_code):
    """Return the single line on standard error after checking that it is one, without a traceback.

    Warnings may stand before it, and where a fit had begun what columns were taken for and models reached.
    """
    assert "Traceback" not in standard_error
    assert code == expected_code, standard_error
    before = ("warning: ", "kinds of ", "  ", "independent: ")
    lines = [line for line in standard_error.splitlines() if not line.startswith(before)]
    assert len(lines) == 1, standard_error
    assert not lines[0].startswith("internal error")
    return lines[0]


# Processes that hang end a test after so many seconds; nothing waits for the time to pass.
PATIENCE = 300


def start(*arguments, stderr=subprocess.PIPE, **options):
    """Start the command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(Path(chainrule.__file__).parents[1]), "TERM": "xterm"}
    return subprocess.Popen(
        [sys.executable, "-m", "chainrule", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env=environment,
        **options,
    )


class OnTerminal:
    """The command in a process of its own whose standard error is a terminal: fits show their progress."""

    def __init__(self, *arguments):
        self._ours, theirs = os.openpty()
        self.process = start(*arguments, stderr=theirs)
        os.close(theirs)
        self.shown = ""

    def wait_for(self, pattern):
        """Read what is shown until it matches."""
        timer = threading.Timer(PATIENCE, self.process.kill)
        timer.start()
        while not re.search(pattern, self.shown):
            assert self._read(), f"ended before it showed {pattern!r}: {self.shown[-2000:]}"
        timer.cancel()

    def interrupt(self, number=signal.SIGINT):
        """Press Ctrl-C, or send another signal; return the exit code and all that was shown."""
        self.process.send_signal(number)
        timer = threading.Timer(PATIENCE, self.process.kill)
        timer.start()
        while self._read():
            pass
        self.process.communicate()
        timer.cancel()
        os.close(self._ours)
        return self.process.returncode, self.shown

    def _read(self):
        """Read a little more; return whether there was more."""
        try:
            more = os.read(self._ours, 4096)
        except OSError:  # so Linux says that nobody holds the other end any more
            return False
        self.shown += more.decode(errors="replace")
        return bool(more)


def fit_independent(data, out, *options):
    return ["fit", data, "--model", "independent", "--out", out, *options]


# ---------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["frobnicate"], "frobnicate"),
        (["fit"], "DATA"),
        (["fit", "digits", "--out", "x"], "--model"),
        (["fit", "digits", "--model", "perceptron", "--out", "x"], "made"),
        (["fit", "digits", "--model", "made"], "--out"),
        (["fit", "digits", "--model", "made", "--out", "x", "--max-epochs", "0"], "--max-epochs"),
        (["fit", "digits", "--model", "made", "--out", "x", "--hidden-sizes", "10,ten"], "--hidden-sizes"),
        (["fit", "digits", "--model", "nade", "--out", "x", "--hidden-sizes", "10,10"], "one hidden layer"),
        (["fit", "digits", "--model", "gmm", "--out", "x", "--dropout", "0.5"], "no option --dropout"),
        (["fit", "digits", "--model", "made", "--out", "x", "--kind", "a=colour"], "colour"),
        (
            ["fit", "digits", "--model", "made", "--out", "x", "--kind", "a=binary", "--kind", "ordinal"],
            "--kind",
        ),
        (["fit", "digits", "--model", "made", "--out", "x", "--learning-rate", "0"], "learning_rate"),
        (["fit", "digits", "--model", "made", "--out", "x", "--dropout", "1"], "dropout"),
        (["compare", "digits", "--models", "made,perceptron"], "perceptron"),
        (["compare", "digits", "--image-size", "28"], "28x28"),
        (["compare", "digits", "--json", "no-such-folder/x.json"], "no-such-folder"),
        (["sample", "x", "-n", "0"], "-n"),
        (["sample", "x", "--out", "samples.xlsx"], ".csv"),
        (["score", "x", "digits", "--split", "dev"], "dev"),
        (["score", "x", "digits", "--out", "scores.txt"], ".npy"),
    ],
)
def test_wrong_arguments(arguments, expected, complaint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert expected in complaint(*arguments)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- data


def test_a_missing_file(complaint, tmp_path):
    assert "nothing.csv" in complaint("compare", tmp_path / "nothing.csv", "--out", tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_name_is_told_its_neighbour(complaint, tmp_path):
    assert "digits" in complaint("compare", "digit", "--out", tmp_path / "run")


def test_an_unknown_format(complaint, tmp_path):
    path = tmp_path / "table.xlsx"
    path.write_bytes(b"not a format that chainrule reads")
    assert "table.xlsx" in complaint(*fit_independent(path, tmp_path / "model"))


@pytest.mark.parametrize("name", ["empty.csv", "empty.npy", "empty.npz", "empty.parquet", "empty.ts.data.gz"])
def test_an_empty_file(complaint, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"")
    assert name in complaint(*fit_independent(path, tmp_path / "model"))


def test_a_header_without_rows(complaint, tmp_path):
    path = tmp_path / "header.csv"
    path.write_text("a,b,c\n")
    complaint(*fit_independent(path, tmp_path / "model"))


def test_a_truncated_file(complaint, tmp_path):
    path = tmp_path / "short.ts.data.gz"
    path.write_bytes(gzip.compress(b"0,1,0\n" * 500)[:-12])
    assert "short" in complaint(*fit_independent(path, tmp_path / "model"))


def test_text_where_numbers_belong(complaint, numbers, tmp_path):
    path = tmp_path / "text.csv"
    text = numbers["b"].cast(pl.String).to_list()
    text[6] = "seven"
    numbers.with_columns(b=pl.Series(text)).write_csv(path)
    line = complaint(*fit_independent(path, tmp_path / "model"))
    assert "'b'" in line
    assert "seven" in line


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("suffix", ["csv", "npy"])
def test_a_value_that_is_no_number(complaint, numbers, tmp_path, value, suffix):
    rows = numbers.to_numpy().copy()
    rows[::2, 1] = value
    path = tmp_path / f"far.{suffix}"
    if suffix == "npy":
        np.save(path, rows)
    else:
        pl.DataFrame(rows, schema=["a", "b", "c"]).write_csv(path)
    line = complaint(*fit_independent(path, tmp_path / "model"))
    assert ("x2" if suffix == "npy" else "'b'") in line


def test_one_row(complaint, tmp_path):
    path = tmp_path / "one.csv"
    path.write_text("a,b\n1.5,2.5\n")
    assert "row" in complaint(*fit_independent(path, tmp_path / "model"))


def test_a_kind_that_the_model_cannot_model(complaint, tmp_path):
    path = tmp_path / "names.csv"
    pl.DataFrame({"name": ["ann", "bob", "cy", "di"] * 10, "size": range(40)}).write_csv(path)
    line = complaint("fit", path, "--model", "mixture-of-bernoullis", "--out", tmp_path / "model")
    assert "'name'" in line
    assert not (tmp_path / "model").exists()


def test_a_kind_for_a_column_that_is_not_there(complaint, numbers_file, tmp_path):
    assert "'z'" in complaint(*fit_independent(numbers_file, tmp_path / "model", "--kind", "z=ordinal"))


# ---------------------------------------------------------------- what is small but good


@pytest.mark.parametrize("model", ["independent", "mixture", "nade", "made"])
def test_a_constant_column_works(numbers, tmp_path, model):
    path, out = tmp_path / "constant.csv", tmp_path / "model"
    numbers.with_columns(b=pl.lit(1.5)).write_csv(path)
    epochs = ["--max-epochs", "2"] if model in ("nade", "made") else []
    assert run(["fit", str(path), "--model", model, "--out", str(out), *epochs]) == 0
    samples = load(out).sample(5)
    assert (samples["b"] == 1.5).all()


@pytest.mark.parametrize("model", ["independent", "mixture", "gmm", "nade", "made"])
def test_one_column_works(numbers, tmp_path, model):
    path, out = tmp_path / "column.csv", tmp_path / "model"
    numbers.select("a").write_csv(path)
    epochs = ["--max-epochs", "2"] if model in ("nade", "made") else []
    assert run(["fit", str(path), "--model", model, "--out", str(out), *epochs]) == 0
    assert np.isfinite(load(out).score(numbers.select("a")))


# ---------------------------------------------------------------- saved models


def test_a_width_that_differs_from_the_fit(complaint, saved, numbers, tmp_path):
    path = tmp_path / "narrow.csv"
    numbers.select("a", "b").write_csv(path)
    line = complaint("score", saved, path)
    assert "2 features" in line
    assert "3 features" in line


def test_a_model_that_is_not_there(complaint, numbers_file, tmp_path):
    assert "nowhere" in complaint("score", tmp_path / "nowhere", numbers_file)
    assert "nowhere" in complaint("sample", tmp_path / "nowhere")


def test_a_folder_that_is_not_a_model(complaint, numbers_file, tmp_path):
    assert "model.json" in complaint("score", tmp_path, numbers_file)
    assert "model.json" in complaint("sample", tmp_path)


def test_a_truncated_model(complaint, saved, tmp_path):
    for file in saved.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[: -file.stat().st_size // 3])
    assert "truncated" in complaint("sample", tmp_path)


def test_a_newer_model(complaint, saved, tmp_path):
    for file in saved.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    metadata = json.loads((saved / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**metadata, "format_version": 999}))
    assert "999" in complaint("sample", tmp_path)


# ---------------------------------------------------------------- folders and files to write


def test_fit_leaves_a_foreign_folder_alone(complaint, numbers_file, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    assert str(tmp_path) in complaint(*fit_independent(numbers_file, tmp_path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_compare_leaves_a_foreign_folder_alone(complaint, numbers_file, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    assert "thesis.txt" in complaint("compare", numbers_file, "--out", tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("command", ["compare", "fit"])
def test_out_is_a_file(complaint, numbers_file, tmp_path, command):
    path = tmp_path / "taken"
    path.write_text("")
    options = ["--model", "independent"] if command == "fit" else []
    assert "taken" in complaint(command, numbers_file, "--out", path, *options)


def test_json_is_a_folder(complaint, numbers_file, tmp_path):
    line = complaint(*fit_independent(numbers_file, tmp_path / "model", "--json", tmp_path))
    assert "is a folder" in line
    assert not (tmp_path / "model").exists()


def test_text_does_not_go_into_npy(complaint, tmp_path):
    path, model = tmp_path / "names.csv", tmp_path / "model"
    pl.DataFrame({"name": ["ann", "bob", "cy", "di"] * 10}).write_csv(path)
    assert run([str(argument) for argument in fit_independent(path, model)]) == 0
    assert "numbers only" in complaint("sample", model, "--out", tmp_path / "samples.npy")


# ---------------------------------------------------------------- a full disk


def limit_file_size():
    """Let no file grow beyond 20,000 bytes: writing then fails as it does on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def test_a_full_disk_while_saving_a_model(tmp_path):
    path, out = tmp_path / "wide.npy", tmp_path / "model"
    np.save(path, np.random.default_rng(0).integers(0, 2, size=(50, 100), dtype=np.uint8))
    arguments = ["fit", path, "--model", "made", "--out", out, "--max-epochs", "1", "--hidden-sizes", "200"]
    process = start(*arguments, preexec_fn=limit_file_size)
    _, standard_error = process.communicate(timeout=PATIENCE)
    assert "could not be saved" in one_line(process.returncode, standard_error, expected_code=2)
    assert not (out / "model.json").exists()


def test_a_full_disk_leaves_the_earlier_model_alone(saved, tmp_path):
    out = tmp_path / "model"
    out.mkdir()
    for file in saved.iterdir():
        (out / file.name).write_bytes(file.read_bytes())
    path = tmp_path / "wide.npy"
    np.save(path, np.random.default_rng(0).integers(0, 2, size=(50, 100), dtype=np.uint8))
    arguments = ["fit", path, "--model", "made", "--out", out, "--max-epochs", "1", "--hidden-sizes", "200"]
    process = start(*arguments, preexec_fn=limit_file_size)
    _, standard_error = process.communicate(timeout=PATIENCE)
    one_line(process.returncode, standard_error, expected_code=2)
    assert load(out).n_features_in_ == 3


def test_a_model_that_finds_no_room_is_saved_elsewhere(numbers_file, tmp_path, monkeypatch, complaint):
    from chainrule import Independent

    out, elsewhere = tmp_path / "model", tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    save = Independent.save

    def save_unless_full(estimator, path):
        if Path(path) == out:
            raise OSError(28, "No space left on device")
        save(estimator, path)

    monkeypatch.setattr(Independent, "save", save_unless_full)
    line = complaint(*fit_independent(numbers_file, out))
    (rescued,) = elsewhere.iterdir()
    assert "No space left on device" in line
    assert str(rescued) in line
    assert load(rescued).n_features_in_ == 3


def test_a_full_disk_while_writing_a_report(numbers_file, tmp_path):
    out = tmp_path / "run"
    arguments = ["compare", numbers_file, "--models", "independent", "--out", out]
    process = start(*arguments, preexec_fn=limit_file_size)
    _, standard_error = process.communicate(timeout=PATIENCE)
    line = one_line(process.returncode, standard_error, expected_code=2)
    assert f"saved in {out / 'models'}: independent" in line


def test_a_full_disk_while_writing_samples(saved, tmp_path):
    path = tmp_path / "samples.csv"
    process = start("sample", saved, "-n", "5000", "--out", path, preexec_fn=limit_file_size)
    _, standard_error = process.communicate(timeout=PATIENCE)
    assert "samples.csv" in one_line(process.returncode, standard_error, expected_code=2)
    assert not path.exists()


# ---------------------------------------------------------------- Ctrl-C


def last_line(code, shown):
    """Return the last line on a terminal after checking that the command said it was interrupted."""
    assert code == 130, shown
    assert "Traceback" not in shown
    return shown.splitlines()[-1]


def test_a_full_disk_in_the_middle_of_a_fit_does_not_end_it(tmp_path):
    """The state of a fit is several times as large as the model: it does not fit in, the model does."""
    path, out = tmp_path / "rows.npy", tmp_path / "model"
    rows = np.random.default_rng(0).integers(0, 2, size=(50, 20), dtype=np.uint8)
    np.save(path, rows)
    arguments = ["fit", path, "--model", "made", "--out", out, "--hidden-sizes", "50"]
    process = start(*arguments, preexec_fn=limit_file_size)
    _, standard_error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, standard_error
    assert "warning: the state of the fit could not be kept in" in standard_error
    assert names(out) == ["model.json", "model.safetensors"]
    assert np.isfinite(load(out).score(rows))


@pytest.mark.parametrize("model", ["made", "nade"])
def test_ctrl_c_in_the_middle_of_a_fit_saves_the_best_weights(tmp_path, model):
    path, out = tmp_path / "rows.npy", tmp_path / "model"
    rows = np.random.default_rng(0).integers(0, 2, size=(2000, 20), dtype=np.uint8)
    np.save(path, rows)
    options = ["--max-epochs", "100000", "--patience", "100000"]
    command = OnTerminal("fit", path, "--model", model, "--out", out, *options)
    command.wait_for(r"epoch [1-9]")
    line = last_line(*command.interrupt())
    assert "interrupted" in line
    assert str(out) in line
    assert np.isfinite(load(out).score(rows))


def test_sigterm_is_treated_like_ctrl_c(tmp_path):
    """So does a system that shuts down, or a scheduler that takes a job back."""
    path, out = tmp_path / "rows.npy", tmp_path / "model"
    rows = np.random.default_rng(0).integers(0, 2, size=(2000, 20), dtype=np.uint8)
    np.save(path, rows)
    arguments = ["fit", path, "--model", "made", "--out", out, "--patience", "100000"]
    command = OnTerminal(*arguments, "--max-epochs", "100000")
    command.wait_for(r"epoch [1-9]")
    code, shown = command.interrupt(signal.SIGTERM)
    assert code == 143, shown
    line = last_line(130, shown)
    assert "interrupted: the best weights so far are saved" in line and "--resume goes on" in line
    assert names(out) == ["checkpoint.pt", "model.json", "model.safetensors"]
    assert np.isfinite(load(out).score(rows))


@pytest.mark.parametrize("command", ["fit", "compare", "sweep", "score", "sample", "experiment"])
def test_sigterm_ends_every_command_alike(command, saved, numbers_file, tmp_path, capsys, monkeypatch):
    def end(*_, **__):
        signal.raise_signal(signal.SIGTERM)

    for place in ("datasets.load_dataset", "estimators.load", "experiments.studies.load_study"):
        monkeypatch.setattr(f"chainrule.{place}", end)
    out = str(tmp_path / "out")
    arguments = {
        "fit": [numbers_file, "--model", "made", "--out", out],
        "compare": [numbers_file, "--out", out],
        "sweep": [numbers_file, "--trials", "1", "--out", out],
        "score": [saved, numbers_file],
        "sample": [saved],
        "experiment": ["two-gaussians", "--out", out],
    }
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        assert run([command, *map(str, arguments[command])]) == 143
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capsys.readouterr().err == "interrupted\n"
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_in_the_middle_of_a_comparison_keeps_what_was_fitted(tmp_path):
    path, out = tmp_path / "rows.npy", tmp_path / "run"
    rows = np.random.default_rng(0).integers(0, 2, size=(20_000, 30), dtype=np.uint8)
    np.save(path, rows)
    command = OnTerminal("compare", path, "--models", "independent,made", "--out", out)
    command.wait_for(r"MADE.*epoch [1-9]")
    line = last_line(*command.interrupt())
    assert str(out / "models" / "made") in line
    for name in ("independent", "made"):
        assert np.isfinite(load(out / "models" / name).score(rows))


def test_ctrl_c_before_there_is_anything_to_save(capsys, monkeypatch, tmp_path):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("chainrule.datasets.load_dataset", interrupt)
    assert run(["fit", "digits", "--model", "made", "--out", str(tmp_path / "model")]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- errors of chainrule itself


def break_datasets(monkeypatch):
    def fail():
        raise RuntimeError("a bug")

    monkeypatch.setattr("chainrule.datasets.dataset_names", fail)


def test_an_internal_error_is_one_line(capsys, monkeypatch):
    break_datasets(monkeypatch)
    monkeypatch.delenv("CHAINRULE_DEBUG", raising=False)
    assert run(["datasets"]) == 1
    standard_error = capsys.readouterr().err
    assert "CHAINRULE_DEBUG=1" in standard_error
    assert len(standard_error.splitlines()) == 1


def test_an_internal_error_shows_itself_when_debugging(monkeypatch):
    break_datasets(monkeypatch)
    monkeypatch.setenv("CHAINRULE_DEBUG", "1")
    with pytest.raises(RuntimeError, match="a bug"):
        run(["datasets"])


def test_a_reader_that_stops_reading_is_no_error(saved):
    process = start("sample", saved, "-n", "20000")
    process.stdout.readline()
    process.stdout.close()
    standard_error = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=PATIENCE) in (0, 1)
    assert standard_error == ""
