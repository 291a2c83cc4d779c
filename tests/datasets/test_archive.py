"""Archives that are missing, wrong, cut off or something else altogether."""

import gzip
import hashlib
import io
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from runtime.errors import InputError
from sdk.datasets import _archive, _registry, load_dataset
from sdk.datasets._archive import Archive
from sdk.datasets._find import find_archive
from tests.datasets.archives import hapt_members, load_unknown, write_registry, write_tar, write_zip, zip_bytes

HTML = b"\n<!DOCTYPE html><html><body>Please accept our cookies</body></html>"


def register(tmp_path, monkeypatch, *lines):
    monkeypatch.setattr(_registry, "REGISTRY", write_registry(tmp_path / "registry.txt", *lines))


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_no_archive_says_which_files_and_how_to_get_one(tmp_path):
    with pytest.raises(InputError) as caught:
        load_dataset("uci_har", tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}: expected there or in a direct subfolder one of ")
    for part in (
        '"UCI HAR Dataset.zip"',
        '"UCI_HAR_Dataset.tar.xz"',
        f"python -m sdk.datasets get uci_har --data {tmp_path}",
        "https://archive.ics.uci.edu/",
    ):
        assert part in message


@pytest.mark.parametrize(("there", "got"), [(False, "nothing there"), (True, "a file")])
def test_no_folder(tmp_path, there, got):
    folder = tmp_path / "data"
    if there:
        folder.touch()
    with pytest.raises(InputError, match=f"{folder}: expected the folder that holds the archives, got {got}"):
        load_dataset("hapt", folder)


def test_the_folder_may_come_from_the_environment(tmp_path, monkeypatch):
    register(tmp_path, monkeypatch, "hapt h.zip - -")
    write_zip(tmp_path / "h.zip", hapt_members())
    monkeypatch.setenv("SENSEDGE_DATA", str(tmp_path))
    assert len(load_unknown("hapt", None)) == 2
    monkeypatch.delenv("SENSEDGE_DATA")
    with pytest.raises(InputError, match=r"data_dir: .* set the environment variable SENSEDGE_DATA"):
        load_dataset("hapt")


def test_an_archive_in_a_direct_subfolder_is_found(tmp_path, monkeypatch):
    (tmp_path / "b").mkdir()
    archive = write_zip(tmp_path / "b" / "h.zip", hapt_members())
    register(tmp_path, monkeypatch, f"hapt h.zip {sha256(archive)} -")
    assert len(load_dataset("hapt", tmp_path)) == 2


def test_an_unknown_hash_warns_with_the_one_it_has(tmp_path, monkeypatch):
    archive = write_zip(tmp_path / "h.zip", hapt_members())
    register(tmp_path, monkeypatch, "hapt h.zip - -")
    with pytest.warns(
        UserWarning, match=f"no official sha256 is known for this file; it has {sha256(archive)}"
    ) as told:
        assert len(load_dataset("hapt", tmp_path)) == 2
    assert [Path(one.filename).name for one in told] == ["_archive.py"]


def test_a_hash_may_be_another_one_only_if_one_is_not_known(tmp_path):
    path, known = tmp_path / "h.zip", ["0" * 64, "1" * 64]
    path.write_bytes(zip_bytes({"a": bytes(2000)}))

    def check(*hashes):
        entries = [SimpleNamespace(sha256=one) for one in hashes]
        with path.open("rb") as file:
            _archive.check_hash(path, file, entries)

    size = f"{path.stat().st_size:,}"
    with pytest.raises(InputError, match=rf"sha256 {known[0]} or {known[1]}, got {sha256(path)} \({size} bytes\)\."):
        check(*known)
    check(known[0], sha256(path), None)
    for hashes in ((known[0], None), (None,)):
        with pytest.warns(UserWarning, match="no official sha256 is known for this file; it has"):
            check(*hashes)
    with pytest.warns(UserWarning, match="packed anew, for which no sha256 is known"):
        check()
    path.write_bytes(HTML)
    with pytest.raises(
        InputError, match=rf"expected a zip, tar.xz, .*, got {sha256(path)} \({len(HTML)} bytes, a web page"
    ):
        check(None)


