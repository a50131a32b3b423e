"""The page in a real browser: the numbers of Python, hostile names, the keyboard, no network."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from importlib.resources import files

import numpy as np
import polars as pl
import pytest

from chainrule import Ensemble, OrderlessNADE

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CHROMEDRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or CHROMEDRIVER is None, reason="chromium or chromedriver is not installed"
)
N_ROWS = 1500
TOLERANCE = 1e-3


# ---------------------------------------------------------------- tables, models, pages


def mixed_table():
    """Return a table with a column of every kind: counts, dates, point masses, bins and all."""
    rng = np.random.default_rng(0)
    size = rng.normal(size=N_ROWS)
    start = dt.date(2020, 1, 1)
    return pl.DataFrame(
        {
            "plan": np.where(size + rng.normal(size=N_ROWS) > 0.5, "large", "small"),
            "town": rng.choice(["Oslo", "Bergen", "Tromsø", "Vik"], N_ROWS, p=[0.5, 0.3, 0.15, 0.05]),
            "rooms": np.clip(np.round(4 + 2 * size + rng.normal(size=N_ROWS)), 0, 15).astype(int),
            "visits": rng.poisson(np.exp(0.8 + 0.5 * size)),
            "rain": np.where(rng.random(N_ROWS) < 0.4, 0.0, rng.gamma(2.0, 1.5, N_ROWS)),
            "weight": 70 + 12 * size + rng.normal(size=N_ROWS),
            "income": np.where(rng.random(N_ROWS) < 0.5, 0, rng.integers(1, 90_000, N_ROWS)),
            "joined": [start + dt.timedelta(days=int(day)) for day in rng.integers(0, 200, N_ROWS)],
            "called": [
                dt.datetime(2024, 1, 1) + dt.timedelta(seconds=float(each))
                for each in np.round(rng.normal(5e6, 1e6, N_ROWS))
            ],
        }
    )


def fitted(rows, **arguments):
    return OrderlessNADE(max_epochs=4, random_state=0, n_components=3, **arguments).fit(rows)


@pytest.fixture(scope="module")
def mixed():
    return fitted(mixed_table(), hidden_sizes=(24, 24), kinds={"visits": "count"})


@pytest.fixture(scope="module")
def binary():
    rng = np.random.default_rng(1)
    rows = (rng.normal(size=(600, 1)) + rng.normal(size=(600, 9)) > 0).astype(int)
    return fitted(rows, network="shared", hidden_sizes=(32, 32))


HOSTILE = ["<b>x</b>", "</script><script>window.hacked = 1</script>", "\"quote\" & 'quote'", "<!-- "]


@pytest.fixture(scope="module")
def hostile():
    rng = np.random.default_rng(2)
    levels = rng.choice(HOSTILE, 600, p=[0.4, 0.3, 0.2, 0.1])
    name = "<img src=x onerror='window.hacked = 1'>"
    return fitted(
        pl.DataFrame(
            {
                name: levels,
                "__proto__": rng.choice(["a", "b", "__proto__"], 600),
                "constructor": rng.normal(size=600),
            }
        ),
        hidden_sizes=(8,),
        mixture="logistic",
    )


class Page:
    """A page in a browser; scripts are awaited."""

    def __init__(self, driver, path, ready=True):
        self.driver = driver
        driver.get(path.as_uri())
        if ready:
            self.run("return await chainrule.ready")

    def run(self, script, *arguments):
        wrapped = (
            "const done = arguments[arguments.length - 1];"
            f"(async (...args) => {{ {script} }})(...Array.from(arguments).slice(0, -1))"
            ".then((value) => done({ value }), (error) => done({ error: error.message }));"
        )
        answer = self.driver.execute_async_script(wrapped, *arguments)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer.get("value")

    def ask(self, **question):
        # As text: the driver itself stumbles over a key such as __proto__.
        script = "return JSON.stringify(await chainrule.ask(JSON.parse(args[0])))"
        return json.loads(self.run(script, json.dumps(question, default=str)))

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    def wait(self, condition):
        """Wait until a script's expression is true."""
        self.run(
            f"while (!({condition})) await new Promise((resolve) => requestAnimationFrame(resolve)); return 1"
        )


