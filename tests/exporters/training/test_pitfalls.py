"""Where gradients go wrong without anybody noticing."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from exporters import export_bundle
from exporters.training import add_training, training_graph
from runtime.bundle import Bundle
from runtime.engine import open_prefix
from runtime.errors import InputError
from sdk.encoders import Classifier
from tests.bundles_small import CHANNELS, LABELS, LENGTH, small_manifest, small_windows
from tests.exporters.training.reference import (
    exported_model,
    graph_gradients,
    labelled,
    manifest_of,
    session,
    torch_gradients,
    worst,
)


class Twins(nn.Module):
    """Layers whose fresh parameters are equal: all ones, all zeros."""

    n_features = 6

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(CHANNELS, 6)
        self.first, self.second = nn.LayerNorm(6), nn.LayerNorm(6)

    def forward(self, x):
        return self.second(functional.gelu(self.first(self.linear(x)))).mean(1)


def test_equal_tensors_have_their_own_gradients(tmp_path):
    torch.manual_seed(0)
    module, windows, (labels, weights) = Classifier(Twins(), 3), small_windows(4), labelled(4, 3)
    bundle = export_bundle(tmp_path / "b", module.encoder, module.head, small_manifest(), windows, training=True)
    spec = bundle.manifest.training[0]
    found = graph_gradients(bundle.training_model(spec), spec, bundle, windows, labels, weights)[2]
    truth = torch_gradients(module, bundle.manifest, windows, labels, weights)[2]
    assert not np.allclose(truth["encoder.first.weight"], truth["encoder.second.weight"], rtol=0.1)
    assert worst(found, truth) <= 1e-6


def test_an_export_that_merged_equal_tensors_is_refused():
    module = Classifier(Twins(), 3).eval()
    model = exported_model(module, (LENGTH, CHANNELS))  # this exporter merges them
    with pytest.raises(InputError, match=r"encoder\.second\.weight: expected an initializer of this name, got none"):
        training_graph(model, manifest_of(module, (LENGTH, CHANNELS)), 0)


class KeyBias(nn.Module):
    """Attention: the same number added to all that softmax compares changes nothing."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(CHANNELS, 4) for _ in range(3))
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        weights = torch.softmax(self.query(x) @ self.key(x).transpose(1, 2), 2)
        return self.head((weights @ self.value(x)).mean(1))


def test_a_gradient_that_is_zero_is_small_beside_the_others():
    torch.manual_seed(0)
    module, windows, (labels, weights) = KeyBias(), small_windows(4), labelled(4, 3)
    manifest = manifest_of(module, (LENGTH, CHANNELS))
    graph = training_graph(exported_model(module, (LENGTH, CHANNELS)), manifest, 0)
    parameters = dict(module.named_parameters())
    theta = np.concatenate([parameters[key].detach().numpy().ravel() for key in graph.spec.tensors])
    feeds = {"activations": windows, "labels": labels, "weights": weights, "theta": theta}
    gradient = session(graph.model).run(["gradient"], feeds)[0]
    parts = dict(zip(graph.spec.tensors, np.split(gradient, np.cumsum(graph.spec.sizes)[:-1]), strict=True))
    assert np.abs(parts["key.bias"]).max() <= 1e-6 * np.abs(gradient).max()
    assert np.abs(parts["query.bias"]).max() > 1e-3 * np.abs(gradient).max()


class Ties(nn.Module):
    """Whole numbers: many entries of a pool are exactly equal."""

    def __init__(self, conv, pool, image=False):
        super().__init__()
        self.conv, self.pool, self.image = conv, pool, image
        with torch.no_grad():
            for parameter in conv.parameters():
                parameter.copy_(torch.randint(-1, 2, parameter.shape))

    def forward(self, x):
        x = x.unsqueeze(1) if self.image else x.transpose(1, 2)
        logits = self.pool(torch.relu(self.conv(x))).flatten(1)
        return logits[:, :4] + logits[:, -4:]


@pytest.mark.parametrize(
    ("conv", "pool", "image"),
    [
        (nn.Conv1d(6, 8, 3), nn.MaxPool1d(5, 2, 2), False),
        (nn.Conv1d(6, 8, 3), nn.MaxPool1d(2), False),
        (nn.Conv1d(6, 8, 3), nn.MaxPool1d(3, 1, 1), False),
        (nn.Conv2d(1, 4, 3), nn.MaxPool2d(3, 2, 1), True),
        (nn.Conv2d(1, 4, 3), nn.MaxPool2d((2, 3), (1, 2)), True),
    ],
)
def test_ties_in_a_pool_go_where_torch_sends_them(conv, pool, image):
    torch.manual_seed(0)
    shape = (20, 6)
    module = Ties(conv, pool, image)
    windows = np.random.default_rng(0).integers(-1, 2, (6, *shape)).astype(np.float32)
    labels, weights = np.arange(6) % 4, np.ones(6, np.float32)
    maps = conv(torch.from_numpy(windows).unsqueeze(1) if image else torch.from_numpy(windows).transpose(1, 2))
    assert len(maps.unique()) < 40  # so there are ties
    manifest = manifest_of(module, shape)
    graph = training_graph(exported_model(module, shape), manifest, 0)
    theta = np.concatenate([p.detach().numpy().ravel() for p in module.parameters()])
    feeds = {"activations": windows, "labels": labels, "weights": weights, "theta": theta}
    gradient = session(graph.model).run(["gradient"], feeds)[0]
    parts = np.split(gradient, np.cumsum(graph.spec.sizes)[:-1])
    truth = torch_gradients(module, manifest, windows, labels, weights)[2]
    found = {key: part.reshape(truth[key].shape) for key, part in zip(graph.spec.tensors, parts, strict=True)}
    assert worst(found, truth) <= 1e-6


