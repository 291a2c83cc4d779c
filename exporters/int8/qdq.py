"""Where the pairs of QuantizeLinear (Q) and DequantizeLinear (DQ) go.

    x -> Q -> DQ -> Conv | Gemm | MatMul -> Q -> DQ ->         weights only:  x -> any operator ->
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


def tensors_of(ready: Prepared) -> list[Layer]:
    """For weights only: every trainable tensor of more than one axis, whoever reads it.

    Its scales go along the output channels of its layer, or else along the first axis.
    """
    axes = {layer.name: layer.axis for layer in layers_of(ready)}
    return [Layer(name, "", "", axes.get(name, 0)) for name, values in ready.values.items() if values.ndim > 1]


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
    weights = {layer.name: _weight(ready, layer, limit) for layer in layers}
    pairs = _Pairs(ready, ranges or {})
    by_output = {layer.output: layer for layer in layers if ranges is not None}
    outputs = {output.name for output in ready.graph.output}
    pairs.nodes += weights.values()
    for node in ready.graph.node:
        layer = by_output.get(node.output[0])
        if layer is not None:
            node.input[0] = pairs.behind(layer.input)
        for i, name in enumerate(node.input):
            if name in weights:
                node.input[i] = weights[name].output[0]
            elif name in by_output:
                node.input[i] = pairs.done.get(name, name)
        pairs.nodes.append(node)
        if layer is not None and layer.output not in outputs:
            pairs.behind(layer.output)
    del ready.graph.node[:]
    ready.graph.node.extend(pairs.nodes)


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


class _Pairs:
    """The nodes so far, and at most one pair behind each value."""

    def __init__(self, ready: Prepared, ranges: Mapping[str, float]) -> None:
        self._ready, self._ranges = ready, ranges
        self.nodes: list[NodeProto] = []
        self.done: dict[str, str] = {}

    def behind(self, value: str) -> str:
        """Name of the value after Q and DQ; they are put in unless they are there."""
        if value not in self.done:
            scale, zero, integers, result = f"{value}:scale", _zero(self._ready, ()), f"{value}:int8", f"{value}:float"
            set_initializer(self._ready.graph, scale, np.float32((self._ranges[value] or INT8_LIMIT) / INT8_LIMIT))
            self.nodes.append(helper.make_node("QuantizeLinear", [value, scale, zero], [integers]))
            self.nodes.append(helper.make_node("DequantizeLinear", [integers, scale, zero], [result]))
            self.done[value] = result
        return self.done[value]


def _zero(ready: Prepared, shape: tuple[int, ...]) -> str:
    name = "zero:" + "x".join(map(str, shape))
    set_initializer(ready.graph, name, np.zeros(shape, np.int8))
    return name
