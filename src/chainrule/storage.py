"""Saved models: a folder with `model.safetensors` (arrays) and `model.json` (everything else).

Neither file can carry code: safetensors holds plain arrays, JSON plain values.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse_arrays
from safetensors.numpy import save as serialize_arrays

from chainrule.errors import StorageError

__all__ = [
    "FORMAT_VERSION",
    "OLDEST_VERSION",
    "file_written_whole",
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
_PARTIAL = ".partial"


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: an earlier file of that name survives a full disk."""
    write_together({path: content})


def write_together(contents: dict[Path, bytes]) -> None:
    """Write several files, all or none of them, unless the process ends between two renamings."""
    partials = {path.with_name(path.name + _PARTIAL): path for path in contents}
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
    partial = path.with_name(path.name + _PARTIAL)
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
    return {name for name in names if name.endswith(_PARTIAL)}


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
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    write_together({folder / _ARRAYS: tensors, folder / _METADATA: text.encode()})


def is_saved_model(folder: str | Path) -> bool:
    """Return whether the folder looks like one that `write_folder` made."""
    return (Path(folder) / _ARRAYS).is_file() and any(path.is_file() for path in _descriptions(Path(folder)))


def _descriptions(folder: Path) -> tuple[Path, Path]:
    """Return where the metadata of a saved model may stand.

    Two files cannot be renamed at once. Whoever stops a process between the two, leaves new arrays beside the
    description under its temporary name: that is complete by then, and its checksum says that they belong
    together.
    """
    return folder / _METADATA, folder / (_METADATA + _PARTIAL)


def _finish_renaming(folder: Path) -> None:
    """Give a description its name that was written for the arrays that are there."""
    final, partial = _descriptions(folder)
    if partial.is_file() and (folder / _ARRAYS).is_file():
        if _checksum_in(partial) == _sha256((folder / _ARRAYS).read_bytes()):
            partial.replace(final)


def _checksum_in(path: Path) -> Any:
    """Return the checksum of the arrays that a description names, None if it is none."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return document.get("sha256") if isinstance(document, dict) else None


def read_folder(folder: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
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
    tensors = (folder / _ARRAYS).read_bytes()
    final, partial = _descriptions(folder)
    is_renamed = final.is_file() and (not partial.is_file() or _checksum_in(partial) != _sha256(tensors))
    metadata = _parse_metadata(final if is_renamed else partial)
    if _sha256(tensors) != metadata["sha256"]:
        raise StorageError(
            f"{folder / _ARRAYS} is truncated or was altered: its checksum differs; save the model again"
        )
    try:
        return metadata, parse_arrays(tensors)
    except SafetensorError as error:
        raise StorageError(f"{folder / _ARRAYS} cannot be read: {error}") from error


def _parse_metadata(path: Path) -> dict[str, Any]:
    try:
        metadata = json.loads(path.read_bytes())
    except ValueError as error:
        raise StorageError(f"{path} is truncated or was altered: it is not JSON ({error})") from error
    if not isinstance(metadata, dict) or metadata.get("format") != _FORMAT:
        raise StorageError(f"{path} does not describe a chainrule model")
    version = metadata.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise StorageError(
            f"{path} has format version {version}, this chainrule reads up to {FORMAT_VERSION}; "
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


def _sha256(content: bytes) -> str:
    return sha256(content).hexdigest()
