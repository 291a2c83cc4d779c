"""What a graph computes of constants alone, computed once: weights that are turned, laid out or stacked on the way.

weight -> Transpose -> MatMul          weight' -> MatMul
Constant -> Unsqueeze -> Conv          weight' -> Conv
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, NodeProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from exporters.own.read import PLAIN, initializers

_DRAWS = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial")
_GRAPHS = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
_LARGEST_NUMBERS = 1 << 26  # of what is computed here


def fold(model: ModelProto) -> None:
    """Compute what depends on no input, in place, and drop what nobody reads."""
    known, kept = initializers(model), []
    outputs = {value.name for value in model.graph.output}
    for node in model.graph.node:
        found = None if outputs.intersection(node.output) else _computed(node, known, model)
        if found is None:
            kept.append(node)
        else:
            known.update(found)
    _replace(model, kept, known)


def sweep(model: ModelProto) -> None:
    """Drop nodes whose values nobody reads, and initializers that nobody reads, in place."""
    wanted, kept = {value.name for value in model.graph.output}, []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted |= reads(node)
    _replace(model, kept[::-1], initializers(model))


def reads(node: NodeProto) -> set[str]:
    """Values that a node reads, those of its inner graphs included."""
    found = {name for name in node.input if name}
    for entry in node.attribute:
        for graph in [*([entry.g] if entry.type == AttributeProto.GRAPH else []), *entry.graphs]:
            found |= {name for inner in graph.node for name in reads(inner)} | {value.name for value in graph.output}
    return found


def _replace(model: ModelProto, nodes: list[NodeProto], values: dict[str, NDArray[Any]]) -> None:
    read = {name for node in nodes for name in reads(node)} | {value.name for value in model.graph.output}
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items() if name in read]
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in nodes]  # the list owns them
    del model.graph.node[:], model.graph.initializer[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(tensors)


def _is_vast(node: NodeProto, known: dict[str, NDArray[Any]]) -> bool:
    """Whether a node whose result is of a size that it is told would fill the memory."""
    place = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1}.get(node.op_type)
    if node.op_type == "Range":
        return any(abs(float(known[name])) > _LARGEST_NUMBERS for name in node.input[:2])
    if place is None:
        return False
    times = known[node.input[0]].size if node.op_type == "Tile" else 1
    return times * math.prod(int(size) for size in np.ravel(known[node.input[place]])) > _LARGEST_NUMBERS


def _computed(node: NodeProto, known: dict[str, NDArray[Any]], model: ModelProto) -> dict[str, NDArray[Any]] | None:
    """A node's outputs, if they are known; None: they are not."""
    inputs = [name for name in node.input if name]
    if node.domain not in PLAIN or node.op_type in _DRAWS or any(name not in known for name in inputs):
        return None
    if any(entry.type in _GRAPHS for entry in node.attribute) or _is_vast(node, known):
        return None
    graph = helper.make_graph(
        [node],
        "constant",
        [],
        [helper.make_empty_tensor_value_info(name) for name in node.output if name],
        [numpy_helper.from_array(np.asarray(known[name]), name) for name in dict.fromkeys(inputs)],
    )
    one = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    try:
        found: Any = ReferenceEvaluator(one).run(None, {})
    except Exception:  # an operator that the evaluator does not know stays where it is
        return None
    values = dict(zip((name for name in node.output if name), found, strict=True))
    good = all(isinstance(value, np.ndarray | np.generic) for value in values.values())
    return values if good and sum(np.size(value) for value in values.values()) <= _LARGEST_NUMBERS else None
