"""Downloads an official archive: into a temporary sibling, its hash checked, then moved into place."""

from __future__ import annotations

import os
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from runtime.files.atomic import TEMPORARY, fsync_folder
from sdk.datasets._archive import check_hash, open_archive
from sdk.datasets._find import find_archive, no_archive
from sdk.datasets._registry import Entry, entries_of

CHUNK_BYTES = 1 << 16
TIMEOUT_S = 30.0  # to connect, and between two chunks


def download(name: str, folder: Path, access: str = "") -> Path:
    """Put the archive of data set `name` into `folder`, made if needed; one that is there is checked and kept.

    Args:
        name: the data set.
        folder: where to.
        access: where to ask, for a data set that cannot simply be downloaded.

    Raises:
        InputError: what is there or what arrives is not the archive, or it cannot simply be downloaded.
        ConnectionError: no server gives the file.
        ImportError: pooch or tqdm is not installed.
    """
    if access and not folder.is_dir():
        raise no_archive(name, folder, access)
    folder.mkdir(parents=True, exist_ok=True)
    if (present := find_archive(name, folder)) is not None:
        with open_archive(present, entries_of(name)):
            return present
    failures = []
    for entry in entries_of(name):
        if entry.url:
            try:
                return _fetch(entry, entry.url, folder)
            except ConnectionError as error:
                failures.append(str(error))
    if failures:
        raise ConnectionError(
            f"{'; '.join(failures)}. Download the file in a browser and put it into {folder} under its own name."
        )
    raise no_archive(name, folder, access)


def _fetch(entry: Entry, url: str, folder: Path) -> Path:
    _require_libraries()
    import pooch

    fetch = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), chunk_size=CHUNK_BYTES, timeout=TIMEOUT_S)
    handle, name = tempfile.mkstemp(prefix=TEMPORARY, dir=folder)
    temporary, target = Path(name), folder / entry.file
    try:
        with os.fdopen(handle, "w+b") as file:
            try:
                fetch(url, file, None)
            except OSError as error:  # every failure of requests is one, without an errno
                if error.errno is not None:  # the disk, not the server
                    raise
                raise ConnectionError(f"{url}: {error}") from error
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
            file.seek(0)
            check_hash(target, file, [entry])
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    fsync_folder(folder)
    return target


def _require_libraries() -> None:
    """Raise an ImportError that names all that is missing and the cure."""
    causes = {name: error for name in ("pooch", "tqdm") if (error := _import_error(name))}
    if causes:
        cause = next(iter(causes.values()))
        raise ImportError(f'Downloading needs {" and ".join(causes)}: pip install "sensedge[data]"') from cause


def _import_error(name: str) -> ImportError | None:
    try:
        import_module(name)
    except ImportError as error:
        return error
    return None
