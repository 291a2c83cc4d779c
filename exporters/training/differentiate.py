"""Reverse-mode differentiation: a rule per operator, a walk forward and a walk back.

    forward     every rule emits its operator and hands back the outcome and a `pull`
    back        in reverse order every pull turns the gradient of an outcome into those of its inputs

A rule sees values as they lie in memory (`Laid`) and may choose how its outcome lies. It emits nothing for inputs that
need no gradient: `step.wants` says which do. Rules stand in the files of their families and register by name.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from exporters.training.forward import Step
from exporters.training.graph import Graph, Laid, Shape
from runtime.errors import InputError


@dataclass(frozen=True)
class SliceGradient:
    """A gradient that is 0 but for a run of entries along one axis."""

    inner: Laid
    axis: int  # of the value in the model
    begin: int
    size: int  # of the whole axis

    def whole(self, graph: Graph) -> Laid:
        """The gradient of the whole axis: zeros before and after the run."""
        at = self.inner.order.index(self.axis)
        after = self.size - self.begin - self.length
        return Laid(graph.pad(self.inner.tensor, at, self.begin, after), self.inner.order)

    @property
    def length(self) -> int:
        """How many entries along the axis are not 0."""
        return self.inner.shape[self.axis]


Pullback = Callable[[Laid], Sequence[Laid | SliceGradient | None]]


@dataclass(frozen=True)
class Case:
    """A step with all that a rule must know of it."""

    graph: Graph
    op: str
    inputs: tuple[Laid | None, ...]  # None where one is missing, or is a size that depends on the batch
    wants: tuple[bool, ...]  # which inputs need a gradient
    attributes: Mapping[str, Any]
    shape: Shape | None  # of the outcome, in the model; None where it was not seen
    output: str = field(default="", compare=False)  # name, for messages

    def given(self, index: int) -> Laid:
        """An input that cannot be missing.

        Raises:
            InputError: it is missing.
        """
        value = self.inputs[index]
        if value is None:
            raise refuse(self, f"input {index}", "none")
        return value

    def optional(self, index: int) -> Laid | None:
        """An input that may be missing."""
        return self.inputs[index] if index < len(self.inputs) else None

    def wanted(self, index: int) -> bool:
        """Whether an input is there and needs a gradient."""
        return index < len(self.wants) and self.wants[index]

    def known(self, index: int) -> Any:
        """The contents of an input that must not depend on windows or parameters.

        Raises:
            InputError: they do depend on them.
        """
        value = self.given(index).tensor.value
        if value is None:
            raise refuse(self, f"an input {index} that does not depend on the windows", "one that does")
        return value


Rule = Callable[[Case], tuple[Laid, Pullback]]
_RULES: dict[str, Rule] = {}


def rule(*ops: str) -> Callable[[Rule], Rule]:
    """Register the rule of one or more operators."""

    def register(function: Rule) -> Rule:
        for op in ops:
            if op in _RULES:
                raise AssertionError(f"two rules for {op}")
            _RULES[op] = function
        return function

    return register


def refuse(case: Case, expected: str, got: object, fix: str = "") -> InputError:
    """The error of a rule that does not cover a case."""
    return InputError(
        f"training graph: {case.op} that makes {case.output}",
        expected=expected,
        got=got,
        fix=fix or "Train from a later layer, or add the case to exporters.training.",
    )


class Tape:
    """What the walk forward leaves for the walk back.

    Args:
        graph: where nodes are emitted.
        values: what the steps start from, by name.
        wanted: the names of those whose gradient is asked for.
        otherwise: the rule of operators that have none.
    """

    def __init__(self, graph: Graph, values: Mapping[str, Laid], wanted: Sequence[str], otherwise: Rule) -> None:
        self._otherwise = otherwise
        self.values: dict[str, Laid] = dict(values)
        self._graph = graph
        self._wanted = set(wanted)
        self._pulls: list[tuple[Step, Pullback]] = []

    def forward(self, step: Step, shape: Shape | None) -> None:
        """Emit a step.

        Raises:
            InputError: no rule for the operator, or none for this use of it; the message names it.
        """
        inputs = tuple(self.values.get(name) for name in step.inputs)
        wants = tuple(name in self._wanted for name in step.inputs)
        case = Case(self._graph, step.op, inputs, wants, step.attributes, shape, step.output)
        self.values[step.output], pull = _RULES.get(step.op, self._otherwise)(case)
        if any(wants):
            self._wanted.add(step.output)
            self._pulls.append((step, pull))

    def back(self, name: str, gradient: Laid) -> dict[str, Laid]:
        """Gradients of all that was wanted and has one, given that of the value `name`."""
        found: dict[str, list[Laid | SliceGradient]] = {name: [gradient]}
        for step, pull in reversed(self._pulls):
            if step.output in found:
                total = add_up(self._graph, found.pop(step.output), self.values[step.output])
                for source, part in zip(step.inputs, pull(total), strict=False):
                    if part is not None and source in self._wanted:
                        found.setdefault(source, []).append(part)
        return {name: add_up(self._graph, parts, self.values[name]) for name, parts in found.items()}


def add_up(graph: Graph, parts: Sequence[Laid | SliceGradient], value: Laid) -> Laid:
    """The sum of several gradients, laid as the value is when there are more than one."""
    parts = _joined(graph, parts, value)
    whole = [part.whole(graph) if isinstance(part, SliceGradient) else part for part in parts]
    if len(whole) == 1:
        return whole[0]
    return Laid(graph.total([graph.arrange(part, value.order) for part in whole]), value.order)


def _joined(graph: Graph, parts: Sequence[Laid | SliceGradient], value: Laid) -> Sequence[Laid | SliceGradient]:
    """The parts, with the pieces that lie end to end as one: so what was split costs a Concat on the way back."""
    pieces = sorted((part for part in parts if isinstance(part, SliceGradient)), key=lambda piece: piece.begin)
    if len({piece.axis for piece in pieces}) != 1 or [piece.begin for piece in pieces] != _ends(pieces)[:-1]:
        return parts
    axis, begin, size = pieces[0].axis, pieces[0].begin, pieces[0].size
    tensors = [graph.arrange(piece.inner, value.order) for piece in pieces]
    joined = SliceGradient(Laid(graph.concat(tensors, value.order.index(axis)), value.order), axis, begin, size)
    return [*(part for part in parts if isinstance(part, Laid)), joined]


def _ends(pieces: Sequence[SliceGradient]) -> list[int]:
    """Where each would begin if it began where the one before ends, and where the last one ends."""
    return list(itertools.accumulate((piece.length for piece in pieces), initial=pieces[0].begin))
