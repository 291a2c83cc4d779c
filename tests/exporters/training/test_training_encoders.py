"""Every registered encoder can be trained as a whole, from its last layer but the head, and by its head alone."""

import numpy as np
import pytest
import torch
from training_reference import exported_model, labelled, manifest_of, session, torch_gradients, worst

from exporters.bundle import _layer
from exporters.training.build import build, read
from runtime.graph_bytes import with_output
from sdk.encoders import Classifier, create_encoder, list_encoders

SHAPES = {"deepconvlstm": (24, 6)}  # of windows; this one is unrolled step by step
DEFAULT_SHAPE = (64, 6)
BATCH, N_CLASSES = 2, 3


def classifier(name, shape):
    """Nothing is 0 or 1, so that no two tensors are equal and every gradient counts."""
    torch.manual_seed(0)
    module = Classifier(create_encoder(name, *shape), N_CLASSES)
    with torch.no_grad():
        for key, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if tensor.ndim == 1:
                tensor *= 1 + 0.2 * torch.rand_like(tensor)
                tensor += 0 if key.endswith("var") else 0.01 * torch.randn_like(tensor)
    return module.eval()


@pytest.mark.parametrize("name", list_encoders())
def test_an_encoder_trains_whole_and_in_part(name):
    shape = SHAPES.get(name, DEFAULT_SHAPE)
    module = classifier(name, shape)
    parameters = {key: p.detach().numpy() for key, p in module.named_parameters()}
    layers = {}
    manifest = manifest_of(module, shape, lambda key: layers.setdefault(_layer(key), len(layers)))
    model = exported_model(module, shape)
    forward = read(model, manifest)
    windows = np.random.default_rng(0).normal(size=(BATCH, *shape)).astype(np.float32)
    labels, weights = labelled(BATCH, N_CLASSES)
    truth = torch_gradients(module, manifest, windows, labels, weights)
    single = worst(torch_gradients(module, manifest, windows, labels, weights, torch.float32)[2], truth[2])
    head = max(layers.values())
    for layer in (0, _last_possible(forward, manifest, head), head):
        graph = build(forward, manifest, layer)
        cut = graph.spec.cut
        assert (cut == "windows") == (layer == 0)
        activations = (
            windows if cut == "windows" else session(with_output(model, cut)).run([cut], {"windows": windows})[0]
        )
        theta = np.concatenate([parameters[key].ravel() for key in graph.spec.tensors])
        feeds = {"activations": activations, "labels": labels, "weights": weights, "theta": theta}
        loss, gradient = session(graph.model).run(["loss", "gradient"], feeds)
        assert loss == pytest.approx(truth[0], rel=1e-6)
        parts = np.split(gradient, np.cumsum(graph.spec.sizes)[:-1])
        found = {k: part.reshape(parameters[k].shape) for k, part in zip(graph.spec.tensors, parts, strict=True)}
        assert worst(found, truth[2]) <= max(1e-6, 2 * single)


def _last_possible(forward, manifest, head):
    """The last layer before the head from which there is a graph; every encoder has one that is not the first."""
    for layer in range(head - 1, 0, -1):
        try:
            build(forward, manifest, layer)
        except ValueError:
            continue
        return layer
    raise AssertionError("no layer between the first and the head")
