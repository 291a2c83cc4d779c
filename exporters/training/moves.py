"""Rules for operators that only move numbers, repeat them or add them up: their ways back move them back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from exporters.training.differentiate import Case, Pullback, SliceGradient, refuse, rule
from exporters.training.elementwise import reduced
from exporters.training.graph import Graph, Laid, Shape, broadcast, plainly

_TO_THE_END = 1 << 31  # what exporters write for the end of a slice that has none


@rule("Transpose")
def _transpose(case: Case) -> tuple[Laid, Pullback]:
    """Nothing moves: only the order is another."""
    x = case.given(0)
    perm = case.attributes.get("perm", [*reversed(range(len(x.order)))])
    y = Laid(x.tensor, tuple(perm.index(axis) for axis in x.order))
    return y, lambda dy: [Laid(dy.tensor, tuple(perm[axis] for axis in dy.order))]


@rule("Reshape", "Flatten", "Unsqueeze", "Squeeze")
def _reshape(case: Case) -> tuple[Laid, Pullback]:
    x = case.given(0)
    if case.shape is None:
        raise refuse(case, "a shape that was seen", "none")
    return relaid(case.graph, x, case.shape), lambda dy: [relaid(case.graph, dy, x.shape)]


def relaid(graph: Graph, value: Laid, shape: Shape) -> Laid:
    """A value in another shape: where only axes that lie together are merged or divided, it stays where it is."""
    groups = _groups(value.shape, shape)
    if groups is not None:
        at = {axis: i for i, axis in enumerate(value.order)}
        whole = all(
            [at[axis] for axis in old] == list(range(at[old[0]], at[old[0]] + len(old))) for old, _ in groups if old
        )
        if whole and all(old for old, _ in groups):
            ranked = sorted(groups, key=lambda group: at[group[0][0]])
            order = tuple(axis for _, new in ranked for axis in new)
            return Laid(graph.reshape(value.tensor, tuple(shape[axis] for axis in order)), order)
    return plainly(graph.reshape(graph.arrange(value), shape))


def _groups(old: Shape, new: Shape) -> list[tuple[list[int], list[int]]] | None:
    """Runs of axes of two shapes with the same product, as short as they come; None if signs do not fit."""
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(old) or j < len(new):
        left, right = ([i], [j]) if i < len(old) and j < len(new) else ([*range(i, len(old))], [*range(j, len(new))])
        i, j = i + len(left), j + len(right)
        while left and right and (a := math.prod(old[k] for k in left)) != (b := math.prod(new[k] for k in right)):
            if (abs(a) < abs(b) or (abs(a) == abs(b) and a > 0)) and i < len(old):
                left.append(i)
                i += 1
            elif j < len(new):
                right.append(j)
                j += 1
            else:
                return None
        if not (left and right):  # axes of size 1 are left over
            if not groups:
                return None
            groups[-1][0].extend(left)
            groups[-1][1].extend(right)
        else:
            groups.append((left, right))
    return groups


@rule("Expand")
def _expand(case: Case) -> tuple[Laid, Pullback]:
    graph, x = case.graph, case.given(0)
    shape = case.shape
    if shape is None or any(dim < 0 for dim in shape[: -len(x.shape)]):
        raise refuse(case, "sizes that do not depend on the batch", shape)
    plain = graph.arrange(x)
    target = graph.constant([max(dim, 1) for dim in shape], np.int64)  # 1 leaves an axis as it is
    y = graph.emit("Expand", plain, target, shape=broadcast(plain.shape, shape))

    def pull(dy: Laid) -> Sequence[Laid | None]:
        return [reduced(graph, graph.arrange(dy), plainly(plain), tuple(range(len(shape))))]

    return plainly(y), pull


@rule("Concat")
def _concat(case: Case) -> tuple[Laid, Pullback]:
    graph = case.graph
    parts = [case.given(i) for i in range(len(case.inputs))]
    variable = [part for part in parts if part.tensor.value is None] or parts
    order = variable[0].order
    axis = order.index(case.attributes["axis"] % len(order))
    tensors = [graph.arrange(part, order) for part in parts]
    y = graph.concat(tensors, axis)

    def pull(dy: Laid) -> Sequence[Laid | None]:
        pieces = graph.split(graph.arrange(dy, order), axis, [tensor.shape[axis] for tensor in tensors])
        return [Laid(piece, order) for piece in pieces]

    return Laid(y, order), pull


@rule("Part")
def _part(case: Case) -> tuple[Laid, Pullback]:
    """The entries from `begin` on along an axis; see forward."""
    x, take = case.given(0), case.attributes
    y, pull_slice = _cut_out(case, x, take["axis"] % len(x.order), take["begin"], take["length"])
    return y, lambda dy: [pull_slice(dy)]


@rule("TopK")
def _top_k(case: Case) -> tuple[Laid, Pullback]:
    """Sorted values; no gradient, since what sorts is made by hand and nothing below it is trained."""
    if case.wanted(0):
        raise refuse(case, "nothing to train below it", "a trained layer")
    x, k = case.graph.arrange(case.given(0)), case.graph.arrange(case.given(1))
    values, _ = case.graph.emit_many("TopK", x, k, shapes=[case.shape, case.shape], **case.attributes)
    return plainly(values), lambda dy: [None]


@rule("Last")
def _last(case: Case) -> tuple[Laid, Pullback]:
    """The last step of a recurrent layer's (steps, directions, batch, units)."""
    x = case.given(0)
    y, pull_slice = _cut_out(case, x, 0, x.shape[0] - 1, 1)
    return relaid(case.graph, y, y.shape[1:]), lambda dy: [pull_slice(relaid(case.graph, dy, y.shape))]


