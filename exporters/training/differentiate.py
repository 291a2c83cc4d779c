"""Reverse-mode differentiation: a rule per operator, a walk forward and a walk back.

    forward     every rule emits its operator and hands back the outcome and a `pull`
    back        in reverse order every pull turns the gradient of an outcome into those of its inputs

A rule sees values as they lie in memory (`Laid`) and may choose how its outcome lies. It emits nothing for inputs that
need no gradient: `step.wants` says which do. Rules stand in the files of their families and register by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from exporters.training.forward import Step
from exporters.training.graph import Graph, Laid, Shape, Tensor
from runtime.errors import InputError

Pull = Callable[[Laid], Sequence[Laid | None]]


@dataclass(frozen=True)
class Task:
    """A step with all that a rule must know of it."""

    graph: Graph
    op: str
    inputs: tuple[Laid | None, ...]  # None where one is missing, or is a size that depends on the batch
    wants: tuple[bool, ...]  # which inputs need a gradient
    attributes: Mapping[str, Any]
    shape: Shape | None  # of the outcome, in the model; None where it was not seen
    output: str = field(default="", compare=False)  # name, for messages

    def given(self, index: int) -> Laid:
        """An input that cannot be missing."""
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
        """The contents of an input that must not depend on windows or parameters."""
        value = self.given(index).tensor.value
        if value is None:
            raise refuse(self, f"an input {index} that does not depend on the windows", "one that does")
        return value


Rule = Callable[[Task], tuple[Laid, Pull]]
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


def refuse(task: Task, expected: str, got: object) -> InputError:
    """The error of a rule that does not cover a case."""
    return InputError(
        f"training graph: {task.op} that makes {task.output}",
        expected=expected,
        got=got,
        fix="Train from a later layer, or add the case to exporters.training.",
    )


class Tape:
    """What the walk forward leaves for the walk back.

    Args:
        graph: where nodes are emitted.
        values: what the steps start from, by name.
        wanted: the names of those whose gradient is asked for.
    """

    def __init__(self, graph: Graph, values: Mapping[str, Laid], wanted: Sequence[str]) -> None:
        self.values: dict[str, Laid] = dict(values)
        self._graph = graph
        self._wanted = set(wanted)
        self._pulls: list[tuple[Step, Pull]] = []

    def forward(self, step: Step, shape: Shape | None) -> None:
        """Emit a step.

        Raises:
            InputError: no rule for the operator, or none for this use of it; the message names it.
        """
        inputs = tuple(self.values.get(name) for name in step.inputs)
        wants = tuple(name in self._wanted for name in step.inputs)
        task = Task(self._graph, step.op, inputs, wants, step.attributes, shape, step.output)
        if step.op not in _RULES:
            raise refuse(task, "an operator with a rule", step.op)
        self.values[step.output], pull = _RULES[step.op](task)
        if any(wants):
            self._wanted.add(step.output)
            self._pulls.append((step, pull))

    def back(self, name: str, gradient: Laid) -> dict[str, Laid]:
        """Gradients of all that was wanted and has one, given that of the value `name`."""
        found: dict[str, list[Laid]] = {name: [gradient]}
        for step, pull in reversed(self._pulls):
            if step.output in found:
                total = add_up(self._graph, found.pop(step.output), self.values[step.output])
                for source, part in zip(step.inputs, pull(total), strict=False):
                    if part is not None and source in self._wanted:
                        found.setdefault(source, []).append(part)
        return {name: add_up(self._graph, parts, self.values[name]) for name, parts in found.items()}


def add_up(graph: Graph, parts: Sequence[Laid], value: Laid) -> Laid:
    """The sum of several gradients, laid as the value is when there are more than one."""
    if len(parts) == 1:
        return parts[0]
    tensors: list[Tensor] = [graph.arrange(part, value.order) for part in parts]
    return Laid(graph.total(tensors), value.order)
