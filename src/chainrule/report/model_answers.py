"""How the answers of one model of any order stand beside rows: dependence of columns, and calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chainrule.storage import json_safe

if TYPE_CHECKING:
    from chainrule.estimators.dependence import Dependence
    from chainrule.metrics.calibration import Calibration

__all__ = ["ModelAnswers"]


@dataclass(frozen=True, eq=False)
class ModelAnswers:
    """What the best model of any order answers, held against rows.

    Attributes
    ----------
    model : str
        Its name.
    calibration : Calibration
        Of cells of test rows that were hidden from it.
    dependence : Dependence
        Of its columns, or the first of very many, each sorted into a few cells.
    rows_dependence : ndarray (D', D')
        The same of the training rows, normalised alike.
    n_cells : int
        Into how many cells a column was sorted at most.
    n_rows : int
        How many training rows `rows_dependence` is from.
    """

    model: str
    calibration: Calibration
    dependence: Dependence
    rows_dependence: NDArray[np.float64]
    n_cells: int
    n_rows: int

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-safe values under keys that stay stable."""
        found: dict[str, Any] = json_safe(
            {
                "model": self.model,
                "calibration": self.calibration.to_dict(),
                "dependence": self.dependence.to_dict(),
                "rows_dependence": self.rows_dependence.tolist(),
            }
        )
        return found
