"""Versions of a bundle: folders under personal/, and the file `current` that names the one in use.

A version may have labels of its own, in its record: its head has as many rows, and a manifest with these labels stands
in for the shipped one. Training graphs and variants, which were made for the shipped head, are not for it.

A folder that is not whole hides none of the others: it is listed, it is not opened, and no number waits for it. What
lies behind a link is no version, and is never quoted.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.bundle.check import check_overlay, is_behind_link, read
from runtime.bundle.manifest import Manifest
from runtime.bundle.tensors import HEADER_LIMIT_BYTES, parse_tensors
from runtime.errors import BundleError
from runtime.files import strict_json
from runtime.files.atomic import TEMPORARY, fsync_folder, held
from runtime.specs import BASE

_RECORD_LIMIT_BYTES = 1 << 24
_CURRENT_LIMIT_BYTES = 1 << 12
_NAME = re.compile(r"[0-9]{4,9}")
MOST_LABELS = 256  # of a version
_LONGEST_LABEL = 100
_LAST = 999_999_999  # of nine digits
_WEIGHTS, _RECORD = "weights.safetensors", "record.json"
_GO_BACK = "Go back: python -m sdk.finetune BUNDLE --rollback base"


def versions_of(path: Path) -> list[str]:
    """Names of the personal versions in a bundle's folder, oldest first, without the base."""
    folder = path / "personal"
    return (
        sorted((entry.name for entry in folder.iterdir() if _NAME.fullmatch(entry.name)), key=int)
        if folder.is_dir()
        else []
    )


def current_version(path: Path) -> str:
    """The version in use, by name, without opening it.

    Raises:
        BundleError: personal/current cannot be read, or holds no name of a version.
    """
    try:
        (path / "personal" / "current").stat()
        version = read(path, "personal/current", _CURRENT_LIMIT_BYTES).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return BASE
    except BundleError as error:
        version = error.got
    except OSError as error:
        version = error.strerror or str(error)
    behind = version != BASE and is_behind_link(path, "personal/current")
    if version != BASE and (not _NAME.fullmatch(version) or (behind and version not in versions_of(path))):
        raise BundleError(
            path / "personal" / "current",
            expected="base or the name of a version, such as 0001",
            got="something else, behind a link" if behind else repr(version[:40]),
            fix="Choose one: python -m sdk.finetune BUNDLE --rollback base",
        )
    return version


def load_version(path: Path, manifest: Manifest, version: str) -> tuple[Manifest, dict[str, NDArray[np.float32]]]:
    """The manifest and the tensors of a personal version, by name, each in the shape that the manifest gives it.

    Args:
        path: the bundle's folder.
        manifest: the shipped one.
        version: its name.

    Raises:
        BundleError: no such version, one that was made for another base, or one that is not whole.
    """
    folder = path / "personal" / version
    if not _NAME.fullmatch(version) or folder.is_symlink() or not folder.is_dir():
        raise BundleError(folder, expected="a personal version", got="no such folder", fix=_GO_BACK)
    record = read_record(folder)
    if "labels" in record:
        manifest = with_labels(manifest, record["labels"], folder / _RECORD)
    limit_bytes = 8 + HEADER_LIMIT_BYTES + sum(4 * math.prod(spec.shape) for spec in manifest.tensors)
    weights = read(folder, _WEIGHTS, limit_bytes, follow=False) if os.path.lexists(folder / _WEIGHTS) else None
    for what, expected, found in (
        ("made for model.onnx of sha256", manifest.files["model.onnx"].sha256, record.get("model_sha256")),
        (
            "weights.safetensors of sha256",
            record.get("weights_sha256"),
            None if weights is None else hashlib.sha256(weights).hexdigest(),
        ),
    ):
        if found is None or expected != found:
            raise BundleError(folder, expected=f"{what} {expected}", got=found, fix=_GO_BACK)
    tensors = parse_tensors(weights or b"", folder / "weights.safetensors")
    _check_tensors(folder, manifest, tensors, own_labels="labels" in record)
    return manifest, tensors


