"""Convolutions, batch normalisation with frozen statistics, ReLU and pooling: apart, and as one block.

Maps lie with the channels first and the batch innermost, [C, ..., B]. A convolution whose kernel is 1 wide in the last
axes takes these and the batch as one axis: then it is a convolution of one "window", every matrix product is a long
one, and everything that is copied is copied in long runs.

    block      z = conv(x, W')    p = pool(z)    y = relu(p + b')         bias and ReLU after the pool: half the work
    folded     s = gamma / sqrt(var + eps)    W' = W s    b' = (b - mean) s + beta
    back       GW = dz col(x)^T, db' = sum dz:
               dW = GW s    dbeta = db'    db = s db'    dgamma = (sum W GW + (b - mean) db') / sqrt(var + eps)

No value before the normalisation is kept, and the only large sum is that of the biases.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.training.differentiate import Pull, Task, refuse, rule
from exporters.training.elementwise import relu_gradient
from exporters.training.graph import Graph, Laid, Shape, Tensor

_COLUMNS_LIMIT = 1 << 17  # numbers per window above which the columns of a convolution are not laid out at once

TensorPull = Callable[[Tensor], Tensor]


def maps_order(value: Laid) -> tuple[int, ...]:
    """Channels, space, batch."""
    return (*range(1, len(value.order)), 0)


@rule("ConvBlock")
def _block(task: Task) -> tuple[Laid, Pull]:
    graph, order = task.graph, maps_order(task.given(0))
    x = graph.arrange(task.given(0), order)
    weight, bias = _Folded(task), None
    conv = Geometry.of(task, task.attributes["conv"], weight.matrix.shape[2:])
    if weight.bias is not None:
        bias = graph.reshape(weight.bias, (weight.matrix.shape[0], *(1,) * (len(order) - 1)))
    y, pull_pool = convolve(graph, x, weight.matrix, conv), None
    if task.attributes["pool"] is not None:
        y, pull_pool = _max_pool(task, y, task.attributes["pool"])
    if bias is not None:
        y = graph.add(y, bias)
    if task.attributes["relu"]:
        y = graph.unary("Relu", y)

    def pull(dy: Laid) -> Sequence[Laid | None]:
        d = graph.arrange(dy, order)
        if task.attributes["relu"]:
            d = relu_gradient(graph, y, d)
        d_bias = graph.sum(d, range(1, len(order)))
        if pull_pool is not None:
            d = pull_pool(d)
        dx = convolve_back(graph, d, weight.matrix, conv, x.shape) if task.wanted(0) else None
        d_weight = correlate(graph, x, d, weight.matrix.shape, conv) if any(task.wants[1:]) else None
        return [Laid(dx, order) if dx else None, *weight.pull(d_weight, d_bias)]

    return Laid(y, order), pull


class _Folded:
    """Weight and bias of a block with the normalisation folded in."""

    def __init__(self, task: Task) -> None:
        graph = self._graph = task.graph
        self._task = task
        self._weight = graph.arrange(task.given(1))
        bias = task.optional(2)
        self._bias = graph.arrange(bias) if bias and not _is_zero(bias) else None
        self.matrix, self.bias = self._weight, self._bias
        self._norm = task.attributes["epsilon"] is not None
        if self._norm:
            gamma, beta = graph.arrange(task.given(3)), graph.arrange(task.given(4))
            self._inverse = graph.constant(1 / np.sqrt(task.known(6) + task.attributes["epsilon"]))
            self._scale = graph.multiply(gamma, self._inverse)
            zero = graph.constant(np.zeros_like(task.known(5)))
            self._centred = graph.subtract(self._bias or zero, graph.constant(task.known(5)))
            self.matrix = graph.multiply(self._weight, self._column(self._scale))
            self.bias = graph.add(graph.multiply(self._centred, self._scale), beta)

    def _column(self, vector: Tensor) -> Tensor:
        return self._graph.reshape(vector, (*vector.shape, *(1,) * (len(self._weight.shape) - 1)))

    def pull(self, d_matrix: Tensor | None, d_bias: Tensor) -> list[Laid | None]:
        """Gradients of weight, bias and, of the normalisation, scale and shift."""
        graph, d_weight, d_own_bias = self._graph, d_matrix, d_bias
        d_gamma = None
        if self._norm and d_matrix is not None:
            d_weight = graph.multiply(d_matrix, self._column(self._scale))
            d_own_bias = graph.multiply(d_bias, self._scale)
            product = graph.multiply(self._weight, d_matrix)
            along = graph.sum(product, range(1, len(product.shape)))
            total = graph.add(along, graph.multiply(self._centred, d_bias))
            d_gamma = graph.multiply(total, self._inverse)
        parts = [d_weight, d_own_bias, d_gamma, d_bias if self._norm else None]
        return [
            Laid(part, tuple(range(len(part.shape)))) if part is not None and self._task.wanted(i + 1) else None
            for i, part in enumerate(parts)
        ]


def _is_zero(value: Laid) -> bool:
    return value.tensor.value is not None and not value.tensor.value.any()


@rule("BatchNormalization")
def _batch_norm(task: Task) -> tuple[Laid, Pull]:
    """Batch normalisation with frozen statistics that follows no convolution: a scale and a shift per channel."""
    graph, order = task.graph, maps_order(task.given(0))
    x = graph.arrange(task.given(0), order)
    column = (x.shape[0], *(1,) * (len(order) - 1))
    gamma, beta = (graph.reshape(graph.arrange(task.given(i)), column) for i in (1, 2))
    mean, variance = (task.known(i).reshape(column) for i in (3, 4))
    inverse = graph.constant(1 / np.sqrt(variance + task.attributes.get("epsilon", 1e-5)))
    scale = graph.multiply(gamma, inverse)
    y = graph.add(graph.multiply(x, scale), graph.subtract(beta, graph.multiply(graph.constant(mean), scale)))

    def pull(dy: Laid) -> Sequence[Laid | None]:
        d = graph.arrange(dy, order)
        dx = Laid(graph.multiply(d, scale), order) if task.wanted(0) else None
        if not (task.wanted(1) or task.wanted(2)):
            return [dx]
        space = range(1, len(order))
        d_beta = graph.sum(d, space)
        centred = graph.subtract(
            graph.sum(graph.multiply(d, x), space), graph.multiply(graph.constant(mean.reshape(-1)), d_beta)
        )
        d_gamma = graph.multiply(centred, graph.reshape(inverse, (x.shape[0],)))
        return [dx, Laid(d_gamma, (0,)), Laid(d_beta, (0,))]

    return Laid(y, order), pull


@dataclass(frozen=True)
class Geometry:
    """How a kernel moves over space; one entry per axis of space."""

    kernel: Shape
    strides: Shape
    dilations: Shape
    before: Shape  # padding
    after: Shape
    groups: int = 1

    @classmethod
    def of(cls, task: Task, attributes: Mapping[str, Any], kernel: Shape) -> Geometry:
        """Read an operator's attributes."""
        rank = len(kernel)
        padding = attributes.get("auto_pad", b"NOTSET").decode()
        if padding not in ("NOTSET", "VALID"):
            raise refuse(task, "padding in numbers", padding)
        pads = attributes.get("pads", [0] * (2 * rank))
        ones = [1] * rank
        return cls(
            tuple(kernel),
            tuple(attributes.get("strides", ones)),
            tuple(attributes.get("dilations", ones)),
            tuple(pads[:rank]),
            tuple(pads[rank:]),
            attributes.get("group", 1),
        )

    def trivial(self, axis: int) -> bool:
        """Whether nothing happens along an axis."""
        return (self.kernel[axis], self.strides[axis], self.before[axis], self.after[axis]) == (1, 1, 0, 0)

    @property
    def moving(self) -> int:
        """How many axes there are up to the last one along which something happens."""
        axes = range(len(self.kernel))
        return max((axis + 1 for axis in axes if not self.trivial(axis)), default=0)

    def out(self, sizes: Shape) -> Shape:
        """Sizes of the maps that come out."""
        return tuple(
            (size + self.before[i] + self.after[i] - self.dilations[i] * (self.kernel[i] - 1) - 1) // self.strides[i]
            + 1
            for i, size in enumerate(sizes)
        )

    def attributes(self) -> dict[str, Any]:
        """For Conv or ConvTranspose with the remaining axes and the batch as one more axis."""
        n = self.moving
        return {
            "kernel_shape": [*self.kernel[:n], 1],
            "strides": [*self.strides[:n], 1],
            "dilations": [*self.dilations[:n], 1],
            "pads": [*self.before[:n], 0, *self.after[:n], 0],
            "group": self.groups,
        }


