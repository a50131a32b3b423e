"""The page as people and programs use it: clicks, keyboard, hostile names, no network, a notebook."""

from __future__ import annotations

import json
from importlib.resources import files

import polars as pl
import pytest
from tests.explore.pages import HOSTILE, Page, column_of, fitted, mixed_table

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")


def test_names_and_levels_are_text_whatever_they_hold(open_page, hostile):
    page = open_page(hostile, title="<script>window.hacked = 1</script>")
    page.run("chainrule.set(JSON.parse(args[0]))", json.dumps({"__proto__": "__proto__"}))
    page.wait("document.querySelectorAll('#rows tbody tr').length === 10")
    assert page.run("return window.hacked === undefined")
    shown = page.run("return [...document.querySelectorAll('.label')].map((each) => each.textContent)")
    assert set(HOSTILE) <= set(shown)
    assert page.run("return document.querySelector('h1').textContent") == "<script>window.hacked = 1</script>"
    assert page.run("return document.querySelector('#chips').textContent").startswith("__proto__ = __proto__")


def test_a_click_on_a_bar_sets_it_and_another_takes_it_away(open_page, mixed):
    page = open_page(mixed)
    shares = "return [...document.querySelectorAll('#monitor-1 .share')].map((each) => each.textContent)"
    before = page.run(shares)
    page.find("#monitor-0 .bar").click()
    page.wait("document.querySelector('#monitor-0 .bar').getAttribute('aria-pressed') === 'true'")
    assert page.run("return chainrule.given()") == {"plan": column_of(mixed, "plan").levels[0]}
    assert page.run(shares) != before
    page.find("#monitor-0 .bar").click()
    page.wait("document.querySelector('#monitor-0 .bar').getAttribute('aria-pressed') === 'false'")
    assert page.run("return chainrule.given()") == {}
    assert page.run(shares) == before


def test_the_keyboard_sets_values_ranges_and_takes_them_away(open_page, mixed):
    page = open_page(mixed)
    active = page.driver.switch_to
    page.find("#monitor-0 .bar").send_keys("\ue007")  # Enter
    page.wait("document.querySelectorAll('.chip').length === 1")
    fields = page.driver.find_elements("css selector", "#monitor-5 input")
    fields[0].send_keys("65", "\ue004")  # Tab
    active.active_element.send_keys("72.5", "\ue007")
    page.wait("document.querySelectorAll('.chip').length === 2")
    assert page.run("return chainrule.given()")["weight"] == {"range": [65, 72.5]}
    page.wait("document.getElementById('status').textContent.startsWith('log p of what is set')")
    page.find(".chip button").send_keys("\ue00d")  # Space
    page.wait("document.querySelectorAll('.chip').length === 1")
    assert list(page.run("return chainrule.given()")) == ["weight"]


def test_a_brush_on_a_curve_sets_a_range(open_page, mixed):
    page = open_page(mixed)
    page.run("document.querySelector('#monitor-5').scrollIntoView({ block: 'center' })")
    chart = page.find("#monitor-5 .u-over")
    actions = webdriver.ActionChains(page.driver)
    actions.move_to_element_with_offset(chart, -30, 0).click_and_hold().move_by_offset(
        60, 0
    ).release().perform()
    page.wait("document.querySelectorAll('.chip').length === 1")
    low, high = page.run("return chainrule.given()")["weight"]["range"]
    assert 20 < low < high < 130


def test_several_levels_make_a_set(open_page, mixed):
    page = open_page(mixed)
    page.find("#monitor-1 .quiet").click()
    for bar in page.driver.find_elements("css selector", "#monitor-1 .bar")[:2]:
        bar.click()
    assert page.run("return chainrule.given()") == {"town": {"levels": ["Oslo", "Bergen"]}}


def test_what_to_ask_next_ranks_what_tells_about_the_target(open_page, mixed):
    page = open_page(mixed)
    page.run(
        "const select = document.getElementById('target');"
        "select.value = 'weight'; select.dispatchEvent(new Event('change'))"
    )
    shown = "[...document.querySelectorAll('#ranking .label')].map((each) => each.textContent)"
    page.wait(f"{shown}.length === 9 && !{shown}.includes('weight')")
    names = page.run(f"return {shown}")
    assert {"plan", "town", "rooms"} < set(names)
    assert names.index("rooms") < names.index("town")


