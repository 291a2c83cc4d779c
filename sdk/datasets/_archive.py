"""An archive on disk: found, checked by its hash, then read member by member in memory.

    find_archive(name, folder)      which accepted file lies there (sdk/datasets/_find.py)
      -> open_archive(path, ...)    sha256 first: not a byte is interpreted before it is right
        -> Archive.files(pattern)   (name, bytes) of each matching member, in one pass
        -> Archive.blocks(pattern)  (name, blocks of whole lines), for members too large for memory

Nothing is ever extracted to disk, so nothing half-extracted can remain. Zip, tar.xz, tar.gz, a zip inside them (as the
UCI repository serves them) and a bare .npy look the same to the readers: a member is known by the tail of its path,
since the official and the repacked archives differ in their top folders. The path of a member of an inner zip begins
with that of the zip. A large inner zip is copied to an unnamed temporary file, which vanishes with its last reader.
"""

from __future__ import annotations

import contextlib
import fnmatch
import gzip
import hashlib
import io
import lzma
import shutil
import sys
import tarfile
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, BinaryIO, TypeVar, cast

from runtime.errors import InputError
from sdk.datasets._registry import Entry

ARCHIVES = "a zip, tar.xz, tar.gz or npy file"
AGAIN = "Delete the file and get the archive again."
_BLOCK_BYTES, _HEAD_BYTES = 1 << 20, 1024
_IN_MEMORY_BYTES = 64 << 20  # an inner zip above this goes to a temporary file
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
)
_KINDS = {b"PK\x03\x04": "zip", b"\xfd7zXZ\x00": "xz", b"\x1f\x8b": "gz", b"\x93NUMPY": "npy"}


