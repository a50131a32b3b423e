"""Pages of the site, as they are written: the reference has every public name, README's lines run."""

from __future__ import annotations

import inspect
import json
import pkgutil
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import chainrule

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# What is no interface: the command has a page of its own, the rest is how things are done.
INTERNAL = {"cli", "kernels", "progress", "report", "storage", "templates", "terminal", "__main__"}


def public_names() -> set[tuple[str, str]]:
    """Return module and name of what the package, its subpackages and its modules offer."""
    modules = ["chainrule", *(f"chainrule.{each.name}" for each in pkgutil.iter_modules(chainrule.__path__))]
    measures = pkgutil.iter_modules(import_module("chainrule.metrics").__path__)
    modules += [f"chainrule.metrics.{each.name}" for each in measures]
    shown = [module for module in modules if module.rpartition(".")[2] not in INTERNAL]
    return {(module, name) for module in shown for name in getattr(import_module(module), "__all__", ())}


def names_that_pages_import() -> set[tuple[str, str]]:
    """Return module and name of what code on pages, in examples and in notebooks imports."""
    code = [path.read_text(encoding="utf-8") for path in (*DOCS.rglob("*.md"), ROOT / "README.md")]
    code += [path.read_text(encoding="utf-8") for path in (ROOT / "examples").glob("*.py")]
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        code += ["".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    imports = re.findall(r"^from (chainrule[\w.]*) import ([\w, ]+)$", "\n".join(code), re.MULTILINE)
    found = {(module, name.strip()) for module, names in imports for name in names.split(",")}
    return {(module, name) for module, name in found if not module.startswith("chainrule.cli")}


def documented() -> dict[str, object]:
    """Return the objects of the reference by the address under which it shows them."""
    pages = "\n".join(path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.md"))
    addresses = re.findall(r"^::: ([\w.]+)$", pages, re.MULTILINE)
    assert len(addresses) == len(set(addresses)), "an object stands in the reference twice"
    return {address: found(*address.rpartition(".")[::2]) for address in addresses}


def found(module: str, name: str) -> object:
    return getattr(import_module(module), name)


def test_every_public_name_stands_in_the_reference():
    there = documented()
    objects = {id(each) for each in there.values()}
    missing = {
        f"{module}.{name}"
        for module, name in public_names() | names_that_pages_import()
        if f"{module}.{name}" not in there and id(found(module, name)) not in objects
    }
    # A submodule that a page imports, such as `distributed`, is a page of its own.
    assert not {each for each in missing if each not in sys.modules}


def test_docstrings_name_the_default_first():
    """By numpydoc, and so in the reference, the first of several choices is the default."""
    wrong = set()
    for address, documented_object in documented().items():
        text = inspect.getdoc(documented_object) or ""
        if not callable(documented_object) or "Parameters\n---" not in text:
            continue
        parameters = inspect.signature(documented_object).parameters
        for names, first in re.findall(r'^([\w, ]+) : \{"(\w+)"[^}]*\}(?!, optional)', text, re.MULTILINE):
            defaults = {parameters[name].default for name in names.split(", ") if name in parameters}
            wrong |= {f"{address}({names}={each!r})" for each in defaults - {first, inspect.Parameter.empty}}
    assert not wrong


def test_lines_of_readme_run(tmp_path):
    (lines,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(lines.splitlines()) <= 12
    # As on its author's screen, where each line's value is seen; a shorter fit will do.
    quick = lines.replace("max_time=10", "max_time=2")
    assert quick != lines
    shown = re.sub(r"^(model\..*?)(  #.*)?$", r"print(type(\1).__name__)", quick, flags=re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-c", shown], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["ndarray", "Answer", "Answer", "DataFrame", "ndarray", "list"]


def test_links_of_readme_lead_to_files():
    links = re.findall(
        r"\]\(([^)#]+)[^)]*\)|src=\"([^\"]+)\"", (ROOT / "README.md").read_text(encoding="utf-8")
    )
    targets = {first or second for first, second in links}
    assert len(targets) > 10
    assert not [each for each in targets if "://" not in each and not (ROOT / each).exists()]
