"""Chains of steps that become one step, because together they have a better rule than one by one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from exporters.training.forward import Forward, Step

Match = Callable[["Chain", Step], Step | None]


class Chain:
    """The steps of a model, to look back from one to what it was made of."""

    def __init__(self, forward: Forward, steps: Sequence[Step]) -> None:
        self.forward = forward
        self.made = {step.output: step for step in steps}
        self._uses = Counter(name for step in steps for name in step.inputs)
        self._uses[forward.logits] += 1

    def before(self, name: str, op: str) -> Step | None:
        """The step that makes a value, if it is this operator and only one step needs the value."""
        step = self.made.get(name)
        return step if step is not None and step.op == op and self._uses[name] == 1 else None

    def number(self, name: str) -> float | None:
        """A constant that is one number."""
        value = self.forward.constants.get(name)
        return float(np.reshape(value, ())) if value is not None and np.size(value) == 1 else None

    def drop(self, *steps: Step) -> None:
        """Forget steps that are now part of another."""
        for step in steps:
            del self.made[step.output]


def merge(forward: Forward, steps: Sequence[Step]) -> list[Step]:
    """The steps, with every chain that has a rule of its own in one."""
    chain = Chain(forward, steps)
    for match in (_silu, _gelu, _linear, _block):
        for step in [*chain.made.values()][::-1]:  # from the end: the longest chains first
            if step.output in chain.made and (found := match(chain, step)) is not None:
                chain.made[step.output] = found
    return [*chain.made.values()]


def _silu(chain: Chain, step: Step) -> Step | None:
    """X * Sigmoid(x)."""
    if step.op == "Mul":
        for x, other in (step.inputs, step.inputs[::-1]):
            sigmoid = chain.before(other, "Sigmoid")
            if sigmoid is not None and sigmoid.inputs[0] == x:
                chain.drop(sigmoid)
                return Step("Silu", (x,), step.output)
    return None


def _gelu(chain: Chain, step: Step) -> Step | None:
    """X * (1 + Erf(x / sqrt(2))) / 2, with its factors in any order."""
    factors, parts = _factors(chain, step)
    for name in factors:
        plus = chain.before(name, "Add")
        erf = plus and next((e for n in plus.inputs if (e := chain.before(n, "Erf"))), None)
        scaled = erf and (chain.before(erf.inputs[0], "Div") or chain.before(erf.inputs[0], "Mul"))
        if not (plus and erf and scaled) or 1.0 not in map(chain.number, plus.inputs):
            continue
        x, by = sorted(scaled.inputs, key=lambda n: chain.number(n) is not None)
        root = (chain.number(by) or 0) if scaled.op == "Div" else 1 / (chain.number(by) or math.inf)
        rest = [n for n in factors if n != name]
        half = [n for n in rest if chain.number(n) == 0.5]
        if math.isclose(root, math.sqrt(2), rel_tol=1e-6) and len(half) == 1 and sorted(rest) == sorted([x, *half]):
            chain.drop(plus, erf, scaled, *parts)
            return Step("Gelu", (x,), step.output)
    return None


def _factors(chain: Chain, step: Step) -> tuple[list[str], list[Step]]:
    """The factors of a product of products, and the inner products."""
    if step.op != "Mul":
        return [], []
    for i, name in enumerate(step.inputs):
        inner = chain.before(name, "Mul")
        if inner is not None:
            return [*inner.inputs, step.inputs[1 - i]], [inner]
    return [*step.inputs], []


def _linear(chain: Chain, step: Step) -> Step | None:
    """MatMul by a matrix, and a vector of biases."""
    if step.op == "Add":
        for product, bias in (step.inputs, step.inputs[::-1]):
            matmul = chain.before(product, "MatMul")
            if matmul and len(_shape(chain, bias)) == 1 and len(_shape(chain, matmul.inputs[1])) == 2:
                chain.drop(matmul)
                return Step("Linear", (*matmul.inputs, bias), step.output)
    return None


def _block(chain: Chain, step: Step) -> Step | None:
    """Conv, perhaps BatchNormalization, perhaps Relu, perhaps MaxPool."""
    parts: dict[str, Step] = {}
    at: Step | None = step
    for op in ("MaxPool", "Relu", "BatchNormalization", "Conv"):
        if at is not None and at.op == op:
            parts[op] = at
            above = at.inputs[0]
            at = next((s for o in ("Relu", "BatchNormalization", "Conv") if (s := chain.before(above, o))), None)
    conv, norm, pool = parts.get("Conv"), parts.get("BatchNormalization"), parts.get("MaxPool")
    if conv is None or (norm and not (_is_frozen(chain, norm) and _folds(chain, conv))):
        return None
    chain.drop(*(part for part in parts.values() if part is not step))
    bias = conv.inputs[2] if len(conv.inputs) > 2 else ""
    attributes = {
        "conv": conv.attributes,
        "epsilon": norm.attributes.get("epsilon", 1e-5) if norm else None,
        "relu": "Relu" in parts,
        "pool": pool.attributes if pool else None,
    }
    inputs = (*conv.inputs[:2], bias, *(norm.inputs[1:] if norm else ()))
    return Step("ConvBlock", inputs, step.output, attributes)


def _shape(chain: Chain, name: str) -> tuple[int, ...]:
    constant = chain.forward.constants.get(name)
    return chain.forward.shapes.get(name, ()) if constant is None else constant.shape


def _folds(chain: Chain, conv: Step) -> bool:
    """Whether a scale per channel is better applied to the weights than to the maps; a batch is about 16 of these."""
    weight, out = _shape(chain, conv.inputs[1]), _shape(chain, conv.output)
    return math.prod(weight) <= 16 * abs(math.prod(out))


def _is_frozen(chain: Chain, norm: Step) -> bool:
    """Whether the statistics of a normalisation are constants."""
    known = all(name in chain.forward.constants for name in norm.inputs[3:])
    return known and not norm.attributes.get("training_mode", 0)
