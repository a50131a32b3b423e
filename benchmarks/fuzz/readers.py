"""The readers, small valid inputs of each, and what must hold of any input: rows or a chainrule error."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from chainrule.cli.questions import parse_given
from chainrule.datasets.files import read_path
from chainrule.datasets.headers import holds_data
from chainrule.errors import ChainruleError
from chainrule.events import parse_condition, parse_question
from chainrule.rules.parsing import parse_rule
from chainrule.schema import Schema
from chainrule.schema.dates import number_of_date
from chainrule.schema.number_formats import NumberFormat
from chainrule.storage import as_described

__all__ = ["TARGETS", "Target", "check"]

# Wider tables are read, too, but their schemas take longer than a case may.
_MOST_CELLS = 20_000


@dataclass(frozen=True)
class Target:
    """One reader.

    Parameters
    ----------
    read : callable
        From bytes to anything; a `ChainruleError` says what is wrong with them.
    seeds : tuple of bytes
        Inputs that it takes.
    tokens : tuple of bytes
        What mutations put in beside random bytes.
    """

    read: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    tokens: tuple[bytes, ...] = field(default=())


def check(target: Target, case: bytes) -> bool:
    """Return whether the reader takes a case; raise what it raises beside a `ChainruleError` of one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            target.read(case)
        except ChainruleError as error:
            assert str(error).strip(), "an error without a message"
            return False
    return True


# ---------------------------------------------------------------- files


def _file(name: str) -> Callable[[bytes], object]:
    """Return a function that puts bytes into a file of that name, reads it, and infers its schema."""

    def read(content: bytes) -> object:
        path = _folder() / name
        path.write_bytes(content)
        return _rows(path)

    return read


