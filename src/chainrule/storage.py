"""Saved models: a folder with `model.safetensors` (arrays) and `model.json` (everything else).

Neither file can carry code: safetensors holds plain arrays, JSON plain values. Nor can they ask for memory or
time out of proportion: `StoredArrays` knows all shapes from the header of the file and reads an array once
its shape is the one expected, and `as_described` holds values against declared types and bounds.
"""

from __future__ import annotations

import json
import math
import os
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from hashlib import file_digest, sha256
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec
import msgspec.inspect
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialize_arrays

from chainrule.errors import ChainruleError, StorageError

__all__ = [
    "FORMAT_VERSION",
    "OLDEST_VERSION",
    "PARTIAL",
    "file_written_whole",
    "ArraySpec",
    "StoredArrays",
    "as_described",
    "is_saved_model",
    "json_safe",
    "partials_of",
    "read_folder",
    "write_bytes",
    "write_folder",
    "write_json",
    "write_together",
]

FORMAT_VERSION = 2
"""The version that is written."""
OLDEST_VERSION = 2
"""The oldest version that is read: what is saved by it or a later one loads for good."""
_FORMAT = "chainrule-model"
_METADATA = "model.json"
_ARRAYS = "model.safetensors"
PARTIAL = ".partial"

# A file beyond these is no model's. Values of the description take several times their text in memory, lists
# and objects most of all, of which even a table of many columns needs few.
_MAX_METADATA = 2**28
_MAX_CONTAINERS = 2**20
_MAX_ARRAYS = 2**34
# How the file calls the dtypes that models have.
_DTYPES = {"BOOL": "bool", "F32": "float32", "F64": "float64", "I64": "int64", "U64": "uint64"}

Described = TypeVar("Described")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: an earlier file of that name survives a full disk."""
    write_together({path: content})


def write_together(contents: dict[Path, bytes]) -> None:
    """Write several files, all or none of them, unless the process ends between two renamings."""
    partials = {path.with_name(path.name + PARTIAL): path for path in contents}
    is_renaming = False
    try:
        for partial, path in partials.items():
            with partial.open("wb") as file:
                file.write(contents[path])
                file.flush()
                os.fsync(file.fileno())
        is_renaming = True
        for partial, path in partials.items():
            partial.replace(path)
    except BaseException:
        # Once one of them is renamed, the others are what completes it.
        if not is_renaming or all(partial.exists() for partial in partials):
            for partial in partials:
                partial.unlink(missing_ok=True)
        raise
    for folder in {path.parent for path in contents}:
        _sync_names(folder)


def _sync_names(folder: Path) -> None:
    """See to it that new names outlive a stop of the machine, where a folder can be synced."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            with suppress(OSError):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def file_written_whole(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file to write into that comes to stand at `path` at the end, unless an error was raised."""
    partial = path.with_name(path.name + PARTIAL)
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _sync_names(path.parent)


def partials_of(names: Iterable[str]) -> set[str]:
    """Return the names of files that were being written when a process or the machine stopped."""
    return {name for name in names if name.endswith(PARTIAL)}


def json_safe(value: Any) -> Any:
    """Return a result as JSON can hold it.

    NaN and infinity become None, arrays and tuples lists, NumPy's numbers Python's, and keys text; anything
    else, such as a date, becomes its text.

    Examples
    --------
    >>> json_safe({"mean": np.float64("nan"), 2: (np.int64(1), [True])})
    {'mean': None, '2': [1, [True]]}
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def write_json(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result, whole or not at all; `json_safe` says how values are written."""
    text = json.dumps(json_safe(result), indent=1, ensure_ascii=False, allow_nan=False)
    write_bytes(path, f"{text}\n".encode())


