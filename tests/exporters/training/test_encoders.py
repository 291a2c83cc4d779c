"""Every registered encoder can be trained as a whole, from its last layer but the head, and by its head alone."""

import numpy as np
import pytest
import torch

from exporters.training.build import build, read
from runtime.bundle.graph_bytes import with_output
from sdk.encoders import list_encoders
from tests.encoders_small import SMALL
from tests.exporters.training.reference import labelled, session, torch_gradients, worst

BATCH = 2


def test_the_battery_meets_every_encoder():
    assert list_encoders() == sorted(SMALL)


@pytest.mark.parametrize("name", list_encoders())
def test_an_encoder_trains_whole_and_in_part(name, bundle_of):
    bundle, module, inputs = bundle_of(name)
    manifest, model, inputs = bundle.manifest, bundle.model(), inputs[:BATCH]
    parameters = {key: p.detach().numpy() for key, p in module.named_parameters()}
    forward = read(model, manifest)
    labels, weights = labelled(BATCH, len(manifest.labels))
    truth = torch_gradients(module, manifest, inputs, labels, weights)
    torchs = torch_gradients(module, manifest, inputs, labels, weights, torch.float32)[2]
    own = 3 * worst(torchs, truth[2])  # torch's own rounding, which is the larger one in MobileHART
    head = max(spec.layer for spec in manifest.tensors)
    between = [] if name.startswith("hand") else [_last_possible(forward, manifest, head)]  # nothing bypasses the cut
    for layer in sorted({0, *between, head}):
        graph = build(forward, manifest, layer)
        cut = graph.spec.cut
        assert (cut == manifest.input_name) == (layer == 0)
        activations = (
            inputs if layer == 0 else session(with_output(model, cut)).run([cut], {manifest.input_name: inputs})[0]
        )
        theta = np.concatenate([parameters[key].ravel() for key in graph.spec.tensors])
        feeds = {"activations": activations, "labels": labels, "weights": weights, "theta": theta}
        loss, gradient = session(graph.model).run(["loss", "gradient"], feeds)
        assert loss == pytest.approx(truth[0], rel=1e-6)
        parts = np.split(gradient, np.cumsum(graph.spec.sizes)[:-1])
        found = {k: part.reshape(parameters[k].shape) for k, part in zip(graph.spec.tensors, parts, strict=True)}
        assert worst(found, truth[2]) <= max(1e-6, own)
        assert worst(found, torchs) <= max(5e-6, own)


def _last_possible(forward, manifest, head):
    """The last layer before the head from which there is a graph; every encoder has one that is not the first."""
    for layer in range(head - 1, 0, -1):
        try:
            build(forward, manifest, layer)
        except ValueError:
            continue
        return layer
    raise AssertionError("no layer between the first and the head")
