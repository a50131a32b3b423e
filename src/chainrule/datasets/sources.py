"""Find a named set's file: in CHAINRULE_DATA, in the user's cache, or at its public address."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chainrule.datasets.arrays import read_npz
from chainrule.errors import DataError

__all__ = ["DATA_VARIABLE", "GITHUB_RAW", "RemoteFile", "fetch", "github", "sha256_of_arrays"]

DATA_VARIABLE = "CHAINRULE_DATA"
"""Environment variable: a folder in which named sets are looked for before anything is downloaded."""

GITHUB_RAW = "https://raw.githubusercontent.com"

_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class RemoteFile:
    """One file of a named set.

    Parameters
    ----------
    path : str
        Its place inside the folder that CHAINRULE_DATA names.
    sha256 : str or None
        Checksum of that file; of its arrays where `of_arrays`. None: whatever lies there is taken.
    address : str, optional
        Where it can be downloaded.
    public_sha256 : str, optional
        Checksum of the download, where its bytes differ (the same content, packed differently).
    of_arrays : bool, default=False
        Whether an npz's arrays are what is checked: its bytes depend on what compressed it.
    """

    path: str
    sha256: str | None
    address: str | None = None
    public_sha256: str | None = None
    of_arrays: bool = False


def github(repository: str, commit: str, path: str) -> str:
    """Return the public address of a file in a GitHub repository at a fixed commit."""
    return f"{GITHUB_RAW}/{repository}/{commit}/{path}"


def fetch(file: RemoteFile) -> Path:
    """Return the file's path on this machine, downloading it where necessary.

    Raises
    ------
    DataError
        If the file in CHAINRULE_DATA has another content than expected, if the file cannot be
        downloaded, or if the download has another content.
    """
    local = _local_path(file)
    if local is not None:
        return local
    if file.address is None:
        raise DataError(
            f"{file.path} has no public address: put it at that place in a folder "
            f"and set {DATA_VARIABLE} to the folder"
        )
    return _download(file, file.address)


def _local_path(file: RemoteFile) -> Path | None:
    folder = os.environ.get(DATA_VARIABLE)
    if not folder:
        return None
    path = Path(folder) / file.path
    if not path.is_file():
        return None
    if file.sha256 is None:
        return path
    found = _checksum(file, path)
    if found not in (file.sha256, file.public_sha256):
        raise DataError(
            f"{path} has the checksum {found[:12]}... where {file.sha256[:12]}... was expected: "
            f"replace it, or remove it to have it downloaded"
        )
    return path


def _checksum(file: RemoteFile, path: Path) -> str:
    if file.of_arrays:
        return sha256_of_arrays(path)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_of_arrays(path: Path) -> str:
    """Return the checksum of an npz's splits: their shapes, and their values as bytes."""
    digest = hashlib.sha256()
    for rows in read_npz(path).given:
        digest.update(str(rows.shape).encode())
        digest.update(np.ascontiguousarray(rows, dtype=np.uint8).tobytes())
    return digest.hexdigest()


def _download(file: RemoteFile, address: str) -> Path:
    import requests

    checksum = file.public_sha256 or file.sha256
    assert checksum is not None
    hint = f"or put the file at {file.path} in a folder and set {DATA_VARIABLE} to the folder"
    try:
        return _retrieve(file, address, checksum)
    except requests.RequestException as error:  # an OSError too, so it comes first
        raise DataError(f"could not download {address} ({_reason(error)}): try again, {hint}") from error
    except ValueError as error:
        raise DataError(
            f"{address} does not have the expected checksum {checksum[:12]}...: {hint}"
        ) from error


def _retrieve(file: RemoteFile, address: str, checksum: str) -> Path:
    """Return the cached or newly downloaded file; a ValueError says that its checksum is wrong."""
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    target = Path(pooch.os_cache("chainrule")) / file.path
    downloaded = pooch.retrieve(
        address,
        known_hash=None if file.of_arrays else f"sha256:{checksum}",
        fname=target.name,
        path=target.parent,
        downloader=pooch.HTTPDownloader(timeout=_TIMEOUT_SECONDS),
    )
    if file.of_arrays and _checksum(file, Path(downloaded)) != checksum:
        Path(downloaded).unlink()
        raise ValueError("the arrays have another checksum")
    return Path(downloaded)


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    return f"HTTP status {response.status_code}" if response is not None else type(error).__name__
