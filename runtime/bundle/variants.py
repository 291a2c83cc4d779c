"""The model in another precision, with a wearer's own tensors in it.

    personal tensor (float32) -> fold the normalisation in -> float32 | float16 | int8 and its scales -> into the bytes

A variant is a file of its own, made on a workstation. What the device trained is float32, so it is converted here by
the same rule and written over the shipped bytes at the places that the manifest names; the graph stays as it is, the
ranges of its activations too. float32 model.onnx stays in the bundle beside every variant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.bundle.contents import FoldedNorm, VariantSpec, VariantTensor
from runtime.bundle.manifest import Manifest
from runtime.errors import BundleError

INT8_LIMIT = 127  # -128 is not used: the range is symmetric
_DTYPES = {"float32": "<f4", "float16": "<f2", "int8": "<i1"}
_USE_FLOAT32 = 'Use precision "float32" for this version.'
_Tensors = Mapping[str, NDArray[np.float32]]


def write_tensors(
    data: bytearray, spec: VariantSpec, tensors: _Tensors, model: bytes, only: frozenset[str] | None = None
) -> None:
    """Convert tensors and write them into a variant's bytes.

    Args:
        data: the variant's file; changed in place.
        spec: where they lie.
        tensors: all trainable tensors, by name, each in the shape that the manifest gives it.
        model: the bytes of model.onnx.
        only: names; what does not depend on one of them is left as it is. None: everything is written.

    Raises:
        BundleError: a number that is beyond float16.
    """
    for place in spec.tensors:
        if only is None or not only.isdisjoint(sources(place)):
            values = folded(place, tensors, model)
            if place.scale_offset is None:
                _put(data, place.offset, _cast(values, place))
            else:
                integers, scales = quantise(values, place.axis, spec.int8_limit)
                _put(data, place.offset, integers)
                _put(data, place.scale_offset, scales)


def sources(place: VariantTensor) -> set[str]:
    """Names of the trainable tensors that the bytes at a place come from."""
    norm = place.norm
    return {place.name, *((norm.weight, norm.bias) if norm is not None else ())} - {""}


def quantise(values: NDArray[np.float32], axis: int | None, limit: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric int8: round(values / scale) to the nearest, halves to the even, with scale = max |values| / limit.

    Args:
        values: a tensor.
        axis: every index along it has its own scale; None: one for all.
        limit: of the integers, on both sides of 0.

    Returns:
        The integers, of the same shape, and the scales, shape (values.shape[axis],) or (). What is all 0 has scale 1.
    """
    others = None if axis is None else tuple(i for i in range(values.ndim) if i != axis)
    largest = np.abs(values).max(others)
    scales = (np.where(largest > 0, largest, limit) / limit).astype(np.float32)
    scales = np.where(scales > 0, scales, np.finfo(np.float32).tiny).astype(np.float32)  # of denormals
    spread = scales if axis is None else np.expand_dims(scales, [i for i in range(values.ndim) if i != axis])
    integers = np.clip(np.rint(values / spread), -limit, limit).astype(np.int8)
    return integers, scales


def folded(place: VariantTensor, tensors: _Tensors, model: bytes) -> NDArray[np.float32]:
    """What belongs at a place before it is cast: the tensor, or weight or bias of a convolution with its norm.

    Args:
        place: in the variant's file.
        tensors: all trainable tensors, by name.
        model: the bytes of model.onnx, which hold the norm's mean and variance.

    Returns:
        As it lies in the file: the tensor's shape, its two axes swapped where the place is `transposed`.
    """
    norm = place.norm
    if norm is None:
        values = tensors[place.name]
        return np.ascontiguousarray(values.T) if place.transposed else values
    weight, bias = tensors[norm.weight], tensors[norm.bias]
    mean, variance = (_statistics(model, at, weight.size) for at in (norm.mean_offset, norm.variance_offset))
    k = weight / np.sqrt(variance + norm.epsilon)
    values = tensors[place.name] if place.name else np.zeros_like(weight)
    result = values * k.reshape(-1, *(1,) * (values.ndim - 1)) if values.ndim > 1 else (values - mean) * k + bias
    return np.asarray(result, np.float32)


