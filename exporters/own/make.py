"""From somebody's ONNX file, a manifest and real windows to a bundle.

read -> constants folded -> head found, what is behind it left out -> layout -> batch freed
     -> opset 18 -> our front, our head, our names -> simplified -> opset 17 -> compared with the file -> bundle
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx.compose
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from exporters.assemble import STEPS, MadeGraph, assemble, check_windows
from exporters.draft import Draft
from exporters.own.constants import fold, sweep
from exporters.own.head import FoundHead, classes_of, find_head
from exporters.own.layout import ChannelsAt, InputLayout, choose, free_batch, layouts_of
from exporters.own.opset import opset_of, to_known_opset
from exporters.own.original import OriginalModel, observed, open_original, outputs_of
from exporters.own.read import CLASSICAL, attributes, check_floats, dims_of, input_of, named, read_model
from exporters.own.tensors import name_tensors
from exporters.parity import TOLERANCE, graph_inputs, random_windows
from exporters.simplify import LEAST_OPSET, TORCH_OPSET, lower, operators, serialised, simplify
from runtime.bundle import Bundle
from runtime.bundle.contents import HEAD
from runtime.errors import EngineError, InputError
from runtime.progress import ShowProgress, silent

_PREFIX = "own/"  # of the file's names, so that none is one of ours
_FEATURES, _LOGITS = "features", "logits"
Tensors = dict[str, NDArray[np.float32]]


class Looks(NamedTuple):
    """What a file tells of a model before anyone says more."""

    length_samples: int | None
    n_channels: int | None
    labels: list[str]  # empty: it has none that are words
    n_classes: int
    head: str


def look(source: str | Path, head: str | None = None) -> Looks:
    """What a file tells: for a draft of its manifest.

    Args:
        source: the ONNX file.
        head: as of `bundle_of_onnx`.

    Raises:
        InputError: it is none that can be taken.
    """
    source = Path(source)
    model = read_model(source)
    open_original(source)
    sizes = [dim for dim in dims_of(input_of(model, source))[1:] if dim != 1]
    fold(model)
    found = find_head(model, source, head)
    length, channels = None, None
    if len(sizes) == 2:
        known = [size for size in sizes if size is not None]
        length, channels = (max(known), min(known)) if len(known) == 2 else (sizes[0], sizes[1])
    return Looks(length, channels, classes_of(model), len(found.both()[1]), found.name)


def bundle_of_onnx(
    path: str | Path,
    source: str | Path,
    draft: Draft,
    windows: NDArray[np.float32],
    *,
    head: str | None = None,
    channels: ChannelsAt | None = None,
    tolerance: float = TOLERANCE,
    training: bool = False,
    opset: int = LEAST_OPSET,
    simplified: bool = True,
    progress: ShowProgress = silent,
) -> Bundle:
    """Write a bundle; one that is already there is replaced only if everything succeeds.

    Args:
        path: folder to make.
        source: the ONNX file: windows, or images, to logits or probabilities.
        draft: its manifest.
        windows: real ones, shape (n, *manifest.window_shape), float32, in the units of the signal.
        head: the node of the last linear layer, or the value that it gives; None: it is looked for.
        channels: where the model's input has them; None: as its sizes tell.
        tolerance: of the comparison with the file, as a share of the largest value of an output.
        training: add the graphs that a device needs to train more than the head.
        opset: of model.onnx, 17 or 18.
        simplified: False: leave the nodes as they are.
        progress: told (steps done, steps in all, what comes next).

    Raises:
        InputError: what cannot be taken, by the name of its node; windows or labels that are not the model's.
        ParityError: the bundle would answer otherwise than the file.
    """
    check_windows(draft, windows)
    if opset not in (LEAST_OPSET, TORCH_OPSET):
        raise InputError("opset", expected=f"{LEAST_OPSET} or {TORCH_OPSET}", got=opset, fix="Leave it out.")
    source, manifest = Path(source), draft.manifest
    progress(0, STEPS, "read the model")
    model, whole = read_model(source), read_model(source)
    session = open_original(source)  # which refuses a graph that is not sound
    dims = dims_of(input_of(model, source))
    fold(model)
    found = find_head(model, source, head)
    draft.check_classes(len(found.both()[1]))
    _check_labels(draft, classes_of(model), source)
    layout = _layout(draft, whole, found, dims, source, channels)
    original = OriginalModel(source, whole, found, layout, dims[0])
    inputs = graph_inputs(manifest, np.concatenate([windows, random_windows(manifest)]))
    answers = original.check_outputs(session, inputs, manifest.labels) if head is None else "not looked at"
    progress(1, STEPS, "make it ours")
    version = opset_of(model)
    model = _encoder(model, found, layout, dims, opset, source)
    model, origin, tensors = _joined(model, found, layout, draft)
    data, counts = _written(model, tensors, opset, source, simplified=simplified)
    provenance = {
        "exporter": {"onnx": onnx.__version__, "opset": opset, "operators": counts},
        "model": {
            "file": source.name,
            "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
            "producer": f"{whole.producer_name} {whole.producer_version}".strip() or "not told",
            "opset": version,
            "head": found.name,
            "answers": answers,
            "tensors": origin,
        },
    }
    graph = MadeGraph(data, tensors, original, provenance)
    total = STEPS + (len({name.split(".")[1] for name in origin}) + 1) * training
    try:
        return assemble(
            path, draft, graph, windows, tolerance=tolerance, training=training, total=total, progress=progress
        )
    except EngineError as error:
        fix = "Export it with a free batch (torch: dynamic_shapes or dynamic_axes; tf2onnx: a signature with None)."
        got = _stumbles(data, inputs[:3]) or error.got
        raise InputError(source, expected="a model of any number of windows", got=got, fix=fix) from error


def _stumbles(data: bytes, inputs: NDArray[np.float32]) -> str:
    """What onnxruntime says of the first node that fails, with no two nodes made one."""
    try:
        outputs_of(onnx.load_model_from_string(data), [_FEATURES], inputs, None)
    except EngineError as error:
        return error.got
    return ""


def _check_labels(draft: Draft, classes: Sequence[str], source: Path) -> None:
    if classes and tuple(classes) != draft.manifest.labels:
        raise InputError(
            f"{draft.where}: labels",
            expected=f"those of {source.name}, in its order: {', '.join(classes)}",
            got=", ".join(draft.manifest.labels),
            fix="Write them so; other names can come by a new version on the device.",
        )


def _layout(
    draft: Draft, whole: ModelProto, head: FoundHead, dims: list[int | None], source: Path, told: ChannelsAt | None
) -> InputLayout:
    manifest, where = draft.manifest, f"{source}: input {whole.graph.input[0].name}"
    if manifest.spectrogram is not None and manifest.spectrogram.in_graph:
        fix = "Say in_graph false: the runtime draws the images."
        raise InputError(f"{draft.where}: spectrogram", expected="in_graph false", got="in_graph true", fix=fix)
    images = manifest.input_name == "images"
    normalise: tuple[Sequence[float], Sequence[float]] = ((0.0,), (1.0,))
    if not images:
        spread = manifest.spread
        normalise = (spread(manifest.normalise.mean), spread(manifest.normalise.std))
    found = layouts_of(dims, manifest.input_shape, normalise, where)
    some = OriginalModel(source, whole, head, next(iter(found.values())), dims[0])
    return choose(found, told, some.runs, dims, where)


def _encoder(
    model: ModelProto, head: FoundHead, layout: InputLayout, dims: list[int | None], opset: int, source: Path
) -> ModelProto:
    """The graph up to the head, in a known opset, for any batch, under names that are none of ours."""
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(head.features, TensorProto.FLOAT, None))
    sweep(model)
    _without_classical(model, source)
    check_floats(source, model)
    free_batch(model, dims, {} if dims[0] is None else observed(model, layout, dims[0]))
    model = to_known_opset(model, opset, source)
    fold(model)
    return onnx.compose.add_prefix(model, _PREFIX)


def _without_classical(model: ModelProto, source: Path) -> None:
    """Scalers of scikit-learn as what they are; nothing else of its operators has a gradient, or an engine's kernel."""
    nodes = []
    for node in model.graph.node:
        if node.domain != CLASSICAL:
            nodes.append(node)
            continue
        if node.op_type != "Scaler":
            fix = "Only scalers and a linear or neural classifier can be taken."
            raise InputError(source, expected="operators that a network has", got=named(node), fix=fix)
        said, (x,), (y,) = attributes(node), node.input, node.output
        for op, name, value in (("Sub", "offset", (x, f"{y}/minus")), ("Mul", "scale", (f"{y}/minus", y))):
            constant = numpy_helper.from_array(np.array(said.get(name, [0.0]), np.float32), f"{y}/{name}")
            model.graph.initializer.append(constant)
            nodes.append(helper.make_node(op, [value[0], constant.name], [value[1]]))
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _joined(
    model: ModelProto, head: FoundHead, layout: InputLayout, draft: Draft
) -> tuple[ModelProto, dict[str, str], Tensors]:
    """Our front, the model and our head as one graph; the file's names by ours; all that can be trained."""
    manifest = draft.manifest
    source, features = model.graph.input[0].name, f"{_PREFIX}{head.features}"
    tensors, origin = name_tensors(model, _PREFIX)
    front, constants = layout.nodes(manifest.input_name, _FEATURES if source == features else source)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [_FEATURES if name == features else name for name in names]
    weight, bias = head.both()
    tensors |= {HEAD.weight: weight, HEAD.bias: bias}
    last = helper.make_node("Gemm", [_FEATURES, HEAD.weight, HEAD.bias], [_LOGITS], "head", transB=1)
    added = [
        numpy_helper.from_array(value, name)
        for name, value in {**constants, HEAD.weight: weight, HEAD.bias: bias}.items()
    ]
    sizes: dict[str, list[Any]] = {
        manifest.input_name: ["batch", *manifest.input_shape],
        _FEATURES: ["batch", weight.shape[1]],
        _LOGITS: ["batch", len(bias)],
    }
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in sizes.items()]
    graph = helper.make_graph(
        [*front, *model.graph.node, last], "model", values[:1], values[1:], [*model.graph.initializer, *added]
    )
    joined = helper.make_model(graph, opset_imports=model.opset_import[:1], producer_name="sensedge")
    return joined, origin, tensors


def _written(
    model: ModelProto, tensors: Tensors, opset: int, source: Path, *, simplified: bool
) -> tuple[bytes, dict[str, int]]:
    """The graph's bytes, and its operators."""
    import onnx_ir

    if simplified:
        intermediate = onnx_ir.from_proto(model)
        simplify(intermediate, [*tensors])
        model = onnx_ir.to_proto(intermediate)
    if opset < opset_of(model):
        lower(model)
    try:
        return serialised(model), operators(model)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        got, fix = " ".join(str(error).split()), "Export it with opset 17."
        raise InputError(source, expected=f"a graph that opset {opset} has", got=got, fix=fix) from error
