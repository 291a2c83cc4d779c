"""The FCN's training graphs against torch, from every layer on."""

import numpy as np
import pytest
import torch
from bundles_small import FCNS, LABELS, small_windows
from training_reference import graph_gradients, labelled, torch_gradients, worst

from exporters.training import training_graph
from runtime.bundle import Bundle
from runtime.engine import open_prefix
from sdk.encoders import Classifier

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
