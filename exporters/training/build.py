"""From a model to a graph that gives the loss and its gradient.

    activations, labels, weights, theta  ->  loss, gradient, logits

    theta --split--> parameters -.                            loss = sum_i w_i CE_i / sum_i w_i
    activations --------------- steps after the cut -> logits -'
    gradient <--concat-- gradients of the parameters <- the same steps, backwards <-'

Batch normalisation keeps its statistics and dropout is off, as in the model itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

# These register their rules.
from exporters.training import attention, convolution, elementwise, linear, moves, recurrent  # noqa: F401
from exporters.training.borrowed import borrowed
from exporters.training.cut import Cut, find_cut
from exporters.training.differentiate import Tape
from exporters.training.forward import INNER, Forward, read_forward
from exporters.training.graph import Graph, Laid, Tensor, plainly
from exporters.training.memory import Peak, peak
from exporters.training.patterns import merge
from runtime.bundle import Manifest
from runtime.bundle.contents import TensorSpec, TrainingSpec
from runtime.errors import InputError


@dataclass(frozen=True)
class TrainingGraph:
    """An ONNX graph for gradients, and what a trainer must know of it."""

    model: bytes
    spec: TrainingSpec


def training_graph(model: bytes, manifest: Manifest, layer: int) -> TrainingGraph:
    """The graph that trains a model from one layer on, up to its head.

    Its inputs are `activations` float32 (batch, *cut_shape), `labels` int64 (batch,), `weights` float32 (batch,), not
    all of them 0, and `theta` float32 (n,): the tensors of spec.tensors, ravelled, one after the other. Its outputs are
    `loss` float32 (), `gradient` float32 (n,) and `logits` float32 (batch, n_classes). The batch is free.

    Args:
        model: the bytes of model.onnx.
        manifest: of the same bundle.
        layer: the first that is trained, as `TensorSpec.layer` counts.

    Raises:
        InputError: no such layer, an operator without a rule, or more than one value that crosses from the frozen
            layers to the trained ones. The message names it.
    """
    return build(read(model, manifest), manifest, layer)


def read(model: bytes, manifest: Manifest) -> Forward:
    """What `build` needs of a model, for as many layers as one likes."""
    return read_forward(model, [spec.name for spec in manifest.tensors])


def build(forward: Forward, manifest: Manifest, layer: int) -> TrainingGraph:
    """`training_graph` of a model that has been read.

    Raises:
        InputError: the model has no such layer, or an operator without a rule.
    """
    layers = sorted({spec.layer for spec in manifest.tensors})
    if layer not in layers:
        raise InputError("layer", expected=f"one of {layers}", got=layer, fix="See the manifest's tensors.")
    specs = [spec for spec in manifest.tensors if spec.layer >= layer]
    loops = any(step.op in INNER for step in forward.steps)  # which cannot be run again in a training graph
    whole = layer == layers[0] and not loops and manifest.frame is None  # a frame, too, is run once per window
    cut = find_cut(forward, {spec.name for spec in specs}, at_source=whole)
    shape = forward.shapes[cut.name][1:]
    names = tuple(spec.name for spec in specs)
    model, memory = _differentiated(forward, cut, specs)
    spec = TrainingSpec(
        layer=layer,
        file=f"train/{layer:02d}.onnx",
        cut=cut.name,
        cut_shape=shape,
        tensors=names,
        sizes=tuple(math.prod(spec.shape) for spec in specs),
        fixed_bytes=memory.fixed_bytes,
        bytes_per_window=memory.per_window_bytes,
    )
    return TrainingGraph(model, spec)


def _differentiated(forward: Forward, cut: Cut, specs: Sequence[TensorSpec]) -> tuple[bytes, Peak]:
    graph = Graph()
    sizes = [math.prod(spec.shape) for spec in specs]
    activations = Tensor("activations", forward.shapes[cut.name])
    theta = Tensor("theta", (sum(sizes),))
    steps = merge(forward, cut.steps)
    used = {name for step in steps for name in step.inputs}
    values = {
        name: plainly(graph.constant(value, value.dtype)) for name, value in forward.constants.items() if name in used
    }
    values[cut.name] = plainly(activations)
    for spec, part in zip(specs, graph.split(theta, 0, sizes), strict=True):
        values[spec.name] = plainly(graph.reshape(part, spec.shape))
    tape = Tape(graph, values, [spec.name for spec in specs], borrowed)
    for step in steps:
        tape.forward(step, forward.shapes.get(step.output))
    logits = graph.arrange(tape.values[forward.logits])
    loss, d_logits = _cross_entropy(graph, logits)
    gradients = tape.back(forward.logits, d_logits)
    flat = [_flat(graph, gradients.get(spec.name), size) for spec, size in zip(specs, sizes, strict=True)]
    outputs = {"loss": loss, "gradient": graph.concat(flat, 0), "logits": logits}
    inputs = {
        "activations": (TensorProto.FLOAT, activations.shape),
        "labels": (TensorProto.INT64, (-1,)),
        "weights": (TensorProto.FLOAT, (-1,)),
        "theta": (TensorProto.FLOAT, theta.shape),
    }
    memory = peak(graph.needed([*outputs.values()]), graph.shapes(), [tensor.name for tensor in outputs.values()])
    return graph.model(inputs, outputs), memory


def _flat(graph: Graph, gradient: Laid | None, size: int) -> Tensor:
    return graph.constant(np.zeros(size)) if gradient is None else graph.reshape(graph.arrange(gradient), (size,))


def _cross_entropy(graph: Graph, logits: Tensor) -> tuple[Tensor, Laid]:
    """The weighted mean of the cross-entropies, and its gradient: w_i / sum(w) * (softmax - one-hot)."""
    labels, weights = Tensor("labels", (-1,)), Tensor("weights", (-1,))
    n_classes = logits.shape[1]
    shares = graph.reshape(graph.divide(weights, graph.sum(weights, [0], keep=True)), (-1, 1))
    log_p = graph.unary("LogSoftmax", logits, axis=1)
    classes = graph.constant(np.arange(n_classes)[None], np.int64)
    same = graph.emit("Equal", graph.reshape(labels, (-1, 1)), classes, shape=logits.shape)
    target = graph.emit("Cast", same, shape=logits.shape, to=TensorProto.FLOAT)
    weighted = graph.multiply(target, shares)
    loss = graph.unary("Neg", graph.sum(graph.multiply(log_p, weighted), [0, 1]))
    p = graph.unary("Exp", log_p)
    return loss, plainly(graph.subtract(graph.multiply(p, shares), weighted))
