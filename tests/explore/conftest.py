"""A browser, and models with pages, for the tests of `chainrule explore`."""

from __future__ import annotations

import shutil

import numpy as np
import polars as pl
import pytest
from tests.explore.pages import HOSTILE, Page, fitted, mixed_table

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CHROMEDRIVER = shutil.which("chromedriver")


@pytest.fixture(scope="session")
def mixed():
    with pytest.warns(UserWarning, match="'pay': 90000 lies far"):
        return fitted(mixed_table(), hidden_sizes=(24, 24), kinds={"visits": "count"})


@pytest.fixture(scope="session")
def binary():
    rng = np.random.default_rng(1)
    rows = (rng.normal(size=(600, 1)) + rng.normal(size=(600, 9)) > 0).astype(int)
    return fitted(rows, network="shared", hidden_sizes=(32, 32))


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def driver():
    if CHROMIUM is None or CHROMEDRIVER is None:
        pytest.skip("chromium or chromedriver is not installed")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
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