def _folder() -> Path:
    if not _FOLDERS:
        _FOLDERS.append(tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    return Path(_FOLDERS[0].name)


_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []


def _rows(path: Path) -> object:
    rows = read_path(path).train
    if rows.shape[0] * rows.shape[1] > _MOST_CELLS:
        return rows
    schema = Schema.infer(rows, missing=True)
    return schema.decode(schema.encode(rows, missing=True))


def _c45(content: bytes) -> object:
    names, _, data = content.partition(b"\n---\n")
    (_folder() / "it.names").write_bytes(names)
    (_folder() / "it.data").write_bytes(data)
    try:
        return _rows(_folder() / "it.data")
    finally:
        (_folder() / "it.names").unlink()


def _three(content: bytes) -> object:
    for part in ("ts", "valid", "test"):
        (_folder() / f"it.{part}.data").write_bytes(content)
    return _rows(_folder() / "it.ts.data")


def _image(content: bytes) -> object:
    (_folder() / "images").mkdir(exist_ok=True)
    (_folder() / "images" / "it.png").write_bytes(content)
    return read_path(_folder() / "images")


def _csv() -> tuple[bytes, ...]:
    table = "name,price,rate,when,n\n" + "".join(
        f'{"ab"[i % 2]},"$1,{200 + i}.50",{i % 5}%,2024-03-{i + 1:02},{i}\n' for i in range(12)
    )
    plain = "a;b;c\n" + "".join(f"{i};1.{i:03},{i % 10};'x'\n" for i in range(12))
    return (
        table.encode(),
        table.encode("utf-16"),
        plain.encode(),
        b"1,2\n3,4\n5,NA\n",
        "größe , a,a,\n1, 2,3,\n4, 5,6,\n".encode("cp1252"),
        b'"a\nb",c\n\n"x\n",true\ny,false\n',
    )


_ARFF = b"""% comment
@relation it
@attribute 'a name' numeric
@attribute kind {red, 'light blue', "x,y"}
@attribute day string
@data
1,red,2024-01-01
?,'light blue',?
3.5,"x,y",b
4,red,b
"""
_C45 = b"""yes, no.

age: continuous.
colour: red, blue.
---
1, red, yes.
2, blue, no.
?, red, yes
"""
_C45 = _C45.replace(b"\n\n---", b"\n---")


def _bytes_of(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def _npy(array: np.ndarray) -> bytes:
    return _bytes_of(lambda file: np.save(file, array, allow_pickle=False))


_NUMBERS = np.arange(24.0).reshape(6, 4)
_BITS = (np.arange(60).reshape(10, 6) % 2).astype(np.uint8)
_FRAME = pl.DataFrame(
    {
        "a": [1, 2, None, 4],
        "b": ["x", "y", "x", None],
        "c": [0.5, 1.5, 2.5, None],
        "d": [True, False, None, True],
    }
)


def _idx() -> bytes:
    return bytes([0, 0, 8, 3]) + struct.pack(">3I", 3, 2, 2) + bytes(range(12))


def _picture(kind: str) -> bytes:
    return _bytes_of(lambda file: Image.fromarray(_BITS * 255).save(file, kind))


def _tar(mode: str) -> bytes:
    def write(file: io.BytesIO) -> None:
        with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
            for name in ("a.png", "../b.png"):
                entry = tarfile.TarInfo(name)
                content = _picture("PNG")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
            link = tarfile.TarInfo("c.png")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(link)

    return _bytes_of(write)


# ---------------------------------------------------------------- texts


def _text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda content: read(content.decode("utf-8", errors="replace"))


def _format(text: str) -> None:
    """Read numbers in the format of some lines, and write them: what is written is read as the same."""
    lines = text.splitlines()
    found = NumberFormat.of_texts(lines)
    if found is None:
        return
    assert as_described(found.to_dict(), NumberFormat, "a format") == found
    for line in lines:
        number = found.read(line)
        assert number is not None, (found, line)
        assert found.read(found.write(number)) == number, (found, line)


def _date(text: str) -> None:
    for unit in ("days", "seconds"):
        number_of_date(text, unit)


_SOLD = pl.DataFrame({"a": [1, 2, 3] * 9, "b=": ["x", "y", "z"] * 9, "price": ["$1,000", "$2.50", "$7"] * 9})
with warnings.catch_warnings(action="ignore"):
    _SCHEMA = Schema.infer(_SOLD)


def _given(text: str) -> None:
    if "=" in text:
        _SCHEMA.encode_values(parse_given([text], _SCHEMA))


def _header(text: str) -> None:
    first, *following = [line.split(",") for line in text.split("\n")]
    holds_data(first, following, ("NA",))


_SQL = (
    b"AND", b"OR", b"NOT", b"BETWEEN", b"IN", b"IS NULL", b"(", b")", b"'", b'"', b"|", b"<=", b"<>", b"1e9",
    b"--", b"/*", b";", b"SELECT", b"CASE WHEN", b"::", b"$1", b"{", b"[",
)  # fmt: skip
_CELLS = (
    b",", b";", b"\t", b"|", b"\n", b"\r", b'"', b"'", b"\x00", b"\xff", b"\xef\xbb\xbf", b"NA", b"?", b"inf",
    b"nan", b"1e400", b"99999999999999999999", b"-", b"$", b"%", b"(", b")", b"2024-13-41", b"=cmd()",
    b"\x1b[31m",
)  # fmt: skip
_IMAGES = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM", "WEBP")
_SIZES = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x00", b"99999999999", b"-1", b"(", b"'O'")

TARGETS = {
    "csv": Target(_file("it.csv"), _csv(), _CELLS),
    "tsv": Target(_file("it.tsv"), (b"a\tb\n1\tx\n2\ty\n",), _CELLS),
    "csv.gz": Target(_file("it.csv.gz"), (gzip.compress(b"a,b\n1,x\n2,y\n", mtime=0),), _SIZES),
    "arff": Target(_file("it.arff"), (_ARFF,), (*_CELLS, b"@data", b"@attribute", b"{", b"}", b"\\", b"%")),
    "c45": Target(_c45, (_C45,), (*_CELLS, b".", b":", b"continuous", b"\n---\n")),
    "split files": Target(_three, (b"0,1,0\n1,1,0\n", b"0.5,2\n3,4\n"), _CELLS),
    "idx": Target(_file("it.idx"), (_idx(),), _SIZES),
    "unknown": Target(_file("it-ubyte"), (_idx(), gzip.compress(_idx(), mtime=0)), _SIZES),
    "npy": Target(_file("it.npy"), (_npy(_NUMBERS), _npy(_BITS), _npy(np.array([["a", "b"]] * 3))), _SIZES),
    "npz": Target(
        _file("it.npz"),
        (
            _bytes_of(lambda file: np.savez(file, train=_NUMBERS, test=_NUMBERS)),
            _bytes_of(lambda file: np.savez_compressed(file, rows=_BITS)),
        ),
        _SIZES,
    ),
    "parquet": Target(
        _file("it.parquet"),
        (
            _bytes_of(lambda file: _FRAME.write_parquet(file)),
            _bytes_of(lambda file: _FRAME.write_parquet(file, compression="uncompressed")),
        ),
        _SIZES,
    ),
    "arrow": Target(
        _file("it.arrow"),
        (
            _bytes_of(lambda file: _FRAME.write_ipc(file)),
            _bytes_of(lambda file: _FRAME.write_ipc(file, compression="zstd")),
        ),
        _SIZES,
    ),
    "image": Target(_image, tuple(map(_picture, _IMAGES)), _SIZES),
    "tar": Target(_file("it.tar"), (_tar("w"), _tar("w:gz")), (*_SIZES, b"../", b"/etc/passwd", b"2", b"1")),
    "number format": Target(
        _text(_format),
        (b"$1,234.50\n($3.00)\n$12", b"15%\n7.5 %", "1.234,50 €\n2 €".encode(), b"CHF 1'000\n+5"),
        (b"$", b"%", b",", b".", b"(", b")", b"-", b"+", b" ", b"000", b"\n", "\u202f".encode(), b"0"),
    ),
    "date": Target(_text(_date), (b"2024-03-01", b"2024-03-01T10:15:00+02:00"), (b"-", b":", b"Z", b"0000")),
    "header": Target(_text(_header), (b"a,b\n1,2\n3,x", b"M,0.4\nF,0.5"), _CELLS),
    "given": Target(_text(_given), (b"a=2", b"b==x", b"price=$1,000"), (*_CELLS, b"=")),
    "condition": Target(
        _text(parse_condition), (b"age BETWEEN 30 AND 40 AND NOT state IN ('NY', 'NJ') OR b <> 2.5",), _SQL
    ),
    "question": Target(
        _text(parse_question),
        (b"P(a > 30 | state = 'NY')", b"quantiles(age)", b'E("a b" | x IS NULL)', b"distribution(a | b < 3)"),
        _SQL,
    ),
    "rule": Target(
        _text(parse_rule), (b"signup <= churn", b"state, city IN observed", b"total = net + tax - 2"),
        (*_SQL, b"observed", b"+", b"*"),
    ),
}  # fmt: skip
