"""The named data sets: where their files are, how to read them, how they are split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from chainrule.datasets import arrays, tables
from chainrule.datasets.checksums import ARRAYS_SHA256, PUBLIC_SHA256, SHA256
from chainrule.datasets.core import DatasetInfo, Parts
from chainrule.datasets.sources import RemoteFile, fetch, github
from chainrule.datasets.synthetic import TWO_GAUSSIANS, sample_table, table_entropy

__all__ = ["NAMED", "NamedSet", "cs294_table"]


@dataclass(frozen=True)
class NamedSet:
    """A named data set.

    Parameters
    ----------
    info : DatasetInfo
    read : callable
        From a seed to the rows; the seed matters to synthetic sets only.
    split : str
        A sentence on the split, where the usual ones do not tell all.
    entropy : callable, optional
        Entropy of the true distribution in nats.
    """

    info: DatasetInfo
    read: Callable[[int], Parts]
    split: str = ""
    entropy: Callable[[], float] | None = None


def _fetch(path: str, address: str | None) -> Path:
    return fetch(RemoteFile(path, SHA256[path], address, PUBLIC_SHA256.get(path)))


# ---------------------------------------------------------------- digits


def _digits() -> NamedSet:
    info = DatasetInfo(
        "digits",
        "Handwritten digits, 8 x 8 pixels of 0..16, binarised at 8",
        64,
        "binary",
        "scikit-learn (UCI optical recognition of handwritten digits, test part)",
        "BSD-3-Clause; UCI CC BY 4.0",
    )
    return NamedSet(info, _read_digits)


def _read_digits(random_state: int) -> Parts:
    from sklearn.datasets import load_digits

    return Parts((load_digits().data >= 8).astype(np.uint8), image_shape=(8, 8))


# ---------------------------------------------------------------- two dimensions, with known entropy

_CS294 = "cs294_2d/distribution.npy"
_CS294_ADDRESS = github(
    "mindis/berkeley-ul-hw-2019", "b36cb10c36e23232fa3d7df7de0d433dc28895d9", "hw1/distribution.npy"
)
_CS294_ROWS = 100_000


def _two_gaussians() -> NamedSet:
    info = DatasetInfo(
        "two-gaussians",
        "Draws from two overlapping, tilted Gaussians in the plane; entropy known",
        2,
        "continuous",
        "synthetic",
        "none needed",
    )
    split = "5000 training, 1000 validation and 5000 test rows, drawn independently with the seed."
    return NamedSet(info, _read_two_gaussians, split, TWO_GAUSSIANS.entropy)


def _read_two_gaussians(random_state: int) -> Parts:
    rows = TWO_GAUSSIANS.sample(11_000, np.random.default_rng(random_state))
    return Parts(rows[:5000], rows[5000:6000], rows[6000:], kinds="continuous")


def _cs294() -> NamedSet:
    info = DatasetInfo(
        "cs294-2d",
        "100,000 draws from the 200 x 200 probability table of the CS294-158 homework; entropy known",
        2,
        "categorical",
        "github.com/mindis/berkeley-ul-hw-2019",
        "none stated",
    )
    return NamedSet(info, _read_cs294, entropy=lambda: table_entropy(cs294_table()))


def cs294_table() -> np.ndarray:
    """Return the 200 x 200 probabilities from which `cs294-2d` is drawn, float64."""
    path = _fetch(_CS294, _CS294_ADDRESS)
    return arrays.read_npy(path).train.astype(np.float64)


def _read_cs294(random_state: int) -> Parts:
    cells = sample_table(cs294_table(), _CS294_ROWS, np.random.default_rng(random_state))
    return Parts(cells.astype(np.uint8), kinds="categorical")


# ---------------------------------------------------------------- MNIST

_MNIST_ADDRESS = "https://storage.googleapis.com/cvdf-datasets/mnist"


def _binarized_mnist() -> NamedSet:
    info = DatasetInfo(
        "binarized-mnist",
        "Static binarized MNIST (Salakhutdinov and Murray, Larochelle), 28 x 28 pixels",
        784,
        "binary",
        "github.com/mingzhang-yin/ARM-gradient",
        "MIT; MNIST CC BY-SA 3.0",
    )
    return NamedSet(info, _read_binarized_mnist)


def _read_binarized_mnist(random_state: int) -> Parts:
    train, valid, test = (arrays.read_matlab(_fetch_amat(part), "X") for part in ("train", "valid", "test"))
    return Parts(train, valid, test, image_shape=(28, 28))


def _fetch_amat(part: str) -> Path:
    name = f"binarized_mnist_{part}.amat"
    address = github("mingzhang-yin/ARM-gradient", "9b5f74da4e4009c5556e8d7a87c88c8e291c253d", name)
    return _fetch(f"binarized_mnist/{name}", address)


def _mnist() -> NamedSet:
    info = DatasetInfo(
        "mnist",
        "MNIST, 28 x 28 pixels of grey 0..255",
        784,
        "ordinal",
        "storage.googleapis.com/cvdf-datasets/mnist",
        "CC BY-SA 3.0",
    )
    split = "Test rows as given by the source; the last 10,000 of its 60,000 training rows for validation."
    return NamedSet(info, _read_mnist, split)


def _read_mnist(random_state: int) -> Parts:
    both, test = (_read_mnist_images(part) for part in ("train", "t10k"))
    return Parts(both[:50_000], both[50_000:], test, image_shape=(28, 28), kinds="ordinal")


def _read_mnist_images(part: str) -> np.ndarray:
    name = f"{part}-images-idx3-ubyte.gz"
    path = _fetch(f"mnist/{name}", f"{_MNIST_ADDRESS}/{name}")
    return arrays.read_idx(path).train


# ---------------------------------------------------------------- images like those of MNIST

_EMNIST = {"balanced": "letters and digits, 47 classes", "letters": "letters", "digits": "digits"}


def _fashion_mnist() -> NamedSet:
    info = DatasetInfo(
        "fashion-mnist",
        "Articles of clothing, 28 x 28 pixels of grey 0..255",
        784,
        "ordinal",
        "github.com/zalandoresearch/fashion-mnist",
        "MIT",
    )
    split = "Test rows as given by the source; the last 10,000 of its 60,000 training rows for validation."
    return NamedSet(info, _read_fashion_mnist, split)


def _read_fashion_mnist(random_state: int) -> Parts:
    names = [f"{part}-images-idx3-ubyte.gz" for part in ("train", "t10k")]
    addresses = [github("zalandoresearch/fashion-mnist", "master", f"data/fashion/{name}") for name in names]
    paths = [_fetch(f"fashion_mnist/{name}", at) for name, at in zip(names, addresses, strict=True)]
    both, test = (arrays.read_idx(path).train for path in paths)
    return Parts(both[: -len(test)], both[-len(test) :], test, image_shape=(28, 28), kinds="ordinal")


def _emnist(part: str, about: str) -> NamedSet:
    info = DatasetInfo(
        f"emnist-{part}",
        f"Extended MNIST: handwritten {about}, 28 x 28 pixels of grey 0..255",
        784,
        "ordinal",
        "nist.gov/itl/products-and-services/emnist-dataset; no file of its own there, only a large archive",
        "none stated",
    )
    split = "Test rows as given by the source; of its training rows the last ones, as many, for validation."
    return NamedSet(info, partial(_read_emnist, part=part), split)


def _read_emnist(random_state: int, part: str) -> Parts:
    both, test = (_read_emnist_images(f"{part}-{which}") for which in ("train", "test"))
    return Parts(both[: -len(test)], both[-len(test) :], test, image_shape=(28, 28), kinds="ordinal")


def _read_emnist_images(name: str) -> np.ndarray:
    # The archive's files are not pinned: they are the user's.
    path = fetch(RemoteFile(f"emnist/emnist-{name}-images-idx3-ubyte.gz", None))
    images = arrays.read_idx(path).train.reshape(-1, 28, 28)
    return images.transpose(0, 2, 1).reshape(len(images), 784)  # the file has them column by column


# ---------------------------------------------------------------- binary sets by the names of the literature

_DEBD = {
    "nltcs": (16, "disabilities of the elderly (National Long Term Care Survey)"),
    "msnbc": (17, "page categories visited on msnbc.com"),
    "kdd": (64, "visits to a web shop (KDD Cup 2000)"),
    "baudio": (100, "music listened to (Audioscrobbler)"),
    "bnetflix": (100, "films rated (Netflix)"),
    "accidents": (111, "traffic accidents in Belgium"),
    "tretail": (135, "shopping baskets of a Belgian store"),
    "dna": (180, "DNA splice junctions, split 1600/400/1186"),
    "kosarek": (190, "clicks on a Hungarian news site"),
    "tmovie": (500, "films seen (EachMovie)"),
    "cr52": (889, "words of Reuters-52 news"),
    "c20ng": (910, "words of 20 Newsgroups posts"),
    "ad": (1556, "features of internet advertisements"),
}

_UCI = {
    "adult": (123, "census incomes"),
    "connect4": (126, "positions of connect-four"),
    "dna": (180, "DNA splice junctions, split 1400/600/1186"),
    "mushrooms": (112, "mushrooms"),
    "nips": (500, "words of NIPS 0-12 papers"),
    "ocr-letters": (128, "letters of 16 x 8 pixels"),
    "web": (300, "words of web pages"),
}
_UCI_PUBLIC = ("dna", "mushrooms", "nips")
_COMPLEMENT = "As in the papers; one of the three parts was rebuilt as the exact complement of the other two."
_UCI_SPLITS = {
    "adult": _COMPLEMENT,
    "connect4": _COMPLEMENT,
    "ocr-letters": _COMPLEMENT,
    "web": "Test rows as in the papers; the division into training and validation rows is our own.",
}


def _debd(name: str, n_variables: int, about: str) -> NamedSet:
    info = DatasetInfo(
        name,
        f"Binary density-estimation benchmark: {about}",
        n_variables,
        "binary",
        "github.com/nicoladimauro/dcsn",
        "none stated",
    )
    return NamedSet(info, partial(_read_debd, name=name))


def _read_debd(random_state: int, name: str) -> Parts:
    files = [f"{name}.{part}.data.gz" for part in ("ts", "valid", "test")]
    train, valid, test = (arrays.read_numbers(_fetch_debd(file)) for file in files)
    return Parts(train, valid, test)


def _fetch_debd(file: str) -> Path:
    commit = "dd0f7a43f5fededeeaf37905f48f918a25b8c2c7"
    return _fetch(f"debd/{file}", github("nicoladimauro/dcsn", commit, f"data/generative/{file}"))


def _uci(name: str, n_variables: int, about: str) -> NamedSet:
    public = name in _UCI_PUBLIC
    info = DatasetInfo(
        f"uci-{name}",
        f"Binary set of the NADE and MADE papers: {about}",
        n_variables,
        "binary",
        "github.com/mgermain/MADE" if public else "rebuilt from public copies; no single public address",
        "none stated" if name in ("nips", "ocr-letters", "web") else "UCI CC BY 4.0",
    )
    return NamedSet(info, partial(_read_uci, name=name), _UCI_SPLITS.get(name, ""))


def _read_uci(random_state: int, name: str) -> Parts:
    file = f"{name.replace('-', '_')}.npz"
    commit = "514849eb9451311c02049f9e2d9a17fac589996a"
    address = github("mgermain/MADE", commit, f"datasets/{file}") if name in _UCI_PUBLIC else None
    path = f"made_uci/{file}"
    return arrays.read_npz(fetch(RemoteFile(path, ARRAYS_SHA256[path], address, of_arrays=True)))


# ---------------------------------------------------------------- wine

_WINE_COLUMNS = (
    "fixed acidity",
    "volatile acidity",
    "citric acid",
    "residual sugar",
    "chlorides",
    "free sulfur dioxide",
    "total sulfur dioxide",
    "density",
    "pH",
    "sulphates",
    "alcohol",
)


def _wine(colour: str) -> NamedSet:
    info = DatasetInfo(
        f"{colour}-wine",
        f"Physicochemical measurements of Portuguese {colour} wines, without the quality score",
        11,
        "continuous",
        "github.com/jbrownlee/Datasets (UCI wine quality)",
        "UCI CC BY 4.0",
    )
    return NamedSet(info, partial(_read_wine, colour=colour))


def _read_wine(random_state: int, colour: str) -> Parts:
    import polars as pl

    file = f"winequality-{colour}.csv"
    address = github("jbrownlee/Datasets", "d20fcb6402ae34e653d4513b00f39257bb37ed7f", file)
    table = tables.read_text(_fetch(f"uci_continuous/{file}", address)).train
    measurements = table[:, : len(_WINE_COLUMNS)].cast(pl.Float64)
    measurements.columns = list(_WINE_COLUMNS)
    return Parts(measurements, kinds="continuous")


# ---------------------------------------------------------------- all of them


def _all() -> Iterator[NamedSet]:
    yield _digits()
    yield _two_gaussians()
    yield _cs294()
    yield _binarized_mnist()
    yield _mnist()
    yield _fashion_mnist()
    yield from (_emnist(part, about) for part, about in _EMNIST.items())
    yield _wine("red")
    yield _wine("white")
    yield from (_debd(name, *metadata) for name, metadata in _DEBD.items())
    yield from (_uci(name, *metadata) for name, metadata in _UCI.items())


NAMED: dict[str, NamedSet] = {named.info.name: named for named in _all()}
"""All named sets by name."""