def with_labels(manifest: Manifest, labels: Any, where: object) -> Manifest:
    """The manifest of a version with labels of its own, for the head that it has then.

    Args:
        manifest: the shipped one.
        labels: names; whatever a record holds.
        where: for the message.

    Raises:
        BundleError: no list of names that differ and can be printed.
    """
    names = tuple(labels) if isinstance(labels, list | tuple) and len(labels) <= MOST_LABELS else ()
    good = [n for n in names if isinstance(n, str) and _is_name(n)]
    if not 2 <= len(good) == len(names) == len(set(good)):
        expected = f"2 to {MOST_LABELS} names that differ, of up to {_LONGEST_LABEL} letters"
        raise BundleError(f"{where}: labels", expected=expected, got=repr(labels)[:_LONGEST_LABEL], fix=_GO_BACK)
    head, n, events = manifest.head, len(names), manifest.events
    shapes = {head.weight: (n, manifest.features), head.bias: (n,)}
    tensors = tuple(dataclasses.replace(spec, shape=shapes.get(spec.name, spec.shape)) for spec in manifest.tensors)
    if events is not None:
        events = dataclasses.replace(
            events, enter_by_label=_of(events.enter_by_label, names), exit_by_label=_of(events.exit_by_label, names)
        )
    return dataclasses.replace(manifest, labels=names, tensors=tensors, training=(), variants=(), events=events)


def _is_name(text: str) -> bool:
    return text.strip() == text and text.isprintable() and 0 < len(text) <= _LONGEST_LABEL


def _of(thresholds: Mapping[str, float], names: tuple[str, ...]) -> dict[str, float]:
    return {name: value for name, value in thresholds.items() if name in names}


def _check_tensors(
    where: Path, manifest: Manifest, tensors: Mapping[str, NDArray[np.float32]], *, own_labels: bool
) -> None:
    """Refuse the tensors of a version that do not fit the manifest, or that lack the head which its labels need.

    Raises:
        BundleError: names the first of them.
    """
    check_overlay(where, manifest, tensors)
    head = {manifest.head.weight, manifest.head.bias}
    if own_labels and not head <= tensors.keys():
        missing = " and ".join(sorted(head - tensors.keys()))
        raise BundleError(where, expected=f"the head of its own labels: {missing}", got="none", fix=_GO_BACK)


