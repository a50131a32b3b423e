"""Log-likelihoods that are numbers, or an error that says where they are none."""

from __future__ import annotations

import numpy as np

from chainrule.errors import DataError
from chainrule.schema import Schema

__all__ = ["require_finite", "require_finite_codes"]

# Standardised numbers beyond this are far from all training rows, and their squares perhaps too large.
_FAR = 1e6


def require_finite(
    scores: np.ndarray, codes: np.ndarray, schema: Schema, may_be_impossible: bool = False
) -> np.ndarray:
    """Return the log-likelihoods (n,) of rows of codes (n, D) if they are finite.

    Parameters
    ----------
    scores, codes : ndarray
    schema : Schema
    may_be_impossible : bool
        Whether rows can have no probability at all, log p = -inf: those that break a rule.

    Raises
    ------
    DataError
        If a row lies so far from the training rows that its log p is beyond what single precision holds.
    FloatingPointError
        If the model itself is to blame.
    """
    bad = ~np.isfinite(scores)
    if may_be_impossible:
        bad &= ~np.isneginf(scores)
    if not bad.any():
        return scores
    row = int(bad.argmax())
    size = np.where(np.isfinite(codes[row]) & np.isinf(schema.n_codes), np.abs(codes[row]), 0.0)
    if size.max() > _FAR:
        column = schema.variables[int(size.argmax())]
        raise DataError(
            f"log p of row {row + 1} cannot be computed ({scores[row]:g}): its value of {column.name!r} is "
            f"{size.max():.3g} standard deviations from the training rows; mend or leave out such rows"
        )
    raise FloatingPointError(
        f"the model gives row {row + 1} a log p of {scores[row]:g}: its weights are out of range; "
        "fit it again with a smaller learning_rate"
    )


def require_finite_codes(codes: np.ndarray, schema: Schema) -> np.ndarray:
    """Return codes (n, D) that a model made if all of them are finite: none may pass for a missing value.

    Raises
    ------
    FloatingPointError
        Naming the column.
    """
    broken = ~np.isfinite(codes)
    if not broken.any():
        return codes
    d = int(broken.any(axis=0).argmax())
    raise FloatingPointError(
        f"the model has made {codes[broken[:, d], d][0]:g} of column {schema.names[d]!r}: its outputs are "
        "out of range; fit it again with a smaller learning_rate"
    )
