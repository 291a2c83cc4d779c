"""A bundle as one file: NAME.bundle.zip, stored and not packed, for sending it somewhere.

    pack("walk.bundle", "walk.bundle.zip")      what the manifest lists, the manifest and its signatures; equal bundles
                                                become equal bytes. Versions trained on a device stay there.
    unpack("walk.bundle.zip", "walk.bundle")    a new folder, moved into place whole, or nothing

A zip from elsewhere can name files outside the folder, name one twice, hold links, or say that it is small. So the
names are not cleaned but compared: apart from the manifest and its signatures, a file must stand in the manifest, with
its size, and once. What is packed is refused, so that nothing grows: all files together are no larger than the zip.
"""

from __future__ import annotations

import io
import os
import stat
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.bundle.check import MANIFEST_LIMIT_BYTES, check_listed, check_same
from runtime.bundle.folder import Bundle
from runtime.bundle.manifest import Manifest
from runtime.errors import BundleError
from runtime.files.atomic import LARGEST_FILE_BYTES, read_file, write_atomic, write_folder_atomic
from runtime.specs import BASE

if TYPE_CHECKING:
    from runtime.bundle.trust import Trust

MANIFEST, SIGNATURES = "manifest.json", "manifest.sig"
_SIGNATURES_LIMIT_BYTES = 1 << 16
_MOST_FILES = 1000
_DIRECTORY_LIMIT_BYTES = 1 << 20
_END, _END_BYTES, _END64, _END64_BYTES = b"PK\x05\x06", 22, b"PK\x06\x07", 20  # the last records of a zip
_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can tell
_AGAIN = "Get the file again, or pack the bundle with python -m sdk.bundle pack."


def pack(bundle: str | Path | Bundle, to: str | Path) -> Path:
    """Write a bundle's shipped files into one zip; the path of it. One that is there is replaced.

    Raises:
        BundleError: the bundle is broken.
    """
    opened = bundle.again(BASE) if isinstance(bundle, Bundle) else Bundle.open(bundle, BASE)
    path, to = opened.path, Path(to)
    names = [MANIFEST, *([SIGNATURES] if os.path.lexists(path / SIGNATURES) else []), *sorted(opened.manifest.files)]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for name in names:
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, _shipped(opened, name))
    write_atomic(to, buffer.getvalue())
    return to


def _shipped(bundle: Bundle, name: str) -> bytes:
    """The bytes of a file as it was when the bundle was opened."""
    if name in bundle.manifest.files:
        return bundle.shipped_file(name)
    data = read_file(bundle.path / name, "a file of a bundle", _AGAIN)
    if name == MANIFEST:
        check_same(bundle.path, data, bundle.manifest_sha256)
    return data


def unpack(file: str | Path, folder: str | Path, *, trust: Trust | None = None) -> Bundle:
    """Make a bundle's folder out of its zip, verified before it is there.

    Args:
        file: what `pack` wrote.
        folder: that is not there yet.
        trust: as of `Bundle.open`.

    Raises:
        BundleError: the folder is there already; the zip is broken, packed, or holds what no bundle holds.
        TrustError: with `trust`, a bundle that is not signed as it asks for.
    """
    file, folder = Path(file), Path(folder)
    if os.path.lexists(folder):
        raise BundleError(folder, expected="no such folder yet", got="one", fix="Choose another path.")
    contents = _contents(file, read_file(file, "a zip of a bundle", _AGAIN, LARGEST_FILE_BYTES))

    def fill(temporary: Path) -> None:
        for name, data in contents.items():
            (temporary / name).parent.mkdir(exist_ok=True)
            (temporary / name).write_bytes(data)
        try:
            Bundle.open(temporary, BASE, trust=trust)
        except BundleError as error:
            where = error.where.replace(str(temporary), str(file), 1)
            raise type(error)(where, expected=error.expected, got=error.got, fix=error.fix) from None

    write_folder_atomic(folder, fill)
    return Bundle.open(folder, trust=trust)


def _contents(file: Path, data: bytes) -> dict[str, memoryview]:
    """Every file's bytes by its name, all names and sizes as the manifest in the zip says."""
    try:
        _check_end(data)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = _entries(archive, len(data))
            if MANIFEST not in entries or entries[MANIFEST].file_size > MANIFEST_LIMIT_BYTES:
                raise ValueError(f"no {MANIFEST}, or one of more than {MANIFEST_LIMIT_BYTES} bytes")
            manifest = Manifest.from_json(archive.read(entries[MANIFEST]), f"{file}: {MANIFEST}")
            check_listed(f"{file}: {MANIFEST}", manifest)
            _check_sizes(entries, manifest)
            return {name: memoryview(archive.read(info)) for name, info in entries.items()}
    except BundleError:
        raise
    except Exception as error:  # zipfile and struct have their own for each way to be broken
        got = " ".join(str(error).split()) or type(error).__name__
        raise BundleError(file, expected="a zip of a bundle", got=got, fix=_AGAIN) from None


def _check_end(data: bytes) -> None:
    """Before the list of files is read: it is short."""
    end = data[-_END_BYTES:]
    count, size = int.from_bytes(end[10:12], "little"), int.from_bytes(end[12:16], "little")
    if len(end) < _END_BYTES or end[:4] != _END or end[20:] != b"\0\0":
        raise ValueError("no zip, or one with something behind it")
    if count > _MOST_FILES or size > _DIRECTORY_LIMIT_BYTES or data[-_END_BYTES - _END64_BYTES :][:4] == _END64:
        raise ValueError(f"a list of {count} files in {size} bytes")


def _entries(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
            raise ValueError(f"{info.filename[:100]!r} packed or encrypted")
        if info.filename in entries or info.orig_filename != info.filename or kind not in (0, stat.S_IFREG):
            raise ValueError(f"{info.orig_filename[:100]!r} twice, a link, or under two names")
        entries[info.filename] = info
    if sum(info.file_size for info in entries.values()) > size:
        raise ValueError("files that lie in the same bytes")
    return entries


def _check_sizes(entries: dict[str, zipfile.ZipInfo], manifest: Manifest) -> None:
    wanted = {name: spec.bytes for name, spec in manifest.files.items()}
    found = {name: info.file_size for name, info in entries.items() if name not in (MANIFEST, SIGNATURES)}
    if found != wanted:
        name = min(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
        raise ValueError(f"{name[:100]!r} of {found.get(name)} bytes, where the manifest says {wanted.get(name)}")
    if SIGNATURES in entries and entries[SIGNATURES].file_size > _SIGNATURES_LIMIT_BYTES:
        raise ValueError(f"{SIGNATURES} of more than {_SIGNATURES_LIMIT_BYTES} bytes")
