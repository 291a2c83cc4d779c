"""What a graph keeps in memory at once, counted before it ever runs.

A value lives from the node that makes it to the last one that reads it. A Reshape is the same memory under another
name. ConvTranspose lays out the columns of its product, which is the only large scratch of an operator.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from onnx import NodeProto, helper

from exporters.training.graph import Shape

_FLOAT_BYTES = 4
_TRUTHS = ("Greater", "Equal")  # a byte each
_SAME_MEMORY = ("Reshape", "Identity")


@dataclass(frozen=True)
class Peak:
    """Bytes at the worst instant are at most fixed + batch * per_window."""

    fixed_bytes: int
    per_window_bytes: int


def peak(nodes: Sequence[NodeProto], shapes: Mapping[str, Shape], kept: Collection[str]) -> Peak:
    """The largest sum of what lives together.

    Args:
        nodes: in the order in which they run.
        shapes: of all values that nodes make; -k stands for k times the batch.
        kept: values that live to the end.
    """
    origin: dict[str, str] = {}
    for node in nodes:
        if node.op_type in _SAME_MEMORY:
            origin[node.output[0]] = origin.get(node.input[0], node.input[0])
    last = {origin.get(name, name): i for i, node in enumerate(nodes) for name in node.input}
    last.update(dict.fromkeys((origin.get(name, name) for name in kept), len(nodes)))
    alive: dict[str, Peak] = {}
    now, worst = Peak(0, 0), Peak(0, 0)
    for i, node in enumerate(nodes):
        made = [name for name in node.output if name and name not in origin]
        size = 1 if node.op_type in _TRUTHS else _FLOAT_BYTES
        begun = {name: _bytes(shapes[name], size) for name in made}
        alive |= begun
        now = _sum([now, *begun.values()])
        most = _sum([now, _scratch(node, shapes)])
        worst = Peak(max(worst.fixed_bytes, most.fixed_bytes), max(worst.per_window_bytes, most.per_window_bytes))
        touched = {origin.get(name, name) for name in node.input} | begun.keys()
        ended = [alive.pop(name) for name in touched & alive.keys() if last.get(name, -1) <= i]
        now = _sum([now, *(Peak(-held.fixed_bytes, -held.per_window_bytes) for held in ended)])
    return worst


def _scratch(node: NodeProto, shapes: Mapping[str, Shape]) -> Peak:
    if node.op_type != "ConvTranspose":
        return Peak(0, 0)
    attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    made, read = shapes[node.output[0]], shapes.get(node.input[0])
    taps = math.prod(attributes["kernel_shape"])
    return _bytes((taps, made[1], *read[2:])) if read else Peak(0, 0)


def _bytes(shape: Shape, each: int = _FLOAT_BYTES) -> Peak:
    size = math.prod(shape) * each
    return Peak(0, -size) if size < 0 else Peak(size, 0)


def _sum(parts: Sequence[Peak]) -> Peak:
    return Peak(sum(part.fixed_bytes for part in parts), sum(part.per_window_bytes for part in parts))
