"""What of a graph can be trained, and what it is called: encoder.N.NAME, N counting layers from the input on.

    Conv, ConvTranspose, Gemm, MatMul (with the Add behind it)      weight, bias
    LSTM, GRU, RNN                                                  weight_ih, weight_hh, bias
    BatchNormalization, LayerNormalization, ... of that layer       norm_weight, norm_bias; mean and variance stay

A name with dots, as torch gives them, is kept behind the number: encoder.0.conv1.weight.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from exporters.own.read import initializers

_PAIR, _CELL = {1: "weight", 2: "bias"}, {1: "weight_ih", 2: "weight_hh", 3: "bias"}
_NORM = {1: "norm_weight", 2: "norm_bias"}
_SLOTS = {
    **{op: _PAIR for op in ("Conv", "ConvTranspose", "Gemm")},
    **{op: _CELL for op in ("LSTM", "GRU", "RNN")},
    "MatMul": {0: "weight", 1: "weight"},
}
_BEHIND = {  # what belongs to the layer in front of it
    **{f"{kind}Normalization": _NORM for kind in ("Batch", "Instance", "Group", "Layer")},
    "PRelu": {1: "slope"},
    "Add": {0: "bias", 1: "bias"},
}
_VIEWS = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity")
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.\w+)+")


def name_tensors(model: ModelProto, prefix: str) -> tuple[dict[str, NDArray[np.float32]], dict[str, str]]:
    """Rename what can be trained, in place.

    Args:
        model: folded, without its head; opset 18.
        prefix: of all its names, which are not the file's own.

    Returns:
        The tensors by their new names, of any shape, from the input on; and the file's names by the new ones.
    """
    known = {name: value for name, value in initializers(model).items() if value.dtype == np.float32}
    layers: dict[str, int] = {}  # by the output of a node with weights
    names: dict[str, str] = {}  # of the file -> ours
    tensors: dict[str, NDArray[np.float32]] = {}
    origin: dict[str, str] = {}
    for node in model.graph.node:
        slots = _slots(node, known, layers)
        if not slots:
            layers.update({node.output[0]: layers[node.input[0]]} if _passes(node, layers) else {})
            continue
        before = [layers[name] for name in node.input if name in layers and node.op_type in _BEHIND]
        at = before[0] if before else len({*layers.values()})
        for place, kind in slots.items():
            old = node.input[place]
            if old in names and known[old].ndim > 1:
                node.input[place] = names[old]  # a weight that two layers share
                continue
            own = old.removeprefix(prefix)
            new = f"encoder.{at}.{own if _DOTTED.fullmatch(own) else kind}"
            while new in tensors:
                new += "_"
            names[old], tensors[new], origin[new] = new, np.ascontiguousarray(known[old]), own
            node.input[place] = new
        layers[node.output[0]] = at
    _store(model, tensors)
    return tensors, origin


def _slots(node: NodeProto, known: dict[str, NDArray[Any]], layers: dict[str, int]) -> dict[int, str]:
    """Places of a node's inputs that can be trained, and what each is."""
    if node.op_type == "Add" and not any(name in layers for name in node.input):
        return {}
    slots = _SLOTS.get(node.op_type) or _BEHIND.get(node.op_type, {})
    return {i: slots[i] for i, name in enumerate(node.input) if i in slots and name in known and known[name].size > 1}


def _passes(node: NodeProto, layers: dict[str, int]) -> bool:
    """Whether a node hands on what a linear layer gave, so that an Add behind it is its bias."""
    return node.op_type in _VIEWS and bool(node.input) and node.input[0] in layers


def _store(model: ModelProto, tensors: dict[str, NDArray[np.float32]]) -> None:
    read = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend([numpy_helper.from_array(value, name) for name, value in tensors.items()])
    model.graph.initializer.extend(kept)
