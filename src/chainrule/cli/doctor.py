"""`chainrule doctor`: what is installed, and whether it works."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer
from packaging.requirements import Requirement

import chainrule
from chainrule.cli.options import JsonOption
from chainrule.cli.output import check_file, console_for, write_json

__all__ = ["doctor", "package_of"]

# Of distributions whose modules have other names.
_MODULES = {"pillow": "PIL", "scikit-learn": "sklearn"}


_OF_DEVELOPERS = ("docs", "release", "test")


@dataclass(frozen=True)
class Package:
    """A package that is needed.

    Attributes
    ----------
    needed : str
        The versions that are good.
    version : str or None
        The one that is installed.
    problem : str or None
        What is wrong with it.
    """

    name: str
    needed: str
    version: str | None
    problem: str | None


@dataclass(frozen=True)
class Extra:
    """Optional packages under the name by which they are installed.

    Attributes
    ----------
    missing : list of str
        Those that are not there, or too old.
    """

    name: str
    missing: list[str]

    @property
    def command(self) -> str:
        """What installs them."""
        return f"pip install 'chainrule[{self.name}]'"


def doctor(json_file: JsonOption = None) -> None:
    """Say what is installed and whether it works: versions, threads, kernels, devices, data, extras.

    It ends with exit code 1 if something that is needed is missing or broken.
    """
    check_file(json_file)
    packages = _packages()
    problems = [f"{package.name}: {package.problem}" for package in packages if package.problem]
    is_torch_there = not any(package.name == "torch" and package.problem for package in packages)
    found: dict[str, Any] = {
        "chainrule": {"version": chainrule.__version__, "path": str(Path(chainrule.__file__).parent)},
        "python": {
            "version": platform.python_version(),
            "executable": sys.executable,
            "platform": platform.platform(),
        },
        "packages": [asdict(package) for package in packages],
        "threads": _threads() if is_torch_there else None,
        "devices": _devices() if is_torch_there else None,
        "kernels": _kernels() if is_torch_there else None,
        "data": _data(),
        "extras": [{**asdict(extra), "command": extra.command} for extra in _extras()],
        "problems": problems,
    }
    console = console_for(json_file)
    for name, line in _lines(found):
        console.print(f"{name:10} {line}", soft_wrap=True)
    write_json(found, json_file)
    if problems:
        raise typer.Exit(1)


def package_of(module: str | None) -> str | None:
    """Return the package, one that chainrule needs or can use, that a module belongs to; None if it is none.

    >>> package_of("PIL.Image"), package_of("polars"), package_of("my_module")
    ('pillow', 'polars', None)
    """
    top = (module or "").partition(".")[0]
    name = next((name for name, of_package in _MODULES.items() if of_package == top), top)
    own = _own_distribution()
    needed = {Requirement(text).name for text in (own.requires or ())} if own else set()
    return name if name in needed else None


@cache
def _own_distribution() -> Distribution | None:
    """Return what pip knows of this package; nothing where its source is on the path, not installed."""
    try:
        return distribution("chainrule")
    except PackageNotFoundError:
        return None


def _requirements(extra: str = "") -> Iterator[Requirement]:
    """Yield what this package needs, or what an extra needs."""
    own = _own_distribution()
    for text in (own.requires or ()) if own else ():
        requirement = Requirement(text)
        marker = requirement.marker
        is_of_extra = marker is not None and "extra" in str(marker)
        if is_of_extra == bool(extra) and (marker is None or marker.evaluate({"extra": extra})):
            yield requirement


def _packages() -> list[Package]:
    """Return the packages that are needed."""
    return [_package(requirement, is_loaded=True) for requirement in _requirements()]


def _package(requirement: Requirement, *, is_loaded: bool) -> Package:
    """Return what is known of a package; `is_loaded`, it is imported to see whether that works."""
    name, needed = requirement.name, str(requirement.specifier)
    try:
        version = distribution(name).version
    except PackageNotFoundError:
        return Package(name, needed, None, f"not installed; pip install '{name}{needed}'")
    if not requirement.specifier.contains(version, prereleases=True):
        return Package(name, needed, version, f"{version} is not {needed}; pip install '{name}{needed}'")
    try:
        if is_loaded:
            import_module(_MODULES.get(name, name))
    except Exception as error:  # whatever a broken package raises
        return Package(name, needed, version, f"cannot be imported: {type(error).__name__}: {error}")
    return Package(name, needed, version, None)


def _extras() -> list[Extra]:
    own = _own_distribution()
    names = (own.metadata.get_all("Provides-Extra") or []) if own else []
    return [Extra(name, _missing(name)) for name in sorted(names) if name not in _OF_DEVELOPERS]


def _missing(extra: str) -> list[str]:
    found = [_package(requirement, is_loaded=False) for requirement in _requirements(extra)]
    return [package.name for package in found if package.problem]


def _threads() -> dict[str, Any]:
    import torch

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "threads": torch.get_num_threads(),
        "processors": allowed,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
    }


def _devices() -> list[str]:
    import torch

    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return ["cpu", *(f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(n_cuda))]


def _kernels() -> dict[str, Any]:
    from chainrule.kernels.backends import has_numba

    has_triton = find_spec("triton") is not None
    if not has_numba():
        return {"numba": False, "triton": has_triton, "folder": None, "n_compiled": 0}
    from chainrule.kernels.compiling import kept_kernels

    folder, n_compiled = kept_kernels()
    return {"numba": True, "triton": has_triton, "folder": str(folder), "n_compiled": n_compiled}


def _data() -> dict[str, Any]:
    """Return where named data sets are looked for."""
    folder = os.environ.get("CHAINRULE_DATA")
    try:
        import pooch
    except ImportError:
        downloads = None
    else:
        downloads = str(pooch.os_cache("chainrule"))
    return {
        "CHAINRULE_DATA": folder,
        "is_folder": bool(folder) and Path(str(folder)).is_dir(),
        "downloads": downloads,
    }


def _lines(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what was found as lines for people, each under its name."""
    yield "chainrule", "{version}, {path}".format(**found["chainrule"])
    yield "python", "{version}, {executable}, {platform}".format(**found["python"])
    known = [f"{package['name']} {package['version']}" for package in found["packages"]]
    yield "packages", ", ".join(known) or "not known: chainrule was not installed by pip"
    if found["threads"]:
        yield "threads", _of_threads(found["threads"])
        yield "devices", ", ".join(found["devices"])
        yield "kernels", _of_kernels(found["kernels"], has_gpu=len(found["devices"]) > 1)
    yield "data", _of_data(found["data"])
    for extra in found["extras"]:
        missing = ", ".join(extra["missing"])
        state = f"not installed ({missing}): {extra['command']}" if missing else "installed"
        yield "extra", f"{extra['name']}: {state}"
    for problem in found["problems"]:
        yield "problem", problem
    if not found["problems"]:
        yield "result", "everything that is needed is there"


def _of_threads(threads: dict[str, Any]) -> str:
    asked = threads["OMP_NUM_THREADS"]
    why = f" (OMP_NUM_THREADS={asked})" if asked else "; OMP_NUM_THREADS sets it"
    return f"{threads['threads']} on {threads['processors']} processors{why}"


def _of_kernels(kernels: dict[str, Any], *, has_gpu: bool) -> str:
    triton = f"; {'' if kernels['triton'] else 'no '}Triton for CUDA" if has_gpu else ""
    if not kernels["numba"]:
        return f"none: pip install numba, or NADE and draws are slow{triton}"
    n_compiled = kernels["n_compiled"]
    kept = f"{n_compiled} are compiled" if n_compiled else "none is compiled yet, each will be at first use"
    return f"{kept}; kept in {kernels['folder']}{triton}"


def _of_data(data: dict[str, Any]) -> str:
    folder = data["CHAINRULE_DATA"]
    named = "CHAINRULE_DATA is not set" if folder is None else f"CHAINRULE_DATA={folder}"
    missing = "" if folder is None or data["is_folder"] else ", which is no folder"
    return f"{named}{missing}; downloads are kept in {data['downloads']}"
