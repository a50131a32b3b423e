"""Save a tiny model of each class, and what it says of some rows: `python tests/golden/make.py`.

A folder is written once, and loaded by every later chainrule; a new class or column type adds one.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl

from chainrule import (
    GMM,
    MADE,
    NADE,
    ConvNADE,
    Ensemble,
    Independent,
    Mixture,
    MixtureOfBernoullis,
    OrderlessNADE,
    PixelCNN,
)
from chainrule.storage import FORMAT_VERSION

HERE = Path(__file__).parent
SMALL = {"max_epochs": 2, "random_state": 0}


def table(n: int = 300) -> pl.DataFrame:
    """Return columns of every type: two levels, names, few and very many integers, counts, numbers, dates."""
    rng = np.random.default_rng(0)
    day = np.datetime64("2024-02-01") + rng.integers(0, 40, n).astype("timedelta64[D]")
    return pl.DataFrame(
        {
            "sex": rng.choice(["f", "m"], n),
            "town": rng.choice(["Oslo", "Rome", "Graz"], n, p=[0.6, 0.3, 0.1]),
            "age": rng.integers(18, 60, n),
            "gain": np.where(rng.random(n) < 0.5, 0, rng.integers(1, 5000, n)),
            "visits": rng.negative_binomial(2, 0.3, n),
            "height": rng.normal(170, 9, n),
            "rain": np.where(rng.random(n) < 0.3, 0.0, rng.gamma(2.0, 3.0, n)),
            "day": day,
        }
    )


def models() -> dict[str, tuple[object, object, object]]:
    """Return estimators, their rows, and their context, by the names of their folders."""
    mixed, kinds = table(), {"visits": "count"}
    holes = mixed.with_columns(pl.when(pl.col("age") < 25).then(None).otherwise(pl.col("town")).alias("town"))
    numbers = mixed.select("age", "height").to_pandas()
    bits = (np.random.default_rng(1).random((200, 5)) < 0.3).astype(np.uint8)
    plain = mixed.drop("visits")
    written = mixed.select("sex", price=pl.format("${}", pl.col("gain")), notes=pl.lit(None, pl.String))
    context = mixed.select("sex", "height")
    return {
        "nade": (NADE(4, n_components=2, kinds=kinds, **SMALL), mixed, None),
        "nade-written": (NADE(4, n_components=2, **SMALL), written, None),
        "nade-context": (NADE(4, **SMALL), bits, context.head(200)),
        "made": (MADE((4, 4), n_components=2, n_orderings=2, n_masks=2, kinds=kinds, **SMALL), mixed, None),
        "made-laplace": (MADE((4,), mixture="laplace", encoding="scaled", **SMALL), numbers, None),
        "orderless-nade": (
            OrderlessNADE((4, 4), network="shared", n_components=2, kinds=kinds, **SMALL),
            holes,
            None,
        ),
        "column-networks": (OrderlessNADE((4, 4), n_components=2, kinds=kinds, **SMALL), holes, None),
        "pixel-cnn": (
            PixelCNN(4, n_layers=1, n_components=2, kinds=kinds, image_shape=(2, 4), n_orderings=2, **SMALL),
            mixed,
            None,
        ),
        "conv-nade": (
            ConvNADE(4, n_hidden=4, n_components=2, kinds=kinds, image_shape=(2, 4), **SMALL),
            holes,
            None,
        ),
        "ensemble": (Ensemble(MADE((4,), **SMALL), 2, random_state=0), bits, None),
        "independent": (Independent(), plain, None),
        "mixture": (Mixture(2, random_state=0), plain, None),
        "mixture-of-bernoullis": (MixtureOfBernoullis(2, random_state=0), bits, None),
        "gmm": (GMM(2, random_state=0), numbers, None),
    }


def main() -> None:
    """Write the folders of the current version that are not there yet: none is ever written again."""
    for name, (model, rows, context) in models().items():
        folder = HERE / f"v{FORMAT_VERSION}" / name
        if folder.exists():
            continue
        given = {} if context is None else {"context": context}
        model.fit(rows, **given)
        model.save(folder)
        scores = model.score_samples(rows[:20], **{key: value[:20] for key, value in given.items()})
        (folder / "expected.json").write_text(json.dumps({"score_samples": scores.tolist()}))


if __name__ == "__main__":
    main()
