"""One more output for an ONNX graph, without the `onnx` package.

A serialised message may be followed by more of its fields; a parser merges an embedded message that comes twice, and
appends to its lists. So a model followed by a graph that holds nothing but one output has that output too:

    ModelProto.graph (7) -> GraphProto.output (12) -> ValueInfoProto.name (1), .type (2) -> TypeProto.tensor_type (1)
        -> Tensor.elem_type (1) = FLOAT (1)

https://protobuf.dev/programming-guides/encoding/#last-one-wins describes the merging.
"""

from __future__ import annotations

_GRAPH, _OUTPUT, _NAME, _TYPE, _TENSOR_TYPE, _ELEM_TYPE = 7, 12, 1, 2, 1, 1
_FLOAT = 1
_BYTES = 2  # the wire type of text, messages and other things with a length


def with_output(model: bytes, name: str) -> bytes:
    """The model with one more output: a float32 value of its graph, by name.

    Opening the result fails if the graph has no value of this name.
    """
    tensor_type = bytes([_ELEM_TYPE << 3, _FLOAT])
    value = _field(_NAME, name.encode()) + _field(_TYPE, _field(_TENSOR_TYPE, tensor_type))
    return model + _field(_GRAPH, _field(_OUTPUT, value))


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
