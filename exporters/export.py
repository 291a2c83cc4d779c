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
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporters.assemble import STEPS, MadeGraph, assemble, check_windows
from exporters.draft import Draft
from exporters.frame import Frame
from exporters.modules import fit_of
from exporters.offsets import layer_name
from exporters.parity import TOLERANCE, answers_of
from exporters.simplify import LEAST_OPSET, TORCH_OPSET, lower, operators, serialised, simplify
from exporters.spectrogram import SpectrogramImages
from runtime.bundle import Bundle, Manifest
from runtime.errors import InputError
from runtime.progress import ShowProgress, silent

OPSET = LEAST_OPSET  # what TensorRT 8.5 (JetPack 5) reads


class _Deployed(nn.Module):
    """What runs on the device: normalisation or spectrogram, encoder and head, with both of their outputs."""

    def __init__(self, encoder: nn.Module, head: nn.Linear, manifest: Manifest) -> None:
        super().__init__()
        self.front_end = _front_end(manifest)
        self.encoder, self.head = copy.deepcopy(encoder), copy.deepcopy(head)  # the caller's may go on training
        self.channels_first = False

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        inputs = self.front_end(windows)
        features = self.encoder(inputs.transpose(1, 2) if self.channels_first else inputs)
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
            images (n, 3, height_px, width_px) to features. One that wants its channels first is given them so.
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
        InputError: windows of another shape; parts that do not fit one another; a trainable tensor that did not
            survive the export by its name; an operator that `opset` does not have.
        ParityError: the engine's answers differ from the module's.
    """
    draft = Draft(manifest)
    check_windows(draft, windows)
    if opset < LEAST_OPSET:
        raise InputError("opset", expected=f"{LEAST_OPSET} or newer", got=opset, fix="JetPack 5 reads 17 already.")
    total = STEPS + (len({layer_name(name) for name, _ in encoder.named_parameters()}) + 1) * training
    progress(0, total, "trace the module")
    module = _Deployed(encoder, head, manifest).eval()
    module = module.to(device="cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    _check_fit(module, draft)
    program = _traced(module, manifest, opset)
    progress(1, total, "simplify the graph")
    model, counts = _written(program, [name for name, _ in module.named_parameters()], opset, simplified)
    exporter = {"torch": torch.__version__, "opset": opset, "operators": counts}
    tensors = {name: parameter.detach().numpy() for name, parameter in module.named_parameters()}
    graph = MadeGraph(model, tensors, answers_of(module), {"exporter": exporter})
    return assemble(
        path,
        draft,
        graph,
        windows,
        tolerance=tolerance,
        training=training,
        seen=seen,
        total=total,
        progress=progress,
    )


def _check_fit(module: _Deployed, draft: Draft) -> None:
    """Find the order of axes that the encoder takes, and refuse parts that do not fit one another.

    Raises:
        InputError: the encoder does not take the windows, or the head not its features, or the labels are not as many.
    """
    spec, head = draft.manifest.spectrogram, module.head
    shape = draft.manifest.window_shape if spec is None else (3, spec.height_px, spec.width_px)
    fit = fit_of(module.encoder, shape, "encoder")
    module.channels_first = fit.channels_first
    if head.in_features != fit.n_features:
        expected = f"a layer that takes the encoder's {fit.n_features} features"
        raise InputError("head", expected=expected, got=f"one of {head.in_features}", fix="Make it for the encoder.")
    draft.check_classes(head.out_features)


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
