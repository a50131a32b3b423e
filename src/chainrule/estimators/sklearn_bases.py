"""Base classes of scikit-learn, which has no types, with those of their members that we rely on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

__all__ = ["BaseEstimator", "DensityMixin", "OutlierMixin"]

if TYPE_CHECKING:

    class BaseEstimator:
        """Constructor arguments as parameters."""

        _parameter_constraints: ClassVar[dict[str, Any]]

        def __init__(self, *args: Any, **kwargs: Any) -> None: ...

        def get_params(self, deep: bool = True) -> dict[str, Any]:
            """Return the constructor arguments."""

        def set_params(self, **params: Any) -> Self:
            """Set constructor arguments."""

        def _validate_params(self) -> None: ...

        def __sklearn_tags__(self) -> Any: ...

    class DensityMixin:
        """Marks density estimators."""

        def score(self, X: Any, y: Any = None) -> float:
            """Return the score of rows."""

    class OutlierMixin:
        """Marks detectors of outliers."""

        def fit_predict(self, X: Any, y: Any = None, **kwargs: Any) -> Any:
            """Fit, and return which rows are outliers."""

else:
    from sklearn.base import BaseEstimator, DensityMixin, OutlierMixin