def convolve(graph: Graph, x: Tensor, weight: Tensor, conv: Geometry) -> Tensor:
    """Maps [C, ..., B] to maps."""
    out = (weight.shape[0], *conv.out(x.shape[1:-1]), x.shape[-1])
    if conv.moving == 0 and conv.groups == 1:
        rows = graph.reshape(x, (x.shape[0], math.prod(x.shape[1:])))
        return graph.reshape(graph.gemm(graph.reshape(weight, weight.shape[:2]), rows), out)
    maps, kernel = _merged(graph, x, conv), _kernel(graph, weight, conv)
    y = graph.emit("Conv", maps, kernel, shape=_merged_shape(out, conv), **conv.attributes())
    return graph.reshape(y, out)


def convolve_back(graph: Graph, d: Tensor, weight: Tensor, conv: Geometry, shape: Shape) -> Tensor:
    """The gradient of the maps that went in, of the given shape."""
    if conv.moving == 0 and conv.groups == 1:
        rows = graph.reshape(d, (d.shape[0], math.prod(d.shape[1:])))
        return graph.reshape(graph.gemm(graph.reshape(weight, weight.shape[:2]), rows, ta=True), shape)
    missing = [
        size
        - ((n - 1) * conv.strides[i] + conv.dilations[i] * (conv.kernel[i] - 1) + 1 - conv.before[i] - conv.after[i])
        for i, (size, n) in enumerate(zip(shape[1:-1], d.shape[1:-1], strict=True))
    ]
    dx = graph.emit(
        "ConvTranspose",
        _merged(graph, d, conv),
        _kernel(graph, weight, conv),
        shape=_merged_shape(shape, conv),
        output_padding=[*missing[: conv.moving], 0],
        **conv.attributes(),
    )
    return graph.reshape(dx, shape)


