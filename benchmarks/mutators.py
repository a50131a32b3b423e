"""What can be done to the two files of a saved model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
from safetensors.numpy import load as parse_arrays
from safetensors.numpy import save as serialize_arrays

__all__ = ["Files", "mutate"]

# In so many cases of 8 the checksum is that of the arrays, as by somebody who knows the format.
RIGHT_CHECKSUMS = 7
# What numbers of arrays are changed to.
_WHOLE = (-1, 0, 1, 2, 10**6, 2**62)
_REAL = (np.nan, np.inf, -np.inf, 1e38, -1e38, 1e20, 1e5, -1e4, -1.0, 0.0, 1e-45, 1e-300, 0.5, 1.0)
# Of arrays whose shapes are chosen anew.
SIZES = (0, 1, 2, 3, 5, 1000, 10**6, 2**31, 2**40, 2**62)


@dataclass(frozen=True)
class Files:
    """The contents of the two files; None where there is something else of that name.

    Parameters
    ----------
    description, arrays : bytes or None
    instead : str, default=""
        What there is instead: "folder", "nothing", or "sparse", a file of terabytes that takes no room.
    """

    description: bytes | None
    arrays: bytes | None
    instead: str = ""

    def write(self, folder: Path) -> None:
        """Write them into a folder, whatever was there."""
        for name, content in (("model.json", self.description), ("model.safetensors", self.arrays)):
            path = folder / name
            if path.is_dir():
                rmtree(path)
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content)
            elif self.instead == "folder":
                path.mkdir()
            elif self.instead == "sparse":
                with path.open("wb") as file:
                    file.truncate(2**40)


Random = np.random.Generator


def mutate(files: Files, other: Files, rng: Random) -> tuple[list[str], Files]:
    """Return what was done to the files of a model, and the files; `other` is another model's."""
    done: list[str] = []
    for _ in range(int(rng.choice([1, 1, 1, 2, 3, 5]))):
        if files.description is None or files.arrays is None:
            break
        change = _CHANGES[int(rng.integers(len(_CHANGES)))]
        try:
            files = change(files, other, rng)
        except (ValueError, KeyError, IndexError, TypeError, RecursionError, OverflowError):
            continue  # of a file that an earlier change has broken
        except Exception as error:
            if type(error).__name__ != "SafetensorError":
                raise
            continue
        done.append(change.__name__)
        if change in _ARRAY_CHANGES and rng.integers(8) < RIGHT_CHECKSUMS:
            files = _with_right_checksum(files)
    return done, files


def _with_right_checksum(files: Files) -> Files:
    if files.arrays is None or files.description is None:
        return files
    try:
        document = json.loads(files.description)
        document["sha256"] = sha256(files.arrays).hexdigest()
        return replace(files, description=json.dumps(document).encode())
    except (ValueError, TypeError, RecursionError):
        return files


# ---------------------------------------------------------------- the description as values


def _odd(rng: Random) -> Any:
    """Return a value that hardly any key should have."""
    values: list[Any] = [
        None, True, False, 0, 1, -1, 2, 7, 1000, 10**7, 2**31, 2**53, 2**63, 2**64, 10**30, -(10**30), 0.0,
        -0.0, 0.5, 1e-320, 1e308, -1e308, 1e20, "", "x", "0", "NADE", "binary", "gaussian", "any", "auto",
        "é" * 1000, "x" * 10**5, "../../etc/passwd", "__class__", "\x00\n\n",
        [], {}, [[]], [1], [0, 0],
        {"mapping": [[1, 2]]}, {"mapping": []}, [60000, 60000], [10**9] * 3, ["a"] * 100, list(range(1000)),
    ]  # fmt: skip
    return values[int(rng.integers(len(values)))]


