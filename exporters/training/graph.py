"""The graph that is being built: tensors with shapes, and one method per operator that the rules need.

Shapes are tuples of integers in which -k stands for k times the batch, so that products and quotients of shapes come
out right by themselves: a tensor of shape (-1, 8, 6), seen as a matrix, is (-1, 48) or (-48,). There is at most one
such entry in a shape, and it is where `Reshape` gets its -1.

Two things keep the graph small without any rule having to think of them: what is known is computed here and now, and
what was asked for before is not computed twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

Shape = tuple[int, ...]

OPSET = 18
_IR_VERSION = 9  # what onnxruntime 1.19 reads


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value of the graph: its name, its shape, and its contents where they are known."""

    name: str
    shape: Shape
    value: NDArray[Any] | None = None


@dataclass(frozen=True)
class Laid:
    """A value of the model as it lies in memory here: axis i of `tensor` is axis order[i] of the value.

    A transposition in the model changes the order and moves nothing; a rule that needs the axes in an order of its own
    asks for it with `Graph.arrange`.
    """

    tensor: Tensor
    order: tuple[int, ...]

    @property
    def shape(self) -> Shape:
        """The shape of the value in the model."""
        shape = dict(zip(self.order, self.tensor.shape, strict=True))
        return tuple(shape[axis] for axis in range(len(shape)))


def plainly(tensor: Tensor) -> Laid:
    """A tensor that lies as the model has it."""
    return Laid(tensor, tuple(range(len(tensor.shape))))