@pytest.mark.parametrize("file", ["a b.tar.xz", "a_b.tgz", "A+b.tar.gz"])
def test_an_archive_in_another_container_is_found(tmp_path, monkeypatch, file):
    """Its hash can be no official one: a warning says so, even where the official one has a hash."""
    register(tmp_path, monkeypatch, f'hapt "a b.zip" {"0" * 64} -')
    (tmp_path / "sub").mkdir()
    archive = write_tar(tmp_path / "sub" / file, hapt_members(), "xz" if file.endswith("xz") else "gz")
    with pytest.warns(UserWarning, match=f"packed anew, for which no sha256 is known; it has {sha256(archive)}"):
        assert len(load_dataset("hapt", tmp_path)) == 2


def test_an_accepted_archive_comes_before_one_that_was_packed_anew(tmp_path, monkeypatch):
    write_tar(tmp_path / "h.tar.xz", hapt_members())
    (tmp_path / "sub").mkdir()
    archive = write_zip(tmp_path / "sub" / "h.zip", hapt_members())
    register(tmp_path, monkeypatch, f"hapt h.zip {sha256(archive)} -")
    assert find_archive("hapt", tmp_path) == archive


def test_a_file_of_another_name_is_no_archive(tmp_path, monkeypatch):
    write_tar(tmp_path / "h2.tar.xz", hapt_members())
    register(tmp_path, monkeypatch, "hapt h.zip - -")
    assert find_archive("hapt", tmp_path) is None


@pytest.mark.parametrize("file", ["h.7z", "h.rar", "h.tar.bz2"])
def test_a_container_that_is_not_read_is_named(tmp_path, monkeypatch, file):
    (tmp_path / file).write_bytes(b"7z")
    register(tmp_path, monkeypatch, "hapt h.zip - -")
    with pytest.raises(InputError, match=rf"{file}: expected a zip, tar.xz or tar.gz, got another container. Pack it"):
        load_dataset("hapt", tmp_path)


def test_one_of_several_known_hashes_is_enough(tmp_path, monkeypatch):
    archive = write_zip(tmp_path / "h.zip", hapt_members())
    register(
        tmp_path, monkeypatch, f"hapt h.zip {'0' * 64} -", f"hapt h.zip {sha256(archive)} -", "hapt h.zip - http://x"
    )
    assert len(load_dataset("hapt", tmp_path)) == 2


def test_a_wrong_hash_names_both_and_is_found_before_anything_is_read(tmp_path, monkeypatch):
    archive = write_zip(tmp_path / "h.zip", hapt_members())
    register(tmp_path, monkeypatch, f"hapt h.zip {'0' * 64} -")
    monkeypatch.setattr(Archive, "files", None)
    with pytest.raises(InputError) as caught:
        load_dataset("hapt", tmp_path)
    assert str(caught.value).startswith(f"{archive}: expected sha256 {'0' * 64}, got {sha256(archive)} (")
    assert "get the archive again" in str(caught.value)


@pytest.mark.parametrize("hashed", [True, False])
def test_a_web_page_is_called_one(tmp_path, monkeypatch, hashed):
    (tmp_path / "h.zip").write_bytes(HTML)
    register(tmp_path, monkeypatch, f"hapt h.zip {'0' * 64 if hashed else '-'} -")
    with pytest.raises(InputError, match=r"h.zip: expected .* got .*a web page \(HTML\)"):
        load_dataset("hapt", tmp_path)


@pytest.mark.parametrize(
    ("content", "got"),
    [
        *(
            (page, "a web page")
            for page in (HTML, b"<HTML>", b"  <head>", b"<?xml version='1.0'?>", b"<!doctype HTML>")
        ),
        (b"<htm", "a file that starts with b'<htm'"),
        (b"", "an empty file"),
        (b"Rar!\x1a\x07", "a file that starts with b'Rar!"),
    ],
)
def test_something_that_is_no_archive(tmp_path, content, got):
    with pytest.raises(InputError, match=rf"expected a zip, tar.xz, tar.gz or npy file, got {re.escape(got)}"):
        read_all(tmp_path / "h.zip", content)


