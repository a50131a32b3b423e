"""What happens around a build of the site."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from html import unescape
from pathlib import Path
from typing import Any

from mkdocs.plugins import event_priority

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STUDIES = ROOT / "studies" / "chainrule_studies"

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
_folder: tempfile.TemporaryDirectory[str] | None = None


@event_priority(100)  # before plugins take the path
def on_config(config: Any) -> None:
    """Let pages include files from anywhere in the repository, wherever the build runs."""
    config.config_file_path = os.path.abspath(config.config_file_path)
    config.mdx_configs["pymdownx.snippets"]["base_path"] = [str(ROOT)]


def on_pre_build(config: Any) -> None:
    """Run the code of pages in a folder of its own, beside a copy of the examples."""
    global _folder
    _folder = tempfile.TemporaryDirectory(prefix="chainrule-site-")
    shutil.copytree(ROOT / "examples", _folder.name, dirs_exist_ok=True)
    if str(HERE) not in sys.path:  # for `pictures`
        sys.path.insert(0, str(HERE))
    os.chdir(_folder.name)
    os.environ["COLUMNS"] = "84"  # of tables on a terminal


def on_files(files: Any, config: Any) -> Any:
    """Add pages that stand elsewhere in the repository: the studies, how to contribute, what changed."""
    from mkdocs.structure.files import File

    elsewhere = {f"project/{name}": ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md")}
    for page in sorted(STUDIES.glob("*/README.md")):
        for path in (page, *sorted(page.parent.glob("*.png"))):
            elsewhere[f"studies/{page.parent.name}/{path.name}"] = path
    for place, path in elsewhere.items():
        files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **context: Any) -> str:
    """Turn links between folders of the repository into links between pages."""
    markdown = markdown.replace("](../studies/chainrule_studies/", "](studies/")
    return markdown.replace("](../../../docs/", "](../../")


def on_page_content(html: str, **context: Any) -> str:
    """Turn formulas into MathML, which browsers draw without a script."""
    return _FORMULA.sub(_as_mathml, html)


def _as_mathml(found: re.Match[str]) -> str:
    from latex2mathml.converter import convert

    return convert(unescape(found[3]), display="block" if found[2] == "[" else "inline")


def on_post_build(config: Any) -> None:
    """Leave the folder of the tutorials, and delete it."""
    _leave()


def on_build_error(error: Exception) -> None:
    """Do so after a failure, too."""
    _leave()


def _leave() -> None:
    global _folder
    os.chdir(ROOT)
    if _folder is not None:
        _folder.cleanup()
        _folder = None
