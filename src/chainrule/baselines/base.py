"""What baselines made of products share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from msgspec import Meta, Struct

from chainrule.baselines.parts import Parts
from chainrule.baselines.product_mixture import ProductMixture
from chainrule.estimators.base import DensityEstimator
from chainrule.storage import StoredArrays, as_described
from chainrule.supports import Binary, Grid, Levels, Reals, Support

__all__ = ["MixtureState", "ProductEstimator"]


class MixtureState(Struct, forbid_unknown_fields=True):
    """What a saved mixture says of itself beside its parameters and arrays."""

    n_components: Annotated[int, Meta(ge=1)]


class ProductEstimator(DensityEstimator):
    """Base of the independent model and the mixtures of products: a `ProductMixture` of a table's parts."""

    supported: ClassVar[tuple[type[Support], ...]] = (Binary, Levels, Grid, Reals)

    mixture_: ProductMixture
    parts_: Parts

    @property
    def supports_missing(self) -> bool:
        """Whether rows may have missing values, in `fit` and in `score_samples`: yes."""
        return True

    def _set_parts(self) -> None:
        self.parts_ = Parts(self.schema_.supports)

    def _keep(self, mixture: ProductMixture) -> None:
        self.mixture_ = mixture
        self.n_components_: int = mixture.n_components
        self.n_parameters_: int = mixture.n_parameters + self.schema_.n_parameters

    def _score_codes(self, codes: np.ndarray, context: np.ndarray | None) -> np.ndarray:
        log_prob: np.ndarray = self.mixture_.log_prob(self.parts_.split(codes))
        return log_prob

    def _sample_codes(self, n: int, generator: np.random.Generator, context: np.ndarray | None) -> np.ndarray:
        return self.parts_.join(self.mixture_.sample(n, generator))

    def _get_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {"n_components": self.n_components_}, self.mixture_.to_arrays()

    def _set_state(self, metadata: Mapping[str, Any], arrays: StoredArrays) -> None:
        state = as_described(metadata, MixtureState, "the state")
        self._set_parts()
        self._keep(ProductMixture.from_arrays(self.parts_.layout, state.n_components, arrays))
