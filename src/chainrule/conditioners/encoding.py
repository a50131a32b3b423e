"""Codes to features: how a conditioner's first layer sees the variables."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from chainrule.conditionals.spiked import padded_spikes, spike_number

__all__ = ["ENCODINGS", "InputEncoding"]

ENCODINGS = ("onehot", "scaled", "raw")


class InputEncoding(nn.Module):
    """The features (n, F) of codes (n, D): one per variable, or one per category.

    Of a variable's features one is not zero: the value, or the indicator of its category or spike.

    Parameters
    ----------
    kinds : sequence of str, length D
    n_levels : sequence of int or None, length D
    encoding : {"onehot", "scaled", "raw"}
        Categorical variables as indicators, as codes on [-1, 1], or as bare codes. Ordinal variables are
        scaled to [-1, 1] unless the encoding is raw; binary and continuous codes are features as they are.
    spikes : sequence of sequences of float, length D, optional
        Codes of continuous variables that have an indicator each, in whatever encoding.
    """

    feature_variable: Tensor

    def __init__(
        self,
        kinds: Sequence[str],
        n_levels: Sequence[int | None],
        encoding: str = "onehot",
        spikes: Sequence[Sequence[float]] | None = None,
    ) -> None:
        super().__init__()
        if encoding not in ENCODINGS:
            raise ValueError(f"encoding must be one of {', '.join(ENCODINGS)}, got {encoding!r}")
        self.n_variables = len(kinds)
        onehot = [kind == "categorical" and encoding == "onehot" for kind in kinds]
        spikes = spikes or [()] * len(kinds)
        widths = [(n_levels[d] or 1) if onehot[d] else 1 + len(spikes[d]) for d in range(len(kinds))]
        self.starts = [0, *torch.tensor(widths).cumsum(0).tolist()]
        self.n_features = self.starts[-1]
        self.is_onehot = tuple(onehot)
        scaled = torch.tensor(
            [encoding != "raw" and kind in ("categorical", "ordinal") for kind in kinds], dtype=torch.bool
        )
        top = torch.tensor([(levels or 2) - 1 for levels in n_levels]).clamp(min=1)
        self.register_buffer(
            "feature_variable", torch.repeat_interleave(torch.arange(len(kinds)), torch.tensor(widths)), False
        )
        self.register_buffer("_factor", torch.where(scaled, 2 / top, 1.0), False)
        self.register_buffer("_shift", torch.where(scaled, -1.0, 0.0), False)
        self.register_buffer("_first", torch.tensor(self.starts[:-1]), False)
        self.register_buffer("_onehot", torch.tensor(onehot, dtype=torch.bool), False)
        self.register_buffer("_spikes", padded_spikes(spikes), False)
        self._has_spikes = any(map(len, spikes))
        self._identity = not (any(onehot) or self._has_spikes or bool(scaled.any()))

    def forward(self, x: Tensor) -> Tensor:
        """Return the features (n, F) of codes (n, D)."""
        if self._identity:
            return x
        row, value = self.rows_and_values(x)
        if self.n_features == self.n_variables:
            return value
        return x.new_zeros(len(x), self.n_features).scatter_(1, row, value)

    def rows_and_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return for each code the number of its one non-zero feature and that feature's value, (n, D) each.

        A first layer W (F, H) thus receives ``value * W[row]`` from each variable.
        """
        row = torch.where(self._buffer("_onehot"), self._buffer("_first") + x.long(), self._buffer("_first"))
        value = x * self._buffer("_factor").to(x.dtype) + self._buffer("_shift").to(x.dtype)
        value = torch.where(self._buffer("_onehot"), 1.0, value)
        if self._has_spikes:
            spike = spike_number(x, self._buffer("_spikes"))
            row, value = row + spike, torch.where(spike > 0, 1.0, value)
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
        feature = (value * self._buffer("_factor")[d] + self._buffer("_shift")[d]).to(value.dtype)
        if width == 1:
            return feature[:, None]
        spike = spike_number(value[:, None], self._buffer("_spikes")[d : d + 1]).squeeze(1)
        indicators = nn.functional.one_hot(spike, width).to(value.dtype)
        indicators[:, 0] *= feature
        return indicators

    def _buffer(self, name: str) -> Tensor:
        return self.get_buffer(name)
