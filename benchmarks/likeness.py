"""Likeness: how far trees can tell rows that estimators of tables draw from held-out real rows.

The comparison is that of `table_peers`, on other tables and with what still tells methods apart: the C2ST as
a score, mutual information of pairs, and whether drawn rows lie nearer to training rows than to others. The
test rows are a tenth of a table, of adult its own; "real rows" are training rows, the best that can be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.table_peers import FILES, Estimated, Settings, table_peers
from benchmarks.tables import Row

__all__ = ["METHODS", "Likeness", "likeness"]

METHODS = ("orderless-nade", "nade", "made", "tabular-argn", "gaussian-copula", "arf", "ctgan")


@dataclass(frozen=True)
class Likeness:
    """The figures of one estimator on one table, as far as they are of likeness."""

    found: Estimated

    heading = (
        f"{'data':<9} {'method':<15} {'rows':>6} {'fit, s':>7} {'C2ST':>17} {'wNMI':>6} {'columns':>8} "
        f"{'pairs':>6} {'nearer to training':>18} {'TSTR AUC - real':>18}  given away by"
    )

    def line(self) -> str:
        """Return the row as a line of its table."""
        found = self.found
        fit = "" if found.fit_seconds is None else f"{found.fit_seconds:.1f}"
        behind = "" if found.behind_real is None else _measured(found.behind_real, found.behind_real_error)
        nearer = _measured(found.nearer_to_training, found.nearer_to_training_error)
        score = _measured(1 - max(0.0, 2 * found.c2st - 1), 2 * found.c2st_error)
        return (
            f"{found.data:<9} {found.method:<15} {found.n_rows:>6} {fit:>7} {score:>17} "
            f"{found.information_similarity:>6.3f} {found.margins:>8.4f} {found.pairs:>6.4f} {nearer:>18} "
            f"{behind:>18}  {', '.join(found.giveaways)}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all of it."""
        return self.found.to_dict()


def likeness(
    settings: Settings, only: Sequence[str] = (), data: Sequence[str] = (), checkpoint: Path | None = None
) -> Iterator[Row]:
    """Yield the figures of estimators on tables that CHAINRULE_DATA has; see `table_peers`.

    Parameters
    ----------
    settings, checkpoint
        As for `table_peers`.
    only : sequence of str
        Of its `PEERS`; those of `METHODS` if it is empty.
    data : sequence of str
        Of `FILES`; all if it is empty.
    """
    for row in table_peers(settings, only or METHODS, data or list(FILES), checkpoint):
        yield Likeness(row) if isinstance(row, Estimated) else row


def _measured(value: float, error: float | None) -> str:
    return f"{value:.4f} +- {error:.4f}"
