"""The benchmark of tables, with a stand-in for other libraries: nothing is installed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from benchmarks.likeness import Likeness
from benchmarks.peer_environments import ENVIRONMENTS, Environment, InstallError
from benchmarks.table_peers import PEERS, Estimated, Peer, Progress, Settings, compare_peers
from benchmarks.tables import Skipped

from benchmarks import peer_environments, table_peers
from chainrule.datasets import Dataset

_STAND_IN = Peer("tests.benchmarks.stand_in_runner")


def _binary(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, size=(n, 3)).astype(np.uint8)


def _mixed(n: int, seed: int) -> pl.DataFrame:
    draw = np.random.default_rng(seed)
    colours = pl.Series(draw.choice(["red", "green", "blue"], n), dtype=pl.Enum(["red", "green", "blue"]))
    ages = pl.Series(draw.integers(1, 90, n)).scatter([0], None)
    return pl.DataFrame({"colour": colours, "age": ages, "size": draw.normal(size=n)})


def _dataset(make=_binary) -> Dataset:
    return Dataset("stand-in", make(300, 0), make(60, 1), make(200, 2))


def _compare(dataset, names, settings, progress=None):
    return list(compare_peers(dataset, dict.fromkeys(names, _STAND_IN), settings, progress))


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(peers_dir=tmp_path / "peers", threads=1)


def test_rows_of_levels_have_seconds_a_log_likelihood_and_a_test_of_draws(settings):
    real, found = _compare(_dataset(), ["stand-in"], settings)
    assert (real.method, real.fit_seconds, real.log_likelihood) == ("real rows", None, None)
    assert found.log_likelihood == pytest.approx(-3 * math.log(2))
    assert found.is_bound and ">= -2.079" in found.line()
    assert found.fit_seconds >= 0 and found.draw_seconds > 0
    assert abs(found.c2st - 0.5) < 4 * found.c2st_error
    assert found.version == pl.__version__


def test_mixed_rows_have_no_log_likelihood_and_lose_those_with_missing_cells(settings):
    _, found = _compare(_dataset(_mixed), ["stand-in"], settings)
    assert found.log_likelihood is None and "none" in found.line()
    assert found.n_rows == 299


def test_a_peer_that_fails_is_one_row_with_its_error(settings):
    _, failed, found = _compare(_dataset(), ["fails", "stand-in"], settings)
    assert isinstance(failed, Skipped) and failed.skipped.endswith("ValueError: it cannot learn this")
    assert isinstance(found, Estimated)


def test_a_peer_that_takes_too_long_is_ended(tmp_path):
    _, failed = _compare(_dataset(), ["sleeps"], Settings(tmp_path, kill_after=0.5))
    assert failed.skipped == "RunError: it was ended after 0.5 s"


def test_a_peer_that_cannot_be_installed_says_why(settings, monkeypatch):
    def refuse(*command):
        if "pip" in command:
            raise InstallError("no such release")
        return ""

    monkeypatch.setattr(peer_environments, "_run", refuse)
    peer = Peer("benchmarks.table_runners.arf", Environment("none", ("none==0",)))
    _, failed = compare_peers(_dataset(), {"none": peer}, settings)
    assert failed.skipped == "it cannot be installed: no such release"


def test_an_environment_is_made_once_and_again_for_other_requirements(tmp_path, monkeypatch):
    commands = []

    def pretend(*command):
        commands.append(command)
        if "venv" in command:
            Path(command[-1]).mkdir(parents=True)
        return "peer==1.0"

    monkeypatch.setattr(peer_environments, "_run", pretend)
    first = Environment("peer", ("peer==1.0",), removed=("more",))
    python = first.python(tmp_path)
    assert [command[3] for command in commands[1:]] == ["install", "uninstall", "freeze"]
    assert first.python(tmp_path) == python and len(commands) == 4
    assert json.loads((first.place(tmp_path) / "ready.json").read_text())["versions"] == ["peer==1.0"]
    assert Environment("peer", ("peer==1.1",)).place(tmp_path) != first.place(tmp_path)


def test_a_run_is_taken_up_where_it_was_left(settings, tmp_path, monkeypatch):
    kept = tmp_path / "run" / "tables.json"
    rows = _compare(_dataset(), ["stand-in", "fails"], settings, Progress(kept))
    measured = []

    def measure(table, name, peer, settings):
        measured.append(name)
        return Skipped(name, "again")

    monkeypatch.setattr(table_peers, "_measured", measure)
    again = _compare(_dataset(), ["stand-in", "fails"], settings, Progress(kept))
    assert again[:2] == rows[:2] and measured == ["fails"]
    _compare(_dataset(), ["stand-in"], Settings(settings.peers_dir, rows=50), Progress(kept))
    assert measured == ["fails", "stand-in"]


def test_fewer_rows_are_learned_from_when_asked_for(settings, tmp_path):
    real, _ = _compare(_dataset(), ["stand-in"], Settings(tmp_path, rows=100))
    assert real.n_rows == 100


def test_likeness_shows_the_score_and_what_gives_rows_away(settings):
    _, found = _compare(_dataset(_mixed), ["stand-in"], settings)
    line = Likeness(found).line()
    score = 1 - max(0, 2 * found.c2st - 1)
    assert f"{score:.4f} +- {2 * found.c2st_error:.4f}" in line
    assert line.endswith(f"  {', '.join(found.giveaways)}")
    assert set(found.giveaways) <= {"colour", "age", "size"}
    assert (found.behind_real is None) == (found.behind_real_error is None)


def test_truth_values_that_a_peer_draws_as_text_are_truth_values():
    def with_truth(n: int, seed: int) -> pl.DataFrame:
        return _mixed(n, seed).with_columns(is_old=pl.col("age") > 60)

    table = table_peers._Table(_dataset(with_truth), None)
    texts = ["True", "false", "perhaps"]
    drawn = table._cast(table.train[:3].with_columns(is_old=pl.Series(texts)))
    assert drawn["is_old"].to_list() == [True, False, None]


def test_rows_that_an_older_version_kept_are_measured_anew(settings, tmp_path):
    kept = tmp_path / "tables.json"
    rows = _compare(_dataset(), ["stand-in"], settings, Progress(kept))
    document = json.loads(kept.read_text())
    for entry in document.values():
        del entry["row"]["giveaways"]
    kept.write_text(json.dumps(document))
    assert Progress(kept).find("stand-in", rows[0].method, settings.identity()) is None


@pytest.mark.parametrize("name", ["gaussian-mixture", "tree-chain"])
def test_peers_of_scikit_learn_learn_binary_rows(name, settings):
    _, found = compare_peers(_dataset(), {name: PEERS[name]}, settings)
    # A Gaussian of the variance of two uniform cells is behind by 0.53 nats.
    assert -2.8 < found.log_likelihood < -2.0
    _, found = compare_peers(_dataset(_mixed), {name: PEERS[name]}, settings)
    assert found.c2st < 0.9


def test_every_runner_is_a_file_and_every_requirement_is_pinned():
    for peer in PEERS.values():
        assert (Path(__file__).parents[2] / Path(*peer.runner.split("."))).with_suffix(".py").exists()
    assert all("==" in r for environment in ENVIRONMENTS.values() for r in environment.requirements)
