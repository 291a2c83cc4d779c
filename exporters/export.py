"""Export: a torch module, a manifest and some example windows become a bundle.

    windows -> (x - mean) / std -> encoder -> features -> head -> logits      one ONNX graph, any batch size
    or, with a frame: windows -> axes turned -> (x - mean) / std -> ...
    or, with a spectrogram: windows -> images -> encoder -> ...               where in_graph says so
                                       images -> encoder -> ...               where the runtime draws them
    every parameter keeps its torch name as an initializer, with raw bytes     so that a device can replace it
    simplified, without names of files, opset 17 unless asked for a newer one  so that every engine can read it
    golden windows with the module's own answers                               so that a device can check itself
    the engine's answers against the module's                                  so that a wrong export never leaves

The bundle appears at its path only when all of that has succeeded.
"""

from __future__ import annotations

import copy
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

from exporters.frame import Frame
from exporters.offsets import initializer_offsets, layer_name
from exporters.parity import TOLERANCE, check_parity, graph_inputs
from exporters.simplify import LEAST_OPSET, TORCH_OPSET, lower, operators, serialised, simplify
from exporters.spectrogram import SpectrogramImages
from exporters.training import with_training
from exporters.training_data import reference_of
from runtime.bundle import Bundle, Golden, Manifest, write_bundle
from runtime.bundle.check import REFERENCE
from runtime.bundle.contents import Head, TensorSpec
from runtime.bundle.reference import Reference
from runtime.errors import InputError
from runtime.progress import ShowProgress, silent

OPSET = LEAST_OPSET  # what TensorRT 8.5 (JetPack 5) reads
_STEPS = 5  # that progress counts, and one per training graph


class _Deployed(nn.Module):
    """What runs on the device: normalisation or spectrogram, encoder and head, with both of their outputs."""

    def __init__(self, encoder: nn.Module, head: nn.Linear, manifest: Manifest) -> None:
        super().__init__()
        self.front_end = _front_end(manifest)
        self.encoder, self.head = copy.deepcopy(encoder), copy.deepcopy(head)  # the caller's may go on training

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        features = self.encoder(self.front_end(windows))
        return features, self.head(features)


def _front_end(manifest: Manifest) -> nn.Module:
    if manifest.spectrogram is None:
        front: nn.Module = _Normalise(manifest)
    else:
        front = SpectrogramImages(manifest) if manifest.spectrogram.in_graph else nn.Identity()
    if manifest.frame is None:
        return front
    return nn.Sequential(Frame(manifest.frame, manifest.signal, manifest.window.length_samples), front)


