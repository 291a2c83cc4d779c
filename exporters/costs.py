"""What one window costs in each layer of a graph: products, parameters, memory.

A node belongs to the deepest layer among the trainable tensors that it, or anything before it, reads; what comes before
all of them is the front-end. Shapes are seen, not inferred: the graph runs once on one window of zeros.

    MACs           every product of a convolution, a matrix multiplication or a recurrent net is one; biases, norms,
                   activations and pools are none
    activations    what a layer's nodes write for a window; a Reshape and its like write nothing, and what depends on no
                   window is computed once, when an engine opens the graph
    peak           of values that are alive at once, each from the node that writes it to the last that reads it
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import onnx
import onnxruntime
from onnx import ModelProto, NodeProto, helper, numpy_helper

from exporters.offsets import layer_name
from exporters.simplify import operators
from runtime.bundle import Manifest
from runtime.engine.ort import open_session, session_options

FRONT_END = -1
_VIEWS = ("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity")
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_FLOAT_BYTES = 4

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs, for one window."""

    layer: int  # as TensorSpec.layer counts; -1 is the front-end
    name: str
    nodes: int
    parameters: int
    macs: int
    activation_bytes: int


@dataclass(frozen=True)
class GraphCost:
    """What a graph costs, for one window."""

    opset: int
    ir_version: int
    operators: dict[str, int]  # the most frequent first
    layers: tuple[LayerCost, ...]
    parameters: int  # that can be trained
    macs: int
    weight_bytes: int  # of all initializers
    peak_activation_bytes: int


def graph_cost(data: bytes, manifest: Manifest) -> GraphCost:
    """Count a model's costs.

    Args:
        data: model.onnx.
        manifest: of the same bundle.
    """
    model = onnx.load_model_from_string(data)
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    shapes = _seen(model, manifest.input_shape) | {name: array.shape for name, array in arrays.items()}
    varying = _varying(model)
    owner = _owners(model, {spec.name: spec.layer for spec in manifest.tensors}, set(arrays))
    return GraphCost(
        opset=max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")),
        ir_version=model.ir_version,
        operators=operators(model),
        layers=tuple(_layers(model, manifest, shapes, owner, varying)),
        parameters=sum(math.prod(spec.shape) for spec in manifest.tensors),
        macs=sum(node_macs(node, shapes) for node in model.graph.node),
        weight_bytes=sum(array.nbytes for array in arrays.values()),
        peak_activation_bytes=_peak_bytes(model, shapes, varying),
    )


