"""Somebody's ONNX file as one plain graph: its values inside, functions laid out, one input of float32.

external data, initializers among the inputs, Constant nodes        initializers
functions of torch's exporter                                       their nodes
what only some engine has, integers of 8 bits, halves, doubles      refused, by the node's name
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from runtime.errors import InputError

PLAIN, CLASSICAL = ("", "ai.onnx"), "ai.onnx.ml"
_LARGEST_BYTES = (1 << 31) - (1 << 20)  # of a protobuf message


def read_model(path: Path) -> ModelProto:
    """The model of a file, as a plain graph.

    Raises:
        InputError: no ONNX model, one whose external data are not beside it, or one that is not plain.
    """
    if not path.is_file():
        raise InputError(path, expected="an ONNX file", got="no such file", fix="Check the path.")
    try:
        model = onnx.load(path, format="protobuf")
        model = onnx.inliner.inline_local_functions(model) if model.functions else model
    except OSError as error:
        fix = "Copy the file with its data beside the model."
        raise InputError(path, expected="the model with its external data", got=error, fix=fix) from None
    except Exception as error:  # protobuf's and onnx's share no base class
        got = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(path, expected="a sound ONNX model", got=got, fix="Export it again.") from None
    if not model.graph.node:
        raise InputError(path, expected="an ONNX model", got="no nodes", fix="Check the path.")
    if model.ByteSize() > _LARGEST_BYTES:
        raise InputError(path, expected="less than 2 GB", got=f"{model.ByteSize():,} bytes", fix="Make it smaller.")
    _inputs_only(model)
    for node in model.graph.node:
        _check(path, node)
    return model


def input_of(model: ModelProto, path: object) -> ValueInfoProto:
    """The one input.

    Raises:
        InputError: more than one, or one that is not float32.
    """
    inputs = [*model.graph.input]
    kinds = {value.type.tensor_type.elem_type for value in inputs}
    if len(inputs) != 1 or kinds != {TensorProto.FLOAT}:
        said = ", ".join(
            f"{v.name} ({TensorProto.DataType.Name(v.type.tensor_type.elem_type).lower()})" for v in inputs
        )
        fix = "Export it with the sensors side by side in one float32 input."
        raise InputError(path, expected="one input of float32", got=said or "none", fix=fix)
    value: ValueInfoProto = inputs[0]
    return value


def dims_of(value: ValueInfoProto) -> list[int | None]:
    """The sizes of a value; None where one is free."""
    return [
        dim.dim_value if dim.WhichOneof("value") == "dim_value" else None for dim in value.type.tensor_type.shape.dim
    ]


def named(node: NodeProto) -> str:
    """A node as a message calls it."""
    domain = "" if node.domain in PLAIN else f"{node.domain}."
    return f"{domain}{node.op_type} {node.name or (node.output[0] if node.output else '')}".strip()


def initializers(model: ModelProto) -> dict[str, NDArray[Any]]:
    """The values of a graph that are stored, by name, of any shape."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def attributes(node: NodeProto) -> dict[str, Any]:
    """A node's attributes by name."""
    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}


def _inputs_only(model: ModelProto) -> None:
    """Older files list initializers among the inputs."""
    stored = {tensor.name for tensor in model.graph.initializer}
    kept = [value for value in model.graph.input if value.name not in stored]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.ir_version = max(model.ir_version, 8)


def _check(path: Path, node: NodeProto) -> None:
    if node.domain not in (*PLAIN, CLASSICAL):
        fix = "Give the model as it was before an engine optimised it."
        raise InputError(path, expected="operators of ONNX", got=named(node), fix=fix)
    if node.op_type.startswith(("QLinear", "DynamicQuantize", "MatMulInteger", "ConvInteger", "QuantizeLinear")):
        fix = "Give the float32 model; python -m exporters int8 makes one of 8 bits."
        raise InputError(path, expected="a float32 model", got=named(node), fix=fix)


def check_floats(path: object, model: ModelProto) -> None:
    """Refuse weights of other kinds than float32.

    Raises:
        InputError: names the tensor.
    """
    for name, value in initializers(model).items():
        if value.dtype in (np.float16, np.float64) and value.size > 1:
            got = f"{name} of {value.dtype}"
            raise InputError(path, expected="weights of float32", got=got, fix="Export the model in float32.")