@rule("Gather")
def _gather(case: Case) -> tuple[Laid, Pullback]:
    """One entry, or a run of entries, along an axis."""
    x, places = case.given(0), case.known(1)
    axis = case.attributes.get("axis", 0) % len(x.order)
    indices = [int(place) % x.shape[axis] for place in np.reshape(places, -1)]
    if indices != [*range(indices[0], indices[0] + len(indices))]:
        raise refuse(case, "indices in a row", indices)
    y, pull_slice = _cut_out(case, x, axis, indices[0], len(indices))
    shape = (*x.shape[:axis], *np.shape(places), *x.shape[axis + 1 :])
    return relaid(case.graph, y, shape), lambda dy: [pull_slice(relaid(case.graph, dy, y.shape))]


@rule("Slice")
def _slice(case: Case) -> tuple[Laid, Pullback]:
    """A slice along any axes, with any steps."""
    y = case.given(0)
    starts, ends = case.known(1), case.known(2)
    axes = case.known(3) if case.optional(3) else range(len(starts))
    steps = case.known(4) if case.optional(4) else [1] * len(starts)
    pulls = []
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        at = int(axis) % len(y.order)
        if (start, step) == (0, 1) and end >= _TO_THE_END:
            continue
        places = range(y.shape[at])[slice(int(start), int(end) if int(end) > -(2**31) else None, int(step))]
        y, pull_one = _cut_out(case, y, at, places.start, len(places), places.step)
        pulls.append(pull_one)

    def pull(dy: Laid) -> Sequence[Laid | SliceGradient | None]:
        for pull_one in reversed(pulls[1:]):
            part = pull_one(dy)
            dy = part.whole(case.graph) if isinstance(part, SliceGradient) else part
        return [pulls[0](dy) if pulls else dy]

    return y, pull


def _cut_out(
    case: Case, x: Laid, axis: int, begin: int, length: int, step: int = 1
) -> tuple[Laid, Callable[[Laid], Laid | SliceGradient]]:
    """Some entries along an axis of the model; the gradient is 0 elsewhere."""
    graph, at = case.graph, x.order.index(axis)
    size = x.tensor.shape[at]
    if size < 0:
        raise refuse(case, "an axis that is not the batch", axis)

    def pull(dy: Laid) -> Laid | SliceGradient:
        if step == 1:
            return SliceGradient(dy, axis, begin, size)
        places = np.full(size, length, np.int64)  # `length` is the place of a row of zeros
        places[range(begin, begin + length * step, step)] = range(length)
        d = graph.pad(graph.arrange(dy, x.order), at, 0, 1)
        return Laid(graph.gather(d, at, places), x.order)

    return Laid(graph.slice(x.tensor, at, begin, length, step), x.order), pull


