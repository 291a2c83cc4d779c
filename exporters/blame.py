"""Which node an engine gets wrong: the first one, in the order in which they run.

    float32    every node by itself, given the reference's own inputs: errors of earlier nodes do not count
    variant    every value that it shares by name with the float32 graph, as the whole graph computes them

The reference is onnx's evaluator in float64. A fault that needs several nodes, such as a wrong fusion, shows in no node
by itself: then there is none to blame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from exporters.parity import graph_inputs
from exporters.reference import every_value
from runtime.bundle import Bundle
from runtime.engine import ENGINES
from runtime.errors import InputError
from runtime.progress import ShowProgress, silent
from runtime.specs import FLOAT32

Feeds = Mapping[str, NDArray[Any]]
RunModel = Callable[[bytes, Feeds, Sequence[str]], Sequence[NDArray[Any]]]

_TINY = 1e-12
_WINDOWS = 2  # a reference is slow, and one window may hide an error in the batch
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16))


@dataclass(frozen=True)
class NodeDifference:
    """A node whose output an engine gets wrong."""

    place: int  # in the float32 graph, from 0
    op: str
    output: str
    relative: float  # the largest error as a share of the largest value
    by_itself: bool  # given the reference's inputs; False: with whatever errors came before


def first_difference(
    bundle: Bundle,
    engine: str = "onnxruntime",
    *,
    precision: str = FLOAT32,
    tolerance: float,
    run: RunModel | None = None,
    progress: ShowProgress = silent,
) -> NodeDifference | None:
    """The first node that is off by more than `tolerance`, or None.

    Args:
        bundle: in the version that is to be looked into.
        engine: onnxruntime with any provider, or openvino.
        precision: "float32" or that of a variant.
        tolerance: of an error, as a share of the largest value of the node's output.
        run: (model, inputs by name, names of outputs) -> outputs, in place of the engine's.
        progress: told (nodes done, nodes in all, what comes next).

    Raises:
        InputError: an engine that runs no single nodes.
    """
    run = run or runner(engine)
    golden = bundle.golden().windows
    inputs = graph_inputs(bundle.manifest, golden[:_WINDOWS])
    model = onnx.load_model_from_string(bundle.model())
    truth = every_value(model, inputs)
    if precision != FLOAT32:
        variant = onnx.load_model_from_string(bundle.model(precision))
        return _by_value(model, variant, truth, inputs, tolerance, run)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = [node for node in model.graph.node if all(_is_array(truth.get(name)) for name in node.output if name)]
    for done, node in enumerate(nodes):
        progress(done, len(nodes), node.op_type)
        found = _alone(model, node, constants, truth, run)
        for name, value in found.items():
            error = _error(value, truth[name])
            if not error <= tolerance:
                place = next(i for i, other in enumerate(model.graph.node) if name in other.output)
                return NodeDifference(place, node.op_type, name, error, by_itself=True)
    progress(len(nodes), len(nodes), "done")
    return None


def runner(engine: str) -> RunModel:
    """What runs a model of one node for an engine.

    Raises:
        InputError: an engine that runs no single nodes.
    """
    if engine == "openvino":
        return _openvino
    if engine.split("-")[0] != "onnxruntime":
        raise InputError(
            "engine",
            expected="onnxruntime, one of its providers, or openvino",
            got=engine,
            fix="For TensorRT look with onnxruntime-tensorrt.",
        )
    provider = ENGINES[engine].provider

    def run(model: bytes, feeds: Feeds, outputs: Sequence[str]) -> Sequence[NDArray[Any]]:
        from runtime.engine.ort import open_session

        session = open_session(model, provider=provider)
        found: Sequence[NDArray[Any]] = session.run(list(outputs), dict(feeds))
        return found

    return run


def _openvino(model: bytes, feeds: Feeds, outputs: Sequence[str]) -> Sequence[NDArray[Any]]:
    from runtime.engine.openvino import library

    core = library().Core()
    options = {"INFERENCE_PRECISION_HINT": "f32"}  # or else bfloat16, where the processor has it
    compiled = core.compile_model(core.read_model(model, b""), "CPU", options)
    result = compiled(dict(feeds))
    return [np.asarray(result[name]) for name in outputs]


def _alone(
    model: ModelProto, node: NodeProto, constants: Mapping[str, TensorProto], truth: Feeds, run: RunModel
) -> dict[str, NDArray[Any]]:
    """A node's outputs that are floating-point numbers, given the reference's inputs; shapes and axes as constants."""
    inputs = [name for name in dict.fromkeys(node.input) if name and name not in constants]
    whole = [name for name in inputs if np.asarray(truth[name]).dtype not in _FLOATS]
    given = {name: _narrow(truth[name]) for name in inputs if name not in whole}
    names = [name for name in node.output if name and np.asarray(truth[name]).dtype in _FLOATS]
    if not names:
        return {}
    graph = helper.make_graph(
        [node],
        "alone",
        [_info(name, value) for name, value in given.items()],
        [onnx.ValueInfoProto(name=name) for name in names],
        [
            *(constants[name] for name in dict.fromkeys(node.input) if name in constants),
            *(numpy_helper.from_array(np.asarray(truth[name]), name) for name in whole),
        ],
    )
    for value in graph.output:
        value.CopyFrom(_info(value.name, _narrow(truth[value.name])))
    alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    try:
        return dict(zip(names, run(alone.SerializeToString(), given, names), strict=True))
    except Exception as error:  # engines' errors share no base class
        raise InputError(
            f"{node.op_type} -> {names[0]}",
            expected="a node that this engine runs by itself",
            got=str(error).strip().splitlines()[-1],
            fix="Look with another engine.",
        ) from error


def _by_value(
    model: ModelProto,
    variant: ModelProto,
    truth: Feeds,
    inputs: NDArray[np.float32],
    tolerance: float,
    run: RunModel,
) -> NodeDifference | None:
    """The first shared value that is off; a variant's graph has other nodes, but the values keep their names."""
    made = {name for node in variant.graph.node for name in node.output}
    shared = [
        (place, node.op_type, name)
        for place, node in enumerate(model.graph.node)
        for name in node.output
        if name in made and np.asarray(truth[name]).dtype in _FLOATS
    ]
    del variant.graph.output[:]
    variant.graph.output.extend(onnx.ValueInfoProto(name=name) for _, _, name in shared)
    found = run(variant.SerializeToString(), {model.graph.input[0].name: inputs}, [name for _, _, name in shared])
    for (place, op, name), value in zip(shared, found, strict=True):
        error = _error(value, truth[name])
        if not error <= tolerance:
            return NodeDifference(place, op, name, error, by_itself=False)
    return None


def _info(name: str, value: NDArray[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)


def _narrow(value: Any) -> NDArray[Any]:
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic)


def _error(found: NDArray[Any], expected: NDArray[Any]) -> float:
    if np.shape(found) != np.shape(expected):
        return float("inf")
    largest = float(np.abs(expected).max(initial=0.0))
    return float(np.abs(found.astype(np.float64) - expected).max(initial=0.0)) / max(largest, _TINY)