def test_rows_drawn_have_what_is_set(open_page, mixed):
    page = open_page(mixed)
    given = {"town": "Vik", "income": {"range": [1000, 2000]}, "visits": {"range": [1, 3]}}
    page.run("chainrule.set(args[0])", given)
    page.wait("document.querySelectorAll('#rows td.is-set').length === 30")
    cells = page.run(
        "const rows = [...document.querySelectorAll('#rows tbody tr')];"
        "return rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    for row in cells:
        assert row[1] == "Vik"
        assert 1000 <= int(row[7].replace(",", "")) <= 2000
        assert 1 <= int(row[3]) <= 3
        assert row[8].startswith("2020-")


def test_the_page_loads_nothing_and_logs_nothing(open_page, driver, mixed):
    page = open_page(mixed)
    loaded = page.run("return performance.getEntriesByType('resource').map((each) => each.name)")
    assert all(name.startswith(("blob:", "data:")) for name in loaded)
    with pytest.raises(RuntimeError):
        page.run("await fetch('https://example.org')")
    assert [entry for entry in driver.get_log("browser") if "example.org" not in entry["message"]] == []


@pytest.mark.parametrize("width", [380, 1280])
def test_nothing_is_wider_than_the_window(open_page, driver, mixed, width):
    page = open_page(mixed, title="A model of everything that a rather long title may name")
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.run("chainrule.set({ town: 'Oslo', rain: { range: [0, 3] }, rooms: { range: [2, 9] } })")
        page.wait("document.querySelectorAll('#rows tbody tr').length === 10")
        assert page.run("return document.documentElement.scrollWidth") <= width
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


# ---------------------------------------------------------------- programs


def test_bad_questions_get_one_line(open_page, mixed):
    page = open_page(mixed)
    with pytest.raises(RuntimeError, match="no column"):
        page.run("chainrule.set({ nothing: 1 })")
    page.run("chainrule.set({ town: 'Paris' })")
    page.wait("document.getElementById('status').textContent.includes('has no level \"Paris\"')")
    for question, message in [
        ({"given": {"nothing": 1}, "of": "plan"}, "no column"),
        ({"given": {"town": "Paris"}, "of": "plan"}, "no level"),
        ({"given": {"rooms": {"range": [6, 3]}}, "of": "plan"}, "upside down"),
        ({"given": {"town": {"range": [1, 2]}}, "of": "plan"}, "no order"),
        ({"given": {"rooms": "many"}, "of": "plan"}, "takes numbers"),
        ({"given": {"visits": -1}, "of": "plan"}, "from 0 on"),
        ({"given": {"plan": "large"}, "of": "plan"}, "is set"),
        ({"given": {"town": None}, "of": "plan"}, "without a value"),
        ({"given": {"town": {"not": "Oslo"}}, "of": "plan"}, "expected a value"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            page.ask(**question)


def test_the_widget_shows_the_page_and_both_sides_know_what_is_set(driver, tmp_path, mixed):
    path = mixed.explore(tmp_path / "page.html")
    module = files("chainrule.explore").joinpath("js", "widget.js").read_text(encoding="utf-8")
    text = json.dumps(path.read_text(encoding="utf-8")).replace("<", "\\u003c")
    notebook = tmp_path / "notebook.html"
    notebook.write_text(
        f"<!doctype html><body><script type='module'>{module.replace('export default', 'const widget =')}"
        f"const state = {{ page: {text}, given: {{ town: 'Vik' }} }}, heard = {{}};"
        "window.model = { get: (name) => state[name], set: (name, value) => { state[name] = value; },"
        " save_changes: () => { window.saved = (window.saved ?? 0) + 1; },"
        " on: (name, call) => { heard[name] = call; }, heard };"
        "widget.render({ model: window.model, el: document.body });</script>"
    )
    page = Page(driver, notebook, ready=False)
    page.wait("window.saved === 1")  # the page has taken over what Python set, and says so
    page.run("model.set('given', { plan: 'large' }); model.heard['change:given']()")
    page.wait("window.saved === 2")
    assert page.run("return model.get('given')") == {"plan": "large"}
    driver.switch_to.frame(page.find("iframe"))
    page.find("#monitor-0 .bar[aria-pressed=true]").click()
    driver.switch_to.default_content()
    page.wait("window.saved === 3")
    assert page.run("return model.get('given')") == {}


@pytest.mark.filterwarnings("ignore:without any value", "ignore:column 'price' is text")
def test_empty_columns_and_amounts_are_shown(open_page):
    table = mixed_table().select(
        "plan", price=pl.format("${}", pl.col("rooms")), notes=pl.lit(None, pl.String)
    )
    page = open_page(fitted(table, hidden_sizes=(8,)))
    page.wait("document.querySelectorAll('#rows tbody tr').length === 10")
    cells = "[...document.querySelectorAll('#rows tbody td:last-child')]"
    assert set(page.run(f"return {cells}.map((each) => each.textContent)")) == {"missing"}
    page.run("chainrule.set({ price: { range: [0, 3] } })")
    page.wait("document.querySelectorAll('.chip').length === 1")