def write_folder(folder: str | Path, metadata: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Save a model's metadata and arrays into `folder`, which is made if it does not exist.

    The JSON file carries a checksum of the arrays, so that two files of different saves never pass as one.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _finish_renaming(folder)
    tensors = serialize_arrays({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    document = {"format": _FORMAT, "format_version": FORMAT_VERSION, "sha256": _sha256(tensors), **metadata}
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False).encode()
    if len(text) > _MAX_METADATA or len(tensors) > _MAX_ARRAYS:
        raise StorageError(
            f"a model of {len(tensors):,} bytes of arrays and {len(text):,} of description is too large "
            f"({_MAX_ARRAYS:,} and {_MAX_METADATA:,} at most): declare columns of very many levels continuous"
        )
    write_together({folder / _ARRAYS: tensors, folder / _METADATA: text})


def is_saved_model(folder: str | Path) -> bool:
    """Return whether the folder looks like one that `write_folder` made."""
    return (Path(folder) / _ARRAYS).is_file() and any(path.is_file() for path in _descriptions(Path(folder)))


def _descriptions(folder: Path) -> tuple[Path, Path]:
    """Return where the metadata of a saved model may stand.

    Two files cannot be renamed at once. Whoever stops a process between the two, leaves new arrays beside the
    description under its temporary name: that is complete by then, and its checksum says that they belong
    together.
    """
    return folder / _METADATA, folder / (_METADATA + PARTIAL)


def _finish_renaming(folder: Path) -> None:
    """Give a description its name that was written for the arrays that are there."""
    final, partial = _descriptions(folder)
    if partial.is_file() and (folder / _ARRAYS).is_file():
        if _checksum_in(partial) == _digest_of(folder / _ARRAYS):
            partial.replace(final)


def _checksum_in(path: Path) -> Any:
    """Return the checksum of the arrays that a description names, None if it is none."""
    try:
        document = _parse_json(path)
    except (OSError, StorageError):
        return None
    return document.get("sha256") if isinstance(document, dict) else None


@dataclass(frozen=True)
class ArraySpec:
    """What an array is to be.

    Parameters
    ----------
    shape : tuple of int
    dtype : str, default="float32"
    """

    shape: tuple[int, ...]
    dtype: str = "float32"

    def __str__(self) -> str:
        return f"{self.dtype} of shape {self.shape}"


class StoredArrays(Mapping[str, np.ndarray]):
    """The arrays of a saved model: their shapes, from the file's header, and each of them once it is read.

    Parameters
    ----------
    path : Path
        A file whose header is sound: the arrays lie side by side and fill the file.
    specs : mapping from str to ArraySpec
    prefix : str
        What the names in the file begin with.
    """

    def __init__(self, path: Path, specs: Mapping[str, ArraySpec], prefix: str = "") -> None:
        self._path = path
        self._specs = specs
        self._prefix = prefix

    @classmethod
    def of_file(cls, path: Path) -> StoredArrays:
        """Return the arrays of a file; StorageError if its header does not fit it."""
        size = path.stat().st_size
        if size > _MAX_ARRAYS:
            raise StorageError(f"{path} has {size:,} bytes, more than a model may have ({_MAX_ARRAYS:,})")
        specs = {}
        try:
            with safe_open(path, framework="numpy") as file:
                for name in file.keys():  # noqa: SIM118 (it is no mapping)
                    array = file.get_slice(name)
                    dtype = _DTYPES.get(array.get_dtype(), array.get_dtype())
                    specs[name] = ArraySpec(tuple(array.get_shape()), dtype)
        except (SafetensorError, OSError) as error:
            raise StorageError(f"{path} is truncated or was altered: {error}") from error
        return cls(path, specs)

    def __len__(self) -> int:
        return len(self._specs)

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.read(name, self.spec(name))

    @cached_property
    def n_numbers(self) -> int:
        """How many numbers the arrays hold together."""
        return sum(math.prod(spec.shape) for spec in self._specs.values())

    def spec(self, name: str) -> ArraySpec:
        """Return what an array is; StorageError if there is none of that name."""
        if name not in self._specs:
            raise StorageError(f"{self._path.name} lacks the array {self._prefix + name!r}")
        return self._specs[name]

    def sizes(self, name: str, n_dimensions: int) -> tuple[int, ...]:
        """Return the shape of an array of so many dimensions; StorageError if it has another number."""
        shape = self.spec(name).shape
        if len(shape) != n_dimensions:
            raise StorageError(f"{self._named(name)} has shape {shape}, expected {n_dimensions} dimensions")
        return shape

    def read(self, name: str, expected: ArraySpec) -> np.ndarray:
        """Return an array; StorageError if it is another than expected, or a number in it is not finite."""
        if self.spec(name) != expected:
            raise StorageError(f"{self._named(name)} is {self.spec(name)}, expected {expected}")
        with safe_open(self._path, framework="numpy") as file:
            array: np.ndarray = file.get_tensor(self._prefix + name)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise StorageError(f"{self._named(name)} holds a number that is not finite")
        return array

    def read_all(self, expected: Mapping[str, ArraySpec]) -> dict[str, np.ndarray]:
        """Return all arrays; StorageError if there are others than those expected, before any is read."""
        for name in (*expected, *self):
            if name not in expected:
                raise StorageError(f"{self._named(name)} belongs to no part of the model")
            if self.spec(name) != expected[name]:
                raise StorageError(f"{self._named(name)} is {self.spec(name)}, expected {expected[name]}")
        return {name: self.read(name, spec) for name, spec in expected.items()}

    def under(self, prefix: str) -> StoredArrays:
        """Return those arrays whose names begin with a prefix, without it."""
        own = {k.removeprefix(prefix): spec for k, spec in self._specs.items() if k.startswith(prefix)}
        return StoredArrays(self._path, own, self._prefix + prefix)

    def without(self, names: Iterable[str]) -> StoredArrays:
        """Return the other arrays."""
        taken = set(names)
        others = {name: spec for name, spec in self._specs.items() if name not in taken}
        return StoredArrays(self._path, others, self._prefix)

    def _named(self, name: str) -> str:
        return f"the array {self._prefix + name!r} of {self._path.name}"


def as_described(value: Any, description: type[Described], what: str) -> Described:
    """Return a value of plain Python as what it is described to be: a dataclass, a struct, a list of numbers.

    Raises
    ------
    StorageError
        Naming `what` the value is, the key, what was expected and what came.

    Examples
    --------
    >>> as_described({"numbers": [1, 2]}, dict[str, tuple[int, ...]], "the state")
    {'numbers': (1, 2)}
    >>> as_described({"numbers": "many"}, dict[str, tuple[int, ...]], "the state")
    Traceback (most recent call last):
    chainrule.errors.StorageError: the state: Expected `array`, got `str` - at `$[...]`
    """
    try:
        _refuse_unknown_keys(value, description)
        return msgspec.convert(value, description)
    except msgspec.ValidationError as error:
        # Of a constructor that refuses its arguments, in words of its own.
        own = error.__cause__ if isinstance(error.__cause__, ChainruleError) else None
        raise StorageError(str(own) if own else f"{what}: {error}") from error


def _refuse_unknown_keys(value: Any, description: Any) -> None:
    """Hold keys against the fields of dataclasses, as msgspec does for its own structs only."""
    if not (isinstance(value, Mapping) and is_dataclass(description)):
        return
    unknown = set(value) - {each.name for each in fields(description)}
    if unknown:
        raise msgspec.ValidationError(f"Object contains unknown field `{min(map(str, unknown))}`")
    if not any(isinstance(item, Mapping) for item in value.values()):
        return
    for each in msgspec.inspect.type_info(description).fields:  # type: ignore[attr-defined]
        of_field = each.type.types if isinstance(each.type, msgspec.inspect.UnionType) else (each.type,)
        for kind in of_field:
            if isinstance(kind, msgspec.inspect.DataclassType):
                _refuse_unknown_keys(value.get(each.name), kind.cls)


def read_folder(folder: str | Path) -> tuple[dict[str, Any], StoredArrays]:
    """Return the metadata and arrays of a saved model.

    Raises
    ------
    StorageError
        If the folder is no saved model, or is truncated, altered, or written by a newer version.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise StorageError(f"there is no saved model at {folder}: it is not a folder")
    if not is_saved_model(folder):
        raise StorageError(f"{folder} is not a saved model: it needs {_METADATA} and {_ARRAYS}")
    arrays = StoredArrays.of_file(folder / _ARRAYS)
    digest = _digest_of(folder / _ARRAYS)
    final, partial = _descriptions(folder)
    is_renamed = final.is_file() and (not partial.is_file() or _checksum_in(partial) != digest)
    metadata = _parse_metadata(final if is_renamed else partial)
    if digest != metadata["sha256"]:
        raise StorageError(
            f"{folder / _ARRAYS} is truncated or was altered: its checksum differs; save the model again"
        )
    return metadata, arrays


def _parse_metadata(path: Path) -> dict[str, Any]:
    metadata = _parse_json(path)
    if not isinstance(metadata, dict) or metadata.get("format") != _FORMAT:
        raise StorageError(f"{path} does not describe a chainrule model")
    version = metadata.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise StorageError(
            f"{path} has format version {reprlib.repr(version)}, this chainrule reads to {FORMAT_VERSION}; "
            "upgrade chainrule"
        )
    if version < OLDEST_VERSION:
        raise StorageError(
            f"{path} has format version {version} of an unreleased chainrule, and this one reads "
            f"from {OLDEST_VERSION} on; fit the model again"
        )
    if not isinstance(metadata.get("sha256"), str):
        raise StorageError(f"{path} was altered: the checksum of the arrays is missing")
    return metadata


def _parse_json(path: Path) -> Any:
    size = path.stat().st_size
    if size > _MAX_METADATA:
        raise StorageError(f"{path} has {size:,} bytes, more than a model may have ({_MAX_METADATA:,})")
    content = path.read_bytes()
    if content.count(b"[") + content.count(b"{") > _MAX_CONTAINERS:
        raise StorageError(f"{path} holds more than {_MAX_CONTAINERS:,} lists and objects, as no model does")
    try:
        return json.loads(
            content, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse_constant
        )
    except RecursionError:
        raise StorageError(f"{path} was altered: it is nested too deeply") from None
    except ValueError as error:
        raise StorageError(f"{path} is truncated or was altered: it is not JSON ({error})") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise ValueError(f"the key {name!r} comes twice")
        made[name] = value
    return made


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text} is too large")
    return number


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not a finite number")


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, sha256).hexdigest()


def _sha256(content: bytes) -> str:
    return sha256(content).hexdigest()
