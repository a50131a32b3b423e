"""Tables, and pages in a browser, for the tests of `chainrule explore`."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import polars as pl

from chainrule import OrderlessNADE

N_ROWS = 1500
TOLERANCE = 1e-3
HOSTILE = ["<b>x</b>", "</script><script>window.hacked = 1</script>", "\"quote\" & 'quote'", "<!-- "]


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
            "pay": np.append(30 + 5 * size[1:] + rng.normal(size=N_ROWS - 1), 9e4),  # an outlier
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


def column_of(model, name):
    return model.schema_.variables[model.schema_.names.index(name)]