@rule("Pad")
def _pad(case: Case) -> tuple[Laid, Pullback]:
    """Padding with a constant or with the values at the ends."""
    graph, x = case.graph, case.given(0)
    mode = case.attributes.get("mode", b"constant").decode()
    value = float(np.reshape(case.known(2), ())) if case.optional(2) else 0.0
    pads = case.known(1).tolist()
    axes = case.known(3).tolist() if case.optional(3) else [*range(len(x.order))]
    if mode not in ("constant", "edge"):
        raise refuse(case, "padding by a constant or by the edge", mode)
    y, pulls = x, []
    for i, axis in enumerate(axes):
        before, after = pads[i], pads[len(axes) + i]
        if before or after:
            y, pull_one = _pad_one(graph, y, y.order.index(axis % len(x.order)), (before, after), mode, value)
            pulls.append(pull_one)

    def pull(dy: Laid) -> Sequence[Laid | None]:
        for pull_one in reversed(pulls):
            dy = pull_one(dy)
        return [dy]

    return y, pull


def _pad_one(
    graph: Graph, x: Laid, at: int, pads: tuple[int, int], mode: str, value: float
) -> tuple[Laid, Callable[[Laid], Laid]]:
    """Pad one axis of the tensor."""
    (before, after), size = pads, x.tensor.shape[at]
    if mode == "constant":
        y = graph.pad(x.tensor, at, before, after, value)
    else:
        y = graph.gather(x.tensor, at, np.clip(np.arange(-before, size + after), 0, size - 1))

    def pull(dy: Laid) -> Laid:
        d = graph.arrange(dy, x.order)
        inner = graph.slice(d, at, before, size)
        if mode == "constant":
            return Laid(inner, x.order)
        ends = [
            graph.pad(graph.sum(graph.slice(d, at, begin, length), [at], keep=True), at, place, size - 1 - place)
            for begin, length, place in ((0, before, 0), (before + size, after, size - 1))
            if length
        ]
        return Laid(graph.total([inner, *ends]), x.order)

    return Laid(y, x.order), pull


@rule("ReduceMean", "ReduceSum", "GlobalAveragePool")
def _reduce_axes(case: Case) -> tuple[Laid, Pullback]:
    """Sums and means over axes other than the batch."""
    graph, x = case.graph, case.given(0)
    rank = len(x.order)
    if case.op == "GlobalAveragePool":
        axes, keep = [*range(2, rank)], True
    else:
        axes = [int(axis) % rank for axis in case.known(1)] if case.optional(1) else [*range(rank)]
        keep = bool(case.attributes.get("keepdims", 1))
    if any(x.shape[axis] < 0 for axis in axes):
        raise refuse(case, "axes other than the batch", axes)
    at = [x.order.index(axis) for axis in axes]
    total = graph.sum(x.tensor, at, keep=True)
    factor = graph.constant(1.0 if case.op == "ReduceSum" else 1 / math.prod(x.shape[axis] for axis in axes))
    wide = Laid(total if case.op == "ReduceSum" else graph.multiply(total, factor), x.order)
    short = tuple(dim for axis, dim in enumerate(x.shape) if axis not in axes)

    def pull(dy: Laid) -> Sequence[Laid | None]:
        d = graph.arrange(relaid(graph, dy, wide.shape), x.order)
        ones = graph.constant(np.full([1 if dim < 0 else dim for dim in x.tensor.shape], factor.value))
        return [Laid(graph.multiply(d, ones), x.order)]

    return (wide if keep else relaid(graph, wide, short)), pull
