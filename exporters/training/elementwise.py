"""Rules for operators that work on each number by itself, and for those of two operands, with broadcasting."""

from __future__ import annotations

import math
from collections.abc import Sequence

from exporters.training.differentiate import Case, Pullback, refuse, rule
from exporters.training.graph import Graph, Laid, Tensor, plainly


@rule("Relu")
def _relu(case: Case) -> tuple[Laid, Pullback]:
    graph, x = case.graph, case.given(0)
    y = graph.unary("Relu", x.tensor)

    def pull(dy: Laid) -> Sequence[Laid | None]:
        return [Laid(relu_gradient(graph, y, graph.arrange(dy, x.order)), x.order)]

    return Laid(y, x.order), pull


def relu_gradient(graph: Graph, y: Tensor, dy: Tensor) -> Tensor:
    """Dy where the output y of the ReLU is above 0."""
    return graph.multiply(dy, graph.greater(y, graph.constant(0.0)))


@rule("Sigmoid", "Tanh", "Exp", "Sqrt", "Softplus")
def _by_output(case: Case) -> tuple[Laid, Pullback]:
    """Functions whose slope follows from their value y."""
    graph, x = case.graph, case.given(0)
    y = graph.unary(case.op, x.tensor)

    def pull(dy: Laid) -> Sequence[Laid | None]:
        slope = {
            "Sigmoid": lambda: graph.multiply(y, one_minus(graph, y)),
            "Tanh": lambda: one_minus(graph, graph.multiply(y, y)),
            "Exp": lambda: y,
            "Sqrt": lambda: graph.divide(graph.constant(0.5), y),
            "Softplus": lambda: graph.unary("Sigmoid", x.tensor),
        }[case.op]()
        return [Laid(graph.multiply(graph.arrange(dy, x.order), slope), x.order)]

    return Laid(y, x.order), pull


def one_minus(graph: Graph, a: Tensor) -> Tensor:
    """Emit 1 - a, element by element."""
    return graph.subtract(graph.constant(1.0), a)


@rule("Neg")
def _neg(case: Case) -> tuple[Laid, Pullback]:
    graph, x = case.graph, case.given(0)
    return Laid(graph.unary("Neg", x.tensor), x.order), lambda dy: [Laid(graph.unary("Neg", dy.tensor), dy.order)]


@rule("LeakyRelu")
def _leaky_relu(case: Case) -> tuple[Laid, Pullback]:
    graph, x = case.graph, case.given(0)
    alpha = case.attributes.get("alpha", 0.01)
    y = graph.unary("LeakyRelu", x.tensor, alpha=alpha)

    def pull(dy: Laid) -> Sequence[Laid | None]:
        above = graph.greater(x.tensor, graph.constant(0.0))
        slope = graph.add(graph.multiply(above, graph.constant(1 - alpha)), graph.constant(alpha))
        return [Laid(graph.multiply(graph.arrange(dy, x.order), slope), x.order)]

    return Laid(y, x.order), pull


@rule("Erf")
def _erf(case: Case) -> tuple[Laid, Pullback]:
    graph, x = case.graph, case.given(0)

    def pull(dy: Laid) -> Sequence[Laid | None]:
        bell = graph.unary("Exp", graph.unary("Neg", graph.multiply(x.tensor, x.tensor)))
        slope = graph.multiply(bell, graph.constant(2 / math.sqrt(math.pi)))
        return [Laid(graph.multiply(graph.arrange(dy, x.order), slope), x.order)]

    return Laid(graph.unary("Erf", x.tensor), x.order), pull


@rule("Silu")
def _silu(case: Case) -> tuple[Laid, Pullback]:
    """Y = x s with s = sigmoid(x); its slope is s + y (1 - s)."""
    graph, x = case.graph, case.given(0)
    s = graph.unary("Sigmoid", x.tensor)
    y = graph.multiply(x.tensor, s)

    def pull(dy: Laid) -> Sequence[Laid | None]:
        slope = graph.add(s, graph.multiply(y, one_minus(graph, s)))
        return [Laid(graph.multiply(graph.arrange(dy, x.order), slope), x.order)]

    return Laid(y, x.order), pull


@rule("Add", "Sub", "Mul", "Div")
def _binary(case: Case) -> tuple[Laid, Pullback]:
    graph = case.graph
    left, right = case.given(0), case.given(1)
    order = _common_order(left, right)
    a, b = _align(graph, left, order), _align(graph, right, order)
    compute = {"Add": graph.add, "Sub": graph.subtract, "Mul": graph.multiply, "Div": graph.divide}[case.op]
    y = compute(a, b)

    def to_left(d: Tensor) -> Tensor:
        return d if case.op in ("Add", "Sub") else compute(d, b)

    def to_right(d: Tensor) -> Tensor:
        if case.op == "Add":
            return d
        if case.op == "Mul":
            return graph.multiply(d, a)
        return graph.unary("Neg", d if case.op == "Sub" else graph.divide(graph.multiply(d, y), b))

    def pull(dy: Laid) -> Sequence[Laid | None]:
        d = graph.arrange(dy, order)
        return [
            reduced(graph, part(d), source, order) if wanted else None
            for part, source, wanted in zip((to_left, to_right), (left, right), case.wants, strict=True)
        ]

    return Laid(y, order), pull


def _common_order(left: Laid, right: Laid) -> tuple[int, ...]:
    """The order of the operand that is larger, brought to the rank of the result."""
    rank = max(len(left.order), len(right.order))
    for value in sorted((left, right), key=lambda v: math.prod(map(abs, v.tensor.shape)), reverse=True):
        if len(value.order) == rank:
            return value.order
    raise AssertionError("one of two has the larger rank")


def _align(graph: Graph, value: Laid, order: tuple[int, ...]) -> Tensor:
    """An operand with axes of size 1 in front up to the rank of the result, in that result's order."""
    missing = len(order) - len(value.order)
    if not missing:
        return graph.arrange(value, order)
    plain = graph.arrange(value)
    wide = graph.reshape(plain, (1,) * missing + plain.shape)
    return graph.transpose(wide, order)


def reduced(graph: Graph, d: Tensor, source: Laid, order: tuple[int, ...]) -> Laid:
    """The gradient of an operand that was broadcast: summed over what it was repeated along."""
    missing = len(order) - len(source.order)
    wide = (1,) * missing + source.shape
    repeated = [i for i, axis in enumerate(order) if wide[axis] == 1 and d.shape[i] != 1]
    if not missing and not repeated:
        return Laid(d, order)
    total = graph.sum(d, repeated, keep=True)
    back = graph.transpose(total, [order.index(axis) for axis in range(len(order))])
    return plainly(graph.reshape(back, source.shape))


@rule("Pow")
def _pow(case: Case) -> tuple[Laid, Pullback]:
    """Powers with a known exponent."""
    graph, x = case.graph, case.given(0)
    exponent = case.known(1)
    if exponent.size != 1 or case.wanted(1):
        raise refuse(case, "one known exponent", exponent)
    power = float(exponent.reshape(()))

    def pull(dy: Laid) -> Sequence[Laid | None]:
        lower = graph.emit("Pow", x.tensor, graph.constant(power - 1), shape=x.tensor.shape)
        slope = graph.multiply(x.tensor if power == 2 else lower, graph.constant(power))
        return [Laid(graph.multiply(graph.arrange(dy, x.order), slope), x.order)]

    return Laid(graph.emit("Pow", x.tensor, graph.constant(power), shape=x.tensor.shape), x.order), pull
