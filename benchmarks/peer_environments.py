"""Virtual environments of pinned versions, made on demand, for libraries that no one environment holds."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ENVIRONMENTS", "Environment", "InstallError"]

_TORCH = "torch==2.13.0"  # as in constraints.txt
_PARQUET = "pyarrow==26.0.1"
_READY = "ready.json"  # written when everything is installed


class InstallError(Exception):
    """An environment could not be made; the message is what pip said last."""


@dataclass(frozen=True)
class Environment:
    """Requirements that are installed together, and what is taken away of what comes with them."""

    name: str
    requirements: tuple[str, ...]
    removed: tuple[str, ...] = ()

    def python(self, folder: Path) -> Path:
        """Return the environment's interpreter, making the environment under `folder` if it is not there.

        Raises
        ------
        InstallError
            If something cannot be installed.
        """
        place = self.place(folder)
        python = place / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        if not (place / _READY).exists():
            self._make(place, python)
        return python

    def place(self, folder: Path) -> Path:
        """Return the environment's folder, another one for other requirements or another Python."""
        recipe = " ".join((sys.version, *self.requirements, "without", *self.removed))
        return folder / f"{self.name}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}"

    def _make(self, place: Path, python: Path) -> None:
        print(f"  installing {', '.join(self.requirements)}", flush=True)
        shutil.rmtree(place, ignore_errors=True)
        start = time.perf_counter()
        _run(sys.executable, "-m", "venv", str(place))
        _run(
            str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *self.requirements
        )
        if self.removed:
            _run(str(python), "-m", "pip", "uninstall", "--quiet", "--yes", *self.removed)
        frozen = _run(str(python), "-m", "pip", "freeze", "--disable-pip-version-check").splitlines()
        seconds = time.perf_counter() - start
        print(f"  installed in {seconds:.0f} s", flush=True)
        document = {"seconds": seconds, "versions": frozen}
        (place / _READY).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


ENVIRONMENTS = {
    environment.name: environment
    for environment in (
        Environment("sdv", (_TORCH, "sdv==2.0.0", "pandas==2.3.3", _PARQUET)),
        # PyPI's torchvision and torchaudio are built for CUDA and cannot be loaded beside torch for the CPU;
        # tables need neither.
        Environment(
            "mostlyai",
            (_TORCH, "mostlyai-engine==2.7.3", "pandas==3.1.1", _PARQUET),
            removed=("torchvision", "torchaudio"),
        ),
        # Of 2023: it needs what numpy 2 and pandas 3 took away.
        Environment(
            "arfpy",
            (
                "arfpy==0.1.1",
                "numpy==1.26.4",
                "pandas==2.2.3",
                "scikit-learn==1.5.2",
                "scipy==1.14.1",
                "pyarrow==19.0.1",
            ),
        ),
    )
}


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise InstallError(str(error)) from error
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        errors = [line for line in said if line.lower().startswith("error")]
        raise InstallError((errors or said or [f"exit status {done.returncode}"])[-1].strip())
    return done.stdout
