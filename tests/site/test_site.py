"""The built site in a real browser: ways of newcomers, search, narrow screens, no request to elsewhere.

`mkdocs build --strict --site-dir DIR` and then `CHAINRULE_SITE=DIR pytest tests/site`.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SITE = os.environ.get("CHAINRULE_SITE")
NEWCOMER = Path(__file__).parents[2] / "docs" / "newcomer.md"
PATIENCE = 60  # ends a browser that hangs; nothing waits for the time to pass

pytestmark = pytest.mark.skipif(
    SITE is None, reason="the site was not built: mkdocs build --strict --site-dir DIR, CHAINRULE_SITE=DIR"
)


def questions() -> list[tuple[str, ...]]:
    """Return question, way, answer and clicks of each row of the table."""
    rows = re.findall(
        r"^\| (.+\?) \| (.+) \| (.+) \| (\d+) \|$", NEWCOMER.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(rows) == 10
    return rows


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=SITE))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("chromium or chromedriver is not installed")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-background-networking"):
        options.add_argument(f"--{argument}")
    options.add_argument("--disable-dev-shm-usage")
    service = webdriver.ChromeService(executable_path=driver)
    browser = webdriver.Chrome(options=options, service=service)
    yield browser
    browser.quit()


def until(browser, condition):
    from selenium.webdriver.support.wait import WebDriverWait

    return WebDriverWait(browser, PATIENCE).until(condition)


def follow(browser, text):
    """Click the visible link with this text, as a reader would."""
    links = browser.find_elements("css selector", "main a, header a, nav a")
    (link, *_) = [link for link in links if link.text.strip() == text and link.is_displayed()]
    before = browser.current_url
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", link)
    link.click()
    until(browser, lambda b: b.current_url != before)


@pytest.mark.parametrize(("question", "way", "answer", "clicks"), questions())
def test_newcomers_find_their_answers_with_so_many_clicks(browser, address, question, way, answer, clicks):
    browser.set_window_size(1280, 900)
    browser.get(address)
    links = way.split(" › ")
    for text in links:
        follow(browser, text)
    assert len(links) == int(clicks)
    headings = browser.find_elements("css selector", "main h1, main h2, main h3")
    named = [each for each in headings if each.text.rstrip("¶").strip() == answer]
    assert named, f"{browser.current_url} has no heading {answer!r}"
    # There are words below it, and it is what the way led to: the page is about it, or it is on the screen.
    below = browser.execute_script("return arguments[0].nextElementSibling", named[0])
    assert below is not None and below.text.strip()


def test_search_finds_a_word(browser, address):
    browser.set_window_size(1280, 900)
    browser.get(address)
    field = browser.find_element("css selector", "input[data-md-component=search-query]")
    field.send_keys("surprisal")
    hit = until(browser, lambda b: b.find_elements("css selector", ".md-search-result__link"))
    assert any("nomalies" in each.get_attribute("href") for each in hit)


def pages():
    return [] if SITE is None else sorted(path.relative_to(SITE) for path in Path(SITE).rglob("*.html"))


def test_no_page_asks_for_anything_from_elsewhere():
    assert len(pages()) > 40
    for page in pages():
        text = (Path(SITE or "") / page).read_text(encoding="utf-8")
        loaded = re.findall(
            r"<(?:script|img|iframe|source|video)\b[^>]*\ssrc=[\"']?(https?:)?//"
            r"|<link\b(?![^>]*rel=[\"']?canonical)[^>]*\shref=[\"']?(https?:)?//",
            text,
        )
        assert not loaded, page
    styles = "".join(path.read_text(encoding="utf-8") for path in Path(SITE or "").rglob("*.css"))
    assert not re.search(r"url\([\"']?https?:", styles)


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_the_screen(browser, address, width):
    # Headless windows have a least width: the size of the page is set instead.
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        wide: dict[str, int] = {}
        assert pages()
        for page in pages():
            browser.get(address + page.as_posix())
            reach = browser.execute_script("return document.documentElement.scrollWidth")
            if reach > width:
                wide[page.as_posix()] = reach
        assert not wide
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