def _statistics(model: bytes, offset: int, n: int) -> NDArray[np.float64]:
    return np.frombuffer(model, "<f4", n, offset).astype(np.float64)


def _cast(values: NDArray[np.float32], place: VariantTensor) -> NDArray[np.generic]:
    if place.dtype == "float16" and np.abs(values).max(initial=0) > np.finfo(np.float16).max:
        raise BundleError(
            place.name or (place.norm.bias if place.norm is not None else "bias"),
            expected=f"numbers of at most {np.finfo(np.float16).max:.0f}, as float16 holds",
            got=f"{np.abs(values).max():g}",
            fix=_USE_FLOAT32,
        )
    return values.astype(_DTYPES[place.dtype])


def _put(data: bytearray, offset: int, values: NDArray[np.generic]) -> None:
    raw = values.tobytes()
    data[offset : offset + len(raw)] = raw


def check_variants(path: Path, manifest: Manifest) -> None:
    """Every place lies inside its file and every trainable tensor has one; nothing is read.

    Raises:
        BundleError: names the variant and the tensor.
    """
    shapes = {spec.name: spec.shape for spec in manifest.tensors}
    for spec in manifest.variants:
        for place in spec.tensors:
            wrong = _wrong(place, shapes, manifest.files[spec.file].bytes, manifest.files["model.onnx"].bytes)
            if wrong is not None:
                raise _bad(path, f"{spec.precision}: {place.name or 'a bias'}: {wrong}")
        missing = sorted(shapes.keys() - {name for place in spec.tensors for name in sources(place)})
        if missing:
            raise _bad(path, f"{spec.precision} without {', '.join(missing)}")


def _wrong(place: VariantTensor, shapes: Mapping[str, tuple[int, ...]], size: int, model_size: int) -> str | None:
    """What is wrong with a place; None: nothing."""
    unknown = sorted(sources(place) - shapes.keys())
    if unknown or not sources(place):
        return f"no tensor of the name {', '.join(unknown)}"
    shape = shapes[place.name] if place.name else shapes[place.norm.weight] if place.norm is not None else ()
    if place.norm is not None and not _norm_fits(place.norm, shape, shapes, model_size):
        return "a normalisation that does not fit"
    if place.transposed:
        if len(shape) != 2 or place.norm is not None:
            return "no two axes to swap"
        shape = shape[::-1]
    if (place.scale_offset is not None) != (place.dtype == "int8") or (
        place.axis is not None and place.dtype != "int8"
    ):
        return "scales belong to int8 and to nothing else"
    if place.axis is not None and not 0 <= place.axis < len(shape):
        return f"no axis {place.axis}"
    parts = [(place.offset, np.dtype(_DTYPES[place.dtype]).itemsize * math.prod(shape))]
    if place.scale_offset is not None:
        parts.append((place.scale_offset, 4 * (1 if place.axis is None else shape[place.axis])))
    return None if all(_inside(at, n, size) for at, n in parts) else f"bytes outside of the file's {size}"


def _norm_fits(
    norm: FoldedNorm, shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]], model_size: int
) -> bool:
    channels = shape[:1]
    places = (norm.mean_offset, norm.variance_offset)
    return (
        len(channels) == 1
        and shapes[norm.weight] == shapes[norm.bias] == channels
        and norm.epsilon >= 0
        and all(_inside(at, 4 * channels[0], model_size) for at in places)
    )


def _inside(offset: int, n_bytes: int, size: int) -> bool:
    return offset >= 0 and offset + n_bytes <= size


def _bad(path: Path, got: str) -> BundleError:
    return BundleError(
        path / "manifest.json",
        expected="variants that say where each trainable tensor lies",
        got=got,
        fix="Add the variant again: python -m exporters fp16|int8 BUNDLE",
    )
