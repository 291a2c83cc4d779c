"""From our windows to the input of somebody's model: normalised, turned, laid out; and a batch that is free.

    windows (n, length, channels) -> (x - mean) / std -> [channels first] -> [axes of one] -> the model's input

The sizes that the file says tell the order. Where they do not, because a size is free or length and channels are the
same, what runs is right; where both run, one must say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from exporters.own.read import initializers
from runtime.errors import InputError

ChannelsAt = Literal["last", "first"]  # where the channels are
Shapes = dict[str, tuple[int, ...]]
_FUNCTIONS = {"LSTM": [b"Sigmoid", b"Tanh", b"Tanh"], "GRU": [b"Sigmoid", b"Tanh"], "RNN": [b"Tanh"]}
_STATES = {"LSTM": (5, 6), "GRU": (5,), "RNN": (5,)}  # inputs of recurrent nets: what they begin with


@dataclass(frozen=True)
class InputLayout:
    """How windows become the model's input."""

    mean: NDArray[np.float32]  # per place of the last axis
    std: NDArray[np.float32]
    turn: tuple[int, ...]  # axes in the model's order, the batch first; empty: as they are
    shape: tuple[int, ...]  # of one input; what is behind the batch
    is_laid_out: bool  # with axes of 1, or flat

    def apply(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Inputs of our graph, shape (n, ...), as the model takes them, shape (n, *shape)."""
        values = (inputs - self.mean) / self.std
        values = values.transpose(self.turn) if self.turn else values
        return np.ascontiguousarray(values.reshape(len(values), *self.shape), np.float32)

    def nodes(self, source: str, target: str) -> tuple[list[NodeProto], dict[str, NDArray[Any]]]:
        """The same as nodes from one value to another, and their constants by name, each of the shape that it needs."""
        steps: list[tuple[str, NDArray[Any] | None, dict[str, Any]]] = []
        if self.mean.any():
            steps.append(("Sub", self.mean, {}))
        if (self.std != 1).any():
            steps.append(("Div", self.std, {}))
        if self.turn:
            steps.append(("Transpose", None, {"perm": self.turn}))
        if self.is_laid_out:
            steps.append(("Reshape", np.array([-1, *self.shape], np.int64), {}))
        if not steps:
            steps.append(("Identity", None, {}))
        nodes, constants, at = [], {}, source
        for i, (op, constant, said) in enumerate(steps):
            to = target if i == len(steps) - 1 else f"front/{i}"
            inputs = [at] if constant is None else [at, f"front/{op.lower()}"]
            if constant is not None:
                constants[inputs[1]] = constant
            nodes.append(helper.make_node(op, inputs, [to], f"front/{op}", **said))
            at = to
        return nodes, constants


def layouts_of(
    dims: Sequence[int | None], shape: tuple[int, ...], normalise: tuple[Sequence[float], Sequence[float]], where: str
) -> dict[ChannelsAt, InputLayout]:
    """The layouts that a model's input may mean.

    Args:
        dims: of the input, the batch first; None where a size is free.
        shape: of one input of our graph: (length, channels), (n_values,) or (3, height, width).
        normalise: mean and deviation per place of the last axis.
        where: the input, for messages.

    Raises:
        InputError: neither order fits.
    """
    mean, std = (np.array(part, np.float32) for part in normalise)
    rows = tuple(range(1, len(shape) + 1))
    turned = (0, rows[-1], *rows[:-1]) if len(shape) == 2 else (0, *rows[1:], 1)  # images: height, width, colour
    orders: dict[ChannelsAt, tuple[tuple[int, ...], tuple[int, ...]]] = {"last": ((), shape)}
    if len(shape) > 1:
        orders["first"] = (turned, tuple(shape[axis - 1] for axis in turned[1:]))
    found: dict[ChannelsAt, InputLayout] = {}
    for order, (turn, sizes) in orders.items():
        full = _full(dims[1:], sizes)
        if full is not None:
            found[order] = InputLayout(mean, std, turn, full, full != sizes)
    if not found:
        said = ", ".join("?" if dim is None else str(dim) for dim in dims)
        either = " or ".join(f"(n, {', '.join(map(str, sizes))})" for _, sizes in orders.values())
        fix = "Correct `signal` and `window` in the manifest."
        raise InputError(where, expected=f"an input of {either}, axes of 1 apart, or flat", got=f"({said})", fix=fix)
    return found


def _full(dims: Sequence[int | None], sizes: Sequence[int]) -> tuple[int, ...] | None:
    """The sizes of a model's input that stand for these in this order; None: they do not."""
    total = int(np.prod(sizes))
    if len(dims) == 1:
        return (total,) if dims[0] in (total, None) else None
    left, full = [size for size in sizes if size != 1], []
    extra = len(dims) - len(left)  # axes of one
    for dim in dims:
        if dim == 1 and extra > 0:
            extra -= 1
            full.append(1)
        elif left and dim in (left[0], None):
            full.append(left.pop(0))
        elif dim is None and extra > 0:
            extra -= 1
            full.append(1)
        else:
            return None
    return tuple(full) if not left else None


def choose(
    found: dict[ChannelsAt, InputLayout],
    told: ChannelsAt | None,
    runs: Callable[[InputLayout], bool],
    dims: Sequence[int | None],
    where: str,
) -> InputLayout:
    """The one layout.

    Args:
        found: those that fit by their sizes.
        told: what the user says; None: nothing.
        runs: whether the model runs on it.
        dims: of the input, for the message.
        where: the input, for messages.

    Raises:
        InputError: none runs, or both do.
    """
    if told is not None:
        found = {order: layout for order, layout in found.items() if order == told}
    elif len(dims) == 2:
        found = {order: layout for order, layout in found.items() if order == "last"}  # row by row, as reshape does
    good = {order: layout for order, layout in found.items() if runs(layout)}
    if len(good) == 1:
        return next(iter(good.values()))
    said = ", ".join("?" if dim is None else str(dim) for dim in dims)
    if not good:
        tried = " or ".join(f"(n, {', '.join(map(str, one.shape))})" for one in found.values())
        got = f"({said}), which does not run as {tried or told}"
        raise InputError(where, expected="the manifest's windows", got=got, fix="Correct `signal` and `window`.")
    fix = "Say --channels first or --channels last."
    raise InputError(where, expected="an order of axes that its sizes tell", got=f"({said})", fix=fix)


def free_batch(model: ModelProto, dims: Sequence[int | None], shapes: Shapes) -> None:
    """Let a graph take any number of windows, in place, as far as its constants allow.

    Args:
        model: folded.
        dims: of its input as the file says.
        shapes: of its values at that batch.
    """
    known = initializers(model)
    for node in model.graph.node if dims[0] is not None else ():
        sizes = node.input[1] if node.op_type in ("Reshape", "Expand") else ""
        if sizes in known and node.input[0] not in known:
            freed = _freed(node.op_type, known[sizes], shapes.get(node.output[0], ()), dims[0] or 1)
            node.input[1] = f"{node.output[0]}/sizes"
            model.graph.initializer.append(numpy_helper.from_array(freed, node.input[1]))
    _drop_states(model)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.ClearField("shape")


def _freed(op: str, sizes: NDArray[np.int64], shape: tuple[int, ...], batch: int) -> NDArray[np.int64]:
    """Sizes that a node gives, with any number in the place of the batch."""
    if op == "Expand":  # where 1 says: as it is
        at = [*sizes].index(batch) if batch in sizes else 0
        return np.array([*sizes[:at], 1, *sizes[at + 1 :]], np.int64) if sizes[at] == batch else sizes
    at = shape.index(batch) if batch in shape else 0
    return np.array([*shape[:at], -1, *shape[at + 1 :]], np.int64) if shape and shape[at] % batch == 0 else sizes


def _drop_states(model: ModelProto) -> None:
    """Recurrent nets that begin with zeros for so many windows begin with zeros for any number.

    Functions that are the usual ones are not named: `exporters.training` then knows them.
    """
    known = initializers(model)
    for node in model.graph.node:
        for place in _STATES.get(node.op_type, ()):
            name = node.input[place] if len(node.input) > place else ""
            if name in known and not known[name].any():
                node.input[place] = ""
        while node.op_type in _STATES and not node.input[-1]:
            node.input.pop()
        usual = _FUNCTIONS.get(node.op_type, [])
        for entry in [entry for entry in node.attribute if entry.name == "activations" and usual]:
            if [*entry.strings] == usual * (len(entry.strings) // len(usual)):
                node.attribute.remove(entry)
