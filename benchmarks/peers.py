"""The same density model in other libraries: one masked network, one Gaussian per conditional.

One affine masked autoregressive layer over a standard normal is exactly a MADE whose conditionals are
single Gaussians (Papamakarios et al. 2017, sec. 3.1). How the comparison is kept fair:

- same hidden layers, ReLU, natural order, no direct connections, no dropout, no batch normalisation.
  The peers give two numbers per variable, location and scale; ours gives three, as its mixtures of one
  component keep their (here idle) logit. Both numbers of weights stand in the row.
- each is used as its documentation shows: `torch.optim.Adam` with a learning rate of 1e-3 and the negative
  mean of `log_prob` for peers, `Trainer.train_step` for ours, which also bounds gradients and averages
  weights.
- the same rows, single precision, the same number of threads, no gradients outside of training.
- all peers draw samples by D passes of the whole network, which is what their inverse transform is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version

import torch
from torch import Tensor, nn

from benchmarks.models import gaussian_rows, made, trainer
from benchmarks.tables import Row, Skipped
from benchmarks.timing import in_turn
from chainrule.training import Rows

__all__ = ["peers"]

# D = 784 with one layer only: a hundred samples take a peer about a second per 100 variables there.
_SHAPES: tuple[tuple[int, tuple[int, ...]], ...] = ((64, (500,)), (64, (512, 512, 512)), (784, (500,)))


@dataclass(frozen=True)
class Peer:
    """A density model of another library."""

    network: nn.Module
    log_prob: Callable[[Tensor], Tensor]
    sample: Callable[[int], Tensor]


def _nflows(n_variables: int, sizes: tuple[int, ...]) -> Peer:
    from nflows.distributions import StandardNormal
    from nflows.flows import Flow
    from nflows.transforms import MaskedAffineAutoregressiveTransform

    transform = MaskedAffineAutoregressiveTransform(
        features=n_variables,
        hidden_features=sizes[0],
        # A first hidden layer always, and one per block; residual blocks, its default, would have two each.
        num_blocks=len(sizes) - 1,
        use_residual_blocks=False,
    )
    flow = Flow(transform, StandardNormal([n_variables]))
    return Peer(flow, flow.log_prob, flow.sample)


def _zuko(n_variables: int, sizes: tuple[int, ...]) -> Peer:
    from zuko.flows import MAF

    flow = MAF(n_variables, transforms=1, hidden_features=sizes)
    return Peer(flow, lambda x: flow().log_prob(x), lambda n: flow().sample((n,)))


def _pyro(n_variables: int, sizes: tuple[int, ...]) -> Peer:
    import pyro.distributions as dist
    from pyro.distributions.transforms import AffineAutoregressive
    from pyro.nn import AutoRegressiveNN

    network = AutoRegressiveNN(n_variables, list(sizes), permutation=torch.arange(n_variables))
    # As it comes, the transform is an inverse autoregressive flow: samples in one pass, densities in D.
    # Its inverse is the masked autoregressive flow that density estimation wants.
    transform = AffineAutoregressive(network).inv
    base = dist.Normal(torch.zeros(n_variables), torch.ones(n_variables))
    flow = dist.TransformedDistribution(base, [transform])

    def log_prob(x: Tensor) -> Tensor:
        # Transforms keep the last rows and what became of them; a tensor of its own counts as new rows.
        return flow.log_prob(x[:])

    return Peer(network, log_prob, lambda n: flow.sample((n,)))


_PEERS: dict[str, Callable[[int, tuple[int, ...]], Peer]] = {
    "nflows": _nflows,
    "zuko": _zuko,
    "pyro-ppl": _pyro,
}


def peers(runs: int) -> Iterator[Row]:
    """Yield the timings against every peer that is installed."""
    for n_variables, sizes in _SHAPES:
        for name, build in _PEERS.items():
            shape = "-".join(map(str, (n_variables, *sizes)))
            try:
                peer = build(n_variables, sizes)
            except ImportError:
                yield Skipped(f"{name} {shape}", "not installed; pip install -e '.[bench]' brings it")
            except ValueError as error:
                # Pyro wants no hidden layer narrower than D.
                yield Skipped(f"{name} {shape}", f"it refuses this shape: {error}")
            else:
                yield from _compare(f"Gaussian MADE {shape}", n_variables, sizes, name, peer, runs)


def _compare(
    title: str, n_variables: int, sizes: tuple[int, ...], name: str, peer: Peer, runs: int
) -> Iterator[Row]:
    model = made(n_variables, sizes, kind="continuous")
    weights = f"{_n_weights(model) / 1e3:.0f}k weights against {_n_weights(peer.network) / 1e3:.0f}k"
    generator = torch.Generator().manual_seed(0)
    against = f"{name} {version(name)}, {weights}"
    x = gaussian_rows(1000, n_variables)
    yield in_turn(
        f"{title}: 100 samples",
        lambda: model.sample(100, generator),
        torch.no_grad()(lambda: peer.sample(100)),
        other_name=against,
        runs=runs,
        repeat=10,
    )
    yield in_turn(
        f"{title}: log_prob of 1000 rows",
        torch.no_grad()(lambda: model.log_prob(x)),
        torch.no_grad()(lambda: peer.log_prob(x)),
        other_name=against,
        runs=4 * runs,
    )
    ours, batch = trainer(model, x), Rows(x[:100])
    adam = torch.optim.Adam(peer.network.parameters(), lr=1e-3)
    yield in_turn(
        f"{title}: training step, batch 100",
        lambda: ours.train_step(batch),
        lambda: _peer_step(peer, adam, batch.codes),
        other_name=against,
        runs=4 * runs,
        repeat=5,
    )


def _peer_step(peer: Peer, adam: torch.optim.Adam, x: Tensor) -> float:
    adam.zero_grad()
    loss = -peer.log_prob(x).mean()
    loss.backward()
    adam.step()
    return loss.item()


def _n_weights(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