def node_macs(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    """The products of one node; `shapes` has all of its values."""
    count = _MACS.get(node.op_type)
    return count(node, [shapes.get(name, ()) for name in node.input], shapes[node.output[0]]) if count else 0


def _seen(model: ModelProto, input_shape: Shape) -> dict[str, Shape]:
    """The shape of every value for a batch of one, from a run."""
    import numpy as np

    watched = ModelProto()
    watched.CopyFrom(model)
    names = [name for node in model.graph.node for name in node.output if name]
    del watched.graph.output[:]
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = session_options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = open_session(watched.SerializeToString(), options=options)
    source = model.graph.input[0].name
    values = session.run(names, {source: np.zeros((1, *input_shape), np.float32)})
    seen = {name: tuple(np.shape(value)) for name, value in zip(names, values, strict=True)}
    return seen | {source: (1, *input_shape)}


def _owners(model: ModelProto, layers: Mapping[str, int], constants: set[str]) -> list[int]:
    """The layer of each node."""
    reached = {name: FRONT_END for name in constants} | dict(layers)
    owners = []
    for node in model.graph.node:
        layer = max((reached.get(name, FRONT_END) for name in node.input), default=FRONT_END)
        owners.append(layer)
        reached.update(dict.fromkeys(node.output, layer))
    return owners


def _layers(
    model: ModelProto, manifest: Manifest, shapes: Mapping[str, Shape], owners: Sequence[int], varying: set[str]
) -> list[LayerCost]:
    names = {spec.layer: layer_name(spec.name) for spec in reversed(manifest.tensors)} | {FRONT_END: "front-end"}
    costs = []
    for layer, name in sorted(names.items()):
        nodes = [node for node, owner in zip(model.graph.node, owners, strict=True) if owner == layer]
        costs.append(
            LayerCost(
                layer,
                name,
                len(nodes),
                sum(math.prod(spec.shape) for spec in manifest.tensors if spec.layer == layer),
                sum(node_macs(node, shapes) for node in nodes),
                sum(sum(_written(node, shapes, varying).values()) for node in nodes),
            )
        )
    return costs


def _varying(model: ModelProto) -> set[str]:
    """The values that depend on the windows."""
    names = {model.graph.input[0].name}
    for node in model.graph.node:
        if node.op_type not in ("Shape", "Size") and names.intersection(node.input):
            names.update(name for name in node.output if name)
    return names


def _written(node: NodeProto, shapes: Mapping[str, Shape], varying: set[str]) -> dict[str, int]:
    """The bytes of each value that a node writes for a window."""
    names = () if node.op_type in _VIEWS else varying.intersection(node.output)
    return {name: _FLOAT_BYTES * math.prod(shapes[name]) for name in names}


def _peak_bytes(model: ModelProto, shapes: Mapping[str, Shape], varying: set[str]) -> int:
    """The most that is alive at once; a view keeps alive what it looks at."""
    origin: dict[str, str] = {}
    last: dict[str, int] = {}
    for place, node in enumerate(model.graph.node):
        if node.op_type in _VIEWS:
            origin[node.output[0]] = origin.get(node.input[0], node.input[0])
        for name in (*node.input, *node.output):
            last[origin.get(name, name)] = place
    for value in model.graph.output:
        last[origin.get(value.name, value.name)] = len(model.graph.node)
    source = model.graph.input[0].name
    alive = {source: _FLOAT_BYTES * math.prod(shapes[source])}
    most = 0
    for place, node in enumerate(model.graph.node):
        alive |= _written(node, shapes, varying)
        most = max(most, sum(alive.values()))
        alive = {name: size for name, size in alive.items() if last.get(name, -1) > place}
    return most


def _conv(node: NodeProto, inputs: Sequence[Shape], output: Shape) -> int:
    return math.prod(output) * math.prod(inputs[1][1:])


def _transposed_conv(node: NodeProto, inputs: Sequence[Shape], output: Shape) -> int:
    return math.prod(inputs[0]) * math.prod(inputs[1][1:])


def _matmul(node: NodeProto, inputs: Sequence[Shape], output: Shape) -> int:
    return math.prod(output) * inputs[0][-1]


def _gemm(node: NodeProto, inputs: Sequence[Shape], output: Shape) -> int:
    transposed = any(entry.name == "transA" and entry.i for entry in node.attribute)
    return math.prod(output) * inputs[0][0 if transposed else 1]


def _recurrent(node: NodeProto, inputs: Sequence[Shape], output: Shape) -> int:
    """X is (steps, batch, n_inputs), R is (directions, gates x units, units)."""
    steps, batch, n_inputs = inputs[0]
    directions, rows, units = inputs[2]
    assert rows == _GATES[node.op_type] * units
    return steps * batch * directions * rows * (n_inputs + units)


def _einsum(node: NodeProto, inputs: Sequence[Shape], output: Shape) -> int:
    equation = next(helper.get_attribute_value(entry) for entry in node.attribute).decode()
    sizes: dict[str, int] = {}
    for letters, shape in zip(equation.partition("->")[0].split(","), inputs, strict=True):
        sizes.update(zip(letters.strip(), shape, strict=True))
    return math.prod(sizes.values())


_MACS: Mapping[str, Callable[[NodeProto, Sequence[Shape], Shape], int]] = {
    "Conv": _conv,
    "ConvTranspose": _transposed_conv,
    "Einsum": _einsum,
    "GRU": _recurrent,
    "Gemm": _gemm,
    "LSTM": _recurrent,
    "MatMul": _matmul,
    "RNN": _recurrent,
}