@pytest.mark.parametrize("kind", ["zip", "xz", "gz"])
def test_a_file_that_is_cut_off(tmp_path, kind):
    members = hapt_members() | {"HAPT Data Set/filler": bytes(range(256)) * 40}
    path = tmp_path / f"h.{kind}"
    whole = (write_zip(path, members) if kind == "zip" else write_tar(path, members, kind)).read_bytes()
    for part in (0.2, 0.5, 0.9):
        with pytest.raises(InputError, match=f"h.{kind}: expected a whole archive, got one that is cut off or damaged"):
            read_all(path, whole[: int(part * len(whole))])


def test_a_zip_with_a_flipped_byte(tmp_path):
    content = bytearray(zip_bytes({"RawData/labels.txt": bytes(range(256)) * 10}))
    content[60] ^= 0xFF
    with pytest.raises(InputError, match="cut off or damaged"):
        read_all(tmp_path / "h.zip", bytes(content))


def test_a_member_that_is_missing(tmp_path):
    with pytest.raises(InputError, match=r"h.zip: expected a member RawData/\*, got none"):
        read_all(tmp_path / "h.zip", zip_bytes({"other/file": b""}))


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(_archive.Path, "open", refuse)
    with (
        pytest.raises(InputError, match="expected a file that can be read, got Permission denied"),
        _archive.open_archive(tmp_path / "h.zip", []),
    ):
        pass