def _merged(graph: Graph, maps: Tensor, conv: Geometry) -> Tensor:
    return graph.reshape(maps, _merged_shape(maps.shape, conv))


def _merged_shape(shape: Shape, conv: Geometry) -> Shape:
    """[C, ..., B] as one window [1, C, ..., rest x B]."""
    n = 1 + conv.moving
    return (1, *shape[:n], math.prod(shape[n:]))


def _kernel(graph: Graph, weight: Tensor, conv: Geometry) -> Tensor:
    return graph.reshape(weight, (*weight.shape[: 2 + conv.moving], 1))


def correlate(graph: Graph, x: Tensor, d: Tensor, shape: Shape, conv: Geometry) -> Tensor:
    """The gradient of the weights, of the given shape: dz col(x)^T, for all taps at once or one by one."""
    padded = x
    for axis, (before, after) in enumerate(zip(conv.before, conv.after, strict=True)):
        padded = graph.pad(padded, axis + 1, before, after)
    n = conv.moving
    if n == 0:
        return graph.reshape(_product(graph, d, x, conv), shape)
    taps = math.prod(conv.kernel)
    if n == 1 and abs(math.prod(d.shape[1:])) * taps * x.shape[0] <= _COLUMNS_LIMIT:
        places = (np.arange(conv.kernel[0]) * conv.dilations[0])[:, None] + np.arange(d.shape[1]) * conv.strides[0]
        columns = graph.gather(padded, 1, places)  # [C, taps, ...]
        columns = graph.reshape(columns, (x.shape[0] * taps, math.prod(columns.shape[2:])))
        return graph.reshape(_product(graph, d, columns, conv), shape)
    parts = []
    for tap in itertools.product(*(range(size) for size in conv.kernel)):
        seen = padded
        for axis, place in enumerate(tap):
            seen = graph.slice(seen, axis + 1, place * conv.dilations[axis], d.shape[axis + 1], conv.strides[axis])
        parts.append(graph.reshape(_product(graph, d, seen, conv), (*shape[:2], 1)))
    return graph.reshape(graph.concat(parts, 2), shape)


