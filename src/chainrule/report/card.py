"""A model card: README.md in the folder of a saved model, as the Hugging Face Hub shows it.

Loading a model does not read it.
"""

from __future__ import annotations

import html
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chainrule import __version__
from chainrule.estimators.base import DensityEstimator
from chainrule.metrics.membership import FALSE_POSITIVES, Membership, membership_test
from chainrule.metrics.statistics import Summary, summarize
from chainrule.report.numbers import count, in_ascii, measured_text, number, short
from chainrule.storage import read_folder, write_bytes
from chainrule.terminal import printable

__all__ = ["CARD", "Measured", "card_text", "measure", "write_card"]

CARD = "README.md"
# More rows tell no more about membership, and more columns nothing to a reader.
_MAX_ROWS = 20_000
_MAX_COLUMNS = 60
_MAX_LETTERS = 40


@dataclass(frozen=True, eq=False)
class Measured:
    """What a model reached on rows that it was not fitted to, and what it gives away of those of the fit.

    Attributes
    ----------
    n_train : int
        Training rows.
    test : Summary
        Log-likelihoods of held-out rows, nats.
    membership : Membership
    """

    n_train: int
    test: Summary
    membership: Membership

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON holds them."""
        return {
            "n_train": self.n_train,
            "n_test": self.test.n_rows,
            "test_log_likelihood": self.test.mean,
            "standard_error": self.test.standard_error,
            "membership": self.membership.to_dict(),
        }


def measure(estimator: DensityEstimator, train: Any, held_out: Any) -> Measured:
    """Score training and held-out rows, and tell one from the other by their log-likelihoods.

    Parameters
    ----------
    estimator : density estimator
        Fitted.
    train, held_out : array or DataFrame
        Of more than 20,000 training rows so many are drawn.
    """
    chosen = np.random.default_rng(0).permutation(len(train))[:_MAX_ROWS]
    known = estimator.score_samples(train[np.sort(chosen)])
    new = estimator.score_samples(held_out)
    return Measured(len(train), summarize(new), membership_test(known, new))


def write_card(estimator: DensityEstimator, folder: str | Path, measured: Measured | None = None) -> None:
    """Write the card of a saved model into its folder.

    Parameters
    ----------
    estimator : density estimator
        Fitted.
    folder : str or Path
        That it was saved into.
    measured : Measured, optional
        What `measure` returned; without it the card says that nothing was measured.

    Raises
    ------
    StorageError
        If the folder is not that of a saved model.
    """
    metadata, _ = read_folder(folder)
    text = card_text(estimator, measured, metadata["sha256"])
    write_bytes(Path(folder) / CARD, text.encode())


def card_text(estimator: DensityEstimator, measured: Measured | None, sha256: str) -> str:
    """Return the card as Markdown.

    Parameters
    ----------
    estimator : density estimator
        Fitted.
    measured : Measured, optional
    sha256 : str
        The checksum of the model's arrays, which says what model the card is of.
    """
    parts = [
        _front_matter(estimator),
        f"# {type(estimator).__name__} of {count(estimator.schema_.n_variables)} columns\n",
        _what_it_is(estimator),
        _USE,
        _data(estimator, measured),
        _figures(estimator, measured),
        _limits(estimator),
        _privacy(measured),
        f"Written by chainrule {__version__} for the arrays with the SHA-256 `{sha256}`.\n",
    ]
    return "\n".join(parts)


def _front_matter(estimator: DensityEstimator) -> str:
    tags = ["density-estimation", "tabular", "autoregressive", type(estimator).__name__.lower()]
    listed = "\n".join(f"  - {tag}" for tag in tags)
    return f"---\nlibrary_name: chainrule\ntags:\n{listed}\n---\n"


def _what_it_is(estimator: DensityEstimator) -> str:
    answers = (
        "It answers any question p(these columns | those columns), and rows may have missing values."
        if estimator.is_any_order
        else "Its questions p(these columns | those columns) are those that its order of the columns allows."
    )
    exact = "a lower bound" if estimator.likelihood_ != "exact" else "exact"
    return (
        f"A probability distribution over the rows of a table. The log-likelihood of a row is {exact}, in "
        f"nats, and rows are drawn from that distribution itself. {answers}\n"
    )


_USE = """\
## Use

