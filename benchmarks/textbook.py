"""MADE and NADE as textbooks and most public code write them: right, and slow.

Each masked layer multiplies its mask in at every pass, the optimiser is Adam as it comes, a MADE sample
takes D passes of the whole network, and NADE loops over the variables in Python.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["TextbookMADE", "TextbookNADE", "train_step"]


class MaskedLinear(nn.Linear):
    """A linear layer whose weight is multiplied by a mask at every pass."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.float())

    def forward(self, x: Tensor) -> Tensor:
        """Return x (W * M)^T + b."""
        return F.linear(x, self.weight * self.mask, self.bias)


class TextbookMADE(nn.Module):
    """A MADE of binary variables in natural order, evenly spread degrees, ReLU."""

    def __init__(self, n_variables: int, hidden_sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.n_variables = n_variables
        below = torch.arange(n_variables)
        layers: list[nn.Module] = []
        for number, size in enumerate(hidden_sizes):
            degree = 1 + torch.arange(size) * (n_variables - 1) // size
            seen = degree[:, None] > below[None] if number == 0 else degree[:, None] >= below[None]
            layers += [MaskedLinear(seen), nn.ReLU()]
            below = degree
        layers.append(MaskedLinear(torch.arange(n_variables)[:, None] >= below[None]))
        self.network = nn.Sequential(*layers)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x), (n,)."""
        return -F.binary_cross_entropy_with_logits(self.network(x), x, reduction="none").sum(1)

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """Draw n rows, one pass of the whole network for each variable."""
        x = torch.zeros(n, self.n_variables)
        for d in range(self.n_variables):
            x[:, d] = torch.bernoulli(torch.sigmoid(self.network(x)[:, d]))
        return x


class TextbookNADE(nn.Module):
    """A NADE of binary variables in natural order, sigmoid units, a loop over the variables."""

    def __init__(self, n_variables: int, hidden_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.01 * torch.randn(n_variables, hidden_size))
        self.bias = nn.Parameter(torch.zeros(hidden_size))
        self.output_weight = nn.Parameter(0.01 * torch.randn(n_variables, hidden_size))
        self.output_bias = nn.Parameter(torch.zeros(n_variables))

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x), (n,)."""
        a = self.bias.expand(len(x), -1)
        total = x.new_zeros(len(x))
        for d in range(x.shape[1]):
            logit = torch.sigmoid(a) @ self.output_weight[d] + self.output_bias[d]
            total = total - F.binary_cross_entropy_with_logits(logit, x[:, d], reduction="none")
            a = a + x[:, d, None] * self.weight[d]
        return total


def train_step(model: TextbookMADE | TextbookNADE, optimizer: torch.optim.Optimizer, x: Tensor) -> float:
    """Take one step on the mean NLL of the rows and return it."""
    optimizer.zero_grad()
    loss = -model.log_prob(x).mean()
    loss.backward()
    optimizer.step()
    return loss.item()
