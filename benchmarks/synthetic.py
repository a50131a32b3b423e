"""Synthetic rows of adult, ours and those of SDV: how like real ones they are, and what is learnt from them.

Each synthesizer learns from the training rows, draws as many rows as there are, and is measured against the
same test rows (`chainrule.metrics`). SDV's are used as its documentation shows, with the kinds of columns
declared, so that it takes no column for an address or a key. They draw missing cells of their own; rows of
ours are complete, and get the missing cells of training rows drawn at random.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.rare_cell import draws_of_a_rare_cell
from benchmarks.tables import Row, Skipped
from chainrule import Independent, Mixture, OrderlessNADE, load
from chainrule.datasets import Dataset, load_dataset
from chainrule.datasets.sources import DATA_VARIABLE
from chainrule.metrics.fidelity import Fidelity, FidelityEvaluator
from chainrule.schema import Schema

__all__ = ["Synthesized", "compare_synthesizers", "synthetic"]

_SEED = 0
_N_ORDERS = 8  # as `chainrule compare` averages over
_SAVED = (
    "independent",
    "mixture",
    "orderless-nade",
    "orderless-nade",
)  # folders of a run of `chainrule compare`
_RARE = {"education": "Doctorate", "sex": "Female"}
_TABLE = "rows"  # what SDV is told that the table is called


@dataclass(frozen=True)
class Synthesized:
    """What the rows of one synthesizer have in common with real ones."""

    data: str
    method: str
    n_rows: int
    columns: float
    pairs: float
    copies: float
    nearest: float
    auc: float
    auc_error: float
    behind_real: float
    behind_real_error: float
    fit_seconds: float
    sample_seconds: float

    heading = (
        f"{'data':<8} {'method':<28} {'rows':>7} {'columns':>8} {'pairs':>7} {'copies':>8} {'nearest':>8} "
        f"{'AUC on real rows':>18} {'difference to real':>20} {'fit, s':>8} {'draw, s':>8}"
    )

    def line(self) -> str:
        """Return the row as a line of its table."""
        return (
            f"{self.data:<8} {self.method:<28} {self.n_rows:>7} {self.columns:>8.4f} {self.pairs:>7.4f} "
            f"{self.copies:>8.3%} {self.nearest:>8.4f} {f'{self.auc:.4f} +- {self.auc_error:.4f}':>18} "
            f"{f'{self.behind_real:+.4f} +- {self.behind_real_error:.4f}':>20} {self.fit_seconds:>8.1f} "
            f"{self.sample_seconds:>8.1f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all of it."""
        return asdict(self)


def synthetic(checkpoint: Path | None = None) -> Iterator[Row]:
    """Yield the figures of adult, where CHAINRULE_DATA has it: real rows, our models, those of SDV.

    Parameters
    ----------
    checkpoint : Path, optional
        A run folder of ``chainrule compare`` on adult, whose models are taken; otherwise they are fitted.
    """
    folder = Path(os.environ.get(DATA_VARIABLE, "")) / "tables" / "adult"
    if not folder.is_dir():
        yield Skipped("adult", f"no data: {DATA_VARIABLE} names no folder with tables/adult")
        return
    dataset = load_dataset(folder, random_state=_SEED, missing=("?",))
    models = {
        "independent columns": Independent(random_state=_SEED),
        "mixture": Mixture(random_state=_SEED),
        "any-order MADE": OrderlessNADE(network="shared", n_orderings=_N_ORDERS, random_state=_SEED),
        "orderless NADE": OrderlessNADE(n_orderings=_N_ORDERS, random_state=_SEED),
    }
    if checkpoint is not None:
        models = {
            name: load(checkpoint / "models" / folder) for name, folder in zip(models, _SAVED, strict=True)
        }
    yield from compare_synthesizers(dataset, models)
    for name in ("any-order MADE", "orderless NADE"):
        yield from draws_of_a_rare_cell(name, models[name], dataset, _RARE)


