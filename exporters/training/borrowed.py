"""Rules that we do not have, from the package onnx-ad where it is installed.

It differentiates any ONNX graph. So the operator is put into a graph of its own, and what onnx-ad makes of that graph
is copied into ours. Its nodes are correct and carry one more axis than needed: fine for an activation function, too
slow for what most of the time is spent on, which is why the other rules are here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from exporters.training.differentiate import Case, Pullback, refuse
from exporters.training.forward import INNER
from exporters.training.graph import OPSET, Graph, Laid, Shape, Tensor, plainly

_CURE = "Train from a later layer, add a rule to exporters.training, or: pip install onnx-ad"


def borrowed(case: Case) -> tuple[Laid, Pullback]:
    """The rule of any operator that onnx-ad knows.

    Raises:
        InputError: it is not installed, or does not know the operator either.
    """
    graph = case.graph
    if case.op in INNER:
        raise refuse(case, "an operator without a graph of its own", case.op)
    inputs = [graph.arrange(value) if value else None for value in case.inputs]
    if case.shape is None:
        raise refuse(case, "a shape that was seen", None)
    y = graph.emit(case.op, *inputs, shape=case.shape, **case.attributes)
    wanted = [i for i, want in enumerate(case.wants) if want]
    backward = _reversed(case, inputs, y, wanted) if wanted else None

    def pull(dy: Laid) -> Sequence[Laid | None]:
        assert backward is not None
        names = {f"x{i}": tensor for i, tensor in enumerate(inputs) if tensor}
        names["adj_y"] = graph.reshape(graph.arrange(dy), (*y.shape, 1))
        made = {f"adj_x{i}": (*inputs[i].shape, 1) for i in wanted}  # type: ignore[union-attr]
        found = _copied(graph, backward, names, made)
        parts: list[Laid | None] = [None] * len(inputs)
        for i in wanted:
            parts[i] = plainly(graph.reshape(found[f"adj_x{i}"], made[f"adj_x{i}"][:-1]))
        return parts

    return plainly(y), pull


def _reversed(case: Case, inputs: Sequence[Tensor | None], y: Tensor, wanted: Sequence[int]) -> GraphProto:
    """The operator's own graph, differentiated: x0, x1, ..., adj_y -> adj_x0, ..."""
    try:
        import onnx_ad
    except ImportError:
        raise refuse(case, "an operator with a rule", case.op, _CURE) from None
    variable = {i: tensor for i, tensor in enumerate(inputs) if tensor and tensor.value is None}
    known = [numpy_helper.from_array(t.value, f"x{i}") for i, t in enumerate(inputs) if t and t.value is not None]
    names = [f"x{i}" if tensor else "" for i, tensor in enumerate(inputs)]
    own = helper.make_graph(
        [helper.make_node(case.op, names, ["y"], **case.attributes)],
        "own",
        [_info(f"x{i}", tensor) for i, tensor in variable.items()],
        [_info("y", y)],
        known,
    )
    model = helper.make_model(own, opset_imports=[helper.make_opsetid("", OPSET)])
    try:
        reversed_model: ModelProto = onnx_ad.reverse(model, inputs=[f"x{i}" for i in wanted], layout="onnx")
    except (onnx_ad.UnsupportedOperator, NotImplementedError) as error:
        raise refuse(case, "an operator that has a rule, here or in onnx-ad", error, _CURE) from error
    return reversed_model.graph


def _info(name: str, tensor: Tensor) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n" if dim < 0 else dim for dim in tensor.shape])


def _copied(
    graph: Graph, source: GraphProto, given: Mapping[str, Tensor], made: Mapping[str, Shape]
) -> dict[str, Tensor]:
    """Copy the nodes of another graph: `given` are its inputs, `made` names the outputs that are wanted."""
    at = dict(given)
    for tensor in source.initializer:
        array = numpy_helper.to_array(tensor)
        at.setdefault(tensor.name, graph.constant(array, array.dtype))
    for node in source.node:
        if any(entry.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for entry in node.attribute):
            raise AssertionError(f"{node.op_type} with a graph inside")
        attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        outputs = graph.emit_many(
            node.op_type,
            *(at[name] if name else None for name in node.input),
            shapes=[made.get(name, ()) if name else None for name in node.output],
            **attributes,
        )
        at.update(zip(node.output, outputs, strict=True))
    return {name: at[name] for name in made}
