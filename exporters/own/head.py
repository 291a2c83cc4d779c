"""The last linear layer of a graph, found from its answers back: logits = features @ weight.T + bias.

    features -> Gemm                    -> logits -> Softmax, ArgMax, ZipMap, ... -> answers
                MatMul -> Add
                ai.onnx.ml.LinearClassifier

What stands behind it may turn logits into probabilities and labels, and do nothing else; the comparison with the file's
own answers says whether it does. One logit with a Sigmoid becomes two, -z/2 and z/2, whose softmax is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, ValueInfoProto

from exporters.own.constants import reads
from exporters.own.read import attributes, initializers, named
from runtime.errors import InputError

_BEHIND = (
    *("Softmax", "LogSoftmax", "Sigmoid", "Identity", "Cast", "Dropout", "ArgMax", "TopK", "ReduceMax", "Max"),
    *("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Concat", "Sub", "Gather", "Normalizer", "ArrayFeatureExtractor"),
    *("ZipMap", "LabelEncoder"),
)
_BOTH = ("LOGISTIC", "SOFTMAX", "NONE")


@dataclass(frozen=True)
class FoundHead:
    """The last linear layer."""

    name: str  # of its node, as a message calls it
    features: str  # the value that goes in
    logits: str | None  # the value of the graph that comes out; None: the node does not show it
    weight: NDArray[np.float32]  # shape (n, n_features); n is 1 where one logit stands for two classes
    bias: NDArray[np.float32]  # shape (n,)

    def both(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weight, shape (n_classes, n_features), and bias, shape (n_classes,)."""
        if len(self.weight) > 1:
            return self.weight, self.bias
        half = np.float32(0.5)
        return np.concatenate([-self.weight, self.weight]) * half, np.concatenate([-self.bias, self.bias]) * half


class _Graph(NamedTuple):
    """A graph, to walk back in."""

    makers: dict[str, NodeProto]
    known: dict[str, NDArray[Any]]
    where: object


def find_head(model: ModelProto, where: object, told: str | None = None) -> FoundHead:
    """The head of a model.

    Args:
        model: folded.
        where: its file, for messages.
        told: the name of its node, or of the value that it gives; None: it is looked for.

    Raises:
        InputError: none, or several; the message names the nodes.
    """
    graph = _Graph({name: node for node in model.graph.node for name in node.output}, initializers(model), where)
    if told is not None:
        return _told(graph, model, told)
    found: dict[str, FoundHead] = {}
    blocked: dict[str, None] = {}
    for value in model.graph.output:
        heads, stops = _behind(graph, value)
        blocked |= dict.fromkeys(stops)
        if not stops:
            found |= {head.name: head for head in heads}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        fix = f"Say which: --head {' or --head '.join(name.split()[-1] for name in found)}."
        raise InputError(where, expected="one last linear layer", got=", ".join(found), fix=fix)
    raise InputError(
        where,
        expected="a linear layer (Gemm, MatMul and Add, LinearClassifier) from which the answers come",
        got=", ".join(blocked) or "none",
        fix="Name its node with --head, or end the model with one.",
    )


def classes_of(model: ModelProto) -> list[str]:
    """The labels that a model of scikit-learn carries, in the order of its answers; empty: none that are words."""
    for node in model.graph.node:
        for name, value in attributes(node).items():
            if name in ("classlabels_strings", "classlabels_string", "keys_strings") and value:
                return [word.decode("utf-8", "replace") for word in value]
    for node in model.graph.node:
        stored = initializers(model)
        if node.op_type == "ArrayFeatureExtractor" and stored.get(node.input[0], np.zeros(0)).dtype.kind in "OSU":
            return [w.decode() if isinstance(w, bytes) else str(w) for w in np.ravel(stored[node.input[0]])]
    return []


