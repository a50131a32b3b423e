"""What tells one fitted model from another."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from chainrule.estimators.base import DensityEstimator

__all__ = ["arrays_digest"]


def arrays_digest(estimator: DensityEstimator, n_bytes: int) -> bytes:
    """Return a digest of what a fitted model has learned in numbers: its arrays, as `save` writes them."""
    _, arrays = estimator._get_state()
    digest = blake2b(digest_size=n_bytes)
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        digest.update(array.tobytes())
    return digest.digest()
