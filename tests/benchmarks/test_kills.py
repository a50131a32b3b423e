"""Commands that are killed without warning, in small: `benchmarks.kills` has the long campaign."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from benchmarks.kill_checks import broken_files, outcome_of

from chainrule import Independent

if not Path("/proc/self/schedstat").exists():
    pytest.skip("how long a process has run is read off Linux's /proc", allow_module_level=True)

PATIENCE = 400  # a campaign that hangs ends the test; nothing waits for the time to pass


@pytest.mark.parametrize(("command", "kills"), [("fit", 3), ("compare", 2), ("sweep", 3), ("score", 5)])
def test_a_command_that_was_killed_goes_on_to_the_same_result(command, kills):
    if command == "sweep":
        pytest.importorskip("optuna", reason="Optuna is not installed")
    arguments = ["--command", command, "--kills", str(kills), "--at", "changes", "--seed", "1"]
    root = Path(__file__).parents[2]
    campaign = subprocess.run(
        [sys.executable, "-m", "benchmarks.kills", *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert campaign.returncode == 0, campaign.stdout + campaign.stderr
    assert f"{command}: {kills} kills" in campaign.stdout


@pytest.fixture
def folder(tmp_path):
    Independent().fit([[0, 1], [1, 0], [1, 1]]).save(tmp_path / "model")
    (tmp_path / "results.json").write_text('{"seconds": 2.0, "trials": [{"number": 1, "nll": 3.0}]}\n')
    (tmp_path / "report.html").write_text("<html></html>\n")
    pl.DataFrame({"log_likelihood": [-1.5, -2.5]}).write_parquet(tmp_path / "scores.parquet")
    return tmp_path


@pytest.mark.parametrize(
    "name",
    ["model/model.json", "model/model.safetensors", "results.json", "report.html", "scores.parquet"],
)
def test_the_campaign_notices_a_half_written_file(name, folder):
    (folder / "report.html.partial").write_text("<ht")
    assert broken_files(folder) == []
    (folder / name).write_bytes((folder / name).read_bytes()[:-9])
    assert name in " ".join(broken_files(folder))


def test_the_campaign_notices_another_result_but_no_times(folder):
    before = outcome_of(folder)
    (folder / "results.json").write_text('{"seconds": 9.0, "trials": [{"number": 7, "nll": 3.0}]}\n')
    assert outcome_of(folder) == before
    (folder / "results.json").write_text('{"seconds": 9.0, "trials": [{"number": 7, "nll": 3.1}]}\n')
    assert outcome_of(folder) != before
