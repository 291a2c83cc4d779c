"""A graph made ready for another precision, and the way back to bytes.

    Conv -> BatchNormalization        Conv with the normalisation folded in       engines do so for float32 themselves,
    weight -> Transpose -> MatMul     MatMul with the weight as it is used        but not once a weight is int8

What becomes of each trainable tensor is kept as `VariantTensor`, so that a device can do the same with its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx
import onnx_ir
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from exporters.offsets import initializer_offsets
from exporters.simplify import simplify
from exporters.variants import Variant
from runtime.bundle import Manifest
from runtime.bundle.contents import FoldedNorm, VariantSpec, VariantTensor
from runtime.bundle.variants import folded, write_tensors

_TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "int8": TensorProto.INT8}


@dataclass
class Prepared:
    """A graph that may be changed, and by initializer what lies there."""

    proto: ModelProto
    places: dict[str, VariantTensor]  # by initializer; offsets are not known yet
    scales: dict[str, str]  # initializer -> the initializer with its scales
    values: dict[str, NDArray[np.float32]]  # by initializer, folded and transposed, before any cast
    model: bytes  # of model.onnx
    tensors: Mapping[str, NDArray[np.float32]]  # trainable, as shipped

    @property
    def graph(self) -> GraphProto:
        """The graph of `proto`."""
        return self.proto.graph


def prepare(model: bytes, manifest: Manifest) -> Prepared:
    """Read model.onnx, simplify it, fold normalisations into convolutions, swap the axes of weights that it swaps.

    Args:
        model: the shipped bytes of model.onnx.
        manifest: of its bundle.
    """
    offsets = initializer_offsets(model)
    tensors = {
        spec.name: np.frombuffer(model, "<f4", int(np.prod(spec.shape)), spec.offset).reshape(spec.shape)
        for spec in manifest.tensors
    }
    intermediate = onnx_ir.from_proto(onnx.load_from_string(model))
    simplify(intermediate, tensors)
    proto = onnx_ir.to_proto(intermediate)
    places = {name: VariantTensor(name, "float32", 0) for name in tensors}
    starts = {name: at for name, (at, _) in offsets.items()}
    ready = Prepared(proto, places, {}, {}, model, tensors)
    _fold_norms(ready, starts)
    _swap_axes(ready)
    _store(ready)
    return ready


def uses(graph: GraphProto) -> Counter[str]:
    """How often each value is read; being an output of the graph counts."""
    return Counter([name for node in graph.node for name in node.input] + [output.name for output in graph.output])


def attribute(node: NodeProto, name: str, default: int | float) -> int | float:
    """A number among a node's attributes."""
    found = next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)
    assert isinstance(found, int | float)
    return found


def _fold_norms(ready: Prepared, starts: Mapping[str, int]) -> None:
    read = uses(ready.graph)
    producers = {output: node for node in ready.graph.node for output in node.output}
    for node in [node for node in ready.graph.node if node.op_type == "BatchNormalization"]:
        conv = producers.get(node.input[0])
        if conv is not None and _can_fold(conv, node, read, ready, starts):
            weight, bias, mean, variance = node.input[1:5]
            epsilon = float(attribute(node, "epsilon", 1e-5))
            norm = FoldedNorm(weight, bias, starts[mean], starts[variance], epsilon)
            old = conv.input[2] if len(conv.input) > 2 and conv.input[2] in ready.tensors else ""
            new = old or f"{conv.input[1]}:bias"
            ready.places[conv.input[1]] = replace(ready.places[conv.input[1]], norm=norm)
            ready.places[new] = VariantTensor(old, "float32", 0, norm=norm)
            del ready.places[weight], ready.places[bias], conv.input[2:]
            conv.input.append(new)
            conv.output[0] = node.output[0]
            ready.graph.node.remove(node)


def _can_fold(conv: NodeProto, norm: NodeProto, read: Counter[str], ready: Prepared, starts: Mapping[str, int]) -> bool:
    """Whether a convolution feeds nothing but this normalisation and no tensor of theirs is used elsewhere."""
    bias = [] if _zero_bias(conv, ready.graph) else conv.input[2:]
    trainable = [conv.input[1], *bias, *norm.input[1:3]] if conv.op_type == "Conv" else []
    return (
        bool(trainable)
        and read[conv.output[0]] == 1
        and all(read[name] == 1 and name in ready.tensors for name in trainable if name)
        and all(name in starts for name in norm.input[3:5])
    )


def _zero_bias(conv: NodeProto, graph: GraphProto) -> bool:
    """Whether its bias is a constant 0, as torch writes a convolution without one."""
    constants = [tensor for tensor in graph.initializer if tensor.name in conv.input[2:]]
    return len(constants) == 1 and not numpy_helper.to_array(constants[0]).any()


def _swap_axes(ready: Prepared) -> None:
    read = uses(ready.graph)
    for node in [node for node in ready.graph.node if node.op_type == "Transpose"]:
        name, swapped = node.input[0], node.output[0]
        readers = [reader for reader in ready.graph.node if swapped in reader.input]
        only_matmul = all(reader.op_type == "MatMul" and reader.input[1] == swapped for reader in readers)
        if name in ready.tensors and ready.tensors[name].ndim == 2 and read[name] == 1 and only_matmul:
            for reader in readers:
                reader.input[1] = name
            ready.places[name] = replace(ready.places[name], transposed=True)
            ready.graph.node.remove(node)


def _store(ready: Prepared) -> None:
    """Initializers as they are used now, without those that nothing reads."""
    for name, place in ready.places.items():
        ready.values[name] = folded(place, ready.tensors, ready.model)
    read = uses(ready.graph)
    kept = [tensor for tensor in ready.graph.initializer if tensor.name in read and tensor.name not in ready.places]
    trained = [numpy_helper.from_array(values, name) for name, values in ready.values.items()]
    del ready.graph.initializer[:], ready.graph.value_info[:]  # shapes of before
    ready.graph.initializer.extend([*trained, *kept])


def set_initializer(graph: GraphProto, name: str, values: NDArray[np.generic]) -> None:
    """Add an initializer of any shape, raw, or replace the one of this name."""
    tensor = numpy_helper.from_array(np.asarray(values), name)
    for old in graph.initializer:
        if old.name == name:
            old.CopyFrom(tensor)
            return
    graph.initializer.append(tensor)


def finish(ready: Prepared, spec: VariantSpec) -> Variant:
    """Serialise a graph whose initializers are of the types that `ready.places` says, and note where they lie."""
    onnx.checker.check_model(ready.proto)
    data = bytearray(ready.proto.SerializeToString())
    starts = {name: at for name, (at, _) in initializer_offsets(bytes(data)).items()}
    places = []
    for name, place in ready.places.items():
        scale = ready.scales.get(name)
        places.append(replace(place, offset=starts[name], scale_offset=None if scale is None else starts[scale]))
    spec = replace(spec, tensors=tuple(places))
    write_tensors(data, spec, ready.tensors, ready.model)  # the rule of the device, to the bit
    return Variant(spec, bytes(data))
