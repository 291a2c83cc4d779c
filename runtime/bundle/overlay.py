"""The graph of a version: the shipped bytes with the personal tensors laid over them.

A head with the shipped number of classes lies where the shipped one does; one with more or fewer is written anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.bundle.graph_bytes import with_tensors
from runtime.bundle.manifest import Manifest
from runtime.errors import BundleError

_Tensors = Mapping[str, NDArray[np.float32]]


def overlaid(path: Path, model: bytes, shipped: Manifest, manifest: Manifest, personal: _Tensors) -> bytes:
    """The bytes of model.onnx with the tensors of a version in it.

    Args:
        path: the bundle's folder, for messages.
        model: as it was shipped.
        shipped: its manifest.
        manifest: that of the version, whose head may have another number of rows.
        personal: the version's tensors, by name, each in the shape that its manifest gives it.

    Raises:
        BundleError: the graph's head cannot have another number of rows.
    """
    data, resized = bytearray(model), {}
    for spec, place in zip(manifest.tensors, shipped.tensors, strict=True):
        if spec.shape != place.shape:
            resized[spec.name] = personal[spec.name]
        elif spec.name in personal:
            raw = personal[spec.name].astype("<f4").tobytes()
            data[place.offset : place.offset + len(raw)] = raw
    if not resized:
        return bytes(data)
    try:
        return with_tensors(bytes(data), resized, "logits")
    except ValueError as error:
        where, fix = path / "model.onnx", "Go back: python -m sdk.finetune BUNDLE --rollback base"
        raise BundleError(where, expected="a linear head that can have more rows", got=error, fix=fix) from None
