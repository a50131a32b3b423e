"""Run the campaign: a process for each reader, and a line for each finding."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

if "--guided" in sys.argv and "--plain" not in sys.argv:
    import atheris

    with atheris.instrument_imports(include=["chainrule"]):
        import benchmarks.fuzz.readers  # noqa: F401

from benchmarks.fuzz.mutations import cases
from benchmarks.fuzz.readers import TARGETS, check

_SECONDS_A_CASE, _MEGABYTES = 10, 3000


def main() -> None:
    """Divide the cases among the readers, and print what each of them did."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="in all")
    parser.add_argument("--plain", action="store_true", help="mutations without coverage, without atheris")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(TARGETS), help="one reader")
    parser.add_argument("--findings", type=Path, default=Path("findings"), help="folder for cases that fail")
    parser.add_argument("--guided", action="store_true", help=argparse.SUPPRESS)  # the process of one reader
    asked = parser.parse_args()
    if asked.guided:
        _guided(asked)
    names = [asked.only] if asked.only else list(TARGETS)
    each = -(-asked.cases // len(names))
    asked.findings.mkdir(exist_ok=True)
    failed = 0
    for name in names:
        start = time.perf_counter()
        command = [sys.executable, "-m", "benchmarks.fuzz", "--guided", "--only", name, "--cases", str(each)]
        options = ["--seed", str(asked.seed), "--findings", str(asked.findings)]
        plain = ["--plain"] if asked.plain else []
        done = subprocess.run([*command, *options, *plain], capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
        ending = "ok" if done.returncode == 0 else f"FAILED ({done.returncode})"
        print(
            f"{name}: {each:,} cases, {seconds:.0f} s, {ending}",
            flush=True,
        )
        if done.returncode:
            failed += 1
            print("\n".join((done.stdout + done.stderr).splitlines()[-25:]), flush=True)
    sys.exit(failed > 0)


def _guided(asked: argparse.Namespace) -> None:
    """Run the cases of one reader in this process, and exit: with 0 where all is well."""
    target = TARGETS[asked.only]
    if asked.plain:
        for case in cases(target, asked.cases, asked.seed):
            (asked.findings / "case").write_bytes(case)  # what is left there after a crash
            check(target, case)
        sys.exit(0)
    folder = asked.findings / f"seeds-{asked.only.replace(' ', '-')}"
    folder.mkdir(exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (folder / str(number)).write_bytes(seed)
    words = folder.with_suffix(".dict")
    words.write_text("".join(f'"{_escaped(token)}"\n' for token in target.tokens))
    limits = [f"-timeout={_SECONDS_A_CASE}", f"-rss_limit_mb={_MEGABYTES}", f"-runs={asked.cases}"]
    places = [
        f"-dict={words}",
        f"-artifact_prefix={asked.findings}/{asked.only.replace(' ', '-')}-",
        str(folder),
    ]
    options = [*limits, f"-seed={asked.seed + 1}", "-max_len=65536", *places]
    atheris.Setup([sys.argv[0], *options], lambda case: check(target, case))
    atheris.Fuzz()


def _escaped(token: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in token)


if __name__ == "__main__":
    main()
