"""Products of matrices: linear layers in both layouts, and the stacks of products of an attention.

    rows       x [n, inputs]     y = x W^T + b      after layers that keep the model's order
    columns    x [inputs, n]     y = W x + b        after convolutions, whose maps have the batch innermost

A weight is used as it is stored: a Transpose in the model is only another order of its axes, and its gradient comes out
of the product in the parameter's own order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from exporters.training.differentiate import Case, Pullback, refuse, rule
from exporters.training.graph import Laid


@rule("Gemm")
def _gemm(case: Case) -> tuple[Laid, Pullback]:
    attributes = case.attributes
    if attributes.get("transA", 0) or any(attributes.get(name, 1.0) != 1.0 for name in ("alpha", "beta")):
        raise refuse(case, "x @ W + b or x @ W^T + b", dict(attributes))
    weight = case.given(1)
    if not attributes.get("transB", 0):
        return _linear(case, weight)
    y, pull = _linear(case, _swapped(weight))

    def pull_swapped(dy: Laid) -> Sequence[Laid | None]:
        dx, d_weight, d_bias = pull(dy)
        return [dx, _swapped(d_weight) if d_weight else None, d_bias]

    return y, pull_swapped


def _swapped(matrix: Laid) -> Laid:
    return Laid(matrix.tensor, tuple(1 - axis for axis in matrix.order))


@rule("Linear", "MatMul")
def _matmul(case: Case) -> tuple[Laid, Pullback]:
    weight = case.given(1)
    return _linear(case, weight) if len(weight.order) == 2 else _stacked(case)


def _linear(case: Case, weight: Laid) -> tuple[Laid, Callable[[Laid], Sequence[Laid | None]]]:
    """X (..., inputs) @ weight (inputs, outputs) + bias."""
    graph, x = case.graph, case.given(0)
    last = len(x.order) - 1
    columns = last > 0 and x.order[0] == last
    order = x.order if columns or x.order[-1] == last else tuple(range(last + 1))
    tensor = graph.arrange(x, order)
    inputs, outputs = weight.shape
    n = math.prod(tensor.shape) // inputs
    flat = graph.reshape(tensor, (inputs, n) if columns else (n, inputs))
    outward = weight.order == (1, 0)  # the weight lies as (outputs, inputs)
    w = weight.tensor
    given = case.optional(2)
    bias = graph.arrange(given) if given else None
    if columns:
        column = graph.reshape(bias, (outputs, 1)) if bias else None
        y = graph.gemm(w, flat, column, ta=not outward)
    else:
        y = graph.gemm(flat, w, bias, tb=outward)
    shape = (outputs, *tensor.shape[1:]) if columns else (*tensor.shape[:-1], outputs)

    def pull(dy: Laid) -> Sequence[Laid | None]:
        d = graph.reshape(graph.arrange(dy, order), (outputs, n) if columns else (n, outputs))
        dx = dw = db = None
        if case.wanted(0):
            dx = graph.gemm(w, d, ta=outward) if columns else graph.gemm(d, w, tb=not outward)
        if case.wanted(1):
            pair = (d, flat) if outward else (flat, d)
            dw = graph.gemm(*pair, ta=not columns, tb=columns)
        if case.wanted(2):
            db = graph.sum(d, [1 if columns else 0])
        return [
            Laid(graph.reshape(dx, tensor.shape), order) if dx else None,
            Laid(dw, weight.order) if dw else None,
            Laid(db, (0,)) if db else None,
        ]

    return Laid(graph.reshape(y, shape), order), pull


def _stacked(case: Case) -> tuple[Laid, Pullback]:
    """Stacks of matrices, one product per pair."""
    graph, left, right = case.graph, case.given(0), case.given(1)
    if left.shape[:-2] != right.shape[:-2] or case.op != "MatMul":
        raise refuse(case, "two stacks of as many matrices", f"{left.shape} and {right.shape}")
    rank = len(left.order)
    swapped = (*range(rank - 2), rank - 1, rank - 2)
    y = graph.matmul(graph.arrange(left), graph.arrange(right))

    def pull(dy: Laid) -> Sequence[Laid | None]:
        d = graph.arrange(dy)
        plain = tuple(range(rank))
        return [
            Laid(graph.matmul(d, graph.arrange(right, swapped)), plain) if case.wanted(0) else None,
            Laid(graph.matmul(graph.arrange(left, swapped), d), plain) if case.wanted(1) else None,
        ]

    return Laid(y, tuple(range(rank))), pull
