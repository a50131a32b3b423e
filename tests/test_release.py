"""What belongs to a release agrees with what is released."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import chainrule

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
STUDIES = tomllib.loads((ROOT / "studies" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def pins(name):
    """Return the versions that a file of constraints names, by package."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    found = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {name.lower().replace("_", "-"): Version(version) for name, version in found}


def needed():
    """Yield every requirement of the library and of its studies, and the extra that it belongs to."""
    for extra, texts in {"": PROJECT["dependencies"], **EXTRAS}.items():
        for text in texts:
            yield pytest.param(Requirement(text), id=f"{extra}-{text}")


def test_the_citation_is_of_this_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.*)$", citation, re.MULTILINE)[1] == chainrule.__version__


def test_the_studies_are_of_this_version():
    assert STUDIES["version"] == chainrule.__version__
    assert f"chainrule=={chainrule.__version__}" in STUDIES["dependencies"]


@pytest.mark.parametrize("requirement", list(needed()))
def test_the_oldest_and_the_newest_tested_version_are_allowed(requirement):
    name = requirement.name.lower()
    newest, oldest = pins("constraints.txt"), pins("constraints-oldest.txt")
    if name in newest:
        assert requirement.specifier.contains(newest[name])
    if name in oldest:
        assert requirement.specifier.contains(oldest[name])


@pytest.mark.parametrize("text", PROJECT["dependencies"])
def test_what_is_always_needed_is_pinned_at_its_least_version(text):
    requirement = Requirement(text)
    (least,) = (each.version for each in requirement.specifier if each.operator == ">=")
    found = pins("constraints-oldest.txt")[requirement.name.lower()]
    assert found.release[: len(Version(least).release)] == Version(least).release


def test_there_are_the_extras_that_messages_name():
    named = {
        extra
        for path in (ROOT / "src").rglob("*.py")
        for extra in re.findall(r"chainrule\[(\w+)\]", path.read_text(encoding="utf-8"))
    }
    assert named <= set(EXTRAS)
    assert {"atari", "bench", "notebook", "onnx", "ray", "sweep"} <= set(EXTRAS)


def test_sdists_hold_what_the_readme_of_a_release_needs():
    manifest = (ROOT / "MANIFEST.in").read_text(encoding="utf-8").split()
    for name in manifest[1:]:
        assert (ROOT / name).is_file()