def _behind(graph: _Graph, output: ValueInfoProto) -> tuple[list[FoundHead], list[str]]:
    """Heads from which an output comes, and the nodes on the way that no head may have behind it."""
    heads: dict[str, FoundHead] = {}
    stops: dict[str, None] = {}
    open_ends, seen = [output.name], set[str]()
    while open_ends:
        name = open_ends.pop()
        node = graph.makers.get(name)
        if name in seen or name in graph.known or (node is None and not name):
            continue
        seen.add(name)
        head = None if node is None else _head_at(graph, node)
        if head is not None:
            heads[head.name] = head
        elif node is not None and node.op_type in _BEHIND:
            open_ends += [one for one in node.input if one and one not in graph.known]
        else:
            stops[name if node is None else named(node)] = None
    return [*heads.values()], [*stops]


def _told(graph: _Graph, model: ModelProto, told: str) -> FoundHead:
    node = next((n for n in model.graph.node if told == n.name or told in n.output), None)
    if node is not None and node.op_type == "MatMul":  # its bias, if it has one
        adds = [n for n in model.graph.node if n.op_type == "Add" and node.output[0] in reads(n)]
        node = adds[0] if len(adds) == 1 and _head_at(graph, adds[0]) is not None else node
    head = None if node is None else _head_at(graph, node)
    if head is None:
        last = [named(n) for n in model.graph.node if n.op_type in ("Gemm", "MatMul", "LinearClassifier")]
        got = told if node is None else named(node)
        expected = f"the name of a linear layer, such as {', '.join(last[-3:]) or 'none: this model has none'}"
        raise InputError("--head", expected=expected, got=got, fix="Name one of these nodes.")
    return head


def _head_at(graph: _Graph, node: NodeProto) -> FoundHead | None:
    """The linear layer whose last node this is."""
    if node.op_type == "Gemm":
        return _gemm(graph, node)
    if node.op_type == "MatMul":
        return _matmul(graph, node, node, np.zeros(1, np.float32))
    if node.op_type == "Add":
        for name, other in (node.input, [*node.input][::-1]):
            maker = graph.makers.get(name)
            if maker is not None and maker.op_type == "MatMul" and other in graph.known:
                return _matmul(graph, maker, node, graph.known[other])
    return _classifier(graph, node) if node.op_type == "LinearClassifier" else None


def _gemm(graph: _Graph, node: NodeProto) -> FoundHead | None:
    said, inputs = attributes(node), [*node.input]
    if inputs[1] not in graph.known or said.get("transA", 0):
        return None
    weight = graph.known[inputs[1]] if said.get("transB", 0) else graph.known[inputs[1]].T
    bias = np.zeros(1, np.float32)
    if len(inputs) > 2 and inputs[2]:
        if inputs[2] not in graph.known:
            return None
        bias = graph.known[inputs[2]]
    return _made(node, node, said.get("alpha", 1.0) * weight, said.get("beta", 1.0) * bias)


def _matmul(graph: _Graph, node: NodeProto, last: NodeProto, bias: NDArray[Any]) -> FoundHead | None:
    weight = graph.known.get(node.input[1])
    return None if weight is None or weight.ndim != 2 else _made(node, last, weight.T, bias)


def _made(node: NodeProto, last: NodeProto, weight: NDArray[Any], bias: NDArray[Any]) -> FoundHead | None:
    n = len(weight)
    if bias.size not in (1, n):
        return None
    full = np.broadcast_to(bias.reshape(-1), n).astype(np.float32)
    return FoundHead(named(node), node.input[0], last.output[0], np.ascontiguousarray(weight, np.float32), full)


def _classifier(graph: _Graph, node: NodeProto) -> FoundHead | None:
    """scikit-learn's: with LOGISTIC the two classes of a binary one have -z and z, which is twice as sure."""
    said = attributes(node)
    bias = np.array(said.get("intercepts", [0.0]), np.float32)
    n = len(bias)
    weight = np.array(said["coefficients"], np.float32).reshape(n, -1)
    kind = said.get("post_transform", b"NONE").decode()
    if kind not in _BOTH or (kind == "LOGISTIC" and n > 2):
        fix = "Train a multinomial one (scikit-learn: LogisticRegression, not one-vs-rest)."
        raise InputError(
            graph.where, expected="classes that exclude one another", got=f"{named(node)}, {kind}", fix=fix
        )
    if kind == "LOGISTIC" and n == 2:
        weight, bias = weight / np.float32(2), bias / np.float32(2)
    return FoundHead(named(node), node.input[0], None, weight, bias)
