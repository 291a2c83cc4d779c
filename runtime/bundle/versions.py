"""Versions of a bundle: folders under personal/, and the file `current` that names the one in use."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundle.check import check_overlay, read
from runtime.bundle.manifest import Manifest
from runtime.bundle.tensors import parse_tensors
from runtime.errors import BundleError
from runtime.files import strict_json
from runtime.specs import BASE

_RECORD_LIMIT_BYTES = 1 << 24
_CURRENT_LIMIT_BYTES = 1 << 12
_NAME = re.compile(r"[0-9]{4,9}")
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
    if version != BASE and not _NAME.fullmatch(version):
        raise BundleError(
            path / "personal" / "current",
            expected="base or the name of a version, such as 0001",
            got=repr(version[:40]),
            fix="Choose one: python -m sdk.finetune BUNDLE --rollback base",
        )
    return version


def load_version(path: Path, manifest: Manifest, version: str) -> dict[str, NDArray[np.float32]]:
    """The tensors of a personal version, by name, each in the shape that the manifest gives it.

    Raises:
        BundleError: no such version, one that was made for another base, or one that is not whole.
    """
    folder = path / "personal" / version
    if not _NAME.fullmatch(version) or not folder.is_dir():
        raise BundleError(folder, expected="a personal version", got="no such folder", fix=_GO_BACK)
    record = read_record(folder)
    weights = read(folder, "weights.safetensors") if (folder / "weights.safetensors").is_file() else None
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
    check_overlay(folder, manifest, tensors)
    return tensors


def read_record(folder: Path) -> dict[str, Any]:
    """What was written beside a personal version.

    Raises:
        BundleError: no JSON object there.
    """
    try:
        record = strict_json.loads(read(folder, "record.json", _RECORD_LIMIT_BYTES))
    except ValueError as error:  # a BundleError of the reading too
        record = error
    if not isinstance(record, dict):
        raise BundleError(folder / "record.json", expected="a JSON object", got=record, fix=_GO_BACK)
    return record
