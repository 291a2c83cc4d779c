"""A folder of files that this device wrote, and no others: what is in one decides what is run, or what is refused.

    FOLDER/        mode 0700, ours, no link
      key          32 random bytes, mode 0600, made here once
      <name>       magic | HMAC-SHA256 by that key over the rest | name | facts | data
      lock         held by whoever changes several files

The name is under the seal, so that a file cannot be passed off as another. The checks are on what is opened, not on
what is named so.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from runtime.errors import SensedgeError
from runtime.files.atomic import TEMPORARY

FILE_BYTES = 1 << 29  # the largest file that is read
_MAGIC = b"sensedge sealed 1\n"
_KEY_BYTES, _MAC_BYTES, _LENGTH_BYTES = 32, 32, 8
_TURN_S = 0.2  # between two looks at a lock
_FIX = "Remove the folder; it will be made again."


class CacheError(SensedgeError):
    """A sealed folder or one of its files is not as this device left it. Nothing of it was opened."""


class Sealed(NamedTuple):
    """What a file holds whose seal is right."""

    facts: dict[str, Any]
    data: bytes


class SealedFolder:
    """A folder of sealed files, which is made if it is not there.

    Args:
        path: of the folder; the one above it is there.

    Raises:
        CacheError: the folder or the key could have been written by someone else, or the folder cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
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
        """Let go of the folder."""
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

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._folder)

    @contextmanager
    def locked(self, go_on: Callable[[], bool]) -> Iterator[bool]:
        """The only right to change several files, waited for; False: `go_on` said no before it was free."""
        lock = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=self._folder)
        try:
            yield _locked(lock, go_on)
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


def _locked(lock: int, go_on: Callable[[], bool]) -> bool:
    while go_on():
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_TURN_S)
    return False
