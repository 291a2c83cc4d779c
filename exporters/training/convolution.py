"""Convolutions and batch normalisation with frozen statistics, and both with ReLU and pooling as one block.

    block      z = conv(x, W')    p = pool(z)    y = relu(p + b')         bias and ReLU after the pool: half the work
    folded     s = gamma / sqrt(var + eps)    W' = W s    b' = (b - mean) s + beta
    back       GW = dz col(x)^T, db' = sum dz:
               dW = GW s    dbeta = db'    db = s db'    dgamma = (sum W GW + (b - mean) db') / sqrt(var + eps)

No value before the normalisation is kept, and the only large sum is that of the biases.

A convolution along one axis has its maps lie as [C, ..., B], channels first and the batch innermost. The axes behind
that one, and the batch, are one axis to it: it is a convolution of one "window", every matrix product is a long one,
and what is copied is copied in long runs. The engine has no good kernel for this along more axes: then the maps lie as
in the model, and only the gradient of the weights is computed from [C, ..., B].
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from exporters.training.differentiate import Case, Pullback, refuse, rule
from exporters.training.elementwise import relu_gradient
from exporters.training.geometry import Geometry, maps_order
from exporters.training.graph import Graph, Laid, Shape, Tensor, plainly
from exporters.training.pooling import max_pool

_COLUMNS_LIMIT = 1 << 17  # numbers per window above which the columns of a convolution are not laid out at once


@rule("ConvBlock")
def _block(case: Case) -> tuple[Laid, Pullback]:
    graph, x, weight = case.graph, case.given(0), _Folded(case)
    conv = Geometry.of(case, case.attributes["conv"], weight.matrix.shape[2:])
    z, pull_pool = convolve(graph, x, weight.matrix, conv), None
    if case.attributes["pool"] is not None:
        z, pull_pool = max_pool(case, z, case.attributes["pool"])
    y, order = z.tensor, z.order
    if weight.bias is not None:
        y = graph.add(y, along_channels(graph, weight.bias, order))
    if case.attributes["relu"]:
        y = graph.unary("Relu", y)

    def pull(dy: Laid) -> Sequence[Laid | None]:
        d = Laid(graph.arrange(dy, order), order)
        if case.attributes["relu"]:
            d = Laid(relu_gradient(graph, y, d.tensor), order)
        d_bias = graph.sum(d.tensor, [i for i, axis in enumerate(order) if axis != 1])
        if pull_pool is not None:
            d = pull_pool(d)
        dx = convolve_back(graph, d, weight.matrix, conv, x.shape) if case.wanted(0) else None
        d_weight = correlate(graph, x, d, weight.matrix.shape, conv) if any(case.wants[1:]) else None
        return [dx, *weight.pull(d_weight, d_bias)]

    return Laid(y, order), pull


def along_channels(graph: Graph, vector: Tensor, order: Sequence[int]) -> Tensor:
    """One number per channel, ready to be combined with maps that lie in an order."""
    return graph.reshape(vector, tuple(vector.shape[0] if axis == 1 else 1 for axis in order))


class _Folded:
    """Weight and bias of a block with the normalisation folded in."""

    def __init__(self, case: Case) -> None:
        graph = self._graph = case.graph
        self._case = case
        self._weight = graph.arrange(case.given(1))
        bias = case.optional(2)
        self._bias = graph.arrange(bias) if bias and not _is_zero(bias) else None
        self.matrix, self.bias = self._weight, self._bias
        self._norm = case.attributes["epsilon"] is not None
        if self._norm:
            gamma, beta = graph.arrange(case.given(3)), graph.arrange(case.given(4))
            self._inverse = graph.constant(1 / np.sqrt(case.known(6) + case.attributes["epsilon"]))
            self._scale = graph.multiply(gamma, self._inverse)
            zero = graph.constant(np.zeros_like(case.known(5)))
            self._centred = graph.subtract(self._bias or zero, graph.constant(case.known(5)))
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
            Laid(part, tuple(range(len(part.shape)))) if part is not None and self._case.wanted(i + 1) else None
            for i, part in enumerate(parts)
        ]


def _is_zero(value: Laid) -> bool:
    return value.tensor.value is not None and not value.tensor.value.any()


@rule("BatchNormalization")
def _batch_norm(case: Case) -> tuple[Laid, Pullback]:
    """Batch normalisation with frozen statistics that follows no convolution: a scale and a shift per channel."""
    graph, x = case.graph, case.given(0)
    if case.attributes.get("training_mode", 0):
        raise refuse(case, "frozen statistics", "an export of a module that is being trained")
    gamma, beta, mean = (graph.arrange(case.given(i)) for i in (1, 2, 3))
    inverse = graph.constant(1 / np.sqrt(case.known(4) + case.attributes.get("epsilon", 1e-5)))
    scale = along_channels(graph, graph.multiply(gamma, inverse), x.order)
    centred = graph.subtract(x.tensor, along_channels(graph, mean, x.order))
    y = graph.add(graph.multiply(centred, scale), along_channels(graph, beta, x.order))

    def pull(dy: Laid) -> Sequence[Laid | None]:
        d = graph.arrange(dy, x.order)
        others = [i for i, axis in enumerate(x.order) if axis != 1]
        dx = d_gamma = d_beta = None
        if case.wanted(0):
            dx = Laid(graph.multiply(d, scale), x.order)
        if case.wanted(1):
            d_gamma = Laid(graph.multiply(graph.sum(graph.multiply(d, centred), others), inverse), (0,))
        if case.wanted(2):
            d_beta = Laid(graph.sum(d, others), (0,))
        return [dx, d_gamma, d_beta]

    return Laid(y, x.order), pull


def convolve(graph: Graph, x: Laid, weight: Tensor, conv: Geometry) -> Laid:
    """Maps (batch, channels, ...) to maps."""
    shape = (x.shape[0], weight.shape[0], *conv.out(x.shape[2:]))
    return _emit(graph, "Conv", x, weight, conv, shape)


def convolve_back(graph: Graph, d: Laid, weight: Tensor, conv: Geometry, shape: Shape) -> Laid:
    """The gradient of the maps that went in, of the given shape."""
    missing = [
        size - (n - 1) * conv.strides[i] - conv.reach(i) + conv.before[i] + conv.after[i]
        for i, (size, n) in enumerate(zip(shape[2:], d.shape[2:], strict=True))
    ]
    return _emit(graph, "ConvTranspose", d, weight, conv, shape, missing)


def _emit(
    graph: Graph, op: str, x: Laid, weight: Tensor, conv: Geometry, shape: Shape, missing: Sequence[int] = ()
) -> Laid:
    """Conv or ConvTranspose in the order that is best for it.

    Args:
        graph: where it is emitted.
        op: which of the two.
        x: what goes in.
        weight: (outputs, inputs / groups, ...) of Conv.
        conv: of Conv.
        shape: of what comes out, in the model.
        missing: entries at the end of each axis that a Conv with a stride has not seen.
    """
    order, moving = conv.order(x), conv.moving
    tensor = graph.arrange(x, order)
    out = tuple(shape[axis] for axis in order)
    if order[0] == 0:
        more = {"output_padding": [*missing]} if missing else {}
        return Laid(graph.emit(op, tensor, weight, shape=out, **conv.attributes(len(conv.kernel)), **more), order)
    if moving == 0 and conv.groups == 1:
        rows = graph.reshape(tensor, (tensor.shape[0], math.prod(tensor.shape[1:])))
        product = graph.gemm(graph.reshape(weight, weight.shape[:2]), rows, ta=op == "ConvTranspose")
        return Laid(graph.reshape(product, out), order)
    more = {"output_padding": [*missing[:moving], 0]} if missing else {}
    y = graph.emit(
        op,
        graph.reshape(tensor, _one_window(tensor.shape, moving)),
        graph.reshape(weight, (*weight.shape[: 2 + moving], 1)),
        shape=_one_window(out, moving),
        **conv.attributes(moving, 1),
        **more,
    )
    return Laid(graph.reshape(y, out), order)


def _one_window(shape: Shape, moving: int) -> Shape:
    """[C, ..., B] as [1, C, ..., rest x B]."""
    n = 1 + moving
    return (1, *shape[:n], math.prod(shape[n:]))


def correlate(graph: Graph, x: Laid, d: Laid, shape: Shape, conv: Geometry) -> Tensor:
    """The gradient of the weights, of the given shape: dz col(x)^T, for all taps at once or one by one."""
    order = maps_order(x)
    maps, dz = graph.arrange(x, order), graph.arrange(d, order)
    for axis, (before, after) in enumerate(zip(conv.before, conv.after, strict=True)):
        maps = graph.pad(maps, axis + 1, before, after)
    parts = _taps(graph, maps, dz.shape[1:], conv)
    if abs(math.prod(dz.shape[1:])) * len(parts) * maps.shape[0] > _COLUMNS_LIMIT:
        products = [graph.reshape(_product(graph, dz, part, conv), (*shape[:2], 1)) for part in parts]
        return graph.reshape(graph.concat(products, 2), shape)
    n = math.prod(dz.shape[1:])
    if conv.moving == 1:
        places = (np.arange(len(parts)) * conv.dilations[0])[:, None] + np.arange(dz.shape[1]) * conv.strides[0]
        columns = graph.gather(maps, 1, places)
    else:
        columns = graph.concat([graph.reshape(part, (maps.shape[0], 1, n)) for part in parts], 1)
    return graph.reshape(_product(graph, dz, graph.reshape(columns, (maps.shape[0] * len(parts), n)), conv), shape)


def _taps(graph: Graph, maps: Tensor, sizes: Shape, conv: Geometry) -> list[Tensor]:
    """What each tap of the kernel sees, [C, *sizes], sizes being those of the output and the batch."""
    parts = []
    for tap in itertools.product(*(range(size) for size in conv.kernel)):
        seen = maps
        for axis, place in enumerate(tap):
            seen = graph.slice(seen, axis + 1, place * conv.dilations[axis], sizes[axis], conv.strides[axis])
        parts.append(seen)
    return parts


def _product(graph: Graph, d: Tensor, columns: Tensor, conv: Geometry) -> Tensor:
    """Product of d [outputs, n] and the columns [inputs, n], transposed, for each group by itself."""
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


@rule("AveragePool")
def _average_pool(case: Case) -> tuple[Laid, Pullback]:
    """The mean of what a kernel sees: a depthwise convolution with one number, divided by how many entries it sees."""
    graph, x = case.graph, case.given(0)
    pool = Geometry.of(case, case.attributes, tuple(case.attributes["kernel_shape"]))
    if case.attributes.get("ceil_mode", 0):
        raise refuse(case, "a pool that ends within its input", "ceil_mode")
    pool = replace(pool, groups=x.shape[1])
    weight = graph.constant(np.ones((x.shape[1], 1, *pool.kernel)))
    counts = _seen(pool, x.shape[2:], bool(case.attributes.get("count_include_pad", 0)))
    share = plainly(graph.constant(1 / counts[None, None]))
    y = convolve(graph, x, weight, pool)

    def scaled(value: Laid) -> Laid:
        return Laid(graph.multiply(value.tensor, graph.arrange(share, value.order)), value.order)

    return scaled(y), lambda dy: [convolve_back(graph, scaled(dy), weight, pool, x.shape)]


def _seen(pool: Geometry, sizes: Shape, with_padding: bool) -> NDArray[np.float64]:
    """How many entries each output is the mean of."""
    counts = np.ones(())
    for i, (size, n) in enumerate(zip(sizes, pool.out(sizes), strict=True)):
        places = np.arange(n)[:, None] * pool.strides[i] - pool.before[i] + np.arange(pool.kernel[i])
        inside = with_padding | ((places >= 0) & (places < size))
        counts = np.multiply.outer(counts, inside.sum(1))
    return counts