@pytest.fixture(scope="module")
def driver():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-background-networking",
        "disable-dev-shm-usage",
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=CHROMEDRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


@pytest.fixture
def open_page(driver, tmp_path):
    def opened(model, title="A model"):
        return Page(driver, model.explore(tmp_path / "page.html", title=title))

    return opened


# ---------------------------------------------------------------- the numbers of Python


def questions(rows, n, seed):
    """Yield conditions, a column that is asked for, and one of its values, from random rows and columns."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        row = rows.row(int(rng.integers(len(rows))), named=True)
        *given, of = rng.permutation(rows.columns)[: rng.integers(1, rows.width + 1)].tolist()
        yield {name: row[name] for name in given}, of, row[of]


def conditional(model, rows, given, of):
    """Return Python's answer: the distribution of one column given values of others, of one row or more."""
    cases = given if isinstance(given, list) else [given]
    known = pl.DataFrame(
        [pl.Series(name, [case.get(name) for case in cases], dtype=rows[name].dtype) for name in rows.columns]
    )
    if model.schema_.container == "numpy":
        known = known.cast(pl.Float64).to_numpy()
        of = rows.columns.index(of)
    return model.conditional(known, of)


def column_of(model, name):
    return model.schema_.variables[model.schema_.names.index(name)]


def number(value):
    if isinstance(value, dt.datetime):
        return (value - dt.datetime(1970, 1, 1)).total_seconds()
    return (value - dt.date(1970, 1, 1)).days if isinstance(value, dt.date) else value


def difference(model, rows, page, given, of, value):
    """Return by how much probabilities differ between the page and Python."""
    variable, expected = column_of(model, of), conditional(model, rows, given, of)
    if variable.levels is not None and variable.bins is None:
        found = page.ask(given=given, of=of)["probabilities"]
        assert set(found) == {str(level) for level in variable.levels}
        each = [found[str(level)] for level in variable.levels]
        return np.abs(np.array(each) - expected.probabilities[0]).max()
    found = page.ask(given=given, of=of, at=[value])["cdf"][0]
    return abs(found - expected.cdf(number(value))[0])


def rows_of(model, request):
    """Return rows of a model's columns as a polars table."""
    if model is request.getfixturevalue("mixed"):
        return mixed_table()
    rows = model.sample(50, random_state=0)
    return rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(rows, schema=list(model.schema_.names))


@pytest.mark.parametrize(("name", "n", "seed"), [("mixed", 120, 0), ("binary", 50, 1), ("hostile", 30, 2)])
def test_200_random_questions_have_the_answers_of_python(request, open_page, name, n, seed):
    model = request.getfixturevalue(name)
    rows, page = rows_of(model, request), open_page(model)
    worst = max(difference(model, rows, page, *question) for question in questions(rows, n, seed))
    assert worst < TOLERANCE


def test_an_ensemble_averages_the_answers_of_its_members(request, open_page, hostile):
    rows = rows_of(hostile, request)
    network = OrderlessNADE(hidden_sizes=(8,), max_epochs=2, mixture="laplace")
    model = Ensemble(network, n_members=2, random_state=0).fit(rows)
    page = open_page(model)
    assert max(difference(model, rows, page, *question) for question in questions(rows, 5, 0)) < TOLERANCE


@pytest.mark.parametrize(
    ("activation", "network", "sizes"),
    [
        ("gelu", "shared", (8, 6)),
        ("silu", "columns", (8,)),
        ("elu", "shared", (8, 8)),
        ("tanh", "columns", (6, 6)),
    ],
)
def test_every_shape_of_network_is_computed(request, open_page, hostile, activation, network, sizes):
    rows = rows_of(hostile, request)
    arguments = {"activation": activation, "network": network, "hidden_sizes": sizes}
    model = OrderlessNADE(max_epochs=2, random_state=0, encoding="scaled", **arguments).fit(rows)
    page = open_page(model)
    assert max(difference(model, rows, page, *question) for question in questions(rows, 4, 0)) < TOLERANCE


