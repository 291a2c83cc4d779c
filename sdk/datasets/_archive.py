"""An archive on disk: found, checked by its hash, then read member by member in memory.

    find_archive(name, folder)      which accepted file lies there
      -> open_archive(path, ...)    sha256 first: not a byte is interpreted before it is right
        -> Archive.files(pattern)   (name, bytes) of each matching member, in one pass

Nothing is ever extracted to disk, so nothing half-extracted can remain. Zip, tar.xz, tar.gz, a zip inside a zip (as the
UCI repository serves them) and a bare .npy look the same to the readers: a member is known by the tail of its path,
since the official and the repacked archives differ in their top folders.
"""

from __future__ import annotations

import contextlib
import fnmatch
import gzip
import hashlib
import io
import lzma
import os
import sys
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from runtime.errors import InputError
from sdk.datasets._registry import Entry, entries_of

DATA_VARIABLE = "SENSEDGE_DATA"  # the folder with the archives, where none is given
ARCHIVES = "a zip, tar.xz, tar.gz or npy file"
AGAIN = "Delete the file and get the archive again."
_BLOCK_BYTES = 1 << 20
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

    def files(self, *patterns: str) -> Iterator[tuple[str, bytes]]:
        """Yield (tail of the path, content) of each member that matches, in the order of the archive.

        Args:
            patterns: such as "RawData/acc_*.txt". A member matches if the end of its path, as many folders deep as the
                pattern, does.

        Raises:
            InputError: not an archive, cut off or damaged, or a pattern that no member matches. The last is known
                at the end of the pass.
        """
        missing = set(patterns)
        for name, content in _progress(self._members(patterns), self.path.name):
            missing -= {pattern for pattern in patterns if _tail(name, pattern) is not None}
            yield name, content
        if missing:
            raise self.missing(sorted(missing)[0])

    def missing(self, member: str) -> InputError:
        """The error for a member that should be there."""
        return InputError(self.path, expected=f"a member {member}", got="none", fix=AGAIN)

    def _members(self, patterns: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
        self._file.seek(0)
        kind = _kind(self._file.read(1 << 10))
        self._file.seek(0)
        readers = {"zip": _zip_members, "xz": _xz_members, "gz": _gz_members}
        try:
            if kind in readers:
                yield from readers[kind](self._file, patterns)
            elif kind == "npy":
                yield self.path.name, self._file.read()
            else:
                raise InputError(self.path, expected=ARCHIVES, got=kind, fix=AGAIN)
        except _DAMAGE as error:
            raise InputError(
                self.path,
                expected="a whole archive",
                got=f"one that is cut off or damaged ({error or type(error).__name__})",
                fix=AGAIN,
            ) from error


def _zip_members(file: BinaryIO, patterns: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if info.filename.endswith(".zip"):
                yield from _zip_members(io.BytesIO(archive.read(info)), patterns)
            elif (name := _wanted(info.filename, patterns)) is not None:
                yield name, archive.read(info)


def _xz_members(file: BinaryIO, patterns: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    with lzma.open(file) as stream:
        yield from _tar_members(cast(BinaryIO, stream), patterns)


def _gz_members(file: BinaryIO, patterns: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    with gzip.open(file) as stream:
        yield from _tar_members(cast(BinaryIO, stream), patterns)


def _tar_members(stream: BinaryIO, patterns: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    # "r|" over our own decompressor, not "r|xz": tarfile's takes a cut-off stream for the end of the archive.
    with tarfile.open(fileobj=stream, mode="r|", bufsize=_BLOCK_BYTES) as archive:
        for member in archive:
            name = _wanted(member.name, patterns)
            content = archive.extractfile(member) if name is not None and member.isfile() else None
            if name is not None and content is not None:
                yield name, content.read()


def _wanted(name: str, patterns: tuple[str, ...]) -> str | None:
    if name.startswith("__MACOSX/"):  # resource forks that the Finder adds
        return None
    return next((tail for pattern in patterns if (tail := _tail(name, pattern)) is not None), None)


def _tail(name: str, pattern: str) -> str | None:
    tail = "/".join(name.split("/")[-(pattern.count("/") + 1) :])
    return tail if fnmatch.fnmatchcase(tail, pattern) else None


def _kind(head: bytes) -> str:
    """The format by its first bytes, or words for what is there instead."""
    for magic, kind in _KINDS.items():
        if head.startswith(magic):
            return kind
    if not head:
        return "an empty file"
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        return "a web page (HTML): a login, a cookie notice or an error was saved in place of the archive"
    return f"a file that starts with {head[:8]!r}"


def _progress(members: Iterable[tuple[str, bytes]], title: str) -> Iterator[tuple[str, bytes]]:
    """The members, with a bar on stderr where a person is looking and tqdm is installed."""
    if sys.stderr.isatty():
        with contextlib.suppress(ImportError):
            from tqdm import tqdm

            members = tqdm(members, desc=title, unit=" files", leave=False)
    yield from members


def data_folder(data_dir: str | Path | None) -> Path:
    """The folder that was given, or else the one that the environment variable SENSEDGE_DATA names.

    Raises:
        InputError: neither.
    """
    if folder := data_dir or os.environ.get(DATA_VARIABLE):
        return Path(folder)
    raise InputError(
        "data_dir",
        expected="the folder that holds the archives",
        got="none",
        fix=f"Give it, or set the environment variable {DATA_VARIABLE}.",
    )


def find_archive(name: str, folder: Path) -> Path | None:
    """The first accepted archive of data set `name` in `folder` or one of its direct subfolders, or None.

    Raises:
        InputError: `folder` is no folder.
    """
    if not folder.is_dir():
        got = "a file" if folder.exists() else "nothing there"
        raise InputError(folder, expected="the folder that holds the archives", got=got, fix="Name an existing folder.")
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    candidates = (place / entry.file for entry in entries_of(name) for place in places)
    return next((path for path in candidates if path.is_file()), None)


def no_archive(name: str, folder: Path) -> InputError:
    """The error for a folder without the archive of data set `name`: what would do, and how to get it."""
    entries = entries_of(name)
    accepted = dict.fromkeys(f'"{entry.file}"' for entry in entries)
    url = next((entry.url for entry in entries if entry.url), None)
    return InputError(
        folder,
        expected=f"there or in a direct subfolder one of {', '.join(accepted)}",
        got="none of them",
        fix=f"Run `python -m sdk.datasets get {name} --data {folder}`, or download {url} yourself and put it there.",
    )


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
    size_bytes = file.tell()
    file.seek(0)
    kind = _kind(file.read(1 << 10))
    strange = "" if kind in _KINDS.values() else f", {kind}"
    if len(known) == len(entries) or strange:
        raise InputError(
            path,
            expected=f"sha256 {' or '.join(known)}" if known else ARCHIVES,
            got=f"{got} ({size_bytes:,} bytes{strange})",
            fix="The download broke off, or the file is another one. " + AGAIN,
        )
    warnings.warn(f"{path}: no official sha256 is known for this file; it has {got}. Going on.", stacklevel=2)