class Graph:
    """Collects nodes; `model` gives them back as a file, without those that no output needs."""

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, NDArray[Any]] = {}
        self._known: dict[object, list[Tensor]] = {}
        self._reshaped: dict[str, Tensor] = {}  # what a Reshape was made of

    def __len__(self) -> int:
        return len(self._nodes)

    def constant(self, value: Any, dtype: Any = np.float32) -> Tensor:
        """A tensor with contents that are known."""
        array = np.asarray(value, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            name = f"constant_{len(self._constants)}"
            self._constants[name] = array
            self._known[key] = [Tensor(name, array.shape, array)]
        return self._known[key][0]

    def emit(self, op: str, *inputs: Tensor | None, shape: Shape, **attributes: Any) -> Tensor:
        """Add a node with one output."""
        return self.emit_many(op, *inputs, shapes=[shape], **attributes)[0]

    def emit_many(
        self, op: str, *inputs: Tensor | None, shapes: Sequence[Shape | None], **attributes: Any
    ) -> list[Tensor]:
        """Add a node with one output per shape; None stands for an input or an output that is left out."""
        names = [tensor.name if tensor else "" for tensor in inputs]
        key = (op, *names, len(shapes), repr(sorted(attributes.items())))
        if key not in self._known:
            number = len(self._nodes)
            outputs = ["" if shape is None else f"{op.lower()}_{number}_{i}" for i, shape in enumerate(shapes)]
            self._nodes.append(helper.make_node(op, names, outputs, name=f"{op}_{number}", **attributes))
            self._known[key] = [Tensor(name, shape or ()) for name, shape in zip(outputs, shapes, strict=True)]
        return self._known[key]

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        """A + b, with broadcasting, as `subtract`, `multiply` and `divide` have it."""
        return self._binary("Add", np.add, a, b)

    def subtract(self, a: Tensor, b: Tensor) -> Tensor:
        """Emit a - b, element by element, with broadcasting."""
        return self._binary("Sub", np.subtract, a, b)

    def multiply(self, a: Tensor, b: Tensor) -> Tensor:
        """Emit a * b, element by element, with broadcasting."""
        return self._binary("Mul", np.multiply, a, b)

    def divide(self, a: Tensor, b: Tensor) -> Tensor:
        """Emit a / b, element by element, with broadcasting."""
        return self._binary("Div", np.divide, a, b)

    def greater(self, a: Tensor, b: Tensor) -> Tensor:
        """1.0 where a > b, else 0.0: a factor for gradients, which costs less than Where."""
        shape = broadcast(a.shape, b.shape)
        return self.emit("Cast", self.emit("Greater", a, b, shape=shape), shape=shape, to=TensorProto.FLOAT)

    def unary(self, op: str, a: Tensor, **attributes: Any) -> Tensor:
        """An operator that keeps the shape, such as Exp or Relu."""
        return self.emit(op, a, shape=a.shape, **attributes)

    def reshape(self, a: Tensor, shape: Shape) -> Tensor:
        """The same numbers in another shape."""
        a = self._reshaped.get(a.name, a)
        if a.shape == shape:
            return a
        if math.prod(a.shape) != math.prod(shape):
            raise AssertionError(f"{a.shape} does not fit into {shape}")
        if a.value is not None:
            return self.constant(a.value.reshape(shape), a.value.dtype)
        target = self.constant([max(dim, -1) for dim in shape], np.int64)
        result = self.emit("Reshape", a, target, shape=shape)
        self._reshaped[result.name] = a
        return result

    def transpose(self, a: Tensor, axes: Sequence[int]) -> Tensor:
        """Axis i of the result is axis axes[i] of `a`. Where only axes of size 1 pass others nothing moves."""
        shape = tuple(a.shape[axis] for axis in axes)
        long = [axis for axis in axes if a.shape[axis] != 1]
        if long == sorted(long):
            return self.reshape(a, shape)
        if a.value is not None:
            return self.constant(a.value.transpose(axes), a.value.dtype)
        return self.emit("Transpose", a, shape=shape, perm=list(axes))

    def arrange(self, value: Laid, order: Sequence[int] | None = None) -> Tensor:
        """A value of the model with its axes in this order; None is the model's own."""
        order = range(len(value.order)) if order is None else order
        return self.transpose(value.tensor, [value.order.index(axis) for axis in order])

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """The product of matrices, or of stacks of them."""
        shape = (*broadcast(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
        return self.emit("MatMul", a, b, shape=shape)

    def gemm(self, a: Tensor, b: Tensor, c: Tensor | None = None, *, ta: bool = False, tb: bool = False) -> Tensor:
        """A @ b + c for matrices, each of a and b transposed or not."""
        shape = (a.shape[1] if ta else a.shape[0], b.shape[0] if tb else b.shape[1])
        inputs = (a, b) if c is None else (a, b, c)
        return self.emit("Gemm", *inputs, shape=shape, transA=int(ta), transB=int(tb))

    def sum(self, a: Tensor, axes: Sequence[int], *, keep: bool = False) -> Tensor:
        """The sum over some axes."""
        axes = sorted(axes)
        if not axes:
            return a
        short = tuple(dim for i, dim in enumerate(a.shape) if i not in axes)
        kept = tuple(1 if i in axes else dim for i, dim in enumerate(a.shape))
        if all(a.shape[i] == 1 for i in axes):
            return self.reshape(a, kept if keep else short)
        return self.emit(
            "ReduceSum", a, self.constant(axes, np.int64), shape=kept if keep else short, keepdims=int(keep)
        )

    def slice(self, a: Tensor, axis: int, begin: int, length: int, step: int = 1) -> Tensor:
        """`length` entries along an axis, every `step`-th from `begin` on."""
        if (begin, length, step) == (0, a.shape[axis], 1):
            return a
        if a.value is not None:
            return self.constant(a.value.take(range(begin, begin + length * step, step), axis), a.value.dtype)
        shape = tuple(length if i == axis else dim for i, dim in enumerate(a.shape))
        end = begin + (length - 1) * step + (1 if step > 0 else -1)
        places = [self.constant([number], np.int64) for number in (begin, end if end >= 0 else -(2**31), axis, step)]
        return self.emit("Slice", a, *places, shape=shape)

    def split(self, a: Tensor, axis: int, sizes: Sequence[int]) -> list[Tensor]:
        """The parts of these sizes along an axis."""
        if len(sizes) == 1:
            return [a]
        shapes = [tuple(size if i == axis else dim for i, dim in enumerate(a.shape)) for size in sizes]
        return self.emit_many("Split", a, self.constant(list(sizes), np.int64), shapes=shapes, axis=axis)

    def concat(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        """Parts one after the other along an axis."""
        if len(parts) == 1:
            return parts[0]
        size = sum(part.shape[axis] for part in parts)
        shape = tuple(size if i == axis else dim for i, dim in enumerate(parts[0].shape))
        return self.emit("Concat", *parts, shape=shape, axis=axis)

    def gather(self, a: Tensor, axis: int, indices: NDArray[np.int64]) -> Tensor:
        """Entries by their places along an axis, in whose stead the axes of `indices`, of any shape, come."""
        shape = (*a.shape[:axis], *indices.shape, *a.shape[axis + 1 :])
        return self.emit("Gather", a, self.constant(indices, np.int64), shape=shape, axis=axis)

    def pad(self, a: Tensor, axis: int, before: int, after: int, value: float = 0.0) -> Tensor:
        """More entries at both ends of an axis; fewer where a number is negative."""
        if before <= 0 and after <= 0:
            return self.slice(a, axis, -before, a.shape[axis] + before + after)
        rank = len(a.shape)
        pads = [0] * (2 * rank)
        pads[axis], pads[rank + axis] = before, after
        shape = tuple(dim + before + after if i == axis else dim for i, dim in enumerate(a.shape))
        return self.emit("Pad", a, self.constant(pads, np.int64), self.constant(value), shape=shape)

    def total(self, parts: Sequence[Tensor]) -> Tensor:
        """The sum of tensors of one shape."""
        if len(parts) == 2:
            return self.add(*parts)
        return parts[0] if len(parts) == 1 else self.emit("Sum", *parts, shape=parts[0].shape)

    def _binary(self, op: str, compute: Callable[..., NDArray[Any]], a: Tensor, b: Tensor) -> Tensor:
        if a.value is not None and b.value is not None:
            return self.constant(compute(a.value, b.value), a.value.dtype)
        return self.emit(op, a, b, shape=broadcast(a.shape, b.shape))

    def needed(self, outputs: Sequence[Tensor]) -> list[NodeProto]:
        """The nodes that these tensors are made by, in the order in which they run."""
        wanted = {tensor.name for tensor in outputs}
        nodes = []
        for node in reversed(self._nodes):
            if wanted.intersection(node.output):
                wanted.update(node.input)
                nodes.append(node)
        return nodes[::-1]

    def shapes(self) -> dict[str, Shape]:
        """The shape of every tensor that a node makes."""
        return {tensor.name: tensor.shape for made in self._known.values() for tensor in made}

    def model(self, inputs: Mapping[str, tuple[int, Shape]], outputs: Mapping[str, Tensor]) -> bytes:
        """The file's bytes.

        Args:
            inputs: data type and shape of each input, by name; the nodes use the names.
            outputs: tensors that are to be had under other names.
        """
        nodes = self.needed(list(outputs.values()))
        read = {name for node in nodes for name in node.input}
        nodes += [helper.make_node("Identity", [tensor.name], [name], name=name) for name, tensor in outputs.items()]
        graph = GraphProto(
            name="training",
            node=nodes,
            input=[
                helper.make_tensor_value_info(name, kind, _dims(shape, "batch"))
                for name, (kind, shape) in inputs.items()
            ],
            output=[
                helper.make_tensor_value_info(name, TensorProto.FLOAT, _dims(tensor.shape, "batch"))
                for name, tensor in outputs.items()
            ],
            initializer=[
                numpy_helper.from_array(array, name) for name, array in self._constants.items() if name in read
            ],
        )
        model: ModelProto = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=_IR_VERSION,
            producer_name="sensedge",
        )
        data: bytes = model.SerializeToString(deterministic=True)
        return data


def broadcast(a: Shape, b: Shape) -> Shape:
    """The shape of an element-wise operation."""
    rank = max(len(a), len(b))
    pairs = zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True)
    shape = []
    for left, right in pairs:
        if left != right and 1 not in (left, right):
            raise AssertionError(f"{a} and {b} do not fit together")
        shape.append(right if left == 1 else left)
    return tuple(shape)


def _dims(shape: Shape, batch: str) -> list[int | str]:
    return [batch if dim == -1 else dim for dim in shape]
