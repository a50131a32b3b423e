"""Let the disk fill up at random moments.

``python -m benchmarks.full_disk --command fit --disks 20 --seed 0``. Each run has a file system in memory
(tmpfs) of its own, of a random size, so it needs the right to mount one. What was there before must stay
whole, the command must end with one clear line, and once the disk has grown, going on must bring what a run
on a large disk brings.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.kill_checks import broken_files, outcome_of
from benchmarks.kills import COMMANDS, Campaign, never, warm_up

__all__ = ["fill_disks", "main"]

_ROOM = "64m"
_BAD_INPUT = 2


def fill_disks(campaign: Campaign, n_disks: int) -> Iterator[tuple[int, int]]:
    """Run the command on disks of random sizes; yield size in KiB and exit code of each first run."""
    disk = campaign.scratch / "disk"
    needed = sum(path.stat().st_size for path in (campaign.scratch / "whole").rglob("*") if path.is_file())
    for _ in range(n_disks):
        # The states of fits, which are gone at the end, need room, too.
        size = int(campaign.rng.integers(16, 1.5 * needed / 1024))
        with _disk_of(disk, f"{size}k"):
            code = _run(campaign, disk / "out", goes_on=False)
            yield size, code
            _mount("-o", f"remount,size={_ROOM}", str(disk))
            if code != 0:
                code = _run(campaign, disk / "out", goes_on=True)
            if code != 0 or outcome_of(disk / "out") != campaign.expected:
                campaign.note(
                    [f"with room again: ended with {code}, another result: {campaign.said()}"], disk
                )


def _run(campaign: Campaign, out: Path, *, goes_on: bool) -> int:
    code, *_ = campaign.follow(campaign.start(out, goes_on), out, never)
    campaign.note(broken_files(out), out)
    said = campaign.said()
    errors = [line for line in said.splitlines() if line.startswith(("error", "internal", "Traceback"))]
    if code not in (0, _BAD_INPUT) or len(errors) != int(code != 0) or "Traceback" in said:
        campaign.note([f"ended with {code}: {said}"], out)
    return code


@contextmanager
def _disk_of(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def main() -> int:
    """Run a campaign; print what was found, and return 1 if that is anything."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.full_disk", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--command", choices=list(COMMANDS), required=True)
    parser.add_argument("--disks", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warm_up()
    with tempfile.TemporaryDirectory(prefix="disks-", ignore_cleanup_errors=True) as scratch:
        tempfile.tempdir = scratch  # where models are rescued to
        campaign = Campaign(options.command, Path(scratch), options.seed)
        codes = [code for _, code in fill_disks(campaign, options.disks)]
    for finding in campaign.findings:
        print(finding)
    n_small = sum(code != 0 for code in codes)
    print(
        f"{options.command}: {len(codes)} disks, {n_small} of them too small, seed {options.seed}: "
        f"{len(campaign.findings)} findings"
    )
    return 1 if campaign.findings else 0


if __name__ == "__main__":
    sys.exit(main())
