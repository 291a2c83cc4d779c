"""Downloads, from a server on this machine."""

import hashlib
import http.server
import sys
import threading

import pytest

from runtime.errors import InputError
from sdk.datasets import __main__ as command
from sdk.datasets import _registry, get, load_dataset
from tests.datasets.archives import hapt_members, load_unknown, write_registry, zip_bytes

ARCHIVE = zip_bytes(hapt_members())
SHA256 = hashlib.sha256(ARCHIVE).hexdigest()
PAGES = {"/h.zip": ARCHIVE, "/page.zip": b"<html>log in</html>", "/cut.zip": ARCHIVE}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        content = PAGES.get(self.path)
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write((content or b"")[: -100 if self.path == "/cut.zip" else None])

    def log_message(self, *_):
        pass


@pytest.fixture
def register(tmp_path, monkeypatch):
    """A function that writes the registry with {url} filled in, while a server runs."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"

        def write(*lines):
            path = write_registry(tmp_path / "registry.txt", *(line.format(url=url) for line in lines))
            monkeypatch.setattr(_registry, "REGISTRY", path)
            return url

        yield write
        server.shutdown()
        thread.join()


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_an_archive_arrives_whole_under_its_name(tmp_path, register):
    register(f"hapt h.zip {SHA256} {{url}}/h.zip")
    folder = tmp_path / "new" / "data"
    path = get("hapt", folder)
    assert path == folder / "h.zip"
    assert path.read_bytes() == ARCHIVE
    assert path.stat().st_mode & 0o777 == 0o644
    assert names(folder) == ["h.zip"]


def test_load_downloads_once(tmp_path, register, monkeypatch):
    register(f"hapt h.zip {SHA256} {{url}}/h.zip")
    folder = tmp_path / "data"
    assert len(load_dataset("hapt", folder, download=True)) == 2
    monkeypatch.setitem(PAGES, "/h.zip", b"")
    assert len(load_dataset("hapt", folder, download=True)) == 2
    assert get("hapt", folder) == folder / "h.zip"


def test_load_downloads_only_where_it_was_told_to(tmp_path, monkeypatch):
    monkeypatch.setenv("SENSEDGE_DATA", str(tmp_path))
    with pytest.raises(InputError, match="data_dir: expected the folder to download into, got none"):
        load_dataset("hapt", download=True)


def test_a_wrong_hash_leaves_nothing(tmp_path, register):
    register(f"hapt h.zip {'0' * 64} {{url}}/h.zip")
    with pytest.raises(InputError, match=f"h.zip: expected sha256 {'0' * 64}, got {SHA256}"):
        get("hapt", tmp_path / "data")
    assert names(tmp_path / "data") == []


def test_an_unknown_hash_warns(tmp_path, register):
    register("hapt h.zip - {url}/h.zip")
    with pytest.warns(UserWarning, match=SHA256):
        get("hapt", tmp_path / "data")
    assert len(load_unknown("hapt", tmp_path / "data")) == 2


def test_a_web_page_with_an_unknown_hash_leaves_nothing(tmp_path, register):
    register("hapt page.zip - {url}/page.zip")
    with pytest.raises(InputError, match=r"page.zip: expected a zip.* a web page \(HTML\)"):
        get("hapt", tmp_path / "data")
    assert names(tmp_path / "data") == []


def test_a_file_that_is_not_there_names_the_url_and_the_way_out(tmp_path, register):
    url = register(f"hapt h.zip {SHA256} {{url}}/gone.zip")
    with pytest.raises(ConnectionError, match=f"{url}/gone.zip: 404 .* Download the file in a browser"):
        get("hapt", tmp_path / "data")
    assert names(tmp_path / "data") == []


def test_a_connection_that_breaks_leaves_nothing(tmp_path, register):
    register("hapt cut.zip - {url}/cut.zip")
    with pytest.raises(ConnectionError, match=r"cut.zip: "):
        get("hapt", tmp_path / "data")
    assert names(tmp_path / "data") == []


def test_the_next_url_is_tried(tmp_path, register):
    register(f"hapt old.zip {SHA256} {{url}}/gone.zip", f"hapt h.zip {SHA256} {{url}}/h.zip")
    assert get("hapt", tmp_path / "data").name == "h.zip"


def test_no_server_at_all(tmp_path, register, monkeypatch):
    register("hapt h.zip - http://127.0.0.1:9/h.zip")
    with pytest.raises(ConnectionError, match=r"127.0.0.1:9/h.zip"):
        get("hapt", tmp_path / "data")


def test_no_url_at_all(tmp_path, register):
    register(f"hapt h.zip {SHA256} -")
    with pytest.raises(
        InputError, match=r"one of \"h.zip\", got none of them. Get the archive from its authors. Put the"
    ):
        get("hapt", tmp_path / "data")


def test_a_full_disk_is_no_failure_of_the_server(tmp_path, register, monkeypatch):
    import pooch

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", fail)
    register(f"hapt h.zip {SHA256} {{url}}/h.zip")
    with pytest.raises(OSError, match="No space left"):
        get("hapt", tmp_path / "data")
    assert names(tmp_path / "data") == []


@pytest.mark.parametrize("missing", [["pooch"], ["tqdm"], ["pooch", "tqdm"]])
def test_without_the_extra_the_error_names_the_cure(tmp_path, register, monkeypatch, missing):
    register(f"hapt h.zip {SHA256} {{url}}/h.zip")
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf'needs {" and ".join(missing)}: pip install "sensedge\[data\]"$') as caught:
        get("hapt", tmp_path / "data")
    assert isinstance(caught.value.__cause__, ImportError)


def test_get_command(tmp_path, register, capsys):
    register(f"hapt h.zip {SHA256} {{url}}/h.zip")
    folder = tmp_path / "data"
    assert command.main(["get", "hapt", "--data", str(folder)]) == 0
    assert capsys.readouterr().out.strip() == str(folder / "h.zip")
    assert command.main(["get", "hapt", "--data", str(folder), "--json"]) == 0
    assert '"name": "hapt"' in capsys.readouterr().out


def test_get_command_that_fails(tmp_path, register, capsys):
    register(f"hapt h.zip {SHA256} {{url}}/gone.zip")
    assert command.main(["get", "hapt", "--data", str(tmp_path / "data")]) == 1
    assert capsys.readouterr().err.startswith("error: http://127.0.0.1")