def test_statistics_that_are_being_trained_are_refused():
    class Training(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.head = nn.BatchNorm1d(CHANNELS), nn.Linear(CHANNELS * LENGTH, 3)

        def forward(self, x):
            return self.head(self.norm(x.transpose(1, 2)).flatten(1))

    module = Training().train()
    with pytest.raises(InputError, match="expected frozen statistics, got an export of a module that is being trained"):
        training_graph(exported_model(module, (LENGTH, CHANNELS)), manifest_of(module, (LENGTH, CHANNELS)), 0)


@pytest.fixture
def trainable(small_bundle):
    return add_training(small_bundle)


def gradients_from(bundle, layer, windows, labels, weights):
    spec = next(spec for spec in bundle.manifest.training if spec.layer == layer)
    activations = open_prefix(bundle, spec.cut)(windows)
    return graph_gradients(bundle.training_model(spec), spec, bundle, activations, labels, weights)


@pytest.mark.parametrize("layer", [1, 3, 4])
def test_frozen_layers_have_no_part_in_a_graph(trainable, layer):
    data = small_windows(5), *labelled(5, len(LABELS))
    whole, part = (gradients_from(trainable, first, *data)[2] for first in (0, layer))
    specs = {spec.name: spec.layer for spec in trainable.manifest.tensors}
    assert set(part) == {name for name, at in specs.items() if at >= layer}
    largest = max(np.abs(gradient).max() for gradient in whole.values())
    assert all(np.abs(gradient - whole[name]).max() <= 2e-6 * largest for name, gradient in part.items())


def test_a_personal_version_is_trained_from_where_it_is(trainable):
    rng = np.random.default_rng(0)
    changed = {
        name: (tensor + rng.normal(0, 0.05, tensor.shape)).astype(np.float32)
        for name, tensor in trainable.base_tensors.items()
    }
    personal = trainable.commit(changed, {})
    data = small_windows(5), *labelled(5, len(LABELS))
    base, whole, part = (
        gradients_from(bundle, layer, *data) for bundle, layer in ((trainable, 0), (personal, 0), (personal, 3))
    )
    assert abs(whole[0] - base[0]) > 0.01
    assert part[0] == pytest.approx(whole[0], rel=1e-5)
    engine_logits = _logits(personal, data[0])
    np.testing.assert_allclose(whole[1], engine_logits, atol=1e-4)


def _logits(bundle, windows):
    from runtime.engine import open_engine

    engine = open_engine(bundle)
    try:
        return engine.run(windows)
    finally:
        engine.close()


def test_finite_differences_agree(exported, trainable):
    """The slope along random directions, from losses in double precision alone."""
    module = exported("fcn").module
    classifier = Classifier(module.encoder, len(LABELS))
    classifier.head = module.head
    data = small_windows(6), *labelled(6, len(LABELS))
    gradients = gradients_from(trainable, 0, *data)[2]
    rng, step = np.random.default_rng(0), 1e-7
    for _ in range(3):
        direction = {name: rng.normal(size=gradient.shape) for name, gradient in gradients.items()}
        slope = sum(float((gradient * direction[name]).sum()) for name, gradient in gradients.items())
        ahead, behind = (
            torch_gradients(moved(classifier, direction, h), trainable.manifest, *data)[0] for h in (step, -step)
        )
        assert slope == pytest.approx((ahead - behind) / (2 * step), rel=1e-4)


def moved(module, direction, step):
    twin = copy.deepcopy(module).double()
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            parameter += step * torch.from_numpy(direction[name])
    return twin


def test_weights_are_shares(trainable):
    """Doubling all weights changes nothing; a weight of 0 takes a window out."""
    windows, (labels, weights) = small_windows(4), labelled(4, len(LABELS))
    once, twice = (gradients_from(trainable, 3, windows, labels, weights * factor) for factor in (1, 2))
    assert twice[0] == pytest.approx(once[0], rel=1e-6)
    without = gradients_from(trainable, 3, windows, labels, weights * np.float32([1, 1, 1, 0]))
    three = gradients_from(trainable, 3, windows[:3], labels[:3], weights[:3])
    assert without[0] == pytest.approx(three[0], rel=1e-6)
    assert worst(without[2], three[2]) < 1e-6


def test_a_layer_that_is_not_there(trainable):
    with pytest.raises(InputError, match=r"layer: expected one of \[0, 1, 2, 3, 4\], got 7"):
        training_graph(trainable.model(), trainable.manifest, 7)
    assert Bundle.open(trainable.path).manifest == trainable.manifest
