"""Public motion data sets, one file each, and those of one's own (`own/`), all read into the same `Recording`.

    list_datasets       the names
    dataset_info        licence, citation, signal and labels of one, without reading it
    load_dataset        its recordings, out of the official archive (checked by its hash, never unpacked)
    iter_dataset        the same, one after the other, for data sets larger than memory
    at_position         of recordings with sensors in several places, the columns of one place
    split_by_subject    a training and a test part that share no person
    subject_of          a person's name with the data set, hapt:1, since every data set has a person 1
    get                 download the archive

In a recording accelerations are in m/s^2 and rotation rates in rad/s, columns are called acc_x ... gyro_z, and what
means the same (walking, sitting, ...) is called the same. All recordings of a data set have the same columns and, but
for HHAR, the same rate; modalities of another rate are a data set of their own (`utd_mhad`, `utd_mhad_skeleton`,
`utd_mhad_depth`). What was recorded together has the same name behind the first slash. Where a name stands, the path of
a folder or zip with a dataset.toml may stand, and several with + between them are a pool. `python -m sdk.datasets` does
all of this from a shell.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from runtime.errors import InputError
from runtime.recording import Recording
from sdk.datasets._info import NAMES as _NAMES
from sdk.datasets._info import DatasetInfo
from sdk.datasets._info import is_path as _is_path
from sdk.datasets._people import split_by_subject, subject_of

__all__ = [
    "DatasetInfo",
    "Recording",
    "at_position",
    "dataset_info",
    "get",
    "iter_dataset",
    "list_datasets",
    "load_dataset",
    "split_by_subject",
    "subject_of",
]


class _Reader(Protocol):
    """What each data set's file has."""

    @property
    def INFO(self) -> DatasetInfo: ...  # noqa: N802

    def read(self, archive: object) -> Iterable[Recording]: ...


def list_datasets() -> list[str]:
    """The names that `load_dataset` takes, sorted."""
    return list(_NAMES)


def dataset_info(name: str) -> DatasetInfo:
    """What is known about a data set without reading it.

    Raises:
        InputError: no such data set, or one of one's own that cannot be read.
    """
    from sdk.datasets import _pool

    parts = _pool.parts_of(name)
    return _reader(name).INFO if len(parts) == 1 else _pool.pool_info([_reader(part).INFO for part in parts])


def load_dataset(name: str, data_dir: str | Path | None = None, *, download: bool = False) -> list[Recording]:
    """Read all recordings of a data set.

    Args:
        name: one of `list_datasets()`; the path of a folder or zip with a dataset.toml; or several of these with +
            between them, which are brought together (`sdk.datasets._pool` says how).
        data_dir: the folder that holds the archive, itself or in a direct subfolder; None: the folder that the
            environment variable SENSEDGE_DATA names.
        download: get the archive into `data_dir`, which must then be given, if it is not there yet.

    Raises:
        InputError: no such data set, no archive, or one that is not as published.
    """
    return list(iter_dataset(name, data_dir, download=download))


def iter_dataset(name: str, data_dir: str | Path | None = None, *, download: bool = False) -> Iterator[Recording]:
    """As `load_dataset`, but one recording after the other, as the archive is read.

    Readers of archives that are larger than memory hold one person's part at a time (HHAR: all phones, then all
    watches). Errors come when the first recording is asked for, or later.

    Raises:
        InputError: as of `load_dataset`.
    """
    from sdk.datasets import _archive, _find, _pool
    from sdk.datasets._registry import entries_of

    if len(parts := _pool.parts_of(name)) > 1:
        infos = [_reader(part).INFO for part in parts]
        labels = _pool.pool_info(infos).labels
        for part, info in zip(parts, infos, strict=True):
            for recording in iter_dataset(part, data_dir, download=download):
                yield _pool.pooled(recording, info, labels)
        return
    reader = _reader(name)
    if name not in _NAMES:
        yield from reader.read(None)
        return
    if download and data_dir is None:
        raise InputError(
            "data_dir", expected="the folder to download into", got="none", fix="Name it: we write nowhere else."
        )
    folder = _find.data_folder(data_dir)
    path = _find.find_archive(name, folder) if folder.is_dir() or not download else None
    if path is None and download:
        path = get(name, folder)
    if path is None:
        raise _find.no_archive(name, folder, reader.INFO.access)
    with _archive.open_archive(path, entries_of(name)) as archive:
        yield from reader.read(archive)


def get(name: str, data_dir: str | Path) -> Path:
    """Download the official archive of a data set into `data_dir` and give its path; one that is there is kept.

    Raises:
        InputError: no such data set, what arrived has another hash, or its authors must be asked: it says where.
        ConnectionError: the server did not give the file.
        ImportError: the extra `data` is not installed.
    """
    from sdk.datasets import _download

    if _is_path(name) or "+" in name:
        raise InputError(name, expected="one public data set", got="none", fix="There is nothing to download.")
    return _download.download(name, Path(data_dir), _reader(name).INFO.access)


def at_position(recordings: Iterable[Recording], position: str) -> list[Recording]:
    """The recordings of one place on the body, with columns called as if there were no other (acc_x, not ankle_acc_x).

    Sensors on one clock are columns of one recording (`ankle_acc_x`); devices with a clock of their own have recordings
    of their own, whose names end in the place (`realworld/proband1_walking/waist`). Both are understood.

    Args:
        recordings: any number of them, left untouched.
        position: one of the `positions` of the data set.

    Raises:
        InputError: no recording has such a position.
    """
    found: list[Recording] = []
    for recording in recordings:
        columns = [i for i, channel in enumerate(recording.channels) if channel.startswith(f"{position}_")]
        if columns:
            channels = tuple(recording.channels[i].removeprefix(f"{position}_") for i in columns)
            name = f"{recording.name}/{position}"
            found.append(replace(recording, samples=recording.samples[:, columns], channels=channels, name=name))
        elif recording.name.endswith(f"/{position}"):
            found.append(recording)
    if not found:
        raise InputError(
            "position",
            expected="one of the positions of the data set",
            got=repr(position),
            fix="`python -m sdk.datasets info NAME` lists them.",
        )
    return found


def _reader(name: str) -> _Reader:
    """The reader of a public data set, or of a folder or zip of one's own."""
    if _is_path(name):
        from sdk.datasets.own.read import OwnSet

        return OwnSet(name)
    if name not in _NAMES:
        near = difflib.get_close_matches(name, _NAMES)
        raise InputError(
            "data set",
            expected=f"one of {', '.join(_NAMES)}, or the folder or zip of one's own",
            got=repr(name),
            fix=f"Did you mean {' or '.join(near)}?" if near else "Choose one of them.",
        )
    return cast(_Reader, import_module(f"sdk.datasets.{name}"))
