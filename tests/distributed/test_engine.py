"""What a cluster does is what one process does, bit for bit, whoever dies meanwhile."""

from __future__ import annotations

import io
import json
import os
import signal
import time
import warnings

import polars as pl
import pytest

from chainrule.batches import Draw, Score
from chainrule.cli import run
from chainrule.distributed import RayEngine, engine, in_order
from chainrule.errors import DataError, MissingPackageError


def killed_once(inner, number, marker):
    """Return a piece of work that kills its own process at a batch, the first time."""

    class Killed:  # within a function it is pickled as it is: workers do not find the tests
        def __call__(self, batch, which):
            if which == number and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return inner(batch, which)

    return Killed()


def test_without_an_engine_batches_are_taken_when_they_are_needed():
    taken = []
    results = in_order(
        lambda batch, number: (batch, number), (taken.append(i) or i for i in range(5)), None, 7
    )
    assert next(results) == (0, (0, 7))
    assert next(results) == (1, (1, 8))
    assert taken == [0, 1]


def test_a_killed_worker_changes_no_score(cluster, model, rows, tmp_path):
    batches = list(rows.iter_slices(400))
    work = Score(model, {"n_orders": 2, "return_spread": True})
    alone = [frame for _, frame in in_order(work, batches)]
    shared = list(in_order(killed_once(work, 3, tmp_path / "killed"), batches, cluster))
    assert (tmp_path / "killed").exists()
    assert all(batch is same for (batch, _), same in zip(shared, batches, strict=True))
    assert [frame.rows() for _, frame in shared] == [frame.rows() for frame in alone]


def test_a_killed_worker_changes_no_draw(cluster, model, tmp_path):
    work, sizes = Draw(model, {}, 5), [300] * 6
    alone = [drawn for _, drawn in in_order(work, sizes, first=2)]
    shared = list(in_order(killed_once(work, 4, tmp_path / "killed"), sizes, cluster, first=2))
    assert (tmp_path / "killed").exists()
    assert all(drawn.equals(same) for (_, drawn), same in zip(shared, alone, strict=True))


def test_errors_and_warnings_are_those_of_the_work(cluster, model, rows):
    def work(batch, number):
        warnings.warn(f"batch {number}", UserWarning, stacklevel=1)
        if number == 2:
            raise DataError("the third is no good")
        return batch

    done = []
    with pytest.warns(UserWarning, match="batch [01]"), pytest.raises(DataError, match="third") as caught:
        for _, result in in_order(work, range(9), cluster):
            done.append(result)
    assert done == [0, 1]
    assert type(caught.value) is DataError


def test_batches_are_taken_as_workers_come_free(cluster):
    taken = []
    results = in_order(lambda batch, number: batch, (taken.append(i) or i for i in range(50)), cluster)
    next(results)
    assert len(taken) == 4  # two for each processor
    results.close()


def test_results_come_as_they_are_done(cluster, tmp_path):
    def work(batch, number):
        marker = tmp_path / "last has begun"
        if number == 8:
            marker.touch()
        while number == 0 and not marker.exists():  # in order, the last would never begin
            time.sleep(0.01)
        return batch

    results = list(cluster.as_done(work, "abcdefghi"))
    assert sorted(results) == list("abcdefghi")
    assert results.index("a") > 5


COMMANDS = {
    "score": ["score", "MODEL", "DATA", "--split", "all", "--orders", "2", "--top", "3"],
    "test rows": ["score", "MODEL", "DATA"],
    "sample": ["sample", "MODEL", "-n", "1000", "--seed", "3"],
    "impute": ["impute", "MODEL", "DATA", "--seed", "3"],
    "draws": ["impute", "MODEL", "DATA", "--seed", "3", "--draws", "2"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_write_the_same_with_a_cluster(cluster, name, data, folder, tmp_path, in_pieces):
    places = {"MODEL": str(folder), "DATA": str(data)}
    command = [places.get(word, word) for word in COMMANDS[name]]
    written = []
    for where, engine_options in (("alone", []), ("shared", ["--engine", "ray"])):
        (tmp_path / where).mkdir()
        out = tmp_path / where / "rows.parquet"
        assert (
            run([*command, "--out", str(out), "--json", str(tmp_path / "facts.json"), *engine_options]) == 0
        )
        facts = json.loads((tmp_path / "facts.json").read_text())
        for key in ("path", "seconds", "sample_seconds"):
            facts.pop(key, None)
        files = {path.name: path.read_bytes() for path in out.parent.iterdir()}
        written.append((facts, files))
    assert written[0] == written[1]


def test_what_a_cluster_says_does_not_mix_with_results(cluster, folder, monkeypatch, capsys):
    command = ["sample", str(folder), "-n", "50", "--engine", "ray"]
    work_on = RayEngine.in_order

    def with_words(self, *arguments):
        print("(raylet) so many processes have been started")
        yield from work_on(self, *arguments)

    monkeypatch.setattr(RayEngine, "in_order", with_words)
    assert run(command) == 0
    printed = capsys.readouterr()
    assert "(raylet) so many processes" in printed.err
    assert len(pl.read_csv(io.StringIO(printed.out))) == 50


def test_bad_rows_are_named_with_a_cluster_as_without(cluster, rows, folder, tmp_path, in_pieces, capsys):
    bad = rows.with_columns(x=pl.when(pl.int_range(pl.len()) == 1000).then(float("inf")).otherwise("x"))
    bad.write_parquet(tmp_path / "bad.parquet")
    lines = []
    for engine_options in ([], ["--engine", "ray"]):
        command = ["score", str(folder), str(tmp_path / "bad.parquet"), "--split", "all", *engine_options]
        assert run(command) == 2
        lines.append(capsys.readouterr().err.splitlines()[-1])
    assert "rows counted from row 901" in lines[0]
    assert lines[0] == lines[1]


def test_wrong_addresses_are_refused(folder, data, capsys):
    assert run(["score", str(folder), str(data), "--address", "127.0.0.1:1"]) == 2
    assert "--address 127.0.0.1:1 goes with --engine ray" in capsys.readouterr().err


def test_sigterm_stays_what_it_was(monkeypatch):
    """Ray handles it in its own way, by which a command could not say what is kept."""

    class Ray:
        is_initialized = staticmethod(lambda: False)
        shutdown = staticmethod(lambda: None)

        @staticmethod
        def init(**options):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def ours(number, frame):
        raise AssertionError

    monkeypatch.setattr(engine, "import_ray", lambda address: Ray)
    before = signal.signal(signal.SIGTERM, ours)
    try:
        with engine.connected("ray", "local"):
            assert signal.getsignal(signal.SIGTERM) is ours
    finally:
        signal.signal(signal.SIGTERM, before)


def test_without_ray_a_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'chainrule\[ray\]'"):
        engine.import_ray()
