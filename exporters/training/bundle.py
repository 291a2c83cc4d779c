"""Training graphs in a bundle: one for each layer from which it can be trained.

walk.bundle/train/00.onnx     everything, from the windows on
                  03.onnx     from the fourth layer on, from the value at which the first three end
                  04.onnx     the head
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from exporters.parts import base_of, swap_parts
from exporters.training.build import TrainingGraph, build, read
from runtime.bundle import Bundle, Manifest
from runtime.errors import InputError
from runtime.progress import ShowProgress, silent


def add_training(
    place: str | Path | Bundle, layers: Sequence[int] | None = None, *, progress: ShowProgress = silent
) -> Bundle:
    """Write training graphs into a bundle, in place of those that it has.

    The model, its tensors and the personal versions stay as they are. A kill at any instant leaves a bundle that opens,
    with the old graphs, with none or with the new ones; see exporters.parts.

    Args:
        place: of the bundle; or the bundle as it was opened, which must still be the one that is there.
        layers: the first layers to train from, as `TensorSpec.layer` counts; None: all from which it is possible. Which
            are not, and why, then stands in provenance["no_training_from"].
        progress: told (graphs done, graphs in all, what comes next).

    Raises:
        InputError: it is not possible from one of `layers`, or from none at all.
        BundleError: the bundle is broken, or another one.
    """
    bundle = base_of(place)
    ours = {spec.file for spec in bundle.manifest.training}
    kept = {name: spec for name, spec in bundle.manifest.files.items() if name not in ours}
    bare = replace(bundle.manifest, training=(), files=kept)
    complete, contents = with_training(bare, bundle.model(), layers, progress=progress)
    return swap_parts(bundle.path, bare, complete, "train", contents)


def with_training(
    manifest: Manifest, model: bytes, layers: Sequence[int] | None = None, *, progress: ShowProgress = silent
) -> tuple[Manifest, dict[str, bytes]]:
    """A manifest that speaks of training graphs, and their bytes by file; arguments and errors are as above."""
    graphs, refused = _graphs(manifest, model, layers, progress)
    provenance = {key: value for key, value in manifest.provenance.items() if key != "no_training_from"}
    if refused:
        provenance["no_training_from"] = refused
    manifest = replace(manifest, training=tuple(graph.spec for graph in graphs), provenance=provenance)
    return manifest, {graph.spec.file: graph.model for graph in graphs}


def _graphs(
    manifest: Manifest, model: bytes, layers: Sequence[int] | None, progress: ShowProgress
) -> tuple[list[TrainingGraph], dict[str, str]]:
    """The graphs, and for each layer without one the reason."""
    forward = read(model, manifest)
    wanted = sorted(set(layers) if layers is not None else {spec.layer for spec in manifest.tensors})
    graphs, errors = [], {}
    for done, layer in enumerate(wanted):
        progress(done, len(wanted), f"training graph from layer {layer}")
        try:
            graphs.append(build(forward, manifest, layer))
        except InputError as error:
            if layers is not None:
                raise
            errors[layer] = error
    if errors and not graphs:
        raise errors[max(errors)]
    progress(len(wanted), len(wanted), "training graphs done")
    return graphs, {str(layer): str(error) for layer, error in errors.items()}