```python
from huggingface_hub import snapshot_download  # or a folder of your own

from chainrule import load

model = load(snapshot_download("OWNER/NAME"))
model.score_samples(rows)  # nats per row
model.sample(100)
```

The folder holds plain numbers and plain text; loading it runs nothing that is in it.
"""


def _data(estimator: DensityEstimator, measured: Measured | None) -> str:
    schema = estimator.schema_
    counted = Counter(schema.kinds).most_common()
    kinds = ", ".join(f"{n} {kind}" for kind, n in counted)
    rows = "" if measured is None else f"{_plain(count(measured.n_train))} training rows. "
    lines = ["## Data", "", f"{rows}{_plain(count(schema.n_variables))} columns: {kinds}.", ""]
    if not schema.named or schema.n_variables > _MAX_COLUMNS:
        return "\n".join(lines)
    lines += ["| column | kind | values |", "|---|---|---|"]
    for variable in schema.variables:
        n_codes = f"{int(variable.n_codes):,}" if np.isfinite(variable.n_codes) else "numbers"
        lines.append(f"| {_cell(variable.name)} | {variable.kind} | {n_codes} |")
    return "\n".join([*lines, ""])


def _figures(estimator: DensityEstimator, measured: Measured | None) -> str:
    lines = ["## Figures", "", "| what | |", "|---|---|"]
    if measured is not None:
        test = _plain(measured_text(measured.test))
        lines.append(f"| log-likelihood of {_plain(count(measured.test.n_rows))} test rows, nats | {test} |")
    history = estimator.history_
    if history is not None and history.valid:
        best = _plain(number(-history.best_nll, 4))
        lines.append(f"| log-likelihood of the validation rows, nats | {best} |")
        lines.append(f"| epochs, seconds of the fit | {history.epochs}, {history.seconds:.0f} |")
    lines.append(f"| parameters | {_plain(count(estimator.n_parameters_))} |")
    return "\n".join([*lines, ""])


def _limits(estimator: DensityEstimator) -> str:
    lines = [
        "## Limits",
        "",
        "- It says how probable values are among rows like those of the fit, nothing of what causes them.",
        "- Log-likelihoods depend on the units of real columns: compare models of the same table only.",
        "- Levels that the fit has not seen share a small probability; numbers far away have next to none.",
        "- Whatever is skewed or missing among the rows of the fit is so among what is drawn.",
    ]
    if not estimator.supports_missing:
        lines.append("- Rows with missing values are refused.")
    return "\n".join([*lines, ""])


def _privacy(measured: Measured | None) -> str:
    if measured is None:
        return (
            "## Privacy\n\nNot measured: `chainrule card DIR --data DATA` does, with the rows of the fit. A "
            "model may give away which rows it learned from.\n"
        )
    auc, found = measured.membership.auc, measured.membership.true_positives
    return (
        "## Privacy\n\n"
        "Whoever has the model and a row can guess from its log-likelihood whether it was a training row. "
        f"Of training rows and as good as new ones such a guess orders {auc.value:.3f} ± "
        f"{auc.standard_error:.3f} of the pairs rightly, where 0.5 is chance; at {FALSE_POSITIVES:.0%} false "
        f"alarms it finds {found.mean:.4f} ± {found.standard_error:.4f} of the training rows. This is a "
        "measurement, no guarantee: the fit has no differential privacy.\n"
    )


def _plain(text: str) -> str:
    return in_ascii(text)


def _cell(text: str) -> str:
    """Return a name as a cell of a table in Markdown, in which nothing of it is markup."""
    line = html.escape(short(printable(" ".join(text.split())), _MAX_LETTERS))
    return "".join(f"\\{letter}" if letter in "\\`*_[]|#!" else letter for letter in line)
