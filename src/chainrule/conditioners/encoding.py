"""Codes to features: how a conditioner's first layer sees the variables."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from chainrule.conditionals.features import InputFeatures
from chainrule.conditionals.normal_scores import Scores
from chainrule.conditionals.point_masses import padded_codes, point_mass_number

__all__ = ["InputEncoding"]


class InputEncoding(nn.Module):
    """The features (n, F) of codes (n, D): one per variable, or one per category.

    Of a variable's features one is not zero: the value, or the indicator of its category or point mass.

    Parameters
    ----------
    features : sequence of InputFeatures, length D

    Attributes
    ----------
    features : tuple of InputFeatures
    """

    feature_variable: Tensor

    def __init__(self, features: Sequence[InputFeatures]) -> None:
        super().__init__()
        self.n_variables: int = len(features)
        self.features: tuple[InputFeatures, ...] = tuple(features)
        widths = torch.tensor([each.width for each in features])
        self.starts: list[int] = [0, *widths.cumsum(0).tolist()]
        self.n_features: int = self.starts[-1]
        self.is_onehot: tuple[bool, ...] = tuple(each.n_indicators > 0 for each in features)
        self.register_buffer(
            "feature_variable", torch.repeat_interleave(torch.arange(len(features)), widths), False
        )
        self.register_buffer("_factor", torch.tensor([each.factor for each in features]), False)
        self.register_buffer("_shift", torch.tensor([each.shift for each in features]), False)
        self.register_buffer("_first", torch.tensor(self.starts[:-1]), False)
        self.register_buffer("_onehot", torch.tensor(self.is_onehot, dtype=torch.bool), False)
        self.register_buffer("_masses", padded_codes([each.point_masses for each in features]), False)
        self._has_masses = any(each.point_masses for each in features)
        self._transforms = {
            d: each.transform for d, each in enumerate(features) if each.transform is not None
        }
        # Scores of all variables are looked up at once.
        scores = {d: each for d, each in self._transforms.items() if isinstance(each, Scores)}
        self._alone = {d: each for d, each in self._transforms.items() if d not in scores}
        self._scored = list(scores)
        self._scores = Scores.of_several(list(scores.values())) if scores else None
        self._identity = all(each == InputFeatures() for each in features)

    @property
    def is_compiled(self) -> bool:
        """Whether compiled samplers know how the features come about."""
        return not (self._has_masses or self._transforms)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features (n, F) of codes (n, D)."""
        if self._identity:
            return x
        row, value = self.rows_and_values(x)
        if self.n_features == self.n_variables:
            return value
        return x.new_zeros(x.shape[0], self.n_features).scatter_(1, row, value)

    def rows_and_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return for each code the number of its one non-zero feature and that feature's value, (n, D) each.

        A first layer W (F, H) thus receives ``value * W[row]`` from each variable.
        """
        row = torch.where(self._buffer("_onehot"), self._buffer("_first") + x.long(), self._buffer("_first"))
        number = x
        if self._transforms:
            number = x.clone()
            for d, transform in self._alone.items():
                number[:, d] = transform(x[:, d])
            if self._scores is not None:
                if self._scores.knots.device != x.device:
                    self._scores = self._scores.to(x.device)
                number[:, self._scored] = self._scores.of(x[:, self._scored])[0]
        value = number * self._buffer("_factor").to(x.dtype) + self._buffer("_shift").to(x.dtype)
        value = torch.where(self._buffer("_onehot"), 1.0, value)
        if self._has_masses:
            mass = point_mass_number(x, self._buffer("_masses"))
            row, value = row + mass, torch.where(mass > 0, 1.0, value)
        return row, value

    @cached_property
    def feature_table(self) -> dict[str, np.ndarray]:
        """What a compiled sampler must know of each variable's features; see `RowPlan`."""
        return {
            "feature": self._buffer("_first").cpu().numpy(),
            "onehot": self._buffer("_onehot").cpu().numpy(),
            "factor": self._buffer("_factor").cpu().double().numpy(),
            "shift": self._buffer("_shift").cpu().double().numpy(),
        }

    def of_variable(self, d: int, value: Tensor) -> Tensor:
        """Return the features (n, F_d) of one variable's codes (n,)."""
        width = self.starts[d + 1] - self.starts[d]
        if self.is_onehot[d]:
            return nn.functional.one_hot(value.long(), width).to(value.dtype)
        transform = self._transforms.get(d)
        number = value if transform is None else transform(value)
        feature = (number * self._buffer("_factor")[d] + self._buffer("_shift")[d]).to(value.dtype)
        if width == 1:
            return feature[:, None]
        mass = point_mass_number(value[:, None], self._buffer("_masses")[d : d + 1]).squeeze(1)
        indicators = nn.functional.one_hot(mass, width).to(value.dtype)
        indicators[:, 0] *= feature
        return indicators

    def row_and_value(self, d: int, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return number and value of the non-zero feature of one variable's codes (n,), (n,) each."""
        if self.is_onehot[d]:
            return self.starts[d] + value.long(), torch.ones_like(value)
        features = self.of_variable(d, value)
        mass = (features[:, 1:] * torch.arange(1, features.shape[1], device=value.device)).sum(1)
        return self.starts[d] + mass.long(), torch.where(mass > 0, 1.0, features[:, 0])

    def _buffer(self, name: str) -> Tensor:
        return self.get_buffer(name)
