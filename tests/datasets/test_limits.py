"""Small files that claim, or unpack to, more than memory holds; archives with paths and links."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from chainrule.datasets import limits, load_rows
from chainrule.datasets.files import read_path
from chainrule.errors import DataError

MEGABYTE = 2**20
PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.fixture
def little_memory(monkeypatch):
    """Files may unpack to a megabyte."""
    monkeypatch.setattr(limits, "MOST_UNPACKED", MEGABYTE)


def peak(read, *arguments) -> int:
    """Return how many bytes Python held at most while something was refused."""
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"unpacks to more than|truncated, damaged, or not a numpy"):
            read(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def png(size: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (size, size)).save(buffer, "PNG")
    return buffer.getvalue()


def tar_of(files, mode="w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def test_the_limit_is_half_of_free_memory_and_16_gib_at_most(monkeypatch, tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    4096 kB\n")
    monkeypatch.setattr(limits, "_MEMORY", tmp_path / "meminfo")
    assert limits.most_unpacked() == 2 * MEGABYTE
    monkeypatch.setattr(limits, "_MEMORY", tmp_path / "none")
    assert limits.most_unpacked() == limits.MOST_UNPACKED == 16 * 2**30


@pytest.mark.parametrize("name", ["it.csv.gz", "it.idx.gz", "it.npy", "it.arff.gz"])
def test_what_is_gzipped_stops_at_the_limit(name, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MOST_UNPACKED", 32 * MEGABYTE)
    (tmp_path / name).write_bytes(gzip.compress(bytes(300 * MEGABYTE), 1))
    assert peak(read_path, tmp_path / name) < 130 * MEGABYTE


def test_an_npz_stops_before_it_unpacks(tmp_path, little_memory):
    np.savez_compressed(tmp_path / "it.npz", train=np.zeros((4000, 1000), np.uint8))
    assert peak(read_path, tmp_path / "it.npz") < 2 * MEGABYTE


@pytest.mark.parametrize("shape", [(10**12, 1000), (10**6, 10**6), (2**62, 4)])
def test_the_size_in_a_numpy_header_is_checked_before_memory_is_taken(shape, tmp_path):
    header = str({"descr": "<f8", "fortran_order": False, "shape": shape}).encode().ljust(117) + b"\n"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(800)
    (tmp_path / "it.npy").write_bytes(content)
    assert peak(read_path, tmp_path / "it.npy") < MEGABYTE


def test_a_parquet_file_of_equal_values_stops_before_it_unpacks(tmp_path, little_memory):
    pl.DataFrame({"a": np.zeros(10**6)}).write_parquet(tmp_path / "it.parquet")
    assert (tmp_path / "it.parquet").stat().st_size < MEGABYTE / 50
    pl.DataFrame({"a": [1.0]}).write_parquet(tmp_path / "small.parquet")
    read_path(tmp_path / "small.parquet")  # what is imported takes memory, too
    assert peak(read_path, tmp_path / "it.parquet") < MEGABYTE


def test_large_images_are_refused_by_their_size(tmp_path):
    size = struct.pack(">2IBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    head = struct.pack(">I", 13) + b"IHDR" + size + struct.pack(">I", zlib.crc32(b"IHDR" + size))
    (tmp_path / "it.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + png(4)[33:])
    with pytest.raises(DataError, match="it.png"):
        read_path(tmp_path)
    (tmp_path / "it.png").write_bytes(png(12_000))
    with pytest.raises(DataError, match="has 144,000,000 pixels"):
        read_path(tmp_path)


def test_many_images_stop_at_the_limit(tmp_path, little_memory):
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(png(512))
    with pytest.raises(DataError, match="unpacks to more than"):
        read_path(tmp_path)


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_packed_archive_stops_at_the_limit(suffix, tmp_path, little_memory):
    path = tmp_path / f"it.tar.{suffix}"
    path.write_bytes(
        PACKERS[suffix](tar_of([("a.txt", bytes(MEGABYTE // 2)), ("b.png", bytes(64 * MEGABYTE))]))
    )
    assert peak(read_path, path) < 12 * MEGABYTE  # xz has a dictionary of eight
    path.write_bytes(PACKERS[suffix](tar_of([("a.png", png(8)), ("b.png", png(8))])))
    assert read_path(path).train.shape == (2, 64)


def test_paths_and_links_in_archives_lead_nowhere(tmp_path):
    (tmp_path / "secret.png").write_bytes(png(4))
    files = [("../../out.png", png(8)), ("/abs.png", png(8)), ("link.png", str(tmp_path / "secret.png"))]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "it.tar").write_bytes(tar_of(files))
    assert read_path(tmp_path / "in" / "it.tar").train.shape == (2, 64)
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == ["secret.png"]


def test_images_are_never_handed_to_other_programs(tmp_path):
    (tmp_path / "it.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    )
    with pytest.raises(DataError, match="it.png is truncated, damaged, or not an image"):
        read_path(tmp_path)


def test_devices_are_no_files():
    with pytest.raises(DataError, match="is a device"):
        read_path(limits.Path("/dev/zero"))


def test_what_panics_in_polars_is_one_line(tmp_path, capfd):
    frame = pl.DataFrame({"a": [1, 2, None, 4], "b": ["x", "y", "x", None]})
    frame.write_parquet(tmp_path / "it.parquet", compression="uncompressed")
    content = (tmp_path / "it.parquet").read_bytes()
    refused = 0
    for place in range(4, len(content) - 8, 3):
        for byte in (0, 255):
            (tmp_path / "it.parquet").write_bytes(content[:place] + bytes([byte]) + content[place + 1 :])
            try:
                read_path(tmp_path / "it.parquet")
            except DataError as error:
                refused += 1
                assert "truncated, damaged, or not a parquet file" in str(error)
    assert refused > 50 and "panicked" not in capfd.readouterr().err


def test_damaged_arrow_files_are_one_line(tmp_path):
    frame = pl.DataFrame({"a": [1, 2, None, 4], "b": ["x", "y", "x", None]})
    frame.write_ipc(tmp_path / "it.arrow")
    content = (tmp_path / "it.arrow").read_bytes()
    refused = 0
    for place in range(8, len(content), 5):
        (tmp_path / "it.arrow").write_bytes(content[:place] + b"\xff" + content[place + 1 :])
        try:
            read_path(tmp_path / "it.arrow")
        except DataError as error:
            refused += 1
            assert "truncated, damaged, or not an Arrow IPC file" in str(error)
    assert refused > 20


def test_a_parquet_file_whose_pages_have_impossible_sizes_is_refused():
    """Polars asks for exabytes and ends the process, so pyarrow looks first."""
    pytest.importorskip("pyarrow", reason="without pyarrow nothing looks first")
    with pytest.raises(DataError, match="truncated, damaged, or not a parquet file"):
        load_rows(Path(__file__).parent / "damaged" / "page_sizes.parquet")
