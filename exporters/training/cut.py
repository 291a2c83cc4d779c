"""Where the frozen part of a model ends.

    windows -> o -> o -> [cut] -> o -> o -> logits
               frozen             all that training must run again

The steps that depend on a trainable tensor must be run in every step of the training. What else they need is computed
once per window and kept; it has to be one value, with one row per window. Where several values cross the border, or
one of another form, steps before it are taken in until one value is left. A step with frozen tensors is not taken in:
they may differ from device to device.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass

from exporters.training.forward import Forward, Step
from runtime.errors import InputError


@dataclass(frozen=True)
class Cut:
    """The value at which the frozen part ends, and the steps after it."""

    name: str
    steps: tuple[Step, ...]


def find_cut(forward: Forward, trainable: Set[str], *, at_windows: bool) -> Cut:
    """Find the last place at which everything before it can be frozen.

    Args:
        forward: the model.
        trainable: names of the tensors that are trained.
        at_windows: ask for the windows themselves.

    Raises:
        InputError: more than one value crosses the border.
    """
    inside = _depending(forward.steps, trainable)
    frozen = _depending(forward.steps, forward.parameters.keys() - trainable) - _depending(forward.steps, {"windows"})
    makers = {step.output: step for step in forward.steps}
    while True:
        border = _border(forward, inside, makers)
        if len(border) == 1 and _fits(forward, border[0]) and (border[0] == "windows" or not at_windows):
            return Cut(border[0], tuple(step for step in forward.steps if step.output in inside))
        takeable = [name for name in border if name in makers]
        latest = makers[max(takeable, key=[*makers].index)] if takeable else None
        if latest is None or frozen.intersection(latest.inputs):
            raise InputError(
                f"training graph from {min(trainable)}",
                expected="one value, with a row per window, between the frozen layers and the trained ones",
                got=" and ".join(border) or "none",
                fix="Train from an earlier layer.",
            )
        inside.add(latest.output)


def _depending(steps: Sequence[Step], trainable: Collection[str]) -> set[str]:
    """Names of the values that change with the trainable tensors."""
    found = set(trainable)
    for step in steps:
        if found.intersection(step.inputs):
            found.add(step.output)
    return found


def _border(forward: Forward, inside: Collection[str], makers: dict[str, Step]) -> list[str]:
    """What the steps inside need from outside: values, and tensors that are frozen."""
    needed = {name for step in forward.steps if step.output in inside for name in step.inputs if name}
    known = {*inside, *forward.constants}
    return sorted(name for name in needed - known if name == "windows" or name in makers or name in forward.parameters)


def _fits(forward: Forward, name: str) -> bool:
    """Whether a value of the model has one row per window."""
    shape = forward.shapes.get(name, ())
    return shape[:1] == (-1,) and all(dim > 0 for dim in shape[1:])
