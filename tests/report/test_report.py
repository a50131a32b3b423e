"""The report: its numbers, its marks, its pictures, and that it opens alone, for every shape of data."""

from __future__ import annotations

import base64
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import matplotlib as mpl
import numpy as np
import pandas as pd
import polars as pl
import pytest

from chainrule.report.comparison import Comparison, ModelResult
from chainrule.report.comparison_page import render_report, write_report
from chainrule.report.mask_plot import mask_matrices, mask_picture
from chainrule.report.rows import text_table
from chainrule.report.words import conclusion
from chainrule.schema import Schema
from chainrule.training import History


class FakeEstimator:
    """Draws training rows again; its log-likelihood is a bell around the middle of the codes."""

    likelihood_ = "exact"

    def __init__(self, schema, rows):
        self.schema_ = schema
        self.rows = rows

    def score_samples(self, X):
        codes = self.schema_.encode(X).astype(float)
        return -0.5 * (codes**2).mean(axis=1) + self.schema_.log_abs_det_jacobian(codes)


class Page(HTMLParser):
    """Collects what the tests ask a page for."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.words = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))

    @property
    def images(self):
        return [attributes for tag, attributes in self.tags if tag == "img"]


def history(epochs=20, best=15, end=2.0):
    valid = end + np.abs(np.arange(1, epochs + 1) - best) / 10
    return History(list(valid - 0.1), list(valid), best, 3.0)


def make(rows, *, leads=(0.5, 0.1, 0.0), kinds=None, image_shape=None, entropy=None, **changes):
    """Return a comparison of MADE, NADE and Independent; `leads` are their nats above -10 on average."""
    schema = Schema.infer(rows, kinds)
    n = len(rows)
    noise = np.random.default_rng(1)
    base = -10 + noise.normal(0, 2, n)
    results = []
    for name, lead in zip(("MADE", "NADE", "Independent"), leads, strict=False):
        nats = base + lead + noise.normal(0, 0.2, n)
        course = None if name == "Independent" else history()
        estimator = FakeEstimator(schema, rows)
        epochs = None if course is None else course.epochs
        results.append(ModelResult(name, estimator, nats, 12.5, 0.25, epochs, 12345, rows, course))
    comparison = Comparison(
        dataset="some-data", description="Rows made up", split="Rows shuffled with seed 7, split 80/10/10",
        n_train=8 * n, n_valid=n, n_test=n, n_variables=schema.n_variables, kinds=schema.describe(),
        discrete=schema.is_discrete, image_shape=image_shape, entropy=entropy, random_state=7,
        results=results, train_rows=rows[:200], test_rows=rows, seconds=61.0,
    )  # fmt: skip
    return replace(comparison, **changes)


def bits(n=60, d=16, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (n, d)).astype(np.uint8)


def small(**changes):
    """Return the comparison whose report is drawn fastest: tiny images."""
    return make(bits(d=8), image_shape=(2, 4), **changes)


def mixed_table(n=40):
    noise = np.random.default_rng(3)
    return {
        "älter & <b>": noise.normal(40, 9, n),
        "höhe_$x^2$": noise.normal(170, 9, n),
        "城市": noise.choice(["東京", "<script>", "a&b"], n),
        "count": noise.integers(-3, 9, n),
        "flag": noise.choice([True, False], n),
    }


def plane(n=80):
    return np.random.default_rng(2).normal(size=(n, 2)) * [3.0, 0.1]


def pair(rows, **changes):
    """Return a comparison of two models: what the pictures of one data shape need, and no more."""
    return make(rows, leads=(0.5, 0.1), **changes)


SHAPES = {
    "images": lambda: pair(bits(d=64), image_shape=(8, 8)),
    "one image row high": lambda: pair(bits(d=6), image_shape=(1, 6)),
    "grey images": lambda: pair(np.arange(600).reshape(50, 12) % 256, image_shape=(3, 4)),
    "continuous images": lambda: pair(np.random.default_rng(0).random((40, 12)), image_shape=(4, 3)),
    "plane": lambda: pair(plane()),
    "plane of levels": lambda: pair(np.arange(120).reshape(60, 2) % 40, kinds="categorical"),
    "plane of bits": lambda: pair(bits(d=2)),
    "one continuous, one level": lambda: pair(pl.DataFrame({"a": plane()[:, 0], "b": ["u", "v"] * 40})),
    "bits": lambda: pair(bits(d=16)),
    "one column": lambda: pair(plane()[:, :1]),
    "one column of levels": lambda: pair(pd.DataFrame({"only": ["a", "b", "c", "a"] * 10})),
    "continuous table": lambda: pair(np.random.default_rng(0).normal(size=(50, 11))),
    "pandas": lambda: pair(pd.DataFrame(mixed_table())),
    "polars": lambda: pair(pl.DataFrame(mixed_table())),
    "pyarrow": lambda: pair(pl.DataFrame(mixed_table()).to_arrow()),
    "constant column": lambda: pair(np.c_[plane(), np.full(80, 2.5)]),
    "two test rows": lambda: pair(bits(n=2, d=14)),
}


@pytest.fixture(scope="module")
def page():
    return Page(render_report(make(bits(d=64), image_shape=(8, 8))))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_data_gives_a_page_that_needs_nothing_else(shape, recwarn):
    text = render_report(SHAPES[shape]())
    page = Page(text)
    assert len(page.images) >= 4
    for image in page.images:
        assert image["src"].startswith(("data:image/png;base64,", "data:image/svg+xml;base64,"))
        assert image["alt"].strip()
    assert not re.search(r"https?:|//|@import|url\(", re.sub(r"base64,[\w+/=]+", "", text))
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object"}
    assert not re.search(r"\b(nan|inf|None)\b", page.text)
    assert not list(recwarn)


def test_pictures_are_well_formed_and_fetch_nothing():
    from xml.etree import ElementTree

    drawn = [i["src"] for i in Page(render_report(make(pl.DataFrame(mixed_table())))).images]
    for address in drawn:
        if not address.startswith("data:image/svg+xml;base64,"):
            continue
        root = ElementTree.fromstring(base64.b64decode(address.split(",", 1)[1]))
        for element in root.iter():
            for name, value in element.attrib.items():
                if name.endswith("href"):
                    assert value.startswith(("#", "data:image/png;base64,"))


def test_the_table_holds_the_numbers(page):
    comparison = make(bits(d=64), image_shape=(8, 8))
    for result in comparison.results:
        mean = f"{result.test_log_likelihood:.2f}".replace("-", "−")
        assert f"{mean} ± {result.standard_error:.2f}" in page.text
        assert f"{comparison.bits_per_dim(result):.4f}" in page.text
    second = comparison.ranked()[1]
    gap = comparison.difference(second)
    assert f"{gap.mean:.3f} ± {gap.standard_error:.3f}".replace("-", "−") in page.text
    assert "12\u202f345" in "".join(page.words)
    for word in ("12.5", "0.25", "some-data", "Rows made up", "Rows shuffled with seed 7", "480", "8 × 8"):
        assert word in page.text


def test_numbers_stand_to_the_right_and_rows_have_headings(page):
    cells = [attributes for tag, attributes in page.tags if tag == "td"]
    assert cells and all("number" in attributes.get("class", "") for attributes in cells)
    assert sum(attributes.get("scope") == "row" for tag, attributes in page.tags if tag == "th") == 3


def badges(page):
    return sum(attributes.get("class") == "badge" for _, attributes in page.tags)


def test_the_best_is_marked_only_beyond_two_standard_errors(page):
    assert badges(page) == 1
    assert "MADE is the best of the 3 models" in page.text
    tie = Page(render_report(small(leads=(0.001, 0.0, -3.0))))
    assert badges(tie) == 0
    assert "No model is marked as best" in tie.text
    assert "cannot tell" in tie.text


def test_one_model_alone_is_not_best():
    page = Page(render_report(small(leads=(0.5,))))
    assert badges(page) == 0
    assert "MADE gives the 60 test rows" in page.text
    assert "Difference" not in page.text


def test_no_model_at_all_still_gives_a_page():
    assert "No model was compared." in render_report(small(leads=()))


def test_without_histories_there_are_no_learning_curves():
    comparison = small()
    results = [replace(result, history=None, epochs=None) for result in comparison.results]
    page = Page(render_report(replace(comparison, results=results)))
    assert "Learning curves" not in page.text
    empty = [replace(result, history=History()) for result in comparison.results]
    assert "Learning curves" not in Page(render_report(replace(comparison, results=empty))).text


def test_learning_curves_name_the_best_epoch():
    assert "best at epoch 15 with 2.00 nats" in Page(render_report(make(plane()))).text


def test_a_single_epoch_and_one_without_validation_rows_are_drawn():
    comparison = small(leads=(0.5, 0.1))
    courses = [History([3.0], [3.1], 1, 0.1), History([3.0, 2.5], [], 2, 0.1, interrupted=True)]
    results = [replace(r, history=h) for r, h in zip(comparison.results, courses, strict=True)]
    page = Page(render_report(replace(comparison, results=results)))
    assert sum("Learning curves" in image["alt"] for image in page.images) == 2
    assert "The fit was interrupted." in page.text


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame])
def test_names_and_values_of_columns_are_escaped(library):
    text = render_report(make(library(mixed_table()), dataset="a<b>&c", description='"quoted" <i>'))
    assert "<script>" not in text
    assert "<i>" not in text
    assert "älter &amp; &lt;b&gt;" in text
    assert "&lt;script&gt;" in text
    assert "a&lt;b&gt;&amp;c" in text
    page = Page(text)
    for word in ("älter & <b>", "höhe_$x^2$", "城市", "東京", "a<b>&c"):
        assert word in page.text


def test_names_of_columns_reach_the_figures_as_they_are():
    rows = pl.DataFrame({"a$b_{": plane()[:, 0], "<ü&>": plane()[:, 1]})
    drawn = [i["src"] for i in Page(render_report(make(rows))).images]
    pictures = [base64.b64decode(d.split(",")[1]).decode() for d in drawn if "svg" in d]
    assert any(">a$b_{</text>" in picture and ">&lt;ü&amp;&gt;</text>" in picture for picture in pictures)


def test_the_gap_to_a_known_entropy_is_told():
    comparison = small(entropy=9.0)
    first = comparison.ranked()[0]
    page = Page(render_report(comparison))
    assert "Above entropy" in page.text
    assert f"{-first.test_log_likelihood - 9.0:.2f}" in page.text
    assert "Above entropy" not in Page(render_report(small())).text


def test_the_conclusion_follows_from_the_gap_to_the_entropy():
    level = -small().ranked()[0].test_log_likelihood
    assert any("within two standard errors" in s for s in conclusion(small(entropy=level)))
    assert any("nats away from it" in s for s in conclusion(small(entropy=level - 5)))
    assert any("which no model can" in s for s in conclusion(small(entropy=level + 5)))


def test_the_conclusion_says_whether_the_networks_were_worth_it():
    def neural(leads):
        return conclusion(small(leads=leads))[1]

    assert neural((1.0, 0.5, 0.0)).startswith("MADE and NADE beat the best baseline, Independent")
    assert neural((-1.0, -1.5, 0.0)).startswith("MADE and NADE stay behind the best baseline")
    assert "MADE beats" in neural((1.0, 0.0, 0.0)) and "NADE cannot be told" in neural((1.0, 0.0, 0.0))


def test_a_lower_bound_is_shown_as_one():
    comparison = small()
    results = list(comparison.results)
    results[2] = replace(results[2], note="lower bound: uniform dequantisation")
    page = Page(render_report(replace(comparison, results=results)))
    assert "≥ −" in page.text
    assert "lower bound: uniform dequantisation" in page.text
    assert "For Independent the table holds a lower bound" in page.text


def test_a_fit_that_still_improved_is_named():
    comparison = small()
    results = [replace(comparison.results[0], history=history(best=20)), *comparison.results[1:]]
    sentences = conclusion(replace(comparison, results=results))
    assert any(s.startswith("MADE was still improving") for s in sentences)
    assert not any("still improving" in s for s in conclusion(comparison))


def test_the_extreme_rows_are_those_of_the_leading_model():
    rows = pl.DataFrame({"id": [f"row{i}" for i in range(40)], "x": np.linspace(0, 1, 40)})
    comparison = make(rows, leads=(0.5,))
    nats = comparison.results[0].log_likelihoods
    nats[11], nats[23] = 50.0, -50.0
    text = Page(render_report(comparison)).text
    extremes = text[text.index("Most probable") :]
    assert re.search(r"Most probable 50\.00 row11", extremes)
    assert re.search(r"Least probable −50\.00 row23", extremes)


def test_rows_of_probability_zero_do_not_break_the_page():
    comparison = small()
    comparison.results[2].log_likelihoods[3] = -math.inf
    page = Page(render_report(comparison))
    assert "−∞" in page.text
    assert "1 of Independent" in page.text
    comparison.results[0].log_likelihoods[:] = -math.inf
    render_report(comparison)


def test_few_samples_are_enough():
    comparison = make(pl.DataFrame(mixed_table()))
    results = [replace(result, samples=result.samples[:1]) for result in comparison.results]
    assert "Drawn from MADE" in Page(render_report(replace(comparison, results=results))).text


def test_wide_rows_are_cut_and_the_page_says_so():
    table = text_table({"zeros": np.zeros((2, 40))}, [f"x{i}" for i in range(40)])
    assert len(table.header) == len(table.rows[0]) == 12
    wide = np.random.default_rng(0).normal(size=(30, 40))
    assert "The first 12 of 40 columns." in Page(render_report(make(wide))).text


def test_the_file_is_small_written_as_utf8_and_the_same_each_time(tmp_path):
    comparison = make(np.random.default_rng(0).integers(0, 2, (200, 784)), image_shape=(28, 28))
    path = tmp_path / "report.html"
    write_report(comparison, path)
    first = path.read_bytes()
    write_report(comparison, str(path))
    assert path.read_bytes() == first
    assert len(first) < 2_000_000
    assert first.decode("utf-8").lstrip().startswith("<!doctype html>")


def test_the_settings_of_the_callers_matplotlib_are_left_alone():
    mpl.rcParams["lines.linewidth"] = 4.25
    try:
        render_report(small())
        assert mpl.rcParams["lines.linewidth"] == 4.25
    finally:
        mpl.rcParams.update({"lines.linewidth": mpl.rcParamsDefault["lines.linewidth"]})


def test_notes_of_the_comparison_are_shown():
    text = render_report(small(notes=["GMM was left out: <it> needs continuous columns."]))
    assert "GMM was left out: &lt;it&gt; needs continuous columns." in text


def test_the_masks_in_the_picture_multiply_to_the_order_of_the_variables():
    degrees, out, between, into, paths = mask_matrices(6, 8)
    assert (paths == out.astype(int) @ between.astype(int) @ into.astype(int)).all()
    assert ((paths > 0) == np.tri(6, k=-1, dtype=bool)).all()
    drawn = base64.b64decode(mask_picture().source.split(",")[1]).decode()
    written = re.findall(r">([^<>]+)</text>", drawn)
    # The three masks label units by degrees (once or twice each); the product writes its non-zero counts.
    for count in paths[paths > 5]:
        assert str(count) in written
    assert written.count("p(x₆)") == 2 and {"×", "="} <= set(written)
    assert sum(text == str(degrees.max()) for text in written) >= 4
