"""What transformers are made of besides matrix products: layer normalisation, softmax and GELU."""

from __future__ import annotations

import math
from collections.abc import Sequence

from exporters.training.differentiate import Case, Pullback, refuse, rule
from exporters.training.graph import Laid, plainly


@rule("Softmax")
def _softmax(case: Case) -> tuple[Laid, Pullback]:
    """Dx = y (dy - sum(dy y))."""
    graph, x = case.graph, case.given(0)
    at = x.order.index(case.attributes.get("axis", -1) % len(x.order))
    y = graph.unary("Softmax", x.tensor, axis=at)

    def pull(dy: Laid) -> Sequence[Laid | None]:
        d = graph.arrange(dy, x.order)
        mean = graph.sum(graph.multiply(d, y), [at], keep=True)
        return [Laid(graph.multiply(y, graph.subtract(d, mean)), x.order)]

    return Laid(y, x.order), pull


@rule("LayerNormalization")
def _layer_norm(case: Case) -> tuple[Laid, Pullback]:
    """Y = gamma h + beta with h = (x - mean) / deviation.

    With g = gamma dy: dx = (g - mean(g) - h mean(g h)) / deviation.
    """
    graph = case.graph
    x = graph.arrange(case.given(0))
    last = len(x.shape) - 1
    if case.attributes.get("axis", -1) % (last + 1) != last:
        raise refuse(case, "normalisation over the last axis", case.attributes["axis"])
    gamma = graph.arrange(case.given(1))
    given = case.optional(2)
    rows = (*x.shape[:-1], 1)
    inputs = (x, gamma, graph.arrange(given)) if given else (x, gamma)
    epsilon = case.attributes.get("epsilon", 1e-5)
    y, mean, inverse = graph.emit_many(case.op, *inputs, shapes=(x.shape, rows, rows), axis=-1, epsilon=epsilon)

    def pull(dy: Laid) -> Sequence[Laid | None]:
        d = graph.arrange(dy)
        h = graph.multiply(graph.subtract(x, mean), inverse)
        dx = d_gamma = d_beta = None
        if case.wanted(0):
            g = graph.multiply(d, gamma)
            part = graph.constant(1 / x.shape[last])
            mean_g = graph.multiply(graph.sum(g, [last], keep=True), part)
            mean_gh = graph.multiply(graph.sum(graph.multiply(g, h), [last], keep=True), part)
            rest = graph.subtract(graph.subtract(g, mean_g), graph.multiply(h, mean_gh))
            dx = plainly(graph.multiply(rest, inverse))
        if case.wanted(1):
            d_gamma = plainly(graph.sum(graph.multiply(d, h), range(last)))
        if case.wanted(2):
            d_beta = plainly(graph.sum(d, range(last)))
        return [dx, d_gamma, d_beta]

    return plainly(y), pull


@rule("Gelu")
def _gelu(case: Case) -> tuple[Laid, Pullback]:
    """Y = x P(x) with P(x) = (1 + erf(x / sqrt 2)) / 2; its slope is P(x) + x exp(-x^2 / 2) / sqrt(2 pi)."""
    graph, x = case.graph, case.given(0)
    scaled = graph.multiply(x.tensor, graph.constant(math.sqrt(0.5)))
    half = graph.constant(0.5)
    share = graph.add(graph.multiply(graph.unary("Erf", scaled), half), half)
    y = graph.multiply(x.tensor, share)

    def pull(dy: Laid) -> Sequence[Laid | None]:
        bell = graph.unary("Exp", graph.unary("Neg", graph.multiply(scaled, scaled)))
        density = graph.multiply(bell, graph.constant(1 / math.sqrt(2 * math.pi)))
        slope = graph.add(share, graph.multiply(x.tensor, density))
        return [Laid(graph.multiply(graph.arrange(dy, x.order), slope), x.order)]

    return Laid(y, x.order), pull
