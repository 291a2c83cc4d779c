"""A second opinion on a graph: every value of it, computed in float64 by onnx's own reference evaluator.

It shares no code with any engine, and rounds a billion times finer, so what an engine is off by is the engine's. It is
slow: for a few windows, not for a data set.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.ops.op_max_pool import MaxPool as _OnnxMaxPool


class MaxPool(_OnnxMaxPool):
    """onnx's own reads beyond the end of a padded axis that is not a whole number of strides long."""

    def _run(self, x: NDArray[Any], **attributes: Any) -> tuple[NDArray[Any], ...]:  # type: ignore[override]
        kernel = attributes["kernel_shape"]
        strides, dilations = (attributes.get(key) or [1] * len(kernel) for key in ("strides", "dilations"))
        pads = attributes.get("pads") or [0] * 2 * len(kernel)
        plain = attributes.get("auto_pad") in (None, "NOTSET") and not attributes.get("ceil_mode")
        if not plain or any(dilation != 1 for dilation in dilations) or len(self.output) > 1:
            result: tuple[NDArray[Any], ...] = super()._run(x, **attributes)  # type: ignore[no-untyped-call]
            return result
        widths = [(0, 0), (0, 0), *zip(pads[: len(kernel)], pads[len(kernel) :], strict=True)]
        padded = np.pad(x, widths, constant_values=-np.inf)
        axes = tuple(range(2, x.ndim))
        windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=axes)
        steps = (slice(None), slice(None), *(slice(None, None, stride) for stride in strides))
        windows = windows[steps]
        return (windows.max(axis=tuple(range(x.ndim, windows.ndim))),)


def every_value(model: ModelProto, inputs: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """All values of a float32 graph, by name, in float64.

    Args:
        model: as it is in a bundle, with one input.
        inputs: of shape (n, ...).
    """
    double = ModelProto()
    double.CopyFrom(model)
    _widen(double.graph)
    evaluator = ReferenceEvaluator(double, new_ops=[MaxPool])
    name = model.graph.input[0].name
    values: Any = evaluator.run(None, {name: inputs.astype(np.float64)}, intermediate=True)
    return dict(values)


def _widen(graph: GraphProto) -> None:
    """Make all that is float32 float64."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    for node in graph.node:
        for entry in node.attribute:
            if entry.type == AttributeProto.TENSOR:
                _widen_tensor(entry.t)
            elif node.op_type == "Cast" and entry.name == "to" and entry.i == TensorProto.FLOAT:
                entry.i = TensorProto.DOUBLE


def _widen_tensor(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT:
        array = onnx.numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
