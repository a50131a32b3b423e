"""Named sets over the network: from a local HTTP server, with right and wrong checksums."""

from __future__ import annotations

import hashlib
import http.server
import threading

import numpy as np
import pytest

from chainrule.datasets import load_dataset, sources
from chainrule.datasets.checksums import ARRAYS_SHA256, PUBLIC_SHA256, SHA256
from chainrule.datasets.sources import RemoteFile, fetch, github, sha256_of_arrays
from chainrule.errors import DataError

CONTENT = b"0,1\n1,0\n"
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()
PLACE = "debd/small.ts.data.gz"


class Server:
    """Serves a dict of paths, and counts what was asked for."""

    def __init__(self):
        self.files, self.asked = {}, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                content = outer.files.get(self.path)
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """Give every test an empty cache and no CHAINRULE_DATA."""
    import pooch

    monkeypatch.delenv("CHAINRULE_DATA", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    return tmp_path / "cache" / "chainrule"


def remote(server, sha256=CHECKSUM, **metadata):
    return RemoteFile(PLACE, sha256, f"{server.address}/small", **metadata)


def test_a_file_is_downloaded_once_and_kept(server, cache):
    server.files["/small"] = CONTENT
    path = fetch(remote(server))
    assert path == cache / PLACE
    assert path.read_bytes() == CONTENT
    assert fetch(remote(server)) == path
    assert server.asked == ["/small"]


def test_a_damaged_file_in_the_cache_is_downloaded_again(server, cache):
    server.files["/small"] = CONTENT
    (cache / PLACE).parent.mkdir(parents=True)
    (cache / PLACE).write_bytes(b"damaged")
    assert fetch(remote(server)).read_bytes() == CONTENT


def test_a_download_with_another_content_is_refused_and_not_kept(server, cache):
    server.files["/small"] = b"something else"
    with pytest.raises(DataError, match=r"/small does not have the expected checksum .*CHAINRULE_DATA"):
        fetch(remote(server))
    assert not (cache / PLACE).exists()


def test_a_missing_page_is_one_clear_line(server):
    with pytest.raises(
        DataError, match=r"could not download http://.*/small \(HTTP status 404\).*CHAINRULE_DATA"
    ) as caught:
        fetch(remote(server))
    assert "\n" not in str(caught.value)


def test_no_connection_is_one_clear_line(server):
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(DataError, match=r"could not download .* \(ConnectionError\)") as caught:
        fetch(remote(server))
    assert "\n" not in str(caught.value)


def test_a_file_in_the_data_folder_is_used_as_it_is(server, monkeypatch, tmp_path):
    monkeypatch.setenv("CHAINRULE_DATA", str(tmp_path))
    place = tmp_path / PLACE
    place.parent.mkdir()
    place.write_bytes(CONTENT)
    assert fetch(remote(server)) == place
    assert fetch(remote(server, sha256="0" * 64, public_sha256=CHECKSUM)) == place
    assert server.asked == []


def test_a_file_in_the_data_folder_with_another_content_is_named(server, monkeypatch, tmp_path):
    monkeypatch.setenv("CHAINRULE_DATA", str(tmp_path))
    place = tmp_path / PLACE
    place.parent.mkdir()
    place.write_bytes(b"something else")
    with pytest.raises(DataError, match=r"small.ts.data.gz has the checksum .* was expected"):
        fetch(remote(server))


def test_a_file_that_the_data_folder_lacks_is_downloaded(server, monkeypatch, tmp_path):
    monkeypatch.setenv("CHAINRULE_DATA", str(tmp_path / "empty"))
    server.files["/small"] = CONTENT
    assert fetch(remote(server)).read_bytes() == CONTENT


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("names", [("train", "valid", "test"), ("train_data", "valid_data", "test_data")])
def test_arrays_are_checked_however_they_are_packed(server, tmp_path, save, names):
    rows = np.eye(4, dtype=np.uint8)
    np.savez(tmp_path / "reference.npz", train=rows, valid=rows[:2], test=rows[2:])
    checksum = sha256_of_arrays(tmp_path / "reference.npz")
    save(tmp_path / "packed.npz", **dict(zip(names, (rows.astype(float), rows[:2], rows[2:]), strict=True)))
    server.files["/small"] = (tmp_path / "packed.npz").read_bytes()
    path = fetch(remote(server, sha256=checksum, of_arrays=True))
    assert sha256_of_arrays(path) == checksum


def test_other_arrays_are_refused_and_not_kept(server, tmp_path, cache):
    np.savez(tmp_path / "other.npz", train=np.zeros((2, 2)), valid=np.zeros((2, 2)), test=np.ones((2, 2)))
    server.files["/small"] = (tmp_path / "other.npz").read_bytes()
    with pytest.raises(DataError, match="does not have the expected checksum"):
        fetch(remote(server, of_arrays=True))
    assert not (cache / PLACE).exists()


def test_a_set_without_public_address_says_where_to_put_its_file():
    with pytest.raises(DataError, match="made_uci/adult.npz has no public address: put it .*CHAINRULE_DATA"):
        load_dataset("uci-adult")


def test_a_named_set_comes_from_its_pinned_address(server, monkeypatch):
    """nltcs asks for its three files at the commit that was written down."""
    from chainrule.datasets import named

    monkeypatch.setattr(sources, "GITHUB_RAW", server.address)
    files = {f"nltcs.{part}.data.gz": f"{part}".encode() for part in ("ts", "valid", "test")}
    for file, content in files.items():
        monkeypatch.setitem(SHA256, f"debd/{file}", hashlib.sha256(content).hexdigest())
        server.files[
            f"/nicoladimauro/dcsn/dd0f7a43f5fededeeaf37905f48f918a25b8c2c7/data/generative/{file}"
        ] = content
    assert {named._fetch_debd(file).read_bytes() for file in files} == set(files.values())


def test_addresses_name_a_commit():
    assert (
        github("owner/name", "abc", "a/b.csv") == "https://raw.githubusercontent.com/owner/name/abc/a/b.csv"
    )


def test_checksums_are_checksums():
    for table in (SHA256, PUBLIC_SHA256, ARRAYS_SHA256):
        assert all(len(checksum) == 64 and int(checksum, 16) for checksum in table.values())
