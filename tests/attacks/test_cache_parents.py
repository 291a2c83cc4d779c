"""The folders of ours are not taken where somebody else could rename one above them."""

import os

import pytest

from runtime.errors import InputError
from runtime.files import cache
from runtime.files.cache import cache_folder, state_folder

FOLDERS = {"cache": cache_folder, "state": state_folder}


@pytest.fixture(params=FOLDERS.values(), ids=FOLDERS)
def folder(request, tmp_path, monkeypatch):
    monkeypatch.setenv("SENSEDGE_CACHE", str(tmp_path / "a" / "b" / "c"))
    (tmp_path / "a" / "b").mkdir(parents=True)
    return request.param


@pytest.mark.parametrize("parent", ["a", "a/b"])
@pytest.mark.parametrize("mode", [0o777, 0o757, 0o703, 0o772])
def test_others_may_write_above_it(parent, mode, folder, tmp_path):
    (tmp_path / parent).chmod(mode)
    with pytest.raises(InputError, match=rf"nobody else can rename, got {tmp_path}/{parent} above it, owner \d+, mode"):
        folder()


@pytest.mark.parametrize("mode", [0o1777, 0o755, 0o700, 0o775, 0o1773])
def test_nobody_can_rename_it(mode, folder, tmp_path):
    (tmp_path / "a").chmod(mode)
    assert folder() == tmp_path / "a" / "b" / "c"


def test_a_group_of_others(folder, tmp_path, monkeypatch):
    (tmp_path / "a").chmod(0o775)
    monkeypatch.setattr(cache.os, "getegid", lambda: 4321)
    with pytest.raises(InputError, match="above it, owner"):
        folder()


@pytest.mark.parametrize("way", ["a link to it", "a link above it"])
def test_neither_the_way_nor_the_place_may_be_open(way, folder, tmp_path, monkeypatch):
    """The way leads through an open folder to a safe one; and the other way round."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    if way == "a link to it":
        (tmp_path / "a" / "b" / "c").mkdir(mode=0o700)
        (tmp_path / "open" / "c").symlink_to(tmp_path / "a" / "b" / "c")
        monkeypatch.setenv("SENSEDGE_CACHE", str(tmp_path / "open" / "c"))
    else:
        (tmp_path / "way").symlink_to(tmp_path / "open")
        monkeypatch.setenv("SENSEDGE_CACHE", str(tmp_path / "way" / "c"))
    with pytest.raises(InputError, match=rf"nobody else can rename, got {tmp_path}/\w+ above it, owner \d+, mode 777"):
        folder()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a folder to someone else")
def test_a_parent_of_somebody_else(folder, tmp_path):
    try:
        os.chown(tmp_path / "a", 12345, -1)
    except OSError as error:
        pytest.skip(f"cannot give a folder to someone else: {error.strerror}")
    with pytest.raises(InputError, match=f"got {tmp_path}/a above it, owner 12345"):
        folder()


def test_the_place_of_what_is_remembered(tmp_path, monkeypatch):
    monkeypatch.delenv("SENSEDGE_CACHE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert state_folder(make=False) == tmp_path / "xdg" / "sensedge"
    assert not (tmp_path / "xdg").exists()
    assert state_folder().stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert state_folder(make=False) == tmp_path / "home" / ".local" / "state" / "sensedge"
