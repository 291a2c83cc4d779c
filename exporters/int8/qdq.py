"""Where the pairs of QuantizeLinear (Q) and DequantizeLinear (DQ) go.

    x -> Q -> DQ -> Conv | Gemm | MatMul -> Q -> DQ ->         weights only:  x -> Conv ->
    int8 weight -> DQ --^     ^-- float bias                                  int8 weight -> DQ --^

One scale per value, one per output channel of a weight, zero points 0, no integer bias: TensorRT refuses any other.
What has no trainable weight of its own (attention's products, pools, normalisations, recurrences) stays in float.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
from onnx import NodeProto, helper

from exporters.prepare import Prepared, attribute, set_initializer, uses
from runtime.variants import INT8_LIMIT, quantize

_OPERATORS = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True)
class Layer:
    """A node that can compute in int8."""

    name: str  # of its weight, a trainable tensor
    input: str  # the value it takes
    output: str  # the value it gives
    axis: int  # of the weight: its output channels


def layers_of(ready: Prepared) -> list[Layer]:
    """Every node with a trainable weight that nothing else reads, in the order of the graph."""
    read = uses(ready.graph)
    return [
        Layer(node.input[1], node.input[0], node.output[0], _axis(node, ready))
        for node in ready.graph.node
        if node.op_type in _OPERATORS
        and node.input[1] in ready.places
        and ready.values[node.input[1]].ndim > 1
        and read[node.input[1]] == 1
        and node.input[0] not in ready.places
        and not attribute(node, "transA", 0)
    ]


def _axis(node: NodeProto, ready: Prepared) -> int:
    if node.op_type == "Conv" or attribute(node, "transB", 0):
        return 0
    return ready.values[node.input[1]].ndim - 1


def insert_pairs(ready: Prepared, layers: Collection[Layer], ranges: Mapping[str, float] | None, limit: int) -> None:
    """Put the pairs in.

    Args:
        ready: changed in place.
        layers: those that become int8.
        ranges: of the values that they take and give; None: only the weights become int8.
        limit: of the weights' integers.
    """
    by_output = {layer.output: layer for layer in layers}
    outputs = {output.name for output in ready.graph.output}
    nodes: list[NodeProto] = []
    done: dict[str, str] = {}
    for node in ready.graph.node:
        layer = by_output.get(node.output[0])
        if layer is not None:
            nodes.append(_weight(ready, layer, limit))
            node.input[1] = nodes[-1].output[0]
            if ranges is not None:
                node.input[0] = _pair(ready, nodes, done, layer.input, ranges)
        for i, name in enumerate(node.input):
            node.input[i] = done.get(name, name) if name in by_output else name
        nodes.append(node)
        if layer is not None and ranges is not None and layer.output not in outputs:
            _pair(ready, nodes, done, layer.output, ranges)
    del ready.graph.node[:]
    ready.graph.node.extend(nodes)


def _weight(ready: Prepared, layer: Layer, limit: int) -> NodeProto:
    """The weight as int8 with its scales, and the node that gives it back as float."""
    name, scale = layer.name, f"{layer.name}:scale"
    integers, scales = quantize(ready.values[name], layer.axis, limit)
    set_initializer(ready.graph, name, integers)
    set_initializer(ready.graph, scale, scales)
    zero = _zero(ready, scales.shape)
    ready.places[name] = replace(ready.places[name], dtype="int8", axis=layer.axis)
    ready.scales[name] = scale
    return helper.make_node("DequantizeLinear", [name, scale, zero], [f"{name}:float"], axis=layer.axis)


def _pair(
    ready: Prepared, nodes: list[NodeProto], done: dict[str, str], value: str, ranges: Mapping[str, float]
) -> str:
    """Q and DQ behind a value, once; the name of the result."""
    if value not in done:
        scale, zero, integers, result = f"{value}:scale", _zero(ready, ()), f"{value}:int8", f"{value}:float"
        set_initializer(ready.graph, scale, np.float32((ranges[value] or INT8_LIMIT) / INT8_LIMIT))
        nodes.append(helper.make_node("QuantizeLinear", [value, scale, zero], [integers]))
        nodes.append(helper.make_node("DequantizeLinear", [integers, scale, zero], [result]))
        done[value] = result
    return done[value]


def _zero(ready: Prepared, shape: tuple[int, ...]) -> str:
    name = "zero:" + "x".join(map(str, shape))
    set_initializer(ready.graph, name, np.zeros(shape, np.int8))
    return name
