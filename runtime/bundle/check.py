"""What makes a bundle whole: its files by size and hash, its tensors against the graph's own bytes.

Nothing here changes anything. Every reading has a limit, and what a file holds is not interpreted before it is known to
be the one that the manifest lists.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.bundle.contents import TensorSpec
from runtime.bundle.graph_bytes import refuse_outside
from runtime.bundle.manifest import Manifest
from runtime.errors import BundleError
from runtime.files.atomic import LARGEST_FILE_BYTES, read_file

FILES = ("golden.npz", "model.onnx", "weights.safetensors")  # what a manifest must list, and its other graphs
REFERENCE = "reference.safetensors"  # what it may list
MANIFEST_LIMIT_BYTES = 1 << 21  # some hundred times a large one
COPY_AGAIN = "Copy or export the bundle again."


def read(path: Path, name: str, limit_bytes: int = LARGEST_FILE_BYTES, *, follow: bool = True) -> bytes:
    """A file of a bundle, not larger than a limit; `follow`: also one that a link points to.

    Raises:
        BundleError: it is not there, no ordinary file or too large; or the bundle is still packed.
    """
    if path.suffix == ".zip" and path.is_file():
        fix = "Unpack it first: python -m sdk.bundle unpack FILE.zip FOLDER"
        raise BundleError(path, expected="the folder of a bundle", got="a zip file", fix=fix)
    return read_file(path / name, "a file of a bundle", "Check the path of the bundle.", limit_bytes, follow=follow)


def is_behind_link(path: Path, name: str) -> bool:
    """Whether a file of a bundle lies elsewhere: then nothing that is in it may come into a message, and a log."""
    parts = Path(name).parts
    return any(path.joinpath(*parts[: i + 1]).is_symlink() for i in range(len(parts)))


def parse_manifest(path: Path, text: bytes) -> Manifest:
    """A bundle's manifest.

    Raises:
        BundleError: as `Manifest.from_json` raises it, without a word of what a link led to.
    """
    try:
        return Manifest.from_json(text, path / "manifest.json")
    except BundleError:
        if not is_behind_link(path, "manifest.json"):
            raise
        got = "something else behind a link, which is not shown"
        raise BundleError(path / "manifest.json", expected="a manifest", got=got, fix="Put the file there.") from None


def read_whole(path: Path, manifest: Manifest, name: str) -> bytes:
    """A file, compared with its size and hash every time: it may have changed since the bundle was opened.

    Raises:
        BundleError: another size or another hash than the manifest's, or it is not there.
    """
    spec, where = manifest.files[name], path / name
    size = where.stat().st_size if where.is_file() else spec.bytes
    data = read(path, name) if size == spec.bytes else b""
    if size != spec.bytes or len(data) != spec.bytes:
        raise BundleError(where, expected=f"{spec.bytes} bytes", got=size, fix=COPY_AGAIN)
    found = hashlib.sha256(data).hexdigest()
    if found != spec.sha256:
        found = "another, behind a link" if is_behind_link(path, name) else found
        raise BundleError(where, expected=f"sha256 {spec.sha256}", got=found, fix=COPY_AGAIN)
    return data


def check_same(path: Path, manifest: bytes, sha256: str | None) -> str:
    """The hash of a manifest's bytes, which must be this one, if one is given.

    Raises:
        BundleError: another.
    """
    found = hashlib.sha256(manifest).hexdigest()
    if sha256 is not None and found != sha256:
        fix = "The bundle was replaced meanwhile: open it again."
        raise BundleError(path / "manifest.json", expected=f"the manifest of sha256 {sha256}", got=found, fix=fix)
    return found


def check_listed(where: object, manifest: Manifest) -> None:
    """Make sure that a manifest lists the files of a bundle and nothing else, so that no path leads outside.

    Raises:
        BundleError: a file too many or too few.
    """
    graphs = (*(spec.file for spec in manifest.training), *(spec.file for spec in manifest.variants))
    expected = (*FILES, *graphs, *(name for name in manifest.files if name == REFERENCE))
    if sorted(manifest.files) != sorted(expected):
        raise BundleError(
            where, expected=f"the files {', '.join(expected)}", got=sorted(manifest.files), fix=COPY_AGAIN
        )


def check_files(path: Path, manifest: Manifest) -> tuple[bytes, bytes]:
    """Compare every file with its size and hash; the bytes of model.onnx and of weights.safetensors."""
    check_listed(path / "manifest.json", manifest)
    kept = {"model.onnx": b"", "weights.safetensors": b""}
    for name in manifest.files:
        data = read_whole(path, manifest, name)
        if name.endswith(".onnx"):
            _check_graph(path / name, data)
        if name in kept:
            kept[name] = data
    return kept["model.onnx"], kept["weights.safetensors"]


def _check_graph(where: Path, data: bytes) -> None:
    try:
        refuse_outside(data)
    except ValueError as error:
        fix = "Export it with its values inside; do not run it."
        raise BundleError(where, expected="a graph that holds all it needs", got=error, fix=fix) from None


def check_tensors(path: Path, manifest: Manifest, tensors: Mapping[str, NDArray[np.float32]], model: bytes) -> None:
    """The manifest's list, weights.safetensors and the bytes inside model.onnx must tell the same.

    Args:
        path: the bundle's folder, for messages.
        manifest: with the name, the shape and the place of each trainable tensor.
        tensors: what weights.safetensors holds, by name; each must have the shape that the manifest gives it.
        model: the bytes of model.onnx.

    Raises:
        BundleError: names the first tensor that differs, or a head that does not fit the labels.
    """
    for spec in manifest.tensors:
        tensor = tensors.get(spec.name)
        if tensor is None or tensor.shape != spec.shape:
            raise BundleError(
                path / "weights.safetensors",
                expected=f"{spec.name} of shape {spec.shape}",
                got="no such tensor" if tensor is None else f"shape {tensor.shape}",
                fix=COPY_AGAIN,
            )
        data = tensor.tobytes()
        if spec.offset < 0 or model[spec.offset : spec.offset + len(data)] != data:
            raise BundleError(
                path / "manifest.json",
                expected=f"{spec.name} at byte {spec.offset} of model.onnx",
                got="other bytes",
                fix=COPY_AGAIN,
            )
    head = {spec.name: spec.shape for spec in manifest.tensors}
    shapes = head.get(manifest.head.weight), head.get(manifest.head.bias)
    expected = (len(manifest.labels), manifest.features), (len(manifest.labels),)
    if shapes != expected:
        raise BundleError(
            path / "manifest.json",
            expected=f"a head of {len(manifest.labels)} classes by {manifest.features} features",
            got=f"tensors of shape {shapes[0]} and {shapes[1]}",
            fix=COPY_AGAIN,
        )


def check_overlay(path: Path, manifest: Manifest, tensors: Mapping[str, NDArray[np.float32]]) -> None:
    """Refuse tensors of a personal version that the manifest does not list, of another shape, or not finite.

    Raises:
        BundleError: names the first of them.
    """
    specs: dict[str, TensorSpec] = {spec.name: spec for spec in manifest.tensors}
    for name, tensor in tensors.items():
        if name not in specs or tensor.shape != specs[name].shape or not np.isfinite(tensor).all():
            raise BundleError(
                f"{path}: {name}",
                expected="a finite tensor of " + (f"shape {specs[name].shape}" if name in specs else "the manifest"),
                got=f"shape {tensor.shape}" + ("" if np.isfinite(tensor).all() else " with NaN or infinity"),
                fix="Train the tensors that the bundle lists.",
            )