def test_nothing_is_written(tmp_path, monkeypatch):
    write_tar(tmp_path / "h.tar.xz", hapt_members())
    register(tmp_path, monkeypatch, "hapt h.tar.xz - -")
    before = sorted(tmp_path.rglob("*"))
    load_unknown("hapt", tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_terminal_sees_progress_if_tqdm_is_there(tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    content = zip_bytes(hapt_members())
    read_all(tmp_path / "h.zip", content)
    assert "h.zip" in sys.stderr.getvalue()

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setitem(sys.modules, "tqdm", None)
    read_all(tmp_path / "h.zip", content)
    assert sys.stderr.getvalue() == ""


def read_all(path, content):
    path.write_bytes(content)
    with path.open("rb") as file:
        return list(Archive(path, file).files("RawData/*"))


def test_files_can_be_read_twice(tmp_path):
    path = write_tar(tmp_path / "h.tar.xz", hapt_members())
    with path.open("rb") as file:
        archive = Archive(path, file)
        assert list(archive.files("RawData/*")) == list(archive.files("RawData/*"))


def test_the_archive_is_what_the_name_says_wherever_it_lies(tmp_path, monkeypatch):
    register(tmp_path, monkeypatch, 'hapt "a b.zip" - -')
    source = write_zip(tmp_path / "source.zip", hapt_members())
    shutil.copy(source, tmp_path / "a b.zip")
    assert len(load_unknown("hapt", tmp_path)) == 2


def nested():
    part = zip_bytes({"a.csv": b"1", "b.csv": b"2"})
    return zip_bytes(
        {"one/x_csv.zip": part, "one/y_csv.zip": zip_bytes({"z_csv.zip": part}), "two/x_sql.zip": b"no zip"}
    )


def all_files(content, *patterns, **options):
    return list(Archive(Path("n.zip"), io.BytesIO(content)).files(*patterns, **options))


@pytest.mark.parametrize("in_memory_bytes", [0, 1 << 20])
def test_members_of_inner_zips_begin_with_the_path_of_the_zip(monkeypatch, in_memory_bytes):
    """Whether an inner zip is held in memory or copied to a file without a name."""
    monkeypatch.setattr(_archive, "_IN_MEMORY_BYTES", in_memory_bytes)
    found = all_files(nested(), "one/x_csv.zip/*.csv", enter=lambda path: "_csv.zip" in path)
    assert found == [("one/x_csv.zip/a.csv", b"1"), ("one/x_csv.zip/b.csv", b"2")]
    found = all_files(nested(), "y_csv.zip/z_csv.zip/a.csv", enter=lambda path: "_csv.zip" in path)
    assert found == [("y_csv.zip/z_csv.zip/a.csv", b"1")]


@pytest.mark.parametrize("in_memory_bytes", [0, 1 << 20])
def test_zips_inside_a_tar(tmp_path, monkeypatch, in_memory_bytes):
    """What a server serves as a zip of zips, packed anew as a tar."""
    monkeypatch.setattr(_archive, "_IN_MEMORY_BYTES", in_memory_bytes)
    members = {"top/one.zip": zip_bytes({"a.csv": b"1"}), "top/b.csv": b"2", "top/no.zip": zip_bytes({"a.csv": b"3"})}
    content = write_tar(tmp_path / "n.tar.gz", members, "gz").read_bytes()
    assert all_files(content, "*.csv", enter=lambda path: path != "top/no.zip") == [("a.csv", b"1"), ("b.csv", b"2")]


def test_an_inner_zip_that_is_damaged_is_one_line():
    with pytest.raises(InputError, match=r"n.zip: expected a whole archive, got one .*File is not a zip file"):
        all_files(nested(), "*.csv")


def test_optional_members_may_be_missing():
    content = zip_bytes({"a.csv": b"1"})
    assert all_files(content, "a.csv", optional=["b.csv"]) == [("a.csv", b"1")]
    assert all_files(content, optional=["b.csv"]) == []
    with pytest.raises(InputError, match=r"expected a member b.csv, got none"):
        all_files(content, "a.csv", "b.csv")


@pytest.mark.parametrize("kind", ["zip", "gz"])
def test_what_the_finder_adds_is_passed_over(tmp_path, kind):
    members = {"__MACOSX/a.csv": b"no", "__MACOSX/x.zip": b"no zip", "top/__MACOSX/b.zip": b"no zip", "a.csv": b"1"}
    content = zip_bytes(members) if kind == "zip" else write_tar(tmp_path / "n.tar.gz", members, "gz").read_bytes()
    assert all_files(content, "*.csv") == [("a.csv", b"1")]


def test_the_first_of_several_missing_members_is_named():
    with pytest.raises(InputError, match=r"expected a member a.csv, got none"):
        all_files(zip_bytes({"d.csv": b"1"}), "c.csv", "a.csv", "d.csv", "b.csv")


def test_an_array_by_itself_is_its_only_member(tmp_path):
    content = b"\x93NUMPY and so on"
    assert list(Archive(tmp_path / "a.npy", io.BytesIO(content)).files("*.npy")) == [("a.npy", content)]
    assert Archive(tmp_path / "a.npy", io.BytesIO(content)).names() == ["a.npy"]


@pytest.mark.parametrize("text", [b"", b"\n", b"ab", b"ab\n", b"ab\ncdefghijk\n\nl", b"abcd\nefgh\n"])
@pytest.mark.parametrize("packed", [False, True])
def test_blocks_are_of_whole_lines(monkeypatch, text, packed):
    monkeypatch.setattr(_archive, "_BLOCK_BYTES", 5)
    content = zip_bytes({"p.gz": gzip.compress(text)} if packed else {"p.csv": text})
    ((_, blocks),) = ((name, list(found)) for name, found in Archive(Path("n.zip"), io.BytesIO(content)).blocks("p.*"))
    assert b"".join(blocks) == (text + b"\n" if text and text[-1:] != b"\n" else text)
    assert all(block.endswith(b"\n") for block in blocks)


def test_names_of_an_archive(tmp_path):
    assert Archive(Path("n.zip"), io.BytesIO(nested())).names() == ["one/x_csv.zip", "one/y_csv.zip", "two/x_sql.zip"]
    inner = {"one/x_csv.zip": b"no zip", "two/y.csv": b"1"}
    tar = write_tar(tmp_path / "n.tar.xz", inner).read_bytes()
    assert Archive(Path("n.tar.xz"), io.BytesIO(tar)).names() == list(inner)
    with pytest.raises(InputError, match=r"n.zip: expected a zip, tar.xz, tar.gz or npy file, got a web page"):
        Archive(Path("n.zip"), io.BytesIO(HTML)).names()


def test_a_compressed_member_that_is_cut_off():
    content = zip_bytes({"P001.csv.gz": gzip.compress(bytes(range(256)) * 40)[:-20]})
    members = Archive(Path("n.zip"), io.BytesIO(content)).blocks("*.csv.gz")
    _, blocks = next(members)
    with pytest.raises(InputError, match=r"n.zip: expected a whole archive, got one that is cut off or damaged"):
        list(blocks)
