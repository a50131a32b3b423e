"""Random small models: of any kinds, orders, masks, layers and context, with random weights in float64."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

from chainrule import supports
from chainrule.conditionals import ENCODINGS, Conditional, Conditionals, families_of, make_family
from chainrule.conditioners import (
    ColumnNetworks,
    ConvNADEConditioner,
    InputEncoding,
    MADEConditioner,
    NADEConditioner,
    OrderlessConditioner,
    PixelCNNConditioner,
)
from chainrule.conditioners.masked import StaircaseLinear
from chainrule.image_shape import ImageShape
from chainrule.masks import even_degrees, layer_degrees, uniform_degrees
from chainrule.model import AutoregressiveModel
from chainrule.orders import natural_order, random_orders

KINDS = ("binary", "categorical", "ordinal", "continuous")
DISCRETE = KINDS[:3]
NETWORKS = ("nade", "made", "pixel-cnn", "columns", "orderless", "conv-nade")
ANY_ORDER = NETWORKS[3:]
# Those that take very many rows at a time, as integrals need.
DENSE = NETWORKS[:5]
# Activations with a gradient everywhere: where a path exists, its gradient is not zero by chance.
# Codes of continuous variables that may have a probability each.
POINT_MASSES = ((), (), (0.5,), (-0.25, 1.0))
SMOOTH = ("sigmoid", "tanh", "elu", "silu", "gelu")
MIXTURES = families_of(supports.Reals())
_SUPPORTS = {"binary": supports.Binary, "categorical": supports.Levels, "ordinal": supports.Grid}


def families(
    kinds: Sequence[str],
    n_levels: Sequence[int | None],
    n_components: int = 10,
    mixture: str = "gaussian",
    point_masses: Sequence[tuple[float, ...]] | None = None,
) -> list[Conditional]:
    """Return the default family of each variable, of continuous ones that of a mixture."""
    made = []
    for d, kind in enumerate(kinds):
        if kind == "continuous":
            support = supports.Reals(point_masses[d] if point_masses else ())
            made.append(make_family(mixture, support, n_components))
        else:
            support = supports.Binary() if kind == "binary" else _SUPPORTS[kind](n_levels[d])
            made.append(make_family(families_of(support)[0], support, n_components))
    return made


def encoding_of(families: Sequence[Conditional], encoding: str = "onehot") -> InputEncoding:
    """Return the input encoding of variables with these families."""
    return InputEncoding([family.input_features(encoding) for family in families])


@dataclass(frozen=True)
class Spec:
    """What a model is made of; `build` makes it. Prints as the call that repeats it."""

    network: str = "made"
    kinds: tuple[str, ...] = ("binary",) * 3
    n_levels: tuple[int | None, ...] = (2,) * 3
    hidden: tuple[int, ...] = (4,)
    activation: str = "tanh"
    residual: bool = False
    direct: bool = False
    n_context: int = 0
    n_orderings: int = 1
    n_masks: int = 1
    drawn_degrees: bool = False
    natural: bool = False
    n_components: int = 2
    mixture: str = "gaussian"
    encoding: str = "onehot"
    point_masses: tuple[tuple[float, ...], ...] | None = None
    seed: int = 0

    @property
    def n_variables(self) -> int:
        return len(self.kinds)


def specs(
    kinds: Sequence[str] = KINDS,
    *,
    max_variables: int = 4,
    max_levels: int = 3,
    activations: Sequence[str] = SMOOTH,
    networks: Sequence[str] = NETWORKS,
    context: bool | None = None,
    direct: bool | None = None,
    max_members: int = 3,
    encodings: Sequence[str] = ENCODINGS,
    point_masses: Sequence[tuple[float, ...]] = POINT_MASSES,
    mixtures: Sequence[str] = MIXTURES,
) -> st.SearchStrategy[Spec]:
    """Return random models' descriptions; `context` and `direct` fix what they name."""

    @st.composite
    def draw_spec(draw: st.DrawFn) -> Spec:
        row = tuple(draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=max_variables)))
        levels = {"binary": st.just(2), "continuous": st.none()}
        residual = draw(st.booleans())
        depth = draw(st.integers(1, 3))
        width = st.integers(1, 6)
        network = draw(st.sampled_from(networks))
        has_context = draw(st.booleans()) if context is None else context
        return Spec(
            network=network,
            kinds=row,
            n_levels=tuple(draw(levels.get(kind, st.integers(1, max_levels))) for kind in row),
            hidden=(draw(width),) * depth if residual else tuple(draw(width) for _ in range(depth)),
            activation=draw(st.sampled_from(activations)),
            residual=residual,
            direct=draw(st.booleans()) if direct is None else direct,
            n_context=draw(st.integers(1, 2)) if has_context else 0,
            n_orderings=draw(st.integers(1, max_members)),
            n_masks=draw(st.integers(1, max_members)),
            drawn_degrees=draw(st.booleans()),
            natural=draw(st.booleans()),
            n_components=draw(st.integers(1, 3)),
            mixture=draw(st.sampled_from(sorted(mixtures))),
            encoding=draw(st.sampled_from(encodings)),
            point_masses=tuple(
                draw(st.sampled_from(point_masses)) if kind == "continuous" else () for kind in row
            ),
            seed=draw(st.integers(0, 2**31 - 1)),
        )

    return draw_spec()


