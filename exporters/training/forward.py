"""The model as a list of steps: what its graph computes from windows and parameters, without all the rest.

An exported graph is full of arithmetic on shapes. Instead of understanding it, we run the model twice, with two batch
sizes, and look at every value:

    depends on neither windows nor parameters     a constant; its contents are what was seen
    a size that differs between the two runs      a multiple of the batch, written -k (see graph)
    all the others                                outputs of steps, whose shapes are now known

So a Reshape, Expand or Pad is known by its result. Operators with several outputs become one step per output.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, NodeProto, helper, numpy_helper

from exporters.training.graph import Shape
from runtime.engine.ort import open_session, session_options
from runtime.errors import InputError

_BATCHES = (3, 5)
_SIZES_ONLY = ("Shape", "Size")  # operators that look at no contents
INNER = ("Loop", "Scan", "If")  # with graphs of their own; what is in them is frozen
_SAME = ("Identity", "Dropout", "Cast", "CastLike")  # of float32 to float32


@dataclass(frozen=True)
class Step:
    """One operator with one output."""

    op: str
    inputs: tuple[str, ...]  # "" where an optional one is missing
    output: str
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Forward:
    """What a model computes."""

    steps: tuple[Step, ...]  # in an order in which they can be run
    shapes: dict[str, Shape]  # of all values but constants
    constants: dict[str, NDArray[Any]]
    parameters: dict[str, Shape]
    source: str  # what goes in: windows, or images
    logits: str  # the value that is the output of that name


def read_forward(data: bytes, parameters: Sequence[str]) -> Forward:
    """Read an exported model.

    Args:
        data: model.onnx.
        parameters: names of initializers that are not to be taken as constants.

    Raises:
        InputError: a parameter is no initializer of its own.
    """
    model = onnx.load_model_from_string(data)
    initializers = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for name in parameters:
        if name not in initializers:
            raise InputError(
                name,
                expected="an initializer of this name",
                got="none in the graph",
                fix="Export again; an optimiser may have merged it with an equal one.",
            )
    source = model.graph.input[0].name
    variable = _variable({source, *parameters}, model)
    small, large = (_observe(model, batch) for batch in _BATCHES)
    constants = {name: value for name, value in initializers.items() if name not in parameters}
    shapes = {name: initializers[name].shape for name in parameters}
    shapes[source] = (-1, *(dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim[1:]))
    for name in small:
        if name in variable and not isinstance(small[name], list):
            shapes[name] = _shape(name, np.shape(small[name]), np.shape(large[name]))
        elif name not in variable and (value := _common(small[name], large[name])) is not None:
            constants[name] = value
    maker = {name: node for node in model.graph.node for name in node.output}
    steps = [
        step for node in model.graph.node if variable.intersection(node.output) for step in _steps(node, maker, small)
    ]
    steps = [_as_opset_18(step, constants) for step in steps]
    kept, logits = _without_same(steps, "logits")
    return Forward(kept, shapes, constants, {name: initializers[name].shape for name in parameters}, source, logits)


def _variable(names: set[str], model: ModelProto) -> set[str]:
    """All that depends on the contents of these values."""
    for node in model.graph.node:
        if node.op_type not in _SIZES_ONLY and names.intersection(_reads(node)):
            names.update(name for name in node.output if name)
    return names


def _reads(node: NodeProto) -> tuple[str, ...]:
    """What a node reads; a loop's body may read any value of the graph around it."""
    inner = [entry.g for entry in node.attribute if entry.type == AttributeProto.GRAPH]
    return (*node.input, *(name for graph in inner for below in graph.node for name in _reads(below)))


def _observe(model: ModelProto, batch: int) -> dict[str, Any]:
    """Every value of one run on random windows; a sequence is a list."""
    watched = ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    names = [name for node in model.graph.node for name in node.output if name]
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = session_options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = open_session(watched.SerializeToString(), options=options)
    shape = session.get_inputs()[0].shape[1:]
    windows = np.random.default_rng(0).normal(size=(batch, *shape)).astype(np.float32)
    return dict(zip(names, session.run(names, {model.graph.input[0].name: windows}), strict=True))


