"""From a finished graph to a bundle, whoever made the graph: golden answers, comparison, training graphs, one rename.

graph with features and logits, tensors by name  ->  where each tensor lies, and how deep
given windows, through the original              ->  golden answers
random windows too, through the engine           ->  compared with the original, or nothing is written
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.draft import Draft
from exporters.offsets import initializer_offsets, layer_name
from exporters.parity import Original, check_answers, graph_inputs
from exporters.training import with_training
from exporters.training_data import reference_of
from runtime.bundle import Bundle, Golden, write_bundle
from runtime.bundle.check import REFERENCE
from runtime.bundle.contents import HEAD, TensorSpec
from runtime.errors import InputError
from runtime.progress import ShowProgress, silent

STEPS = 5  # that progress counts, and one per training graph; the first two are their makers'
_NOT_KEPT = "Let each parameter be used once, in the shape in which it is stored."


@dataclass(frozen=True)
class MadeGraph:
    """What an exporter made."""

    model: bytes  # windows or images -> features, logits
    tensors: Mapping[str, NDArray[np.float32]]  # trainable, by their names in the graph, from the input to the head
    original: Original  # what the graph must answer as
    provenance: Mapping[str, Any]  # of the graph: "exporter" and what else is known


def assemble(
    path: str | Path,
    draft: Draft,
    graph: MadeGraph,
    windows: NDArray[np.float32],
    *,
    tolerance: float,
    training: bool = False,
    seen: tuple[NDArray[np.float32], NDArray[np.int64]] | None = None,
    total: int = STEPS,
    progress: ShowProgress = silent,
) -> Bundle:
    """Write a bundle; one that is already there is replaced only if everything succeeds.

    Args:
        path: folder to make.
        draft: its manifest.
        graph: the model.
        windows: real ones, shape (n, *window_shape), float32; they become the golden windows.
        tolerance: of the comparison, as a share of the largest value of an output.
        training: add the graphs that a device trains with.
        seen: as of `exporters.export_bundle`.
        total: of progress.
        progress: told (steps done, steps in all, what comes next).

    Raises:
        InputError: a tensor that is not in the graph by its name, or classes that are not those of the labels.
        ParityError: the engine's answers differ from the original's.
    """
    manifest = draft.manifest
    progress(2, total, "compute the golden answers")
    windows = np.ascontiguousarray(windows, np.float32)
    features, logits = graph.original(graph_inputs(manifest, windows))
    draft.check_classes(logits.shape[1])
    complete = replace(
        manifest,
        features=features.shape[1],
        head=HEAD,
        tensors=_specs(graph.model, graph.tensors),
        provenance={**manifest.provenance, **graph.provenance},
    )
    golden = Golden(windows, features, logits)
    progress(3, total, "compare the engine with the original")
    with tempfile.TemporaryDirectory() as rehearsal:  # the check needs a bundle; the real one is written after it
        bundle = write_bundle(Path(rehearsal) / "b", complete, graph.model, graph.tensors, golden)
        parity = check_answers(bundle, graph.original, windows, tolerance)
    complete = replace(complete, provenance={**complete.provenance, "parity": parity})
    contents: dict[str, bytes] = {}
    if training:
        complete, contents = with_training(
            complete, graph.model, progress=lambda done, _, text: progress(STEPS - 1 + done, total, text)
        )
    if seen is not None:
        rows, labels = np.ascontiguousarray(seen[0], np.float32), seen[1]

        def encode(part: NDArray[np.float32]) -> NDArray[np.float32]:
            return graph.original(graph_inputs(manifest, part))[0]

        contents[REFERENCE] = reference_of(manifest.signal, manifest.window, rows, labels, encode).dump()
    progress(total - 1, total, "write the bundle")
    bundle = write_bundle(path, complete, graph.model, graph.tensors, golden, contents)
    progress(total, total, "done")
    return bundle


def check_windows(draft: Draft, windows: NDArray[np.float32]) -> None:
    """Refuse golden windows of another shape.

    Args:
        draft: with the signal and the window.
        windows: shape (n, *window_shape), n at least 1.

    Raises:
        InputError: they have another.
    """
    shape = draft.manifest.window_shape
    if windows.shape[1:] != shape or not len(windows):
        raise InputError(
            "windows",
            expected=f"shape (n, {', '.join(map(str, shape))}), n at least 1",
            got=windows.shape,
            fix="Cut them with the manifest.",
        )


def _specs(model: bytes, tensors: Mapping[str, NDArray[np.float32]]) -> tuple[TensorSpec, ...]:
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