def _product(graph: Graph, d: Tensor, columns: Tensor, conv: Geometry) -> Tensor:
    """D [outputs, n] times columns [inputs, n] transposed, for each group by itself."""
    n = math.prod(d.shape[1:])
    rows = columns.shape[0]
    if conv.groups == 1:
        return graph.gemm(graph.reshape(d, (d.shape[0], n)), graph.reshape(columns, (rows, n)), tb=True)
    groups = conv.groups
    d = graph.reshape(d, (groups, d.shape[0] // groups, n))
    columns = graph.reshape(columns, (groups, rows // groups, n))
    if d.shape[1] == 1:
        return graph.matmul(columns, graph.reshape(d, (groups, n, 1)))
    return graph.matmul(d, graph.transpose(columns, (0, 2, 1)))


@rule("MaxPool")
def _pool(task: Task) -> tuple[Laid, Pull]:
    graph, order = task.graph, maps_order(task.given(0))
    y, pull_tensor = _max_pool(task, graph.arrange(task.given(0), order), task.attributes)
    return Laid(y, order), lambda dy: [Laid(pull_tensor(graph.arrange(dy, order)), order)]


def _max_pool(task: Task, x: Tensor, attributes: Mapping[str, Any]) -> tuple[Tensor, TensorPull]:
    """The largest along each axis in turn, the last axis first: so ties go to the first in the order of torch."""
    pool = Geometry.of(task, attributes, tuple(attributes["kernel_shape"]))
    if any(dilation != 1 for dilation in pool.dilations):
        raise refuse(task, "a pool without dilation", pool.dilations)
    if task.shape is None:
        raise refuse(task, "a shape that was seen", None)
    pulls = []
    for axis in reversed(range(len(pool.kernel))):
        if not pool.trivial(axis):
            place = (pool.kernel[axis], pool.strides[axis], pool.before[axis], task.shape[2 + axis])
            x, pull_axis = _max_along(task.graph, x, axis + 1, *place)
            pulls.append(pull_axis)

    def pull(d: Tensor) -> Tensor:
        for pull_axis in reversed(pulls):
            d = pull_axis(d)
        return d

    return x, pull


def _max_along(
    graph: Graph, x: Tensor, axis: int, kernel: int, stride: int, before: int, n: int
) -> tuple[Tensor, TensorPull]:
    """The largest of `kernel` entries, every `stride` entries, `n` times.

    The axis is cut into blocks of `stride` entries. A kernel covers some whole blocks, whose maxima it shares with its
    neighbours, and the first entries of the next block:

        stride 2, kernel 5     | 0 1 | 2 3 | 4 5 | 6 7 |        first   max(01) max(23) 4
                               '-------------'                  second          max(23) max(45) 6
                                     '-------------'
    """
    size = x.shape[axis]
    whole, rest = divmod(kernel, stride)
    absent, lead = divmod(before, stride)  # padding: whole blocks, which are never made, and the rest
    padded = graph.pad(x, axis, lead, -(size + lead) % stride, -math.inf)
    blocks = padded.shape[axis] // stride
    phases = _phases(graph, padded, axis, stride)
    offsets = [i - absent for i in range(whole + (rest > 0))]  # from a kernel's number to the blocks that it sees
    block, pull_block = _largest(graph, phases)
    start, pull_start = _largest(graph, phases[:rest] or phases)
    seen = [block] * whole + [start] * (rest > 0)
    y, pull_seen = _largest(
        graph, [_shifted(graph, part, axis, offset, n, -math.inf) for part, offset in zip(seen, offsets, strict=True)]
    )

    def pull(d: Tensor) -> Tensor:
        pairs = zip(pull_seen(d), offsets, strict=True)
        shares = [_shifted(graph, share, axis, -offset, blocks, 0.0) for share, offset in pairs]
        columns = [pull_block(graph.total(shares[:whole]))] if whole else []
        columns += [pull_start(shares[-1])] if rest else []
        zero = graph.multiply(shares[0], graph.constant(0.0))
        parts = itertools.zip_longest(*columns, [None] * stride)
        sums = [graph.total([part for part in phase if part] or [zero]) for phase in parts]
        return graph.slice(_interleaved(graph, sums, axis), axis, lead, size)

    return y, pull


def _shifted(graph: Graph, x: Tensor, axis: int, offset: int, n: int, fill: float) -> Tensor:
    """Entries offset, ..., offset + n - 1 along an axis; `fill` where there are none."""
    return graph.pad(x, axis, -offset, offset + n - x.shape[axis], fill)


def _phases(graph: Graph, x: Tensor, axis: int, stride: int) -> list[Tensor]:
    """x[0::stride], x[1::stride], ... along an axis of blocks * stride entries."""
    blocks = x.shape[axis] // stride
    front, back = x.shape[:axis], x.shape[axis + 1 :]
    parts = graph.split(graph.reshape(x, (*front, blocks, stride, *back)), axis + 1, [1] * stride)
    return [graph.reshape(part, (*front, blocks, *back)) for part in parts]


def _interleaved(graph: Graph, phases: Sequence[Tensor], axis: int) -> Tensor:
    """The other way round."""
    front, blocks, back = phases[0].shape[:axis], phases[0].shape[axis], phases[0].shape[axis + 1 :]
    parts = [graph.reshape(phase, (*front, blocks, 1, *back)) for phase in phases]
    return graph.reshape(graph.concat(parts, axis + 1), (*front, blocks * len(phases), *back))


def _largest(graph: Graph, parts: Sequence[Tensor]) -> tuple[Tensor, Callable[[Tensor], list[Tensor]]]:
    """The largest of several tensors, entry by entry; the gradient goes to the first that is the largest."""
    running = [parts[0]]
    for part in parts[1:]:
        running.append(graph.maximum(running[-1], part))

    def pull(d: Tensor) -> list[Tensor]:
        shares = []
        for part, earlier in zip(reversed(parts[1:]), reversed(running[:-1]), strict=True):
            share = graph.multiply(d, graph.greater(part, earlier))
            d = graph.subtract(d, share)
            shares.append(share)
        return [d, *reversed(shares)]

    return running[-1], pull


@rule("AveragePool")
def _average_pool(task: Task) -> tuple[Laid, Pull]:
    """The mean of what a kernel sees: a depthwise convolution with one number, divided by how many entries it sees."""
    graph, order = task.graph, maps_order(task.given(0))
    x = graph.arrange(task.given(0), order)
    pool = Geometry.of(task, task.attributes, tuple(task.attributes["kernel_shape"]))
    if task.attributes.get("ceil_mode", 0):
        raise refuse(task, "a pool that ends within its input", "ceil_mode")
    pool = replace(pool, groups=x.shape[0])
    weight = graph.constant(np.ones((x.shape[0], 1, *pool.kernel)))
    counts = graph.constant(1 / _seen(pool, x.shape[1:-1], bool(task.attributes.get("count_include_pad", 0))))

    def pull(dy: Laid) -> Sequence[Laid | None]:
        d = graph.multiply(graph.arrange(dy, order), counts)
        return [Laid(convolve_back(graph, d, weight, pool, x.shape), order)]

    return Laid(graph.multiply(convolve(graph, x, weight, pool), counts), order), pull


def _seen(pool: Geometry, sizes: Shape, with_padding: bool) -> NDArray[np.float64]:
    """How many entries each output is the mean of, shape (..., 1)."""
    counts = np.ones(())
    for i, (size, n) in enumerate(zip(sizes, pool.out(sizes), strict=True)):
        places = np.arange(n)[:, None] * pool.strides[i] - pool.before[i] + np.arange(pool.kernel[i])
        inside = with_padding | ((places >= 0) & (places < size))
        counts = np.multiply.outer(counts, inside.sum(1))
    return counts[..., None]
