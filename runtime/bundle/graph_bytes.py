"""What the runtime does to an ONNX graph's bytes, without the `onnx` package: one more output, and a look inside.

A serialised message may be followed by more of its fields; a parser merges an embedded message that comes twice, and
appends to its lists. So a model followed by a graph that holds nothing but one output has that output too:

    ModelProto.graph (7) -> GraphProto.output (12) -> ValueInfoProto.name (1), .type (2) -> TypeProto.tensor_type (1)
        -> Tensor.elem_type (1) = FLOAT (1)

https://protobuf.dev/programming-guides/encoding/#last-one-wins describes the merging.

The look inside is for tensors that say "my values lie in the file so-and-so": an engine would read that file, wherever
it is, or take a number for an address in memory. A bundle's graphs hold all their values. So that opening stays quick,
the message is walked only if the word `location`, which such a tensor needs, is anywhere in it.
"""

from __future__ import annotations

from collections.abc import Iterator

_GRAPH, _OUTPUT, _NAME, _TYPE, _TENSOR_TYPE, _ELEM_TYPE = 7, 12, 1, 2, 1, 1
_FLOAT = 1
_BYTES = 2  # the wire type of text, messages and other things with a length

_VARINT, _FIXED64, _FIXED32 = 0, 1, 5
_VARINT_BITS = 70  # ten bytes of seven bits
_DEEPEST = 100  # messages in messages, as protobuf's own readers allow

# Where tensors can be: kind of message -> field -> kind of the message in it (onnx.proto3 of the ONNX repository).
_INSIDE = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA = 13  # of a tensor


def refuse_outside(model: bytes) -> None:
    """Make sure that a graph is all there is: no values in other files, no engine that was compiled elsewhere.

    Raises:
        ValueError: says what it is.
    """
    if b"EPContext" in model:  # onnxruntime's node for a compiled engine, which its providers load unseen
        raise ValueError("a compiled engine inside (EPContext)")
    if b"location" in model:
        _walk(memoryview(model), "model", 0)


def _walk(message: memoryview, kind: str, depth: int) -> None:
    if depth > _DEEPEST:
        raise ValueError(f"messages nested deeper than {_DEEPEST}")
    for number, content in _fields(message):
        if kind == "tensor" and number == _EXTERNAL_DATA:
            raise ValueError("a tensor whose values lie in another file")
        if content is not None and number in _INSIDE[kind]:
            _walk(content, _INSIDE[kind][number], depth + 1)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | None]]:
    """Number and content of each field; numbers have no content."""
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        kind, content = key & 7, None
        if kind == _VARINT:
            _, at = _read_varint(message, at)
        elif kind == _BYTES:
            size, at = _read_varint(message, at)
            content, at = message[at : at + size], at + size
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"no protobuf message at byte {at}")
        if at > len(message):
            raise ValueError("a protobuf message that is cut off")
        yield key >> 3, content


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, _VARINT_BITS, 7):
        if at >= len(message):
            break
        value |= (message[at] & 0x7F) << shift
        at += 1
        if message[at - 1] < 0x80:
            return value, at
    raise ValueError(f"no protobuf number at byte {at}")


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
