"""Where an archive lies: under an official name, or under the same name in another container.

    accepted    sp-sw-har-dataset-v1.0.0-r1.zip       as registry.txt has it; its hash decides
    repacked    sp-sw-har-dataset-v1.0.0-r1.tar.xz    found too, and a warning says that no hash is known for it
    unread      sp-sw-har-dataset-v1.0.0-r1.7z        named in the error, with what to do

Blanks, plus signs, hyphens and underscores in a name count as one another, as servers and packers exchange them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from runtime.errors import InputError
from sdk.datasets._registry import entries_of

DATA_VARIABLE = "SENSEDGE_DATA"  # the folder with the archives, where none is given
_READ = (".zip", ".tar.xz", ".txz", ".tar.gz", ".tgz")
_UNREAD = (".7z", ".rar", ".tar.bz2", ".tbz2", ".tar.zst", ".tar.lz4", ".tar", ".bz2", ".zst")


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
    """The archive of data set `name` in `folder` or one of its direct subfolders, or None.

    An accepted file comes before one that was packed anew.

    Raises:
        InputError: `folder` is no folder.
    """
    if not folder.is_dir():
        got = "a file" if folder.exists() else "nothing there"
        raise InputError(folder, expected="the folder that holds the archives", got=got, fix="Name an existing folder.")
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    candidates = (place / entry.file for entry in entries_of(name) for place in places)
    accepted = next((path for path in candidates if path.is_file()), None)
    return accepted or next(iter(_in_another_container(name, folder, _READ)), None)


def _in_another_container(name: str, folder: Path, containers: tuple[str, ...]) -> list[Path]:
    """Files that are called as the archive of a data set, but for the container, in the order of their paths."""
    wanted = {stem for entry in entries_of(name) if (stem := _stem(entry.file, _READ))}
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    files = (path for place in places for path in sorted(place.iterdir()))
    return [path for path in files if _stem(path.name, containers) in wanted and path.is_file()]


def _stem(file: str, containers: tuple[str, ...]) -> str:
    """The name without its container, spelled in one way; empty where it has none of them."""
    end = next((end for end in containers if file.lower().endswith(end)), None)
    return re.sub(r"[ +_-]+", "_", file[: -len(end)]).lower() if end else ""


def no_archive(name: str, folder: Path, access: str = "") -> InputError:
    """The error for a folder without the archive of data set `name`: what would do, and how to get it.

    Args:
        name: the data set.
        folder: where it was looked for.
        access: where to ask, for a data set that cannot simply be downloaded.
    """
    entries = entries_of(name)
    accepted = dict.fromkeys(f'"{entry.file}"' for entry in entries)
    url = next((entry.url for entry in entries if entry.url), None)
    unread = _in_another_container(name, folder, _UNREAD) if folder.is_dir() else []
    if unread:
        return InputError(
            unread[0], expected="a zip, tar.xz or tar.gz", got="another container", fix="Pack it anew as one of these."
        )
    get = f"Run `python -m sdk.datasets get {name} --data {folder}`, or download {url} yourself and put it there."
    return InputError(
        folder,
        expected=f"there or in a direct subfolder one of {', '.join(accepted)}",
        got="none of them",
        fix=get if url else f"{access or 'Get the archive from its authors.'} Put the file there.",
    )
