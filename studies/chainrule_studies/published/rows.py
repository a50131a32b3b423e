"""The rows of each set: as they are published, or in folds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.datasets import load_dataset
from chainrule.datasets.named import NAMED
from chainrule.datasets.sources import RemoteFile, fetch, github
from chainrule.errors import DataError, MissingPackageError
from chainrule.image_shape import ImageShape

__all__ = ["Fold", "SetRows", "few_columns", "load_rows", "order_of"]

Array = NDArray[Any]

_N_FOLDS = 10
_MOST_CORRELATED = 0.98
_FEW_VALUES = 30
# Rows of the quick version: to learn from, to validate on, to test on.
_QUICK = (1000, 300, 500)
_QUICK_FOLDS = 2

_CSV = "uci_continuous"
_JBROWNLEE = ("jbrownlee/Datasets", "d20fcb6402ae34e653d4513b00f39257bb37ed7f")
_FILES = {
    "housing": RemoteFile(
        f"{_CSV}/housing.data",
        "e3e36f7b9e5435f9eb8320e106aebad00031fefa3064527da0c71dec59e49b76",
        github(*_JBROWNLEE, "housing.data"),
    ),
    "ionosphere": RemoteFile(
        f"{_CSV}/ionosphere.csv",
        "fd6dd7864b55d56dac0a1e6e24af9ccc35bf2555ac79af8ab9f3d1daa065ab83",
        github(*_JBROWNLEE, "ionosphere.csv"),
    ),
    "parkinsons": RemoteFile(
        f"{_CSV}/parkinsons_updrs.data", "f2c7d5025dec4e92e7feae367a5f7ccf58789a10ac6b54bdf15976c599f9dd39"
    ),
    "red-wine": RemoteFile(
        f"{_CSV}/rnade_red_wine_10folds.hdf5",
        "2c68a6970e234f1c76c21b140042fcdba21b4b34a841babaeb42cde2beed9d42",
        github("MarcCote/NADE", "a00c11bd23343012453711eb9d4b53614124122f", "deepnade/red_wine.hdf5"),
    ),
}


@dataclass(frozen=True)
class Fold:
    """Rows to learn from, in parts, and rows to test on.

    Parameters
    ----------
    parts : tuple of ndarray
        Each of them may be held out for validation where a set has folds; else the last one only.
    test : ndarray of shape (n, D)
    """

    parts: tuple[Array, ...]
    test: Array

    def split(self, held: int) -> tuple[Array, Array]:
        """Return the rows to train on, and those of the part that is held out for validation."""
        held %= len(self.parts)
        return np.concatenate([p for number, p in enumerate(self.parts) if number != held]), self.parts[held]


@dataclass(frozen=True)
class SetRows:
    """The rows of a set.

    Parameters
    ----------
    name : str
    folds : tuple of Fold
        One where the training, validation and test rows are given.
    kinds : str
        Of all columns.
    split : str
        A sentence on how rows were split.
    image : ImageShape, optional
        What rows are images of.
    """

    name: str
    folds: tuple[Fold, ...]
    kinds: str
    split: str
    image: ImageShape | None = None

    @property
    def n_columns(self) -> int:
        """Number of columns, D."""
        return int(self.folds[0].test.shape[1])

    @property
    def n_train(self) -> int:
        """Number of training rows of the first fold."""
        return len(self.folds[0].split(-1)[0])

    @property
    def n_orders(self) -> int | None:
        """How many orders there are: of images so many as there are scans, of other rows no end."""
        return None if self.image is None else len(self._scans(self.image))

    def order(self, number: int, random_state: int) -> Array:
        """Return an order by its number: the natural one, then random ones; of images their scans."""
        if self.image is not None:
            return self._scans(self.image)[number]
        return order_of(number, self.n_columns, random_state)

    @staticmethod
    def _scans(image: ImageShape) -> Array:
        cells, columns = image.in_cells(image.cell_size)
        scans: Array = columns[cells.scans()].numpy()
        return scans

    @property
    def is_folded(self) -> bool:
        """Whether there are folds, in each of which any part may be held out."""
        return len(self.folds) > 1


def order_of(number: int, n_columns: int, random_state: int) -> Array:
    """Return an order by its number: the natural one, then random ones.

    >>> order_of(0, 4, 0).tolist(), order_of(1, 4, 0).tolist()
    ([0, 1, 2, 3], [...])
    """
    if number == 0:
        return np.arange(n_columns)
    return np.random.default_rng([random_state, number]).permutation(n_columns)


def load_rows(name: str, quick: bool = False) -> SetRows:
    """Return the rows of a set; few of them for the quick version.

    Raises
    ------
    DataError
        If a file is missing or is another one than it should be.
    """
    rows = _folded(name) if name == "red-wine" or name in _TABLES else _given(name)
    return _fewer(rows) if quick else rows


def _given(name: str) -> SetRows:
    dataset = load_dataset(name)
    fold = Fold((dataset.train, dataset.valid), dataset.test)
    image = None if dataset.image_shape is None else ImageShape(*dataset.image_shape)
    return SetRows(name, (fold,), "binary", dataset.split, image)


def _folded(name: str) -> SetRows:
    if name == "red-wine":
        folds, split = _red_wine_folds(), "The ten folds of the RNADE paper, the ninth part for validation."
    else:
        table = few_columns(_TABLES[name]())
        parts = np.array_split(table[np.random.default_rng(0).permutation(len(table))], _N_FOLDS)
        folds = [(parts[k + 1 :] + parts[:k], parts[k]) for k in range(_N_FOLDS)]
        split = "Rows shuffled with seed 0 and cut into ten folds: those of the paper are not public."
    return SetRows(name, tuple(_standardised(*fold) for fold in folds), "continuous", split)


def _standardised(parts: list[Array], test: Array) -> Fold:
    """Return a fold in units of the spread of its training rows, all parts but the last."""
    train = np.concatenate(parts[:-1]).astype(np.float64)
    mean, spread = train.mean(axis=0), train.std(axis=0)
    return Fold(tuple((part - mean) / spread for part in parts), (test - mean) / spread)


def few_columns(table: Array) -> Array:
    """Return the columns that the papers keep: real numbers, of two that go together the latter only.

    Discrete columns are those of whole numbers or of fewer than 30 values; of two whose correlation is above
    0.98 the first is left out. So many columns are left as the paper says.
    """
    is_whole = (table == np.round(table)).all(axis=0)
    n_values = np.array([len(np.unique(column)) for column in table.T])
    kept = table[:, ~is_whole & (n_values >= _FEW_VALUES)]
    correlated = np.triu(np.abs(np.corrcoef(kept.T)) > _MOST_CORRELATED, 1).any(axis=1)
    return np.ascontiguousarray(kept[:, ~correlated])


def _red_wine_folds() -> list[tuple[list[Array], Array]]:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise MissingPackageError("the folds of red wine need h5py: pip install h5py") from error
    path = fetch(_FILES["red-wine"])
    try:
        with h5py.File(path) as file:
            groups = [file[f"folds/{k}"] for k in range(1, _N_FOLDS + 1)]
            return [
                (
                    [np.asarray(g[f"training/{part}/data"], np.float64) for part in range(1, _N_FOLDS)],
                    np.asarray(g["tests/1/data"], np.float64),
                )
                for g in groups
            ]
    except (OSError, KeyError) as error:
        raise DataError(f"{path} is damaged or holds no folds") from error


def _white_wine() -> Array:
    table: Array = NAMED["white-wine"].read(0).train.to_numpy()
    return table


def _parkinsons() -> Array:
    return _numbers(fetch(_FILES["parkinsons"]), ",", skip=1)


def _ionosphere() -> Array:
    return _numbers(fetch(_FILES["ionosphere"]), ",")[:, :-1]  # the last column is the class, a letter


def _housing() -> Array:
    return _numbers(fetch(_FILES["housing"]), None)


def _numbers(path: Path, delimiter: str | None, skip: int = 0) -> Array:
    return np.genfromtxt(path, delimiter=delimiter, skip_header=skip)


_TABLES = {
    "white-wine": _white_wine,
    "parkinsons": _parkinsons,
    "ionosphere": _ionosphere,
    "housing": _housing,
}


def _fewer(rows: SetRows) -> SetRows:
    draw = np.random.default_rng(0)

    def some(part: Array, most: int) -> Array:
        return part[np.sort(draw.permutation(len(part))[:most])]

    most = [_QUICK[0], _QUICK[1]] if not rows.is_folded else [_QUICK[0]] * _N_FOLDS
    folds = [
        Fold(
            tuple(some(part, n) for part, n in zip(fold.parts, most, strict=False)),
            some(fold.test, _QUICK[2]),
        )
        for fold in rows.folds[:_QUICK_FOLDS]
    ]
    return replace(rows, folds=tuple(folds))