def _near(value: Any, rng: Random) -> Any:
    """Return a value of the same type, not far away or very far."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return int(value) + int(rng.choice([-1, 1, 2, 10, 1000, 10**6, 10**9, -(10**9)]))
    if isinstance(value, float):
        return float(value) * float(rng.choice([-1, 0, 1e-300, 1e-3, 0.5, 2, 1e3, 1e30, 1e300])) or 0.0
    if isinstance(value, str):
        return str(
            rng.choice([value + "x", value[:-1], value * 3, value.upper(), "float64", "int64", "<U99999"])
        )
    if isinstance(value, list):
        return [[*value, *value], value[:-1], value[::-1], value * 1000, [value]][int(rng.integers(5))]
    return _odd(rng)


def _place(document: Any, rng: Random) -> tuple[Any, Any]:
    """Return a container somewhere in the document, and one of its keys."""
    at, key = document, None
    while isinstance(at, dict | list) and at:
        container = at
        keys = list(at) if isinstance(at, dict) else range(len(at))
        key = keys[int(rng.integers(len(keys)))]
        at = at[key]
        if rng.random() < 0.15:
            break
    if key is None:
        raise ValueError("there is nothing in it")
    return container, key


def _of_values(files: Files, rng: Random, act: Callable[[Any, Any], None]) -> Files:
    document = json.loads(files.description or b"")
    for _ in range(int(rng.choice([1, 1, 2, 4]))):
        act(*_place(document, rng))
    return replace(files, description=json.dumps(document).encode())


def another_value(files: Files, other: Files, rng: Random) -> Files:
    """Put something odd at a random place."""
    return _of_values(files, rng, lambda container, key: container.__setitem__(key, _odd(rng)))


def near_value(files: Files, other: Files, rng: Random) -> Files:
    """Change a value, but not its type."""
    return _of_values(
        files, rng, lambda container, key: container.__setitem__(key, _near(container[key], rng))
    )


def no_value(files: Files, other: Files, rng: Random) -> Files:
    """Take a key or an element away."""
    return _of_values(files, rng, lambda container, key: container.__delitem__(key))


def one_more_value(files: Files, other: Files, rng: Random) -> Files:
    """Add a key or an element."""

    def add(container: Any, key: Any) -> None:
        if isinstance(container, list):
            container.insert(
                int(rng.integers(len(container) + 1)), container[key] if rng.random() < 0.5 else _odd(rng)
            )
        else:
            container[str(rng.choice(["extra", "kind", "names", "each", "bins", "levels", f"{key}2"]))] = (
                _odd(rng)
            )

    return _of_values(files, rng, add)


def exchanged_values(files: Files, other: Files, rng: Random) -> Files:
    """Take a value from somewhere else, in this document or in another model's."""
    source = json.loads((files if rng.random() < 0.5 else other).description or b"")
    taken, key_of_taken = _place(source, rng)

    def put(container: Any, key: Any) -> None:
        same = isinstance(container, dict) and isinstance(source, dict) and key in source
        container[key] = source[key] if same else taken[key_of_taken]

    return _of_values(files, rng, put)


def sized_value(files: Files, other: Files, rng: Random) -> Files:
    """Let one of the numbers that say how large a model is be large."""
    document = json.loads(files.description or b"")
    found: list[tuple[Any, Any]] = []

    def look(value: Any) -> None:
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            if key in ("repeat", "low", "high", "n_orderings", "n_masks", "n_components", "hidden_sizes",
                       "hidden_size", "n_members", "n_draws", "pca", "starts", "counts"):  # fmt: skip
                found.append((value, key))
            if isinstance(value[key], dict | list):
                look(value[key])

    look(document)
    container, key = found[int(rng.integers(len(found)))]
    size = int(rng.choice([2, 100, 9999, 10**5, 10**7, 2**31, 2**53, 2**62]))
    container[key] = [size] * int(rng.integers(1, 4)) if isinstance(container[key], list) else size
    return replace(files, description=json.dumps(document).encode())


# ---------------------------------------------------------------- the description as text


def flipped_text(files: Files, other: Files, rng: Random) -> Files:
    """Flip bits."""
    return replace(files, description=_flipped(files.description or b"", rng))


def cut_text(files: Files, other: Files, rng: Random) -> Files:
    """Take a piece out, or put one in."""
    return replace(files, description=_cut(files.description or b"", rng))


def key_twice(files: Files, other: Files, rng: Random) -> Files:
    """Let a key come twice, with another value."""
    text = (files.description or b"").decode()
    starts = [i for i, letter in enumerate(text) if letter == "{"]
    at = starts[int(rng.integers(len(starts)))] + 1
    key = text[text.index('"', at) : text.index('"', text.index('"', at) + 1) + 1]
    return replace(files, description=f"{text[:at]}{key}: {json.dumps(_odd(rng))}, {text[at:]}".encode())


def odd_number(files: Files, other: Files, rng: Random) -> Files:
    """Put text in the place of a number that JSON has not, or that no float holds."""
    text = (files.description or b"").decode()
    places = [i for i in range(1, len(text)) if text[i].isdigit() and text[i - 1] in " :[,"]
    at = places[int(rng.integers(len(places)))]
    end = at
    while text[end] in "0123456789.eE+-":
        end += 1
    odd = (
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e999",
        "9" * 4000,
        "9" * 5000,
        "1" + "0" * 400 + ".5",
        "-0",
        "0x1",
    )
    return replace(files, description=f"{text[:at]}{rng.choice(odd)}{text[end:]}".encode())


def nested(files: Files, other: Files, rng: Random) -> Files:
    """Put lists of lists, or objects in objects, in the place of a value."""
    document = json.loads(files.description or b"")
    container, key = _place(document, rng)
    container[key] = "HERE"
    depth = int(rng.choice([3, 60, 900, 5000, 10**5, 2 * 10**6]))
    deep = "[" * depth + "]" * depth if rng.random() < 0.5 else '{"a":' * depth + "1" + "}" * depth
    return replace(files, description=json.dumps(document).replace('"HERE"', deep).encode())


def of_another_model(files: Files, other: Files, rng: Random) -> Files:
    """Take one of the files from another model."""
    if rng.random() < 0.5:
        return replace(files, arrays=other.arrays)
    return replace(files, description=other.description)


def no_file(files: Files, other: Files, rng: Random) -> Files:
    """Put a folder, nothing, or a sparse file of terabytes in the place of a file."""
    instead = str(rng.choice(["folder", "nothing", "sparse"]))
    if rng.random() < 0.5:
        return Files(None, files.arrays, instead)
    return Files(files.description, None, instead)


