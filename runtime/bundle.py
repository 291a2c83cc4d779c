"""A bundle: the folder that carries a model to a device, and the versions that the device adds to it.

    walk.bundle/
      manifest.json           what it is (see runtime.manifest), with size and hash of the files below
      manifest.sig            where there is one: signatures over the manifest (see runtime.trust)
      model.onnx              windows -> features, logits
      weights.safetensors     the trainable tensors, by the names that they have in the graph
      golden.npz              a few windows with the features and logits that the exporter computed
      train/04.onnx           where there is one: loss and gradient of all tensors from layer 4 on
      variants/int8.onnx      where there is one: the same model in another precision
      personal/0001/          a version written on this device: weights.safetensors (some tensors) + record.json
      personal/current        the version in use; no such file, or `base` in it, means the model as it was shipped

Opening verifies all of it. Writing never changes a file in place: a version is a new folder, moved into place whole,
and choosing one is an atomic rename of `current`. So a kill or a power cut at any instant leaves a bundle that opens.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from runtime import strict_json
from runtime.errors import BundleError
from runtime.files import LARGEST_FILE_BYTES, TEMPORARY, fsync_folder, read_file, write_atomic, write_folder_atomic
from runtime.graph_bytes import refuse_outside
from runtime.manifest import Manifest, TensorSpec, TrainingSpec
from runtime.tensors import dump_tensors, parse_tensors

if TYPE_CHECKING:
    from runtime.trust import Trust

BASE = "base"
FILES = ("golden.npz", "model.onnx", "weights.safetensors")  # what a manifest must list, and its other graphs
FLOAT32 = "float32"  # the precision of model.onnx
MANIFEST_LIMIT_BYTES = 1 << 21  # some hundred times a large one
_RECORD_LIMIT_BYTES = 1 << 24
_CURRENT_LIMIT_BYTES = 1 << 12
_VERSION = re.compile(r"[0-9]{4,9}")
_COPY_AGAIN = "Copy or export the bundle again."
_GO_BACK = "Go back: python -m sdk.finetune BUNDLE --rollback base"


@dataclass(frozen=True)
class Golden:
    """Windows with the answers that they gave when the bundle was made."""

    windows: NDArray[np.float32]  # shape (n, length_samples, n_channels)
    features: NDArray[np.float32]  # shape (n, n_features)
    logits: NDArray[np.float32]  # shape (n, n_classes)


@dataclass(frozen=True)
class Bundle:
    """A verified bundle. `Bundle.open` makes one; the fields are what it found."""

    path: Path
    manifest: Manifest
    version: str  # "base" or the name of a folder under personal/
    base_tensors: Mapping[str, NDArray[np.float32]]  # as shipped
    personal_tensors: Mapping[str, NDArray[np.float32]]  # those that `version` replaces
    trust: Trust | None = None  # what it was opened with; versions that are written later are opened with it too

    @classmethod
    def open(cls, path: str | Path, version: str | None = None, *, trust: Trust | None = None) -> Bundle:
        """Read and verify a bundle.

        Args:
            path: its folder.
            version: "base", a name such as "0001", or None for the one in use.
            trust: whose signature it must bear; None: anyone's bundle opens, as long as it is whole.

        Raises:
            BundleError: names the file that is missing, altered or not as the manifest says.
            TrustError: with `trust`, a bundle that is not signed as it asks for, or no longer what was signed.
        """
        path = Path(path)
        text = _read(path, "manifest.json", MANIFEST_LIMIT_BYTES)
        if trust is not None:  # before a byte of it is interpreted
            trust.check_signature(path, text)
        manifest = Manifest.from_json(text, path / "manifest.json")
        if trust is not None:
            trust.check_contents(path, manifest)
            version = trust.check_version(path, version)
        try:
            model, weights = _check_files(path, manifest)
        except BundleError as error:
            if trust is not None:
                raise trust.broken(error) from None
            raise
        base = parse_tensors(weights, path / "weights.safetensors")
        _check_tensors(path, manifest, base, model)
        if manifest.variants:
            from runtime.variants import check_variants  # most bundles have none

            check_variants(path, manifest)
        version = current_version(path) if version is None else version
        personal = _load_version(path, manifest, version) if version != BASE else {}
        return cls(path, manifest, version, base, personal, trust)

    def tensor(self, name: str) -> NDArray[np.float32]:
        """A trainable tensor of the version in use."""
        return self.personal_tensors.get(name, self.base_tensors[name])

    def model(self, precision: str = FLOAT32) -> bytes:
        """The ONNX graph of the version in use: the shipped bytes with the personal tensors laid over them.

        In another precision than float32 they are converted first, as the manifest's `variants` say.

        Args:
            precision: "float32" or one of `precisions`.

        Raises:
            BundleError: the bundle has no such variant, or a personal tensor is too large for its precision.

        The bytes are changed before any engine sees them. Handing the tensors to onnxruntime as initializers instead
        does not work: it ignores them, without a word, for weights that its layout transform has already taken.
        """
        model = bytearray(self.shipped_file("model.onnx"))
        if precision != FLOAT32:
            from runtime.variants import variant_model  # a stream of the float32 model starts without it

            return variant_model(self, precision, bytes(model))
        for spec in self.manifest.tensors:
            if spec.name in self.personal_tensors:
                data = self.personal_tensors[spec.name].astype("<f4").tobytes()
                model[spec.offset : spec.offset + len(data)] = data
        return bytes(model)

    def training_model(self, spec: TrainingSpec) -> bytes:
        """The graph of one of `manifest.training`."""
        return self.shipped_file(spec.file)

    @property
    def precisions(self) -> tuple[str, ...]:
        """What `model` can give: "float32" and the variants."""
        return (FLOAT32, *(spec.precision for spec in self.manifest.variants))

    def shipped_file(self, name: str) -> bytes:
        """The bytes of a file of the bundle, by its name in manifest.files, compared with its hash once more."""
        return _read_whole(self.path, self.manifest, name)

    def golden(self) -> Golden:
        """The golden windows with the base model's answers."""
        from runtime.npz import read_stored  # not before: a stream starts without it

        where = self.path / "golden.npz"
        found = read_stored(_read_whole(self.path, self.manifest, "golden.npz"), where)
        rows = len(found["windows"]) if found.get("windows", np.zeros(())).ndim else 0
        expected = {
            "windows": (rows, *self.manifest.window_shape),
            "features": (rows, self.manifest.features),
            "logits": (rows, len(self.manifest.labels)),
        }
        shapes = {name: array.shape for name, array in found.items()}
        if shapes != expected or not rows:
            raise BundleError(where, expected=f"arrays of shapes {expected}", got=shapes, fix=_COPY_AGAIN)
        return Golden(**found)

    def versions(self) -> list[str]:
        """Names of the personal versions, oldest first, without the base."""
        folder = self.path / "personal"
        return (
            sorted((entry.name for entry in folder.iterdir() if _VERSION.fullmatch(entry.name)), key=int)
            if folder.is_dir()
            else []
        )

    def record(self, version: str) -> dict[str, Any]:
        """What was written beside a personal version: how it was made, what it cost and what it gained."""
        return _read_record(self.path / "personal" / version)

    def commit(self, tensors: Mapping[str, NDArray[np.float32]], record: Mapping[str, Any]) -> Bundle:
        """Add a personal version, make it the one in use and return the bundle with it.

        Args:
            tensors: the trainable tensors that differ from the base, by name.
            record: how the version was made; JSON.

        Raises:
            BundleError: a tensor that the manifest does not list, or of another shape, or not finite; another process
                is writing to this bundle.
        """
        with np.errstate(over="ignore"):  # an overflow becomes infinite, which is refused below
            tensors = {name: np.asarray(tensor, np.float32) for name, tensor in tensors.items()}
        _check_overlay(self.path, self.manifest, tensors)
        weights = dump_tensors(tensors)
        full = {
            **record,
            "model_sha256": self.manifest.files["model.onnx"].sha256,
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
        }
        with self._writing() as personal:
            number = int(self.versions()[-1]) + 1 if self.versions() else 1
            version = f"{number:04d}"

            def fill(folder: Path) -> None:
                (folder / "weights.safetensors").write_bytes(weights)
                (folder / "record.json").write_text(json.dumps(full, indent=1, allow_nan=False) + "\n")

            write_folder_atomic(personal / version, fill)
            # a base that was replaced meanwhile refuses it here
            chosen = Bundle.open(self.path, version, trust=self.trust)
            write_atomic(personal / "current", f"{version}\n".encode())
        return chosen

    def rollback(self, version: str = BASE) -> Bundle:
        """Make another version the one in use: "base" or one of `versions()`. Nothing is deleted."""
        chosen = Bundle.open(self.path, version, trust=self.trust)
        with self._writing() as personal:
            write_atomic(personal / "current", f"{version}\n".encode())
        return chosen

    @contextmanager
    def _writing(self) -> Iterator[Path]:
        """Hold the only right to write under personal/; what a killed writer left behind is swept away."""
        import shutil  # not before: a stream starts without it

        personal = self.path / "personal"
        if personal.is_symlink():  # a bundle from elsewhere must not choose where this device writes
            fix = "Remove the link, or put the whole bundle there."
            raise BundleError(personal, expected="a folder", got="a link", fix=fix)
        if not personal.is_dir():
            personal.mkdir(exist_ok=True)  # another writer may have been faster
            fsync_folder(self.path)
        handle = os.open(personal, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BundleError(
                    personal, expected="one writer at a time", got="a second one", fix="Wait for the other to end."
                ) from None
            for leftover in personal.glob(f"{TEMPORARY}*"):
                shutil.rmtree(leftover) if leftover.is_dir() and not leftover.is_symlink() else leftover.unlink()
            yield personal
        finally:
            os.close(handle)


def write_bundle(
    path: str | Path,
    manifest: Manifest,
    model: bytes,
    tensors: Mapping[str, NDArray[np.float32]],
    golden: Golden,
    training: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Write a new bundle in one step; one that is already at `path` is replaced, its personal versions with it.

    Args:
        path: the folder to make.
        manifest: complete but for `files`, which is filled in here.
        model: the ONNX graph.
        tensors: the trainable tensors, by name.
        golden: windows with the answers of the module that was exported.
        training: the graphs that manifest.training speaks of, by their file; None: there are none.

    Raises:
        BundleError: at `path` is something that is no bundle; it is left as it is.
    """
    path = Path(path)
    if path.exists() and not (path / "manifest.json").is_file() and not (path.is_dir() and not any(path.iterdir())):
        raise BundleError(path, expected="no folder yet, or a bundle", got="something else", fix="Choose another path.")
    archive = io.BytesIO()
    np.savez(archive, windows=golden.windows, features=golden.features, logits=golden.logits)
    contents = {
        "golden.npz": archive.getvalue(),
        "model.onnx": model,
        "weights.safetensors": dump_tensors(tensors, {spec.name: str(spec.layer) for spec in manifest.tensors}),
        **(training or {}),
    }

    def fill(folder: Path) -> None:
        for name, data in contents.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)
        (folder / "manifest.json").write_text(manifest.with_files(contents).to_json())
        Bundle.open(folder)

    write_folder_atomic(path, fill)
    return Bundle.open(path)


def current_version(path: Path) -> str:
    """The version in use, by name, without opening it."""
    try:
        (path / "personal" / "current").stat()
        version = _read(path, "personal/current", _CURRENT_LIMIT_BYTES).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return BASE
    except BundleError as error:
        version = error.got
    except OSError as error:
        version = error.strerror or str(error)
    if version != BASE and not _VERSION.fullmatch(version):
        raise BundleError(
            path / "personal" / "current",
            expected="base or the name of a version, such as 0001",
            got=repr(version[:40]),
            fix="Choose one: python -m sdk.finetune BUNDLE --rollback base",
        )
    return version


def _read(path: Path, name: str, limit_bytes: int = LARGEST_FILE_BYTES) -> bytes:
    if path.suffix == ".zip" and path.is_file():
        fix = "Unpack it first: python -m sdk.bundle unpack FILE.zip FOLDER"
        raise BundleError(path, expected="the folder of a bundle", got="a zip file", fix=fix)
    return read_file(path / name, "a file of a bundle", "Check the path of the bundle.", limit_bytes)


def _read_whole(path: Path, manifest: Manifest, name: str) -> bytes:
    """A file, compared with its size and hash every time: it may have changed since the bundle was opened."""
    spec, where = manifest.files[name], path / name
    size = where.stat().st_size if where.is_file() else spec.bytes
    data = _read(path, name) if size == spec.bytes else b""
    if size != spec.bytes or len(data) != spec.bytes:
        raise BundleError(where, expected=f"{spec.bytes} bytes", got=size, fix=_COPY_AGAIN)
    found = hashlib.sha256(data).hexdigest()
    if found != spec.sha256:
        raise BundleError(where, expected=f"sha256 {spec.sha256}", got=found, fix=_COPY_AGAIN)
    return data


def check_listed(where: object, manifest: Manifest) -> None:
    """Make sure that a manifest lists the files of a bundle and nothing else, so that no path leads outside."""
    graphs = (*(spec.file for spec in manifest.training), *(spec.file for spec in manifest.variants))
    expected = (*FILES, *graphs)
    if sorted(manifest.files) != sorted(expected):
        raise BundleError(
            where, expected=f"the files {', '.join(expected)}", got=sorted(manifest.files), fix=_COPY_AGAIN
        )


def _check_files(path: Path, manifest: Manifest) -> tuple[bytes, bytes]:
    """Compare every file with its size and hash; the bytes of model.onnx and of weights.safetensors."""
    check_listed(path / "manifest.json", manifest)
    kept = {"model.onnx": b"", "weights.safetensors": b""}
    for name in manifest.files:
        data = _read_whole(path, manifest, name)
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


def _check_tensors(path: Path, manifest: Manifest, tensors: Mapping[str, NDArray[np.float32]], model: bytes) -> None:
    """The manifest's list, weights.safetensors and the bytes inside model.onnx must tell the same."""
    for spec in manifest.tensors:
        tensor = tensors.get(spec.name)
        if tensor is None or tensor.shape != spec.shape:
            raise BundleError(
                path / "weights.safetensors",
                expected=f"{spec.name} of shape {spec.shape}",
                got="no such tensor" if tensor is None else f"shape {tensor.shape}",
                fix=_COPY_AGAIN,
            )
        data = tensor.tobytes()
        if spec.offset < 0 or model[spec.offset : spec.offset + len(data)] != data:
            raise BundleError(
                path / "manifest.json",
                expected=f"{spec.name} at byte {spec.offset} of model.onnx",
                got="other bytes",
                fix=_COPY_AGAIN,
            )
    head = {spec.name: spec.shape for spec in manifest.tensors}
    shapes = head.get(manifest.head.weight), head.get(manifest.head.bias)
    expected = (len(manifest.labels), manifest.features), (len(manifest.labels),)
    if shapes != expected:
        raise BundleError(
            path / "manifest.json",
            expected=f"a head of {len(manifest.labels)} classes by {manifest.features} features",
            got=f"tensors of shape {shapes[0]} and {shapes[1]}",
            fix=_COPY_AGAIN,
        )


def _check_overlay(path: Path, manifest: Manifest, tensors: Mapping[str, NDArray[np.float32]]) -> None:
    specs: dict[str, TensorSpec] = {spec.name: spec for spec in manifest.tensors}
    for name, tensor in tensors.items():
        if name not in specs or tensor.shape != specs[name].shape or not np.isfinite(tensor).all():
            raise BundleError(
                f"{path}: {name}",
                expected="a finite tensor of " + (f"shape {specs[name].shape}" if name in specs else "the manifest"),
                got=f"shape {tensor.shape}" + ("" if np.isfinite(tensor).all() else " with NaN or infinity"),
                fix="Train the tensors that the bundle lists.",
            )


def _load_version(path: Path, manifest: Manifest, version: str) -> dict[str, NDArray[np.float32]]:
    folder = path / "personal" / version
    if not _VERSION.fullmatch(version) or not folder.is_dir():
        raise BundleError(folder, expected="a personal version", got="no such folder", fix=_GO_BACK)
    record = _read_record(folder)
    weights = _read(folder, "weights.safetensors") if (folder / "weights.safetensors").is_file() else None
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
    _check_overlay(folder, manifest, tensors)
    return tensors


def _read_record(folder: Path) -> dict[str, Any]:
    try:
        record = strict_json.loads(_read(folder, "record.json", _RECORD_LIMIT_BYTES))
    except ValueError as error:  # a BundleError of the reading too
        record = error
    if not isinstance(record, dict):
        raise BundleError(folder / "record.json", expected="a JSON object", got=record, fix=_GO_BACK)
    return record
