"""Blocks to a page: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chainrule.report.blocks import Block
from chainrule.storage import write_bytes
from chainrule.templates import template_of

__all__ = ["render_page", "write_page"]

_FOOTER = "Written by chainrule; this file needs no network and no other file."


def render_page(
    title: str,
    metadata: Sequence[tuple[str, str]],
    verdict: Sequence[str],
    blocks: Sequence[Block],
    *,
    description: str = "",
    eyebrow: str = "A study of density models",
    subject: str = "",
    remark: str = "",
) -> str:
    """Return a report as HTML.

    Parameters
    ----------
    title : str
        The heading.
    metadata : sequence of tuple of str
        Label and value of what should be seen at once, such as numbers of rows.
    verdict : sequence of str
        Sentences, the main one first.
    blocks : sequence of Block
    description, eyebrow : str
        The line below the heading, and the few words above it.
    subject : str
        The title of the window; default: the heading.
    remark : str
        What stands at the foot; default: nothing but who wrote it.
    """
    return template_of("chainrule.report", "page.html.j2").render(
        title=title,
        metadata=metadata,
        verdict=verdict,
        blocks=blocks,
        description=description,
        eyebrow=eyebrow,
        subject=subject or title,
        footer=f"{remark} {_FOOTER}".strip(),
    )


def write_page(
    path: str | Path,
    title: str,
    metadata: Sequence[tuple[str, str]],
    verdict: Sequence[str],
    blocks: Sequence[Block],
    **words: str,
) -> None:
    """Write a report that opens offline: `path`, and what `render_page` takes.

    Raises
    ------
    OSError
        If the file cannot be written; the folder must exist.
    """
    write_bytes(Path(path), render_page(title, metadata, verdict, blocks, **words).encode())
