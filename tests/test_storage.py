"""Saved models: exact, whole, and never trusted."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import save as serialize_arrays

import chainrule
from chainrule import MADE, NADE, PixelCNN, load
from chainrule.errors import StorageError
from chainrule.storage import FORMAT_VERSION, is_saved_model, read_folder, write_bytes, write_folder

ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([True, False]), "c": np.array(3)}
FACTS = {"class": "NADE", "words": "größer", "numbers": [1, 2.5, None]}


def table(n=80):
    rng = np.random.default_rng(0)
    colour = rng.choice(["blue", "green", "red"], n)
    return pd.DataFrame(
        {
            "colour": colour,
            "height": rng.normal(170, 10, n),
            "smokes": rng.random(n) < 0.3,
            "n": rng.integers(0, 9, n),
        }
    )


def context(n=80):
    return np.random.default_rng(1).normal(size=(n, 2))


MODELS = {
    "NADE": NADE(6, n_orderings=2),
    "NADE context": NADE(6, ordering=(2, 0, 3, 1), activation="tanh"),
    "MADE": MADE((6, 5), direct_connections=False, encoding="scaled"),
    "MADE ensemble": MADE((6, 6), n_masks=3, n_orderings=2, residual=True, mixture="laplace"),
    "PixelCNN": PixelCNN(6, n_layers=2, kernel_size=5, n_orderings=3, dropout=0.1, image_shape=(2, 1, 2)),
    "PixelCNN context": PixelCNN(6, n_layers=1, ordering=(2, 0, 3, 1), n_orderings=2),
    "MADE context": MADE((6,), n_masks=2, degrees="uniform", dropout=0.5),
}


@pytest.mark.filterwarnings("ignore:.*dependencies between variables:UserWarning")
@pytest.mark.parametrize("name", MODELS)
def test_a_loaded_model_scores_and_samples_bit_for_bit_alike(name, tmp_path):
    given = {"context": context()} if "context" in name else {}
    model = MODELS[name].set_params(max_epochs=2, random_state=0).fit(table(), **given)
    model.save(tmp_path / "model")
    other = load(tmp_path / "model")
    assert type(other) is type(model)
    scores = model.score_samples(table(), **given)
    np.testing.assert_array_equal(other.score_samples(table(), **given), scores)
    samples = [m.sample(80, random_state=7, **given) for m in (model, other)]
    pd.testing.assert_frame_equal(*samples)
    assert other.get_params() == model.get_params()
    assert other.history_ == model.history_
    assert other.n_parameters_ == model.n_parameters_
    assert list(other.feature_names_in_) == list(table().columns)
    assert not other.model_.training
    # What was loaded can be saved again, and is the same again.
    other.save(tmp_path / "again")
    np.testing.assert_array_equal(load(tmp_path / "again").score_samples(table(), **given), scores)


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "model"
    NADE(4, max_epochs=1, random_state=0).fit(np.eye(20)).save(folder)
    return folder


def change(folder, **metadata):
    path = folder / "model.json"
    document = json.loads(path.read_text()) | metadata
    path.write_text(json.dumps(document))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def remove_fact(folder, name):
    document = json.loads((folder / "model.json").read_text())
    del document[name]
    (folder / "model.json").write_text(json.dumps(document))


def replace_arrays(folder, arrays):
    """Put in other arrays with the right checksum: an alteration by someone who knows the format."""
    from hashlib import sha256

    content = serialize_arrays(arrays)
    (folder / "model.safetensors").write_bytes(content)
    change(folder, sha256=sha256(content).hexdigest())


def columns(folder, **changes):
    """Return the schema with changes to its first run of columns."""
    schema = json.loads((folder / "model.json").read_text())["schema"]
    schema["variables"][0] |= changes
    return schema


def rewrite(folder, old, new):
    path = folder / "model.json"
    path.write_text(path.read_text().replace(old, new))


def filled(folder, number):
    """Return the arrays, the real ones of them filled with a number."""
    arrays = {name: array.copy() for name, array in read_folder(folder)[1].items()}
    return {name: np.full_like(a, number) if a.dtype.kind == "f" else a for name, a in arrays.items()}


DAMAGES = {
    "json truncated": (lambda f: truncate(f / "model.json"), "truncated or was altered"),
    "json empty": (lambda f: (f / "model.json").write_bytes(b""), "truncated or was altered"),
    "json of another kind": (lambda f: (f / "model.json").write_text("[1]"), "does not describe"),
    "json not text": (lambda f: (f / "model.json").write_bytes(b"\xff\xfe\x00"), "truncated or was altered"),
    "json foreign": (lambda f: change(f, format="another"), "does not describe a chainrule model"),
    "newer": (lambda f: change(f, format_version=FORMAT_VERSION + 1), "upgrade chainrule"),
    "before the first release": (lambda f: change(f, format_version=1), "fit the model again"),
    "version of no meaning": (lambda f: change(f, format_version="new"), "format version 'new'"),
    "no checksum": (lambda f: remove_fact(f, "sha256"), "checksum of the arrays is missing"),
    "unknown class": (lambda f: change(f, **{"class": "os.system"}), "unknown class 'os.system'"),
    "class of no meaning": (lambda f: change(f, **{"class": ["NADE"]}), "unknown class"),
    "no class": (lambda f: remove_fact(f, "class"), "unknown class None"),
    "no schema": (lambda f: remove_fact(f, "schema"), "was altered"),
    "schema of no meaning": (lambda f: change(f, schema=3), "was altered"),
    "no parameters": (lambda f: remove_fact(f, "parameters"), "was altered"),
    "unknown parameter": (lambda f: change(f, parameters={"nonsense": 1}), "was altered"),
    "no state": (lambda f: change(f, state={}), "was altered"),
    "arrays truncated": (
        lambda f: truncate(f / "model.safetensors"),
        "safetensors is truncated or was altered",
    ),
    "arrays altered": (lambda f: flip_a_bit(f / "model.safetensors"), "checksum differs"),
    "arrays empty": (lambda f: (f / "model.safetensors").write_bytes(b""), "safetensors is truncated or was"),
    "arrays missing": (lambda f: (f / "model.safetensors").unlink(), "is not a saved model: it needs"),
    "json missing": (lambda f: (f / "model.json").unlink(), "is not a saved model: it needs"),
    "arrays of another model": (lambda f: replace_arrays(f, ARRAYS), "was altered"),
    "other sizes": (lambda f: change(f, parameters={"hidden_size": 5}), "was altered"),
    "a layer of terabytes": (
        lambda f: change(f, parameters={"hidden_size": 10**12}),
        r"'conditioner.weight' of model.safetensors is float32 of shape \(20, 4\), expected .*10{12}\)",
    ),
    "too many orders": (
        lambda f: change(f, parameters={"hidden_size": 4, "n_orderings": 10_000}),
        r"'conditioner.orders' .* expected int64 of shape \(10000, 20\)",
    ),
    "too many orders for any model": (
        lambda f: change(f, parameters={"hidden_size": 4, "n_orderings": 10**7}),
        r"'n_orderings' parameter of NADE must be an int in the range \[1, 10000\]",
    ),
    "too many columns": (
        lambda f: change(f, schema=columns(f, repeat=10**9)),
        "more than fit the model",
    ),
    "rows of no dtype": (lambda f: change(f, schema=columns(f) | {"dtype": ""}), "'' is no dtype of rows"),
    "nested": (lambda f: (f / "model.json").write_text("[" * 10**6), "more than|too deeply"),
    "a key twice": (lambda f: rewrite(f, '"state"', '"class": "MADE", "state"'), "'class' comes twice"),
    "not finite": (
        lambda f: rewrite(f, '"n_parameters": ', '"n_parameters": NaN, "n": '),
        "NaN is not a finite",
    ),
    "infinite weights": (lambda f: replace_arrays(f, filled(f, np.inf)), "'conditioner.* not finite"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_folder_is_refused_in_one_line_that_names_it(name, saved):
    damage, message = DAMAGES[name]
    damage(saved)
    with pytest.raises(StorageError, match=message) as caught:
        load(saved)
    assert str(saved) in str(caught.value)


def test_what_is_no_folder_is_refused(tmp_path):
    with pytest.raises(StorageError, match="there is no saved model at .*: it is not a folder"):
        load(tmp_path / "nothing")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="it is not a folder"):
        load(tmp_path / "file")
    with pytest.raises(StorageError, match="is not a saved model"):
        load(tmp_path)


def test_arrays_and_json_of_two_saves_do_not_pass_as_one(saved, tmp_path):
    """As after a power cut between the two files."""
    NADE(4, max_epochs=1, random_state=1).fit(np.eye(20)).save(tmp_path / "other")
    (saved / "model.safetensors").write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
    with pytest.raises(StorageError, match="checksum differs"):
        load(saved)


def test_no_code_is_carried(saved):
    """Neither file is a pickle: nothing that unpickles them would find an opcode."""
    assert json.loads((saved / "model.json").read_text())["format_version"] == FORMAT_VERSION
    assert sorted(p.name for p in saved.iterdir()) == ["model.json", "model.safetensors"]
    _, arrays = read_folder(saved)
    assert all(isinstance(array, np.ndarray) and array.dtype != object for array in arrays.values())


def test_facts_and_arrays_come_back(tmp_path):
    write_folder(tmp_path / "deep" / "model", FACTS, ARRAYS)
    assert is_saved_model(tmp_path / "deep" / "model")
    metadata, arrays = read_folder(tmp_path / "deep" / "model")
    assert metadata.items() >= FACTS.items()
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype


def test_saving_again_replaces_the_model(tmp_path):
    write_folder(tmp_path, {"class": "A"}, ARRAYS)
    write_folder(tmp_path, {"class": "B"}, {"only": np.zeros(2)})
    metadata, arrays = read_folder(tmp_path)
    assert metadata["class"] == "B"
    assert set(arrays) == {"only"}


def test_a_full_disk_leaves_the_earlier_model_whole(saved, monkeypatch):
    before = load(saved).score_samples(np.eye(20))

    def no_space(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        NADE(9, max_epochs=1, random_state=1).fit(np.eye(20)).save(saved)
    monkeypatch.undo()
    np.testing.assert_array_equal(load(saved).score_samples(np.eye(20)), before)
    assert sorted(p.name for p in saved.iterdir()) == ["model.json", "model.safetensors"]


def test_bytes_are_written_whole(tmp_path):
    path = tmp_path / "file"
    write_bytes(path, b"first")
    write_bytes(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]


def test_loading_leaves_global_random_state_alone(saved):
    state = torch.get_rng_state()
    load(saved)
    assert torch.equal(torch.get_rng_state(), state)


# ---------------------------------------------------------------- stopped in the middle


class Stopped(BaseException):
    """The process is no more, or somebody has pressed Ctrl-C."""


def stop_at(monkeypatch, number, *, killed=True):
    """Let all end right before the file operation of that number; return the operations so far."""
    done = []

    def counted(work):
        def operate(*arguments, **options):
            if len(done) == number:
                raise Stopped
            done.append(work.__name__)
            return work(*arguments, **options)

        return operate

    for owner, name in ((Path, "replace"), (Path, "open"), (os, "fsync")):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))
    if killed:  # then nothing is cleaned up
        monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: None)
    return done


@pytest.mark.parametrize("earlier", [True, False])
@pytest.mark.parametrize("killed", [True, False])
def test_a_save_that_stops_at_any_moment_leaves_the_old_model_or_the_new_one(
    killed, earlier, tmp_path, monkeypatch
):
    found = []
    for number in range(100):
        folder = tmp_path / str(number)
        if earlier:
            write_folder(folder, {**FACTS, "version": 1}, ARRAYS)
        new = {name: array * 2 for name, array in ARRAYS.items() if name != "b"}
        with monkeypatch.context() as patch:
            done = stop_at(patch, number, killed=killed)
            try:
                write_folder(folder, {**FACTS, "version": 2}, new)
            except Stopped:
                pass
        if not is_saved_model(folder):
            assert not earlier
            found.append(0)
        else:
            metadata, arrays = read_folder(folder)
            found.append(metadata["version"])
            expected = ARRAYS if metadata["version"] == 1 else new
            assert arrays.keys() == expected.keys()
            np.testing.assert_array_equal(arrays["a"], expected["a"])
        # Whoever saves next, completes it.
        write_folder(folder, {**FACTS, "version": 3}, ARRAYS)
        assert read_folder(folder)[0]["version"] == 3
        assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.safetensors"]
        if len(done) < number:
            break
    assert found == sorted(found) and set(found) == {int(earlier), 2}
    assert found.count(2) >= 3, "no stop between the two renamings was met"


def test_a_second_save_that_stops_early_does_not_lose_the_first(tmp_path, monkeypatch):
    """The description of the first is still under its temporary name, which the second one writes to."""
    write_folder(tmp_path, {"version": 1}, ARRAYS)
    (tmp_path / "model.json").rename(tmp_path / "model.json.partial")
    for number in range(6):
        with monkeypatch.context() as patch, pytest.raises(Stopped):
            stop_at(patch, number)
            write_folder(tmp_path, {"version": 2}, {})
        assert read_folder(tmp_path)[0]["version"] == 1


def test_no_module_writes_a_file_under_its_final_name():
    """All that is written goes through `write_together`, or says here why not."""
    allowed = {
        "storage.py": "it is what writes",
        "cli/output.py": "pipes and devices, which have no other name",
        "batches/sinks.py": "pipes and devices, which have no other name",
        "cli/workers.py": "the null device, for processes that say nothing",
        "batches/storing.py": "codes of rows, which go when the fit is over",
    }
    root = Path(chainrule.__file__).parent
    writers = {
        "write_text",
        "write_bytes",
        "savefig",
        "to_csv",
        "tofile",
        "savez",
        "savez_compressed",
        "dump",
    }
    found = {}
    for path in root.rglob("*.py"):
        name = path.relative_to(root).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            texts = [each.value for each in node.args if isinstance(each, ast.Constant)]
            opens = called == "open" and any(isinstance(t, str) and set(t) & set("wax+") for t in texts[-1:])
            direct = isinstance(node.func, ast.Attribute) and called in writers and not in_memory(node)
            if name not in allowed and (opens or direct):
                found[name] = ast.unparse(node)
    assert not found


def in_memory(call):
    return any("buffer" in ast.unparse(argument).lower() for argument in call.args)