# ---------------------------------------------------------------- arrays


def _flipped(content: bytes, rng: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(int(rng.choice([1, 1, 2, 8]))):
        changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _cut(content: bytes, rng: Random) -> bytes:
    at, length = int(rng.integers(len(content))), int(rng.choice([1, 4, 100]))
    if rng.random() < 0.5:
        return content[:at] + rng.bytes(length) + content[at:]
    return content[:at] + content[at + length :] if rng.random() < 0.7 else content[:at]


def flipped_arrays(files: Files, other: Files, rng: Random) -> Files:
    """Flip bits anywhere."""
    return replace(files, arrays=_flipped(files.arrays or b"", rng))


def flipped_numbers(files: Files, other: Files, rng: Random) -> Files:
    """Flip bits of the numbers."""
    content = files.arrays or b""
    start = 8 + int.from_bytes(content[:8], "little")
    return replace(files, arrays=content[:start] + _flipped(content[start:], rng))


def cut_arrays(files: Files, other: Files, rng: Random) -> Files:
    """Take a piece out, or put one in."""
    return replace(files, arrays=_cut(files.arrays or b"", rng))


def other_header(files: Files, other: Files, rng: Random) -> Files:
    """Change shapes, dtypes and places in the header."""
    content = files.arrays or b""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    names = [name for name in header if name != "__metadata__"]
    entry = header[names[int(rng.integers(len(names)))]]
    kind = int(rng.integers(4))
    if kind == 0:
        entry["shape"] = [int(rng.choice(SIZES)) for _ in range(int(rng.integers(4)))]
    elif kind == 1:
        entry["dtype"] = str(
            rng.choice(["F32", "F64", "I64", "U64", "BOOL", "BF16", "F16", "F8_E4M3", "I8", "X"])
        )
    elif kind == 2:
        entry["data_offsets"] = [int(rng.choice(SIZES)), int(rng.choice(SIZES))]
    else:
        _of_header = {"another": entry} if rng.random() < 0.5 else {"__metadata__": {"a": "b" * 1000}}
        header |= _of_header
    text = json.dumps(header).encode()
    length = len(text) if rng.random() < 0.9 else int(rng.choice([0, 2**31, 2**63 - 1]))
    return replace(files, arrays=length.to_bytes(8, "little") + text + content[start:])


def other_arrays(files: Files, other: Files, rng: Random) -> Files:
    """Change the numbers, the shape or the dtype of an array, or take it away."""
    arrays = dict(parse_arrays(files.arrays or b""))
    for _ in range(int(rng.choice([1, 1, 2, 4]))):
        name = sorted(arrays)[int(rng.integers(len(arrays)))]
        kind = int(rng.integers(4))
        if kind == 0:
            arrays[name] = _other_shape(arrays[name], rng)
        elif kind == 1:
            del arrays[name]
        elif kind == 2:
            arrays[f"{name}2" if rng.random() < 0.5 else sorted(arrays)[0]] = arrays[name]
        else:
            dtypes = ["float32", "float64", "int64", "uint64", "bool", "float16", "int8"]
            with np.errstate(all="ignore"):
                arrays[name] = arrays[name].astype(str(rng.choice(dtypes)))
    return replace(files, arrays=serialize_arrays({k: np.ascontiguousarray(v) for k, v in arrays.items()}))


def _other_shape(array: np.ndarray, rng: Random) -> np.ndarray:
    changes = (array.T, array[None], array[..., None], array.ravel(), array[1:], array[:0], np.tile(array, 2),
               np.concatenate([array, array]), array[..., :1], np.zeros(()))  # fmt: skip
    return changes[int(rng.integers(len(changes)))]


def other_numbers(files: Files, other: Files, rng: Random) -> Files:
    """Change one number of an array, or all of them."""
    arrays = {name: array.copy() for name, array in parse_arrays(files.arrays or b"").items()}
    for _ in range(int(rng.choice([1, 1, 2, 4]))):
        name = sorted(arrays)[int(rng.integers(len(arrays)))]
        array = arrays[name]
        numbers = _WHOLE if array.dtype.kind in "iu" else _REAL
        with np.errstate(all="ignore"):
            number = np.asarray(numbers[int(rng.integers(len(numbers)))]).astype(array.dtype)
        if rng.random() < 0.5:
            array[...] = number
        else:
            array.reshape(-1)[int(rng.integers(array.size))] = number
    return replace(files, arrays=serialize_arrays(arrays))


_ARRAY_CHANGES = (flipped_arrays, flipped_numbers, cut_arrays, other_header, other_arrays, other_numbers)
_CHANGES = (
    *(another_value, another_value, near_value, near_value, no_value, one_more_value, exchanged_values),
    *(
        sized_value,
        sized_value,
        flipped_text,
        cut_text,
        key_twice,
        odd_number,
        nested,
        of_another_model,
        no_file,
    ),
    *_ARRAY_CHANGES,
    *(flipped_numbers, other_numbers, other_numbers),
)