def _shape(name: str, small: Shape, large: Shape) -> Shape:
    """The shape with multiples of the batch in it."""
    shape = []
    for a, b in zip(small, large, strict=True):
        multiple, rest = divmod(b - a, _BATCHES[1] - _BATCHES[0])
        if rest or (multiple and multiple * _BATCHES[0] != a):
            raise InputError(
                name,
                expected="sizes that are fixed or a multiple of the batch",
                got=f"{a} and {b} for batches of {_BATCHES[0]} and {_BATCHES[1]}",
                fix="Let each window be computed by itself.",
            )
        shape.append(-multiple if multiple else a)
    return tuple(shape)


def _common(small: Any, large: Any) -> NDArray[Any] | None:
    """What two runs have in common: all of it, or the one number that fills both; None if nothing."""
    small, large = np.asarray(small), np.asarray(large)
    if small.shape == large.shape:
        return small if np.array_equal(small, large) else None
    filled = small.reshape(-1)[:1]
    return filled.reshape((1,) * small.ndim) if (small == filled).all() and (large == filled).all() else None


def _steps(node: NodeProto, maker: dict[str, NodeProto], seen: dict[str, Any]) -> Iterator[Step]:
    """A node as steps with one output each."""
    attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    outputs, inputs = [*node.output], tuple(node.input)
    if node.op_type in ("LSTM", "GRU"):
        everything = outputs[0] or f"{outputs[1]}/all"
        yield Step(node.op_type, inputs, everything, attributes)
        if len(outputs) > 1 and outputs[1]:
            yield Step("Last", (everything,), outputs[1])
    elif node.op_type == "Split":
        yield from _parts(inputs[0], attributes, outputs, [seen[name] for name in outputs])
    elif node.op_type == "SequenceAt":  # what SplitToSequence makes is never needed as a whole
        sequence, place = maker[inputs[0]], int(seen[inputs[1]])
        attributes = {entry.name: helper.get_attribute_value(entry) for entry in sequence.attribute}
        names = ["" if i != place else outputs[0] for i in range(len(seen[inputs[0]]))]
        yield from _parts(sequence.input[0], attributes, names, seen[inputs[0]])
    elif node.op_type in INNER:
        for name in filter(None, outputs):
            yield Step(node.op_type, _reads(node), name)
    elif node.op_type != "SplitToSequence":
        yield Step(node.op_type, inputs, outputs[0], attributes)


def _as_opset_18(step: Step, constants: dict[str, NDArray[Any]]) -> Step:
    """The step as training graphs have it: until opset 17 the axes of ReduceMean and others are an attribute."""
    if not step.op.startswith("Reduce") or "axes" not in step.attributes:
        return step
    attributes, name = dict(step.attributes), f"{step.output}/axes"
    constants[name] = np.array(attributes.pop("axes"), np.int64)
    return Step(step.op, (step.inputs[0], name), step.output, attributes)


def _parts(
    source: str, attributes: dict[str, Any], names: Sequence[str], parts: Sequence[NDArray[Any]]
) -> Iterator[Step]:
    """A step for each part that has a name."""
    axis, begin = attributes.get("axis", 0), 0
    for name, part in zip(names, parts, strict=True):
        if name:
            yield Step("Part", (source,), name, {"axis": axis, "begin": begin, "length": part.shape[axis]})
        begin += part.shape[axis]


def _without_same(steps: Sequence[Step], wanted: str) -> tuple[tuple[Step, ...], str]:
    """The steps without those that only pass a value on, and what a value is called then."""
    origin: dict[str, str] = {}
    kept = []
    for step in steps:
        inputs = tuple(origin.get(name, name) for name in step.inputs)
        if step.op in _SAME:
            origin[step.output] = inputs[0]
        else:
            kept.append(Step(step.op, inputs, step.output, step.attributes))
    return tuple(kept), origin.get(wanted, wanted)
