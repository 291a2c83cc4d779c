"""Engines that this device built, and no others.

A built engine is machine code: opening one from elsewhere is running a stranger's program, and TensorRT's own checks
do not find tampering. So a file counts only if this device sealed it:

    CACHE/tensorrt/         mode 0700, ours, no link
      key                   32 random bytes, mode 0600, made here once
      <digest>.engine       magic | HMAC-SHA256 by that key over the rest | name | facts | engine
      <digest>.refused      the same with a reason: what TensorRT refused is not tried at every start
      <digest>.timing       the same with what builds measured, for the next build
      lock                  one build at a time

The digest is of everything that an engine depends on: another model, version of TensorRT, GPU or option has another
name, and the name is under the seal, so a file cannot be passed off as another. Nothing is ever read from a bundle.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import secrets
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from runtime.errors import SensedgeError
from runtime.files.atomic import TEMPORARY
from runtime.files.cache import cache_folder

FILE_BYTES = 1 << 29  # the largest file that is read
KEPT_BYTES = 1 << 29  # the oldest engines beyond it are removed
_MAGIC = b"sensedge sealed 1\n"
_KEY_BYTES, _MAC_BYTES, _LENGTH_BYTES = 32, 32, 8
_FIX = "Remove the folder; it will be made again."


class CacheError(SensedgeError):
    """The cache's folder or one of its files is not as this device left it. Nothing of it was opened."""


class Sealed(NamedTuple):
    """The content of a cached file whose seal is right."""

    facts: dict[str, Any]
    data: bytes


def digest_of(facts: Mapping[str, Any]) -> str:
    """The name of what depends on these facts and on nothing else."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


class EngineCache:
    """The folder of sealed files.

    Args:
        path: None: `tensorrt` in the cache folder of `runtime.files.cache`.

    Raises:
        CacheError: the folder or the key could have been written by someone else.
        InputError: there is no cache folder to write to.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = cache_folder() / "tensorrt" if path is None else path
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
            self._folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            raise CacheError(self.path, expected="a folder, no link", got=error.strerror, fix=_FIX) from None
        try:
            _check_owner(self.path, os.fstat(self._folder))
            self._key = self._read_key()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the cache's folder."""
        os.close(self._folder)

    def load(self, name: str) -> Sealed | None:
        """A file's content, checked before any of it is used; None if there is none.

        Raises:
            CacheError: the file is not as this device left it.
        """
        content = self._read(name, FILE_BYTES)
        if content is None:
            return None
        body = content[len(_MAGIC) + _MAC_BYTES :]
        mac = content[len(_MAGIC) : len(_MAGIC) + _MAC_BYTES]
        if not content.startswith(_MAGIC) or not hmac.compare_digest(mac, self._mac(body)):
            raise self._error(name, "a file that this device sealed", "another seal")
        length = int.from_bytes(body[:_LENGTH_BYTES], "big")
        head = json.loads(body[_LENGTH_BYTES : _LENGTH_BYTES + length])
        if head["name"] != name:
            raise self._error(name, "the content of this name", f"that of {head['name']}")
        return Sealed(head["facts"], body[_LENGTH_BYTES + length :])

    def store(self, name: str, facts: Mapping[str, Any], data: bytes = b"") -> None:
        """Seal something under a name; whoever looks finds the old file or the new one.

        Raises:
            OSError: no space, or no right to write.
        """
        head = json.dumps({"name": name, "facts": dict(facts)}, allow_nan=False).encode()
        body = len(head).to_bytes(_LENGTH_BYTES, "big") + head + data
        self._write(name, _MAGIC + self._mac(body) + body)
        self._prune(name)

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._folder)

    @contextmanager
    def building(self, cancel: threading.Event) -> Iterator[Path | None]:
        """A private folder to build in, once no other process builds; None if cancelled while waiting for it."""
        lock = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=self._folder)
        try:
            if not _locked(lock, cancel):
                yield None
                return
            for leftover in self.path.glob(f"{TEMPORARY}build-*"):  # of a process that was killed
                shutil.rmtree(leftover, ignore_errors=True)
            folder = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}build-", dir=self.path))
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)

    def _mac(self, body: bytes) -> bytes:
        return hmac.new(self._key, body, hashlib.sha256).digest()

    def _read_key(self) -> bytes:
        key = self._read("key", _KEY_BYTES)
        if key is None:
            key = self._make_key()
        if len(key) != _KEY_BYTES:
            raise self._error("key", f"{_KEY_BYTES} bytes", f"{len(key)}")
        return key

    def _make_key(self) -> bytes:
        """A new key, or that of another process that was faster: a link appears whole and never replaces a file."""
        temporary = f"{TEMPORARY}key-{secrets.token_hex(8)}"
        self._write(temporary, secrets.token_bytes(_KEY_BYTES))
        try:
            os.link(temporary, "key", src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except FileExistsError:
            pass
        finally:
            os.unlink(temporary, dir_fd=self._folder)
        return self._read("key", _KEY_BYTES) or b""

    def _read(self, name: str, most_bytes: int) -> bytes | None:
        """The bytes of a plain file of ours; the checks are on what is opened, not on what is named so."""
        try:
            handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._folder)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._error(name, "a plain file, no link", error.strerror) from None
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            _check_owner(self.path / name, status)
            if not stat.S_ISREG(status.st_mode) or status.st_size > most_bytes:
                raise self._error(name, f"a plain file of at most {most_bytes} bytes", f"{status.st_size} bytes")
            return file.read(most_bytes + 1)

    def _write(self, name: str, content: bytes) -> None:
        temporary = f"{TEMPORARY}file-{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        handle = os.open(temporary, flags, 0o600, dir_fd=self._folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except BaseException:
            self.remove(temporary)
            raise
        os.fsync(self._folder)

    def _prune(self, kept: str) -> None:
        """Remove the oldest engines until the folder is small enough."""
        engines = [(entry.stat().st_mtime_ns, entry) for entry in self.path.glob("*.engine") if entry.name != kept]
        newest_first = [entry for _, entry in sorted(engines, reverse=True)]
        total = 0
        for entry in newest_first:
            total += entry.stat().st_size
            if total > KEPT_BYTES:
                self.remove(entry.name)

    def _error(self, name: str, expected: str, got: object) -> CacheError:
        return CacheError(self.path / name, expected=expected, got=got, fix=_FIX)


def _check_owner(path: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise CacheError(
            path,
            expected="owned by this user, closed to all others",
            got=f"owner {status.st_uid}, mode {status.st_mode & 0o777:o}",
            fix=_FIX,
        )


def _locked(lock: int, cancel: threading.Event) -> bool:
    while not cancel.is_set():
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        cancel.wait(0.2)
    return False
