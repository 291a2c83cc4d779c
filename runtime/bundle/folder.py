"""A bundle: the folder that carries a model to a device, and the versions that the device adds to it.

    walk.bundle/
      manifest.json           what it is (see runtime.bundle.manifest), with size and hash of the files below
      manifest.sig            where there is one: signatures over the manifest (see runtime.bundle.trust)
      model.onnx              windows -> features, logits
      weights.safetensors     the trainable tensors, by the names that they have in the graph
      golden.npz              a few windows with the features and logits that the exporter computed
      reference.safetensors   where there is one: what the training data were like (see runtime.bundle.reference)
      train/04.onnx           where there is one: loss and gradient of all tensors from layer 4 on
      variants/int8.onnx      where there is one: the same model in another precision
      personal/0001/          a version written on this device: weights.safetensors (some tensors) + record.json
      personal/current        the version in use; no such file, or `base` in it, means the model as it was shipped

Opening verifies all of it. Writing never changes a file in place: a version is a new folder, moved into place whole,
and choosing one is an atomic rename of `current`. So a kill or a power cut at any instant leaves a bundle that opens.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import check
from runtime.bundle.contents import TrainingSpec
from runtime.bundle.manifest import Manifest
from runtime.bundle.overlay import overlaid
from runtime.bundle.tensors import dump_tensors, parse_tensors
from runtime.bundle.versions import (
    Thinned,
    check_writable,
    complete_record,
    current_version,
    load_version,
    next_version,
    read_record,
    thin,
    versions_of,
    writing,
)
from runtime.errors import BundleError, OneLine, one_line
from runtime.files.atomic import write_atomic, write_folder_atomic
from runtime.specs import BASE, FLOAT32

if TYPE_CHECKING:
    from runtime.bundle.trust import Trust


@dataclass(frozen=True, repr=False)
class Golden(OneLine):
    """Windows with the answers that they gave when the bundle was made."""

    windows: NDArray[np.float32]  # shape (n, length_samples, n_channels)
    features: NDArray[np.float32]  # shape (n, n_features)
    logits: NDArray[np.float32]  # shape (n, n_classes)


@dataclass(frozen=True)
class Bundle:
    """A verified bundle. `Bundle.open` makes one; the fields are what it found."""

    path: Path
    manifest: Manifest  # of `version`: the shipped one, with the labels and the head that the version has
    version: str  # "base" or the name of a folder under personal/
    base_tensors: Mapping[str, NDArray[np.float32]]  # as shipped
    personal_tensors: Mapping[str, NDArray[np.float32]]  # those that `version` replaces
    manifest_sha256: str  # of manifest.json as it was read
    trust: Trust | None = None  # what it was opened with; versions that are written later are opened with it too
    shipped: Manifest | None = None  # None: `manifest` is it

    def __repr__(self) -> str:
        return one_line(self, repr(self.path.name), f"version {self.version}", f"{len(self.manifest.labels)} labels")

    @classmethod
    def open(
        cls,
        path: str | Path,
        version: str | None = None,
        *,
        trust: Trust | None = None,
        manifest_sha256: str | None = None,
    ) -> Bundle:
        """Read and verify a bundle.

        Args:
            path: its folder.
            version: "base", a name such as "0001", or None for the one in use.
            trust: whose signature it must bear; None: anyone's bundle opens, as long as it is whole.
            manifest_sha256: of the only manifest that will do, such as that of a bundle that was opened before.

        Raises:
            BundleError: names the file that is missing, altered or not as the manifest says.
            TrustError: with `trust`, a bundle that is not signed as it asks for, or no longer what was signed.
        """
        path = Path(path)
        text = check.read(path, "manifest.json", check.MANIFEST_LIMIT_BYTES)
        signers = () if trust is None else trust.check_signature(path, text)  # before a byte of it is interpreted
        sha256 = check.check_same(path, text, manifest_sha256)
        manifest = check.parse_manifest(path, text)
        if trust is not None:
            trust.check_contents(path, manifest, signers)
            version = trust.check_version(path, version)
        try:
            model, weights = check.check_files(path, manifest)
        except BundleError as error:
            if trust is not None:
                raise trust.broken(error) from None
            raise
        base = parse_tensors(weights, path / "weights.safetensors")
        check.check_tensors(path, manifest, base, model)
        if manifest.variants:
            from runtime.bundle.variants import check_variants  # most bundles have none

            check_variants(path, manifest)
        version = current_version(path) if version is None else version
        own, personal = load_version(path, manifest, version) if version != BASE else (manifest, {})
        if trust is not None and trust.revisions is not None:
            trust.revisions.keep(manifest, signers)
        return cls(path, own, version, base, personal, sha256, trust, manifest)

    def again(self, version: str | None = None) -> Bundle:
        """Open another version of exactly this bundle, trusted as it was.

        Raises:
            BundleError: the manifest is no longer the one that was opened, or as of `open`.
        """
        return Bundle.open(self.path, version, trust=self.trust, manifest_sha256=self.manifest_sha256)

    def request(self) -> dict[str, Any]:
        """What another process of this device needs to open exactly this; JSON."""
        trust = None if self.trust is None else self.trust.to_plain()
        here = {"path": str(self.path.absolute()), "version": self.version}
        return {**here, "trust": trust, "manifest_sha256": self.manifest_sha256}

    @classmethod
    def of_request(cls, plain: Mapping[str, Any]) -> Bundle:
        """The other end of `request`; what is raised is what `open` raises."""
        trust = None
        if plain["trust"] is not None:
            from runtime.bundle.trust import Trust

            trust = Trust.from_plain(plain["trust"])
        return cls.open(plain["path"], plain["version"], trust=trust, manifest_sha256=plain["manifest_sha256"])

    def tensor(self, name: str) -> NDArray[np.float32]:
        """A trainable tensor of the version in use, in the shape that the manifest gives it."""
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
        model = self.shipped_file("model.onnx")
        if precision != FLOAT32:
            return self._variant(precision, model)
        return overlaid(self.path, model, self.base_manifest, self.manifest, self.personal_tensors)

    def _variant(self, precision: str, model: bytes) -> bytes:
        """The graph in another precision, with the personal tensors of this version in it."""
        from runtime.bundle.variants import write_tensors  # a stream of the float32 model starts without it

        spec = next((spec for spec in self.manifest.variants if spec.precision == precision), None)
        if spec is None:
            raise BundleError(
                self.path,
                expected=f"a variant {precision}",
                got=", ".join(self.precisions),
                fix="Add it on a workstation (python -m exporters fp16|int8 BUNDLE) or use float32."
                if self.manifest.labels == self.base_manifest.labels
                else f"Version {self.version} has labels of its own: float32 alone can give them.",
            )
        data = bytearray(self.shipped_file(spec.file))
        personal = self.personal_tensors
        write_tensors(data, spec, {**self.base_tensors, **personal}, model, only=frozenset(personal))
        return bytes(data)

    def training_model(self, spec: TrainingSpec) -> bytes:
        """The graph of one of `manifest.training`."""
        return self.shipped_file(spec.file)

    @property
    def base_manifest(self) -> Manifest:
        """The manifest as it was shipped, with the labels of the base."""
        return self.shipped or self.manifest

    @property
    def precisions(self) -> tuple[str, ...]:
        """What `model` can give: "float32" and the variants."""
        return (FLOAT32, *(spec.precision for spec in self.manifest.variants))

    def shipped_file(self, name: str) -> bytes:
        """The bytes of a file of the bundle, by its name in manifest.files, compared with its hash once more."""
        return check.read_whole(self.path, self.manifest, name)

    def golden(self) -> Golden:
        """The golden windows with the base model's answers.

        Raises:
            BundleError: the file is not the one that was written, or its arrays have other shapes.
        """
        from runtime.files.npz import read_stored  # not before: a stream starts without it

        where = self.path / "golden.npz"
        found = read_stored(check.read_whole(self.path, self.manifest, "golden.npz"), where)
        rows = len(found["windows"]) if found.get("windows", np.zeros(())).ndim else 0
        expected = {
            "windows": (rows, *self.manifest.window_shape),
            "features": (rows, self.manifest.features),
            "logits": (rows, len(self.base_manifest.labels)),
        }
        shapes = {name: array.shape for name, array in found.items()}
        if shapes != expected or not rows:
            raise BundleError(where, expected=f"arrays of shapes {expected}", got=shapes, fix=check.COPY_AGAIN)
        return Golden(**found)

    def versions(self) -> list[str]:
        """Names of the personal versions, oldest first, without the base."""
        return versions_of(self.path)

    def record(self, version: str) -> dict[str, Any]:
        """What was written beside a personal version: how it was made, what it cost and what it gained."""
        return read_record(self.path / "personal" / version)

    def commit(
        self,
        tensors: Mapping[str, NDArray[np.float32]],
        record: Mapping[str, Any],
        labels: Sequence[str] | None = None,
    ) -> Bundle:
        """Add a personal version, make it the one in use and return the bundle with it.

        Args:
            tensors: the trainable tensors that differ from the base, by name.
            record: how the version was made; JSON.
            labels: of the version, one per row of its head; None: those of the base.

        Raises:
            BundleError: a tensor that the manifest does not list, or of another shape, or not finite; labels that
                cannot be; another process is writing to this bundle.
        """
        with np.errstate(over="ignore"):  # an overflow becomes infinite, which is refused below
            tensors = {name: np.asarray(tensor, np.float32) for name, tensor in tensors.items()}
        weights = dump_tensors(tensors)
        with writing(self.path) as personal:
            version = next_version(self.path)
            text = complete_record(self.path, self.base_manifest, tensors, weights, record, labels)

            def fill(folder: Path) -> None:
                (folder / "weights.safetensors").write_bytes(weights)
                (folder / "record.json").write_text(text)

            write_folder_atomic(personal / version, fill)
            # a base that was replaced meanwhile refuses it here
            chosen = Bundle.open(self.path, version, trust=self.trust)
            write_atomic(personal / "current", f"{version}\n".encode())
        return chosen

    def rollback(self, version: str = BASE) -> Bundle:
        """Make another version the one in use: "base" or one of `versions()`. Nothing is deleted."""
        chosen = Bundle.open(self.path, version, trust=self.trust)
        with writing(self.path) as personal:
            write_atomic(personal / "current", f"{version}\n".encode())
        return chosen

    def thin(self, keep: int) -> Thinned:
        """Remove personal versions: all but the latest `keep`, the one in use, and the records of those it came from.

        Raises:
            BundleError: nobody knows which one is in use; the bundle cannot be written to.
        """
        with writing(self.path):
            return thin(self.path, keep)

    def check_writable(self) -> None:
        """Make sure, before anything is computed, that a version could be added.

        Raises:
            BundleError: no right to write, a link in place of the folder, no number that is left.
            TrustError: it was opened with trust in its base only.
        """
        check_writable(self.path)
        version = next_version(self.path)
        if self.trust is not None:
            self.trust.check_version(self.path, version)


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
        tensors: the trainable tensors, by name, each in the shape that the manifest gives it.
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
