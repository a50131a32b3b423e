"""The page as a file: one that needs no other, what may be in it, and who gets none."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import polars as pl
import pytest

from chainrule import MADE, NADE, Ensemble, OrderlessNADE
from chainrule.cli import run
from chainrule.conditionals import FAMILIES, MixtureOfGaussians, register_family
from chainrule.errors import MissingPackageError, QueryError
from chainrule.explore import describe


def rows(n=200):
    rng = np.random.default_rng(0)
    return pl.DataFrame({"a": rng.normal(size=n), "b</script>": rng.choice(["<x>", "y"], n)})


def fitted(**arguments):
    return OrderlessNADE(hidden_sizes=(4,), max_epochs=1, random_state=0, **arguments).fit(rows())


@pytest.fixture(scope="module")
def model():
    return fitted()


@pytest.fixture(scope="module")
def page(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    return model.explore(path, title="A & B").read_text(encoding="utf-8")


def test_the_file_refers_to_no_other(page):
    assert not re.search(r"<(link|img|iframe|object)\b|\bsrc=|@import|url\(", page)
    assert "default-src 'none'" in page


def test_text_of_the_data_ends_no_script(page):
    assert page.count("<script") == page.count("</script>") == 4
    assert "A &amp; B" in page
    text = re.search(r'id="model">(.*?)</script>', page, re.DOTALL).group(1)
    assert [each["name"] for each in json.loads(text)["description"]["columns"]] == ["a", "b</script>"]


def test_scripts_hold_nothing_that_makes_html_of_text(page):
    own = page[page.index("function element(") :]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", own)


def test_the_licence_of_what_is_vendored_is_in_the_file(page):
    assert "Permission is hereby granted" in page
    assert "Leon Sorokin" in page


def test_weights_lie_where_the_description_says(model):
    description = describe([model.model_], model.schema_)
    (member,) = description.metadata["members"]
    sizes = {"float16": 2, "float32": 4}
    ends = [t["offset"] + t["length"] * sizes[t["type"]] for t in member["tensors"].values()]
    assert max(ends) == len(description.weights)
    assert member["tensors"]["first"]["type"] == "float16"


def test_models_of_a_fixed_order_have_no_page(tmp_path):
    with pytest.raises(AttributeError):
        _ = NADE(4).explore
    assert hasattr(OrderlessNADE(), "explore")
    assert hasattr(Ensemble(OrderlessNADE()), "explore")
    assert not hasattr(Ensemble(MADE()), "explore")


def test_context_is_refused(tmp_path):
    table = rows()
    model = OrderlessNADE(hidden_sizes=(4,), max_epochs=1).fit(table["a"].to_frame(), context=table[:, 1:])
    with pytest.raises(QueryError, match="context"):
        model.explore(tmp_path / "page.html")


def test_a_family_of_ones_own_is_refused_by_name(tmp_path):
    @register_family
    class Own(MixtureOfGaussians):
        name = "own"

    try:
        with pytest.raises(QueryError, match=r"'own' of column 'a'"):
            fitted(mixture="own").explore(tmp_path / "page.html")
    finally:
        del FAMILIES["own"]


def test_a_notebook_without_anywidget_says_what_to_install(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'chainrule\[notebook\]'"):
        model.explore()


def test_the_widget_holds_the_page_and_what_is_set(model):
    pytest.importorskip("anywidget", reason="anywidget is not installed")
    widget = model.explore(title="A widget")
    assert "A widget" in widget.page
    assert widget.given == {}


# ---------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    model.save(folder / "any-order")
    NADE(4, max_epochs=1).fit(rows()).save(folder / "nade")
    return folder


def test_the_command_writes_the_page(saved, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert run(["explore", str(saved / "any-order"), "--out", str(out), "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["bytes"] == out.stat().st_size
    assert "<h1>any-order</h1>" in out.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("folder", "out", "message"),
    [
        ("absent", "page.html", "absent"),
        ("nade", "page.html", "class NADE.*fit --model orderless-nade"),
        ("any-order", "no/such/page.html", "make it first"),
        ("any-order", "page.pdf", "ends in .html"),
    ],
)
def test_bad_input_gets_one_line(saved, tmp_path, capsys, folder, out, message):
    assert run(["explore", str(saved / folder), "--out", str(tmp_path / out)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert re.search(message, lines[0])