def compare_synthesizers(
    dataset: Dataset, models: Mapping[str, Any], ctgan_epochs: int = 300
) -> Iterator[Row]:
    """Yield the measures of real rows, of our models, and of SDV's.

    Parameters
    ----------
    dataset : Dataset
        A table, as a polars DataFrame.
    models : mapping of str to estimator
        Ours, by name; those that are fitted already are taken as they are.
    ctgan_epochs : int
        SDV's own default is 300.
    """
    schema = Schema.infer(dataset.train, dataset.kinds, missing=True)
    real = FidelityEvaluator(schema, dataset.train, dataset.test, random_state=_SEED)
    yield _row(dataset.name, "real rows", real.real, real, 0.0, 0.0)
    for name, model in models.items():
        start = time.perf_counter()
        if not hasattr(model, "schema_"):
            model.fit(dataset.train, X_val=dataset.valid)
        learned = time.perf_counter() - start
        yield _drawn(dataset.name, name, lambda n, m=model: m.sample(n, random_state=_SEED), real, learned)
    try:
        synthesizers = _sdv(schema, ctgan_epochs)
    except ImportError:
        yield Skipped("SDV", "not installed; pip install -e '.[sdv]' brings it")
        return
    frame = dataset.train.with_columns(pl.col(pl.Enum).cast(pl.String)).to_pandas()
    for name, synthesizer in synthesizers.items():
        start = time.perf_counter()
        synthesizer.fit({_TABLE: frame})
        learned = time.perf_counter() - start
        yield _drawn(dataset.name, name, _sampler(synthesizer, dataset.train.schema), real, learned)


def _sdv(schema: Schema, ctgan_epochs: int) -> dict[str, Any]:
    """Return SDV's synthesizers, still to be fitted."""
    from sdv.metadata import Metadata
    from sdv.single_table import CTGANSynthesizer, GaussianCopulaSynthesizer

    columns = {
        variable.name: {"sdtype": "categorical" if variable.levels else "numerical"}
        for variable in schema.variables
    }
    metadata = Metadata.load_from_dict({"tables": {_TABLE: {"columns": columns}}, "relationships": []})
    release = version("sdv")
    return {
        f"GaussianCopula, SDV {release}": GaussianCopulaSynthesizer(metadata),
        f"CTGAN, SDV {release}": CTGANSynthesizer(metadata, epochs=ctgan_epochs),
    }


def _sampler(synthesizer: Any, dtypes: Mapping[str, Any]) -> Callable[[int], pl.DataFrame]:
    def draw(n: int) -> pl.DataFrame:
        rows = pl.from_pandas(synthesizer.sample(n)[_TABLE])
        return rows.select(pl.col(name).cast(dtype) for name, dtype in dtypes.items())

    return draw


def _drawn(
    data: str, name: str, draw: Callable[[int], Any], real: FidelityEvaluator, learned: float
) -> Synthesized:
    start = time.perf_counter()
    rows = draw(real.n_rows)
    spent = time.perf_counter() - start
    return _row(data, name, real.measure(rows), real, learned, spent)


def _row(
    data: str, method: str, found: Fidelity, real: FidelityEvaluator, learned: float, spent: float
) -> Synthesized:
    if found.tstr_auc is None or real.real.tstr_auc is None:
        raise ValueError(f"{data} has no column for a classifier to predict")
    gap = found.tstr_auc.difference(real.real.tstr_auc)
    return Synthesized(
        data=data,
        method=method,
        n_rows=found.n_rows,
        columns=found.mean_marginal_distance,
        pairs=found.association_difference,
        copies=found.exact_matches,
        nearest=found.dcr,
        auc=found.tstr_auc.value,
        auc_error=found.tstr_auc.standard_error,
        behind_real=gap.mean,
        behind_real_error=gap.standard_error,
        fit_seconds=learned,
        sample_seconds=spent,
    )
