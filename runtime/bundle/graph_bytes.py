"""What the runtime does to an ONNX graph's bytes, without the `onnx` package: an output or rows more, a look inside.

A serialised message may be followed by more of its fields; a parser merges an embedded message that comes twice, and
appends to its lists. So a model followed by a graph that holds nothing but one output has that output too:

    ModelProto.graph (7) -> GraphProto.output (12) -> ValueInfoProto.name (1), .type (2) -> TypeProto.tensor_type (1)
        -> Tensor.elem_type (1) = FLOAT (1)

https://protobuf.dev/programming-guides/encoding/#last-one-wins describes the merging.

A head with more or fewer classes is another matter: its two initializers and the shape of `logits` are written anew,
everything else is copied as it is.

The look inside is for tensors that say "my values lie in the file so-and-so": an engine would read that file, wherever
it is, or take a number for an address in memory. A bundle's graphs hold all their values. So that opening stays quick,
the message is walked only if the word `location`, which such a tensor needs, is anywhere in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

_GRAPH, _OUTPUT, _NAME, _TYPE, _TENSOR_TYPE, _ELEM_TYPE = 7, 12, 1, 2, 1, 1
_FLOAT = 1
_INITIALIZER, _VALUE_INFO = 5, 13  # of a graph
_DIMS, _DATA_TYPE, _TENSOR_NAME, _RAW_DATA = 1, 2, 8, 9  # of a tensor
_SHAPE = 2  # of a type, with a list of sizes (1), each a number (1) or a name (2)
_NAME_OF = {_INITIALIZER: _TENSOR_NAME, _OUTPUT: _NAME}
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
    for number, content, _ in _pieces(message):
        yield number, content


def _pieces(message: memoryview) -> Iterator[tuple[int, memoryview | None, memoryview]]:
    """The same, and all bytes of the field."""
    at = 0
    while at < len(message):
        begin = at
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
        yield key >> 3, content, message[begin:at]


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


def with_tensors(model: bytes, tensors: Mapping[str, NDArray[np.float32]], output: str) -> bytes:
    """The model with initializers of other sizes in place of those of the same names.

    Args:
        model: the bytes of the graph.
        tensors: by name; each has as many axes as the one that it replaces.
        output: the graph's output whose last axis is as long as the first of the tensors.

    Raises:
        ValueError: the graph has no such initializer, or one with another number of axes, or no such output.
    """
    missing = {*tensors, output}
    parts = []
    for number, content, piece in _pieces(memoryview(model)):
        inside = number == _GRAPH and content is not None
        parts.append(_field(_GRAPH, _graph_with(content, tensors, output, missing)) if inside and content else piece)
    if missing:
        raise ValueError(f"no {' and no '.join(sorted(missing))} that could be made anew")
    return b"".join(parts)


def _graph_with(graph: memoryview, tensors: Mapping[str, NDArray[np.float32]], output: str, missing: set[str]) -> bytes:
    parts: list[bytes | memoryview] = []
    n_classes = len(next(iter(tensors.values())))
    for number, content, piece in _pieces(graph):
        name = _text(content, _NAME_OF[number]) if content is not None and number in _NAME_OF else ""
        if number == _VALUE_INFO:  # what lies between may have another shape now; it is there to be read by people
            continue
        if number == _INITIALIZER and content is not None and name in tensors:
            axes = sum(_n_numbers(inner) for field, inner in _fields(content) if field == _DIMS)
            if axes != tensors[name].ndim:
                raise ValueError(f"{name} has {axes} axes, not {tensors[name].ndim}")
            missing.discard(name)
            parts.append(_field(_INITIALIZER, _tensor(name, tensors[name])))
        elif number == _OUTPUT and name == output:
            missing.discard(output)
            parts.append(_field(_OUTPUT, _float_value(output, ("batch", n_classes))))
        else:
            parts.append(piece)
    return b"".join(parts)


def _n_numbers(packed: memoryview | None) -> int:
    """How many numbers a field of a list holds: one, or as many as are packed into it."""
    return 1 if packed is None else sum(byte < 0x80 for byte in packed)


def _text(message: memoryview, number: int) -> str:
    """A field of text."""
    found = [bytes(content) for field, content in _fields(message) if field == number and content is not None]
    return found[-1].decode("utf-8", "replace") if found else ""


def _tensor(name: str, values: NDArray[np.float32]) -> bytes:
    dims = b"".join(bytes([_DIMS << 3]) + _varint(size) for size in values.shape)
    data = _field(_RAW_DATA, np.ascontiguousarray(values, "<f4").tobytes())
    return dims + bytes([_DATA_TYPE << 3, _FLOAT]) + _field(_TENSOR_NAME, name.encode()) + data


def _float_value(name: str, shape: tuple[str, int]) -> bytes:
    batch, size = shape
    dims = _field(1, _field(2, batch.encode())) + _field(1, bytes([1 << 3]) + _varint(size))
    tensor_type = bytes([_ELEM_TYPE << 3, _FLOAT]) + _field(_SHAPE, dims)
    return _field(_NAME, name.encode()) + _field(_TYPE, _field(_TENSOR_TYPE, tensor_type))


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
