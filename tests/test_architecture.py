"""The package keeps its shape: imports run downwards, and what should start fast stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import chainrule
from chainrule.registry import CLASSES

SOURCE = Path(chainrule.__file__).parent
ROOT = Path(__file__).parents[1]
MODULES = sorted(SOURCE.rglob("*.py"))


def modules_loaded_by(code: str) -> set[str]:
    """Return the names of the modules that a fresh interpreter holds after running some code."""
    program = f"import sys; sys.path.insert(0, {str(SOURCE.parent)!r}); {code}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_imports_run_downwards_only():
    importlinter = pytest.importorskip("importlinter.cli", reason="import-linter is not installed")
    assert importlinter.lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0


@pytest.mark.parametrize("module", ["chainrule", "chainrule.cli", "chainrule.estimators"])
def test_light_modules_load_no_numerical_library(module):
    loaded = modules_loaded_by(f"import {module}")
    assert not loaded & {"torch", "numpy", "sklearn", "polars", "matplotlib", "numba"}


@pytest.mark.parametrize("module", ["chainrule.schema", "chainrule.datasets", "chainrule.baselines"])
def test_modules_without_networks_do_not_load_torch(module):
    assert "torch" not in modules_loaded_by(f"import {module}")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_every_module_opens_with_a_docstring_and_names_what_it_offers(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "no docstring"
    assigned = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    assert "__all__" in assigned or len(tree.body) == 1, "no __all__"


def test_public_names_are_those_of_the_registry():
    assert set(chainrule.__all__) == {
        *CLASSES,
        "PyODDetector",
        "SDVSynthesizer",
        "export_onnx",
        "load",
        "load_dataset",
    }


def test_public_names_exist():
    for name in chainrule.__all__:
        assert getattr(chainrule, name).__module__.startswith("chainrule.")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Made'"):
        chainrule.Made  # noqa: B018
