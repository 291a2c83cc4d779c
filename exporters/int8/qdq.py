"""Where the pairs of QuantizeLinear (Q) and DequantizeLinear (DQ) go.

    x -> Q -> DQ -> Conv | Gemm | MatMul -> Q -> DQ ->         weights only:  x -> any operator ->
    int8 weight -> DQ --^     ^-- float bias                                  int8 weight -> DQ --^

One scale per value, one per output channel of a weight, zero points 0, no integer bias: TensorRT refuses any other.

A value that several layers take has a pair for each of them. On x86 onnxruntime turns int8 values into uint8, for which
it has the fast products, but only where one node reads a DQ; a layer with int8 before it and uint8 behind it runs in
float. Pairs of the same scale it would merge again, so each further scale is the next float32. What a layer gives to
several readers goes through a Max with the lowest float32, which changes nothing and is the DQ's one reader.

Q comes before a ReLU and again behind it. Behind it alone would do for TensorRT, but onnxruntime fuses that only with
uint8 and zero point 0, which TensorRT refuses, and else leaves the convolution in float.
What has no trainable weight of its own (attention's products, pools, normalisations, recurrences) stays in float.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from exporters.prepare import Prepared, attribute, set_initializer, uses
from runtime.bundle.variants import INT8_LIMIT, quantise

_OPERATORS = ("Conv", "Gemm", "MatMul")
_RECURRENT = ("LSTM", "GRU", "RNN")
_ON_THE_WAY = (  # from tensors to a weight that is laid out, or has its length taken off
    *("Transpose", "Reshape", "Unsqueeze", "Squeeze", "Concat", "Slice", "Split", "Gather", "Identity"),
    *("Mul", "Div", "ReduceL2", "ReduceSum", "ReduceSumSquare", "Pow", "Sqrt", "Abs", "Add", "Expand"),
)


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


def never_of(ready: Prepared) -> dict[str, str]:
    """Trainable tensors of more than one axis that no layer of `layers_of` has as its weight, and why not."""
    able = {layer.name for layer in layers_of(ready)}
    return {
        name: _why_not(ready, name) for name, values in ready.values.items() if values.ndim > 1 and name not in able
    }


def _why_not(ready: Prepared, name: str) -> str:
    """What becomes of a tensor: it is laid out for a recurrent net, made into a weight, or something else reads it."""
    found, first = {name}, ""
    for node in ready.graph.node:
        if not found.intersection(node.input):
            continue
        if node.op_type in _RECURRENT:
            return f"recurrent, {node.op_type}"
        if node.op_type in _OPERATORS and node.input[1] in found and node.input[1] != name:
            return f"a weight that is computed, of a {node.op_type}"
        first = first or node.op_type
        if node.op_type in _ON_THE_WAY:
            found.update(node.output)
    return f"read by {first}"


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
    read = uses(ready.graph)
    pairs.nodes += weights.values()
    for node in ready.graph.node:
        layer = by_output.get(node.output[0])
        if layer is not None:
            alone = layer.input in by_output and read[layer.input] == 1
            node.input[0] = pairs.done[layer.input] if alone else pairs.for_one(layer.input)
        for i, name in enumerate(node.input):
            if name in weights:
                node.input[i] = weights[name].output[0]
            elif name in by_output:
                node.input[i] = pairs.done.get(name, name)
        pairs.nodes.append(node)
        if layer is not None and layer.output not in outputs:
            pairs.behind(layer.output, fan_out=read[layer.output] > 1)
    del ready.graph.node[:]
    ready.graph.node.extend(pairs.nodes)


def _weight(ready: Prepared, layer: Layer, limit: int) -> NodeProto:
    """The weight as int8 with its scales, and the node that gives it back as float."""
    name, scale = layer.name, f"{layer.name}:scale"
    integers, scales = quantise(ready.values[name], layer.axis, limit)
    set_initializer(ready.graph, name, integers)
    set_initializer(ready.graph, scale, scales)
    zero = _zero(ready, scales.shape)
    ready.places[name] = replace(ready.places[name], dtype="int8", axis=layer.axis)
    ready.scales[name] = scale
    return helper.make_node("DequantizeLinear", [name, scale, zero], [f"{name}:float"], axis=layer.axis)


class _Pairs:
    """The nodes so far, and the pairs behind each value."""

    def __init__(self, ready: Prepared, ranges: Mapping[str, float]) -> None:
        self._ready, self._ranges = ready, ranges
        self.nodes: list[NodeProto] = []
        self.done: dict[str, str] = {}
        self._readers: Counter[str] = Counter()

    def behind(self, value: str, *, fan_out: bool) -> None:
        """A pair behind what a layer gives; `done` has the name of the result."""
        self.done[value] = self._pair(value, value, "", self._scale(value))
        if fan_out:
            set_initializer(self._ready.graph, "lowest", np.float32(np.finfo(np.float32).min))
            self.nodes.append(helper.make_node("Max", [self.done[value], "lowest"], [f"{value}:shared"]))
            self.done[value] = f"{value}:shared"

    def for_one(self, value: str) -> str:
        """Name of a value after a pair for one reader alone."""
        self._readers[value] += 1
        n, scale = self._readers[value], self._scale(value)
        for _ in range(n):
            scale = np.nextafter(scale, np.float32(np.inf), dtype=np.float32)
        return self._pair(value, self.done.get(value, value), f":{n}", scale)

    def _scale(self, value: str) -> NDArray[np.float32]:
        return np.array((self._ranges[value] or INT8_LIMIT) / INT8_LIMIT, np.float32)

    def _pair(self, value: str, source: str, suffix: str, scale: NDArray[np.float32]) -> str:
        names = [f"{value}:{what}{suffix}" for what in ("scale", "int8", "float")]
        zero = _zero(self._ready, ())
        set_initializer(self._ready.graph, names[0], scale)
        self.nodes.append(helper.make_node("QuantizeLinear", [source, names[0], zero], [names[1]]))
        self.nodes.append(helper.make_node("DequantizeLinear", [names[1], names[0], zero], [names[2]]))
        return names[2]


def _zero(ready: Prepared, shape: tuple[int, ...]) -> str:
    name = "zero:" + "x".join(map(str, shape))
    set_initializer(ready.graph, name, np.zeros(shape, np.int8))
    return name
