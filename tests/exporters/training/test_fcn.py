"""The FCN's training graphs against torch, from every layer on."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from exporters.training import training_graph
from runtime.bundle import Bundle
from runtime.engine import open_prefix
from sdk.encoders import Classifier
from tests.bundles_small import FCNS, LABELS, small_windows
from tests.exporters.training.reference import graph_gradients, labelled, session, torch_gradients, worst

BATCHES = (1, 3, 16)


def classifier(module):
    whole = Classifier(module.encoder, len(LABELS))
    whole.head = module.head
    return whole


@pytest.mark.parametrize("layer", range(5))
@pytest.mark.parametrize("name", FCNS)
def test_gradients_are_those_of_torch(exported, name, layer):
    path, module, _ = exported(name)
    bundle = Bundle.open(path)
    graph = training_graph(bundle.model(), bundle.manifest, layer)
    prefix = open_prefix(bundle, graph.spec.cut)
    for n in BATCHES:
        windows, (labels, weights) = small_windows(n, seed=n), labelled(n, len(LABELS))
        activations = prefix(windows)
        assert activations.shape == (n, *graph.spec.cut_shape)
        found = graph_gradients(graph.model, graph.spec, bundle, activations, labels, weights)
        truth = torch_gradients(classifier(module), bundle.manifest, windows, labels, weights)
        single = torch_gradients(classifier(module), bundle.manifest, windows, labels, weights, torch.float32)
        assert found[0] == pytest.approx(truth[0], rel=1e-6)
        np.testing.assert_allclose(found[1], truth[1], atol=1e-5)
        assert worst(found[2], truth[2]) <= max(1e-6, 2 * worst(single[2], truth[2]))
        assert worst(found[2], single[2]) <= 5e-6


def test_gradients_are_those_of_onnx_ad(exported):
    """The same graph through another differentiator, which shares nothing with ours or with torch."""
    onnx_ad = pytest.importorskip("onnx_ad")
    bundle = Bundle.open(exported("fcn").path)
    shapes = {spec.name: spec.shape for spec in bundle.manifest.tensors}
    model = onnx.load_model_from_string(bundle.model())
    graph = model.graph
    kept = [tensor for tensor in graph.initializer if tensor.name not in shapes]
    del graph.initializer[:], graph.output[:]
    graph.initializer.extend(kept)
    graph.input.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items())
    graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, [3, len(LABELS)]))
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3  # it wants to know all sizes
    del graph.value_info[:]
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    backward = onnx_ad.reverse(model, inputs=[*shapes], outputs=["logits"], layout="onnx")
    windows, (labels, weights) = small_windows(3), labelled(3, len(LABELS))
    ours = training_graph(bundle.model(), bundle.manifest, 0)
    _, logits, found = graph_gradients(ours.model, ours.spec, bundle, windows, labels, weights)
    p = np.exp(logits - logits.max(1, keepdims=True))
    seed = (p / p.sum(1, keepdims=True) - np.eye(len(LABELS))[labels]) * (weights / weights.sum())[:, None]
    feeds = {"windows": windows, "adj_logits": seed[..., None].astype(np.float32), **bundle.base_tensors}
    names = [f"adj_{name}" for name in shapes]
    others = session(backward.SerializeToString()).run(names, feeds)
    truth = {name: other[..., 0] for name, other in zip(shapes, others, strict=True)}
    assert worst(found, truth) <= 2e-6  # both are in single precision
