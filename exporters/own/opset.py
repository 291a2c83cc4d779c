"""One version of the operators: what a file has from opset 7 to 26 becomes 17 or 18, which `exporters.simplify` takes.

older     onnx's own converter
newer     relabelled: an operator that opset 18 has with the same attributes, for more kinds of numbers since then
Gelu      written out; opset 20 has it as one operator
"""

from __future__ import annotations

import math

import numpy as np
import onnx
import onnx.version_converter
from onnx import ModelProto, NodeProto, helper, numpy_helper

from exporters.own.read import PLAIN, attributes, named
from exporters.simplify import TORCH_OPSET
from runtime.errors import InputError

_OLDEST = 7
_OTHER = ("GroupNormalization", "GridSample")  # the same attributes, another meaning
_DROPPED = {"Cast": ("saturate", "round_mode"), "CastLike": ("saturate", "round_mode")}  # of numbers of 8 bits


def opset_of(model: ModelProto) -> int:
    """The version of ONNX's own operators."""
    return next((entry.version for entry in model.opset_import if entry.domain in PLAIN), 1)


def to_known_opset(model: ModelProto, opset: int, where: object) -> ModelProto:
    """The model in an opset that is asked for; in 18 where it is newer, which `exporters.simplify.lower` takes.

    Args:
        model: it may be changed.
        opset: 17 or 18.
        where: its file, for messages.

    Raises:
        InputError: names the operator that has no form there.
    """
    version = opset_of(model)
    if version < _OLDEST:
        raise InputError(where, expected=f"opset {_OLDEST} or newer", got=version, fix="Export it with a newer one.")
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", version))
    if version < opset:
        try:
            return onnx.version_converter.convert_version(model, opset)
        except Exception as error:  # the converter's own
            got = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            fix = "Export it with opset 17 or newer."
            raise InputError(
                where, expected=f"operators that onnx converts from opset {version}", got=got, fix=fix
            ) from error
    if version > TORCH_OPSET:
        nodes = [made for node in model.graph.node for made in _older(node, version, model, where)]
        nodes = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        model.opset_import[0].version = TORCH_OPSET
    return model


def _older(node: NodeProto, version: int, model: ModelProto, where: object) -> list[NodeProto]:
    if node.op_type == "Gelu":
        return _gelu(node, model)
    new = onnx.defs.get_schema(node.op_type, version, "")
    try:
        old = onnx.defs.get_schema(node.op_type, TORCH_OPSET, "")
    except onnx.defs.SchemaError:
        old = None
    if old is not None and new.since_version != old.since_version:
        for name in _DROPPED.get(node.op_type, ()):
            kept = [entry for entry in node.attribute if entry.name != name]
            del node.attribute[:]
            node.attribute.extend(kept)
        fits = {entry.name for entry in node.attribute} <= {*old.attributes} and len(node.input) <= old.max_input
        old = old if fits and node.op_type not in _OTHER else None
    if old is None:
        fix = f"Export it with opset {TORCH_OPSET}."
        raise InputError(where, expected=f"operators of opset {TORCH_OPSET}", got=named(node), fix=fix)
    return [node]


def _gelu(node: NodeProto, model: ModelProto) -> list[NodeProto]:
    """X * (1 + erf(x / sqrt(2))) / 2, or the tanh that comes near it."""
    x, y, counted = node.input[0], node.output[0], dict[str, str]()

    def number(value: float) -> str:
        name = counted.setdefault(repr(value), f"{y}/{len(counted)}")
        if all(tensor.name != name for tensor in model.graph.initializer):
            model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
        return name

    made: list[NodeProto] = []

    def step(op: str, *inputs: str, to: str = "") -> str:
        output = to or f"{y}/{op.lower()}{len(made)}"
        made.append(helper.make_node(op, [*inputs], [output]))
        return output

    if attributes(node).get("approximate", b"none") == b"tanh":
        cube = step("Mul", step("Mul", step("Mul", x, x), x), number(0.044715))
        inner = step("Tanh", step("Mul", step("Add", x, cube), number(math.sqrt(2 / math.pi))))
    else:
        inner = step("Erf", step("Div", x, number(math.sqrt(2))))
    step("Mul", step("Mul", x, step("Add", inner, number(1.0))), number(0.5), to=y)
    return made
