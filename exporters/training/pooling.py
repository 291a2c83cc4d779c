"""Max-pooling as a tree of pairwise maxima, whose way back needs no indices.

The engine's own MaxPool tells where the maxima are; scattering gradients there costs several times what this does. Of
two tensors the larger one is where(b > a, b, a), and d * (b > a) is the gradient of b, the rest that of a: so ties go
to the first, as in torch. Only b > a is kept, a byte per entry. (Max instead of Where would be faster by itself, but
then the engine compares when the gradient comes, and has to fetch both tensors again.)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from onnx import TensorProto

from exporters.training.differentiate import Case, Pullback, refuse, rule
from exporters.training.geometry import Geometry, maps_order
from exporters.training.graph import Graph, Laid, Tensor


@rule("MaxPool")
def _pool(case: Case) -> tuple[Laid, Pullback]:
    y, pull = max_pool(case, case.given(0), case.attributes)
    return y, lambda dy: [pull(dy)]


def max_pool(case: Case, value: Laid, attributes: Mapping[str, Any]) -> tuple[Laid, Callable[[Laid], Laid]]:
    """The largest along each axis in turn, the last axis first: so ties go to the first in the order of torch.

    Raises:
        InputError: a pool with dilation, or one whose output was not seen.
    """
    graph, order = case.graph, maps_order(value)
    pool = Geometry.of(case, attributes, tuple(attributes["kernel_shape"]))
    if any(dilation != 1 for dilation in pool.dilations):
        raise refuse(case, "a pool without dilation", pool.dilations)
    if case.shape is None:
        raise refuse(case, "a shape that was seen", None)
    x, pulls = graph.arrange(value, order), []
    for axis in reversed(range(len(pool.kernel))):
        if not pool.trivial(axis):
            place = (pool.kernel[axis], pool.strides[axis], pool.before[axis], case.shape[2 + axis])
            x, pull_axis = _max_along(graph, x, axis + 1, *place)
            pulls.append(pull_axis)

    def pull(dy: Laid) -> Laid:
        d = graph.arrange(dy, order)
        for pull_axis in reversed(pulls):
            d = pull_axis(d)
        return Laid(d, order)

    return Laid(x, order), pull


def _max_along(
    graph: Graph, x: Tensor, axis: int, kernel: int, stride: int, before: int, n: int
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The largest of `kernel` entries, every `stride` entries, `n` times.

    The axis is cut into blocks of `stride` entries. A kernel covers some whole blocks, whose maxima it shares with its
    neighbours, and the first entries of the next block:

        stride 2, kernel 5     | 0 1 | 2 3 | 4 5 | 6 7 |        first   max(01) max(23) 4
                               '-------------'                  second          max(23) max(45) 6
                                     '-------------'
    """
    front, size, back = math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :])
    whole, rest = divmod(kernel, stride)
    absent, lead = divmod(before, stride)  # padding: whole blocks, which are never made, and the rest
    flat = graph.reshape(x, (front, size, back))  # long runs are what the engine copies fast
    padded = graph.pad(flat, 1, lead, -(size + lead) % stride, -math.inf)
    blocks = padded.shape[1] // stride
    phases = _phases(graph, padded, stride)
    offsets = [i - absent for i in range(whole + (rest > 0))]  # from a kernel's number to the blocks that it sees
    block, pull_block = _largest(graph, phases)
    start, pull_start = _largest(graph, phases[:rest] or phases)
    seen = [block] * whole + [start] * (rest > 0)
    y, pull_seen = _largest(
        graph, [_shifted(graph, part, offset, n, -math.inf) for part, offset in zip(seen, offsets, strict=True)]
    )

    def pull(d: Tensor) -> Tensor:
        pairs = zip(pull_seen(graph.reshape(d, y.shape)), offsets, strict=True)
        shares = [_shifted(graph, share, -offset, blocks, 0.0) for share, offset in pairs]
        columns = [pull_block(graph.total(shares[:whole]))] if whole else []
        columns += [pull_start(shares[-1])] if rest else []
        zero = graph.multiply(shares[0], graph.constant(0.0))
        parts = itertools.zip_longest(*columns, [None] * stride)
        sums = [graph.total([part for part in phase if part] or [zero]) for phase in parts]
        return graph.reshape(graph.slice(_interleaved(graph, sums), 1, lead, size), x.shape)

    return graph.reshape(y, (*x.shape[:axis], n, *x.shape[axis + 1 :])), pull


def _shifted(graph: Graph, x: Tensor, offset: int, n: int, fill: float) -> Tensor:
    """Entries offset, ..., offset + n - 1 along the middle axis; `fill` where there are none."""
    return graph.pad(x, 1, -offset, offset + n - x.shape[1], fill)


def _phases(graph: Graph, x: Tensor, stride: int) -> list[Tensor]:
    """x[:, 0::stride], x[:, 1::stride], ... of blocks * stride entries."""
    front, size, back = x.shape
    parts = graph.split(graph.reshape(x, (front, size // stride, stride, back)), 2, [1] * stride)
    return [graph.reshape(part, (front, size // stride, back)) for part in parts]


def _interleaved(graph: Graph, phases: Sequence[Tensor]) -> Tensor:
    """The other way round."""
    front, blocks, back = phases[0].shape
    return graph.reshape(graph.concat(phases, 2), (front, blocks * len(phases), back))


def _largest(graph: Graph, parts: Sequence[Tensor]) -> tuple[Tensor, Callable[[Tensor], list[Tensor]]]:
    """The largest of several tensors, entry by entry; the gradient goes to the first that is the largest."""
    largest, wins = parts[0], []
    for part in parts[1:]:
        win = graph.emit("Greater", part, largest, shape=part.shape)
        largest = graph.emit("Where", win, part, largest, shape=part.shape)
        wins.append(win)

    def pull(d: Tensor) -> list[Tensor]:
        shares = []
        for win in reversed(wins):
            share = graph.multiply(d, graph.emit("Cast", win, shape=win.shape, to=TensorProto.FLOAT))
            d = graph.subtract(d, share)
            shares.append(share)
        return [d, *reversed(shares)]

    return largest, pull