def build(
    spec: Spec, *, dtype: torch.dtype = torch.float64, scale: float = 1.0, dropout: float = 0.0
) -> AutoregressiveModel:
    """Return the model, its weights normal with the given scale over the root of a layer's inputs."""
    generator = torch.Generator().manual_seed(spec.seed)
    row = families(spec.kinds, spec.n_levels, spec.n_components, spec.mixture, spec.point_masses)
    conditionals, encoding = Conditionals(row), encoding_of(row, spec.encoding)
    orders = random_orders(spec.n_variables, spec.n_orderings, generator)
    if spec.natural:
        orders[0] = natural_order(spec.n_variables)
    common = {"activation": spec.activation, "n_context": spec.n_context, "generator": generator}
    if spec.network == "nade":
        conditioner = NADEConditioner(encoding, conditionals.starts, orders, spec.hidden[0], **common)
    elif spec.network == "orderless":
        conditioner = OrderlessConditioner(
            encoding,
            conditionals.starts,
            orders,
            spec.hidden,
            residual=spec.residual,
            dropout=dropout,
            **common,
        )
    elif spec.network == "pixel-cnn":
        conditioner = PixelCNNConditioner(
            encoding,
            conditionals.starts,
            orders,
            ImageShape(1, spec.n_variables),
            spec.hidden[0],
            n_layers=len(spec.hidden),
            dropout=dropout,
            **common,
        )
    elif spec.network == "conv-nade":
        conditioner = ConvNADEConditioner(
            encoding,
            conditionals.starts,
            orders,
            ImageShape.of(None, spec.n_variables),
            n_channels=spec.hidden[0],
            n_blocks=len(spec.hidden),
            n_hidden=spec.hidden[-1],
            **common,
        )
    elif spec.network == "columns":
        sizes = spec.hidden[:1] * len(spec.hidden)
        conditioner = ColumnNetworks(encoding, conditionals.starts, orders, sizes, dropout=dropout, **common)
    else:
        conditioner = MADEConditioner(
            encoding,
            conditionals.starts,
            orders,
            degrees_of(spec, generator),
            residual=spec.residual,
            direct=spec.direct,
            dropout=dropout,
            **common,
        )
    model = AutoregressiveModel(conditioner, conditionals).to(dtype)
    randomize(model, generator, scale)
    return model.eval()


def degrees_of(spec: Spec, generator: torch.Generator) -> list[Tensor]:
    """Return degrees (n_masks, H_l) of each hidden layer."""
    lowest = 0 if spec.n_context else 1
    masks = []
    for _ in range(spec.n_masks):
        if spec.residual and spec.drawn_degrees:
            layers = [uniform_degrees(spec.hidden[0], spec.n_variables, generator, lowest)] * len(spec.hidden)
        elif spec.drawn_degrees:
            layers = [uniform_degrees(size, spec.n_variables, generator, lowest) for size in spec.hidden]
        else:
            layers = [even_degrees(size, spec.n_variables, lowest) for size in spec.hidden]
        masks.append(layer_degrees(layers))
    return [torch.stack(layer) for layer in zip(*masks, strict=True)]


def randomize(model: AutoregressiveModel, generator: torch.Generator, scale: float = 1.0) -> None:
    """Draw every weight anew."""
    n_inputs = {
        id(layer.packed): layer.n_in for layer in model.modules() if isinstance(layer, StaircaseLinear)
    }
    with torch.no_grad():
        for weight in model.parameters():
            n_in = weight.shape[1:].numel() if weight.dim() == 4 else weight.shape[-1]  # four: convolutions
            wide = n_inputs.get(id(weight), n_in)
            weight.normal_(generator=generator).mul_(scale / math.sqrt(max(wide / 2, 1)))
    model.conditioner.clear_forbidden()


def random_rows(spec: Spec, n: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return codes (n, D); of variables that have point masses, about half of them are one."""
    generator = torch.Generator().manual_seed(seed)
    columns = [
        torch.randn(n, generator=generator, dtype=dtype)
        if levels is None
        else torch.randint(levels, (n,), generator=generator).to(dtype)
        for levels in spec.n_levels
    ]
    for d, codes in enumerate(spec.point_masses or ()):
        if codes:
            choice = torch.randint(2 * len(codes), (n,), generator=generator)
            for j, code in enumerate(codes):
                columns[d][choice == j] = code
    return torch.stack(columns, dim=1)


def random_context(spec: Spec, n: int, seed: int = 2, dtype: torch.dtype = torch.float64) -> Tensor | None:
    """Return context features (n, C), or None where the model takes none."""
    if not spec.n_context:
        return None
    return torch.randn(n, spec.n_context, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def all_rows(spec: Spec) -> Tensor:
    """Return every row of codes that a discrete model knows, (cells, D)."""
    return torch.tensor(list(itertools.product(*(range(k or 0) for k in spec.n_levels))), dtype=torch.float64)


def repeated(context: Tensor | None, n: int) -> Tensor | None:
    """Return the first context row n times."""
    return None if context is None else context[:1].expand(n, -1)