class Archive:
    """An open archive whose hash has been checked.

    Args:
        path: where the file is, for messages.
        file: the open file, seekable.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self._file = path, file

    def files(
        self, *patterns: str, optional: Iterable[str] = (), enter: Callable[[str], bool] = bool
    ) -> Iterator[tuple[str, bytes]]:
        """Yield (tail of the path, content) of each member that matches, in the order of the archive.

        Args:
            patterns: such as "RawData/acc_*.txt". A member matches if the end of its path, as many folders deep as the
                pattern, does.
            optional: patterns that no member need match.
            enter: whether to look into an inner zip, by its path; by default into all.

        Raises:
            InputError: not an archive, cut off or damaged, or a pattern that no member matches. The last is known
                at the end of the pass.
        """
        for name, stream in self._wanted(patterns, optional, enter):
            with self._one_line():
                content = stream.read()
            yield name, content

    def blocks(
        self, *patterns: str, optional: Iterable[str] = (), enter: Callable[[str], bool] = bool
    ) -> Iterator[tuple[str, Iterator[bytes]]]:
        """As `files`, but a member comes as blocks of whole lines, to be read before the next; .gz is unpacked."""
        for name, stream in self._wanted(patterns, optional, enter):
            if name.endswith(".gz"):
                stream = cast(BinaryIO, gzip.GzipFile(fileobj=stream))
            yield name, _progress(self._lines(stream), name, " MiB")

    def names(self) -> list[str]:
        """The paths of all members, without those of inner zips.

        Raises:
            InputError: not an archive, cut off or damaged.
        """
        if _kind(self._file) != "zip":
            return [path for path, _ in self._members(lambda path: False, closed=True)]
        with self._one_line(), zipfile.ZipFile(self._file) as archive:
            return archive.namelist()

    def missing(self, member: str) -> InputError:
        """The error for a member that should be there."""
        return InputError(self.path, expected=f"a member {member}", got="none", fix=AGAIN)

    def _wanted(
        self, patterns: tuple[str, ...], optional: Iterable[str], enter: Callable[[str], bool]
    ) -> Iterator[tuple[str, BinaryIO]]:
        missing, accepted = set(patterns), (*patterns, *optional)
        for path, open_member in _progress(self._members(enter), self.path.name, " files"):
            if (name := _accepted(path, accepted)) is not None:
                missing -= {pattern for pattern in patterns if _tail(path, pattern) is not None}
                with self._one_line():
                    stream = open_member()
                with stream:
                    yield name, stream
        if missing:
            raise self.missing(sorted(missing)[0])

    def _members(self, enter: Callable[[str], bool], *, closed: bool = False) -> Iterator[_Member]:
        kind = _kind(self._file)
        with self._one_line():
            if kind == "zip":
                yield from _zip_members(self._file, enter)
            elif kind in ("xz", "gz"):
                yield from _tar_members(self._file, kind, enter, closed=closed)
            elif kind == "npy":
                yield self.path.name, lambda: io.BytesIO(self._file.read())
            else:
                raise InputError(self.path, expected=ARCHIVES, got=kind, fix=AGAIN)

    def _lines(self, stream: BinaryIO) -> Iterator[bytes]:
        rest = b""
        while True:
            with self._one_line():
                block = stream.read(_BLOCK_BYTES)
            if not block:
                break
            whole, newline, rest = (rest + block).rpartition(b"\n")
            if newline:
                yield whole + newline
        if rest:
            yield rest + b"\n"

    @contextlib.contextmanager
    def _one_line(self) -> Iterator[None]:
        """Turn what the libraries raise for a damaged archive into an InputError."""
        try:
            yield
        except _DAMAGE as error:
            raise InputError(
                self.path,
                expected="a whole archive",
                got=f"one that is cut off or damaged ({error or type(error).__name__})",
                fix=AGAIN,
            ) from error


_Item = TypeVar("_Item")
_Member = tuple[str, Callable[[], BinaryIO]]  # its path, how to open it


def _zip_members(file: BinaryIO, enter: Callable[[str], bool], above: str = "") -> Iterator[_Member]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            path = above + info.filename
            if not path.endswith(".zip"):
                yield path, lambda info=info: cast(BinaryIO, archive.open(info))  # type: ignore[misc]
            elif "__MACOSX" not in path and enter(path):
                with _inner_zip(archive.open(info), info.file_size) as inner:
                    yield from _zip_members(inner, enter, path + "/")


@contextlib.contextmanager
def _inner_zip(member: IO[bytes], size_bytes: int) -> Iterator[BinaryIO]:
    """A zip inside an archive, as a file that can be searched."""
    large = size_bytes > _IN_MEMORY_BYTES
    with tempfile.TemporaryFile() if large else io.BytesIO() as copy, member as source:
        shutil.copyfileobj(source, copy, _BLOCK_BYTES)
        yield cast(BinaryIO, copy)


def _tar_members(file: BinaryIO, kind: str, enter: Callable[[str], bool], *, closed: bool) -> Iterator[_Member]:
    # "r|" over our own decompressor, not "r|xz": tarfile's takes a cut-off stream for the end of the archive.
    with (
        lzma.open(file) if kind == "xz" else gzip.open(file) as stream,
        tarfile.open(fileobj=stream, mode="r|", bufsize=_BLOCK_BYTES) as archive,
    ):
        for member in archive:
            if not member.isfile():
                continue
            if closed or not member.name.endswith(".zip"):
                yield member.name, lambda member=member: cast(BinaryIO, archive.extractfile(member))  # type: ignore[misc]
            elif "__MACOSX" not in member.name and enter(member.name):
                with _inner_zip(cast(IO[bytes], archive.extractfile(member)), member.size) as inner:
                    yield from _zip_members(inner, enter, member.name + "/")


def _accepted(name: str, patterns: Iterable[str]) -> str | None:
    if "__MACOSX" in name.split("/"):  # resource forks that the Finder adds
        return None
    return next((tail for pattern in patterns if (tail := _tail(name, pattern)) is not None), None)


def _tail(name: str, pattern: str) -> str | None:
    tail = "/".join(name.split("/")[-(pattern.count("/") + 1) :])
    return tail if fnmatch.fnmatchcase(tail, pattern) else None


def _kind(file: BinaryIO) -> str:
    """The format by its first bytes, or words for what is there instead; the file is at its beginning afterwards."""
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    for magic, kind in _KINDS.items():
        if head.startswith(magic):
            return kind
    if not head:
        return "an empty file"
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        return "a web page (HTML): a login, a cookie notice or an error was saved in place of the archive"
    return f"a file that starts with {head[:8]!r}"


def _progress(items: Iterable[_Item], title: str, unit: str) -> Iterator[_Item]:
    """The items, with a count of them on stderr where a person is looking and tqdm is installed."""
    if sys.stderr.isatty():
        with contextlib.suppress(ImportError):
            from tqdm import tqdm

            items = tqdm(items, desc=title, unit=unit, leave=False)
    yield from items


@contextlib.contextmanager
def open_archive(path: Path, entries: Iterable[Entry]) -> Iterator[Archive]:
    """Check the hash of an archive, then open it; the file that was hashed is the one that is read.

    Raises:
        InputError: the file cannot be read, or its hash is none of those that `entries` allow it.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(
            path, expected="a file that can be read", got=error.strerror or error, fix="Check its permissions."
        ) from None
    with file:
        check_hash(path, file, [entry for entry in entries if entry.file == path.name])
        yield Archive(path, file)


def check_hash(path: Path, file: BinaryIO, entries: list[Entry]) -> None:
    """Compare a file with the hashes known for its name; warn where there is one without a known hash.

    Raises:
        InputError: none of them is the file's.
    """
    digest = hashlib.sha256()
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)
    got, known = digest.hexdigest(), [entry.sha256 for entry in entries if entry.sha256]
    if got in known:
        return
    size_bytes, kind = file.tell(), _kind(file)
    strange = "" if kind in _KINDS.values() else f", {kind}"
    if (known and len(known) == len(entries)) or strange:
        raise InputError(
            path,
            expected=f"sha256 {' or '.join(known)}" if known else ARCHIVES,
            got=f"{got} ({size_bytes:,} bytes{strange})",
            fix="The download broke off, or the file is another one. " + AGAIN,
        )
    told = "no official sha256 is known for this file" if entries else "packed anew, for which no sha256 is known"
    warnings.warn(f"{path}: {told}; it has {got}. Going on.", stacklevel=2)
