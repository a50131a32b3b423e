"""One block system: headings by depth, tables with groups, and pages that they make."""

from __future__ import annotations

import base64
import warnings

import numpy as np
import pytest
from test_report import Page

from chainrule.report.blocks import Block, Table, stacked
from chainrule.report.images import image_grid
from chainrule.report.page import render_page
from chainrule.report.style import drawing, figure, vector_picture


def test_parts_stand_one_level_lower_and_a_block_without_a_title_goes_on():
    blocks = [Block("A", parts=[Block("B", "one\n\ntwo")], anchor="a"), Block(text="three"), Block("C")]
    text = render_page("Title", [("Rows", "3")], ["So it is."], blocks)
    page = Page(text)
    assert [tag for tag, _ in page.tags if tag in ("h1", "h2", "h3")] == ["h1", "h2", "h2", "h3", "h2"]
    assert text.count("<section") == text.count("</section>") == 2
    assert '<section id="a">' in text and all(f"<p>{word}</p>" in text for word in ("one", "two", "three"))


def test_a_table_has_units_notes_marks_and_groups():
    table = Table(
        ["Model", "Nats"],
        [["<a>", "1"], ["b", "2"]],
        best=[1],
        caption="caption",
        units=["", "per row"],
        groups={1: "second"},
        colours=["#111111", "#222222"],
        notes=["", "a note"],
    )
    page = Page(render_page("T", [], [], [Block(table=table)]))
    for word in ("&lt;a&gt;", "caption", "per row", "second", "a note", "best"):
        assert word.replace("&lt;", "<").replace("&gt;", ">") in page.text
    assert sum(tag == "tbody" for tag, _ in page.tags) == 2
    assert sum(attributes.get("scope") == "row" for _, attributes in page.tags) == 2


def test_groups_begin_where_their_rows_do():
    table = stacked(["x"], {"first": [["1"], ["2"]], "second": [["3"]]}, numeric=[True])
    assert table.groups == {0: "first", 2: "second"} and len(table.rows) == 3


def test_a_layout_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="layout"):
        Block("x", layout="triptych")


def test_an_image_grid_lets_the_page_show_where_pixels_are_hidden():
    import base64
    from io import BytesIO

    from PIL import Image

    shades = np.array([[0.0, 1.0], [np.nan, 0.5]])
    picture = image_grid(shades, (1, 2), 2, "two images", width=8)
    drawn = np.asarray(Image.open(BytesIO(base64.b64decode(picture.source.split(",")[1]))))
    assert drawn.shape[2] == 2 and set(np.unique(drawn[..., 1])) == {50, 255}
    colour = np.array([[0.0, 1.0, 0.5, np.nan, np.nan, np.nan]])
    picture = image_grid(colour, (1, 2, 3), 1, "an image in colour", width=4)
    drawn = np.asarray(Image.open(BytesIO(base64.b64decode(picture.source.split(",")[1]))))
    assert drawn.shape[2] == 4
    assert [0, 255, 128, 255] in drawn.reshape(-1, 4).tolist()
    assert set(np.unique(drawn[..., 3])) == {50, 255}
    square = image_grid(np.zeros((100, 4)), (2, 2), None, "a square", title="zeros")
    assert square.pixels and square.title == "zeros"


def test_letters_that_the_drawing_font_lacks_stay_text_without_a_warning():
    with drawing(), warnings.catch_warnings():
        warnings.simplefilter("error")
        canvas, axes = figure(2, 1)
        axes.set_title("李")
        drawn = vector_picture(canvas, "a title")
    assert "李" in base64.b64decode(drawn.source.partition(",")[2]).decode()
