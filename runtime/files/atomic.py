"""Writes that a power cut cannot tear: a temporary sibling, fsync, an atomic rename, fsync of the folder.

And reads that a pipe, a device or a file of a terabyte in place of a small one cannot hold up.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.errors import BundleError, SensedgeError

TEMPORARY = ".tmp-"  # every unfinished file or folder of ours starts so
LARGEST_FILE_BYTES = 1 << 30  # of a bundle


def read_file(path: Path, what: str, fix: str, limit_bytes: int = LARGEST_FILE_BYTES, *, follow: bool = True) -> bytes:
    """The bytes of an ordinary file.

    Args:
        path: of the file.
        what: it should be, for the message.
        fix: for the message.
        limit_bytes: larger ones are refused.
        follow: also of one that a link points to.

    Raises:
        BundleError: there is none, or it is no ordinary file, or larger than the limit. Nothing has been read then.
    """
    try:
        link = 0 if follow else os.O_NOFOLLOW
        handle = os.open(
            path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | link
        )  # no pipe without a writer holds us up
        with open(handle, "rb") as file:
            found = os.fstat(handle)
            if stat.S_ISREG(found.st_mode) and found.st_size <= limit_bytes:
                return file.read(found.st_size)
            ordinary = f"{found.st_size} bytes" if stat.S_ISREG(found.st_mode) else "no ordinary file"
    except (OSError, MemoryError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise BundleError(path, expected=what, got=reason, fix=fix) from None
    raise BundleError(path, expected=f"{what} of at most {limit_bytes} bytes", got=ordinary, fix=fix)


def write_atomic(path: Path, data: bytes) -> None:
    """Put `data` at `path`: whoever looks finds the old file or the new one, never a part."""
    import tempfile  # writing is rare, and a stream starts without it

    handle, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def write_folder_atomic(path: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write a folder's files beside `path`, then move the folder there in one step.

    An existing folder at `path` is replaced; between the two renames it waits under a temporary name.
    """
    import shutil
    import tempfile

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=path.parent))
    try:
        temporary.chmod(0o755)
        fill(temporary)
        for folder, _, names in os.walk(temporary):
            for name in names:
                _fsync(os.path.join(folder, name))
            _fsync(folder)
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=path.parent))
            os.replace(path, old)
            try:
                os.replace(temporary, path)
            except BaseException:
                os.replace(old, path)
                raise
            shutil.rmtree(old)
        else:
            os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    fsync_folder(path.parent)


@contextmanager
def held(folder: Path, busy: SensedgeError) -> Iterator[None]:
    """Hold the only right to something that `folder` stands for; the kernel takes it back when the process dies.

    Args:
        folder: a folder or file that exists.
        busy: raised if another process, or this one, holds the right already.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise busy from None
        yield
    finally:
        os.close(handle)


def fsync_folder(path: Path) -> None:
    """Make renames inside `path` survive a power cut."""
    _fsync(str(path))


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _fsync(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
