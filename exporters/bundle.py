"""Export: a torch module, a manifest and some example windows become a bundle.

    windows -> (x - mean) / std -> encoder -> features -> head -> logits      one ONNX graph, any batch size
    every parameter keeps its torch name as an initializer, with raw bytes     so that a device can replace it
    golden windows with the module's own answers                               so that a device can check itself
    the engine's answers against the module's                                  so that a wrong export never leaves

The bundle appears at its path only when all of that has succeeded.
"""

from __future__ import annotations

import copy
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporters.offsets import initializer_offsets
from exporters.parity import TOLERANCE, check_parity
from exporters.training import with_training
from runtime.bundle import Bundle, Golden, write_bundle
from runtime.errors import InputError
from runtime.manifest import Head, Manifest, Normalise, TensorSpec

OPSET = 18


class _Deployed(nn.Module):
    """What runs on the device: normalisation, encoder and head, with both of their outputs."""

    def __init__(self, encoder: nn.Module, head: nn.Linear, manifest: Manifest) -> None:
        super().__init__()
        self.normalise = _Normalise(manifest.normalise)
        self.encoder, self.head = copy.deepcopy(encoder), copy.deepcopy(head)  # the caller's may go on training

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        features = self.encoder(self.normalise(windows))
        return features, self.head(features)


class _Normalise(nn.Module):
    """A module of its own: without a dot in its name, a buffer `mean` clashes with the value of an encoder's mean()."""

    mean: Tensor
    std: Tensor

    def __init__(self, normalise: Normalise) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(normalise.mean))
        self.register_buffer("std", torch.tensor(normalise.std))

    def forward(self, windows: Tensor) -> Tensor:
        return (windows - self.mean) / self.std


def export_bundle(
    path: str | Path,
    encoder: nn.Module,
    head: nn.Linear,
    manifest: Manifest,
    windows: NDArray[np.float32],
    *,
    tolerance: float = TOLERANCE,
    training: bool = False,
) -> Bundle:
    """Write a bundle; one that is already there is replaced only if everything succeeds.

    Args:
        path: folder to make, by custom NAME.bundle.
        encoder: normalised windows (n, length_samples, n_channels) to features (n, n_features).
        head: features to logits.
        manifest: signal, window, labels, normalisation and provenance; the rest is filled in.
        windows: real ones, shape (n, length_samples, n_channels), float32, in the units of the signal. They become
            the golden windows.
        tolerance: of the parity check, as a share of the largest value of an output.
        training: add the graphs that a device needs to train more than the head; see exporters.training.

    Raises:
        InputError: windows of another shape, or a trainable tensor that did not survive the export by its name.
        ParityError: the engine's answers differ from the module's.
    """
    if windows.ndim != 3 or windows.shape[1:] != manifest.window_shape or not len(windows):
        raise InputError(
            "windows",
            expected=f"shape (n, *{manifest.window_shape})",
            got=windows.shape,
            fix="Cut them with the manifest.",
        )
    module = _Deployed(encoder, head, manifest).eval()
    module = module.to(device="cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    model = _onnx(module, manifest)
    windows = np.ascontiguousarray(windows, np.float32)
    with torch.inference_mode():
        features, logits = (output.numpy() for output in module(torch.from_numpy(windows)))
    tensors = {name: parameter.detach().numpy() for name, parameter in module.named_parameters()}
    complete = replace(
        manifest,
        features=features.shape[1],
        head=Head("head.weight", "head.bias"),
        tensors=_specs(model, tensors),
        provenance={**manifest.provenance, "exporter": {"torch": torch.__version__, "opset": OPSET}},
    )
    golden = Golden(windows, features, logits)
    with tempfile.TemporaryDirectory() as rehearsal:  # the check needs a bundle; the real one is written after it
        parity = check_parity(
            write_bundle(Path(rehearsal) / "b", complete, model, tensors, golden), module, windows, tolerance
        )
    complete = replace(complete, provenance={**complete.provenance, "parity": parity})
    contents: dict[str, bytes] = {}
    if training:
        complete, contents = with_training(complete, model)
    return write_bundle(path, complete, model, tensors, golden, contents)


def _onnx(module: nn.Module, manifest: Manifest) -> bytes:
    """The graph as bytes. Unoptimised: the optimiser merges equal initializers and folds others away."""
    example = torch.zeros(2, *manifest.window_shape)
    with _silence():
        program: Any = torch.onnx.export(
            module,
            (example,),
            input_names=["windows"],
            output_names=["features", "logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=OPSET,
            dynamo=True,
            optimize=False,
            verbose=False,
        )
    buffer = io.BytesIO()
    program.save(buffer)
    return buffer.getvalue()


@contextmanager
def _silence() -> Iterator[None]:
    """Keep to ourselves what torch's exporter warns of: its own internals and packages that we do not need."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _specs(model: bytes, tensors: dict[str, NDArray[np.float32]]) -> tuple[TensorSpec, ...]:
    """Every trainable tensor with its depth and its place in the file."""
    offsets = initializer_offsets(model)
    specs: list[TensorSpec] = []
    layers: dict[str, int] = {}
    for name, tensor in tensors.items():
        offset, length = offsets.get(name, (-1, 0))
        if length != tensor.nbytes or model[offset : offset + length] != tensor.astype("<f4").tobytes():
            raise InputError(
                name, expected="an initializer of this name with the module's values", got="none", fix=_NOT_KEPT
            )
        layer = layers.setdefault(_layer(name), len(layers))
        specs.append(TensorSpec(name, tensor.shape, layer, offset))
    return tuple(specs)


_NOT_KEPT = "Let each parameter be used once, in the shape in which it is stored."


def _layer(name: str) -> str:
    """The part of a parameter's name that stands for its layer: up to the first number, else the first word.

    encoder.blocks.2.0.weight -> encoder.blocks.2, head.bias -> head
    """
    parts = name.split(".")
    numbers = [i for i, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: numbers[0] + 1]) if numbers else parts[0]