def test_log_p_of_values_is_the_sum_of_log_conditionals(open_page, mixed):
    rows, page = mixed_table(), open_page(mixed)
    given, expected = {}, 0.0
    for name, value in {"town": "Vik", "rain": 0.0, "income": 0, "weight": 71.5, "visits": 3}.items():
        variable = column_of(mixed, name)
        share = variable.seen_log_det if variable.is_discrete and variable.bins is None else 0.0
        expected += conditional(mixed, rows, given, name).log_prob(value)[0] + share
        given[name] = value
    assert page.ask(given=given, of="plan")["log_probability"] == pytest.approx(expected, abs=5e-3)


def test_quantiles_and_means_are_those_of_python(open_page, mixed):
    rows, page = mixed_table(), open_page(mixed)
    for of in ("rooms", "visits", "rain", "weight", "income", "joined", "called"):
        answer = page.ask(given={"plan": "large"}, of=of)
        expected = conditional(mixed, rows, {"plan": "large"}, of)
        spread = expected.quantile(0.95)[0] - expected.quantile(0.05)[0]
        found = [answer["mean"], *answer["quantiles"].values()]
        wanted = [expected.mean()[0], *(expected.quantile(q)[0] for q in (0.05, 0.25, 0.5, 0.75, 0.95))]
        assert np.abs(np.subtract(found, wanted)).max() <= max(0.005 * spread, 1e-9), of


# ---------------------------------------------------------------- ranges and sets


def mixture_over(model, rows, of, cases):
    """Return P(of | event), exactly: over conditions with weights, the mean of what Python says."""
    weights = np.array([weight for _, weight in cases])
    each = conditional(model, rows, [given for given, _ in cases], of).probabilities
    return weights @ each / weights.sum(), weights.sum()


def level_cases(model, rows, name, values, given=None):
    variable, known = column_of(model, name), given or {}
    distribution = conditional(model, rows, known, name)
    if variable.is_numeric and variable.levels is not None:
        first = variable.levels[0]
        each = distribution.probabilities[0]
        return [({**known, name: v}, float(each[v - first])) for v in values]
    return [({**known, name: v}, float(np.exp(distribution.log_prob(v)[0]))) for v in values]


def interval_cases(model, rows, name, low, high, given=None, n=200):
    """Return the middles of an interval's cells, with their probabilities."""
    edges = np.linspace(low, high, n + 1)
    distribution = conditional(model, rows, given or {}, name)
    masses = np.diff([distribution.cdf(edge)[0] for edge in edges])
    middles = (edges[:-1] + edges[1:]) / 2
    return [({**(given or {}), name: float(v)}, float(m)) for v, m in zip(middles, masses, strict=True)]


def test_sets_and_ranges_of_levels_are_exact(open_page, mixed):
    rows, page = mixed_table(), open_page(mixed)
    towns = level_cases(mixed, rows, "town", ["Oslo", "Vik"])
    cases = [
        (given, weight * p)
        for town, weight in towns
        for given, p in level_cases(mixed, rows, "rooms", range(3, 7), town)
    ]
    expected, total = mixture_over(mixed, rows, "plan", cases)
    given = {"town": {"levels": ["Oslo", "Vik"]}, "rooms": {"range": [3, 6]}}
    answer = page.ask(given=given, of="plan")
    assert answer["method"] == "exact"
    found = [answer["probabilities"][level] for level in column_of(mixed, "plan").levels]
    assert np.abs(np.array(found) - expected).max() < TOLERANCE
    # Each of the two columns keeps a share for levels never seen, which is no part of Python's probability.
    assert answer["log_probability"] == pytest.approx(np.log(total), abs=5e-3)


