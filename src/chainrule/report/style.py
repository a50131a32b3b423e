"""The one look of all figures, and their way into a page as data addresses."""

from __future__ import annotations

import base64
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

__all__ = [
    "INK",
    "MAP",
    "MUTED",
    "PAPER",
    "REAL",
    "RULE",
    "Picture",
    "drawing",
    "figure",
    "model_colours",
    "pixel_picture",
    "ticks",
    "vector_picture",
]

# Stand-ins that the finished drawing replaces by style-sheet variables, so that it follows a dark page.
INK = "#1d2530"
MUTED = "#5b6570"
RULE = "#d9dde2"
PAPER = "#fdfefe"
REAL = "#7b858f"
MAP = "viridis"

_DARK = {INK: "#e7eaee", MUTED: "#a3adb8", RULE: "#38414b", PAPER: "#171c22", REAL: "#8f99a4"}

# Okabe and Ito's colours, which stay apart for colour-blind readers; the neural models get the strong ones.
_NEURAL = ("#0072B2", "#D55E00", "#AA4499", "#332288")
_BASELINE = ("#C9980B", "#009E73", "#B07A9B", "#8C8C6B")

_FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,'Liberation Sans',sans-serif"

_RC: Any = {
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.7,
    "lines.solid_capstyle": "round",
    "text.color": INK,
    # A column called "a$b" is a name, not a formula.
    "text.parse_math": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    # Text stays text: the reader's fonts hold more scripts than those of the machine that drew the figure.
    "svg.fonttype": "none",
    "svg.hashsalt": "chainrule",
    "axes.formatter.use_mathtext": False,
    "axes.formatter.useoffset": False,
}


@dataclass(frozen=True)
class Picture:
    """A finished picture: a data address, the words for those who cannot see it, and a caption.

    `title` and `caption` are plain text. `width` is the natural width in CSS pixels. `key` is a colour that
    stands beside the title, or empty.
    """

    source: str
    alt: str
    title: str = ""
    caption: str = ""
    width: int = 420
    key: str = ""
    pixels: bool = False


@contextmanager
def drawing() -> Iterator[None]:
    """Draw and save inside this block; settings of the caller's matplotlib are left as they were."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def figure(width: float, height: float, **grid: Any) -> tuple[Figure, Any]:
    """Return a figure of `width` by `height` inches, without pyplot, and its axes."""
    canvas = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(canvas)
    axes = canvas.subplots(**grid)
    for axis in np.atleast_1d(np.asarray(axes, dtype=object)).ravel():
        if isinstance(axis, Axes):
            axis.set_axisbelow(True)
    return canvas, axes


def vector_picture(canvas: Figure, alt: str, dpi: int = 192, **words: Any) -> Picture:
    """Return the figure as SVG that follows light and dark; rasterised parts have twice the resolution."""
    buffer = BytesIO()
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with warnings.catch_warnings():
        # Text stays text: what the drawing machine's font lacks is in those of the reader.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        canvas.savefig(buffer, format="svg", dpi=dpi, metadata=metadata)
    drawn = _follow_page(buffer.getvalue().decode("utf-8"))
    # 96 CSS pixels are one inch.
    words.setdefault("width", round(canvas.get_figwidth() * 96))
    return Picture(_address("image/svg+xml", drawn.encode("utf-8")), alt, **words)


def pixel_picture(shades: np.ndarray, alt: str, scale: int, **words: Any) -> Picture:
    """Return a picture of `shades`, (height, width) of grey or (height, width, 3) of red, green and blue.

    They are from 0, dark, to 1, light; each fills `scale` pixels across and down. Where a shade is NaN, the
    page shows through.
    """
    hidden = np.isnan(shades)
    pixels = np.round(np.clip(np.where(hidden, 0.5, shades), 0.0, 1.0) * 255).astype(np.uint8)
    if hidden.any():
        seen = np.where(hidden.reshape(*shades.shape[:2], -1).any(2), 50, 255).astype(np.uint8)
        pixels = np.dstack([pixels, seen])
    enlarged = np.repeat(np.repeat(pixels, scale, axis=0), scale, axis=1)
    buffer = BytesIO()
    Image.fromarray(enlarged).save(buffer, format="png", optimize=True)
    words.setdefault("width", enlarged.shape[1] // 2)
    return Picture(_address("image/png", buffer.getvalue()), alt, pixels=True, **words)


def ticks(count: int, *, integer: bool = False) -> MaxNLocator:
    """Return a locator of about `count` round ticks."""
    return MaxNLocator(count, integer=integer, steps=[1, 2, 5, 10] if integer else [1, 2, 2.5, 5, 10])


def model_colours(names: Sequence[str], neural: Sequence[bool]) -> dict[str, str]:
    """Return a colour for each model, the same in all figures."""
    counts = {True: 0, False: 0}
    colours = {}
    for name, is_neural in zip(names, neural, strict=True):
        palette = _NEURAL if is_neural else _BASELINE
        colours[name] = palette[counts[is_neural] % len(palette)]
        counts[is_neural] += 1
    return colours


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _follow_page(drawn: str) -> str:
    """Replace the stand-in colours by variables, and the drawing machine's font by the page's."""
    light = "".join(f"--c{i}:{colour};" for i, colour in enumerate(_DARK))
    dark = "".join(f"--c{i}:{colour};" for i, colour in enumerate(_DARK.values()))
    for i, colour in enumerate(_DARK):
        drawn = drawn.replace(colour, f"var(--c{i})")
    rules = (
        f"<style>:root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"
        f"text,tspan{{font-family:{_FONT}!important}}</style>"
    )
    return re.sub(r"(<svg[^>]*>)", lambda found: found.group(1) + rules, drawn, count=1)