class _Normalise(nn.Module):
    """A module of its own: without a dot in its name, a buffer `mean` clashes with the value of an encoder's mean()."""

    mean: Tensor
    std: Tensor

    def __init__(self, manifest: Manifest) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(manifest.spread(manifest.normalise.mean)))
        self.register_buffer("std", torch.tensor(manifest.spread(manifest.normalise.std)))

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
    opset: int = OPSET,
    simplified: bool = True,
    seen: tuple[NDArray[np.float32], NDArray[np.int64]] | None = None,
    progress: ShowProgress = silent,
) -> Bundle:
    """Write a bundle; one that is already there is replaced only if everything succeeds.

    Args:
        path: folder to make, by custom NAME.bundle.
        encoder: normalised windows (n, length_samples, n_channels) to features (n, n_features); with a spectrogram,
            images (n, 3, height_px, width_px) to features.
        head: features to logits.
        manifest: signal, window, labels, normalisation and provenance; the rest is filled in.
        windows: real ones, shape (n, *manifest.window_shape), float32, in the units of the signal. They become the
            golden windows.
        tolerance: of the parity check, as a share of the largest value of an output.
        training: add the graphs that a device needs to train more than the head; see exporters.training.
        opset: of model.onnx, 17 or newer. Training graphs are for onnxruntime and have their own.
        simplified: False: leave the graph as torch's exporter writes it, should the optimiser ever stumble.
        seen: training windows, shape (n, *manifest.window_shape), and their class indices, shape (n,): the bundle then
            says what they were like, see exporters.training_data. None: it does not.
        progress: told (steps done, steps in all, what comes next).

    Raises:
        InputError: windows of another shape, a trainable tensor that did not survive the export by its name, or an
            operator that `opset` does not have.
        ParityError: the engine's answers differ from the module's.
    """
    if windows.shape[1:] != manifest.window_shape or not len(windows):
        raise InputError(
            "windows",
            expected=f"shape (n, {', '.join(map(str, manifest.window_shape))}), n at least 1",
            got=windows.shape,
            fix="Cut them with the manifest.",
        )
    if opset < LEAST_OPSET:
        raise InputError("opset", expected=f"{LEAST_OPSET} or newer", got=opset, fix="JetPack 5 reads 17 already.")
    total = _STEPS + (len({layer_name(name) for name, _ in encoder.named_parameters()}) + 1) * training
    progress(0, total, "trace the module")
    module = _Deployed(encoder, head, manifest).eval()
    module = module.to(device="cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    program = _traced(module, manifest, opset)
    progress(1, total, "simplify the graph")
    model, counts = _written(program, [name for name, _ in module.named_parameters()], opset, simplified)
    progress(2, total, "compute the golden answers")
    windows = np.ascontiguousarray(windows, np.float32)
    with torch.inference_mode():
        features, logits = (output.numpy() for output in module(torch.from_numpy(graph_inputs(manifest, windows))))
    tensors = {name: parameter.detach().numpy() for name, parameter in module.named_parameters()}
    complete = replace(
        manifest,
        features=features.shape[1],
        head=Head("head.weight", "head.bias"),
        tensors=_specs(model, tensors),
        provenance={
            **manifest.provenance,
            "exporter": {"torch": torch.__version__, "opset": opset, "operators": counts},
        },
    )
    golden = Golden(windows, features, logits)
    progress(3, total, "compare the engine with the module")
    with tempfile.TemporaryDirectory() as rehearsal:  # the check needs a bundle; the real one is written after it
        parity = check_parity(
            write_bundle(Path(rehearsal) / "b", complete, model, tensors, golden), module, windows, tolerance
        )
    complete = replace(complete, provenance={**complete.provenance, "parity": parity})
    contents: dict[str, bytes] = {}
    if training:
        complete, contents = with_training(
            complete, model, progress=lambda done, _, text: progress(_STEPS - 1 + done, total, text)
        )
    if seen is not None:
        contents[REFERENCE] = _reference(module, manifest, *seen).dump()
    progress(total - 1, total, "write the bundle")
    bundle = write_bundle(path, complete, model, tensors, golden, contents)
    progress(total, total, "done")
    return bundle


def _reference(
    module: nn.Module, manifest: Manifest, windows: NDArray[np.float32], labels: NDArray[np.int64]
) -> Reference:
    def encode(part: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            features: NDArray[np.float32] = module(torch.from_numpy(graph_inputs(manifest, part)))[0].numpy()
        return features

    return reference_of(manifest.signal, manifest.window, np.ascontiguousarray(windows, np.float32), labels, encode)


def _traced(module: nn.Module, manifest: Manifest, opset: int) -> Any:
    """What torch's exporter makes of the module: a torch.onnx.ONNXProgram. Its own optimiser spares no parameter."""
    example = torch.zeros(2, *manifest.input_shape)
    with _silence():
        return torch.onnx.export(
            module,
            (example,),
            input_names=[manifest.input_name],
            output_names=["features", "logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=max(opset, TORCH_OPSET),
            dynamo=True,
            optimize=False,
            verbose=False,
        )


def _written(program: Any, trainable: list[str], opset: int, simplified: bool) -> tuple[bytes, dict[str, int]]:
    """The graph's bytes and its operators."""
    with _silence():
        if simplified:
            simplify(program.model, trainable)
        model = program.model_proto
    if opset < TORCH_OPSET:
        lower(model)
    return serialised(model), operators(model)


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
        layer = layers.setdefault(layer_name(name), len(layers))
        specs.append(TensorSpec(name, tensor.shape, layer, offset))
    return tuple(specs)


_NOT_KEPT = "Let each parameter be used once, in the shape in which it is stored."
