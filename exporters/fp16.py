"""A bundle's graph in float16, with float32 inputs and outputs.

    windows -> front-end (float32) -> Cast -> layers (float16) -> Cast -> features, logits
                                              softmax, sums, layer norms: Cast -> float32 -> Cast

A node computes in float16 if a trainable tensor comes before it, unless its operator loses too much there.
No node mixes the two types: TensorRT refuses a graph where one does. What comes before the first trainable tensor is
the front-end: units of a sensor, powers of a spectrogram, logarithms.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from exporters.prepare import Prepared, finish, prepare, set_initializer
from exporters.variants import Variant
from runtime.bundle import Manifest
from runtime.bundle.contents import VariantSpec
from runtime.errors import InputError

FP16 = "fp16"
_LARGEST = float(np.finfo(np.float16).max)
# They add up many numbers, divide by a small one, or raise to a power; or they want float32 for a shape.
SENSITIVE: Final = frozenset(
    {"BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization", "LpNormalization"}
    | {"Softmax", "LogSoftmax", "Softplus", "Exp", "Erf", "Log", "Pow", "Sqrt", "Reciprocal", "CumSum"}
    | {"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMean", "ReduceProd", "ReduceSum"}
    | {"ReduceSumSquare", "Range", "Resize", "If", "Loop", "Scan"}
)


def to_fp16(model: bytes, manifest: Manifest) -> Variant:
    """Convert model.onnx to float16.

    Args:
        model: the shipped bytes of model.onnx.
        manifest: of its bundle.

    Raises:
        InputError: a weight is beyond float16.
    """
    ready = prepare(model, manifest)
    for name, values in ready.values.items():
        if np.abs(values).max(initial=0) > _LARGEST:
            raise InputError(
                name,
                expected=f"numbers of at most {_LARGEST:.0f}",
                got=f"{np.abs(values).max():g}",
                fix="Keep float32.",
            )
    half = _half_nodes(ready)
    _Casts(ready, half).apply()
    kept = sorted({node.op_type for node in ready.graph.node} & SENSITIVE)
    return finish(ready, VariantSpec(FP16, f"variants/{FP16}.onnx", (), record={"float32_operators": kept}))


def _half_nodes(ready: Prepared) -> set[str]:
    """The first output of each node that computes in float16."""
    touched, half = set(ready.places), set()
    for node in ready.graph.node:  # in topological order
        if not touched.isdisjoint(node.input):
            touched.update(node.output)
            if node.op_type not in SENSITIVE:
                half.add(node.output[0])
    return half


class _Casts:
    """Gives every node inputs of its own type, with one Cast per value and type."""

    def __init__(self, ready: Prepared, half: set[str]) -> None:
        self._ready, self._half = ready, half
        self._graph: GraphProto = ready.graph
        self._floats = _float_values(ready)
        self._are_half = {name for node in ready.graph.node if node.output[0] in half for name in node.output}
        self._initializers = {tensor.name: tensor for tensor in ready.graph.initializer}
        self._nodes: list[NodeProto] = []
        self._done: dict[tuple[str, int], str] = {}

    def apply(self) -> None:
        self._convert_initializers()
        for node in list(self._graph.node):
            half = node.output[0] in self._half
            for i, name in enumerate(node.input):
                if name in self._floats and (name in self._are_half) != half:
                    node.input[i] = self._cast(name, TensorProto.FLOAT16 if half else TensorProto.FLOAT)
            if half and node.op_type == "Cast":
                for attribute in node.attribute:
                    attribute.i = TensorProto.FLOAT16 if attribute.i == TensorProto.FLOAT else attribute.i
            self._nodes.append(node)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        self._outputs()

    def _convert_initializers(self) -> None:
        """In float16 if a node of float16 reads it; whoever else does gets a Cast."""
        read = {name for node in self._graph.node if node.output[0] in self._half for name in node.input}
        for name, tensor in self._initializers.items():
            if name in read and name in self._floats:
                values = np.clip(numpy_helper.to_array(tensor), -_LARGEST, _LARGEST)  # a mask of -1e38, say
                set_initializer(self._graph, name, values.astype(np.float16))
                self._are_half.add(name)
                if name in self._ready.places:
                    self._ready.places[name] = replace(self._ready.places[name], dtype="float16")

    def _cast(self, name: str, to: int) -> str:
        if (name, to) not in self._done:
            self._done[name, to] = f"{name}:{'half' if to == TensorProto.FLOAT16 else 'float'}"
            self._nodes.append(helper.make_node("Cast", [name], [self._done[name, to]], to=to))
        return self._done[name, to]

    def _outputs(self) -> None:
        """Float32 under their own names."""
        for output in self._graph.output:
            if output.name in self._are_half:
                inside = f"{output.name}:inside"
                for node in self._graph.node:
                    _rename(node.input, output.name, inside)
                    _rename(node.output, output.name, inside)
                self._graph.node.append(helper.make_node("Cast", [inside], [output.name], to=TensorProto.FLOAT))


def _rename(names: list[str], old: str, new: str) -> None:
    for i, name in enumerate(names):
        if name == old:
            names[i] = new


def _float_values(ready: Prepared) -> set[str]:
    """Names of all values and initializers of type float32."""
    inferred = shape_inference.infer_shapes(ready.proto, strict_mode=True, data_prop=True).graph
    values = {
        value.name
        for value in (*inferred.value_info, *inferred.input, *inferred.output)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    return values | {tensor.name for tensor in ready.graph.initializer if tensor.data_type == TensorProto.FLOAT}
