"""The graph as the torch exporter leaves it, made small, and written for an older opset.

    shape arithmetic, constants, padding of its own ...     folded by onnxscript's optimiser
    what a device trains                                    inputs meanwhile: nothing is known of them, so nothing is
                                                            merged, folded or renamed; initializers again afterwards
    stack traces, docstrings, shapes of inner values        left out: they name files of the exporting machine
    ReduceMean, Split, Pad ... of opset 18                  rewritten as opset 17 has them, where that was asked for

torch writes opset 18 at least. TensorRT 8.5 (JetPack 5) reads up to 17, and few operators differ between the two.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from runtime.errors import InputError

if TYPE_CHECKING:
    import onnx_ir

LEAST_OPSET, TORCH_OPSET = 17, 18
_FOLD_FROM_BYTES, _FOLD_TO_BYTES = 1 << 24, 1 << 20  # the optimiser's own limits keep most arithmetic on indices


def simplify(model: onnx_ir.Model, trainable: Collection[str]) -> None:
    """Make a graph small, in place; the trainable initializers keep their names and their bytes."""
    from onnxscript import optimizer

    graph = model.graph
    n_inputs, kept = len(graph.inputs), {}
    for name in trainable:
        value = graph.initializers.pop(name, None)
        if value is not None:  # one that is missing is refused later, by name
            kept[name], value.const_value = value.const_value, None
            graph.inputs.append(value)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    optimizer.optimize_ir(model, input_size_limit=_FOLD_FROM_BYTES, output_size_limit=_FOLD_TO_BYTES)
    for value in [*graph.inputs][n_inputs:]:
        name = str(value.name)
        graph.inputs.remove(value)
        value.const_value = kept[name]
        graph.initializers[name] = value


def serialised(model: ModelProto) -> bytes:
    """The bytes of a checked model without names of files, docstrings and shapes of inner values.

    Raises:
        onnx.checker.ValidationError: the graph is not sound.
    """
    graph = model.graph
    for message in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        message.ClearField("doc_string")
        message.ClearField("metadata_props")
    del graph.value_info[:]
    model.ir_version = helper.find_min_ir_version_for(model.opset_import)
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def lower(model: ModelProto) -> None:
    """Rewrite a graph of opset 18 for opset 17, in place.

    Raises:
        InputError: an operator that opset 17 does not have in this form; the message names it.
    """
    known = _Known(model)
    for node in model.graph.node:
        if _since(node.op_type) == TORCH_OPSET and not _LOWERED.get(node.op_type, _cannot)(node, known):
            raise InputError(
                f"node {node.name or node.output[0]}",
                expected=f"an operator that opset {LEAST_OPSET} has in this form",
                got=node.op_type,
                fix=f"Export with opset={TORCH_OPSET}, which TensorRT 8.5 (JetPack 5) does not read.",
            )
    read = {name for node in model.graph.node for name in node.input}
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in read]:
        model.graph.initializer.remove(tensor)
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", LEAST_OPSET))


def operators(model: ModelProto) -> dict[str, int]:
    """How often each operator occurs, the most frequent first."""
    return dict(Counter(node.op_type for node in model.graph.node).most_common())


class _Known:
    """What is known of a graph's values, and a place for new constants."""

    def __init__(self, model: ModelProto) -> None:
        self._graph = model.graph
        self.values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.values[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        inferred = onnx.shape_inference.infer_shapes(model).graph
        self.shapes = {
            value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]  # 0 where not known
            for value in (*inferred.value_info, *inferred.input, *inferred.output)
        }

    def add(self, name: str, value: NDArray[Any]) -> str:
        """A new initializer."""
        self._graph.initializer.append(numpy_helper.from_array(value, name))
        return name


def _since(op: str) -> int:
    """The opset, up to 18, that gave an operator its present form."""
    version: int = onnx.defs.get_schema(op, TORCH_OPSET, "").since_version
    return version


def _cannot(node: NodeProto, known: _Known) -> bool:
    return False


def _reduce(node: NodeProto, known: _Known) -> bool:
    """The axes become an attribute."""
    axes = _input(node, 1)
    if axes and axes not in known.values:
        return False
    numbers = [int(axis) for axis in known.values[axes]] if axes else []
    idle = any(entry.name == "noop_with_empty_axes" and entry.i for entry in node.attribute)
    if idle and not numbers:
        return False
    kept = [entry for entry in node.attribute if entry.name != "noop_with_empty_axes"]
    del node.input[1:], node.attribute[:]
    node.attribute.extend(kept)
    if numbers:
        node.attribute.append(helper.make_attribute("axes", numbers))
    return True


def _split(node: NodeProto, known: _Known) -> bool:
    """The number of parts becomes their sizes: equal ones, the last one smaller if need be."""
    if _input(node, 1):
        return True
    attributes = {entry.name: entry.i for entry in node.attribute}
    shape, parts = known.shapes.get(node.input[0], []), len(node.output)
    size = shape[attributes.get("axis", 0)] if shape else 0
    if not size:
        return False
    each = -(-size // parts)
    sizes = np.array([each] * (parts - 1) + [size - each * (parts - 1)], np.int64)
    kept = [entry for entry in node.attribute if entry.name == "axis"]
    del node.input[1:], node.attribute[:]
    node.attribute.extend(kept)
    node.input.append(known.add(f"{node.output[0]}/sizes", sizes))
    return True


def _pad(node: NodeProto, known: _Known) -> bool:
    """Pads along some axes have no older form; pads of all axes have."""
    return not _input(node, 3)


def _scatter(node: NodeProto, known: _Known) -> bool:
    return all(entry.name != "reduction" or entry.s in (b"none", b"add", b"mul") for entry in node.attribute)


def _resize(node: NodeProto, known: _Known) -> bool:
    return all(entry.name not in ("antialias", "axes", "keep_aspect_ratio_policy") for entry in node.attribute)


def _input(node: NodeProto, place: int) -> str:
    return node.input[place] if len(node.input) > place else ""


_REDUCED = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
_LOWERED: dict[str, Callable[[NodeProto, _Known], bool]] = {
    **{f"Reduce{name}": _reduce for name in _REDUCED},
    "Split": _split,
    "Pad": _pad,
    "ScatterND": _scatter,
    "ScatterElements": _scatter,
    "Resize": _resize,
}
