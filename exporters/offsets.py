"""Where the raw bytes of each initializer lie inside a serialised ONNX model.

The runtime lays a wearer's own tensors over the file's bytes, so it must know where they are. The `onnx` package tells
what is in a file but not where; this walks the few fields of the protobuf wire format on the way to the tensors:

    ModelProto.graph (7) -> GraphProto.initializer (5) -> TensorProto.name (8), .raw_data (9)

https://protobuf.dev/programming-guides/encoding/ describes the format.
"""

from __future__ import annotations

from collections.abc import Iterator

from runtime.errors import InputError

_GRAPH, _INITIALIZER, _NAME, _RAW_DATA = 7, 5, 8, 9
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_VARINT_BITS = 70  # ten bytes of seven bits


def initializer_offsets(model: bytes) -> dict[str, tuple[int, int]]:
    """Byte offset and length of every initializer that is stored as raw data.

    Raises:
        InputError: the bytes are not a protobuf message.
    """
    found = {}
    for graph_at, graph_end in _fields(model, 0, len(model), _GRAPH):
        for tensor_at, tensor_end in _fields(model, graph_at, graph_end, _INITIALIZER):
            names = [model[begin:end] for begin, end in _fields(model, tensor_at, tensor_end, _NAME)]
            name = names[-1].decode("utf-8", "replace") if names else ""
            for begin, end in _fields(model, tensor_at, tensor_end, _RAW_DATA):
                found[name] = (begin, end - begin)
    return found


def layer_name(name: str) -> str:
    """The part of a parameter's name that stands for its layer: up to the first number, else the first word.

    encoder.blocks.2.0.weight -> encoder.blocks.2, head.bias -> head
    """
    parts = name.split(".")
    numbers = [i for i, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: numbers[0] + 1]) if numbers else parts[0]


def _fields(data: bytes, at: int, end: int, wanted: int) -> Iterator[tuple[int, int]]:
    """Begin and end of every length-delimited field of one number between two places."""
    while at < end:
        key, at = _varint(data, at, end)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            _, at = _varint(data, at, end)
        elif kind == _BYTES:
            size, at = _varint(data, at, end)
            if size > end - at:
                raise _broken(at)
            if number == wanted:
                yield at, at + size
            at += size
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise _broken(at)
    if at != end:
        raise _broken(at)


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < _VARINT_BITS:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise _broken(at)


def _broken(at: int) -> InputError:
    return InputError("ONNX model", expected="a protobuf message", got=f"broken bytes at {at}", fix="Export it again.")
