"""Embeddings of rows: what the last hidden layer of a network makes of them."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from chainrule.errors import DataError, ParameterError
from chainrule.estimators.base import DensityEstimator
from chainrule.model import AutoregressiveModel
from chainrule.training import evaluation_batch

__all__ = ["EmbeddingMethods"]


class EmbeddingMethods(DensityEstimator):
    """The method `embed` of estimators that have a network."""

    _embeds_missing: ClassVar[bool] = False

    model_: AutoregressiveModel

    def embed(self, X: Any, *, member: int = 0, context: Any = None) -> np.ndarray:
        """Return the embeddings of rows: the activations of the last hidden layer.

        Parameters
        ----------
        X : array or DataFrame, shape (n, D)
            `OrderlessNADE` leaves missing values out; the others take whole rows.
        member : int
            Which of the orders and masks of an ensemble to use, counted from 0. NADE's are those after
            the whole row, the same for every order.
        context : array or DataFrame, shape (n, C), optional
            As in `score_samples`.

        Returns
        -------
        ndarray of shape (n, H), float32
            H is the size of the last hidden layer. A unit of MADE sees the leading variables that its degree
            allows, so embeddings never depend on the last variable of the order.

        Raises
        ------
        ParameterError
            If there is no such member.

        Examples
        --------
        >>> from chainrule import MADE
        >>> X = np.random.default_rng(0).integers(0, 2, (50, 4))
        >>> MADE(hidden_sizes=(16, 8), max_epochs=1).fit(X).embed(X[:3]).shape
        (3, 8)
        """
        check_is_fitted(self, "schema_")
        n_members = self.model_.n_members
        if not (isinstance(member, Integral) and 0 <= member < n_members):
            raise ParameterError(
                f"member must be a whole number below {n_members}, the number of orders and masks of this "
                f"model, got {member!r}"
            )
        codes = self.schema_.coarse(
            self.schema_.encode(X, estimator=type(self).__name__, missing=self.supports_missing)
        )
        if not self._embeds_missing and np.isnan(codes).any():
            raise DataError(
                f"embed of {type(self).__name__} takes whole rows: impute the missing values first, or fit "
                "OrderlessNADE, which embeds what is there"
            )
        context_codes = self._encode_fitted_context(context, len(codes))
        with torch.no_grad():
            parts = [
                self.model_.conditioner.embed(rows.codes, int(member), rows.context).cpu().numpy()
                for rows in self._rows(codes, context_codes).batches(evaluation_batch(self.model_))
            ]
        return np.concatenate(parts)