def complete_record(
    path: Path,
    manifest: Manifest,
    tensors: Mapping[str, NDArray[np.float32]],
    weights: bytes,
    record: Mapping[str, Any],
    labels: Sequence[str] | None,
) -> str:
    """The record of a version that is to be written: what it was made for, and its labels where they are its own.

    Args:
        path: the bundle's folder, for messages.
        manifest: the shipped one.
        tensors: of the version, by name.
        weights: the bytes of its file.
        record: how it was made; JSON.
        labels: of the version; None: the shipped ones.

    Raises:
        BundleError: tensors or labels that cannot be.
    """
    full = {key: value for key, value in record.items() if key != "labels"}
    if labels is not None and tuple(labels) != manifest.labels:
        manifest, full["labels"] = with_labels(manifest, tuple(labels), path), list(labels)
    _check_tensors(path, manifest, tensors, own_labels="labels" in full)
    full["model_sha256"] = manifest.files["model.onnx"].sha256
    full["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    return json.dumps(full, indent=1, allow_nan=False) + "\n"


def read_record(folder: Path) -> dict[str, Any]:
    """What was written beside a personal version.

    Raises:
        BundleError: no JSON object there.
    """
    try:
        record = strict_json.loads(read(folder, _RECORD, _RECORD_LIMIT_BYTES, follow=False))
    except ValueError as error:  # a BundleError of the reading too
        record = getattr(error, "got", error)
    if not isinstance(record, dict):
        raise BundleError(folder / _RECORD, expected="a JSON object", got=record, fix=_GO_BACK)
    return record


def _is_whole(folder: Path) -> bool:
    """Whether a folder has the files of a version; what is in them is not looked at."""
    files = (folder / _WEIGHTS, folder / _RECORD)
    return not folder.is_symlink() and all(file.is_file() and not file.is_symlink() for file in files)


def next_version(path: Path) -> str:
    """The name of a version that would be added: behind all others; behind those that are whole, if no number is left.

    Raises:
        BundleError: there is none; names the folder that has the last number.
    """
    personal, names = path / "personal", versions_of(path)
    for before in (names, [name for name in names if _is_whole(personal / name)]):
        number = max(map(int, before), default=0) + 1
        while os.path.lexists(personal / f"{number:04d}"):
            number += 1
        if number <= _LAST:
            return f"{number:04d}"
    fix = f"Delete the folder {_LAST}, or give it a smaller number."
    raise BundleError(personal, expected="a number of nine digits that is free", got=f"version {_LAST}", fix=fix)


def check_writable(path: Path) -> None:
    """Make sure that this process may write under personal/.

    Raises:
        BundleError: it may not, or something else is in the folder's place.
    """
    personal = path / "personal"
    if personal.is_symlink() or (personal.exists() and not personal.is_dir()):
        kind = "link" if personal.is_symlink() else "file"  # a bundle must not choose where this device writes
        fix = f"Remove the {kind}, or put the whole bundle there."
        raise BundleError(personal, expected="a folder", got=f"a {kind}", fix=fix)
    where = personal if personal.is_dir() else path
    if not os.access(where, os.W_OK | os.X_OK, effective_ids=True):
        fix = "Give this user the right, or use a copy of the bundle."
        raise BundleError(where, expected="a folder to write to", got="no right to write", fix=fix)


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Hold the only right to write under personal/, the folder; what a killed writer left behind is swept away.

    Raises:
        BundleError: on entering, where somebody else has it, or as of `check_writable`.
    """
    import shutil  # not before: a stream starts without it

    personal = path / "personal"
    check_writable(path)
    if not personal.is_dir():
        personal.mkdir(exist_ok=True)  # another writer may have been faster
        fsync_folder(path)
    busy = BundleError(personal, expected="one writer at a time", got="a second one", fix="Wait for the other to end.")
    with held(personal, busy):
        for leftover in personal.glob(f"{TEMPORARY}*"):
            shutil.rmtree(leftover) if leftover.is_dir() and not leftover.is_symlink() else leftover.unlink()
        yield personal


class Thinned(NamedTuple):
    """What was removed of a bundle's versions."""

    removed: list[str]  # with all they had
    records: list[str]  # of which only the record is left
    kept: list[str]


def thin(path: Path, keep: int) -> Thinned:
    """Remove all versions but the latest `keep` that are whole, and the one in use.

    The record of a version that the one in use was made from stays, since it tells how that came to be.

    Raises:
        BundleError: nobody knows which one is in use.
    """
    personal, current = path / "personal", current_version(path)
    names = versions_of(path)
    whole = [name for name in names if _is_whole(personal / name)]
    kept = {current, *whole[max(len(whole) - keep, 0) :]}
    told = _parents(personal, current) - kept
    done = Thinned([], [], [name for name in names if name in kept])
    for name in names:
        if name in told:
            (personal / name / _WEIGHTS).unlink(missing_ok=True)
            done.records.append(name)
        elif name not in kept:
            _remove(personal / name)
            done.removed.append(name)
    fsync_folder(personal)
    return done


def _parents(personal: Path, version: str) -> set[str]:
    """The versions that one was made from, the base apart, as far back as records tell."""
    found: set[str] = set()
    while version != BASE and version not in found:
        found.add(version)
        try:
            parent = read_record(personal / version).get("parent", BASE)
        except BundleError:
            break
        version = parent if isinstance(parent, str) and _NAME.fullmatch(parent) else BASE
    return found


def _remove(entry: Path) -> None:
    """A folder in two steps, so that a kill leaves a version whole or none at all."""
    if entry.is_symlink() or not entry.is_dir():
        entry.unlink()
        return
    import shutil  # not before: a stream starts without it

    temporary = entry.with_name(f"{TEMPORARY}{entry.name}")
    os.replace(entry, temporary)
    shutil.rmtree(temporary)
