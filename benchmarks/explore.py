"""The page of adult: its size, the time of answers in Chromium, and how far they are from Python's.

``python -m benchmarks.explore [--pictures DIR]`` fits `OrderlessNADE`; it needs selenium, chromium,
chromedriver and the data of ``$CHAINRULE_DATA``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image
from selenium import webdriver

from benchmarks import machine
from chainrule import OrderlessNADE, load_dataset

_SEED = 0
_TITLE = "Adults in the census of 1994"
_CONDITIONS = {
    "two values": {"education": "Masters", "sex": "Female"},
    "a range of a few levels (age)": {"age": {"range": [30, 40]}},
    "a range of a density (fnlwgt)": {"fnlwgt": {"range": [100_000, 200_000]}},
    "two values and both ranges": {
        "education": "Masters",
        "sex": "Female",
        "age": {"range": [30, 40]},
        "fnlwgt": {"range": [100_000, 200_000]},
    },
}
_SHOWN = {"education": "Masters", "age": {"range": [30, 40]}}
_PICTURES = {
    "explore-desktop": (1280, 860, "light", _SHOWN),
    "explore-next": (1280, 860, "light", {**_SHOWN, "sex": "Female"}),
    "explore-phone": (390, 844, "light", _SHOWN),
    "explore-dark": (1280, 860, "dark", {"class": ">50K", "hours-per-week": {"range": [None, 30]}}),
}


def main() -> None:
    """Fit, write the page, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.explore", description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="answers per condition")
    parser.add_argument("--questions", type=int, default=200, help="how many are compared with Python")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write screenshots there")
    arguments = parser.parse_args()
    rows = load_dataset(
        str(Path(os.environ["CHAINRULE_DATA"], "tables", "adult", "adult.data")), random_state=_SEED
    )
    start = time.perf_counter()
    model = OrderlessNADE(n_orderings=8, random_state=_SEED).fit(rows.train, X_val=rows.valid)
    print(f"fit: {time.perf_counter() - start:.1f} s, {model.n_parameters_:,} parameters")
    with tempfile.TemporaryDirectory() as folder, _browser() as driver:
        start = time.perf_counter()
        page = model.explore(Path(folder, "page.html"), title=_TITLE)
        print(f"page: {page.stat().st_size / 1e6:.2f} MB, written in {time.perf_counter() - start:.2f} s")
        _open(driver, page)
        for name, given in _CONDITIONS.items():
            inside, shown = zip(*(_timed(driver, given) for _ in range(arguments.runs)), strict=True)
            medians = statistics.median(inside), statistics.median(shown)
            print(
                f"all 15 columns, {name}: {medians[0]:.1f} ms in the worker, {medians[1]:.1f} ms until shown"
            )
        worst = max(_differences(driver, model, rows.test, arguments.questions))
        print(f"largest difference of a probability in {arguments.questions} questions: {worst:.1e}")
        for name, settings in (_PICTURES if arguments.pictures else {}).items():
            _picture(driver, page, arguments.pictures / f"{name}.png", *settings)
    print(machine.metadata())


@contextmanager
def _browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-background-networking",
        "hide-scrollbars",
    ):
        options.add_argument(f"--{argument}")
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    driver.set_script_timeout(60)
    try:
        yield driver
    finally:
        driver.quit()


def _run(driver: Any, script: str, *values: Any) -> Any:
    """Return what an async function's body returns; `args` are the values."""
    wrapped = "const args = [...arguments], done = args.pop();"
    return driver.execute_async_script(f"{wrapped} (async () => {{ {script} }})().then(done)", *values)


def _open(driver: Any, page: Path) -> None:
    driver.get(page.as_uri())
    _run(driver, "await chainrule.ready")


def _timed(driver: Any, given: dict[str, Any]) -> tuple[float, float]:
    """Return milliseconds of one answer for all columns, in the worker and until it is shown."""
    script = """
        const settled = async () => {
          delete document.body.dataset.milliseconds;
          while (!document.body.dataset.milliseconds) await new Promise((resolve) => setTimeout(resolve, 0));
        };
        chainrule.set({});
        await settled();
        await new Promise((resolve) => setTimeout(resolve, 1000));
        const start = performance.now();
        chainrule.set(args[0]);
        await settled();
        const end = performance.now();
        return [Number(document.body.dataset.milliseconds), end - start];
    """
    inside, shown = _run(driver, script, given)
    return inside, shown


def _differences(driver: Any, model: OrderlessNADE, rows: pl.DataFrame, n: int) -> Iterator[float]:
    """Yield by how much the probabilities of random questions differ."""
    generator = np.random.default_rng(_SEED)
    for _ in range(n):
        row = rows.row(int(generator.integers(len(rows))), named=True)
        chosen = generator.permutation(rows.columns)[: generator.integers(1, rows.width + 1)].tolist()
        *given, of = (name for name in chosen if row[name] is not None)
        known = pl.DataFrame(
            [
                pl.Series(name, [row[name] if name in given else None], rows[name].dtype)
                for name in rows.columns
            ]
        )
        expected = model.conditional(known, of).as_numbers()
        question = {"given": {name: row[name] for name in given}, "of": of, "at": [row[of]]}
        text = _run(driver, "return JSON.stringify(await chainrule.ask(args[0]))", question)
        answer = json.loads(text)
        if "cdf" in answer:
            yield abs(answer["cdf"][0] - expected.cdf(row[of])[0])
        else:
            found = [answer["probabilities"][str(level)] for level in expected.levels or ()]
            yield float(np.abs(np.array(found) - expected.probabilities[0]).max())


def _picture(driver: Any, page: Path, path: Path, width: int, height: int, scheme: str, given: Any) -> None:
    """Write a screenshot of the page with some conditions set."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    _open(driver, page)
    _run(driver, "chainrule.set(args[0]); await new Promise((resolve) => setTimeout(resolve, 2000))", given)
    if path.stem.endswith("next"):
        _run(driver, "document.getElementById('next').scrollIntoView()")
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.open(BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    picture.quantize(96).save(path, optimize=True)


if __name__ == "__main__":
    main()