def test_a_range_that_cuts_bins_is_exact(open_page, mixed):
    rows, page = mixed_table(), open_page(mixed)
    cases = level_cases(mixed, rows, "income", range(1000, 2201))
    expected, total = mixture_over(mixed, rows, "plan", cases)
    answer = page.ask(given={"income": {"range": [1000, 2200]}}, of="plan")
    found = [answer["probabilities"][level] for level in column_of(mixed, "plan").levels]
    assert np.abs(np.array(found) - expected).max() < TOLERANCE
    assert answer["log_probability"] == pytest.approx(np.log(total), abs=5e-3)


def test_ranges_of_numbers_agree_within_the_error_of_sampling(open_page, mixed):
    rows, page = mixed_table(), open_page(mixed)
    cases = [
        (given, weight * p)
        for number, weight in interval_cases(mixed, rows, "weight", 60.0, 75.0, n=24)
        for given, p in level_cases(mixed, rows, "visits", range(2, 5), number)
    ]
    expected, total = mixture_over(mixed, rows, "plan", cases)
    given = {"weight": {"range": [60, 75]}, "visits": {"range": [2, 4]}}
    answer = page.ask(given=given, of="plan")
    assert answer["method"] == "sampling"
    found = [answer["probabilities"][level] for level in column_of(mixed, "plan").levels]
    error = np.sqrt(expected * (1 - expected) / answer["n_effective"])
    assert (np.abs(np.array(found) - expected) < 3 * error).all()
    assert answer["log_probability"] == pytest.approx(np.log(total), abs=0.05)


def test_a_column_with_a_range_stays_within_it(open_page, mixed):
    page = open_page(mixed)
    for name, low, high in (("rain", 1.0, 2.5), ("income", 1000, 2000), ("visits", 2, 5), ("rooms", 3, 5)):
        given = {name: {"range": [low, high]}, "weight": {"range": [60, None]}}
        at = [low - 1, low, high, high + 1, high + 2]
        below, first, *all_of_it = page.ask(given=given, of=name, at=at)["cdf"]
        assert below == 0
        assert 0 <= first < 0.7
        assert all_of_it == pytest.approx([1, 1, 1], abs=1e-6)
        answer = page.ask(given=given, of=name)
        assert low <= answer["quantiles"]["0.05"] <= answer["mean"] <= answer["quantiles"]["0.95"] <= high


def test_a_range_alone_cuts_the_distribution_and_leaves_its_shape(open_page, mixed):
    rows, page = mixed_table(), open_page(mixed)
    for name, low, high in (
        ("visits", 2, 5),
        ("rain", 0.0, 2.5),
        ("weight", 90.0, 95.0),
        ("income", 990, 2200),
    ):
        expected = conditional(mixed, rows, {}, name)
        at = np.linspace(low, high, 4)
        before = expected.cdf(low - (1 if column_of(mixed, name).is_discrete else 1e-6))[0]
        wanted = [expected.cdf(value)[0] - before for value in at]
        answer = page.ask(given={name: {"range": [low, high]}}, of=name, at=at.tolist())
        assert answer["cdf"] == pytest.approx(np.array(wanted) / wanted[-1], abs=2 * TOLERANCE), name


def test_what_the_model_rules_out_is_said(open_page, mixed):
    page = open_page(mixed)
    page.run("chainrule.set({ weight: { range: [100000, 200000] }, town: 'Vik' })")
    page.wait("document.getElementById('status').textContent.includes('no probability')")
    with pytest.raises(RuntimeError, match="no probability"):
        page.ask(given={"weight": {"range": [100_000, 200_000]}}, of="plan")


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


# ---------------------------------------------------------------- people


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
    page.wait(f"{shown}.length === 8 && !{shown}.includes('weight')")
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
        assert 1000 <= int(row[6].replace(",", "")) <= 2000
        assert 1 <= int(row[3]) <= 3
        assert row[7].startswith("2020-")


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
