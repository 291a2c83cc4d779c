"""A model in another precision, added to a bundle.

walk.bundle/variants/fp16.onnx     beside model.onnx, which stays
                     int8.onnx
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exporters.parts import base_of, swap_parts
from runtime.bundle import Bundle, Manifest
from runtime.bundle.contents import VariantSpec
from runtime.bundle.variants import check_variants, write_tensors
from runtime.errors import InputError


@dataclass(frozen=True)
class Variant:
    """A graph in another precision and what the manifest says of it."""

    spec: VariantSpec
    model: bytes  # ONNX


def add_variant(place: str | Path | Bundle, variant: Variant) -> Bundle:
    """Write a variant into a bundle, in place of one of the same precision.

    The model, its tensors and the personal versions stay as they are; see exporters.parts for what a kill leaves.

    Args:
        place: of the bundle; or the bundle as it was opened, which must still be the one that is there.
        variant: made for this bundle's model.

    Raises:
        InputError: the variant's bytes are not those of the bundle's tensors; nothing was written.
        BundleError: the bundle is broken or another one, or the variant names tensors that it has not.
    """
    bundle = base_of(place)
    path = bundle.path
    bare = without(bundle.manifest, variant.spec.precision)
    complete = replace(bare, variants=(*bare.variants, variant.spec))
    contents = {variant.spec.file: variant.model}
    check_variants(path, replace(complete, files={**bare.files, **complete.with_files(contents).files}))
    again = bytearray(variant.model)
    write_tensors(again, variant.spec, bundle.base_tensors, bundle.model())
    if again != variant.model:
        raise InputError(
            f"variant {variant.spec.precision}",
            expected="the bundle's own tensors at the places that it names",
            got="other bytes",
            fix="Make the variant from this bundle.",
        )
    return swap_parts(path, bare, complete, "variants", contents)


def without(manifest: Manifest, precision: str) -> Manifest:
    """The manifest without a variant, whether it has it or not."""
    left = tuple(spec for spec in manifest.variants if spec.precision != precision)
    files = {name: spec for name, spec in manifest.files.items() if name != f"variants/{precision}.onnx"}
    return replace(manifest, variants=left, files=files)


def describe(bundle: Bundle, precision: str) -> dict[str, Any]:
    """What a variant is, for a command to print: file, bytes, share of the float32 file, record."""
    spec = next(spec for spec in bundle.manifest.variants if spec.precision == precision)
    files = bundle.manifest.files
    size = files[spec.file].bytes
    ratio = size / files["model.onnx"].bytes
    return {"precision": precision, "file": spec.file, "bytes": size, "size_ratio": ratio, "record": spec.record}
